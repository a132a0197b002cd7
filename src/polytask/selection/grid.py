"""Grids of strengths: from the strength at which nothing is left, or pooled to separate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import is_whole, sentence
from polytask.exceptions import ParameterError
from polytask.linear.problem import Problem
from polytask.messages import LazyMessage
from polytask.penalties import NullStrength, Penalty, Sum
from polytask.solvers import null_gradient

Array = NDArray[np.float64]

# The weakest strength relative to the null strength.
_WEAKEST = 1e-3
# Without a null strength: from this many times the mean curvature to its inverse.
_POOLED = 1e4


def check_alphas(alphas: object, owner: str) -> int | Array:
    """Return a number of strengths, or the strengths, strongest first."""
    allowed = LazyMessage("allowed.strengths")
    refusal = ParameterError(sentence("alphas", owner, allowed, repr(alphas)))
    if is_whole(alphas):
        if int(alphas) < 1:
            raise refusal
        return int(alphas)
    try:
        given = np.asarray(alphas, dtype=float)
    except (TypeError, ValueError):
        raise refusal from None
    if given.ndim != 1 or not given.size or not np.all(np.isfinite(given) & (given > 0)):
        raise refusal
    return np.sort(given)[::-1]


def _with_numbers_of(bound: Penalty, penalty: Penalty) -> Penalty:
    """Return a penalty that is not bound with the numbers of a bound and resolved copy."""
    # Penalties on groups of tasks have no null strength before they know the tasks.
    before = penalty.get_params()
    for name, value in bound.get_params().items():
        if isinstance(value, float) and value != before[name]:
            penalty = penalty.replace(name, value)
    return penalty


def resolved_strengths(
    problem: Problem,
    penalty: Penalty,
    alphas: Any,  # noqa: ANN401 - int or strengths
) -> tuple[Penalty, Array]:
    """Return a penalty without open fractions and the strengths to try, strongest first."""
    bound = problem.bound(penalty)
    gradient = null_gradient(problem.datafit, bound)
    bound_resolved = bound.resolved(gradient)
    resolved = _with_numbers_of(bound_resolved, penalty)
    if not isinstance(alphas, int):
        return resolved, alphas
    strongest = 0.0
    if isinstance(bound_resolved, NullStrength):
        strongest = float(bound_resolved.null_strength(gradient))
    elif isinstance(bound_resolved, Sum):
        strongest = bound_resolved.emptying_strength(gradient)
    if np.isfinite(strongest) and strongest > 0:
        return resolved, np.geomspace(strongest, strongest * _WEAKEST, alphas)
    # A constant target has a null strength of zero: any strength gives the same model.
    curvature = float(np.mean(problem.datafit.feature_scale() ** 2)) or 1.0
    return resolved, np.geomspace(curvature * _POOLED, curvature / _POOLED, alphas)
