"""From a fitted estimator to what another one is pulled to."""

from __future__ import annotations

from typing import Any

from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator
from polytask.exceptions import ParameterError
from polytask.linear.prediction import LinearTasks
from polytask.linear.source import Source


def source_of(estimator: Any, owner: str) -> Source | None:  # noqa: ANN401 - what users give
    """Return what a fitted linear estimator knows."""
    if estimator is None:
        return None
    name, linear = type(estimator).__name__, linear_of(estimator)
    if linear is None:
        got = f"a {name}"
        if isinstance(estimator, MultiTaskEstimator) and not hasattr(estimator, "data_card_"):
            got = f"{got} that is not fitted"
        allowed = "None or a fitted linear estimator of polytask"
        raise ParameterError(sentence("transfer_from", owner, allowed, got))
    schema = estimator._schema
    names = None if schema.encoder is None else tuple(estimator.coef_feature_names_.tolist())
    return Source(name, linear, schema.index, names)


def linear_of(estimator: object) -> LinearTasks | None:
    """Return the coefficients of a fitted linear estimator, None of any other."""
    if not isinstance(estimator, MultiTaskEstimator):
        return None
    held = getattr(estimator, "_linear", None)
    if held is None:
        held = getattr(getattr(estimator, "_tasks", None), "linear", None)
    return held if isinstance(held, LinearTasks) else None
