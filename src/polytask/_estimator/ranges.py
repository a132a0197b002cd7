"""Ranges of parameters, for a search."""

from __future__ import annotations

import math
from dataclasses import dataclass

from polytask._checks import sentence
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage


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
            raise self._refusal("ordered_range")
        if self.integer and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise self._refusal("whole_range")

    def _refusal(self, allowed: str) -> ParameterError:
        got = LazyMessage("got.range", {"least": str(self.low), "most": str(self.high)})
        what, asked = LazyMessage("what.range"), LazyMessage(f"allowed.{allowed}")
        return ParameterError(sentence(what, "Between", asked, got))
