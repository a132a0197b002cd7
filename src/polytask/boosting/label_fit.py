"""Fit trees and the learned prior of classes, counts or amounts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from polytask._estimator import Outcomes
from polytask._estimator.scaling import feature_scaling
from polytask._estimator.weights import label_weights, sum_by_task
from polytask.bayes.blocks import Index
from polytask.bayes.laplace import LearnedLaplace, Problem
from polytask.bayes.prior import Structure
from polytask.boosting.growth import Folds, Grown, grow
from polytask.boosting.labels import LabelBoosting, LabelLikelihood, posterior
from polytask.boosting.predictions import LabelTrees
from polytask.boosting.trees import BinnedRows
from polytask.data import TaskData
from polytask.linear.bayes_laplace_fit import (
    MANY_FEATURES,
    LaplaceFit,
    LinkedUnits,
    against_the_rest,
    label_rows,
    posterior_of,
)
from polytask.linear.bayes_laplace_tasks import TaskFrame, tasks_of
from polytask.linear.heavy_weights import weights_within_reach


@dataclass(frozen=True, eq=False)
class LabelData:
    """Labels of tasks: as they came, as long rows, and these in the columns that vary."""

    # `outcomes` are those of the data as they came. Shapes: columns (q,).

    data: TaskData
    outcomes: Outcomes
    long: TaskData
    slopes: TaskData
    columns: Index


@dataclass(frozen=True, eq=False)
class LabelFit:
    """What was learned, and what predicts with it."""

    model: LabelTrees
    grown: Grown[list[LearnedLaplace], LabelBoosting]
    fit: LaplaceFit


def fit_labels(
    given: LabelData,
    binned: BinnedRows,
    structure: Structure | None,
    folds: Folds,
    limits: tuple[int, int],
    owner: str,
) -> LabelFit:
    """Learn from labels; `limits` are trees at most, and how many may bring nothing."""
    data, outcomes, slopes = given.data, given.outcomes, given.slopes
    weight = label_weights(data, outcomes, None, owner)
    long = replace(outcomes, y=np.asarray(given.long.y, dtype=float))
    own = label_weights(slopes, long, None, owner)
    scaling = feature_scaling(slopes, own, standardize=True, centre=True)
    labels = label_rows(slopes, long, scaling, owner)
    units = None if outcomes.union is not None else LinkedUnits.of(data, outcomes, weight)
    problems = against_the_rest(labels, long) if units is None else units.one_problem(labels, long)
    gaussian = len(given.columns) >= MANY_FEATURES
    with weights_within_reach(weight, owner):
        grown = grow(LabelLikelihood(problems, binned, structure, gaussian), folds, limits)
        boosted, posteriors = grown.last.problems, []
        for one, learned in zip(boosted, grown.learned, strict=True):
            beliefs, mode = posterior(Problem(one.labelled), learned, one.mode.point)
            found = replace(learned, beliefs=beliefs, mode=mode)
            posteriors.append(posterior_of(one.labelled, found))
    fit = LaplaceFit.of(posteriors, grown.learned, grown.candidates, scaling)
    precision = np.dtype(np.float32 if data.X.dtype == np.float32 else np.float64)
    frame = TaskFrame(data.tasks, slopes.present, precision)
    linked = None if units is None else units.found(fit)
    tasks = tasks_of(frame, outcomes, posteriors, scaling, sum_by_task(weight, data), linked)
    trees = tuple(one.growing.trees(grown.n_iter) for one in boosted)
    return LabelFit(LabelTrees(tasks, trees, given.columns), grown, fit)
