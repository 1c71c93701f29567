"""F1 and F2: a layer's sums and tanh, on arrays."""

from __future__ import annotations

from typing import NamedTuple

from fastnn.kernels import layout
from fastnn.kernels.arguments import check_shape, deliver, destination, operand
from fastnn.kernels.arrays import Array, borrow, copy, flat, give_back
from fastnn.kernels.equations.activation import CODES, activate
from fastnn.kernels.functions.blocks import Product, multiply_block, packed, product_of
from fastnn.kernels.functions.described import described, takes_what
from fastnn.kernels.simd.shape import LINE_BYTES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel, launch, share
from fastnn.runtime.threads import threads_for

_TANH = CODES["tanh"]
# The numbers of a block that is copied and worked on while it is in L1 (16 KB of float32).
_BLOCK = 4096
_OPERATIONS_PER_TANH = 20.0


@jit
def affine_rows(args: Product, part: int, parts: int) -> None:
    """F1 and F2 for this part's rows, a block at a time while it is in cache."""
    first, last = share(args.n_rows, ROWS, part, parts)
    for i in range(first, last, layout.ROW_BLOCK):
        block = multiply_block(args, i, last)
        activate(args.given, args.out[block])


_affine = kernel(affine_rows)

# A matrix W that stays in L2 is read where it lies: 256x784x128 in float32 takes 200 µs, and 212 with W packed. A
# larger W is packed. Otherwise it would be read from L3, and rows that lie 4 KB apart would share few of L2's lines:
# 1024x784x512 in float64 takes 10.7 ms, and 6.9 with W packed. For few rows, packing takes longer than the product: 8
# rows by 784x512 in float32 take 50 µs, and 113 with W packed.
PLAIN_BYTES = 512 << 10
FEW_ROWS = 32


def reads_plain(n_rows: int, n_in: int, n_out: int, itemsize: int) -> bool:
    """Whether F1 reads W where it lies, rather than packed. Its sums have the same order either way."""
    whole_lines = n_out * itemsize % LINE_BYTES == 0
    return whole_lines and (n_in * n_out * itemsize <= PLAIN_BYTES or n_rows <= FEW_ROWS)


@described
def linear(X: Array, W: Array, b: Array, out: Array | None = None) -> Array:
    """Matrix product plus bias (F1): ``z = X @ W + b``.

    Each element is one chain of fused multiply-adds in index order that starts from the bias.

    Parameters
    ----------
    X : ndarray of shape (n, n_in), float32 or float64
    W : ndarray of shape (n_in, n_out), same dtype
    b : ndarray of shape (n_out,), same dtype
    out : ndarray of shape (n, n_out), same dtype, optional

    Returns
    -------
    z : ndarray of shape (n, n_out)
    """
    return _layer(X, W, b, out, "identity")


@takes_what(linear)
def linear_tanh(X: Array, W: Array, b: Array, out: Array | None = None) -> Array:
    """Layer with tanh (F1 and F2): ``a = tanh(X @ W + b)``, with tanh taken while the rows are in cache.

    Returns
    -------
    a : ndarray of shape (n, n_out)
        The same bits as `tanh` of `linear`.
    """
    return _layer(X, W, b, out, "tanh")


def _layer(X: Array, W: Array, b: Array, out: Array | None, activation: str) -> Array:
    X = operand("X", X, 2)
    W = operand("W", W, 2, X.dtype)
    b = operand("b", b, 1, X.dtype)
    (n_rows, n_in), n_out = X.shape, W.shape[1]
    check_shape("W", W, (n_in, n_out), "the columns of X by the outputs")
    check_shape("b", b, (n_out,), "the columns of W")
    result = destination(out, (n_rows, n_out), X.dtype, (X, W, b))
    if result.size:
        padded, code = layout.width(n_out, X.dtype), CODES[activation]
        threads = threads_for(2.0 * n_rows * n_in * padded)
        if reads_plain(n_rows, n_in, n_out, X.itemsize):
            launch(_affine, product_of(X, flat(W), n_out, flat(b), result, padded, code), threads=threads)
        else:
            memory = borrow((n_in + 1) * padded, X.dtype)
            panels, bias = packed(W, b, memory, padded, threads)
            launch(_affine, product_of(X, panels, 0, bias, result, padded, code), threads=threads)
            give_back(memory)
    return deliver(result, out)


class Elementwise(NamedTuple):
    """What F2 reads and writes."""

    z: Array
    out: Array


@jit
def tanh_block(args: Elementwise, part: int, parts: int) -> None:
    """F2 for this part's numbers."""
    first, last = share(args.z.size, LINE_BYTES // args.z.itemsize, part, parts)
    for start in range(first, last, _BLOCK):
        stop = min(start + _BLOCK, last)
        copy(args.z[start:stop], args.out[start:stop])
        activate(_TANH, args.out[start:stop])


_tanh = kernel(tanh_block)


@described
def tanh(z: Array, out: Array | None = None) -> Array:
    """Hyperbolic tangent (F2): ``a = tanh(z)``, at most 3 ULP off in float32 and 4 in float64.

    Parameters
    ----------
    z : ndarray of any shape, float32 or float64
    out : ndarray of the same shape and dtype, optional

    Returns
    -------
    a : ndarray of the shape of `z`
        Within [-1, 1]; NaN where `z` is NaN.
    """
    z = operand("z", z, 0)
    result = destination(out, z.shape, z.dtype, (z,) if out is not z else ())
    if result.size:
        launch(_tanh, Elementwise(flat(z), flat(result)), threads=threads_for(_OPERATIONS_PER_TANH * z.size))
    return deliver(result, out)
