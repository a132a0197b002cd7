"""What decides which models can be tried on some data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DataFacts:
    """What decides which models can be tried on some data."""

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
    # Whether there are statistics in place of rows.
    statistics: bool = False
    # The names of several groupings, that of the tasks first.
    groupings: tuple[Any, ...] = ()
