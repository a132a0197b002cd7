"""Adaptation of models with a learned prior: rows are added, the prior is held or widened."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._linalg import is_sparse
from polytask.bayes import Prior
from polytask.bayes.laplace_rows import Labelled
from polytask.bayes.posterior import in_space, posterior_within
from polytask.data import Form, TaskData
from polytask.linear.bayes_laplace_tasks import LaplaceTasks
from polytask.linear.bayes_tasks import BayesTasks
from polytask.transfer._normal_rows import NormalRows
from polytask.transfer._pulled import TaskRows, level_factor
from polytask.transfer._rows import NewRows, NewTask

Array = NDArray[np.float64]

# What the covariance of the prior is multiplied by, and beyond that the variance of the level:
# where nothing else differs between domains, how high the target is often does.
Width = tuple[float, float]
AS_LEARNED: Width = (1.0, 1.0)
LogEvidence = Callable[[Width], float]
_WIDTHS = (0.1, 0.3, 3.0, 10.0, 30.0, 100.0)
# Half the 95% point of chi-square with one degree of freedom: a gain beyond chance.
_CLEAR = 1.92


def with_rows(model: Any, given: NewRows, index: NDArray[np.intp] | None = None) -> Any:  # noqa: ANN401
    """Return a copy of a model that has seen further rows, the prior held."""
    new = copy.copy(model)
    new._forget_held_out()
    raw = given.raw if given.n_rows else _no_rows(model, given)
    if raw is None:
        return new
    return new.partial_fit(raw if index is None else raw.rows(index))


def with_lines_before(new: Any, model: Any) -> Any:  # noqa: ANN401
    """Give the known tasks of an adapted model the coefficients that they had."""
    if not hasattr(model, "_linear"):
        return new
    n, linear = len(model.coef_), new._linear
    coef, intercept = linear.coef.copy(), linear.intercept.copy()
    coef[:n], intercept[:n] = model.coef_, model.intercept_
    new._linear = dataclasses.replace(linear, coef=coef, intercept=intercept)
    new.coef_, new.intercept_ = coef, intercept
    return new


def _no_rows(model: Any, given: NewRows) -> TaskData:  # noqa: ANN401
    """Return data of the new tasks without a row."""
    labels = tuple(task.label for task in given.tasks)
    X: Any = np.zeros((0, model.n_features_in_ - (model.task_column is not None)))
    names = None
    if given.raw is not None:
        X, names = given.raw.X[:0], given.raw.feature_names
    elif model.encoder_ is not None:
        import pandas as pd

        names = tuple(model.encoder_.feature_names_in_)
        X = pd.DataFrame({name: [] for name in names})
    none = np.zeros(0, dtype=np.intp)
    y = np.zeros(0) if not hasattr(model, "classes_") else np.asarray(model.classes_)[:0]
    offsets = np.zeros(len(labels) + 1, dtype=np.intp)
    return TaskData(X, y, labels, offsets, None, Form.LONG, none, names)


def left_out(model: Any, tasks: tuple[NewTask, ...]) -> list[Array]:  # noqa: ANN401
    """Return half the squared error of every row when it is left out, in closed form."""
    known: BayesTasks = model._tasks
    scale = known.units(-1)[1]
    return [
        0.5 * (scale * _normal_rows(known, task.rows).left_out) ** 2
        for task in tasks
        if len(task.rows.y)
    ]


def width_of(model: Any, tasks: list[TaskRows]) -> Width:  # noqa: ANN401
    """Return the factors of the covariance of the prior that explain new rows best."""
    if not tasks:
        return AS_LEARNED
    evidence = _EVIDENCE[type(model._tasks)](model._tasks, tasks)
    level = level_factor(lambda factor: evidence((1.0, factor)))
    if not any(bool(np.any(variances[1:] > 0)) for variances in prior_variances(model)):
        return 1.0, level
    found = {width: evidence((width, level)) for width in (1.0, *_WIDTHS)}
    best = max(found, key=lambda width: found[width])
    return (best if found[best] > found[1.0] + _CLEAR else 1.0), level


def prior_variances(model: Any) -> list[Array]:  # noqa: ANN401
    """Return how much coefficients differ between tasks, the intercept first, for each prior."""
    priors = [model.prior_] if isinstance(model.prior_, Prior) else model.prior_
    return [np.diagonal(prior.covariance) for prior in priors]


def has_learned_prior(model: Any) -> bool:  # noqa: ANN401
    """Say whether a fitted model has a learned prior."""
    return type(getattr(model, "_tasks", None)) in _EVIDENCE


def widened(model: Any, width: Width) -> Any:  # noqa: ANN401
    """Return a copy of a model whose prior has a wider covariance; it predicts as before."""
    if width == AS_LEARNED:
        return model
    new = copy.copy(model)
    new._forget_held_out()
    held = (model._linear,) if hasattr(model, "_linear") else ()
    new._set_tasks(_WIDER[type(model._tasks)](model._tasks, width), *held)
    return new


def _scaled(known: Any, X: Any) -> Array:  # noqa: ANN401 - tasks of either kind
    """Return scaled rows with ones in front."""
    dense = _dense(X)
    return np.column_stack([np.ones(len(dense)), (dense - known.mean) / known.scale])


def _dense(X: Any) -> Array:  # noqa: ANN401 - dense or sparse
    return np.asarray(X.toarray() if is_sparse(X) else X, dtype=np.float64)


def wide(prior: Prior, width: Width) -> Prior:
    """Return the prior of a new domain; how uncertain the mean level is widens the level too."""
    if width == AS_LEARNED:
        return prior
    # The first column that varies is the level.
    root = np.ones(len(prior.covariance))
    root[0] = np.sqrt(width[1])
    covariance = width[0] * prior.covariance * np.outer(root, root)
    if prior.mean_covariance is not None:
        covariance[0, 0] += width[1] * prior.mean_covariance[0, 0]
    return dataclasses.replace(prior, covariance=covariance)


def _normal_rows(known: BayesTasks, rows: TaskRows) -> NormalRows:
    """Return what the prior says about rows before any was seen, in scaled units."""
    mean, scale = known.units(-1)
    Z = _scaled(known, rows.X)
    prior = known.prior.opened(Z)
    Z = prior.coordinates(Z)
    noise = float(np.mean(np.asarray(prior.noise, dtype=float)))
    misfit = (rows.y - mean) / scale - Z @ prior.mean
    return NormalRows(Z, misfit, noise / rows.weight, prior.spread)


def _normal_evidence(known: BayesTasks, tasks: list[TaskRows]) -> LogEvidence:
    """Return the log marginal likelihood of rows of new tasks as a function of the width."""
    # In coordinates that hold the rows, to find them once only.
    Z = _scaled(known, np.concatenate([_dense(rows.X) for rows in tasks]))
    opened = dataclasses.replace(known, prior=known.prior.opened(Z))
    parts = [_normal_rows(opened, rows) for rows in tasks]

    def evidence(width: Width) -> float:
        spread = wide(opened.prior, width).spread
        return sum(part.log_density_under(spread) for part in parts)

    return evidence


def _class_evidence(known: LaplaceTasks, tasks: list[TaskRows]) -> LogEvidence:
    """Return the same in the Laplace approximation, summed over the classes."""
    problems = [
        in_space(posterior.prior, class_rows(known, tasks, k))
        for k, posterior in enumerate(known.posteriors)
    ]

    def evidence(width: Width) -> float:
        return sum(posterior_within(wide(prior, width), rows)[1] for prior, rows in problems)

    return evidence


def class_rows(known: LaplaceTasks, tasks: list[TaskRows], number: int) -> Labelled:
    """Return scaled rows of new tasks as the problem of the prior of a number."""
    codes = np.concatenate([rows.y for rows in tasks])
    return Labelled(
        Z=np.concatenate([_scaled(known, rows.X) for rows in tasks]),
        y=(codes == (number if known.several else 1)).astype(np.float64),
        weight=np.concatenate([rows.weight for rows in tasks]),
        offsets=np.cumsum([0, *[len(rows.y) for rows in tasks]]).astype(np.intp),
    )


def _wider_numbers(known: BayesTasks, width: Width) -> BayesTasks:
    return dataclasses.replace(known, prior=wide(known.prior, width))


def _wider_classes(known: LaplaceTasks, width: Width) -> LaplaceTasks:
    posteriors = [
        dataclasses.replace(posterior, prior=wide(posterior.prior, width))
        for posterior in known.posteriors
    ]
    return dataclasses.replace(known, posteriors=posteriors)


_EVIDENCE: dict[type, Any] = {BayesTasks: _normal_evidence, LaplaceTasks: _class_evidence}
_WIDER: dict[type, Any] = {BayesTasks: _wider_numbers, LaplaceTasks: _wider_classes}
