"""A graph of ONNX that is written like arithmetic; the one place that imports onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, TensorProto, checker, helper, numpy_helper

from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage

# Text that is matched whole needs 20, sums of trees in double precision need 5.
_OPSETS = {"": 20, "ai.onnx.ml": 5}
_FORMAT = 10
_LEARNING = frozenset({"LabelEncoder", "TreeEnsemble"})
# Bytes of one file; protocol buffers end at two gigabytes.
_MOST_BYTES = 2_000_000_000

Array = NDArray[Any]
Operand: TypeAlias = "Tensor | Array | float | int"


class Graph:
    """Nodes, in the order in which they are computed."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[tuple[Any, ...], str] = {}
        self._tables: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self._outputs: list[Any] = []
        self._bytes = 0

    def input(self, name: str, kind: type, shape: Sequence[str | int]) -> Tensor:
        """Return what is given under a name; several may read it, in the same type."""
        made = helper.make_tensor_value_info(name, _code(kind), shape)
        if self._inputs.setdefault(name, made) != made:
            raise IncompatibleError(LazyMessage("export.refusal.input", {"name": repr(name)}))
        return Tensor(self, name)

    def output(self, name: str, value: Tensor, kind: type, shape: Sequence[str | int]) -> None:
        """Give a value back under a name."""
        self._nodes.append(helper.make_node("Identity", [value.name], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, _code(kind), shape))

    def node(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        attributes: Mapping[str, Any],
        name: str = "",
        second: Sequence[str] = (),
    ) -> Tensor:
        """Return the first output of a node; tables among the attributes become tensors."""
        domain = "ai.onnx.ml" if kind in _LEARNING else ""
        found = f"polytask/{len(self._nodes)}"
        given = {
            key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            for key, value in attributes.items()
        }
        names = [one.name for one in inputs]
        made = helper.make_node(
            kind, names, [found, *second], name=name or None, domain=domain, **given
        )
        for attribute in made.attribute:
            self._count(attribute.t.ByteSize() if attribute.type == AttributeProto.TENSOR else 0)
        self._nodes.append(made)
        return Tensor(self, found)

    def constant(self, value: Operand) -> Tensor:
        """Return numbers or text that are part of the graph; the same ones once."""
        if isinstance(value, Tensor):
            return value
        array = np.asarray(value)
        array = array.astype(object) if array.dtype.kind == "U" else array
        content = tuple(array.ravel()) if array.dtype.kind == "O" else array.tobytes()
        key = (array.dtype.str, array.shape, content)
        if key not in self._constants:
            self._constants[key] = name = f"polytask/c{len(self._constants)}"
            self._count(array.nbytes)
            # A copy in C order: columns of a larger array are not what is stored otherwise.
            self._tables.append(numpy_helper.from_array(array.copy(order="C"), name))
        return Tensor(self, self._constants[key])

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > _MOST_BYTES:
            raise IncompatibleError(LazyMessage("export.refusal.size"))

    def model(self, facts: Mapping[str, str]) -> ModelProto:
        """Return the checked model, with facts about it."""
        graph = helper.make_graph(
            self._nodes, "polytask", [*self._inputs.values()], self._outputs, self._tables
        )
        versions = [helper.make_opsetid(domain, number) for domain, number in _OPSETS.items()]
        model = helper.make_model(
            graph, producer_name="polytask", opset_imports=versions, ir_version=_FORMAT
        )
        helper.set_model_props(model, dict(facts))
        checker.check_model(model)
        return model


def _code(kind: type) -> int:
    """Return the number that ONNX has for a type of entries."""
    if kind is str:
        return int(TensorProto.STRING)
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))


class Tensor:
    """A value of a graph. Numbers beside it are constants, of double precision or int64."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def op(
        self,
        kind: str,
        others: Sequence[Operand] = (),
        attributes: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> Tensor:
        """Return what an operator makes of this value and others behind it."""
        inputs = [self, *map(self.graph.constant, others)]
        return self.graph.node(kind, inputs, attributes or {}, name)

    def __add__(self, other: Operand) -> Tensor:
        return self.op("Add", [other])

    def __sub__(self, other: Operand) -> Tensor:
        return self.op("Sub", [other])

    def __mul__(self, other: Operand) -> Tensor:
        return self.op("Mul", [other])

    def __truediv__(self, other: Operand) -> Tensor:
        return self.op("Div", [other])

    def __matmul__(self, other: Operand) -> Tensor:
        return self.op("MatMul", [other])

    def equals(self, other: Operand) -> Tensor:
        """Return where entries are equal."""
        return self.op("Equal", [other])

    def choose(self, yes: Operand, no: Operand) -> Tensor:
        """Return entries of two values, by these truth values."""
        return self.op("Where", [yes, no])

    def cast(self, kind: type) -> Tensor:
        """Return the entries in another type."""
        return self.op("Cast", attributes={"to": _code(kind)})

    def reshaped(self, *shape: int) -> Tensor:
        """Return the entries in another shape; -1 is what is left, 0 stays as it is."""
        return self.op("Reshape", [np.array(shape, dtype=np.int64)])

    def swapped(self, *axes: int) -> Tensor:
        """Return the same with its axes in another order."""
        return self.op("Transpose", attributes={"perm": list(axes)})

    def largest(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the largest entries along the last axis, falling, and their places there."""
        places = f"{self.name}/places"
        inputs = [self, self.graph.constant(np.array([count]))]
        return self.graph.node("TopK", inputs, {}, second=[places]), Tensor(self.graph, places)

    def summed(self, axis: int = -1, *, keep: bool = False) -> Tensor:
        """Return sums over an axis."""
        axes = np.array([axis], dtype=np.int64)
        return self.op("ReduceSum", [axes], {"keepdims": int(keep)})

    def at(self, places: Operand, axis: int = 0, refusal: str = "") -> Tensor:
        """Return the entries at places along an axis; a refusal is told where there are none."""
        return self.op("Gather", [places], {"axis": axis}, refusal)

    def beside(self, *others: Operand, axis: int = -1) -> Tensor:
        """Return this value and others side by side."""
        return self.op("Concat", others, {"axis": axis})

    def softmax(self) -> Tensor:
        """Return the exponentials of the last axis, divided by their sum."""
        return self.op("Softmax", attributes={"axis": -1})

    def clipped(self, low: Operand, high: Operand) -> Tensor:
        """Return the entries within bounds."""
        return self.op("Min", [high]).op("Max", [low])
