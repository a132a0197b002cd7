"""What a time budget leaves for trying candidates, when the chosen ones are still to be fitted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    quickest : dict of int to float
        Seconds of a fold of the quickest candidate so far, by cost.
    """

    deadline: float | None
    n_folds: int
    n_jobs: int
    reserved: float = 0.0
    begun: bool = False
    quickest: dict[int, float] = field(default_factory=dict)

    def allows(self, cost: int, spent: Sequence[float], missing: int) -> bool:
        """Return whether a candidate is expected to be finished in time.

        Parameters
        ----------
        cost : int
            How much time it takes beside others. One without a finished fold is expected to
            take what the quickest of its cost did, or else of the cost below.
        spent : sequence of float
            Seconds of its finished folds.
        missing : int
            Folds that it lacks.
        """
        if self.deadline is None or not self.begun:
            return True
        fold = median(spent) if spent else self._expected(cost)
        rest = ceil(missing / self.n_jobs) * fold
        needed = rest + self._on_all_rows(fold) + self.reserved
        return time.monotonic() + needed <= self.deadline

    def note(self, cost: int, spent: Sequence[float]) -> None:
        """Remember what the finished folds of a candidate took."""
        if spent:
            self.quickest[cost] = min(median(spent), self.quickest.get(cost, float("inf")))

    def reserve(self, spent: Sequence[float]) -> None:
        """Keep the time that a finished candidate takes on all rows, should it be chosen."""
        self.reserved += self._on_all_rows(median(spent)) if spent else 0.0

    def _expected(self, cost: int) -> float:
        below = [known for known in self.quickest if known <= cost]
        return self.quickest[max(below)] if below else 0.0

    def _on_all_rows(self, fold: float) -> float:
        # A training part lacks one fold. The median, because the first fold of all may compile.
        return fold * self.n_folds / max(self.n_folds - 1, 1)
