"""Where rows come from and where they go: formats, files, folders, streams."""
