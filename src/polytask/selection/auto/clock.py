"""What a time budget leaves for trying candidates, when the chosen ones are still to be fitted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median


@dataclass
class Clock:
    """A deadline before which the candidates that may be chosen are fitted on all rows, too.

    Attributes
    ----------
    deadline : float or None
        When all is to be over, in seconds of ``time.monotonic``; None if nobody waits.
    n_folds : int
        Folds that every candidate is fitted on.
    n_jobs : int
        Folds that are fitted at the same time.
    reserved : float
        Seconds that the candidates tried so far take on all rows.
    begun : bool
        Whether this run has begun a fit. Without one it would end where an earlier run did,
        and never finish what fits into no single run.
    """

    deadline: float | None
    n_folds: int
    n_jobs: int
    reserved: float = 0.0
    begun: bool = False

    def allows(self, spent: Sequence[float], missing: int) -> bool:
        """Return whether a candidate is expected to be finished in time.

        Parameters
        ----------
        spent : sequence of float
            Seconds of its finished folds; what is not known yet is not expected to take any.
        missing : int
            Folds that it lacks.
        """
        if self.deadline is None or not self.begun:
            return True
        rest = ceil(missing / self.n_jobs) * median(spent) if spent else 0.0
        needed = rest + self._on_all_rows(spent) + self.reserved
        return time.monotonic() + needed <= self.deadline

    def reserve(self, spent: Sequence[float]) -> None:
        """Keep the time that a finished candidate takes on all rows, should it be chosen."""
        self.reserved += self._on_all_rows(spent)

    def _on_all_rows(self, spent: Sequence[float]) -> float:
        # A training part lacks one fold. The median, because the first fold of all may compile.
        return median(spent) * self.n_folds / max(self.n_folds - 1, 1) if spent else 0.0
