"""ONNX files: a network as a graph that other runtimes read."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnn.files.atomic import replacing
from fastnn.kernels.equations.activation import GELU_CUBE, GELU_SCALE, LEAK
from fastnn.runtime.compiler import late

Array = NDArray[Any]

# The oldest that has everything, and the oldest that has normalised layers, too. LeakyRelu and Gelu are made of others:
# runtimes don't have them in float64.
_OPSET, _OPSET_OF_NORMALISED = 13, 17
_OPERATORS = {"tanh": "Tanh", "relu": "Relu", "logistic": "Sigmoid"}


class Described(Protocol):
    """What is asked of a `Network`."""

    output: str
    classes: Any

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def n_features(self) -> int: ...

    @property
    def n_classes(self) -> int: ...

    @property
    def activations(self) -> tuple[str, ...]: ...

    @property
    def n_members(self) -> int: ...

    def tensors(self) -> dict[str, Array]: ...


def write(net: Described, path: str | os.PathLike[str]) -> None:
    """Write a network as an ONNX file, whole or not at all; see `Network.to_onnx`."""
    onnx = _onnx()
    graph = _Graph(onnx, net.dtype)
    tensors = [graph.constant(name, array) for name, array in net.tensors().items()]
    of_member = len(tensors) // net.n_members
    members = [tensors[first : first + of_member] for first in range(0, len(tensors), of_member)]
    outputs = graph.outputs(net, [graph.layers(net, member) for member in members])
    inputs = [onnx.helper.make_tensor_value_info("X", graph.kind, ["n", net.n_features])]
    made = onnx.helper.make_graph(graph.nodes, "fastnn", inputs, outputs, list(graph.constants.values()))
    normalised = any(node.op_type == "LayerNormalization" for node in graph.nodes)
    opset = onnx.helper.make_opsetid("", _OPSET_OF_NORMALISED if normalised else _OPSET)
    model = onnx.helper.make_model(made, producer_name="fastnn", opset_imports=[opset])
    model.ir_version = min(model.ir_version, 9)  # a newer one is refused by older runtimes
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as file:
        file.write(model.SerializeToString())


def _onnx() -> Any:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ONNX files need the package onnx, which isn't installed: pip install 'fastnn-numba[onnx]'", name="onnx"
        ) from error
    return onnx


@late
def _epsilon() -> float:
    from fastnn.kernels.epoch.normalised import EPSILON

    return EPSILON


class _Graph:
    """Nodes and constants, by the names of what they give."""

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

    def layers(self, net: Described, parameters: list[str]) -> str:
        """From X through all layers of these weights and biases, and gains if there are any: the logits."""
        n_hidden = len(net.activations)
        layers, gains = parameters[: 2 * (n_hidden + 1)], parameters[2 * (n_hidden + 1) :]
        a = "X"
        for layer, (W, b) in enumerate(zip(layers[0::2], layers[1::2], strict=True)):
            if layer < n_hidden and gains:
                z = self.node("MatMul", [a, W])
                a = self.node("LayerNormalization", [z, gains[layer], b], epsilon=_epsilon())
            else:
                a = self.node("Gemm", [a, W, b])
            if layer < n_hidden:
                a = self.activation(net.activations[layer], a)
        return a

    def mean(self, values: list[str], name: str) -> str:
        """The mean of the members' values, added up in order."""
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

    def outputs(self, net: Described, logits: list[str]) -> list[Any]:
        """The last nodes, from each member's logits; what they give, described."""
        describe, rows = self.onnx.helper.make_tensor_value_info, "n"
        if net.output == "identity":
            return [describe(self.mean(logits, "values"), self.kind, [rows, net.n_classes])]
        if net.output == "logistic":
            p = self.mean([self.node("Sigmoid", [z]) for z in logits], "probabilities")
            chosen, integer = self.node("Greater", [p, self.number(0.5)]), self.onnx.TensorProto.INT64
            label = describe(self.node("Cast", [chosen], "label", to=integer), integer, [rows, net.n_classes])
        else:
            p = self.mean([self.node("Softmax", [z], axis=1) for z in logits], "probabilities")
            index = self.node("ArgMax", [p], axis=1, keepdims=0)
            labels = np.arange(net.n_classes) if net.classes is None else net.classes
            labels = labels.astype({"U": object, "i": np.int64, "u": np.int64}.get(labels.dtype.kind, labels.dtype))
            of_labels = self.onnx.helper.np_dtype_to_tensor_dtype(labels.dtype)
            label = describe(self.node("Gather", [self.constant("classes", labels), index], "label"), of_labels, [rows])
        return [label, describe(p, self.kind, [rows, net.n_classes])]
