"""What a search scores: the held-out loss, R2, or a metric of natural outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.scoring import labelled_rows
from polytask._estimator.weights import label_weights
from polytask.data import Form
from polytask.datafits import Counted, TaskMoments
from polytask.datafits.base import moments_times
from polytask.linear.datafit import scaled_moments
from polytask.linear.problem import Problem, held_out, tasks_of
from polytask.metrics import r2
from polytask.selection.folds import Fold, MomentFold, RowFold

Array = NDArray[np.float64]
# From scaled coefficients and intercepts to a score, greater is better; None if there is none.
Scorer = Callable[[Array, Array], float]
PartialScorer = Callable[[Array, Array], float | None]

# Squared residuals below this share of what they are a difference of have lost digits.
LOST = 1e-6
# R2 has lost digits where what is subtracted is more than this many times the variance.
_MOST = 1e5
# A variance below this share of the squared mean may be rounding.
_CONSTANT = 1e-20


class FoldScoring(ABC):
    """How fitted coefficients are judged on held-out rows."""

    @abstractmethod
    def on_rows(self, fold: RowFold, problem: Problem, owner: str) -> Scorer:
        """Return what scores a problem on the held-out rows."""

    @abstractmethod
    def on_moments(self, fold: MomentFold, problem: Problem) -> PartialScorer | None:
        """Return what scores it on their moments, None if moments do not say."""


def scorer_of(scoring: FoldScoring, fold: Fold, problem: Problem, owner: str) -> Scorer:
    """Return what scores the coefficients of a problem, on moments where these will do."""
    score = _scorer(scoring, fold, problem, owner)
    # Targets are never unseen, and the scale of one without a label is not known.
    form = fold.train.form if isinstance(fold, RowFold) else fold.like.form
    if np.all(problem.counts > 0) or form is Form.TARGETS:
        return score
    return lambda W, intercept: score(*problem.served(W, intercept))


def _scorer(scoring: FoldScoring, fold: Fold, problem: Problem, owner: str) -> Scorer:
    if isinstance(fold, RowFold):
        return scoring.on_rows(fold, problem, owner)
    quick = scoring.on_moments(fold, problem)
    if quick is None:
        return scoring.on_rows(fold.rows, problem, owner)
    slow: list[Scorer] = []

    def score(W: Array, intercept: Array) -> float:
        found = quick(W, intercept)
        if found is not None:
            return found
        if not slow:
            slow.append(scoring.on_rows(fold.rows, problem, owner))
        return slow[0](W, intercept)

    return score


@dataclass(frozen=True)
class HeldOutLoss(FoldScoring):
    """Minus the mean loss of the held-out labels on scaled targets."""

    # Every label counts with its sample weight, whatever the weights of the tasks.

    def on_rows(self, fold: RowFold, problem: Problem, owner: str) -> Scorer:
        """Return what scores a problem on the held-out rows."""
        weight = label_weights(fold.test, fold.test_outcomes, None, owner)
        value, total = held_out(problem, fold.test, fold.test_outcomes, weight), weight.sum()
        return lambda W, intercept: -value(W, intercept) / float(total)

    def on_moments(self, fold: MomentFold, problem: Problem) -> PartialScorer | None:
        """Return what scores it on their moments."""
        residual = Residual.of(fold.test, problem)
        counts = fold.test.counts

        def score(W: Array, intercept: Array) -> float | None:
            squares, size = residual.at(W, intercept)
            total = float(counts @ squares)
            if not total >= LOST * float(counts @ size):
                return None
            return -0.5 * total / float(counts.sum())

        return score


@dataclass(frozen=True)
class HeldOutMetric(FoldScoring):
    """A metric of natural outputs, averaged over the tasks with held-out labels."""

    metric: Callable[..., float]
    weighted: bool = False

    def on_rows(self, fold: RowFold, problem: Problem, owner: str) -> Scorer:
        """Return what scores a problem on the held-out rows."""
        return _averaged(self.metric, fold, problem, self.weighted)

    def on_moments(self, fold: MomentFold, problem: Problem) -> PartialScorer | None:
        """Return None: a metric needs predictions."""
        return None


@dataclass(frozen=True)
class HeldOutR2(FoldScoring):
    """R2, averaged over the tasks with held-out labels for which it is defined."""

    def on_rows(self, fold: RowFold, problem: Problem, owner: str) -> Scorer:
        """Return what scores a problem on the held-out rows."""
        return _averaged(r2, fold, problem, weighted=True)

    def on_moments(self, fold: MomentFold, problem: Problem) -> PartialScorer | None:
        """Return what scores it on their moments; R2 knows no weights of rows."""
        raw, counts = fold.test.statistics, fold.test.counts
        several = counts >= 2
        doubtful = several & (raw.spread <= _CONSTANT * raw.y_mean**2)
        if fold.like.sample_weight is not None or doubtful.any():
            return None
        residual = Residual.of(fold.test, problem)
        spread = residual.statistics.spread

        def score(W: Array, intercept: Array) -> float | None:
            squares, size = residual.at(W, intercept)
            if not np.all(size[several] <= _MOST * spread[several]):
                return None
            return float(np.mean(1.0 - squares[several] / spread[several]))

        return score if several.any() else None


@dataclass(frozen=True, eq=False)
class Residual:
    """Mean squared residuals of labels, from their moments."""

    statistics: TaskMoments

    @classmethod
    def of(cls, moments: Counted, problem: Problem) -> Residual:
        """Take the moments in the scaling of a problem."""
        ones = np.ones(len(moments.counts))
        return cls(scaled_moments(moments, problem.features, problem.targets, ones))

    def at(self, W: Array, intercept: Array) -> tuple[Array, Array]:
        """Return the mean of each task, and how large the terms are whose sum it is."""
        s = self.statistics
        explained = np.einsum("ij,ij->j", moments_times(s.second, W), W)
        crossed = 2.0 * np.einsum("ij,ij->j", s.cross, W)
        misfit = s.y_mean - np.einsum("ij,ij->j", s.x_mean, W) - intercept
        squares = np.maximum(s.spread - crossed + explained, 0.0) + misfit**2
        return squares, s.spread + np.abs(crossed) + explained + misfit**2


def _averaged(
    metric: Callable[..., float], fold: RowFold, problem: Problem, weighted: bool
) -> Scorer:
    """Return the mean of a metric over the tasks with held-out labels."""
    outcomes = fold.test_outcomes
    parts = [part for part in labelled_rows(fold.test) if len(part.y)]
    rows = [fold.test.X[part.rows] for part in parts]

    def score(W: Array, intercept: Array) -> float:
        linear = tasks_of(problem, outcomes, *problem.original_units(W, intercept))
        scores = [
            float(metric(p.y, linear.labels_of(X, p.task), *([p.weight] if weighted else [])))
            for p, X in zip(parts, rows, strict=True)
        ]
        defined = [found for found in scores if not np.isnan(found)]
        return float(np.mean(defined)) if defined else float("nan")

    return score
