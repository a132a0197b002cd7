"""Ranges of parameters, for a search."""

from __future__ import annotations

import math
from dataclasses import dataclass

from polytask._checks import sentence
from polytask.exceptions import ParameterError


@dataclass(frozen=True)
class Between:
    """A range to search.

    Parameters
    ----------
    low, high : float
        Its ends, both included.
    log : bool, default=True
        Whether factors matter, not differences; low is then > 0.
    integer : bool, default=False
        Whether values are whole numbers; low and high are then whole too.
    """

    low: float
    high: float
    log: bool = True
    integer: bool = False

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        ordered = math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high
        if not ordered or (self.log and self.low <= 0):
            allowed = "low < high, and low > 0 unless log=False"
            raise ParameterError(sentence("The range", "Between", allowed, self._said()))
        if self.integer and not (float(self.low).is_integer() and float(self.high).is_integer()):
            allowed = "between whole numbers with integer=True"
            raise ParameterError(sentence("The range", "Between", allowed, self._said()))

    def _said(self) -> str:
        return f"{self.low} to {self.high}"
