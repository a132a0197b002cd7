"""Which column of the coefficient matrix belongs to which task and class."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from polytask._checks import sentence
from polytask._registry import State, saveable
from polytask.exceptions import ParameterError


def _groups(labels: Sequence[Hashable]) -> tuple[np.ndarray, ...]:
    """Return the positions of each distinct label, in the order of first appearance."""
    members: dict[Hashable, list[int]] = {}
    for position, label in enumerate(labels):
        members.setdefault(label, []).append(position)
    return tuple(np.asarray(positions, dtype=np.intp) for positions in members.values())


@saveable("penalty.columns")
@dataclass(frozen=True)
class Columns:
    """The owner of every column of W.

    Parameters
    ----------
    tasks : tuple of hashable, length n_columns
        The task that owns each column.
    classes : tuple of hashable or None, length n_columns
        The class that each column stands for; None (regression, binary logistic)
        counts as one common class.
    """

    tasks: tuple[Hashable, ...]
    classes: tuple[Hashable | None, ...]

    def __post_init__(self) -> None:
        """Store tuples and check that the two have one length."""
        object.__setattr__(self, "tasks", tuple(self.tasks))
        object.__setattr__(self, "classes", tuple(self.classes))
        if len(self.tasks) != len(self.classes):
            allowed = f"as long as tasks ({len(self.tasks)})"
            raise ParameterError(sentence("classes", "Columns", allowed, len(self.classes)))

    @classmethod
    def plain(cls, n_tasks: int) -> Columns:
        """Return one column for each of the tasks 0, ..., n_tasks - 1."""
        return cls(tuple(range(n_tasks)), (None,) * n_tasks)

    @property
    def n_columns(self) -> int:
        """The number of columns of W."""
        return len(self.tasks)

    def task_labels(self) -> tuple[Hashable, ...]:
        """Return the distinct tasks in the order of their first column."""
        return tuple(dict.fromkeys(self.tasks))

    def class_labels(self) -> tuple[Hashable | None, ...]:
        """Return the distinct classes in the order of their first column."""
        return tuple(dict.fromkeys(self.classes))

    def class_groups(self) -> tuple[np.ndarray, ...]:
        """Return the columns of each class, in the order of :meth:`class_labels`.

        Returns
        -------
        tuple of ndarray of intp
            Every column is in exactly one group.
        """
        return _groups(self.classes)

    def task_groups(self) -> tuple[np.ndarray, ...]:
        """Return the columns of each task, in the order of :meth:`task_labels`.

        Returns
        -------
        tuple of ndarray of intp
            Every column is in exactly one group.
        """
        return _groups(self.tasks)

    def to_state(self) -> State:
        """Return the state as a dictionary of lists."""
        return {"tasks": list(self.tasks), "classes": list(self.classes)}

    @classmethod
    def from_state(cls, state: State) -> Columns:
        """Rebuild the object from :meth:`to_state`."""
        return cls(tuple(state["tasks"]), tuple(state["classes"]))
