"""What can be saved: the decorator that names a class, and how `load` finds it by that name."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage

State = dict[str, Any]


@runtime_checkable
class Saveable(Protocol):
    """An object whose state is plain: JSON values, arrays, other saveable objects."""

    def to_state(self) -> State:
        """Return the state as a dictionary."""
        ...

    @classmethod
    def from_state(cls, state: State) -> Any:  # noqa: ANN401 - the class itself, which a Protocol cannot name
        """Rebuild the object from :meth:`to_state`."""
        ...


T = TypeVar("T", bound=type)

# The modules that mark their classes when they are imported, by how the format names begin; the
# longest beginning counts. A file can import nothing else.
HOMES: Mapping[str, str] = {
    "baseline.": "polytask.baselines",
    "bayes.": "polytask.linear",
    "boosting.": "polytask.boosting",
    "boosting.plain_classifier": "polytask.boosting.plain",
    "boosting.plain_regressor": "polytask.boosting.plain",
    "data.": "polytask.data",
    "deep.": "polytask.deep.estimators",
    "deep.align.": "polytask.deep.align",
    "deep.balancer.": "polytask.deep.balancing",
    "deep.layerwise_decay": "polytask.deep.pretrained",
    "deep.meta.": "polytask.deep.meta_learner",
    "deep.to_start": "polytask.deep.regularise",
    "deep.sampling.": "polytask.deep.sampling",
    "deep.sharing.": "polytask.deep.sharing",
    "estimator.": "polytask._estimator",
    "estimator.level_columns": "polytask._estimator.groupings",
    "linear.": "polytask.linear",
    "loss.": "polytask.losses",
    "loss.smoothed_labels": "polytask.deep.regularise",
    "penalty.": "polytask.penalties",
    "selection.": "polytask.selection",
    "selection.auto_": "polytask.selection.auto",
    "selection.shared_base": "polytask.selection.shared_base",
    "solver.": "polytask.solvers",
    "split.": "polytask.data",
    "statistics.": "polytask.statistics",
    "transfer.": "polytask.transfer",
}

_names: dict[type, str] = {}
_classes: dict[str, type] = {}


def saveable(name: str, *former: str) -> Callable[[T], T]:
    """Mark a class as saveable under the format name `name`.

    The class has ``to_state`` and ``from_state``, or is a dataclass whose fields are plain.

    Parameters
    ----------
    name : str
        The name written to files; it outlives renames and moves of the class.
    *former : str
        Names that older files have; :func:`load` takes them for this class too.

    Returns
    -------
    callable
        The decorator; it returns the class unchanged, and raises :class:`ParameterError` for a
        name that belongs to a class of polytask.
    """

    def mark(cls: T) -> T:
        for own in (name, *former):
            holder = _classes.get(own, cls)
            ours = holder.__module__.startswith("polytask.")
            if ours and (holder.__module__, holder.__name__) != (cls.__module__, cls.__name__):
                fields = {"got": repr(own), "kind": holder.__name__}
                raise ParameterError(LazyMessage("io.refusal.own_name", fields))
            _classes[own] = cls
        _names[cls] = name
        return cls

    return mark


def fields_of(obj: Any) -> State:  # noqa: ANN401 - any dataclass
    """Return the fields of a dataclass by name."""
    return {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}


def state_of(obj: Any) -> State:  # noqa: ANN401 - any saveable object
    """Return the state of a saveable object; that of a dataclass is its fields."""
    return obj.to_state() if isinstance(obj, Saveable) else fields_of(obj)


def rebuild(cls: type, state: State) -> Any:  # noqa: ANN401 - an object of the class
    """Build an object of a saveable class from its state."""
    return cls.from_state(state) if isinstance(cls, Saveable) else cls(**state)


def name_of(obj: object) -> str | None:
    """Return the format name of an object's class, None if it is not saveable."""
    return _names.get(type(obj))


def registered() -> dict[type, str]:
    """Return every class marked so far with its format name."""
    return dict(_names)


def resolve(name: str) -> type:
    """Return the class of a format name."""
    home = max((start for start in HOMES if name.startswith(start)), key=len, default=None)
    if home is not None:
        # Also where the class is known already: the module says which package it lacks.
        importlib.import_module(HOMES[home])
    if name not in _classes:
        raise DataError(LazyMessage("io.refusal.unknown_object", {"name": repr(name)}))
    return _classes[name]
