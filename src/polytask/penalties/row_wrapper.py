"""What penalties that wrap a penalty of rows pass on to it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from polytask._linalg import Array
from polytask.penalties.base import CompiledRows, Penalty, PerFeature
from polytask.penalties.columns import Columns
from polytask.penalties.shifts import shift
from polytask.penalties.sums import Operators


class RowWrapper(Operators, PerFeature, CompiledRows):
    """A row penalty that treats features differently; strength and tasks are the inner one's."""

    # A leaf class is a dataclass with the field `penalty`.

    penalty: Any  # a Penalty with the capabilities of the leaf class

    @classmethod
    @abstractmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""

    @abstractmethod
    def like_this(self, penalty: Penalty) -> Penalty:
        """Return the same around another penalty."""

    @property
    def strength(self) -> float | None:
        """The strength of the penalty, that of a feature of weight 1."""
        strength: float | None = self.penalty.strength
        return strength

    @property
    def null_point(self) -> Array | None:
        """None: the penalty vanishes at W = 0."""
        return None

    def with_strength(self, alpha: float) -> Penalty:
        """Return the same with another strength."""
        return self.like_this(self.penalty.with_strength(alpha))

    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the penalty; what it says of features stays."""
        return self.like_this(self.penalty.scaled(factor))

    def shifted(self, W0: Array) -> Penalty:
        """Return the penalty of W - W0, W0 of shape (n_features, n_columns)."""
        return shift(self, W0)

    def bind(self, columns: Columns) -> Penalty:
        """Return a copy that knows tasks and classes."""
        return self.like_this(self.penalty.bind(columns))
