"""Python values as JSON and back: of models, of results and of finished pieces.

Plain values are written in one way everywhere; models add arrays, objects of this package and
wrapped estimators of scikit-learn.
"""

from __future__ import annotations

import datetime
import importlib
import itertools
import json
import math
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from polytask import _registry
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Node = Any
Tensors = dict[str, NDArray[Any]]

_DATES: Mapping[str, Any] = {
    "$datetime": datetime.datetime,
    "$date": datetime.date,
    "$time": datetime.time,
}


def to_node(value: Any, other: Callable[[Any], Node]) -> Node:  # noqa: ANN401 - any value
    """Return a value as JSON values; `other` makes those of what is no plain Python value."""
    # What JSON lacks becomes an object whose first key begins with a dollar sign.
    kind = type(value)
    if value is None or kind in (bool, str, int) or (kind is float and math.isfinite(value)):
        return value
    if kind is float:
        return {"$float": repr(value)}
    if kind in (list, tuple):
        items = [to_node(item, other) for item in value]
        return items if kind is list else {"$tuple": items}
    if isinstance(value, Mapping):
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: to_node(item, other) for key, item in value.items()}
        return {"$map": [[to_node(k, other), to_node(v, other)] for k, v in value.items()]}
    tag = next((tag for tag, date in _DATES.items() if kind is date), None)
    return other(value) if tag is None else {tag: value.isoformat()}


def plain(value: Any) -> Any:  # noqa: ANN401 - any value
    """Return an object of a subclass as one of the built-in class, anything else as it is."""
    kinds = (int, float, str, tuple, list)
    kind: Any = next((kind for kind in kinds if isinstance(value, kind)), None)
    return value if kind is None else kind(value)


def from_node(node: Node, readers: Mapping[str, Callable[[Node], Any]]) -> Any:  # noqa: ANN401
    """Return the value of a node; `readers` know objects by their first key."""
    if not isinstance(node, dict | list):
        return node
    tag: Any = next(iter(node), "") if isinstance(node, dict) else ""
    if tag in readers:
        return readers[tag](node)
    if tag == "$float":
        return float(node[tag])
    if tag in _DATES:
        return _DATES[tag].fromisoformat(node[tag])
    if tag.startswith("$") and tag not in ("$tuple", "$map"):
        raise DataError(LazyMessage("io.refusal.unknown_kind", {"kind": repr(tag)}))
    inner = node[tag] if tag.startswith("$") else node
    if isinstance(inner, dict):
        return {key: from_node(item, readers) for key, item in inner.items()}
    items = [from_node(item, readers) for item in inner]
    return dict(items) if tag == "$map" else tuple(items) if tag == "$tuple" else items


# Bytes of an array of text, whose width is that of the longest: a short file could ask for any.
_MOST_TEXT = 2**30

# Objects with this loader are plain values; whether two of them are one object is chance.
_PLAIN = "JsonNode"
# The earliest moment that the format of zip archives knows.
_MOMENT = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


def reproducible(content: bytes) -> bytes:
    """Give objects and files of a skops archive numbers in the order in which they appear."""
    with zipfile.ZipFile(BytesIO(content)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    schema = json.loads(members.pop("schema.json"))
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}
    count = itertools.count(1)
    for node in _nodes(schema):
        if node.get("__loader__") == _PLAIN and "__id__" in node:
            node["__id__"] = next(count)
        elif "__id__" in node:
            if node["__id__"] not in numbers:
                numbers[node["__id__"]] = next(count)
            node["__id__"] = numbers[node["__id__"]]
        old = node.get("file")
        if isinstance(old, str) and old in members:
            node["file"] = names.setdefault(old, f"{len(names)}.{old.rpartition('.')[2]}")
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        parts = {new: members[old] for old, new in names.items()}
        for name, part in (parts | {"schema.json": json.dumps(schema).encode()}).items():
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.create_system = _UNIX
            archive.writestr(entry, part)
    return out.getvalue()


def _nodes(value: Any) -> Iterator[MutableMapping[str, Any]]:  # noqa: ANN401 - any JSON value
    """Yield every mapping inside, each before what it holds."""
    if isinstance(value, dict):
        yield value
    parts = value.values() if isinstance(value, dict) else value
    for part in parts if isinstance(value, dict | list) else ():
        yield from _nodes(part)


LINEAR = frozenset(
    {
        "ElasticNet",
        "ElasticNetCV",
        "HuberRegressor",
        "Lasso",
        "LassoCV",
        "LinearRegression",
        "LogisticRegression",
        "LogisticRegressionCV",
        "MultiTaskElasticNet",
        "MultiTaskElasticNetCV",
        "MultiTaskLasso",
        "MultiTaskLassoCV",
        "Ridge",
        "RidgeCV",
    }
)
"""Classes of sklearn.linear_model that coefficients alone make able to predict."""

_LEARNED = (
    "coef_",
    "intercept_",
    "classes_",
    "n_features_in_",
    "feature_names_in_",
    "n_iter_",
    "alpha_",
    "l1_ratio_",
    "C_",
    "scale_",
)

TRUSTED = frozenset(
    {
        "functools.partial",
        "numpy.dtype",
        "sklearn._loss.link.HalfLogitLink",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogLink",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.AbsoluteError",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfGammaLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfPoissonLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn._loss.loss.PinballLoss",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance32",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.model_selection._split.GroupKFold",
        "sklearn.model_selection._split.GroupShuffleSplit",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.ShuffleSplit",
        "sklearn.model_selection._split.StratifiedGroupKFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.model_selection._split.StratifiedShuffleSplit",
        "sklearn.model_selection._split.TimeSeriesSplit",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.tree._tree.Tree",
        "sklearn.utils.validation.check_array",
    }
)
"""Types beyond those that skops trusts by itself: arrays with a meaning (trees, neighbours),
plain settings (splitters, dtypes; losses and bins, which older versions of skops do not
know), and what histogram boosting needs for categories. What a
``functools.partial`` would call is on a list too."""


def _linear_model(name: str, state: dict[str, Any]) -> Any:  # noqa: ANN401 - untyped package
    """Rebuild a linear model from its parameters and coefficients."""
    fitted: dict[str, Any] = state["fitted"]
    if name not in LINEAR or not set(fitted) <= set(_LEARNED):
        raise DataError(LazyMessage("io.refusal.linear_model", {"name": repr(name)}))
    cls = getattr(importlib.import_module("sklearn.linear_model"), name)
    # A parameter of fitting that this version of scikit-learn lacks does not matter any more.
    known = cls().get_params(deep=False)
    model = cls(**{key: value for key, value in state["params"].items() if key in known})
    for attribute, value in fitted.items():
        setattr(model, attribute, value)
    return model


_MODULE = ("torch.nn.modules.module", "Module")


def _skops() -> Any:  # noqa: ANN401 - an untyped module
    """Import skops, whose list of trusted types loads what scikit-learn may work with."""
    # PyTorch takes a second and 100 MB, and no program can fork after it.
    absent = [name for name in ("torch", "dask", "cupy") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        return importlib.import_module("skops.io")
    finally:
        for name in absent:
            del sys.modules[name]


def skops_content(value: object, owner: str, where: LazyMessage) -> NDArray[np.uint8]:
    """Return what skops writes for an estimator, as bytes that depend on nothing else."""
    io = _skops()

    try:
        content = reproducible(io.dumps(value))
        strange = _untrusted(content)
    except Exception as error:  # skops raises what its parts raise
        fields = {"owner": owner, "where": where, "kind": type(value).__name__}
        fields["reason"] = str(error)
        raise DataError(LazyMessage("io.refusal.skops", fields)) from error
    if strange:
        fields = {"owner": owner, "where": where, "names": ", ".join(strange)}
        raise DataError(LazyMessage("io.refusal.untrusted_part", fields))
    return np.frombuffer(content, dtype=np.uint8)


def from_skops(content: NDArray[np.uint8]) -> Any:  # noqa: ANN401 - any estimator
    """Rebuild an estimator from :func:`skops_content`."""
    io = _skops()

    data = content.tobytes()
    with zipfile.ZipFile(BytesIO(data)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed parts, which may be of any size")
    strange = _untrusted(data)
    if strange:
        raise DataError(LazyMessage("io.refusal.untrusted", {"names": ", ".join(strange)}))
    return io.loads(data, trusted=sorted(TRUSTED))


def _untrusted(content: bytes) -> list[str]:
    io = _skops()

    return sorted(set(io.get_untrusted_types(data=content)) - TRUSTED)


class Encoder:
    """Turns values into JSON nodes and collects their arrays."""

    def __init__(self, owner: str) -> None:
        self.tensors: Tensors = {}
        self._owner = owner
        # The arrays are kept alive with their names: an id is unique only while they live.
        self._names: dict[int, tuple[str, object]] = {}

    def encode_model(self, name: str, state: Mapping[str, Mapping[str, Any]]) -> Node:
        """Return the node of an estimator, whose parts are named in messages."""
        parts = {
            part: {
                key: self.encode(item, LazyMessage(f"io.part.{part}", {"name": key}))
                for key, item in fields.items()
            }
            for part, fields in state.items()
        }
        return {"$object": name, "state": parts}

    def encode(self, value: Any, where: LazyMessage) -> Node:  # noqa: ANN401 - any value
        """Return the node of a value; `where` says what it is, for messages."""
        return to_node(value, lambda inner: self._other(inner, where))

    def _other(self, value: Any, where: LazyMessage) -> Node:  # noqa: ANN401 - any value
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, where)
        name = _registry.name_of(value)
        if name is not None:
            return {"$object": name, "state": self.encode(_registry.state_of(value), where)}
        if isinstance(value, slice):
            return {"$slice": [value.start, value.stop, value.step]}
        return self._of_others(value, where)

    def _of_others(self, value: Any, where: LazyMessage) -> Node:  # noqa: ANN401 - untyped packages
        """Return the node of an object of scikit-learn or torch, or refuse."""
        kind = type(value)
        theirs = not kind.__module__.startswith("polytask.") and (
            isinstance(value, BaseEstimator) or kind.__module__.startswith("sklearn.")
        )
        if kind.__module__.startswith("sklearn.linear_model.") and kind.__name__ in LINEAR:
            fitted = {key: vars(value)[key] for key in _LEARNED if key in vars(value)}
            state = {"params": value.get_params(deep=False), "fitted": fitted}
            return {"$linear": kind.__name__, "state": self.encode(state, where)}
        if theirs and kind.__name__ == "Pipeline":
            # With a step that only this package can store.
            steps = list(value.steps)
            if any(_registry.name_of(step) is not None for _, step in steps):
                return {"$pipeline": self.encode(steps, where)}
        if theirs:
            content = skops_content(value, self._owner, where)
            return {"$skops": self._tensor(content, where)}
        # Told by names, without importing torch.
        if any((c.__module__, c.__name__) == _MODULE for c in kind.__mro__):
            return {"$trunk": kind.__name__}
        named = LazyMessage("io.kind.type", {"kind": kind.__name__})
        raise self.refusal(where, LazyMessage("io.kind.function") if callable(value) else named)

    def refusal(self, where: LazyMessage, kind: LazyMessage) -> DataError:
        """Return the error that says what cannot be saved, and what to do."""
        told = LazyMessage("io.refusal.part", {"owner": self._owner, "where": where, "kind": kind})
        if where.key == "io.part.params":
            told += LazyMessage("io.refusal.without_it", where.fields)
        return DataError(told)

    def _array(self, value: Any, where: LazyMessage) -> Node:  # noqa: ANN401 - array or scalar
        if isinstance(value, np.str_ | np.bytes_):
            return self.encode(value.item(), where)
        if isinstance(value, np.generic):
            return {"$scalar": self._tensor(np.asarray(value), where)["$tensor"]}
        if value.dtype.kind in "OU":
            items = [self.encode(item, where) for item in value.ravel().tolist()]
            return {"$values": items, "dtype": value.dtype.str, "shape": list(value.shape)}
        if value.dtype.kind in "mM":
            plain = value.astype(value.dtype.newbyteorder("="))
            return {"$dates": self._tensor(plain.view(np.int64), where), "dtype": plain.dtype.name}
        return self._tensor(value, where)

    def _tensor(self, value: NDArray[Any], where: LazyMessage) -> Node:
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise self.refusal(where, LazyMessage("io.kind.array", {"dtype": str(value.dtype)}))
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
        self._readers: dict[str, Callable[[Node], Any]] = {
            "$slice": lambda node: slice(*node["$slice"]),
            "$scalar": lambda node: tensors[node["$scalar"]][()],
            "$tensor": self._tensor,
            "$values": self._values,
            "$dates": lambda node: self.decode(node["$dates"]).view(node["dtype"]),
            "$object": lambda node: _registry.rebuild(
                _registry.resolve(node["$object"]), self.decode(node["state"])
            ),
            "$linear": lambda node: _linear_model(node["$linear"], self.decode(node["state"])),
            "$pipeline": self._pipeline,
            "$trunk": self._given_trunk,
            "$skops": lambda node: from_skops(self.decode(node["$skops"])),
        }

    def decode(self, node: Node) -> Any:  # noqa: ANN401 - any value
        """Return the value of a node."""
        return from_node(node, self._readers)

    def _pipeline(self, node: Node) -> Any:  # noqa: ANN401 - untyped package
        from sklearn.pipeline import Pipeline

        return Pipeline(self.decode(node["$pipeline"]))

    def _given_trunk(self, node: Node) -> Any:  # noqa: ANN401 - a module, which files do not hold
        self.met_trunk = True
        if self._trunk is None:
            raise DataError(LazyMessage("io.refusal.trunk", {"kind": str(node["$trunk"])}))
        return self._trunk

    def _tensor(self, node: Node) -> NDArray[Any]:
        name = node["$tensor"]
        if node.get("order") != "F":
            return self._tensors[name]
        return self._turned.setdefault(name, self._tensors[name].T)

    def _values(self, node: Node) -> NDArray[Any]:
        items = [self.decode(item) for item in node["$values"]]
        dtype = np.dtype(node["dtype"])
        if dtype.kind not in "OU" or dtype.itemsize * len(items) > _MOST_TEXT:
            raise ValueError(f"{len(items)} values of type {str(dtype)[:40]}")
        flat = np.empty(len(items), dtype=object)
        for place, item in enumerate(items):  # one by one: a tuple is one value
            flat[place] = item
        return flat.astype(dtype).reshape(node["shape"])
