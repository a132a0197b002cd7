"""From Python values to JSON and arrays, and back.

JSON has no tuples, arrays, NaN, or mappings with keys of other types than text; these are
written as an object with one key that starts with ``$``. Every array of numbers becomes a
tensor, named in the order of appearance; an array met twice is stored once and is one object
again after loading.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask import _registry
from polytask.exceptions import DataError
from polytask.persistence import _foreign

Node = Any
Tensors = dict[str, NDArray[Any]]


class Encoder:
    """Turns values into JSON nodes and collects their arrays."""

    def __init__(self, owner: str) -> None:
        self.tensors: Tensors = {}
        self._owner = owner
        # The arrays are kept alive with their names: an id is unique only while they live.
        self._names: dict[int, tuple[str, object]] = {}

    def encode_model(self, name: str, state: Mapping[str, Mapping[str, Any]]) -> Node:
        """Return the node of an estimator, whose parts are named in messages."""
        kinds = {"params": "its parameter", "fitted": "its attribute"}
        parts = {
            part: {key: self.encode(item, f"{kinds[part]} {key}") for key, item in fields.items()}
            for part, fields in state.items()
        }
        return {"$object": name, "state": parts}

    def encode(self, value: Any, where: str) -> Node:  # noqa: ANN401 - any value
        """Return the node of a value; `where` says what it is, for messages."""
        if value is None or type(value) in (bool, str, int):
            return value
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, where)
        if type(value) is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if type(value) in (list, tuple):
            items = [self.encode(item, where) for item in value]
            return items if type(value) is list else {"$tuple": items}
        if isinstance(value, Mapping):
            return self._mapping(value, where)
        return self._object(value, where)

    def _mapping(self, value: Mapping[Any, Any], where: str) -> Node:
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: self.encode(item, where) for key, item in value.items()}
        pairs = value.items()
        return {"$map": [[self.encode(k, where), self.encode(item, where)] for k, item in pairs]}

    def _object(self, value: object, where: str) -> Node:
        name = _registry.name_of(value)
        if name is not None:
            return {"$object": name, "state": self._mapping(_registry.state_of(value), where)}
        if isinstance(value, slice):
            return {"$slice": [value.start, value.stop, value.step]}
        if isinstance(value, datetime.datetime | datetime.date):
            return {f"${type(value).__name__}": value.isoformat()}
        return self._of_others(value, where)

    def _of_others(self, value: object, where: str) -> Node:
        """Return the node of an object of scikit-learn or torch, or refuse."""
        if _foreign.is_linear(value):
            state = _foreign.linear_state(value)
            return {"$linear": type(value).__name__, "state": self._mapping(state, where)}
        if _foreign.is_pipeline_of_ours(value):
            return {"$pipeline": self.encode(_foreign.steps_of(value), where)}
        if _foreign.is_scikit_learn(value):
            content = _foreign.skops_content(value, self._owner, where)
            return {"$skops": self._tensor(content, where)}
        if _foreign.is_module(value):
            return {"$trunk": type(value).__name__}
        kind = "a function" if callable(value) else f"of type {type(value).__name__}"
        raise self.refusal(where, kind)

    def refusal(self, where: str, kind: str) -> DataError:
        """Return the error that says what cannot be saved, and what to do."""
        _, _, name = where.partition("its parameter ")
        advice = f" Say set_params({name}=None) first; predictions stay the same." if name else ""
        return DataError(
            f"{self._owner} cannot be saved: {where} is {kind}, which a file cannot hold.{advice}"
        )

    def _array(self, value: Any, where: str) -> Node:  # noqa: ANN401 - array or scalar
        if isinstance(value, np.str_ | np.bytes_):
            return self.encode(value.item(), where)
        if isinstance(value, np.generic):
            return {"$scalar": self._tensor(np.asarray(value), where)["$tensor"]}
        if value.dtype.kind in "OU":
            items = [self.encode(item, where) for item in value.ravel().tolist()]
            return {"$values": items, "dtype": value.dtype.str, "shape": list(value.shape)}
        return self._tensor(value, where)

    def _tensor(self, value: NDArray[Any], where: str) -> Node:
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise self.refusal(where, f"an array of dtype {value.dtype}")
        known = self._names.get(id(value))
        name = known[0] if known else f"a{len(self._names)}"
        # The order in memory is kept: products of matrices depend on it in the last bit.
        turned = value.flags.f_contiguous and not value.flags.c_contiguous
        if not known:
            self._names[id(value)] = name, value
            plain = value.astype(value.dtype.newbyteorder("="), copy=False)
            self.tensors[name] = np.ascontiguousarray(plain.T if turned else plain).reshape(
                value.shape[::-1] if turned else value.shape
            )
        return {"$tensor": name, "order": "F"} if turned else {"$tensor": name}


class Decoder:
    """Turns JSON nodes and arrays back into values."""

    def __init__(self, tensors: Tensors, trunk: object = None) -> None:
        self._tensors = tensors
        self._trunk = trunk
        self.met_trunk = False
        self._turned: dict[str, NDArray[Any]] = {}

    def decode(self, node: Node) -> Any:  # noqa: ANN401 - any value
        """Return the value of a node."""
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        tag = next(iter(node), "")
        if not tag.startswith("$"):
            return {key: self.decode(item) for key, item in node.items()}
        readers: dict[str, Callable[[], Any]] = {
            "$tuple": lambda: tuple(self.decode(node[tag])),
            "$map": lambda: {self.decode(key): self.decode(item) for key, item in node[tag]},
            "$float": lambda: float(node[tag]),
            "$slice": lambda: slice(*node[tag]),
            "$date": lambda: datetime.date.fromisoformat(node[tag]),
            "$datetime": lambda: datetime.datetime.fromisoformat(node[tag]),
            "$scalar": lambda: self._tensors[node[tag]][()],
            "$tensor": lambda: self._tensor(node),
            "$values": lambda: self._values(node),
            "$object": lambda: self._object(node),
            "$linear": lambda: _foreign.linear_model(node[tag], self.decode(node["state"])),
            "$pipeline": lambda: _foreign.pipeline(self.decode(node[tag])),
            "$trunk": lambda: self._given_trunk(node[tag]),
            "$skops": lambda: _foreign.from_skops(self.decode(node[tag])),
        }
        if tag not in readers:
            raise DataError(f"The file holds a value of unknown kind {tag!r}.")
        return readers[tag]()

    def _object(self, node: Node) -> Any:  # noqa: ANN401 - of the class that the node names
        return _registry.rebuild(_registry.resolve(node["$object"]), self.decode(node["state"]))

    def _given_trunk(self, kind: str) -> Any:  # noqa: ANN401 - a module, which files do not hold
        self.met_trunk = True
        if self._trunk is None:
            raise DataError(
                f"the model has a trunk of the user's own, a {kind}, and a file holds no code: "
                "pass a module like the one in fit, load(path, trunk=module)."
            )
        return self._trunk

    def _tensor(self, node: Node) -> NDArray[Any]:
        name = node["$tensor"]
        if node.get("order") != "F":
            return self._tensors[name]
        return self._turned.setdefault(name, self._tensors[name].T)

    def _values(self, node: Node) -> NDArray[Any]:
        items = [self.decode(item) for item in node["$values"]]
        flat = np.empty(len(items), dtype=object)
        for place, item in enumerate(items):  # one by one: a tuple is one value
            flat[place] = item
        return flat.astype(np.dtype(node["dtype"])).reshape(node["shape"])
