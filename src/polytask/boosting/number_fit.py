"""Fit trees and the learned prior of numbers, of one grouping or of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask._estimator.scaling import FeatureScaling, TargetScaling, feature_scaling
from polytask._estimator.training import cell_mask
from polytask.bayes.blocks import Array, Index
from polytask.bayes.prior import Prior, Structure
from polytask.boosting.groupings import GroupedLikelihood, GroupedNumbers
from polytask.boosting.growth import Folds, Grown, grow
from polytask.boosting.normal import NormalLikelihood, TaskRows, prior_of
from polytask.boosting.predictions import GroupedTrees, NumberTrees, dense
from polytask.boosting.trees import BinnedRows
from polytask.data import TaskData
from polytask.linear.bayes_groupings import GroupedTasks, likelihood_in_units
from polytask.linear.bayes_settings import Ended, original_units
from polytask.linear.bayes_tasks import BayesTasks
from polytask.linear.interval_noise import interval_noise


@dataclass(frozen=True, eq=False)
class NumberData:
    """Scaled numbers in the long form, and the rows in the columns that vary."""

    # Shapes: columns (q,), counts (n_tasks,), the weights of the rows of each.

    long: TaskData
    slopes: TaskData
    columns: Index
    targets: TargetScaling
    counts: Array
    precision: str

    @property
    def weight(self) -> Array:
        """Weights of the rows, shape (n,)."""
        own = self.long.sample_weight
        return np.ones(self.long.n_rows) if own is None else own

    def scaled(self) -> tuple[Array, FeatureScaling]:
        """Return the columns that vary, scaled, with ones in front, and their scaling."""
        features = feature_scaling(self.slopes, self.weight, standardize=True, centre=True)
        exists = cell_mask(self.slopes)
        Z = (dense(self.slopes.X) - features.mean) / features.scale
        return np.column_stack([np.ones(len(Z)), Z if exists is None else Z * exists]), features


@dataclass(frozen=True, eq=False)
class NumberFit:
    """What was learned, and what predicts with it."""

    model: NumberTrees | GroupedTrees
    grown: Grown[Any, Any]
    ended: Ended
    structure: Structure
    prior: Any  # a Prior, or a mapping of groupings to these


def fit_numbers(
    given: NumberData,
    binned: BinnedRows,
    structure: Structure | None,
    folds: Folds,
    limits: tuple[int, int],
) -> NumberFit:
    """Learn from numbers; `limits` are trees at most, and how many may bring nothing."""
    if given.long.groupings is not None:
        return _fit_groupings(given, binned, structure, folds, limits)
    Z, features = given.scaled()
    long, n_tasks = given.long, given.long.n_tasks
    rows = TaskRows(Z, np.asarray(long.y, dtype=float), given.weight, long.row_tasks(), n_tasks)
    grown = grow(NormalLikelihood(rows, binned, structure), folds, limits)
    prior: Prior = prior_of(grown.last.block, grown.learned, n_tasks)
    tasks = BayesTasks(
        prior=prior,
        blocks=(grown.last.block,),
        mean=features.mean,
        scale=features.scale,
        target_mean=given.targets.mean,
        target_scale=given.targets.scale,
        counts=given.counts,
        present=given.slopes.present,
        precision=given.precision,
    )
    learned, own = grown.learned, rows.of(grown.known)
    # Around what rows are predicted by trees that did not see them.
    left = own.block(own.y - grown.values[0])
    noise = interval_noise([left], prior_of(left, learned, n_tasks), n_tasks)
    trees = grown.last.growing.trees(grown.n_iter)
    model = NumberTrees(tasks, trees, given.columns, noise)
    value = original_units(learned, features, given.targets, given.counts)
    ended = Ended(value, learned.residual, learned.converged, learned.n_iter, learned.seconds)
    return NumberFit(model, grown, ended, learned.model.structure, prior)


def _fit_groupings(
    given: NumberData,
    binned: BinnedRows,
    structure: Structure | None,
    folds: Folds,
    limits: tuple[int, int],
) -> NumberFit:
    """Learn from rows that belong to several groupings."""
    (Z, features), held = given.scaled(), given.long.groupings
    assert held is not None
    levels = tuple(map(len, held.labels))
    y = np.asarray(given.long.y, dtype=float)
    rows = GroupedNumbers(Z, y, given.weight, held.codes, levels)
    grown = grow(GroupedLikelihood(rows, binned, structure), folds, limits)
    last, learned = grown.last, grown.learned
    last.hold(learned)
    tasks = GroupedTasks(
        names=held.names,
        sums=last.sums,
        covariances=learned.covariances,
        noise=learned.noise,
        effects=last.effects,
        beta=last.beta,
        varying=np.arange(last.q),
        mean=features.mean,
        scale=features.scale,
        target_mean=float(given.targets.mean[0]),
        target_scale=float(given.targets.scale[0]),
        counts=given.counts,
        precision=given.precision,
    )
    model = GroupedTrees(tasks, last.growing.trees(grown.n_iter), given.columns)
    value = likelihood_in_units(learned, tasks, True)
    ended = Ended(value, learned.residual, learned.converged, learned.n_iter, learned.seconds)
    return NumberFit(model, grown, ended, learned.structure, tasks.priors())
