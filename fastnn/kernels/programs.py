"""Which compiled work trains which network: all conditions, in one place.

docs/design.md has the table of the bodies that each program is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from fastnn.kernels.epoch.frame import Program
from fastnn.kernels.equations.activation import STORED
from fastnn.kernels.layout import Layout, line_elements
from fastnn.kernels.simd.shape import PANEL_LINES
from fastnn.runtime.forks import late


class Kind(NamedTuple):
    """A kind of training. Each kind has a program of its own.

    Parameters
    ----------
    lanes : bool
        The samples lie in the vector lanes, since the layers are narrow.
    general : bool
        The output, an activation, an option, the samples or the layers are not plain.
    sparse : bool
        The samples are sparse.
    normalised : bool
        The hidden layers are normalised.
    members : bool
        An ensemble is trained.
    """

    lanes: bool = False
    general: bool = False
    sparse: bool = False
    normalised: bool = False
    members: bool = False


# The kinds that `warm_up` compiles. Those left out are ensembles that aren't plain, and normalised networks of sparse
# samples: they are compiled when one is trained.
KINDS = (
    Kind(lanes=True),
    Kind(),
    Kind(general=True),
    Kind(general=True, normalised=True),
    Kind(general=True, sparse=True),
    Kind(lanes=True, members=True),
    Kind(members=True),
)


class Trained(Protocol):
    """The properties of a network (or an ensemble) that decide how it is trained."""

    @property
    def layout(self) -> Layout: ...
    @property
    def output(self) -> str: ...
    @property
    def activations(self) -> Sequence[str]: ...
    @property
    def n_members(self) -> int: ...


class Options(Protocol):
    """The options that decide how a network is trained."""

    @property
    def dropout(self) -> float: ...
    @property
    def label_smoothing(self) -> float: ...
    @property
    def clip_norm(self) -> float | None: ...


def fits_lanes(sizes: Sequence[int], dtype: Any) -> bool:
    """Whether a plain network of these sizes is trained with the samples in the lanes, and not by panels.

    The answer decides the order of sums, so it depends on the sizes and the dtype alone: every layer must fit one
    panel. Measured in float32, training with the samples in the lanes takes this many times as long as by panels: 2-3-2
    takes 0.53, 10-16-2 0.50 to 0.72, 16-16-16 0.73, 32-32-32 0.99, 64-10 1.22, 64-32-10 1.13 to 1.25, 784-10-10 2.07.
    """
    return max(sizes) <= PANEL_LINES * line_elements(dtype)


def kind_of(net: Trained, options: Options, sparse: bool) -> Kind:
    """The kind of the training of a network with these options; `sparse` says whether its samples are sparse.

    The kind decides the order of sums. So it depends on nothing that may differ between machines.
    """
    plain = net.output == "softmax" and not STORED.intersection(net.activations) and not net.layout.normalised
    plain = plain and not (sparse or options.dropout or options.label_smoothing or options.clip_norm)
    lanes = plain and fits_lanes(net.layout.sizes, net.layout.dtype)
    return Kind(lanes, not plain, sparse, net.layout.normalised, net.n_members > 1)


@late
def program(kind: Kind) -> Program:
    """The program that trains networks of a kind. Its modules are imported when the first of that kind is trained."""
    if kind.members:
        from fastnn.kernels.epoch.members import of_members

        return of_members(program(kind._replace(members=False)), kind.sparse)
    if kind.lanes:
        from fastnn.kernels.epoch.lanes import LANES

        return LANES
    if not kind.general:
        from fastnn.kernels.epoch.panels import PANELS

        return PANELS
    if kind.normalised:
        from fastnn.kernels.epoch.normalised import NORMALISED, NORMALISED_SPARSE

        return NORMALISED_SPARSE if kind.sparse else NORMALISED
    if kind.sparse:
        from fastnn.kernels.epoch.sparse import SPARSE

        return SPARSE
    from fastnn.kernels.epoch.general import GENERAL

    return GENERAL
