"""The posterior mode of many tasks with a common normal prior, by Newton's method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from polytask.bayes.label_losses import Dispersions, LabelLosses
from polytask.bayes.laplace_rows import (
    BlockPosterior,
    GramPosterior,
    Index,
    RowBlock,
    Spread,
    TaskPosterior,
)

Array = NDArray[np.float64]

# Below this share of the objective no line search can tell whether a step is good; the last step
# is the one that promises less than the second share, or no less than the one before.
_TRUSTED, _NEARLY = 1e-10, 1e-20
# A quadratic model is made anew when a step promises more than this share of the last one.
_SLOW = 0.1
_MAX_STEPS, _MAX_HALVINGS = 100, 40


@dataclass(frozen=True, eq=False)
class Beliefs:
    """The prior of all tasks, mu known or normal about 0, and what their labels lose."""

    # Shapes: precision (p,), mean (p,).

    spread: Spread
    precision: Array | None
    mean: Array
    losses: LabelLosses = LabelLosses()  # noqa: RUF009 - immutable

    def cost(self, point: Point) -> float:
        """Return minus the log density of a point, up to a constant."""
        value = 0.5 * float(np.sum(self.spread.times(point.alpha) * point.alpha))
        if self.precision is not None:
            value += 0.5 * float(self.precision @ point.mean**2)
        return value


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
class LineLosses:
    """What the labels of every line of coefficients, which are elsewhere, lose at a mode."""

    # Shapes: kind, weight, undivided (n_tasks,), gradient (n_tasks, p), curvature (n_tasks, p, p).

    kind: Index
    weight: Array
    undivided: Array
    gradient: Array
    curvature: Array

    def dispersions(
        self,
        posteriors: Sequence[TaskPosterior],
        root: Array | None,
        losses: LabelLosses,
        moves: Array,
    ) -> Dispersions:
        """Return what the evidence says about dispersions. Shapes: moves (n_tasks, p)."""
        traces = np.zeros(len(self.kind))
        for own in posteriors:
            assert isinstance(own, GramPosterior)
            found = self.curvature[own.tasks] * own.covariances(root)
            traces[own.tasks] = found.sum(axis=(1, 2))
        implicit = -np.sum(self.gradient * moves, axis=1)
        known = (self.weight, self.undivided, traces, implicit)
        sums = np.zeros((4, len(losses.kinds)))
        for out, values in zip(sums, known, strict=True):
            np.add.at(out, self.kind, values)
        return losses.dispersions_of(*sums)


@dataclass(frozen=True, eq=False)
class Mode:
    """The posterior mode, with all that the marginal likelihood needs there."""

    # Shapes: inverse_root (p, p), pulls (B, p) of each posterior: by how much the log determinant
    # would raise the log evidence if coefficients moved; None where their rows tell. `etas` are
    # those of the rows of each posterior, none where the rows are elsewhere; then `lines` tell.

    point: Point
    objective: float
    etas: list[Array]
    posteriors: Sequence[TaskPosterior]
    inverse_root: Array | None
    log_determinant: float
    converged: bool
    pulls: list[Array] | None = None
    lines: LineLosses | None = None

    @property
    def blocks(self) -> list[BlockPosterior]:
        """The posteriors whose rows are at hand."""
        return [own for own in self.posteriors if isinstance(own, BlockPosterior)]

    @property
    def mean_covariance(self) -> Array | None:
        """Posterior covariance of mu."""
        return None if self.inverse_root is None else self.inverse_root.T @ self.inverse_root


class Valued(Protocol):
    """A point with the objective there."""

    @property
    def value(self) -> float:
        """The objective."""


Here = TypeVar("Here", bound=Valued)
Quadratic = TypeVar("Quadratic")


class NewtonSteps(ABC, Generic[Here, Quadratic]):
    """Steps of Newton's method for one objective."""

    @abstractmethod
    def model(self, here: Here) -> Quadratic:
        """Return what a step needs that is costly to make and serves for several."""

    @abstractmethod
    def target(self, model: Quadratic, here: Here) -> tuple[Here, float]:
        """Return the minimum of the model, and the derivative of the objective towards it."""

    @abstractmethod
    def between(self, here: Here, target: Here, step: float) -> Here:
        """Return the point a share `step` of the way."""

    def minimum(self, here: Here) -> tuple[Here, bool]:
        """Return the minimum, and whether it was reached."""
        model: Quadratic | None = None
        reached, renewed = np.inf, False
        for _ in range(_MAX_STEPS):
            fresh = model is None
            if model is None:
                model, reached = self.model(here), np.inf
            target, slope = self.target(model, here)
            scale = 1.0 + abs(here.value)
            trusted, slow = -slope <= _TRUSTED * scale, -slope > _SLOW * reached
            if -slope <= _NEARLY * scale or (trusted and slow and renewed):
                return target, True
            found = None
            if trusted and not slow:
                found = target
            elif not slow:
                found = self._descend(here, target, slope)
            if found is not None:
                here, reached = found, -slope
            elif fresh:
                break
            else:
                model, renewed = None, trusted
        return here, False

    def _descend(self, here: Here, target: Here, slope: float) -> Here | None:
        """Go as far towards the target as the objective falls; None if it does not fall."""
        step = 1.0
        for _ in range(_MAX_HALVINGS):
            new = self.between(here, target, step)
            if new.value <= here.value + 1e-4 * step * slope:
                return new
            step *= 0.5
        return None


@dataclass(frozen=True, eq=False)
class _Here:
    point: Point
    etas: list[Array]
    value: float


def posterior_mode(blocks: list[RowBlock], beliefs: Beliefs, starts: list[Point]) -> Mode:
    """Find the joint mode of mu and of the deviations of all tasks."""
    steps = _BlockSteps(blocks, beliefs)
    here, converged = steps.minimum(min(map(steps.at, starts), key=lambda at: at.value))
    model = steps.model(here)
    logs, joint = model.joint.log_determinant, model.joint
    return Mode(here.point, here.value, here.etas, joint.posteriors, joint.root, logs, converged)


@dataclass(frozen=True, eq=False)
class JointQuadratic:
    """A quadratic model of the losses of all tasks, with their prior."""

    posteriors: Sequence[TaskPosterior]
    root: Array | None  # K with K'K = S^-1

    @classmethod
    def of(cls, posteriors: Sequence[TaskPosterior], beliefs: Beliefs) -> JointQuadratic:
        """Join the posteriors of tasks."""
        if beliefs.precision is None:
            return cls(posteriors, None)
        S = np.diag(beliefs.precision)
        for posterior in posteriors:
            S = S + posterior.information()
        root = scipy.linalg.cholesky(S, lower=True)
        inverse = scipy.linalg.solve_triangular(root, np.eye(len(S)), lower=True)
        return cls(posteriors, np.asarray(inverse))

    @property
    def log_determinant(self) -> float:
        """The log determinant of the posterior precision of mu and of all deviations."""
        logs = sum(posterior.log_determinant for posterior in self.posteriors)
        if self.root is None:
            return logs
        return logs - 2.0 * float(np.log(np.abs(np.diagonal(self.root))).sum())

    def minimum(self, betas: list[Array], beliefs: Beliefs, n_tasks: int) -> Point:
        """Return the minimum. Shapes: betas (B, p), curvature times coefficients less gradient."""
        mean = beliefs.mean
        if self.root is not None:
            right = np.zeros(len(mean))
            for posterior, beta in zip(self.posteriors, betas, strict=True):
                right += posterior.reduced(beta).sum(axis=0)
            mean = self.root.T @ (self.root @ right)
        alpha = np.zeros((n_tasks, len(beliefs.spread.varying)))
        for posterior, beta in zip(self.posteriors, betas, strict=True):
            alpha[posterior.tasks] = posterior.response(beta, mean)
        return Point(mean, alpha)


@dataclass(frozen=True, eq=False)
class _Quadratic:
    """The model at the curvatures of a point."""

    # It is made where Newton stands and used while it serves: making it costs far more than a
    # step with it.

    joint: JointQuadratic
    blocks: list[BlockPosterior]
    curvatures: list[Array]

    def minimum(
        self, etas: list[Array], pulls: list[Array], beliefs: Beliefs, n_tasks: int
    ) -> Point:
        """Return the minimum of the model, moved to where the linear predictors are `etas`."""
        parts = zip(self.blocks, self.curvatures, etas, pulls, strict=True)
        betas = [own.rows.project(h * eta + pull) for own, h, eta, pull in parts]
        return self.joint.minimum(betas, beliefs, n_tasks)


class _BlockSteps(NewtonSteps[_Here, _Quadratic]):
    def __init__(self, blocks: list[RowBlock], beliefs: Beliefs) -> None:
        self.blocks, self.beliefs = blocks, beliefs

    def at(self, point: Point) -> _Here:
        """Return a point with its objective."""
        w = point.coefficients(self.beliefs.spread)
        return self._valued(point, [rows.eta(w[rows.tasks]) for rows in self.blocks])

    def _valued(self, point: Point, etas: list[Array]) -> _Here:
        losses, value = self.beliefs.losses, self.beliefs.cost(point)
        for rows, eta in zip(self.blocks, etas, strict=True):
            value += losses.value(rows, eta)
        return _Here(point, etas, value)

    def model(self, here: _Here) -> _Quadratic:
        """Return the posteriors at the curvatures of a point."""
        pairs = zip(self.blocks, here.etas, strict=True)
        found = [self.beliefs.losses.curvatures(rows, eta) for rows, eta in pairs]
        posteriors = [
            BlockPosterior(rows, curvature, self.beliefs.spread)
            for rows, curvature in zip(self.blocks, found, strict=True)
        ]
        return _Quadratic(JointQuadratic.of(posteriors, self.beliefs), posteriors, found)

    def target(self, model: _Quadratic, here: _Here) -> tuple[_Here, float]:
        """Return the minimum of the model, and the derivative towards it."""
        beliefs, point = self.beliefs, here.point
        pairs = zip(self.blocks, here.etas, strict=True)
        pulls = [beliefs.losses.residuals(rows, eta) for rows, eta in pairs]
        target = self.at(model.minimum(here.etas, pulls, beliefs, len(point.alpha)))
        change = target.point.alpha - point.alpha
        slope = float(np.sum(beliefs.spread.times(point.alpha) * change))
        if beliefs.precision is not None:
            slope += float((beliefs.precision * point.mean) @ (target.point.mean - point.mean))
        for pull, eta, new in zip(pulls, here.etas, target.etas, strict=True):
            slope -= float(np.sum(pull * (new - eta)))
        return target, slope

    def between(self, here: _Here, target: _Here, step: float) -> _Here:
        """Return the point a share `step` of the way."""
        etas = [eta + step * (m - eta) for eta, m in zip(here.etas, target.etas, strict=True)]
        return self._valued(here.point.towards(target.point, step), etas)
