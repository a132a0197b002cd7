"""The prior of another head: what the heads of a trained network say about it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.deep.prediction import DeepTasks
from polytask.losses import Loss, Squared, SquareRoot
from polytask.transfer._basis import Quadratic
from polytask.transfer._level import level_factor
from polytask.transfer._pulled import Grid, Line, Rows, learn, log_evidence

Array = NDArray[np.float64]

# The covariance of heads is that of so many more heads that differ alike in all directions: it
# does what shrinkage does where tasks are few, and nothing where they are many.
_BORROWED = 4.0
# Below so many rows a target of its own units takes those of the known tasks.
_FEW = 5


@dataclass(frozen=True)
class Units:
    """What numbers of a target are divided by, after the mean is taken off."""

    mean: float
    scale: float


@dataclass(frozen=True, eq=False)
class Head:
    """A head that was learned. Shapes: u (r, n_columns)."""

    line: Line
    u: Array
    ridge: float
    strength: float


@dataclass(frozen=True, eq=False)
class HeadPrior:
    """Heads are ``mean + root u`` with u standard normal, the intercept last."""

    # Shapes: mean (n_columns, width + 1), root (width + 1, r).

    mean: Array
    root: Array
    noise: float

    def learned(self, H: Array, rows: Rows, grid: Grid) -> Head:
        """Return the head that the rows of a task ask for, exactly. Shapes: H (n_rows, width)."""
        found = learn(self._read(H, rows), self._start, self._held, grid)
        r, strength = self.root.shape[1], found.strength
        u = np.zeros((r, len(self.mean))) if np.isinf(strength) else found.line.coef[:, :r].T
        whole = self.mean + (self.root @ u).T
        ridge = self.noise * (strength if np.isfinite(strength) else 1.0)
        return Head(Line(whole[:, :-1], whole[:, -1]), u, ridge, strength)

    def loosened(self, H: Array, rows: Rows) -> HeadPrior:
        """Return the prior for a new domain, whose level may be further off than any known."""
        spread = float(np.mean(np.square(_extended(H) @ self.root).sum(axis=1)))
        if spread <= 0.0:
            return self

        def wider(factor: float) -> HeadPrior:
            level = np.zeros((len(self.root), 1))
            level[-1] = np.sqrt(factor * spread)
            return HeadPrior(self.mean, np.hstack([self.root, level]), self.noise)

        def evidence(factor: float) -> float:
            prior = wider(factor)
            return log_evidence(prior._read(H, rows), prior._start, prior._held)

        return wider(level_factor(evidence))

    def _read(self, H: Array, rows: Rows) -> Rows:
        """Return the rows in coordinates of the prior, and what the mean heads predict."""
        E = _extended(H)
        Z = np.column_stack([E @ self.root, E @ self.mean.T])
        return Rows(Z, rows.y, rows.weight, rows.loss)

    @property
    def _start(self) -> Line:
        k = len(self.mean)
        return Line(np.hstack([np.zeros((k, self.root.shape[1])), np.eye(k)]), np.zeros(k))

    @property
    def _held(self) -> Quadratic:
        r, k = self.root.shape[1], len(self.mean)
        # What the mean heads predict is held fast.
        strength = np.append(np.full(r, self.noise), np.full(k, np.inf))
        return Quadratic(np.zeros(r + k), strength, np.inf)


def _extended(H: Array) -> Array:
    return np.column_stack([np.asarray(H, dtype=np.float64), np.ones(len(H))])


def head_prior(model: Any, tasks: DeepTasks) -> HeadPrior:  # noqa: ANN401 - a deep estimator
    """Return what the heads of a trained network say about another one."""
    coef, intercept = tasks.mean_head()
    mean = np.column_stack([coef, intercept]).astype(np.float64)
    covariance = _covariance(tasks, mean)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return HeadPrior(mean, root[:, values > 0.0], _noise(model, tasks.loss_of(-1)))


def _covariance(tasks: DeepTasks, mean: Array) -> Array:
    """Return the covariance of heads about the mean head of their class."""
    heads = np.column_stack(tasks.heads())
    owners = np.repeat(np.arange(tasks.n_trained), tasks.plan.widths)
    place = _classes(tasks)
    known = tasks.counts[owners] > 0
    away = (heads - mean[[place[label] for label in tasks.labels]])[known]
    free = len(away) - len(mean)
    if free < 1:
        # One task: another one may differ from it by as much as its head is large.
        away, free = mean, len(mean)
    squares = away.T @ away
    alike = np.full(len(squares), np.trace(squares[:-1, :-1]) / max(len(squares) - 1, 1))
    alike[-1] = squares[-1, -1]
    share = _BORROWED / (free + _BORROWED)
    whole: Array = ((1.0 - share) * squares + share * np.diag(alike)) / free
    return whole


def _classes(tasks: DeepTasks) -> dict[Hashable | None, int]:
    """Return the row of the mean head that each class belongs to."""
    several = tasks.union is not None and any(label is not None for label in tasks.labels)
    labels = np.asarray(tasks.union).tolist() if several else [None]
    return {label: k for k, label in enumerate(labels)}


def _noise(model: Any, loss: Loss) -> float:  # noqa: ANN401 - a deep estimator
    """Return the variance of a label, from the losses of the epoch that was kept."""
    if not loss.follows_units:
        return 1.0
    history = model.history_
    by_epoch = history.training if history.held_out is None else history.held_out
    losses = by_epoch[model.solution_.best_epoch - 1]
    mean = float(np.mean(losses[np.isfinite(losses)]))
    if isinstance(loss, SquareRoot):
        mean = 0.5 * mean**2
    # Half a squared error; of other losses of numbers the scale at which they are a likelihood.
    scale = 2.0 * mean if isinstance(loss, Squared | SquareRoot) else mean
    return max(scale, np.finfo(np.float64).tiny)


def units_of(tasks: DeepTasks, rows: Rows) -> Units:
    """Return the units of the target of a new task."""
    # Those of the known tasks where they have one unit in common; else its own mean and standard
    # deviation, or with few rows the mean units of the tasks.
    means, scales = tasks.target_mean, tasks.target_scale
    if np.ptp(means) == 0.0 and np.ptp(scales) == 0.0:
        return Units(float(means[0]), float(scales[0]))
    if len(rows.y) >= _FEW:
        level = float(np.average(rows.y, weights=rows.weight))
        spread = float(np.sqrt(np.average((rows.y - level) ** 2, weights=rows.weight)))
        if spread > 0.0:
            return Units(level, spread)
    weights = tasks.counts if tasks.counts.any() else None
    return Units(
        float(np.average(means, weights=weights)), float(np.average(scales, weights=weights))
    )
