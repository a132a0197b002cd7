"""Folds: training and held-out rows, encoded and scaled inside the training part."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.training import encode, encode_training
from polytask.data import Form, TaskData, WithinTasks, as_splits
from polytask.exceptions import DataError, DataWarning
from polytask.linear._prediction import LinearTasks
from polytask.linear._problem import Problem, Settings, build_problem, held_out_value
from polytask.linear._weights import label_weights

Array = NDArray[np.float64]
Metric = Callable[[Any, Any], float]


@dataclass(frozen=True, eq=False)
class Fold:
    """Encoded training and held-out rows with their targets as numbers."""

    train: TaskData
    train_outcomes: Outcomes
    test: TaskData
    test_outcomes: Outcomes

    def problem(self, settings: Settings, owner: str) -> Problem:
        """Return the problem of the training rows."""
        return build_problem(self.train, self.train_outcomes, settings, owner)


def make_folds(
    raw: TaskData, outcomes: Outcomes, cv: object, random_state: int | None
) -> tuple[Fold, ...]:
    """Split raw data and encode every training part by itself.

    Parameters
    ----------
    raw : TaskData
        Before encoding.
    outcomes : Outcomes
        Of all rows.
    cv : int, splitter, or list of (train, test)
        An integer splits within every task, by class for classes.
    random_state : int or None
        Seed of an integer `cv`.

    Returns
    -------
    tuple of Fold

    Raises
    ------
    DataError
        If there is nothing to hold out.
    """
    if raw.n_rows < 2:
        raise DataError(f"Cross-validation needs two rows or more; got {raw.n_rows} sample.")
    if isinstance(cv, int) and not isinstance(cv, bool):
        classes = all(c is not None for c in outcomes.classes)
        cv = WithinTasks(cv, stratify=True if classes else None, random_state=random_state)
    elif not hasattr(cv, "split") and isinstance(cv, list | tuple):
        cv = [(_known_rows(a, raw), _known_rows(b, raw)) for a, b in cv]
    return tuple(_fold(raw, outcomes, np.sort(a), np.sort(b)) for a, b in as_splits(cv, raw))


def _known_rows(rows: Any, raw: TaskData) -> NDArray[np.intp]:  # noqa: ANN401 - indices or mask
    """Drop rows past the last one in use: those of weight zero were left out."""
    given = np.asarray(rows)
    given = np.flatnonzero(given) if given.dtype == np.bool_ else given
    return np.asarray(given[np.isin(given, raw.order)], dtype=np.intp)


def _fold(raw: TaskData, outcomes: Outcomes, train: Any, test: Any) -> Fold:  # noqa: ANN401
    with warnings.catch_warnings():
        # The whole table was encoded before: its warnings have been seen.
        warnings.simplefilter("ignore", DataWarning)
        train_data, encoder = encode_training(raw.rows(train))
    test_data = raw.rows(test) if encoder is None else encode(raw.rows(test), encoder)
    return Fold(
        train_data,
        replace(outcomes, y=outcomes.y[train]),
        test_data,
        replace(outcomes, y=outcomes.y[test]),
    )


def held_out_loss(fold: Fold, problem: Problem, W: Array, intercept: Array, owner: str) -> float:
    """Return the mean loss of the held-out labels on scaled targets.

    Every label counts with its sample weight, whatever the weights of the tasks.
    """
    weight = label_weights(fold.test, fold.test_outcomes, None, owner)
    value = held_out_value(problem, fold.test, fold.test_outcomes, weight, W, intercept)
    return value / float(weight.sum())


def held_out_metric(
    fold: Fold, problem: Problem, W: Array, intercept: Array, metric: Metric
) -> float:
    """Return a metric of natural outputs, averaged over the tasks with held-out labels."""
    coef, b = problem.original_units(W, intercept)
    outcomes = fold.test_outcomes
    linear = LinearTasks(
        coef=coef,
        intercept=b,
        slices=problem.layout.slices,
        losses=outcomes.losses,
        classes=outcomes.classes,
        labels=problem.layout.columns.classes,
        counts=problem.counts,
        union=outcomes.union,
    )
    scores = []
    for t in range(fold.test.n_tasks):
        rows = _held_out_rows(fold.test, outcomes.y, t)
        if len(rows):
            truth = np.asarray(fold.test.y)
            own = truth[rows, t] if truth.ndim == 2 else truth[rows]
            scores.append(float(metric(own, linear.labels_of(fold.test.X[rows], t))))
    defined = [score for score in scores if not np.isnan(score)]
    return float(np.mean(defined)) if defined else float("nan")


def _held_out_rows(data: TaskData, y: Array, t: int) -> NDArray[np.intp]:
    if data.form is Form.TARGETS:
        return np.flatnonzero(~np.isnan(y[:, t]))
    part = data.task_slice(t)
    return np.arange(part.start, part.stop)
