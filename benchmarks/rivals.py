"""JAX, PyTorch and ONNX Runtime behind the interface of `benchmarks.contestants`.

No library shuffles here: if all take the same rows in the same order, they can be compared number by number. JAX and
PyTorch could differentiate by themselves. With the equations written out (F1 to F3, B1 to B4), JAX is as fast as with
its own derivatives, and PyTorch is faster.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.common import Task

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
# 1 - beta**t is computed as -expm1(t * log(beta)): with a power in float32, Adam's first steps would have five digits.
LOG_BETAS = math.log(BETA_1), math.log(BETA_2)


def _targets(task: Task) -> np.ndarray:
    """One-hot rows: an epoch doesn't have to look classes up."""
    if task.shuffle:
        raise ValueError("the rivals take the rows in their own order: make the task with shuffle=False")
    return np.eye(len(task.biases[-1]), dtype=np.float32)[task.y]


class Jax:
    """JAX: a call's epochs are one jitted function, each a `lax.scan` over its batches; data lie on the device.

    Weights are (n_out, n_in): with (n_in, n_out) an epoch of `digits` took 0.49 ms, not 0.42, one of `mnist` by 256
    rows 30 ms, not 28. With jax.grad in place of the equations `tabular` took 22 ms, not 23, `wide` 92, not 90.
    """

    def __init__(self, task: Task) -> None:
        import jax

        jax.config.update("jax_platforms", "cpu")
        self.jax, self.task = jax, task
        self.data = jax.device_put(self._batches(_targets(task)))
        params = [np.ascontiguousarray(W.T) for W in task.weights], task.biases
        self.state = jax.device_put((params, self._solver_state(params)))
        # The old parameters are given away: their memory holds the new ones.
        self._train = jax.jit(self._epochs, donate_argnums=0)
        self._score = jax.jit(lambda params, X: self._forward(params, X)[-1])

    def _batches(self, Y: np.ndarray) -> Any:
        """Full batches, stacked for `scan`, and what is left over."""
        n, size = len(self.task.X), self.task.batch_size
        full = n // size * size
        stacked = (array[:full].reshape(-1, size, array.shape[1]) for array in (self.task.X, Y))
        return tuple(stacked), (self.task.X[full:], Y[full:])

    def _solver_state(self, params: Any) -> Any:
        """For Adam: how many steps, and both moments."""
        if self.task.solver == "sgd":
            return ()
        m, v = (self.jax.tree.map(np.zeros_like, params) for _ in range(2))
        return np.float32(0), m, v

    def _epochs(self, state: Any, data: Any) -> Any:
        stacked, rest = data

        def epoch(state: Any, _: None) -> tuple[Any, None]:
            state, _ = self.jax.lax.scan(lambda state, batch: (self._step(state, batch), None), state, stacked)
            return (self._step(state, rest) if len(rest[0]) else state), None

        return self.jax.lax.scan(epoch, state, None, length=self.task.epochs)[0]

    def _step(self, state: Any, batch: Any) -> Any:
        params, solver_state = state
        grads = self._gradients(params, *batch)
        if self.task.solver == "adam":
            return self._adam(params, grads, *solver_state)
        return self.jax.tree.map(lambda param, grad: param - self.task.step_size * grad, params, grads), ()

    def _forward(self, params: Any, X: Any) -> list[Any]:
        """The input, the activations of each hidden layer, the probabilities."""
        weights, biases = params
        a = [X]
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            a.append(self.jax.numpy.tanh(a[-1] @ W.T + b))
        return [*a, self.jax.nn.softmax(a[-1] @ weights[-1].T + biases[-1])]

    def _gradients(self, params: Any, X: Any, Y: Any) -> Any:
        weights, _ = params
        *a, p = self._forward(params, X)
        deltas = [(p - Y) / len(X)]
        for W, slope in zip(weights[:0:-1], a[:0:-1], strict=True):
            deltas.insert(0, (deltas[0] @ W) * (1 - slope * slope))
        return [delta.T @ each for delta, each in zip(deltas, a, strict=True)], [delta.sum(0) for delta in deltas]

    def _adam(self, params: Any, grads: Any, t: Any, m: Any, v: Any) -> Any:
        jnp, tree_map = self.jax.numpy, self.jax.tree.map
        t = t + 1
        m = tree_map(lambda m, grad: BETA_1 * m + (1 - BETA_1) * grad, m, grads)
        v = tree_map(lambda v, grad: BETA_2 * v + (1 - BETA_2) * grad * grad, v, grads)
        left_1, left_2 = (-jnp.expm1(t * log) for log in LOG_BETAS)
        step = self.task.step_size * jnp.sqrt(left_2) / left_1
        params = tree_map(lambda param, m, v: param - step * m / (jnp.sqrt(v) + EPSILON), params, m, v)
        return params, (t, m, v)

    def train(self) -> None:
        """See `contestants.Contestant`."""
        self.state = self.jax.block_until_ready(self._train(self.state, self.data))

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """See `contestants.Contestant`."""
        return np.asarray(self._score(self.state[0], X))


class TorchEager:
    """PyTorch, operation by operation, without autograd.

    An epoch of `digits` takes 2.1 ms. With autograd and PyTorch's own SGD, it takes 6.6 ms.

    Here, SGD's step is part of the product (`addmm_`), so that the gradient is never written: an epoch of `mnist` by 64
    rows took 88 ms, not 103. Adam is PyTorch's own, fused.
    """

    def __init__(self, task: Task) -> None:
        import torch

        torch.set_num_threads(task.threads)
        self.torch, self.task = torch, task
        self.weights = [torch.from_numpy(W.copy()) for W in task.weights]
        self.biases = [torch.from_numpy(b.copy()) for b in task.biases]
        X, Y = torch.from_numpy(task.X), torch.from_numpy(_targets(task))
        self.batches = list(zip(X.split(task.batch_size), Y.split(task.batch_size), strict=True))
        self.step = self._sgd if task.solver == "sgd" else self._make_adam()

    def train(self) -> None:
        """See `contestants.Contestant`."""
        with self.torch.no_grad():
            for _ in range(self.task.epochs):
                for X, Y in self.batches:
                    self.step(self.weights, self.biases, X, Y)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """See `contestants.Contestant`."""
        with self.torch.inference_mode():
            p: np.ndarray = self._forward(self.weights, self.biases, self.torch.from_numpy(X))[-1].numpy()
        return p

    def _forward(self, weights: list[Any], biases: list[Any], X: Any) -> list[Any]:
        """The input, the activations of each hidden layer, the probabilities."""
        torch, a = self.torch, [X]
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            a.append(torch.addmm(b, a[-1], W).tanh_())
        return [*a, torch.softmax(torch.addmm(biases[-1], a[-1], weights[-1]), 1)]

    def _backward(self, weights: list[Any], biases: list[Any], X: Any, Y: Any) -> list[tuple[Any, Any]]:
        """The inputs and the delta of each layer."""
        *a, p = self._forward(weights, biases, X)
        deltas = [p.sub_(Y).div_(len(X))]
        for W, slope in zip(weights[:0:-1], a[:0:-1], strict=True):
            deltas.insert(0, self.torch.ops.aten.tanh_backward(deltas[0] @ W.t(), slope))
        return list(zip(a, deltas, strict=True))

    def _sgd(self, weights: list[Any], biases: list[Any], X: Any, Y: Any) -> None:
        step_size = self.task.step_size
        layers = self._backward(weights, biases, X, Y)
        for W, b, (a, delta) in zip(weights, biases, layers, strict=True):
            W.addmm_(a.t(), delta, alpha=-step_size)
            b.sub_(delta.sum(0), alpha=step_size)

    def _make_adam(self) -> Any:
        # PyTorch's Adam adds epsilon after the correction of the second moment. The other implementations add it
        # before.
        params = self.weights + self.biases
        adam = self.torch.optim.Adam(params, self.task.step_size, (BETA_1, BETA_2), EPSILON, fused=True)

        def step(weights: list[Any], biases: list[Any], X: Any, Y: Any) -> None:
            layers = self._backward(weights, biases, X, Y)
            grads = [a.t() @ delta for a, delta in layers] + [delta.sum(0) for _, delta in layers]
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad
            adam.step()

        return step


class TorchCompiled(TorchEager):
    """PyTorch, a whole step through torch.compile, in one graph for full batches and one for the last.

    An epoch of `digits` takes 2.2 ms, and 2.7 ms without `cpp_wrapper`. It takes 10 ms if only the forward pass is
    compiled, and autograd and PyTorch's SGD do the rest. MKL computes the products in any case: with `max_autotune`,
    all situations took the same time within 2 %.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        torch = self.torch
        # PyTorch limits the number of shapes that a process compiles. The steps compiled so far aren't needed any more.
        torch._dynamo.reset()
        # Shapes are compiled in, and so is the number of threads. The cache on the disk has to tell these numbers
        # apart.
        options = {"cpp_wrapper": True, "cpp.threads": task.threads}
        self.step = torch.compile(self.step, fullgraph=True, dynamic=False, options=options)

    def _make_adam(self) -> Any:
        torch, step_size = self.torch, self.task.step_size
        params = self.weights + self.biases
        # `t` is a tensor, since a Python number would be compiled in. It isn't float64, since PyTorch 2.13 compiles
        # such a scalar as if it were a Python number, and loses what is added to it.
        t = torch.zeros(())
        moments = [(torch.zeros_like(param), torch.zeros_like(param)) for param in params]

        def step(weights: list[Any], biases: list[Any], X: Any, Y: Any) -> None:
            layers = self._backward(weights, biases, X, Y)
            grads = [a.t() @ delta for a, delta in layers] + [delta.sum(0) for _, delta in layers]
            t.add_(1)
            left_1, left_2 = (-torch.expm1(t * log) for log in LOG_BETAS)
            step = step_size * torch.sqrt(left_2) / left_1
            for param, grad, (m, v) in zip(params, grads, moments, strict=True):
                m.mul_(BETA_1).add_(grad, alpha=1 - BETA_1)
                v.mul_(BETA_2).addcmul_(grad, grad, value=1 - BETA_2)
                param.sub_(step * m / (v.sqrt() + EPSILON))

        return step


class OnnxRuntime:
    """ONNX Runtime, which scores only: the network as Gemm, Tanh and Softmax, all optimisations on (its default)."""

    def __init__(self, task: Task) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = task.threads
        options.inter_op_num_threads = 1
        model = _onnx_model(task).SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def train(self) -> None:
        """See `contestants.Contestant`."""
        raise NotImplementedError("ONNX Runtime scores only")

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """See `contestants.Contestant`."""
        p: np.ndarray = self.session.run(["p"], {"X": X})[0]
        return p


def _onnx_model(task: Task) -> Any:
    """The network in ONNX's format."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, name = [], [], "X"
    for layer, (W, b) in enumerate(zip(task.weights, task.biases, strict=True), 1):
        last = layer == len(task.weights)
        constants += [numpy_helper.from_array(W, f"W{layer}"), numpy_helper.from_array(b, f"b{layer}")]
        nodes.append(helper.make_node("Gemm", [name, f"W{layer}", f"b{layer}"], [f"z{layer}"]))
        name = "p" if last else f"a{layer}"
        nodes.append(helper.make_node("Softmax" if last else "Tanh", [f"z{layer}"], [name]))
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", columns])]
        for name, columns in (("X", task.X.shape[1]), ("p", len(task.biases[-1])))
    ]
    graph = helper.make_graph(nodes, "network", *ends, initializer=constants)
    # Versions from 2021: the newest that onnx writes may be newer than what ONNX Runtime reads.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
