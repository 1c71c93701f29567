"""The equations of a multilayer perceptron as functions on NumPy arrays.

The arrays of a call are float32 or float64, all of the same dtype, with samples in rows. Any memory form is allowed
(strided, read-only, misaligned, ...). A function puts its result into `out` if that is given, and otherwise returns a
new array. Each function is compiled on first use, once per dtype, and kept on disk.

====  ============================================  ===============================
tag   equation                                      function
====  ============================================  ===============================
F1    z = a_prev @ W + b                            `linear`
F2    a = tanh(z)                                   `tanh`, `linear_tanh` (with F1)
F3    p = softmax(z)                                `softmax`
F4    loss = -mean_i log p[i, y_i]                  `cross_entropy`
B1    delta = (p - onehot(y)) / n                   `output_delta`
B2    grad_W = a_prev.T @ delta                     `weight_gradient`
B3    grad_b = sum_i delta[i]                       `bias_gradient`
B4    delta_prev = (delta @ W.T) * (1 - a_prev**2)  `hidden_delta`
U1    W -= step * grad_W; b -= step * grad_b        `sgd_step`
====  ============================================  ===============================
"""

from typing import TYPE_CHECKING, Any

from fastnn.runtime.forks import late

if TYPE_CHECKING:
    from fastnn.kernels.functions.gradients import bias_gradient, hidden_delta, sgd_step, weight_gradient
    from fastnn.kernels.functions.layers import linear, linear_tanh, tanh
    from fastnn.kernels.functions.outputs import cross_entropy, output_delta, softmax

__all__ = [
    "bias_gradient",
    "cross_entropy",
    "hidden_delta",
    "linear",
    "linear_tanh",
    "output_delta",
    "sgd_step",
    "softmax",
    "tanh",
    "weight_gradient",
]


@late
def _functions() -> dict[str, Any]:
    from fastnn.kernels.functions import gradients, layers, outputs

    return {**vars(layers), **vars(outputs), **vars(gradients)}


def __getattr__(name: str) -> Any:
    # Networks don't need these functions: without them `import fastnn` takes 5 ms less.
    if name in __all__:
        function = globals()[name] = _functions()[name]
        return function
    raise AttributeError(f"module 'fastnn.kernels' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
