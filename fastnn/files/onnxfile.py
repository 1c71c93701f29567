"""ONNX files: a network as a graph that other runtimes read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import missing_package
from fastnn.files.atomic import replacing
from fastnn.kernels.equations.activation import GELU_CUBE, GELU_SCALE, LEAK
from fastnn.runtime.forks import late

Array = NDArray[Any]

# The oldest version of ONNX's operators that has all that plain networks need, and the oldest that has layer
# normalisation, too. leaky_relu and gelu are made of simpler operators: runtimes have no LeakyRelu or Gelu in float64.
_OPSET, _OPSET_OF_NORMALISED = 13, 17
_OPERATORS = {"tanh": "Tanh", "relu": "Relu", "logistic": "Sigmoid"}


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array],
    n_members: int,
    activations: Sequence[str],
    output: str,
    classes: Array | None,
) -> None:
    """Write one network, or the mean of several, as an ONNX file that appears whole or not at all.

    Parameters
    ----------
    path : str or path-like
    tensors : mapping of str to ndarray
        The parameters of each network after those of the one before: weights and biases of each layer, then the gains.
    n_members : int
        The number of networks.
    activations : sequence of str
        The activation of each hidden layer.
    output : {"softmax", "logistic", "identity", "exp"}
    classes : ndarray of shape (n_classes,), or None
    """
    onnx = _onnx()
    arrays = list(tensors.values())
    n_features, n_classes = len(arrays[0]), len(arrays[2 * len(activations) + 1])
    graph = _Graph(onnx, arrays[0].dtype)
    names = [graph.constant(name, array) for name, array in tensors.items()]
    of_member = len(names) // n_members
    logits = [graph.layers(activations, names[i * of_member : (i + 1) * of_member]) for i in range(n_members)]
    outputs = graph.outputs(output, logits, n_classes, classes)
    inputs = [onnx.helper.make_tensor_value_info("X", graph.kind, ["n", n_features])]
    made = onnx.helper.make_graph(graph.nodes, "fastnn", inputs, outputs, list(graph.constants.values()))
    normalised = any(node.op_type == "LayerNormalization" for node in graph.nodes)
    opset = onnx.helper.make_opsetid("", _OPSET_OF_NORMALISED if normalised else _OPSET)
    model = onnx.helper.make_model(made, producer_name="fastnn", opset_imports=[opset])
    model.ir_version = min(model.ir_version, 9)  # older runtimes refuse files of a newer version
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as file:
        file.write(model.SerializeToString())


def _onnx() -> Any:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise missing_package("ONNX files", "onnx", "onnx") from error
    return onnx


@late
def _epsilon() -> float:
    from fastnn.kernels.forward.normalised import EPSILON

    return EPSILON


class _Graph:
    """A graph in the making: its nodes, and its constants by name. Its methods return the names of their results."""

    def __init__(self, onnx: Any, dtype: Any) -> None:
        self.onnx, self.dtype = onnx, dtype
        self.kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, array: Any) -> str:
        # np.ascontiguousarray would make a 0-d array one-dimensional.
        self.constants[name] = self.onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def number(self, value: float) -> str:
        return self.constant(f"number {value}", np.array(value, self.dtype))

    def node(self, kind: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        name = name or f"{kind}.{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def layers(self, activations: Sequence[str], parameters: list[str]) -> str:
        """Add one network's layers, from X to the logits; the parameters are in the order of `write`."""
        n_hidden = len(activations)
        layers, gains = parameters[: 2 * (n_hidden + 1)], parameters[2 * (n_hidden + 1) :]
        a = "X"
        for layer, (W, b) in enumerate(zip(layers[0::2], layers[1::2], strict=True)):
            if layer < n_hidden and gains:
                z = self.node("MatMul", [a, W])
                a = self.node("LayerNormalization", [z, gains[layer], b], epsilon=_epsilon())
            else:
                a = self.node("Gemm", [a, W, b])
            if layer < n_hidden:
                a = self.activation(activations[layer], a)
        return a

    def mean(self, values: list[str], name: str) -> str:
        """Add the mean of the members' values, which are summed in order."""
        total, *others = values
        for value in others:
            total = self.node("Add", [total, value])
        return self.node("Div", [total, self.number(float(len(values)))], name)

    def activation(self, name: str, z: str) -> str:
        node, number = self.node, self.number
        if name == "identity":
            return z
        if name == "silu":
            return node("Mul", [z, node("Sigmoid", [z])])
        if name == "leaky_relu":
            return node("Max", [z, node("Mul", [z, number(LEAK)])])
        if name == "gelu":
            cube = node("Mul", [node("Mul", [z, z]), z])
            inner = node("Add", [z, node("Mul", [cube, number(GELU_CUBE)])])
            t = node("Tanh", [node("Mul", [inner, number(GELU_SCALE)])])
            return node("Mul", [z, node("Mul", [node("Add", [t, number(1.0)]), number(0.5)])])
        return node(_OPERATORS[name], [z])

    def outputs(self, output: str, logits: list[str], n_classes: int, classes: Array | None) -> list[Any]:
        """Add the nodes from each member's logits to the graph's outputs, and return the outputs' descriptions."""
        describe, rows = self.onnx.helper.make_tensor_value_info, "n"
        if output == "exp":
            logits = [self.node("Exp", [z]) for z in logits]
        if output in ("identity", "exp"):
            return [describe(self.mean(logits, "values"), self.kind, [rows, n_classes])]
        if output == "logistic":
            p = self.mean([self.node("Sigmoid", [z]) for z in logits], "probabilities")
            chosen, integer = self.node("Greater", [p, self.number(0.5)]), self.onnx.TensorProto.INT64
            label = describe(self.node("Cast", [chosen], "label", to=integer), integer, [rows, n_classes])
        else:
            p = self.mean([self.node("Softmax", [z], axis=1) for z in logits], "probabilities")
            index = self.node("ArgMax", [p], axis=1, keepdims=0)
            labels = np.arange(n_classes) if classes is None else classes
            integer = np.int64 if labels.dtype.kind in "iu" and labels.max() < 2**63 else np.uint64
            labels = labels.astype({"U": object, "i": integer, "u": integer}.get(labels.dtype.kind, labels.dtype))
            of_labels = self.onnx.helper.np_dtype_to_tensor_dtype(labels.dtype)
            label = describe(self.node("Gather", [self.constant("classes", labels), index], "label"), of_labels, [rows])
        return [label, describe(p, self.kind, [rows, n_classes])]
