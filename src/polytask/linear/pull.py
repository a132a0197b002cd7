"""How strongly a fitted model holds its tasks at their mean, feature by feature."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.scaling import feature_scaling
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.datafits import (
    InParts,
    PiecewiseLinearSamples,
    Samples,
    SquaredStatistics,
    SquareRootDatafit,
    narrowed,
)
from polytask.datafits.base import rows_in_use
from polytask.linear.datafit import pooled_moments
from polytask.linear.problem import Problem
from polytask.losses import LogLink, Loss
from polytask.solvers import Solution, label_derivatives

Array = NDArray[np.float64]

# What one known task says about another: as much as so many rows.
_LONE_ROWS = 10.0
# The variance of a feature between tasks is that of so many more distances at the mean of all.
_BORROWED = 4.0
_TINY = 1e-300
_LEAST_LOSS = 1e-3
# Features are worked on alone where at most one in so many has coefficients.
_FEW = 4


@saveable("linear.pull")
@dataclass(frozen=True, eq=False)
class Pull:
    """The pull of a model toward the mean of its tasks, for the summed losses of one task."""

    # Shapes: mean, scale (n_features,), strength (n_features,).
    # The coefficients w and the level b + mean . w of another task are held by
    # ``sum_j strength_j / 2 (w_j - mean w_j)^2 + level / 2 (level - mean level)^2``, in
    # original units.

    mean: Array
    scale: Array
    strength: Array
    level: float
    unit: float = 1.0


def pull_of(data: TaskData, problem: Problem, solution: Solution) -> Pull:
    """Return the pull of a fitted model."""
    if isinstance(problem.datafit, SquareRootDatafit):
        # Another task is held for its squared loss.
        problem = replace(problem, datafit=problem.datafit.squared)
    mean, scale = _moments(data, problem)
    groups = _groups(problem.layout.columns.classes, problem)
    rows = float(np.mean(problem.counts[problem.counts > 0])) if problem.counts.any() else 1.0
    unit = _unit(problem)
    if all(len(group) < 2 for group in groups):
        # One task says nothing about how much tasks differ.
        lone = _LONE_ROWS * _curvature_alone(problem) / _factor(problem, unit)
        return Pull(mean, scale, lone * scale**2, lone / _LONE_ROWS, unit)
    value, held, distance = _forces(problem, solution, groups, rows)
    width = scale / problem.features.scale
    noise = _Noise.of(problem, value, rows, sum(len(group) - 1 for group in groups))
    strength = np.maximum(held, noise.least(held, distance * width**2) * width**2)
    level = _level(problem, solution, groups, mean, noise)
    factor = _factor(problem, unit)
    held_by = strength * problem.features.scale**2 / factor
    return Pull(mean, scale, held_by, level / factor, unit)


def _unit(problem: Problem) -> float:
    """Return the typical unit of scaled targets; those of classes and counts have none."""
    scale = problem.targets.scale[problem.counts > 0]
    scale = scale[scale != 1.0]
    return float(np.exp(np.mean(np.log(scale)))) if len(scale) else 1.0


def _factor(problem: Problem, unit: float) -> float:
    """Return what a pull is divided by in the units of the target."""
    # Squared losses and pulls of scaled targets are both those of the targets over the square of
    # their unit; losses with kinks are those over the unit itself.
    return unit if isinstance(problem.datafit, PiecewiseLinearSamples) else 1.0


def _curvature_alone(problem: Problem) -> float:
    """Return the curvature of a row: 1, but with kinks that of noise as large as the targets."""
    datafit = problem.datafit
    if not isinstance(datafit, PiecewiseLinearSamples):
        return 1.0
    constant = datafit.evaluate(np.zeros(datafit.shape)).value
    return _Noise.of(problem, constant, 1.0, 1).curvature


def _forces(
    problem: Problem, solution: Solution, groups: list[NDArray[np.intp]], rows: float
) -> tuple[float, Array, Array]:
    """Return the value of the data term, and how features are held and how far tasks differ."""
    # Shapes: held, distance (n_features,).
    # Features whose coefficients are all zero are at their mean: nothing is computed for them.
    W = solution.W if problem.centre is None else solution.W - problem.centre
    held, distance = np.full(len(W), np.inf), np.zeros(len(W))
    used = rows_in_use(solution.W)
    if problem.centre is not None:
        used = np.union1d(used, rows_in_use(W))
    value, gradient = _gradient_at(problem, solution, used)
    W = W[used]
    away, force = np.zeros_like(W), np.zeros_like(W)
    for group in groups:
        away[:, group] = W[:, group] - W[:, group].mean(axis=1, keepdims=True)
        force[:, group] = -gradient[:, group]
    distance[used] = square = (away**2).sum(axis=1)
    product = np.maximum((force * away).sum(axis=1), 0.0)
    apart = square > np.finfo(float).eps ** 2 * np.maximum((W**2).sum(axis=1), _TINY)
    held[used] = np.divide(rows * product, square, out=np.full_like(square, np.inf), where=apart)
    return value, held, distance


def _gradient_at(
    problem: Problem, solution: Solution, used: NDArray[np.intp]
) -> tuple[float, Array]:
    """Return value and gradient of the data term, the gradient of some features only."""
    datafit = problem.datafit
    if isinstance(datafit, PiecewiseLinearSamples):
        # Of the slopes that rows on a kink may have, those that the penalty balances.
        u = label_derivatives(solution, datafit.rows.y.size)
        if u is not None:
            at = datafit.evaluate_dual(solution.W, u)
            return at.value, at.gradient[used]
    if isinstance(datafit, Samples) and _FEW * len(used) < len(solution.W):
        at = narrowed(datafit, used).evaluate(solution.W[used], solution.intercept)
        return at.value, at.gradient
    at = datafit.evaluate(solution.W, solution.intercept)
    return at.value, at.gradient[used]


@dataclass(frozen=True)
class _Noise:
    """What is needed to tell how strong a pull must be at least."""

    # A task is never further from the mean than its estimate, whose variance is that of the
    # tasks and that of estimation. So the noise over the variance of the estimates, which is
    # what the best pull would be if the tasks were known exactly, is a lower bound of it.

    variance: float
    curvature: float
    rows: float
    freedom: int

    @classmethod
    def of(cls, problem: Problem, value: float, rows: float, freedom: int) -> _Noise:
        """Take the noise of numbers from the value of the data term."""
        n_tasks = int((problem.counts > 0).sum())
        datafit, each = problem.datafit, value / max(n_tasks, 1)
        if isinstance(datafit, PiecewiseLinearSamples):
            # As the logarithm of an asymmetric Laplace density: its scale is the mean loss, not
            # less than a trace of that of a constant, for rows may be fitted exactly.
            scale = max(each, _LEAST_LOSS * datafit.magnitude / max(n_tasks, 1), _TINY)
            slopes = float(np.mean(-datafit.rows.lower * datafit.rows.upper))
            return cls(scale, slopes / scale, rows, freedom)
        losses = _losses(datafit)
        if losses and not datafit.is_bounded:
            # The noise of amounts has a free factor. A row curves as at the best constant.
            free = all(isinstance(loss, LogLink) and loss.has_dispersion for loss in losses)
            if isinstance(datafit, InParts):
                total = float(datafit.stack.intercept_bound.sum())
            else:
                blocks = datafit.blocks if isinstance(datafit, Samples) else ()
                total = sum(float(np.sum(np.broadcast_to(b.bound(), b.shape))) for b in blocks)
            curvature = max(total / max(n_tasks, 1), _TINY)
            return cls(2.0 * each if free else 1.0, curvature, rows, freedom)
        # Losses of numbers in any unit are near the squared one where they fit.
        units = all(loss.follows_units and not loss.is_classifier for loss in losses)
        if not (datafit.is_quadratic or (losses and units)):
            return cls(1.0, 0.25, rows, freedom)
        return cls(2.0 * each, 1.0, rows, freedom)

    def least(self, held: Array, distance: Array) -> Array:
        """Return the least pull of standardised coefficients."""
        # Shapes: held (n_features,), distance (n_features,).
        finite = np.isfinite(held)
        if not finite.any():
            return np.zeros_like(distance)
        before = 1.0 + np.where(finite, held, 0.0) / (self.rows * self.curvature)
        spread = distance * before**2
        # A few tasks may agree by chance: features borrow from each other.
        common = float(spread[finite].mean()) / self.freedom
        shared = (spread + _BORROWED * common) / (self.freedom + _BORROWED)
        return self.variance / np.maximum(shared, _TINY)


def _losses(datafit: object) -> tuple[Loss, ...]:
    """Return the losses of a data term on rows, none for others."""
    if isinstance(datafit, InParts):
        return datafit.losses
    return tuple(b.loss for b in datafit.blocks) if isinstance(datafit, Samples) else ()


def _groups(labels: tuple[Hashable | None, ...], problem: Problem) -> list[NDArray[np.intp]]:
    """Return the columns of each class whose tasks have rows."""
    widths = [part.stop - part.start for part in problem.layout.slices]
    has = np.repeat(problem.counts > 0, widths)
    members: dict[Hashable | None, list[int]] = {}
    for column, label in enumerate(labels):
        if has[column]:
            members.setdefault(label, []).append(column)
    return [np.array(columns, dtype=np.intp) for columns in members.values()]


def _moments(data: TaskData, problem: Problem) -> tuple[Array, Array]:
    """Return mean and standard deviation of the features, from statistics where there are any."""
    datafit, scaling = problem.datafit, problem.features
    if not isinstance(datafit, SquaredStatistics):
        found = feature_scaling(data, np.ones(data.n_rows), True, True)
        return found.mean, found.scale
    mean, variance = pooled_moments(datafit.statistics, problem.counts)
    constant = variance <= 1e-14 * (1.0 + mean**2)
    deviation = np.sqrt(np.where(constant, 1.0, variance))
    return scaling.mean + scaling.scale * mean, scaling.scale * deviation


def _level(
    problem: Problem,
    solution: Solution,
    groups: list[NDArray[np.intp]],
    mean: Array,
    noise: _Noise,
) -> float:
    """Return how strongly the level of a task is held: as in the fit, or more if tasks agree."""
    held = problem.intercepts.own_curvature
    if held == np.inf:
        return float("inf")
    centre = (mean - problem.features.mean) / problem.features.scale
    levels = solution.intercept + centre @ solution.W
    distance = sum(float(((v := levels[group]) - v.mean()) @ (v - v.mean())) for group in groups)
    own = np.array([noise.rows * held])
    return float(max(own[0], noise.least(own, np.array([distance]))[0]))
