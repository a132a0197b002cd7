"""Folds: training and held-out rows, encoded and scaled inside the training part."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import is_whole, sentence
from polytask._estimator import Outcomes
from polytask._estimator.training import encode, encode_training
from polytask._estimator.weights import label_weights
from polytask.data import TaskData, WithinTasks, as_splits, tables
from polytask.datafits import Counted, all_but_one
from polytask.exceptions import DataError, DataWarning, ParameterError
from polytask.linear.datafit import (
    MomentTerm,
    RowTerm,
    Term,
    collect,
    collectable,
    moment_term,
    row_term,
    suits_statistics,
    term_of,
)
from polytask.linear.problem import Problem, Settings, build_problem
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Split = tuple[Index, Index]

# Moments of all folds are kept while they are no more than this many numbers.
_MOST_KEPT = 6e7


@dataclass(frozen=True, eq=False)
class RowFold:
    """Encoded training and held-out rows with their targets as numbers."""

    train: TaskData
    train_outcomes: Outcomes
    test: TaskData
    test_outcomes: Outcomes

    def held_out(self) -> tuple[TaskData, Outcomes]:
        """Return the held-out rows and their targets as numbers."""
        return self.test, self.test_outcomes

    def problem(self, settings: Settings, owner: str) -> Problem:
        """Return the problem of the training rows."""
        return build_problem(self.train, self.train_outcomes, settings, owner)


@dataclass(frozen=True, eq=False)
class MomentFold:
    """What training and held-out rows say about the squared loss; nothing grows with them."""

    train: Counted
    test: Counted
    like: TaskData
    outcomes: Outcomes
    make_rows: Callable[[], RowFold]
    make_held_out: Callable[[], tuple[TaskData, Outcomes]]
    _last: dict[str, Problem] = field(default_factory=dict, repr=False)

    @cached_property
    def rows(self) -> RowFold:
        """The rows, for what moments cannot say."""
        return self.make_rows()

    def held_out(self) -> tuple[TaskData, Outcomes]:
        """Return the held-out rows and their targets as numbers."""
        return self.make_held_out()

    def problem(self, settings: Settings, owner: str) -> Problem:
        """Return the problem of the training rows."""
        # Solvers keep with a problem what every penalty under its settings needs.
        name = repr(settings)
        if name not in self._last:
            rows = partial(self._term, owner)
            term = MomentTerm(self.train, self.like, rows, self.outcomes.all_roots)
            self._last.clear()
            self._last[name] = build_problem(self.like, self.outcomes, settings, owner, term)
        return self._last[name]

    def _term(self, owner: str) -> RowTerm:
        data, outcomes = self.rows.train, self.rows.train_outcomes
        return row_term(data, outcomes, owner)


Fold = RowFold | MomentFold


@dataclass(frozen=True, eq=False)
class Folds:
    """The folds of a search, and all rows."""

    parts: tuple[Fold, ...]
    whole: Term | None

    @property
    def light(self) -> bool:
        """Whether threads are enough to work on the folds side by side."""
        return all(isinstance(fold, MomentFold) for fold in self.parts)


def make_folds(
    raw: TaskData,
    data: TaskData,
    outcomes: Outcomes,
    cv: object,
    random_state: int | None,
    owner: str,
) -> Folds:
    """Split raw data and encode every training part by itself."""
    if is_whole(cv) and raw.fold is None:
        classes = all(c is not None for c in outcomes.classes)
        cv = WithinTasks(int(cv), stratify=True if classes else None, random_state=random_state)
    splits = [(_sorted(a), _sorted(b)) for a, b in given_splits(cv, raw, owner)]
    if tables.is_table(raw.X):
        parts = [_light(_row_fold(raw, outcomes, a, b), len(splits), owner) for a, b in splits]
        return Folds(tuple(parts), _whole(data, outcomes, owner))
    found = _moment_folds(raw, outcomes, splits, owner)
    if found is not None:
        return found
    rows = tuple(_row_fold(raw, outcomes, a, b) for a, b in splits)
    return Folds(rows, _whole(data, outcomes, owner))


def _whole(data: TaskData, outcomes: Outcomes, owner: str) -> Term | None:
    """Return the data term of numbers; that of classes depends on the settings."""
    numbers = all(classes is None for classes in outcomes.classes)
    return term_of(data, outcomes, None, owner) if numbers else None


def given_splits(
    cv: Any,  # noqa: ANN401 - what a user gives
    raw: TaskData,
    owner: str,
    *,
    unlabelled: bool = False,
) -> list[tuple[Index, Index]]:
    """Return folds as pairs of rows in use; pairs may name rows of weight zero, which drop out."""
    if raw.n_rows < 2:
        raise DataError(LazyMessage("selection.refusal.few_rows", {"n": raw.n_rows}))
    if isinstance(cv, list | tuple) and not cv:
        allowed = LazyMessage("allowed.some_pairs")
        raise ParameterError(sentence("cv", owner, allowed, LazyMessage("got.none")))
    return as_splits(cv, raw, "cv", owner, unlabelled=unlabelled)


def _sorted(rows: Index) -> Index:
    return rows if np.all(rows[1:] >= rows[:-1]) else np.sort(rows)


def _row_fold(raw: TaskData, outcomes: Outcomes, train: Index, test: Index) -> RowFold:
    train_data, test_data = raw.rows(train), raw.rows(test)
    if tables.is_table(raw.X):
        with warnings.catch_warnings():
            # The whole table was encoded before: its warnings have been seen.
            warnings.simplefilter("ignore", DataWarning)
            train_data, encoder = encode_training(train_data)
        test_data = test_data if encoder is None else encode(test_data, encoder)
    return RowFold(
        train_data,
        replace(outcomes, y=outcomes.y[train]),
        test_data,
        replace(outcomes, y=outcomes.y[test]),
    )


def _held_out(data: TaskData, outcomes: Outcomes, test: Index) -> tuple[TaskData, Outcomes]:
    """Return the held-out rows of an array."""
    return data.rows(test), replace(outcomes, y=outcomes.y[test])


def _light(fold: RowFold, folds: int, owner: str) -> Fold:
    """Return the fold with the moments of its rows, where these do and can be kept."""
    train, held = fold.train, fold.train_outcomes
    weight = label_weights(train, held, None, owner)
    if not collectable(train, held, weight) or not _can_be_kept(train, weight, folds):
        return fold
    own = label_weights(fold.test, fold.test_outcomes, None, owner)
    moments = collect(train, held.y, weight), collect(fold.test, fold.test_outcomes.y, own)
    return MomentFold(*moments, train, held, lambda: fold, fold.held_out)


def _can_be_kept(data: TaskData, weight: Array, folds: int) -> bool:
    one_matrix = weight.ndim == 2 and not weight.strides[1]
    matrices = 1 if one_matrix else data.n_tasks
    # Training and held-out rows of each fold, and sums on the way.
    return 4.0 * (folds + 1) * matrices * data.n_features**2 <= _MOST_KEPT


def _moment_folds(
    data: TaskData, outcomes: Outcomes, splits: Sequence[Split], owner: str
) -> Folds | None:
    """Return folds of moments, None where these do not do."""
    # Where every row is held out at most once and learned from otherwise, each row is looked
    # at once: the moments of the training rows are those of the other sets joined.
    weight = label_weights(data, outcomes, None, owner)
    if not collectable(data, outcomes, weight) or not _can_be_kept(data, weight, len(splits)):
        return None
    apart = _apart(splits, data.n_rows)
    if apart is None:
        whole = collect(data, outcomes.y, weight)
        sides = [[collect(data, outcomes.y, weight, side) for side in pair] for pair in splits]
        trains, tests = [pair[0] for pair in sides], [pair[1] for pair in sides]
    else:
        tests = [collect(data, outcomes.y, weight, rows) for rows in apart]
        whole, trains = all_but_one(tests)
    parts = [
        MomentFold(
            train,
            test,
            data,
            outcomes,
            partial(_row_fold, data, outcomes, *split),
            partial(_held_out, data, outcomes, split[1]),
        )
        for train, test, split in zip(trains, tests, splits, strict=False)
    ]
    fits = [suits_statistics(data, outcomes, part.train.labels) for part in parts]
    kept = [part if fit else part.rows for part, fit in zip(parts, fits, strict=True)]
    return Folds(tuple(kept), moment_term(whole, data, outcomes, owner))


def _apart(splits: Sequence[Split], n_rows: int) -> list[Index] | None:
    """Return the rows of each test set, then those of none, if a fold learns from all others."""
    held = np.full(n_rows, len(splits))
    for k, (train, test) in enumerate(splits):
        times = np.bincount(train, minlength=n_rows) + np.bincount(test, minlength=n_rows)
        if not np.all(times == 1) or np.any(held[test] < len(splits)):
            return None
        held[test] = k
    rest = np.flatnonzero(held == len(splits))
    tests = [test for _, test in splits]
    return [*tests, rest] if len(rest) else tests
