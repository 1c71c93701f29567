"""Forward passes: from rows, columns, sparse rows and tables to a network's outputs."""
