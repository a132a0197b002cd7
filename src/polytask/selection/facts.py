"""What decides which models can be tried on some data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What decides which models can be tried on some data.

    Attributes
    ----------
    problem : {"regression", "classification", "mixed"}
        What the targets are.
    losses : str or dict
        The loss, or for a mixed problem that of each task.
    n_rows, n_features, n_tasks : int
        Their size.
    median_rows : float
        Labelled rows of the median task.
    targets : bool
        Whether the tasks are columns of a target matrix.
    sparse : bool
        Whether X is sparse.
    unseen : bool
        Whether the models have to predict tasks that they were not fitted on.
    seed : int
        For models that draw at random.
    cv : object
        The folds of a search inside the training part: a number, or a splitter that keeps
        groups together or time in order.
    gaps : bool
        Whether labels of a target matrix are missing.
    """

    problem: str
    losses: Any
    n_rows: int
    n_features: int
    n_tasks: int
    median_rows: float
    targets: bool
    sparse: bool
    unseen: bool
    seed: int
    cv: Any = 5
    gaps: bool = False
