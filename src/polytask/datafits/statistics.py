"""The squared loss from sufficient statistics, and how statistics are joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import numpy as np

from polytask.datafits.base import (
    Array,
    Datafit,
    Evaluation,
    LinearMap,
    Preconditioner,
    block_preconditioner,
    diagonal_preconditioner,
    moments_times,
    times_each,
)
from polytask.datafits.intercepts import Intercepts, LevelArrays
from polytask.datafits.lanczos import largest_of_columns
from polytask.datafits.moments import TaskMoments

# A second moment below this share of the squared mean is rounding ...
_ROUNDING = 1e-26
# ... and so is a difference of means below this share of them.
_ROUNDED = 4 * float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Counted:
    """Moments, and how much weight they stand for.

    Attributes
    ----------
    statistics : TaskMoments
        The moments.
    counts : ndarray of shape (n_columns,)
        Sum of the weights of each column.
    labels : float, default=0.0
        How many labels with a weight.
    """

    statistics: TaskMoments
    counts: Array
    labels: float = 0.0


def joined(one: Counted, other: Counted) -> Counted:
    """Return the moments of two sets of rows together.

    Nothing is subtracted, so no digits are lost however different the sets are.

    Parameters
    ----------
    one, other : Counted
        Of the same columns.

    Returns
    -------
    Counted

    References
    ----------
    T. Chan, G. Golub and R. LeVeque, "Algorithms for computing the sample variance: analysis
    and recommendations", The American Statistician 37 (1983), equations 1.5a and 1.5b.
    """
    a, b = one.statistics, other.statistics
    counts = one.counts + other.counts
    total = np.maximum(counts, np.finfo(float).tiny)
    p, q = one.counts / total, other.counts / total
    x_away, y_away = b.x_mean - a.x_mean, b.y_mean - a.y_mean
    # Columns that have one matrix have one weight too.
    alike = len(a.second) == len(b.second) == 1
    each = slice(0, 1) if alike else slice(None)
    shift = x_away[:, each].T * np.sqrt(p * q)[each, None]
    second = p[each, None, None] * a.second + q[each, None, None] * b.second
    second += shift[:, :, None] * shift[:, None, :]
    whole = TaskMoments(
        second=second,
        cross=p * a.cross + q * b.cross + p * q * x_away * y_away,
        spread=p * a.spread + q * b.spread + p * q * y_away**2,
        x_mean=p * a.x_mean + q * b.x_mean,
        y_mean=p * a.y_mean + q * b.y_mean,
        scale=np.ones_like(counts),
    )
    return Counted(whole, counts, one.labels + other.labels)


def all_but_one(parts: Sequence[Counted]) -> tuple[Counted, list[Counted]]:
    """Return the moments of all sets of rows, and those of all but each.

    Parameters
    ----------
    parts : sequence of Counted
        Two or more.

    Returns
    -------
    tuple of (Counted, list of Counted)
        At a cost of three additions per set.
    """
    ahead = list(accumulate(parts, joined))
    behind = list(accumulate(reversed(parts), joined))[::-1]
    between = [joined(a, b) for a, b in zip(ahead[:-2], behind[2:], strict=True)]
    return ahead[-1], [behind[1], *between, ahead[-2]]


def without_rounding(s: TaskMoments) -> TaskMoments:
    """Return moments in which features that are constant in a task do not vary there."""
    # Once their means are taken off, nothing tells what rounding left of them from a feature.
    own = np.diagonal(s.second, axis1=1, axis2=2)
    dead = (own <= _ROUNDING * s.x_mean.T[: len(own)] ** 2) & (own > 0)
    if not dead.any():
        return s
    kept = np.where(dead, 0.0, 1.0)
    second = s.second * kept[:, :, None] * kept[:, None, :]
    return replace(s, second=second, cross=s.cross * kept.T)


@dataclass(frozen=True, eq=False)
class Units:
    """Where features and targets have their zero, and what is one.

    Attributes
    ----------
    x_zero, x_one : ndarray of shape (n_features,)
        Subtracted from the features; then they are divided.
    y_zero, y_one : ndarray of shape (n_columns,)
        The same for the targets.
    """

    x_zero: Array
    x_one: Array
    y_zero: Array
    y_one: Array

    @property
    def plain(self) -> bool:
        """Whether these are the units of the data."""
        moved = self.x_zero.any() or self.y_zero.any()
        return not moved and bool(np.all(self.x_one == 1.0) and np.all(self.y_one == 1.0))


def in_units(s: TaskMoments, units: Units, scale: Array) -> TaskMoments:
    """Return the moments of ``(x - x_zero) / x_one`` and ``(y - y_zero) / y_one``.

    Parameters
    ----------
    s : TaskMoments
        In the units of the data.
    units : Units
        The units wanted.
    scale : ndarray of shape (n_columns,)
        Task weights of the objective; a task without weight keeps 0.

    Returns
    -------
    TaskMoments
    """
    if units.plain:
        return replace(s, scale=scale)
    s = without_rounding(s) if units.x_zero.any() else s
    plain_x = bool(np.all(units.x_one == 1.0))
    inverse = 1.0 / units.x_one
    second = s.second if plain_x else s.second * np.multiply.outer(inverse, inverse)
    zero = units.x_zero[:, None]
    away = s.x_mean - zero
    away = np.where(np.abs(away) <= _ROUNDED * np.abs(zero), 0.0, away)
    return replace(
        s,
        second=second,
        cross=s.cross * inverse[:, None] / units.y_one,
        spread=s.spread / units.y_one**2,
        x_mean=away * inverse[:, None],
        y_mean=(s.y_mean - units.y_zero) / units.y_one,
        scale=scale,
    )


def quadratic_conjugate(value: float, slope: float) -> Callable[[float], float]:
    """Conjugate along the gradient of a sum of squares.

    For ``q(W) = 1/2 ||B W - z||^2`` with gradient g, ``q*(c g) <= c (<g, W> - 2 q) + c^2 q``,
    with equality on the range of B; it needs no more than the value and `slope` = <g, W>.

    Parameters
    ----------
    value : float
        ``q(W)``.
    slope : float
        ``<g, W>``.

    Returns
    -------
    callable
        ``c -> q*(c g)``.
    """

    def conjugate(c: float) -> float:
        return c * (slope - 2.0 * value) + c * c * value

    return conjugate


# Matrices of tasks are decomposed while that takes no more products than this.
_EXACT_COST = 3e8


@dataclass(frozen=True, eq=False)
class SquaredStatistics(Datafit):
    """Squared loss ``sum_t scale_t / 2 * mean (y - x w_t - b_t)^2`` from its moments.

    About the means of a task the loss splits into a quadratic in w_t and
    ``scale_t / 2 (m_t - b_t)^2`` with ``m_t = y_mean - x_mean . w_t``, so every intercept
    mode is minimised in closed form.

    Parameters
    ----------
    statistics : TaskMoments
        The moments.
    intercepts : Intercepts
        What b may be.
    """

    statistics: TaskMoments
    intercepts: Intercepts
    is_quadratic = True
    is_bounded = True
    is_smooth = True

    @property
    def magnitude(self) -> float:
        """Value at W = 0 and b = 0."""
        s = self.statistics
        at_zero = self.intercepts.penalty(np.zeros(self.shape[1]))
        return 0.5 * float(s.scale @ (s.spread + s.y_mean**2)) + at_zero

    @cached_property
    def _push(self) -> Array:
        """Gradient of the penalty on the intercepts at zero: not zero where they are anchored."""
        return self.intercepts.gradient(np.zeros(self.shape[1]))

    @property
    def precision(self) -> float:
        """Unit of rounding: moments are kept in float64."""
        return float(np.finfo(float).eps)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        d, columns = self.statistics.cross.shape
        return d, columns

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at `W`; the intercepts need no `start`."""
        if self._kept and np.array_equal(self._kept[0][0], W):
            return self._kept[0][1]
        s, misfit = self.statistics, self._misfit(W)
        residual = moments_times(s.second, W) - s.cross
        b = self.level_solver(s.scale * misfit - self._push)
        value = self.intercepts.penalty(b) + self._misses(W, residual, misfit - b)
        gradient = s.scale * residual
        left = s.scale * (misfit - b)
        # Also where only rounding is left: the square-root loss divides by next to nothing.
        if left.any():
            gradient -= s.x_mean * left
        found = Evaluation(
            value=value,
            gradient=gradient,
            intercept=b,
            conjugate=quadratic_conjugate(value, float(np.vdot(gradient, W))),
            hessian=self._hessian,
            preconditioner=self._prepare,
            is_inverted=self._is_inverted,
        )
        self._kept[:] = [(W.copy(), found)]
        return found

    def best_intercept(self, W: Array) -> Array:
        """Return the intercepts that are best at `W`."""
        return self.level_solver(self.statistics.scale * self._misfit(W) - self._push)

    @cached_property
    def _kept(self) -> list[tuple[Array, Evaluation]]:
        """The last evaluation: along a path every strength begins where the one before ended."""
        return []

    def value_at(self, W: Array, b: Array) -> float:
        """Value at `W` with the intercepts `b`."""
        residual = moments_times(self.statistics.second, W) - self.statistics.cross
        return self.intercepts.penalty(b) + self._misses(W, residual, self._misfit(W) - b)

    @cached_property
    def level_solver(self) -> LinearMap:
        """Solves for intercepts, the curvature being the weight of the tasks."""
        return self.intercepts.solver(self.statistics.scale)

    def _misfit(self, W: Array) -> Array:
        """Return the intercepts that would put every task's mean right."""
        s = self.statistics
        if self._one_mean is not None:
            return np.asarray(s.y_mean - self._one_mean @ W)
        return np.asarray(s.y_mean - np.einsum("ij,ij->j", s.x_mean, W))

    @cached_property
    def _one_mean(self) -> Array | None:
        """The feature means of all tasks, None if they differ."""
        first = self.statistics.x_mean[:, :1]
        return first[:, 0].copy() if np.all(self.statistics.x_mean == first) else None

    @cached_property
    def level_arrays(self) -> LevelArrays:
        """The same for compiled loops."""
        return self.intercepts.arrays(self.statistics.scale)

    def _misses(self, W: Array, residual: Array, left: Array) -> float:
        """Return the loss, `residual` being second moments times W less the cross moments."""
        s = self.statistics
        about_mean = s.spread + np.einsum("ij,ij->j", residual - s.cross, W)
        return 0.5 * float(s.scale @ (np.maximum(about_mean, 0.0) + left**2))

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each feature."""
        return self._feature_scale.copy()

    @cached_property
    def _feature_scale(self) -> Array:
        return np.asarray(np.sqrt(np.max(self.diagonal, axis=1, initial=0.0)))

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients over the tasks."""
        s = self.statistics
        d, columns = self.shape
        curved = s.second / np.multiply.outer(scale, scale)
        if np.any(self.mean_share > 0):
            # One matrix for all tasks has one mean; the largest share bounds every task.
            share = self.mean_share if len(curved) > 1 else np.max(self.mean_share, keepdims=True)
            x_mean = s.x_mean.T[: len(curved)] / scale
            curved = curved + np.einsum("k,ki,kj->kij", share, x_mean, x_mean)
        if len(curved) == 1:
            return float(np.max(s.scale) * np.linalg.eigvalsh(curved[0])[-1])
        if columns * float(d) ** 3 <= _EXACT_COST:
            return float(np.max(s.scale * np.linalg.eigvalsh(curved)[:, -1]))
        return largest_of_columns(lambda V: s.scale * times_each(curved, V), self.shape)

    @cached_property
    def mean_share(self) -> Array:
        """How much of the squared mean of x stays: all without an intercept, none if free."""
        held, scale = self.intercepts.own_curvature, self.statistics.scale
        if np.isinf(held):
            return np.ones_like(scale)
        total = scale + held
        return np.divide(held, total, out=np.zeros_like(scale), where=total > 0)

    @cached_property
    def diagonal(self) -> Array:
        """Curvature of every coefficient, shape of W; rounding becomes 0."""
        s = self.statistics
        second = np.diagonal(s.second, axis1=1, axis2=2).T
        second = np.where(second <= _ROUNDING * s.x_mean**2, 0.0, second)
        return np.asarray(s.scale * (second + self.mean_share * s.x_mean**2))

    def _prepare(self, shift: float) -> LinearMap:
        return self._preconditioner(shift)

    @cached_property
    def _by_task(self) -> bool:
        """Whether the Hessian of every task can be inverted."""
        d, columns = self.shape
        matrices = columns if self.mean_share.any() else len(self.statistics.second)
        return matrices * float(d) ** 3 <= _EXACT_COST

    @cached_property
    def _is_inverted(self) -> bool:
        """Whether the inverses of the tasks are that of the Hessian: nothing couples them."""
        return self._by_task and not self.intercepts.couples

    @cached_property
    def _preconditioner(self) -> Preconditioner:
        """Solve every task by itself: exact where nothing couples the tasks."""
        s, left = self.statistics, self.mean_share
        if not self._by_task:
            return diagonal_preconditioner(self.diagonal)
        if not left.any():
            return block_preconditioner(s.second, s.scale)
        means = np.sqrt(left)[:, None] * s.x_mean.T
        return block_preconditioner(s.second, s.scale, means)

    def _hessian(self, V: Array) -> Array:
        s = self.statistics
        if not self.mean_share.any():
            return np.asarray(s.scale * times_each(s.second, V))
        misfit = -np.einsum("ij,ij->j", s.x_mean, V)
        left = s.scale * (misfit - self.level_solver(s.scale * misfit))
        return np.asarray(s.scale * times_each(s.second, V) - s.x_mean * left)
