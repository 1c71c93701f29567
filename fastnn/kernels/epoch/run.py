"""A run: everything that some mini-batches read and write, and which samples each of them consists of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.layout import several
from fastnn.kernels.simd.operands import Left
from fastnn.runtime.compiler import jit
from fastnn.runtime.template import instance

# The solver's numbers. The powers are ``beta_1**t`` and ``beta_2**t`` after t steps. `step_now` is the present batch's
# step, which for Adam is corrected for the bias of the moments, and `total_weight` is the sum of its samples' weights
# (their number, if they have no weights).
_NUMBERS = ("step", "momentum", "beta_1", "beta_2", "epsilon", "alpha", "power_1", "power_2", "step_now")
NUMBERS = np.dtype([(name, np.float64) for name in (*_NUMBERS, "total_weight", "weight_decay")], align=True)


class General(NamedTuple):
    """What the general programs need to know besides the other fields of a `Run`.

    Parameters
    ----------
    output : int
        The code of the output (see `forward.rows.OUTPUTS`).
    targets : ndarray
        The targets, one row of the network's outputs after the other. It is empty if the output is softmax, whose
        targets are `Run.y`.
    dropout, label_smoothing : float
    clip_norm : float
        The largest length of a gradient; infinite without clipping.
    """

    output: int
    targets: Array
    dropout: float
    label_smoothing: float
    clip_norm: float


class Run(NamedTuple):
    """Everything that a run of mini-batches reads and writes.

    It is one flat tuple, since only arrays and numbers can enter a parallel region. `_member_of` below takes it apart
    for ensembles. A compiled function that takes a `Run` has 150 arguments in machine code, which makes it slow to
    compile: small functions should take what they need instead.
    """

    # The samples: plain rows of X, or a `Csr`; class indices y; weights (an empty array if all weigh 1); and the order
    # of the present epoch, which the run writes. The number of the run's first epoch is the key of its shuffle.
    X: Any
    y: NDArray[np.int64]
    sample_weight: Array
    order: NDArray[np.int64]
    batch_size: int
    shuffled: bool
    seed: np.uint64
    first_epoch: int
    # A `General`, or an empty tuple for programs that need none.
    general: Any
    # The network (see `Net`).
    params: Array
    layers: NDArray[np.void]
    # The solver: its code, its slots (see `solver_step`), and one record of `NUMBERS`.
    solver: int
    state: Array
    numbers: NDArray[np.void]
    # Memory to work in: the buffer of `Layout.workspace`, gradients, and `scratch_size` numbers for each worker.
    buffer: Array
    grads: Array
    scratch: Array
    scratch_size: int
    # A loss and a class for each row of a batch; a sum of squares for each of the `n_squares` blocks of weights and,
    # where gradients may be clipped, for each block of the gradient. The losses of epochs are a ring: epoch e, counted
    # from the run's first, is at place ``e % epoch_losses.size``, and a call has no more epochs than there are places.
    losses: Array
    targets: Array
    squares: NDArray[np.float64]
    n_squares: int
    epoch_losses: NDArray[np.float64]
    # Memory for a batch of sparse samples by features (a `Transposed`), or an empty tuple.
    transposed: Any
    # The parameters (all finite), the slots and the numbers at the end of the last epoch, to fall back on.
    good_params: Array
    good_state: Array
    good_numbers: NDArray[np.void]
    # See `team`.
    team: NDArray[np.int64]


# Kernels are compiled without reference counts, so no compiled function can return an array. `share_of` and what
# `member_of` makes return arrays, so they are inlined into their callers as source.
inlined: Any = numba.njit(inline="always")


@inlined  # type: ignore[untyped-decorator]
def share_of(array: Array, number: int, n: int) -> Array:
    """Share `number` of an array that holds `n` of equal size, one after the other."""
    size = array.size // n
    return array[number * size : (number + 1) * size]


def _transposed_of(transposed: Any, worker: int, workers: int) -> Any:
    """A placeholder for one worker's share of `Run.transposed`, which `instance` puts into the template below."""


def _member_of(run: Run, member: int, n_members: int, seed: np.uint64, worker: int, workers: int) -> Run:
    return Run(
        X=run.X,
        y=run.y,
        sample_weight=run.sample_weight,
        order=share_of(run.order, member, n_members),
        batch_size=run.batch_size,
        shuffled=run.shuffled,
        seed=seed,
        first_epoch=run.first_epoch,
        general=run.general,
        params=share_of(run.params, member, n_members),
        layers=run.layers,
        solver=run.solver,
        state=share_of(run.state, member, n_members),
        numbers=share_of(run.numbers, member, n_members),
        buffer=share_of(run.buffer, worker, workers),
        grads=share_of(run.grads, worker, workers),
        scratch=share_of(run.scratch, worker, workers),
        scratch_size=run.scratch_size,
        losses=share_of(run.losses, member, n_members),
        targets=share_of(run.targets, member, n_members),
        squares=share_of(run.squares, member, n_members),
        n_squares=run.n_squares,
        epoch_losses=share_of(run.epoch_losses, member, n_members),
        transposed=_transposed_of(run.transposed, worker, workers),
        good_params=share_of(run.good_params, member, n_members),
        good_state=share_of(run.good_state, member, n_members),
        good_numbers=share_of(run.good_numbers, member, n_members),
        team=share_of(run.team, member, n_members),
    )


def member_of(transposed_of: Callable[..., Any]) -> Callable[..., Run]:
    """``member_of(run, member, n_members, seed, worker, workers)``: the run of one member of an ensemble.

    What training changes belongs to the member, the memory to work in belongs to the worker.
    ``transposed_of(transposed, worker, workers)`` is the worker's share of `Run.transposed`.
    """
    found: Callable[..., Run] = inlined(instance(_member_of, _transposed_of=inlined(transposed_of)))
    return found


class Memory(NamedTuple):
    """The fields of a `Run` that are memory to work in."""

    layers: NDArray[np.void]
    buffer: Array
    grads: Array
    scratch: Array
    scratch_size: int

    def times(self, n: int) -> Memory:
        """This much memory for each of `n` threads that work by themselves. Each thread's share begins on a line."""
        buffer, grads, scratch = (several(part, n) for part in (self.buffer, self.grads, self.scratch))
        return self._replace(buffer=buffer, grads=grads, scratch=scratch)


class Batch(NamedTuple):
    """One mini-batch: its epoch, its first sample's place in the epoch's order, and the number of its samples.

    The epoch is counted from the run's first.
    """

    epoch: int
    first: int
    n: int


@jit
def epoch_of(run: Run, number: int) -> tuple[int, int]:
    """The epoch that batch `number` of the run belongs to, counted from the run's first, and its number within."""
    per_epoch = (run.y.size + run.batch_size - 1) // run.batch_size
    epoch = number // per_epoch
    return epoch, number - epoch * per_epoch


@jit
def batch_of(run: Run, number: int) -> Batch:
    """Batch `number`, counted from the run's first."""
    epoch, within = epoch_of(run, number)
    first = within * run.batch_size
    return Batch(epoch, first, min(run.batch_size, run.y.size - first))


@jit
def sample_of(run: Run, batch: Batch, row: int) -> int:
    """The number of the sample that is row `row` of the batch."""
    return run.order[batch.first + row] if run.shuffled else batch.first + row


@jit
def nth_piece(number: int, size: int) -> slice:
    """The place of piece `number` of memory in pieces of this size, such as a worker's own piece of `Run.scratch`."""
    return slice(number * size, (number + 1) * size)


@jit
def input_rows(run: Run, batch: Batch, row: int) -> Left:
    """The batch's inputs from `row` on: gathered rows if the epoch is shuffled, otherwise X itself."""
    inputs = run.layers[0]
    if run.shuffled:
        return Left(run.buffer, inputs.a_at + row * inputs.stride, inputs.stride, 1)
    return Left(run.X, (batch.first + row) * inputs.n, inputs.n, 1)


@jit
def gathered_rows(run: Run, batch: Batch, first: int, rows: int) -> Left:
    """The inputs of `rows` rows of the batch from `first` on, copied next to each other if the epoch is shuffled."""
    if run.shuffled:
        n_in = run.layers[0].n
        for i in range(first, first + rows):
            target = input_rows(run, batch, i).start
            source = sample_of(run, batch, i) * n_in
            copy(run.X[source : source + n_in], run.buffer[target : target + n_in])
    return input_rows(run, batch, first)


@jit
def take_targets(run: Run, batch: Batch, first: int, targets: Array) -> None:
    """Write the class indices of the batch's rows from `first` on into `targets`."""
    start = batch.first + first
    if run.shuffled:
        order = run.order[start : start + targets.size]
        for i in range(targets.size):
            targets[i] = run.y[order[i]]
    else:
        y = run.y[start : start + targets.size]
        for i in range(targets.size):
            targets[i] = y[i]
