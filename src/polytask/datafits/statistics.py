"""The squared loss from sufficient statistics: its cost no longer grows with the rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polytask.datafits.base import (
    Array,
    Datafit,
    Evaluation,
    LinearMap,
    Preconditioner,
    block_preconditioner,
    diagonal_preconditioner,
    largest_eigenvalue,
    quadratic_conjugate,
    times_each,
)
from polytask.datafits.designs import Features, Shared, Stacked
from polytask.datafits.intercepts import Intercepts

_EXACT_COST = 3e8
# A second moment below this share of the squared mean is rounding.
_ROUNDING = 1e-26


@dataclass(frozen=True, eq=False)
class TaskStatistics:
    """Weighted moments of every task, about the task's own means.

    Attributes
    ----------
    second : ndarray of shape (n_columns or 1, n_features, n_features)
        Weighted mean of ``(x - x_mean)(x - x_mean)'``; one matrix if all tasks share it.
    cross : ndarray of shape (n_features, n_columns)
        Weighted mean of ``(x - x_mean)(y - y_mean)``.
    spread : ndarray of shape (n_columns,)
        Weighted mean of ``(y - y_mean)^2``.
    x_mean : ndarray of shape (n_features, n_columns)
        Weighted feature means.
    y_mean : ndarray of shape (n_columns,)
        Weighted target means.
    scale : ndarray of shape (n_columns,)
        Weight of each task in the objective, 0 for a task without weight.
    """

    second: Array
    cross: Array
    spread: Array
    x_mean: Array
    y_mean: Array
    scale: Array


def _moments(
    features: Features, y: Array, weight: Array
) -> tuple[Array, Array, float, Array, float]:
    total = float(weight.sum())
    if total <= 0:
        d = features.n_features
        return np.zeros((d, d)), np.zeros(d), 0.0, np.zeros(d), 0.0
    share = weight / total
    x_mean = features.adjoint(share)
    y_mean = float(share @ y)
    residual = share * (y - y_mean)
    # The residuals sum to zero, so the mean of x drops out of the cross moment.
    cross = features.adjoint(residual) - x_mean * residual.sum()
    spread = float(residual @ (y - y_mean))
    return features.second_moment(share, x_mean), cross, spread, x_mean, y_mean


@np.errstate(over="ignore", invalid="ignore")
def collect_stacked(design: Stacked, y: Array, weight: Array, scale: Array) -> TaskStatistics:
    """Collect the moments of tasks that have their own rows.

    Parameters
    ----------
    design : Stacked
        Rows sorted by task; task k owns column k.
    y, weight : ndarray of shape (n_rows,)
        Targets and row weights.
    scale : ndarray of shape (n_columns,)
        Task weights of the objective.

    Returns
    -------
    TaskStatistics
    """
    bounds = list(zip(design.offsets[:-1], design.offsets[1:], strict=True))
    parts = [slice(int(a), int(b)) for a, b in bounds]
    moments = [_moments(design.features.rows(p), y[p], weight[p]) for p in parts]
    totals = np.array([weight[p].sum() for p in parts])
    return _assemble(moments, np.where(totals > 0, scale, 0.0))


@np.errstate(over="ignore", invalid="ignore")
def collect_shared(design: Shared, Y: Array, weight: Array, scale: Array) -> TaskStatistics:
    """Collect the moments of tasks that share one design.

    Parameters
    ----------
    design : Shared
        The rows.
    Y, weight : ndarray of shape (n_rows, n_columns)
        Targets and weights, weight 0 where a label is missing.
    scale : ndarray of shape (n_columns,)
        Task weights of the objective.

    Returns
    -------
    TaskStatistics
    """
    scale = np.where(weight.sum(axis=0) > 0, scale, 0.0)
    if np.all(weight == weight[:, :1]):
        return _one_design(design.features, Y, weight[:, 0], scale)
    moments = []
    for k in range(Y.shape[1]):
        seen = np.flatnonzero(weight[:, k] > 0)
        moments.append(_moments(design.features.rows(seen), Y[seen, k], weight[seen, k]))
    return _assemble(moments, scale)


def _one_design(features: Features, Y: Array, weight: Array, scale: Array) -> TaskStatistics:
    share = weight / max(float(weight.sum()), np.finfo(float).tiny)
    x_mean = features.adjoint(share)
    y_mean = share @ Y
    residual = share[:, None] * (Y - y_mean)
    cross = features.adjoint(residual) - np.multiply.outer(x_mean, residual.sum(axis=0))
    return TaskStatistics(
        second=features.second_moment(share, x_mean)[None],
        cross=cross,
        spread=np.einsum("ij,ij->j", residual, Y - y_mean),
        x_mean=np.repeat(x_mean[:, None], Y.shape[1], axis=1),
        y_mean=y_mean,
        scale=scale,
    )


def _assemble(
    moments: list[tuple[Array, Array, float, Array, float]], scale: Array
) -> TaskStatistics:
    second, cross, spread, x_mean, y_mean = zip(*moments, strict=True)
    return TaskStatistics(
        second=np.stack(second),
        cross=np.stack(cross, axis=1),
        spread=np.array(spread),
        x_mean=np.stack(x_mean, axis=1),
        y_mean=np.array(y_mean),
        scale=scale,
    )


@dataclass(frozen=True, eq=False)
class SquaredStatistics(Datafit):
    """Squared loss ``sum_t scale_t / 2 * mean (y - x . w_t - b_t)^2`` from its moments.

    About the means of a task the loss splits into a quadratic in w_t and
    ``scale_t / 2 (m_t - b_t)^2`` with ``m_t = y_mean - x_mean . w_t``, so every intercept
    mode is minimised in closed form.

    Parameters
    ----------
    statistics : TaskStatistics
        The moments.
    intercepts : Intercepts
        What b may be.
    """

    statistics: TaskStatistics
    intercepts: Intercepts
    is_quadratic = True

    @property
    def magnitude(self) -> float:
        """Value at W = 0 and b = 0."""
        s = self.statistics
        return 0.5 * float(s.scale @ (s.spread + s.y_mean**2))

    @property
    def precision(self) -> float:
        """Unit of rounding: moments are kept in float64."""
        return float(np.finfo(float).eps)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        d, columns = self.statistics.cross.shape
        return d, columns

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at `W`; the intercepts need no `start`."""
        s = self.statistics
        curved = times_each(s.second, W)
        misfit = self._misfit(W)
        b = self.intercepts.solve(s.scale, s.scale * misfit)
        left = s.scale * (misfit - b)
        value = self._value(W, curved, misfit, b)
        gradient = s.scale * (curved - s.cross) - s.x_mean * left
        return Evaluation(
            value=value,
            gradient=gradient,
            intercept=b,
            conjugate=quadratic_conjugate(value, float(np.sum(gradient * W))),
            hessian=self._hessian,
            preconditioner=self._prepare,
        )

    def value_at(self, W: Array, b: Array) -> float:
        """Value at `W` with the intercepts `b`."""
        return self._value(W, times_each(self.statistics.second, W), self._misfit(W), b)

    def _misfit(self, W: Array) -> Array:
        """Return the intercepts that would put every task's mean right."""
        s = self.statistics
        return np.asarray(s.y_mean - np.einsum("ij,ij->j", s.x_mean, W))

    def _value(self, W: Array, curved: Array, misfit: Array, b: Array) -> float:
        s = self.statistics
        about_mean = s.spread + np.einsum("ij,ij->j", curved - 2 * s.cross, W)
        squares = np.maximum(about_mean, 0.0) + (misfit - b) ** 2
        return 0.5 * float(s.scale @ squares) + self.intercepts.penalty(b)

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each feature."""
        return np.asarray(np.sqrt(np.max(self._diagonal, axis=1, initial=0.0)))

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients over the tasks."""
        s = self.statistics
        d, columns = self.shape
        curved = s.second / np.multiply.outer(scale, scale)
        if np.any(self._mean_share > 0):
            # One matrix for all tasks has one mean; the largest share bounds every task.
            share = (
                self._mean_share if len(curved) > 1 else np.max(self._mean_share, keepdims=True)
            )
            x_mean = s.x_mean.T[: len(curved)] / scale
            curved = curved + np.einsum("k,ki,kj->kij", share, x_mean, x_mean)
        if len(curved) == 1:
            return float(np.max(s.scale) * np.linalg.eigvalsh(curved[0])[-1])
        if columns * float(d) ** 3 <= _EXACT_COST:
            return float(np.max(s.scale * np.linalg.eigvalsh(curved)[:, -1]))
        return largest_eigenvalue(lambda V: s.scale * times_each(curved, V), self.shape)

    @cached_property
    def _mean_share(self) -> Array:
        """How much of the squared mean of x stays: all without an intercept, none if free."""
        held, scale = self.intercepts.held, self.statistics.scale
        if np.isinf(held):
            return np.ones_like(scale)
        total = scale + held
        return np.divide(held, total, out=np.zeros_like(scale), where=total > 0)

    @cached_property
    def _diagonal(self) -> Array:
        s = self.statistics
        second = np.diagonal(s.second, axis1=1, axis2=2).T
        second = np.where(second <= _ROUNDING * s.x_mean**2, 0.0, second)
        return np.asarray(s.scale * (second + self._mean_share * s.x_mean**2))

    def _prepare(self, shift: float) -> LinearMap:
        return self._preconditioner(shift)

    @cached_property
    def _preconditioner(self) -> Preconditioner:
        """Solve every task by itself: exact where nothing couples the tasks."""
        s, left = self.statistics, self._mean_share
        d, columns = self.shape
        matrices = columns if left.any() else len(s.second)
        if matrices * float(d) ** 3 > _EXACT_COST:
            return diagonal_preconditioner(self._diagonal)
        if not left.any():
            return block_preconditioner(s.second, s.scale)
        means = np.einsum("k,ik,jk->kij", left, s.x_mean, s.x_mean)
        return block_preconditioner(s.second + means, s.scale)

    def _hessian(self, V: Array) -> Array:
        s = self.statistics
        misfit = -np.einsum("ij,ij->j", s.x_mean, V)
        left = s.scale * (misfit - self.intercepts.solve(s.scale, s.scale * misfit))
        return np.asarray(s.scale * times_each(s.second, V) - s.x_mean * left)
