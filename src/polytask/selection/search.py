"""The search: penalties, strengths, task weights and intercepts, all judged alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.linear.datafit import PULLED
from polytask.linear.problem import Problem, Settings
from polytask.penalties import Penalty
from polytask.selection.grid import resolved_strengths
from polytask.selection.judging import Judge, Judged, Path
from polytask.selection.rules import Rule, ScoredChoice, best_score

# Strengths tried on each side of the best one when the settings change.
_WINDOW = 3
# In a coarse search: every so many strengths of a grid are tried, and a path ends after so many
# that are worse than the best before them.
_STRIDE, _PATIENCE = 4, 2

# Tens first, then the half of a step on both sides of the best.
INTERCEPT_STRENGTHS = (1.0, 0.1, 10.0, 100.0)
_BETWEEN = (0.3, 3.0)
TASK_WEIGHTS = ("size", "equal")
# Sums of weights that differ by less are equal.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """What is searched and how."""

    penalties: tuple[Penalty, ...]
    alphas: Any
    settings: Settings
    task_weights: tuple[Any, ...]
    intercepts: tuple[str | None, ...]
    intercept_strengths: tuple[float, ...]
    rule: Rule
    coarse: bool = False

    @property
    def n_alphas(self) -> int:
        """Number of strengths of a penalty."""
        return self.alphas if isinstance(self.alphas, int) else len(self.alphas)

    def grid(self) -> list[int]:
        """Return the positions of the strengths of a penalty that are tried at first."""
        last = self.n_alphas - 1
        return sorted({*range(0, last, _STRIDE if self.coarse else 1), last})

    def around(self, position: int) -> list[int]:
        """Return the positions to try on both sides of the best one, under other settings."""
        step = _WINDOW if self.coarse else 1
        places = range(position - _WINDOW, position + _WINDOW + 1, step)
        return [place for place in places if 0 <= place < self.n_alphas]

    @property
    def first(self) -> Settings:
        """The settings under which all penalties are tried."""
        return replace(
            self.settings,
            task_weight=self.task_weights[0],
            intercept=self.intercepts[0],
            intercept_strength=self.intercept_strengths[0],
        )

    def for_counts(self, counts: NDArray[np.float64]) -> SearchPlan:
        """Return the plan without task weights that are the same. Shapes: counts (n_tasks,)."""
        alike = np.ptp(counts) <= _ROUNDING * counts.max() and self.task_weights == TASK_WEIGHTS
        return replace(self, task_weights=TASK_WEIGHTS[:1]) if alike else self

    def rounds(self) -> list[Callable[[Settings], list[Settings]]]:
        """Return what is tried in turn around the best settings so far."""
        return [
            lambda best: [
                replace(best, intercept=mode, intercept_strength=strength)
                for mode in self.intercepts
                for strength in self._strengths(mode, best.intercept_strength)
            ],
            lambda best: [replace(best, task_weight=weight) for weight in self.task_weights],
            lambda best: [
                replace(best, intercept_strength=best.intercept_strength * factor)
                for factor in (_BETWEEN if self._searches(best.intercept) else ())
            ],
        ]

    def _searches(self, mode: str | None) -> bool:
        return len(self.intercept_strengths) > 1 and mode in PULLED

    def _strengths(self, mode: str | None, present: float) -> tuple[float, ...]:
        """Return the strengths to try of a pull, or the present one."""
        return self.intercept_strengths if self._searches(mode) else (present,)


@dataclass(frozen=True, eq=False)
class Choice:
    """A penalty and settings, and which strengths of its grid to try."""

    family: int
    settings: Settings
    positions: Sequence[int]
    patience: int | None = None


def search(
    plan: SearchPlan, whole: Callable[[Settings], Problem], judge: Judge
) -> tuple[list[ScoredChoice], ScoredChoice]:
    """Score candidates and choose one."""
    # Every penalty is tried on its whole grid under the first settings. The best of them is
    # tried under other kinds of intercepts and strengths of their pull, then under other task
    # weights, then under pulls between those tried, each time from the best settings so far;
    # under the best the other penalties once more, with the strengths around the best one of
    # each; at last the whole grid of the winner. A coarse search tries some strengths of each
    # grid, down to where scores fall, and at last those around the best one.
    plan = plan.for_counts(whole(plan.first).counts)
    families = range(len(plan.penalties))
    grid, patience = plan.grid(), _PATIENCE if plan.coarse else None
    found = _run(plan, whole, judge, [Choice(k, plan.first, grid, patience) for k in families])
    near = [best_score([c for c in found if c.family == k]).position for k in families]
    for settings_around in plan.rounds():
        best = best_score(found)
        tried = {_key(c.settings) for c in found}
        new = [s for s in settings_around(best.settings) if _key(s) not in tried]
        around = plan.around(best.position)
        found += _run(plan, whole, judge, [Choice(best.family, s, around) for s in new])
    best = best_score(found)
    if best.settings != plan.first:
        rest = [k for k in families if k != best.family]
        choices = [Choice(k, best.settings, plan.around(near[k])) for k in rest]
        found += _run(plan, whole, judge, choices)
        best = best_score(found)
        found = [c for c in found if not c.differs_in_strength(best)]
        found += _run(plan, whole, judge, [Choice(best.family, best.settings, grid, patience)])
    if plan.coarse:
        best = best_score(found)
        own = [c for c in found if c.differs_in_strength(best)]
        seen = {c.position for c in own}
        fine = range(max(best.position - _STRIDE, 0), min(best.position + _STRIDE, grid[-1]) + 1)
        left = [position for position in fine if position not in seen]
        own += _run(plan, whole, judge, [Choice(best.family, best.settings, left)] if left else [])
        found = [c for c in found if not c.differs_in_strength(best)]
        found += sorted(own, key=lambda c: c.position)
    return found, plan.rule(found)


def _key(settings: Settings) -> tuple[str, str | None, float]:
    return repr(settings.task_weight), settings.intercept, settings.intercept_strength


def _run(
    plan: SearchPlan,
    whole: Callable[[Settings], Problem],
    judge: Judge,
    choices: Sequence[Choice],
) -> list[ScoredChoice]:
    paths: list[Path] = []
    for choice in choices:
        penalty = plan.penalties[choice.family]
        if not paths or _key(choice.settings) != _key(paths[-1].settings):
            problem = whole(choice.settings)
        resolved, grid = resolved_strengths(problem, penalty, plan.alphas)
        at = np.array(choice.positions, dtype=np.intp)
        settings, patience = choice.settings, choice.patience
        paths.append(Path(choice.family, resolved, grid[at], settings, at, patience))
    return [
        candidate
        for path, judged in zip(paths, judge(paths), strict=True)
        for candidate in _candidates(path, judged)
    ]


def _candidates(path: Path, judged: Judged) -> list[ScoredChoice]:
    return [
        ScoredChoice(
            penalty=path.penalties[i],
            alpha=float(alpha),
            settings=path.settings,
            scores=judged.scores[i],
            family=path.family,
            position=int(path.positions[i]),
            size=float(judged.sizes[i]),
            detail=judged.details[i],
        )
        for i, alpha in enumerate(path.alphas[: len(judged.sizes)])
    ]
