"""Objectives without a minimum: those that fall for ever along rows that nothing penalises."""

from __future__ import annotations

import numpy as np

from polytask.datafits import Evaluation
from polytask.datafits.base import Array
from polytask.solvers._free_rows import Evaluate, FreeRows

# Newton steps until the slope, relative to that at W = 0, is so small that a minimum is known
# by steps that end at it. Where there is none every step moves the predictions by about one.
_MOST_ROUNDS = 50
_SMALL = 1e-9
# Steps to look ahead, and twice as many: farther than rounding lets a minimum lie.
_AHEAD = 30.0
# What the objective may rise in the second half, as a share of its fall in the first, for
# directions are known to rounding only.
_RISE = 1e-3
_ROUNDING = 1e-15


def walked(
    rows: FreeRows, W: Array, at: Evaluation, evaluate: Evaluate
) -> tuple[Array, Evaluation, bool]:
    """Fit rows of W that nothing penalises, and say whether they grow for ever."""
    # Shapes: W (n_features, n_columns).
    # A convex function has no minimum on a line along which it does not end to fall. Separated
    # classes make such a line, and counts that are all zero wherever a feature is not.
    enough = _SMALL * rows.length(rows.datafit.origin.gradient[rows.index])
    slope = rows.slope(W, at)
    for _ in range(_MOST_ROUNDS):
        if rows.length(slope) <= enough:
            break
        moved = rows.nearer(W, at, slope, evaluate)
        if moved is None:
            break
        W, at = moved
        slope = rows.slope(W, at)
    return W, at, _falls_for_ever(rows, W, at, evaluate)


def _falls_for_ever(rows: FreeRows, W: Array, at: Evaluation, evaluate: Evaluate) -> bool:
    step = rows.step(at, rows.slope(W, at))
    if not step.any():
        return False
    here = rows.value(W, at)
    there, beyond = (
        _value(rows, W, at, length * step, evaluate) for length in (_AHEAD, 2.0 * _AHEAD)
    )
    fall = here - there
    return bool(fall > _ROUNDING * abs(here) and beyond - there <= _RISE * fall)


def _value(rows: FreeRows, W: Array, at: Evaluation, step: Array, evaluate: Evaluate) -> float:
    trial = W.copy()
    trial[rows.index] -= step
    with np.errstate(over="ignore", invalid="ignore"):
        return rows.value(trial, evaluate(trial, at.intercept))
