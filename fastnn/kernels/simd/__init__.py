"""The vector operations that Numba has no name for, written in LLVM's language.

The rest of the kernels is Numba code that calls these operations: `tile`, `fma`, `dots`, `prefetch` and so on. Only a
few functions elsewhere also use llvmlite: the atomic counters of `kernels.epoch.team`, and the parallel region and
the measurement of the machine in `runtime`.

==============  ==============================================================================
module          contents
==============  ==============================================================================
`shape`         the sizes that the processor gives: line, panel, tile, lanes
`operands`      the named tuples that describe what an operation reads and writes
`products`      blocks of matrix products: `tile`, `tile_step`, `row_tile`, `sparse_tile`
`sums`          sums across the lanes of vectors: `dots`, `line_sum`, `line_dot`
`moves`         `transpose_block` and `prefetch`
`numbers`       operations on single numbers: `fma`, `polynomial`, `float_bits`, `bits_float`
`emitter`       the loops in LLVM that the operations are made of
==============  ==============================================================================

Glossary
--------
lane
    One number's place in a vector register. A register of 64 bytes has 16 lanes of float32 or 8 of float64.
line
    64 bytes of a row (a cache line): 16 float32 or 8 float64 numbers. Widths of rows are padded to whole lines.
panel
    Two lines of every row of a matrix, stored one row after the other. The last panel has one line if the number of
    lines is odd. Weights are kept in panels, so that a tile reads them from front to back.
tile
    ``ROWS`` rows by one panel of a matrix product, held in registers while the sum runs:

        for k in range(n_sum):  # the order is part of the promise: it decides the rounding
            for r in range(ROWS):
                acc[r, :] = fma(left[r, k], right[k, :], acc[r, :])
chain
    A sum in which each term is added by one fused multiply-add, in the order of the index. Each element of a product is
    one chain, whatever the tile's shape and the vector's width, so neither of the two shows in a result.
"""
