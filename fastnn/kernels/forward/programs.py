"""Which kernel scores the rows of which network."""

from __future__ import annotations

from fastnn.kernels.forward.scoring import predict
from fastnn.kernels.forward.sparse import predict_sparse
from fastnn.runtime.forks import late
from fastnn.runtime.launch import Kernel


def scoring_kernel(normalised: bool, sparse: bool) -> Kernel:
    """The kernel that takes `Predict`, for networks with normalised hidden layers or not, from plain or sparse rows."""
    if normalised:
        return _normalised()[sparse]
    return predict_sparse if sparse else predict


@late
def _normalised() -> tuple[Kernel, Kernel]:
    from fastnn.kernels.forward.normalised import predict_normalised, predict_normalised_sparse

    return predict_normalised, predict_normalised_sparse
