"""Which intercepts a layout has, when they are finite, and what fixes free ones."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask.data import Form, TaskData
from polytask.datafits import Intercepts, NoIntercepts, PulledIntercepts, TiedIntercepts
from polytask.exceptions import DataError
from polytask.losses import LogLink, Multinomial

Array = NDArray[np.float64]
Groups = NDArray[np.intp]

# The modes that pull: to the mean of the tasks, or to what a source knows.
PULLED = ("auto", "toward_mean")
# The modes that make up for any shift of the features: one that tasks share does not, where
# their coefficients differ.
FREE = ("task",)


def effective_mode(mode: str | None, kappa: float) -> str | None:
    """Return the mode, where a pull of strength 0 is none."""
    return "task" if mode in PULLED and kappa == 0 else mode


def intercept_groups(
    mode: str | None, outcomes: Outcomes, labels: Sequence[Hashable | None], form: Form
) -> Groups:
    """Return the group within which the intercept of each column is tied or pulled."""
    # Shapes: result (n_columns,).
    if mode in ("task", None):
        return np.arange(len(labels), dtype=np.intp)
    one_quantity = form is not Form.TARGETS and len({loss.name for loss in outcomes.losses}) == 1
    keys: list[Hashable] = []
    for loss, classes, width in zip(
        outcomes.losses, outcomes.classes, outcomes.n_outputs, strict=True
    ):
        for label in labels[len(keys) : len(keys) + width]:
            alone = mode == "auto" and classes is None and not one_quantity
            keys.append(len(keys) if alone else (loss.name, label))
    numbers = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.intp)


def make_intercepts(mode: str | None, groups: Groups, kappa: float) -> Intercepts:
    """Return what the intercepts of `mode` may be; `kappa` is the strength of a pull."""
    if mode is None:
        return NoIntercepts()
    if mode in ("task", "shared"):
        return TiedIntercepts(groups)
    return PulledIntercepts(groups, kappa)


def free_shifts(outcomes: Outcomes, slices: Sequence[slice], groups: Groups) -> tuple[Groups, ...]:
    """Return the sets of columns whose intercepts can move together at no cost."""
    # Shapes: groups (n_columns,).
    # The probabilities of several classes do not change when all their intercepts grow by
    # the same number. Tasks that share a group can only move together.
    sets: list[tuple[set[int], list[int]]] = []
    for loss, part in zip(outcomes.losses, slices, strict=True):
        if not isinstance(loss, Multinomial):
            continue
        touched = set(groups[part].tolist())
        columns = list(range(part.start, part.stop))
        linked = [entry for entry in sets if entry[0] & touched]
        sets = [entry for entry in sets if not entry[0] & touched]
        for others, held in linked:
            touched |= others
            columns = held + columns
        sets.append((touched, columns))
    return tuple(np.array(columns, dtype=np.intp) for _, columns in sets if columns)


def refuse_unbounded(
    data: TaskData,
    outcomes: Outcomes,
    weight: Array,
    slices: Sequence[slice],
    groups: Groups,
    owner: str,
) -> None:
    """Refuse free intercepts that see one class, or zeros only: their best value is infinite."""
    # Shapes: groups (n_columns,).
    _refuse_zeros(data, outcomes, weight, slices, groups, owner)
    seen: dict[int, set[float]] = {}
    first: dict[int, int] = {}
    for t, (loss, part) in enumerate(zip(outcomes.losses, slices, strict=True)):
        if not loss.is_classifier or isinstance(loss, Multinomial):
            continue
        rows = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(t)
        codes = np.unique(outcomes.y[rows][weight[rows] > 0])
        group = int(groups[part.start])
        seen.setdefault(group, set()).update(codes.tolist())
        first.setdefault(group, t)
    for group, codes_seen in seen.items():
        if len(codes_seen) == 1:
            raise DataError(_one_class(data, outcomes, first[group], codes_seen, owner))


def _refuse_zeros(
    data: TaskData,
    outcomes: Outcomes,
    weight: Array,
    slices: Sequence[slice],
    groups: Groups,
    owner: str,
) -> None:
    """Refuse intercepts of counts all of which are zero."""
    members: dict[int, list[int]] = {}
    positive: set[int] = set()
    for t, (loss, part) in enumerate(zip(outcomes.losses, slices, strict=True)):
        if not isinstance(loss, LogLink):
            continue
        rows = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(t)
        seen = weight[rows] > 0
        group = int(groups[part.start])
        if seen.any():
            members.setdefault(group, []).append(t)
        if np.any(loss.multiple(outcomes.y[rows][seen]) > 0):
            positive.add(group)
    for group, tasks in members.items():
        if group not in positive:
            raise DataError(_only_zeros(data, tasks, owner))


def _only_zeros(data: TaskData, tasks: list[int], owner: str) -> str:
    first = repr(data.tasks[tasks[0]])
    if len(tasks) == 1:
        return (
            f"Task {first} of {owner} holds zeros only, so a free intercept has no finite "
            "optimum for a loss with a logarithmic link: use intercept='toward_mean' or "
            "'shared', which borrow from tasks with other targets, or leave the task out."
        )
    return (
        f"All {len(tasks)} tasks of {owner} that share intercepts, {first} the first of them, "
        "hold zeros only, so the intercepts have no finite optimum for a loss with a logarithmic "
        "link: there is nothing to learn from."
    )


def _one_class(data: TaskData, outcomes: Outcomes, t: int, codes: set[float], owner: str) -> str:
    classes = outcomes.classes[t]
    label = codes if classes is None else classes[int(min(codes))]
    return (
        f"Task {data.tasks[t]!r} of {owner} holds one class only ({label!s}), so a free "
        "intercept has no finite optimum: use intercept='toward_mean' or 'shared', which "
        "borrow from tasks that have the other class, or leave the task out."
    )
