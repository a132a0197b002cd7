"""What a time budget leaves for trying candidates, when the chosen ones are still to be fitted."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median_low

from polytask.selection.entries import Entry

# The share of the time budget when whatever still runs is ended: with what comes after the last
# fit, all of it stays below 1.25.
_OVERTIME = 1.15
# The share of the time that is left for putting candidates in order on a subsample.
_PILOT = 0.15


@dataclass
class Clock:
    """A deadline before which the candidates that may be chosen are fitted on all rows, too."""

    deadline: float | None
    end: float | None
    n_folds: int
    begun: bool = False
    reserved: dict[str, float] = field(default_factory=dict)
    spent: dict[str, list[float]] = field(default_factory=dict)
    # What share of its first fold a search takes on the others, where it tries less.
    less: dict[str, float] = field(default_factory=dict)
    quickest: dict[int, float] = field(default_factory=dict)
    given_up: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of_budget(cls, budget: float | None, spent: float, n_folds: int) -> Clock:
        """Return a clock of a time budget, of which some seconds are spent."""
        if budget is None:
            return cls(None, None, n_folds)
        started = time.monotonic() - spent
        return cls(started + budget, started + _OVERTIME * budget, n_folds)

    def pilot_end(self) -> float | None:
        """Return when fits of a subsample are ended."""
        now = time.monotonic()
        return None if self.deadline is None else now + _PILOT * (self.deadline - now)

    def fold_end(self, fold: int, usable: bool) -> float | None:
        """Return when a fit of this fold is ended."""
        # Once a candidate is usable, time is kept for fitting those with weight on all rows.
        if self.deadline is None or not usable:
            return self.end
        last, now = self.deadline - sum(self.reserved.values()), time.monotonic()
        # No first fold takes more than half of the time that is left from all others.
        whole = fold > 0 or not self.begun
        return last if whole else min(last, now + (last - now) / 2)

    def least(self, fold: float) -> float:
        """Return the seconds that one candidate takes, at least, whose fold takes so many."""
        return fold + self._on_all_rows(fold)

    def allows(self, entry: Entry, fitted: bool, folds: int = 1, before: float = 0.0) -> bool:
        """Return whether so many folds are expected to be finished in time, after others."""
        # A run that goes on from a journal gets further by one fold at least.
        if self.deadline is None or not self.begun:
            return True
        fold = self.of(entry.name) or self._expected(entry.cost)
        whole = self._whole(entry.name) or self._on_all_rows(fold)
        kept = self.reserved if fitted else {entry.name: whole} | self.reserved
        return time.monotonic() + folds * fold + before + sum(kept.values()) <= self.deadline

    def note(self, entry: Entry, seconds: float, less: float) -> None:
        """Remember what a fold of a candidate took."""
        self.spent.setdefault(entry.name, []).append(seconds)
        self.less.setdefault(entry.name, less)
        self.quickest[entry.cost] = min(seconds, self.quickest.get(entry.cost, seconds))

    def give_up(self, cost: int, seconds: float) -> None:
        """Remember that a fold of a candidate takes longer than this."""
        self.given_up[cost] = max(seconds, self.given_up.get(cost, 0.0))

    def of(self, name: str) -> float:
        """Return the seconds that one more fold of a candidate takes, 0 where it is not known."""
        # Not the first where there are others, because that may compile, and searches everything.
        first, *others = self.spent.get(name, [0.0])
        return median_low(others) if others else first * self.less.get(name, 1.0)

    def reserve(self, names: Iterable[str]) -> None:
        """Keep the time that these candidates take on all rows, and no other's."""
        self.reserved = {name: self._whole(name) for name in names}

    def _whole(self, name: str) -> float:
        """Return the seconds that a candidate takes on all rows: a search tries all again."""
        searches = self.less.get(name, 1.0) < 1.0
        return self._on_all_rows(self.spent[name][0] if searches else self.of(name))

    def _expected(self, cost: int) -> float:
        if cost in self.quickest:
            return self.quickest[cost]
        below = [known for known in self.quickest if known < cost]
        cheaper = (fold for known, fold in self.given_up.items() if known <= cost)
        return max(self.quickest[max(below)] if below else 0.0, *cheaper, 0.0)

    def _on_all_rows(self, fold: float) -> float:
        # A training part lacks one fold.
        return fold * self.n_folds / max(self.n_folds - 1, 1)
