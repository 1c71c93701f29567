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
