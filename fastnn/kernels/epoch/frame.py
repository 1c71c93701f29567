"""The frame of every program: what happens before a batch, between its phases and after it, and the rows' phase.

    for each mini-batch:
        rows      gather -> F1 F2 ... F1 F3 F4 -> B1 -> B4 down to the first hidden layer     (with the old weights)
        features  B2 B3 U1, layer by layer

Where gradients are clipped, U1 waits for two more phases: nothing may step before the length of the whole gradient is
known. In the rows' phase a part owns rows of the batch, in the features' phase it owns features (rows of W). So no two
parts add into one number, and neither their number nor their order shows in a result. Nothing is allocated for a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.epoch.hidden import Hidden, backward_rows
from fastnn.kernels.epoch.run import Batch, Memory, Run, batch_of, epoch_of, gathered_rows, nth_piece, sample_of
from fastnn.kernels.epoch.team import Bodies
from fastnn.kernels.epoch.weights import squares_of_weights, transpose
from fastnn.kernels.equations.loss import ordered_sum
from fastnn.kernels.equations.shuffle import shuffle
from fastnn.kernels.equations.solver import CODES
from fastnn.kernels.forward.rows import Net, forward_rows, product
from fastnn.kernels.layout import ROW_BLOCK, Layout
from fastnn.kernels.simd.shape import ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import Kernel, share
from fastnn.runtime.template import instance

_ADAM = CODES["adam"]

# The phases of a batch in the order in which they come. Plain programs end with the second.
ROWS_PHASE, FEATURES_PHASE, SQUARES_PHASE, STEP_PHASE = range(4)
# The chunks of a phase for each thread.
CHUNKS = 2


@dataclass(frozen=True, eq=False)
class Program:
    """The compiled work that trains networks of one kind.

    Parameters
    ----------
    kernel : Kernel
        It takes `team.Phases`; that of an ensemble takes `Members`.
    bodies : Bodies
        What the kernel consists of.
    phases : int
        The phases of a batch.
    memory : ``memory(layout, batch_size, n_threads)``
        Memory to work in.
    chunks : ``chunks(batch_size, n_threads)``
        The number of chunks of a phase.
    """

    kernel: Kernel
    bodies: Bodies
    phases: int
    memory: Callable[[Layout, int, int], Memory]
    chunks: Callable[[int, int], int]


class Inputs(NamedTuple):
    """The bodies that depend on the kind of inputs.

    Parameters
    ----------
    rows : ``rows(run, batch, first, rows)``
        `rows` rows of a batch from `first` on, as `product` takes them.
    product : ``product(net, layer, inputs, buffer, block)``
        F1 (see `forward_rows`).
    """

    rows: Callable[..., Any]
    product: Callable[..., None]


PLAIN_ROWS = Inputs(gathered_rows, product)


def chunks_of_threads(batch_size: int, n_threads: int) -> int:
    """The chunks of a phase whose parts are rows or features."""
    return CHUNKS * n_threads


@jit
def start_batch(run: Run, number: int) -> None:
    """What comes before a batch: shuffle if it begins an epoch, add up the weights, move Adam's powers on by one."""
    epoch, within = epoch_of(run, number)
    if within == 0:
        run.epoch_losses[epoch % run.epoch_losses.size] = 0.0
        if run.shuffled:
            shuffle(run.order, run.seed, run.first_epoch + epoch)
    numbers = run.numbers[0]
    batch = batch_of(run, number)
    numbers.total_weight = batch.n
    if run.sample_weight.size:
        for i in range(batch.n):
            run.losses[i] = run.sample_weight[sample_of(run, batch, i)]
        numbers.total_weight = ordered_sum(run.losses[: batch.n])
    numbers.step_now = numbers.step
    # A batch of weight 0 is no step, so the correction of the bias doesn't count it either.
    if run.solver == _ADAM and numbers.total_weight != 0:
        numbers.power_1 *= numbers.beta_1
        numbers.power_2 *= numbers.beta_2
        numbers.step_now *= np.sqrt(1.0 - numbers.power_2) / (1.0 - numbers.power_1)


@jit
def account_batch(run: Run, number: int) -> bool:
    """Add the batch's loss to its epoch's. False if it isn't finite, and no step may follow.

    A batch's mean loss is (sum of weighted losses + alpha / 2 * sum W**2) / total weight; an epoch's is the mean
    over its samples.
    """
    epoch, _ = epoch_of(run, number)
    batch, numbers = batch_of(run, number), run.numbers[0]
    loss = ordered_sum(run.losses[: batch.n])
    if numbers.alpha > 0:
        loss += 0.5 * numbers.alpha * ordered_sum(run.squares[: run.n_squares])
    run.epoch_losses[epoch % run.epoch_losses.size] += loss / numbers.total_weight * batch.n / run.y.size
    return bool(np.isfinite(loss))


@jit
def finish_batch(run: Run, number: int) -> bool:
    """What comes after a batch: after the last batch of an epoch, the parameters and the solver's numbers are kept.

    Returns False, and keeps nothing, if a parameter isn't finite then.
    """
    batch = batch_of(run, number)
    if batch.first + batch.n < run.y.size:
        return True
    non_finite = 0
    for i in range(run.params.size):
        non_finite += 0 if abs(run.params[i]) < np.inf else 1
    if non_finite:
        return False
    copy(run.params, run.good_params)
    copy(run.state, run.good_state)
    copy(run.numbers, run.good_numbers)
    return True


# Placeholders: `rows_phase` and `phases_of` put the bodies, and the number of phases, in their places in the templates.
_PHASES = 1


def _block(general: Any, seed: np.uint64, epoch: int, position: int, first: int, rows: int) -> Any: ...


def _inputs(run: Run, batch: Batch, first: int, rows: int) -> Any: ...


def _forward(net: Net, inputs: Any, buffer: Array, block: Any) -> None: ...


def _head(run: Run, batch: Batch, first: int, rows: int, columns: Array) -> None: ...


def _backward(run: Run, block: Any) -> None: ...


def _rows_phase(run: Run, number: int, part: int, parts: int, worker: int) -> None:
    """Everything up to the deltas, for this part's rows of batch `number`, a block at a time while it is in cache."""
    batch = batch_of(run, number)
    columns = run.scratch[nth_piece(worker, run.scratch_size)]
    first, last = share(batch.n, ROWS, part, parts)
    for i in range(first, last, ROW_BLOCK):
        rows = min(ROW_BLOCK, last - i)
        block = _block(run.general, run.seed, run.first_epoch + batch.epoch, batch.first, i, rows)
        _forward(Net(run.params, run.layers), _inputs(run, batch, i, rows), run.buffer, block)
        _head(run, batch, i, rows, columns)
        _backward(run, block)
    if run.numbers[0].alpha > 0:
        squares_of_weights(run, part, parts, worker)


def _features_phase(run: Run, number: int, part: int, parts: int, worker: int) -> None: ...


def _later_phase(run: Run, phase: int, part: int, parts: int, worker: int) -> None: ...


def _begin(run: Run, phase: int) -> None:
    # The transposed weights are made anew, since nothing is taken for granted that an earlier run may have left there.
    for layer in range(2, run.layers.size):
        transpose(run, layer, 0, run.layers[layer - 1].n)
    start_batch(run, phase // _PHASES)


def _chunk(run: Run, phase: int, part: int, parts: int, worker: int) -> None:
    number, kind = phase // _PHASES, phase % _PHASES
    if run.numbers[0].total_weight == 0:
        return
    if kind == ROWS_PHASE:
        _rows_phase(run, number, part, parts, worker)
    elif kind == FEATURES_PHASE:
        _features_phase(run, number, part, parts, worker)
    elif _PHASES > 2:  # otherwise this isn't even compiled
        _later_phase(run, kind, part, parts, worker)


def _between(run: Run, phase: int, last: int) -> bool:
    number, kind = phase // _PHASES, phase % _PHASES
    if kind == ROWS_PHASE:
        return bool(run.numbers[0].total_weight == 0 or account_batch(run, number))
    if kind != _PHASES - 1:
        return True
    if not finish_batch(run, number):
        return False
    if phase + 1 < last:
        start_batch(run, number + 1)
    return True


def rows_phase(
    name: str, inputs: Inputs, hidden: Hidden, head: Callable[[Run, Batch, int, int, Array], None]
) -> Callable[..., None]:
    """The phase of the rows: ``rows_phase(run, number, part, parts, worker)``.

    ``head(run, batch, first, rows, columns)`` is the output layer (see `heads`).
    """
    forward, backward = forward_rows(hidden.forward, inputs.product), backward_rows(hidden.slope)
    bodies = {"_block": hidden.block, "_inputs": inputs.rows, "_head": head}
    return jit(instance(_rows_phase, name, _forward=forward, _backward=backward, **bodies))


def phases_of(
    name: str,
    rows: Callable[..., None],
    features: Callable[..., None],
    later: Callable[..., None] = _later_phase,
    phases: int = 2,
) -> Bodies:
    """The bodies of a program whose batches go through these phases. The name of its kernel begins with `name`."""
    chunk = instance(_chunk, name, _rows_phase=rows, _features_phase=features, _later_phase=later, _PHASES=phases)
    begin = instance(_begin, name, transpose=transpose, _PHASES=phases)
    between = instance(_between, name, start_batch=start_batch, _PHASES=phases)
    return Bodies(jit(begin), jit(chunk), jit(between))
