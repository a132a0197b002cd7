"""Rows to explain, and the additive parts that their predictions are taken apart into."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._linalg import is_sparse

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# What contributions sum up to: what `predict` returns, its logarithm, what `decision_function`
# returns, or the probability of a class.
PREDICTION, LOG_MEAN, DECISION, PROBABILITY = "prediction", "log_mean", "decision", "probability"


@dataclass(frozen=True)
class Draws:
    """How what has no formula is drawn at random."""

    n_permutations: int
    seed: int


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows, those of a task together, and the columns that their features come from."""

    # Shapes: X (n, d), codes (n, n_groupings), tasks (n,), sources (d,), background (m, d).
    # The columns from `first_level` on are those of the task, or of each grouping.

    X: Any
    codes: Index | None
    tasks: Index
    label: Hashable | None
    # Whether there are two classes, whose decision value is that of the one less the other's.
    two_classes: bool
    sources: Index
    n_columns: int
    first_level: int
    background: Any
    draws: Draws

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.tasks)

    def values(self) -> Array:
        """Return the features as a dense array, shape (n, d)."""
        return np.asarray(self.X.toarray() if is_sparse(self.X) else self.X, dtype=np.float64)

    def folded(self, values: Array) -> Array:
        """Sum over the features of a column. Shapes: values (n, d), result (n, n_columns)."""
        shape = (len(self.sources), self.n_columns)
        ones = np.ones(len(self.sources))
        fold = sp.csr_array((ones, (np.arange(len(self.sources)), self.sources)), shape=shape)
        return np.asarray((fold.T @ values.T).T)

    def at(self, part: Any) -> Rows:  # noqa: ANN401 - a mask, a slice or positions
        """Return some of the rows."""
        codes = None if self.codes is None else self.codes[part]
        return replace(self, X=self.X[part], codes=codes, tasks=self.tasks[part])


@dataclass(frozen=True, eq=False)
class Parts:
    """Contributions of columns, what all tasks share and what the own task adds apart."""

    # Shapes: baseline, output (n,), common, own, error (n, n_columns); no error where exact.

    baseline: Array
    common: Array
    own: Array
    output: NDArray[np.str_]
    methods: frozenset[str]
    error: Array | None = None

    def plus(self, other: Parts) -> Parts:
        """Return the parts of a sum of two functions; errors are independent."""
        errors = [part for part in (self.error, other.error) if part is not None]
        return Parts(
            self.baseline + other.baseline,
            self.common + other.common,
            self.own + other.own,
            self.output,
            self.methods | other.methods,
            np.sqrt(sum(np.square(part) for part in errors)) if errors else None,
        )

    def at(self, part: Any) -> Parts:  # noqa: ANN401 - a mask, a slice or positions
        """Return those of some of the rows."""
        error = None if self.error is None else self.error[part]
        return Parts(self.baseline[part], self.common[part], self.own[part], self.output[part],
                     self.methods, error)  # fmt: skip

    def scaled(self, factor: Array) -> Parts:
        """Return the parts of a multiple in each row. Shapes: factor (n,)."""
        wide = factor[:, None]
        baseline, common, own = factor * self.baseline, wide * self.common, wide * self.own
        return replace(self, baseline=baseline, common=common, own=own)

    def times(self, own: Array, shared: float, level: int) -> Parts:
        """Return the parts of a multiple: by `own` of the task of a row, by `shared` of all."""
        # Shapes: own (n,). The baseline is that of all tasks; what is beside it is the task's.
        factor = own[:, None]
        found = factor * (self.common + self.own) - shared * self.common
        found[:, level] += (own - shared) * self.baseline
        error = None if self.error is None else np.abs(factor) * self.error
        return replace(
            self, baseline=shared * self.baseline, common=shared * self.common, own=found,
            error=error,
        )  # fmt: skip

    @classmethod
    def joined(cls, found: list[tuple[Any, Parts]], n_rows: int) -> Parts:
        """Put the parts of several sets of rows, by their positions, into one."""
        width = found[0][1].common.shape[1]
        baseline, (common, own) = np.empty(n_rows), np.empty((2, n_rows, width))
        output = np.full(n_rows, PREDICTION, dtype="U16")
        sampled = any(part.error is not None for _, part in found)
        error = np.zeros((n_rows, width)) if sampled else None
        methods: frozenset[str] = frozenset()
        for places, part in found:
            baseline[places], common[places], own[places] = part.baseline, part.common, part.own
            output[places], methods = part.output, methods | part.methods
            if error is not None and part.error is not None:
                error[places] = part.error
        return cls(baseline, common, own, output, methods, error)
