"""Fitting the estimator of someone else: its weights, and its errors with a place."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from polytask._checks import sentence
from polytask.baselines._rows import Rows, Weights
from polytask.exceptions import DataError, IncompatibleError, ParameterError

_WEIGHT = "sample_weight"


def check_estimator_object(estimator: object, owner: str) -> None:
    """Refuse what is no estimator object."""
    usable = hasattr(estimator, "fit") and hasattr(estimator, "predict")
    if isinstance(estimator, type) or not usable:
        allowed = "a scikit-learn regressor or classifier, such as Ridge()"
        raise ParameterError(sentence("estimator", owner, allowed, repr(estimator)))


def weight_arguments(estimator: Any, weight: Weights, owner: str) -> dict[str, Weights]:  # noqa: ANN401
    """Return the arguments of ``fit`` that carry sample weights."""
    # In a pipeline every step that takes weights gets them.
    if weight is None:
        return {}
    if isinstance(estimator, Pipeline):
        taking = [name for name, step in estimator.steps if _takes_weights(step)]
        if estimator.steps[-1][0] in taking:
            return {f"{name}__{_WEIGHT}": weight for name in taking}
    elif _takes_weights(estimator):
        return {_WEIGHT: weight}
    if np.all(weight == 1):
        return {}
    raise IncompatibleError(
        sentence(_WEIGHT, owner, f"None, for {_name(estimator)} takes no weights", "weights")
    )


def fit_copy(estimator: Any, rows: Rows, owner: str, where: str) -> Any:  # noqa: ANN401 - an estimator
    """Fit a copy of an estimator."""
    arguments = weight_arguments(estimator, rows.weight, owner)
    copy = clone(estimator)
    try:
        return _call(copy, "fit", rows, arguments)
    except (ValueError, TypeError, ArithmeticError, RuntimeError, IndexError) as error:
        raise _with_place(error, copy, owner, where) from error


def fit_steps(steps: Pipeline, rows: Rows, owner: str) -> tuple[Any, Any]:
    """Fit a copy of the transformers that stand before an estimator. Shapes: X (n, d')."""
    arguments: dict[str, Weights] = {}
    if rows.weight is not None:
        taking = [name for name, step in steps.steps if _takes_weights(step)]
        arguments = {f"{name}__{_WEIGHT}": rows.weight for name in taking}
    copy = clone(steps)
    try:
        return copy, _call(copy, "fit_transform", rows, arguments)
    except (ValueError, TypeError, ArithmeticError, RuntimeError, IndexError) as error:
        raise _with_place(error, copy, owner, "") from error


def _call(estimator: Any, method: str, rows: Rows, arguments: dict[str, Weights]) -> Any:  # noqa: ANN401
    call = getattr(estimator, method)
    if isinstance(estimator, Pipeline) and arguments:
        # Names of steps go where they say, whether or not the user turned routing on.
        with config_context(enable_metadata_routing=False):
            return call(rows.X, rows.y, **arguments)
    return call(rows.X, rows.y, **arguments)


def _takes_weights(step: Any) -> bool:  # noqa: ANN401 - an estimator or "passthrough"
    return hasattr(step, "fit") and bool(has_fit_parameter(step, _WEIGHT))


def _with_place(error: Exception, estimator: object, owner: str, where: str) -> DataError:
    place = f" {where}" if where else ""
    return DataError(f"{owner} could not fit {_name(estimator)}{place}: {error}")


def _name(estimator: object) -> str:
    return type(estimator).__name__
