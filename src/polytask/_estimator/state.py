"""The state of an estimator: its parameters and what it learned."""

from __future__ import annotations

from typing import Any, TypeVar

from sklearn.base import BaseEstimator

from polytask._registry import State
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

E = TypeVar("E", bound=BaseEstimator)


def estimator_state(estimator: BaseEstimator) -> State:
    """Return parameters and fitted attributes by name."""
    params: dict[str, Any] = estimator.get_params(deep=False)
    fitted = {name: value for name, value in vars(estimator).items() if name not in params}
    return {"params": params, "fitted": fitted}


def from_estimator_state(cls: type[E], state: State) -> E:
    """Rebuild an estimator from :func:`estimator_state`."""
    estimator: E = cls(**state["params"])
    for name, value in state["fitted"].items():
        learned = name.endswith("_") or name.startswith("_")
        if not (name.isidentifier() and learned and not name.startswith("__")):
            fields = {"name": repr(name), "kind": cls.__name__}
            raise DataError(LazyMessage("estimator.refusal.attribute", fields))
        setattr(estimator, name, value)
    return estimator
