"""What a time budget leaves for trying candidates, when the chosen ones are still to be fitted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median

from polytask.selection.entries import Entry

# The share of the time budget when whatever still runs is ended: with what comes after the last
# fit, all of it stays below 1.25.
_OVERTIME = 1.15


@dataclass
class Clock:
    """A deadline before which the candidates that may be chosen are fitted on all rows, too."""

    deadline: float | None
    end: float | None
    n_folds: int
    n_jobs: int
    reserved: float = 0.0
    begun: bool = False
    folds: dict[str, float] = field(default_factory=dict)
    quickest: dict[int, float] = field(default_factory=dict)
    given_up: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of_budget(cls, budget: float | None, spent: float, n_folds: int, n_jobs: int) -> Clock:
        """Return a clock of a time budget, of which some seconds are spent."""
        if budget is None:
            return cls(None, None, n_folds, n_jobs)
        started = time.monotonic() - spent
        return cls(started + budget, started + _OVERTIME * budget, n_folds, n_jobs)

    def folds_end(self, usable: bool) -> float | None:
        """Return when folds that still run are ended."""
        # Once a candidate is usable, time is kept for fitting those with weight on all rows.
        if self.deadline is None or not usable:
            return self.end
        return self.deadline - self.reserved

    def least(self, fold: float) -> float:
        """Return the seconds that one candidate takes, at least, whose fold takes so many."""
        return ceil(self.n_folds / self.n_jobs) * fold + self._on_all_rows(fold)

    def allows(self, cost: int, spent: Sequence[float], missing: int) -> bool:
        """Return whether a candidate is expected to be finished in time."""
        if self.deadline is None or not self.begun:
            return True
        fold = median(spent) if spent else self._expected(cost)
        rest = ceil(missing / self.n_jobs) * fold
        needed = rest + self._on_all_rows(fold) + self.reserved
        return time.monotonic() + needed <= self.deadline

    def note(self, entry: Entry, spent: Sequence[float], finished: bool) -> None:
        """Remember what the folds of a candidate took that time was spent on."""
        if not spent:
            return
        # The median, because the first fold of all may compile.
        fold, cost = median(spent), entry.cost
        self.quickest[cost] = min(fold, self.quickest.get(cost, fold))
        if finished:
            self.folds[entry.name] = fold
        else:
            self.given_up[cost] = max(fold, self.given_up.get(cost, fold))

    def reserve(self, names: Iterable[str]) -> None:
        """Keep the time that these candidates take on all rows, and no other's."""
        self.reserved = sum(self._on_all_rows(self.folds.get(name, 0.0)) for name in names)

    def _expected(self, cost: int) -> float:
        if cost in self.quickest:
            return self.quickest[cost]
        below = [known for known in self.quickest if known < cost]
        cheaper = (fold for known, fold in self.given_up.items() if known < cost)
        return max(self.quickest[max(below)] if below else 0.0, *cheaper, 0.0)

    def _on_all_rows(self, fold: float) -> float:
        # A training part lacks one fold.
        return fold * self.n_folds / max(self.n_folds - 1, 1)
