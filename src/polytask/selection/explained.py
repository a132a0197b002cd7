"""How much of the held-out rows the chosen candidate of a search explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.outputs import one_by_one
from polytask._estimator.scoring import Scoring, labelled_rows
from polytask.data import Form
from polytask.linear.problem import Problem, tasks_of
from polytask.metrics.summaries import rounding, weighted_sum
from polytask.selection.folds import Fold, MomentFold, RowFold
from polytask.selection.judging import Path, PathFitter
from polytask.selection.rules import ScoredChoice
from polytask.selection.scoring import LOST, Residual

Array = NDArray[np.float64]

_EPS = 32.0 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class HeldOutScore:
    """The score of a candidate over the held-out rows of all folds."""

    score: float
    error: float


@dataclass(frozen=True, eq=False)
class FoldFits:
    """Candidates fitted on the training part of folds, each once."""

    folds: Sequence[Fold]
    fitter: PathFitter
    # Solutions alone are kept: a problem may hold a copy of its rows.
    _known: dict[tuple[int, int], tuple[Array, Array]] = field(default_factory=dict)

    def of(self, k: int, choice: ScoredChoice) -> tuple[Problem, Array, Array]:
        """Return the problem of a fold, coefficients and intercepts, also of unseen tasks."""
        fold = self.folds[k]
        problem = fold.problem(choice.settings, self.fitter.owner)
        if (k, id(choice)) not in self._known:
            alpha, position = np.array([choice.alpha]), np.array([choice.position])
            path = Path(choice.family, choice.penalty, alpha, choice.settings, position)
            ((_, solution),) = self.fitter.fits(problem, path)
            targets = (fold.train if isinstance(fold, RowFold) else fold.like).form is Form.TARGETS
            fitted = solution.W, solution.intercept
            # Targets are never unseen.
            self._known[k, id(choice)] = fitted if targets else problem.served(*fitted)
        return problem, *self._known[k, id(choice)]


def held_out_score(fits: FoldFits, best: ScoredChoice) -> HeldOutScore:
    """Fit one candidate on every fold and score all held-out rows."""
    owner = fits.fitter.owner
    found = []
    for k, fold in enumerate(fits.folds):
        problem, W, b = fits.of(k, best)
        targets = (fold.train if isinstance(fold, RowFold) else fold.like).form is Form.TARGETS
        sums = _of_moments(fold, problem, W, b, targets) if isinstance(fold, MomentFold) else None
        if sums is None:
            rows = fold.rows if isinstance(fold, MomentFold) else fold
            sums = _of_rows(rows, problem, W, b, owner)
        found.append(sums)
    return _summary(np.stack(found))


def _of_moments(
    fold: MomentFold, problem: Problem, W: Array, b: Array, targets: bool
) -> Array | None:
    """Return squared errors, those of the training mean, and what is rounding, (3, quantities)."""
    raw, counts = fold.test.statistics, fold.test.counts
    squares, size = Residual.of(fold.test, problem).at(W, b)
    if not float(counts @ squares) >= LOST * float(counts @ size):
        return None
    known = fold.train.counts
    means = np.where(known > 0, fold.train.statistics.y_mean, np.nan)
    if not targets:
        means = np.full(len(means), np.average(means[known > 0], weights=known[known > 0]))
    around = np.where(counts > 0, raw.spread + (raw.y_mean - means) ** 2, 0.0)
    sums = counts * np.stack([squares * problem.targets.scale**2, around, (_EPS * means) ** 2])
    return np.asarray(sums if targets else sums.sum(axis=1, keepdims=True))


def _of_rows(fold: RowFold, problem: Problem, W: Array, b: Array, owner: str) -> Array:
    """Return the losses of the rows, of the training constant, and what is rounding."""
    outcomes, data = fold.test_outcomes, fold.test
    linear = tasks_of(problem, outcomes, *problem.original_units(W, b))
    targets = data.form is Form.TARGETS
    scoring = Scoring(one_by_one(linear.labels_of), linear, data.n_tasks, targets, owner)
    baseline = scoring.baseline_of(fold.train)
    sums = np.zeros((3, data.n_tasks))
    for part in labelled_rows(data):
        held = scoring.held_out(part, data.X, baseline)
        losses = weighted_sum(held.losses(), held.weight)
        sums[:, part.task] = (
            losses,
            weighted_sum(held.baseline_losses(), held.weight),
            rounding(held),
        )
    pooled = not targets and len(baseline.constants) == 1
    return sums.sum(axis=1, keepdims=True) if pooled else sums


def _summary(sums: Array) -> HeldOutScore:
    """Return the mean over quantities of the share explained, and its standard error."""
    losses, null, least = np.moveaxis(sums, 1, 0)
    total = null.sum(axis=0)
    known = total > least.sum(axis=0)
    if not known.any():
        return HeldOutScore(float("nan"), float("nan"))
    losses, null, total = losses[:, known], null[:, known], total[known]
    left = losses.sum(axis=0) / total
    folds = len(losses)
    if folds < 2:
        return HeldOutScore(float(np.mean(1.0 - left)), float("nan"))
    # Of a ratio of sums over folds, linearised.
    away = ((losses - left * null) / total).mean(axis=1)
    error = float(np.sqrt(folds / (folds - 1) * np.sum(away**2)))
    return HeldOutScore(float(np.mean(1.0 - left)), error)
