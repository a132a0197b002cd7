"""The posterior mode of many logistic tasks with a common normal prior, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from polytask.bayes.laplace_rows import BlockPosterior, RowBlock, Spread, block_posterior
from polytask.losses import Logistic

Array = NDArray[np.float64]

# Below this share of the objective no line search can tell whether a step is good; the last step
# is the one that promises less than the second share, or no less than the one before.
_TRUSTED, _NEARLY = 1e-10, 1e-20
# A quadratic model is made anew when a step promises more than this share of the last one.
_SLOW = 0.1
_MAX_STEPS, _MAX_HALVINGS = 100, 40
_LOSS = Logistic()


class Scored(Protocol):
    """Rows as their losses see them; see :class:`RowBlock`."""

    @property
    def y(self) -> Array:
        """Labels."""

    @property
    def weight(self) -> Array:
        """Weights."""

    @property
    def normal(self) -> NDArray[np.bool_] | None:
        """Labels that are numbers."""


@dataclass(frozen=True, eq=False)
class Beliefs:
    """The prior of all tasks: mu is known, or normal about 0."""

    # Shapes: precision (p,), mean (p,).

    spread: Spread
    precision: Array | None
    mean: Array


@dataclass(frozen=True, eq=False)
class Point:
    """Where Newton stands: ``w_t = mu + C alpha_t`` in the varying columns."""

    # Shapes: mean (p,), alpha (n_tasks, q).

    mean: Array
    alpha: Array

    def towards(self, other: Point, step: float) -> Point:
        """Return the point a share `step` of the way to another."""
        return Point(
            self.mean + step * (other.mean - self.mean),
            self.alpha + step * (other.alpha - self.alpha),
        )

    def coefficients(self, spread: Spread) -> Array:
        """Return w, shape (n_tasks, p)."""
        w = np.tile(self.mean, (len(self.alpha), 1))
        w[:, spread.varying] += spread.times(self.alpha)
        return w


@dataclass(frozen=True, eq=False)
class Mode:
    """The posterior mode, with all that the marginal likelihood needs there."""

    # Shapes: inverse_root (p, p).

    point: Point
    objective: float
    etas: list[Array]
    posteriors: list[BlockPosterior]
    inverse_root: Array | None
    log_determinant: float
    converged: bool

    @property
    def mean_covariance(self) -> Array | None:
        """Posterior covariance of mu."""
        return None if self.inverse_root is None else self.inverse_root.T @ self.inverse_root


def loss_value(rows: Scored, eta: Array) -> float:
    """Return the weighted sum of the losses of a block."""
    loss = _LOSS.value(rows.y, eta)
    if rows.normal is not None:
        loss = np.where(rows.normal, 0.5 * (rows.y - eta) ** 2, loss)
    return float(np.sum(rows.weight * loss))


def residuals(rows: Scored, eta: Array) -> Array:
    """Return minus the first derivative of the loss of every row."""
    residual = -_LOSS.gradient(rows.y, eta)
    if rows.normal is not None:
        residual = np.where(rows.normal, rows.y - eta, residual)
    return np.asarray(rows.weight * residual)


def curvatures(rows: Scored, eta: Array) -> Array:
    """Return the second derivative of the loss of every row."""
    curvature = _LOSS.curvature(rows.y, eta)
    if rows.normal is not None:
        curvature = np.where(rows.normal, 1.0, curvature)
    return np.asarray(rows.weight * curvature)


def third_derivative(rows: Scored, eta: Array) -> Array:
    """Return the third derivative of the loss of every row."""
    third = -_LOSS.curvature(rows.y, eta) * np.tanh(0.5 * eta)
    if rows.normal is not None:
        third = np.where(rows.normal, 0.0, third)
    return np.asarray(rows.weight * third)


def posterior_mode(blocks: list[RowBlock], beliefs: Beliefs, starts: list[Point]) -> Mode:
    """Find the joint mode of mu and of the deviations of all tasks."""
    point, etas, value = _best(blocks, beliefs, starts)
    model: _Quadratic | None = None
    reached, renewed = np.inf, False
    for _ in range(_MAX_STEPS):
        fresh = model is None
        if model is None:
            model, reached = _quadratic(blocks, etas, beliefs), np.inf
        pulls = [residuals(rows, eta) for rows, eta in zip(blocks, etas, strict=True)]
        target = model.minimum(etas, pulls, beliefs, len(point.alpha))
        moved = _etas(blocks, target, beliefs.spread)
        slope = _slope(pulls, etas, moved, (point, target), beliefs)
        trusted = -slope <= _TRUSTED * (1.0 + abs(value))
        slow = -slope > _SLOW * reached
        if -slope <= _NEARLY * (1.0 + abs(value)) or (trusted and slow and renewed):
            value = _objective(blocks, moved, target, beliefs)
            return _mode(target, value, moved, _quadratic(blocks, moved, beliefs), converged=True)
        found = None
        if trusted and not slow:
            found = target, moved, _objective(blocks, moved, target, beliefs)
        elif not slow:
            found = _descend(blocks, (point, etas, value), (target, moved), slope, beliefs)
        if found is not None:
            point, etas, value = found
            reached = -slope
        elif fresh:
            break
        else:
            model, renewed = None, trusted
    return _mode(point, value, etas, _quadratic(blocks, etas, beliefs), converged=False)


def _mode(
    point: Point,
    value: float,
    etas: list[Array],
    model: _Quadratic,
    *,
    converged: bool,
) -> Mode:
    root = model.root
    logs = sum(posterior.log_determinant for posterior in model.posteriors)
    logs += 0.0 if root is None else -2.0 * float(np.log(np.abs(np.diagonal(root))).sum())
    return Mode(point, value, etas, model.posteriors, root, logs, converged)


@dataclass(frozen=True, eq=False)
class _Quadratic:
    """A quadratic model of the objective."""

    # It is made where Newton stands and used while it serves: making it costs far more than a
    # step with it.

    posteriors: list[BlockPosterior]
    curvatures: list[Array]
    root: Array | None  # K with K'K = S^-1

    def minimum(
        self, etas: list[Array], pulls: list[Array], beliefs: Beliefs, n_tasks: int
    ) -> Point:
        """Return the minimum of the model, moved to where the linear predictors are `etas`."""
        betas = [
            posterior.rows.project(curvature * eta + pull)
            for posterior, curvature, eta, pull in zip(
                self.posteriors, self.curvatures, etas, pulls, strict=True
            )
        ]
        mean = beliefs.mean
        if self.root is not None:
            right = np.zeros(len(mean))
            for posterior, beta in zip(self.posteriors, betas, strict=True):
                right += posterior.reduced(beta).sum(axis=0)
            mean = self.root.T @ (self.root @ right)
        alpha = np.zeros((n_tasks, len(beliefs.spread.varying)))
        for posterior, beta in zip(self.posteriors, betas, strict=True):
            alpha[posterior.rows.tasks] = posterior.response(beta, mean)
        return Point(mean, alpha)


def _quadratic(blocks: list[RowBlock], etas: list[Array], beliefs: Beliefs) -> _Quadratic:
    found = [curvatures(rows, eta) for rows, eta in zip(blocks, etas, strict=True)]
    posteriors = [
        block_posterior(rows, curvature, beliefs.spread)
        for rows, curvature in zip(blocks, found, strict=True)
    ]
    root = None
    if beliefs.precision is not None:
        root = _inverse_root(posteriors, beliefs.precision)
    return _Quadratic(posteriors, found, root)


def _best(
    blocks: list[RowBlock], beliefs: Beliefs, starts: list[Point]
) -> tuple[Point, list[Array], float]:
    found = []
    for point in starts:
        etas = _etas(blocks, point, beliefs.spread)
        found.append((point, etas, _objective(blocks, etas, point, beliefs)))
    return min(found, key=lambda entry: entry[2])


def _etas(blocks: list[RowBlock], point: Point, spread: Spread) -> list[Array]:
    w = point.coefficients(spread)
    return [rows.eta(w[rows.tasks]) for rows in blocks]


def _objective(blocks: list[RowBlock], etas: list[Array], point: Point, beliefs: Beliefs) -> float:
    loss = sum(loss_value(rows, eta) for rows, eta in zip(blocks, etas, strict=True))
    own = 0.5 * float(np.sum(beliefs.spread.times(point.alpha) * point.alpha))
    if beliefs.precision is None:
        return loss + own
    return loss + own + 0.5 * float(beliefs.precision @ point.mean**2)


def _inverse_root(posteriors: list[BlockPosterior], precision: Array) -> Array:
    S = np.diag(precision)
    for posterior in posteriors:
        S = S + posterior.information()
    root = scipy.linalg.cholesky(S, lower=True)
    inverse = scipy.linalg.solve_triangular(root, np.eye(len(S)), lower=True)
    return np.asarray(inverse)


def _slope(
    pulls: list[Array],
    etas: list[Array],
    moved: list[Array],
    ends: tuple[Point, Point],
    beliefs: Beliefs,
) -> float:
    """Return the derivative of the objective along the whole step."""
    point, target = ends
    slope = float(np.sum(beliefs.spread.times(point.alpha) * (target.alpha - point.alpha)))
    if beliefs.precision is not None:
        slope += float((beliefs.precision * point.mean) @ (target.mean - point.mean))
    for pull, eta, new in zip(pulls, etas, moved, strict=True):
        slope -= float(np.sum(pull * (new - eta)))
    return slope


def _descend(
    blocks: list[RowBlock],
    here: tuple[Point, list[Array], float],
    there: tuple[Point, list[Array]],
    slope: float,
    beliefs: Beliefs,
) -> tuple[Point, list[Array], float] | None:
    """Go as far towards the target as the objective falls; None if it does not fall at all."""
    (point, etas, value), (target, moved) = here, there
    step = 1.0
    for _ in range(_MAX_HALVINGS):
        new = point.towards(target, step)
        between = [eta + step * (m - eta) for eta, m in zip(etas, moved, strict=True)]
        reached = _objective(blocks, between, new, beliefs)
        if reached <= value + 1e-4 * step * slope:
            return new, between, reached
        step *= 0.5
    return None
