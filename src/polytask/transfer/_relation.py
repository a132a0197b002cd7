"""Classes of a new domain: how far its relation is that of the tasks that were learned from."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.scaling import FeatureScaling
from polytask.bayes import Prior
from polytask.bayes.posterior import in_space, posterior_within
from polytask.linear.bayes_laplace_tasks import LaplaceTasks
from polytask.transfer._learned_prior import Width, class_rows, wide
from polytask.transfer._pulled import FACTORS, TaskRows, factor_shares

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class _RelationCase:
    """What the coefficients of a new domain may be."""

    likeness: float
    size: float
    share: float


# Like those of the known tasks as likely as not; otherwise unlike them but as large, or of no
# use at all (``benchmarks/adapt_relation.py``).
_CASES = (
    _RelationCase(1.0, 0.0, 0.5),
    _RelationCase(0.0, 1.0, 0.25),
    _RelationCase(0.0, 0.0, 0.25),
)


def can_average(model: Any) -> bool:  # noqa: ANN401 - an estimator
    """Say whether a model has one prior of classes, whose coefficients may be averaged."""
    return isinstance(model._tasks, LaplaceTasks) and not model._tasks.several


def averaged(model: Any, source: Any, tasks: list[TaskRows], places: Index, width: Width) -> Any:  # noqa: ANN401
    """Return a model whose new tasks have coefficients averaged over what they may be."""
    # The coefficients of a new domain may be like those of the known tasks, have nothing to do
    # with them and be as large only, or be of no use at all; its level may be as far off as a
    # Cauchy prior lets it be. A few rows rarely say which. So the coefficients are the average of
    # those of every case, with the posterior probabilities of the cases as weights [1]_, instead
    # of those of the case that happens to look best.
    known: LaplaceTasks = source._tasks
    prior, rows = in_space(known.posteriors[0].prior, class_rows(known, tasks, 0))
    values = np.zeros((len(_CASES), len(FACTORS)))
    lines = np.zeros((*values.shape, len(tasks), len(prior.mean)))
    for i, case in enumerate(_CASES):
        for j, factor in enumerate(FACTORS.tolist()):
            own = _related(wide(prior, (width[0], factor)), case)
            posterior, values[i, j] = posterior_within(own, rows)
            lines[i, j] = posterior.coef
    share = factor_shares(values + np.log([[case.share] for case in _CASES]))
    W = prior.lifted(np.einsum("ij,ijkp->kp", share, lines))
    return _with_lines(model, W, places)


def _related(prior: Prior, case: _RelationCase) -> Prior:
    """Return the prior of coefficients in a case."""
    mean, covariance = prior.mean.copy(), prior.covariance.copy()
    mean[1:] *= case.likeness
    square = float(np.sum(prior.mean[1:] ** 2)) / max(prior.n_features, 1)
    own = np.flatnonzero(prior.varying > 0)
    covariance[own, own] += case.size * square
    return dataclasses.replace(prior, mean=mean, covariance=covariance)


def _with_lines(model: Any, W: Array, places: Index) -> Any:  # noqa: ANN401
    """Return the model with other posterior means, scaled, of some tasks."""
    tasks: LaplaceTasks = model._tasks
    posterior = tasks.posteriors[0]
    coef = posterior.coef.copy()
    coef[places] = posterior.prior.lowered(W)
    scaling = FeatureScaling(tasks.mean, tasks.scale, active=True)
    present = None if tasks.present is None else tasks.present[places]
    lines, levels = scaling.restore(W[:, 1:].T, W[:, 0], present)
    linear = tasks.linear
    coefs, intercepts = linear.coef.copy(), linear.intercept.copy()
    columns = np.array([linear.slices[place].start for place in places.tolist()])
    coefs[columns], intercepts[columns] = lines.T, levels
    new = copy.copy(model)
    new._forget_held_out()
    new._set_tasks(
        dataclasses.replace(
            tasks,
            linear=dataclasses.replace(linear, coef=coefs, intercept=intercepts),
            posteriors=[dataclasses.replace(posterior, coef=coef)],
        )
    )
    return new
