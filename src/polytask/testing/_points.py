"""The points at which penalties are tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask.penalties import Columns, Conjugate, Penalty, Smooth

N_FEATURES = 6
STEPS = (0.3, 1.0, 2.5)


@dataclass(frozen=True)
class PenaltyCase:
    """A penalty, or a part of one, with points to try it at."""

    # Shapes: points (n_features, n_columns).

    subject: Any
    columns: Columns
    points: tuple[np.ndarray, ...]
    rng: np.random.Generator

    @property
    def convex(self) -> bool:
        """Whether the capabilities say that the penalty is convex."""
        return isinstance(self.subject, Conjugate | Smooth)

    def random(self) -> np.ndarray:
        """Return one more random point."""
        return self.rng.normal(size=self.points[0].shape)

    def of(self, subject: object) -> PenaltyCase:
        """Return the case of another penalty at the same points."""
        return PenaltyCase(subject, self.columns, self.points, self.rng)


def points(n_columns: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return points of differing sparsity, rank and size."""
    dense = rng.normal(size=(N_FEATURES, n_columns))
    rows = dense * (rng.random((N_FEATURES, 1)) < 0.5)
    entries = dense * (rng.random(dense.shape) < 0.4)
    low_rank = np.outer(rng.normal(size=N_FEATURES), rng.normal(size=n_columns))
    zero = np.zeros_like(dense)
    return (dense, rows, entries, low_rank, 20.0 * dense, 1e-3 * dense, zero)


def resolved_case(penalty: Penalty, columns: Columns | None, random_state: int) -> PenaltyCase:
    """Return the case of a penalty, its fraction resolved at a random gradient."""
    columns = Columns.plain(4) if columns is None else columns
    rng = np.random.default_rng(random_state)
    tried = points(columns.n_columns, rng)
    subject = penalty.bind(columns).resolved(tried[0])
    return PenaltyCase(subject, columns, tried, rng)
