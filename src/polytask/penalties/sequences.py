"""The columns of W in the order of their tasks in time."""

from __future__ import annotations

import datetime
import numbers
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from polytask._checks import nearest, sentence
from polytask.exceptions import ParameterError
from polytask.penalties.columns import Columns

# Labels that say by themselves which comes first.
_IN_TIME = (
    numbers.Real,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    np.datetime64,
    np.timedelta64,
)


def checked_order(value: object, parameter: str, owner: str) -> tuple[Hashable, ...]:
    """Return task labels as a tuple, or raise unless they are labels that differ."""
    allowed = "a sequence of task labels, the first in time first"
    if not isinstance(value, Iterable):
        raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
    labels = tuple(value)
    seen: set[Hashable] = set()
    for label in labels:
        if label in seen:
            raise ParameterError(sentence(parameter, owner, allowed, f"{label!r} twice"))
        seen.add(label)
    return labels


def sequences(
    columns: Columns, order: Sequence[Hashable] | None, owner: str
) -> tuple[np.ndarray, ...]:
    """Return the columns of each class, one after the other in time."""
    labels = columns.task_labels()
    known = _ascending(labels, owner) if order is None else tuple(order)
    place = {task: i for i, task in enumerate(known)}
    for task in labels:
        if task not in place:
            words = sentence("order", owner, "labels of every task", f"none for {task!r}")
            raise ParameterError(words + nearest(task, known))
    at = np.asarray([place[task] for task in columns.tasks], dtype=np.intp)
    return tuple(group[np.argsort(at[group], kind="stable")] for group in columns.class_groups())


def _ascending(labels: tuple[Hashable, ...], owner: str) -> tuple[Hashable, ...]:
    """Return numbers or dates in ascending order, or raise."""
    try:
        if all(isinstance(label, _IN_TIME) for label in labels):
            return tuple(sorted(labels))  # type: ignore[type-var]
    except TypeError:
        pass  # numbers among dates
    shown = ", ".join(repr(label) for label in labels[:3])
    allowed = "given where the task labels are not all numbers or all dates"
    raise ParameterError(sentence("order", owner, allowed, f"None for the tasks {shown}"))
