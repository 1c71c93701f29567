"""Forward passes: from rows, columns, sparse rows and tables to a network's outputs.

============  ============================================================================
module        contents
============  ============================================================================
`rows`        F1 and F2 through all layers, for a block of rows or of samples side by side
`scoring`     the kernel that scores rows
`sparse`      the first layer for sparse samples, and the kernel that scores these
`normalised`  layer normalisation, and the kernels that score networks with it
`table`       the kernels that encode and score the columns of a table
`programs`    which kernel scores the rows of which network
============  ============================================================================
"""
