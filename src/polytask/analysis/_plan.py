"""What a comparison will do: splits, models, and the pieces of work they make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from polytask._checks import is_whole, sentence
from polytask._linalg import is_sparse
from polytask.analysis._problem import OWNER
from polytask.analysis._unit import Unit
from polytask.data import (
    Form,
    GroupedRows,
    LeaveTasksOut,
    Splitter,
    TaskData,
    TimeOrdered,
    WithinTasks,
    as_splits,
)
from polytask.data.splits import Split
from polytask.exceptions import DataError, ParameterError
from polytask.selection.candidates import (
    DEEP,
    DEFAULT,
    CandidateModel,
    compared_models,
    deep_models,
    quick_models,
)
from polytask.selection.entries import Entry, make_entries
from polytask.selection.facts import Facts
from polytask.selection.held import Rows, Study, seen_tasks_only

# Fractions and numbers of splits, fixed before any data are seen.
_TEST = 0.25
_SPLITS = 5
_FOLDS = 4
_INNER = 3
# Above it one inner split tells the models apart well enough.
_INNER_ROWS = 5000


@dataclass(frozen=True)
class Choices:
    """What the user chose about the comparison; see :func:`polytask.compare`."""

    models: Any
    cv: Any
    groups: Any
    time: Any
    unseen: bool
    quick: bool
    seed: int


@dataclass(frozen=True, eq=False)
class Plan:
    """All that will be done.

    Attributes
    ----------
    study : Study
        The data.
    facts : Facts
        What decides about the models.
    entries : tuple of Entry
        The models, those that are left out among them.
    units : tuple of Unit
        The work, split by split.
    scheme : str
        "within", "grouped", "time", "unseen" or "given".
    n_splits : int
        Outer splits.
    test_share : float
        Test rows per training row, mean.
    """

    study: Study
    facts: Facts
    entries: tuple[Entry, ...]
    units: tuple[Unit, ...]
    scheme: str
    n_splits: int
    test_share: float

    @property
    def running(self) -> tuple[Entry, ...]:
        """The models that are not left out."""
        return tuple(entry for entry in self.entries if entry.estimator is not None)


def scheme_of(choices: Choices) -> str:
    """Say how rows are held out.

    Raises
    ------
    ParameterError
        If two ways are asked for.
    """
    given = choices.cv is not None and not is_whole(choices.cv)
    asked = {
        "grouped": choices.groups is not None,
        "time": choices.time is not None,
        "unseen": bool(choices.unseen),
        "given": given,
    }
    chosen = [name for name, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        raise ParameterError(
            f"{OWNER} holds out rows in one way: groups=, time=, unseen=True or splits given as "
            f"cv=; got {' and '.join(chosen)}."
        )
    return chosen[0] if chosen else "within"


def count_of(choices: Choices) -> int:
    """Return the number of outer splits where the user may choose it."""
    if choices.cv is not None and (isinstance(choices.cv, bool) or choices.cv == 0):
        allowed = "None, a number of splits, a splitter, or pairs of training and test rows"
        raise ParameterError(sentence("cv", OWNER, allowed, repr(choices.cv)))
    if choices.quick:
        return 1
    return int(choices.cv) if is_whole(choices.cv) else _SPLITS


def _splitter(scheme: str, choices: Choices, count: int, seed: int) -> Splitter:
    """Return what makes `count` splits or more."""
    folds = max(count, _FOLDS)
    makers: dict[str, Any] = {
        "within": lambda: WithinTasks(count, test_size=_TEST, random_state=seed),
        "grouped": lambda: GroupedRows(choices.groups, n_splits=folds, random_state=seed),
        "time": lambda: TimeOrdered(choices.time, n_splits=count),
        "unseen": lambda: LeaveTasksOut(n_splits=folds, random_state=seed),
    }
    splitter: Splitter = makers[scheme]()
    return splitter


def outer_splits(data: TaskData, choices: Choices) -> list[Split]:
    """Return training and test rows of every outer split."""
    scheme, count = scheme_of(choices), count_of(choices)
    given = scheme == "given"
    cv = choices.cv if given else _splitter(scheme, choices, count, choices.seed)
    splits = as_splits(cv, data)
    wanted = splits[:count] if choices.quick or not given else splits
    return wanted if choices.unseen else [_servable(data, *pair) for pair in wanted]


def _servable(data: TaskData, train: Rows, test: Rows) -> Split:
    """Leave out test rows of tasks that the training part knows nothing about."""
    if data.form is Form.TARGETS:
        return train, test
    owners = data.row_tasks()
    known = np.isin(owners[test], owners[train])
    if not known.any():
        raise DataError(
            f"No split of {OWNER} holds out rows of a task that it also trains on: give larger "
            "tasks or other groups, or compare with unseen=True."
        )
    return train, test[known]


def inner_splits(data: TaskData, train: Rows, choices: Choices, number: int) -> tuple[Split, ...]:
    """Split the training rows of an outer split in the same way, as rows of `data`."""
    scheme = scheme_of(choices)
    way = "within" if scheme == "given" else scheme
    count = 1 if choices.quick or len(train) > _INNER_ROWS else _INNER
    seed = choices.seed + 1 + number
    pairs = as_splits(_splitter(way, choices, count, seed), seen_tasks_only(data.rows(train)))[
        :count
    ]
    found = [(train[a], train[b]) for a, b in pairs]
    return tuple(found if choices.unseen else [_servable(data, *pair) for pair in found])


def inner_folds(choices: Choices) -> Any:  # noqa: ANN401 - int or Splitter
    """Return the folds of searches inside training parts, which keep groups and time too."""
    scheme = scheme_of(choices)
    if scheme == "grouped":
        return GroupedRows(choices.groups, n_splits=_FOLDS, random_state=choices.seed)
    return TimeOrdered(choices.time, n_splits=_INNER) if scheme == "time" else _SPLITS


def facts_of(study: Study, problem: str, losses: Any, choices: Choices) -> Facts:  # noqa: ANN401
    """Gather what decides about the models."""
    data = study.data
    return Facts(
        problem=problem,
        losses=losses,
        n_rows=data.n_rows,
        n_features=data.n_features,
        n_tasks=data.n_tasks,
        median_rows=float(np.median(data.task_rows())),
        targets=data.form is Form.TARGETS,
        sparse=bool(is_sparse(data.X)),
        unseen=bool(choices.unseen),
        seed=choices.seed,
        cv=inner_folds(choices),
        gaps=data.form is Form.TARGETS and not bool(data.labelled().all()),
    )


def _groups(facts: Facts, quick: bool) -> dict[str, tuple[CandidateModel, ...]]:
    """Return what stands for several models."""
    if quick:
        return {DEFAULT: quick_models(facts), DEEP: quick_models(facts, deep=True)}
    return {DEFAULT: compared_models(), DEEP: deep_models()}


def make_plan(
    study: Study, facts: Facts, choices: Choices, metric: str, shown: tuple[str, ...]
) -> Plan:
    """Lay out all the work before any of it is done.

    Parameters
    ----------
    study : Study
        The data.
    facts : Facts
        What decides about the models.
    choices : Choices
        The user's choices.
    metric : str
        The verdict's metric.
    shown : tuple of str
        All metrics.

    Returns
    -------
    Plan
    """
    entries = make_entries(choices.models, facts, _groups(facts, choices.quick), OWNER)
    splits = outer_splits(study.data, choices)
    by_task = facts.targets or facts.problem == "mixed"
    units = []
    for number, (train, test) in enumerate(splits):
        blank = Unit(
            model="",
            split=number,
            estimator=None,
            train=train,
            test=test,
            inner=inner_splits(study.data, train, choices, number),
            metric=metric,
            shown=shown,
            by_task=by_task,
        )
        units += [
            replace(blank, model=entry.name, estimator=entry.estimator)
            for entry in entries
            if entry.estimator is not None
        ]
    share = float(np.mean([len(test) / len(train) for train, test in splits]))
    scheme = scheme_of(choices)
    return Plan(study, facts, entries, tuple(units), scheme, len(splits), share)
