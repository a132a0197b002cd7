"""What decides which models can be tried on some data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


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
    # How many times the scales of numeric targets differ at most, 0 where there is one target.
    target_spread: float = 0.0


def target_spread(y: ArrayLike | None) -> float:
    """Return how many times the standard deviation of the widest column is the narrowest's."""
    with np.errstate(over="ignore", invalid="ignore"):
        scales = np.nanstd(np.asarray(y, dtype=np.float64), axis=0)
    scales = scales[np.isfinite(scales) & (scales > 0)]
    return float(scales.max() / scales.min()) if len(scales) else 0.0
