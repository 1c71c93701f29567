"""How kernels run: launching and threads, the compile cache, serial or parallel."""
