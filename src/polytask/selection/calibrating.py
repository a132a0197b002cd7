"""Intervals of fitted models, from rows that copies of them were not fitted on."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import check_is_fitted

from polytask._checks import is_whole, sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.conformal import errors_of, learned_errors
from polytask._estimator.held_out_errors import ErrorRows
from polytask._estimator.query import refuse_width
from polytask._estimator.training import Collected, check_names
from polytask.data import Form, LeaveTasksOut, TaskData, WithinTasks, as_splits
from polytask.exceptions import (
    DataError,
    DataWarning,
    IncompatibleError,
    ParameterError,
    PolytaskError,
)
from polytask.messages import LazyMessage
from polytask.selection.held import seen_tasks_only, servable

Rows = NDArray[np.intp]
Model = TypeVar("Model", bound=MultiTaskEstimator)
_OWNER = "calibrate"
# Whole tasks are held out in so many folds.
_TASK_FOLDS = 5


def calibrate(
    model: Model,
    X: Any,  # noqa: ANN401
    y: Any = None,  # noqa: ANN401
    task: Any = None,  # noqa: ANN401
    *,
    cv: Any = 5,  # noqa: ANN401
    sample_weight: Any = None,  # noqa: ANN401
) -> Model:
    """Return a model with prediction intervals, or sets of classes, from rows that are held out.

    Parameters
    ----------
    model : estimator
        A fitted estimator of polytask, of any kind.
    X : array, sparse matrix or table of shape (n, d), TaskData, or mapping
        The features of the rows that it was fitted on; in the separate form ``{task: (X_t, y_t)}``
        with ``y=None``.
    y : array of shape (n,) or (n, T), or None, default=None
        Their targets.
    task : array of shape (n,) or None, default=None
        The task of each row, unless a column or the form of the data tells it.
    cv : int, splitter, or list of (train, test), default=5
        How rows are held out; an int divides the rows of every task, by class for classes.
        :class:`~polytask.data.TimeOrdered` looks forward only and
        :class:`~polytask.data.GroupedRows` keeps groups together.
    sample_weight : array of shape (n,), mapping or None, default=None
        Row weights, as in ``fit``.

    Returns
    -------
    estimator
        A copy of `model` that predicts the same, ``predict_proba`` included, and has
        ``predict_interval`` (numbers) and ``predict_set`` (classes). It holds the models of the
        folds where these hold out every row once and are fitted on all others. It is saved, loaded
        and exported like `model`.

    Raises
    ------
    IncompatibleError
        If `model` is no estimator of polytask, or `X` is statistics in place of rows.
    DataError
        If the rows have other columns or tasks than those of its ``fit``.
    ParameterError
        If `cv` is none of these, or holds a row out twice.

    Notes
    -----
    A copy of the model is fitted on the training part of every fold, everything that it tunes
    included. An interval is that of CV+: with m_k(x) the prediction of the model of fold k, s_t
    the scale of the task and e_i the held-out errors in these scales, its upper end is the
    ceil(level (n + 1))-th smallest of ``m_k(i)(x) + s_t e_i``, its lower end likewise. For
    exchangeable rows and scales that are given it holds a new target with probability
    1 - 2 (1 - level) at least, up to a term that vanishes with the rows of a fold, and with
    about `level` in practice, whatever the model. Folds that look forward only, and others that
    are not fitted on all rows that they leave in, give errors around the prediction of `model`
    itself: nothing is guaranteed then, as rows change with time.

    Where ``unseen_tasks="shared"``, whole tasks are held out too, in five further folds, for the
    intervals of unseen tasks.

    References
    ----------
    R. Barber, E. Candes, A. Ramdas and R. Tibshirani, "Predictive inference with the
    jackknife+", Annals of Statistics 49 (2021). Y. Romano, M. Sesia and E. Candes,
    "Classification with valid and adaptive coverage", NeurIPS 2020 (CV+ of classes).

    Examples
    --------
    >>> from polytask import MultiTaskRegressor, calibrate
    >>> from polytask.datasets import load_diabetes_groups
    >>> patients = load_diabetes_groups()
    >>> X, y, group = patients.X, patients.y, patients.task
    >>> model = calibrate(MultiTaskRegressor().fit(X, y, task=group), X, y, task=group)
    >>> lower, upper = model.predict_interval(X[:3], task=group[:3], level=0.9)
    >>> bool((lower < upper).all())
    True
    """
    if not isinstance(model, MultiTaskEstimator):
        fields = {"got": type(model).__name__}
        raise IncompatibleError(LazyMessage("selection.refusal.calibrate_what", fields))
    check_is_fitted(model)
    if isinstance(X, Collected):
        raise IncompatibleError(LazyMessage("selection.refusal.calibrate_statistics"))
    raw = seen_tasks_only(_rows_of_fit(model, X, y, task, sample_weight))
    folds, n = _folds(cv, raw, model), raw.n_rows
    fitted, parts = [], []
    for k, (train, test) in enumerate(folds):
        fold, rows = _fitted(model, raw, train, test, k)
        fitted.append(fold)
        parts += rows
    parts += whole_task_errors(model, raw)
    if not parts:
        raise DataError(LazyMessage("selection.refusal.no_fold"))
    found = copy.copy(model)
    found._forget_held_out()
    found._held_out = learned_errors(ErrorRows.joined(parts), model, raw)
    held = sum(len(test) for _, test in folds)
    if held == n and all(len(train) + len(test) == n for train, test in folds):
        found._fold_models = tuple(fitted)
    return found


def _rows_of_fit(model: Any, X: Any, y: Any, task: Any, sample_weight: Any) -> TaskData:  # noqa: ANN401
    """Read rows, and refuse what a model cannot have been fitted on."""
    schema = model._schema
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        given = model._read_rows(X, y, task, sample_weight)
    own, known = given.raw.feature_names or (), ()
    if schema.encoder is not None:
        known = tuple(schema.encoder.feature_names_in_)
    if own and known:
        check_names(own, known, _OWNER)
    refuse_width(given.raw.n_features, len(known) or model.data_card_.n_features, _OWNER)
    schema.index.encode(list(given.raw.tasks), "error", "task", _OWNER)
    raw: TaskData = given.raw
    return raw


def _folds(cv: Any, raw: TaskData, model: MultiTaskEstimator) -> list[tuple[Rows, Rows]]:  # noqa: ANN401
    by_number = is_whole(cv)
    if by_number:
        cv = WithinTasks(int(cv), stratify=True if is_classifier(model) else None)
    folds = as_splits(cv, raw, "cv", _OWNER)
    times = np.bincount(np.concatenate([test for _, test in folds]), minlength=raw.n_rows)
    if np.any(times > 1):
        got = LazyMessage("got.rows_held_twice", {"n": int(np.count_nonzero(times > 1))})
        raise ParameterError(sentence("cv", _OWNER, LazyMessage("allowed.disjoint_folds"), got))
    if not by_number:
        return folds
    # The only row of a task is held out too: what it is predicted by without it are other tasks.
    rest, n = np.flatnonzero(times == 0), len(folds)
    return [
        (np.setdiff1d(train, rest[k::n]), np.union1d(test, rest[k::n]))
        for k, (train, test) in enumerate(folds)
    ]


def _fitted(
    model: Any,  # noqa: ANN401
    raw: TaskData,
    train: Rows,
    test: Rows,
    fold: int,
) -> tuple[Any, list[ErrorRows]]:
    """Fit a copy on the training rows and return it with the errors of the others."""
    own = clone(model)
    if getattr(own, "journal", None) is not None:
        # A journal is of all rows.
        own.set_params(journal=None)
    with warnings.catch_warnings():
        # The fit of all rows has said so.
        warnings.simplefilter("ignore", DataWarning)
        own.fit(seen_tasks_only(raw.rows(train)))
        known = servable(raw, train, test)
        found = fold_errors(model, own, raw.rows(known), fold) if len(known) else []
        found += _strangers(model, own, raw, np.setdiff1d(test, known), fold)
    own._forget_held_out()
    return own, [ErrorRows.joined(found).of_fold()] if found else []


def _strangers(
    model: Any,  # noqa: ANN401
    fitted: Any,  # noqa: ANN401
    raw: TaskData,
    rows: Rows,
    fold: int,
) -> list[ErrorRows]:
    """Return the errors of rows of tasks that a fold does not train on, if it can predict them."""
    if not len(rows):
        return []
    try:
        return fold_errors(model, fitted, raw.rows(rows), fold)
    except PolytaskError:
        # Separate models, and tasks of several kinds, share nothing that could.
        if model.unseen_tasks == "shared":
            raise
        return []


def fold_errors(model: Any, fitted: Any, held: TaskData, fold: int) -> list[ErrorRows]:  # noqa: ANN401
    """Return the errors of a fold's model, of the tasks of the model of all rows."""
    held = seen_tasks_only(held)
    index = model._schema.index
    codes = np.array(index.encode(list(held.tasks), "shared", "task", _OWNER), dtype=np.intp)
    every = [
        replace(rows, task=codes[rows.task], fold=np.full(len(rows.fold), fold))
        for rows in errors_of(fitted, held)
    ]
    return [rows for rows in every if (rows.task >= 0).all()]


def whole_task_errors(model: Any, raw: TaskData) -> list[ErrorRows]:  # noqa: ANN401
    """Return the errors of whole tasks that are held out, where unseen ones are predicted."""
    n = min(_TASK_FOLDS, raw.n_tasks)
    if n < 2 or model.unseen_tasks != "shared" or raw.form is Form.TARGETS:
        return []
    found = []
    for k, (train, test) in enumerate(as_splits(LeaveTasksOut(n), raw, "cv", _OWNER)):
        found += _fitted(model, raw, train, test, k)[1]
    return found
