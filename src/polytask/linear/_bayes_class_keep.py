"""From what was learned to the attributes of a fitted classifier."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.layout import make_layout
from polytask._estimator.scaling import FeatureScaling
from polytask.bayes.laplace_posterior import ClassPosterior
from polytask.linear._bayes_class_fit import ClassFit
from polytask.linear._bayes_class_tasks import BayesClassTasks
from polytask.linear.prediction import LinearTasks
from polytask.losses import Multinomial
from polytask.solvers import Solution
from polytask.solvers.base import Certificate, Status

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TaskFrame:
    """The tasks of a model. Shapes: present (n_tasks, n_features)."""

    tasks: tuple[Hashable, ...]
    present: NDArray[np.bool_] | None
    precision: np.dtype[Any]


def tasks_of(
    frame: TaskFrame,
    outcomes: Outcomes,
    posteriors: list[ClassPosterior],
    scaling: FeatureScaling,
    counts: Array,
) -> BayesClassTasks:
    """Join posteriors, classes and scaling into what predicts. Shapes: counts (n_tasks,)."""
    layout = make_layout(frame.tasks, outcomes)
    W = np.zeros((len(scaling.scale) + 1, len(layout.columns.tasks)))
    order = [] if outcomes.union is None else outcomes.union.tolist()
    several = isinstance(outcomes.losses[0], Multinomial)
    lifted = [posterior.prior.lifted(posterior.coef) for posterior in posteriors]
    for t, part in enumerate(layout.slices):
        for column in range(part.start, part.stop):
            number = order.index(layout.columns.classes[column]) if several else 0
            W[:, column] = lifted[number][t]
    present = None
    if frame.present is not None:
        present = np.repeat(frame.present, [s.stop - s.start for s in layout.slices], axis=0)
    coef, intercept = scaling.restore(W[1:], W[0], present)
    linear = LinearTasks(
        coef=coef.T.astype(frame.precision),
        intercept=intercept.astype(frame.precision),
        slices=layout.slices,
        losses=outcomes.losses,
        classes=outcomes.classes,
        labels=layout.columns.classes,
        counts=counts,
        union=outcomes.union,
    )
    return BayesClassTasks(linear, posteriors, scaling.mean, scaling.scale, frame.present)


def solution_of(found: ClassFit, tasks: BayesClassTasks, max_iter: int) -> Solution:
    """Return answer, certificate and status; the answer is in original units."""
    status = Status.MAX_ITER if found.n_iter >= max_iter else Status.STALLED
    return Solution(
        W=np.asarray(tasks.linear.coef.T, dtype=np.float64),
        intercept=np.asarray(tasks.linear.intercept, dtype=np.float64),
        objective=-found.log_likelihood,
        certificate=Certificate(gap=None, residual=found.residual, reference=1.0),
        status=Status.CONVERGED if found.converged else status,
        n_iter=found.n_iter,
        seconds=found.seconds,
    )
