"""From Python values to JSON and arrays, and back; wrapped estimators of scikit-learn too."""

from __future__ import annotations

import datetime
import importlib
import io
import itertools
import json
import math
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from polytask import _registry
from polytask.exceptions import DataError

_SCHEMA = "schema.json"
# Objects with this loader are plain values; whether two of them are one object is chance.
_PLAIN = "JsonNode"
# The earliest moment that the format knows.
_MOMENT = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


def steady(content: bytes) -> bytes:
    """Give objects and files of a skops archive numbers in the order in which they appear."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    schema = json.loads(members.pop(_SCHEMA))
    _number(schema)
    names = _rename(schema, members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for old, new in names.items():
            archive.writestr(_entry(new), members[old])
        archive.writestr(_entry(_SCHEMA), json.dumps(schema))
    return out.getvalue()


def _nodes(value: Any) -> Iterator[MutableMapping[str, Any]]:  # noqa: ANN401 - any JSON value
    """Yield every mapping inside, each before what it holds."""
    if isinstance(value, dict):
        yield value
    parts = value.values() if isinstance(value, dict) else value
    for part in parts if isinstance(value, dict | list) else ():
        yield from _nodes(part)


def _number(schema: Any) -> None:  # noqa: ANN401
    numbers: dict[int, int] = {}
    count = itertools.count(1)
    for node in _nodes(schema):
        if "__id__" not in node:
            continue
        if node.get("__loader__") == _PLAIN:
            node["__id__"] = next(count)
            continue
        if node["__id__"] not in numbers:
            numbers[node["__id__"]] = next(count)
        node["__id__"] = numbers[node["__id__"]]


def _rename(schema: Any, members: MutableMapping[str, bytes]) -> dict[str, str]:  # noqa: ANN401
    names: dict[str, str] = {}
    for node in _nodes(schema):
        old = node.get("file")
        if isinstance(old, str) and old in members:
            ending = old.rpartition(".")[2]
            node["file"] = names.setdefault(old, f"{len(names)}.{ending}")
    return names


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _MOMENT)
    entry.create_system = _UNIX
    return entry


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


def is_scikit_learn(value: object) -> bool:
    """Say whether a value is an estimator, or another object of scikit-learn."""
    ours = type(value).__module__.startswith("polytask.")
    return not ours and (
        isinstance(value, BaseEstimator) or type(value).__module__.startswith("sklearn.")
    )


def is_pipeline_of_ours(value: object) -> bool:
    """Say whether a value is a pipeline with a step that only this package can store."""
    plain = type(value).__name__ == "Pipeline" and is_scikit_learn(value)
    return plain and any(_registry.name_of(step) is not None for _, step in steps_of(value))


def steps_of(value: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - untyped package
    """Return the named steps of a pipeline."""
    return list(value.steps)


def pipeline(steps: list[tuple[str, Any]]) -> Any:  # noqa: ANN401 - untyped package
    """Rebuild a pipeline from its steps."""
    from sklearn.pipeline import Pipeline

    return Pipeline(steps)


def is_module(value: object) -> bool:
    """Say whether a value is a module of torch, without importing it."""
    bases = type(value).__mro__
    return any(c.__module__ == "torch.nn.modules.module" and c.__name__ == "Module" for c in bases)


def is_linear(value: object) -> bool:
    """Say whether a value is one of the linear models that are stored as coefficients."""
    kind = type(value)
    return kind.__module__.startswith("sklearn.linear_model.") and kind.__name__ in LINEAR


def linear_state(model: Any) -> dict[str, Any]:  # noqa: ANN401 - untyped package
    """Return the parameters of a linear model, and its coefficients if it is fitted."""
    held = vars(model)
    return {
        "params": model.get_params(deep=False),
        "fitted": {name: held[name] for name in _LEARNED if name in held},
    }


def linear_model(name: str, state: dict[str, Any]) -> Any:  # noqa: ANN401 - untyped package
    """Rebuild a linear model from :func:`linear_state`."""
    fitted: dict[str, Any] = state["fitted"]
    if name not in LINEAR or not set(fitted) <= set(_LEARNED):
        raise DataError(f"The file names a linear model {name!r} that cannot be loaded.")
    cls = getattr(importlib.import_module("sklearn.linear_model"), name)
    # A parameter of fitting that this version of scikit-learn lacks does not matter any more.
    known = cls().get_params(deep=False)
    model = cls(**{key: value for key, value in state["params"].items() if key in known})
    for attribute, value in fitted.items():
        setattr(model, attribute, value)
    return model


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


def skops_content(value: object, owner: str, where: str) -> NDArray[np.uint8]:
    """Return what skops writes for an estimator, as bytes that depend on nothing else."""
    io = _skops()

    try:
        content = steady(io.dumps(value))
        strange = _untrusted(content)
    except Exception as error:  # skops raises what its parts raise
        raise DataError(
            f"{owner} cannot be saved: {where} holds a {type(value).__name__} that skops cannot "
            f"write ({error})."
        ) from error
    if strange:
        raise DataError(
            f"{owner} cannot be saved: {where} holds objects of type {', '.join(strange)}, which "
            "are not on the list of types that load trusts."
        )
    return np.frombuffer(content, dtype=np.uint8)


def from_skops(content: NDArray[np.uint8]) -> Any:  # noqa: ANN401 - any estimator
    """Rebuild an estimator from :func:`skops_content`."""
    io = _skops()

    data = content.tobytes()
    strange = _untrusted(data)
    if strange:
        raise DataError(
            f"The file holds objects of type {', '.join(strange)}, which are not on the list of "
            "types that load trusts."
        )
    return io.loads(data, trusted=sorted(TRUSTED))


def _untrusted(content: bytes) -> list[str]:
    io = _skops()

    return sorted(set(io.get_untrusted_types(data=content)) - TRUSTED)


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
        if is_linear(value):
            state = linear_state(value)
            return {"$linear": type(value).__name__, "state": self._mapping(state, where)}
        if is_pipeline_of_ours(value):
            return {"$pipeline": self.encode(steps_of(value), where)}
        if is_scikit_learn(value):
            content = skops_content(value, self._owner, where)
            return {"$skops": self._tensor(content, where)}
        if is_module(value):
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
            "$linear": lambda: linear_model(node[tag], self.decode(node["state"])),
            "$pipeline": lambda: pipeline(self.decode(node[tag])),
            "$trunk": lambda: self._given_trunk(node[tag]),
            "$skops": lambda: from_skops(self.decode(node[tag])),
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
