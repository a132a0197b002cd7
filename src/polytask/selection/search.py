"""The search: penalties, strengths, task weights and intercept strengths on the same folds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from polytask.linear._fitting import solve
from polytask.linear._problem import Problem, Settings
from polytask.penalties import Penalty
from polytask.selection.folds import Fold, Folds
from polytask.selection.grid import resolved_strengths
from polytask.selection.rules import Candidate, Rule, best_score
from polytask.selection.scoring import Scoring, scorer_of
from polytask.solvers import Solution

Array = NDArray[np.float64]

# A path needs no more precision than telling strengths apart.
_PATH_TOL_FACTOR = 100.0
_LOOSEST_PATH_TOL = 1e-3
_PATH_MAX_ITER = 200
# Strengths tried on each side of the best one when the settings change.
_WINDOW = 3

# Tens first, then the half of a step on both sides of the best.
INTERCEPT_STRENGTHS = (1.0, 0.1, 10.0, 100.0)
_BETWEEN = (0.3, 3.0)
TASK_WEIGHTS = ("size", "equal")


@dataclass(frozen=True, eq=False)
class Path:
    """The strengths of one penalty under one choice of settings."""

    family: int
    penalty: Penalty
    alphas: Array
    settings: Settings
    start: int


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """What is searched and how.

    Attributes
    ----------
    penalties : tuple of Penalty
        Not bound; each has its own grid.
    alphas : int or ndarray
        As returned by :func:`polytask.selection.grid.check_alphas`.
    settings : Settings
        The choices that are not searched, and the first of those that are.
    task_weights : tuple
        Task weights to try.
    intercept_strengths : tuple of float
        Intercept strengths to try.
    rule : Rule
        Chooses among the strengths of the best penalty.
    scoring : Scoring
        What is scored on held-out rows.
    tol : float
        Tolerance of the final fit; paths use a looser one.
    n_jobs : int or None
        Folds worked on side by side.
    owner : str
        The estimator, for messages.
    """

    penalties: tuple[Penalty, ...]
    alphas: Any
    settings: Settings
    task_weights: tuple[Any, ...]
    intercept_strengths: tuple[float, ...]
    rule: Rule
    scoring: Scoring
    tol: float
    solver: Any
    n_jobs: int | None
    owner: str

    @property
    def first(self) -> Settings:
        """The settings under which all penalties are tried."""
        weight, strength = self.task_weights[0], self.intercept_strengths[0]
        return replace(self.settings, task_weight=weight, intercept_strength=strength)

    def rounds(self) -> list[Callable[[Settings], list[Settings]]]:
        """Return what is tried in turn around the best settings so far."""
        strengths = self.intercept_strengths
        searched = len(strengths) > 1
        return [
            lambda best: [replace(best, intercept_strength=k) for k in strengths],
            lambda best: [replace(best, task_weight=weight) for weight in self.task_weights],
            lambda best: [
                replace(best, intercept_strength=best.intercept_strength * factor)
                for factor in (_BETWEEN if searched else ())
            ],
        ]


@dataclass(frozen=True, eq=False)
class Choice:
    """A penalty and settings, and which of its strengths to try.

    Attributes
    ----------
    family : int
        The position of the penalty among those given.
    settings : Settings
        Task weights and intercept strength among them.
    near : int or None
        Position in the grid around which to try strengths; None tries all.
    """

    family: int
    settings: Settings
    near: int | None = None


def search(
    plan: SearchPlan, whole: Callable[[Settings], Problem], folds: Folds
) -> tuple[list[Candidate], Candidate]:
    """Score candidates on the folds and choose one.

    Every penalty is tried on its whole grid under the first settings. The best of them is
    tried under other strengths of the pull on intercepts, then under other task weights, then
    under pulls between those tried, each time from the best settings so far; under the best
    the other penalties once more, with the strengths around the best one of each; at last
    the whole grid of the winner.

    Parameters
    ----------
    plan : SearchPlan
        What to try.
    whole : callable
        ``settings -> Problem`` of all training rows, for the grids.
    folds : Folds
        Training and held-out rows.

    Returns
    -------
    tuple of (list of Candidate, Candidate)
        All candidates, and the chosen one.
    """
    families = range(len(plan.penalties))
    found = _run(plan, whole, folds, [Choice(k, plan.first) for k in families])
    near = [best_score([c for c in found if c.family == k]).position for k in families]
    for settings_around in plan.rounds():
        best = best_score(found)
        tried = {_key(c.settings) for c in found}
        new = [s for s in settings_around(best.settings) if _key(s) not in tried]
        found += _run(plan, whole, folds, [Choice(best.family, s, best.position) for s in new])
    best = best_score(found)
    if best.settings != plan.first:
        rest = [k for k in families if k != best.family]
        found += _run(plan, whole, folds, [Choice(k, best.settings, near[k]) for k in rest])
        best = best_score(found)
        found = [c for c in found if not _alike(c, best)]
        found += _run(plan, whole, folds, [Choice(best.family, best.settings)])
    return found, plan.rule([c for c in found if _alike(c, best)])


def _key(settings: Settings) -> tuple[str, float]:
    return repr(settings.task_weight), settings.intercept_strength


def _alike(one: Candidate, other: Candidate) -> bool:
    return one.family == other.family and one.settings == other.settings


def _run(
    plan: SearchPlan,
    whole: Callable[[Settings], Problem],
    folds: Folds,
    choices: Sequence[Choice],
) -> list[Candidate]:
    paths = []
    for choice in choices:
        penalty = plan.penalties[choice.family]
        resolved, grid = resolved_strengths(whole(choice.settings), penalty, plan.alphas)
        start = 0 if choice.near is None else max(choice.near - _WINDOW, 0)
        stop = len(grid) if choice.near is None else choice.near + _WINDOW + 1
        paths.append(Path(choice.family, resolved, grid[start:stop], choice.settings, start))
    scores = _scores([(path, fold) for path in paths for fold in folds.parts], folds, plan)
    n = len(folds.parts)
    return [
        candidate
        for k, path in enumerate(paths)
        for candidate in _candidates(path, scores[k * n : (k + 1) * n])
    ]


def _scores(jobs: list[tuple[Path, Fold]], folds: Folds, plan: SearchPlan) -> list[Array]:
    """Score paths on folds, several side by side: in threads where rows play no part."""
    workers = min(effective_n_jobs(plan.n_jobs), len(jobs))
    calls = (delayed(_score_path)(path, fold, plan) for path, fold in jobs)
    if workers < 2 or not folds.light:
        return list(Parallel(n_jobs=plan.n_jobs)(calls))
    # Every thread of BLAS beyond the cores costs more than it gives.
    with threadpool_limits(max((os.cpu_count() or 1) // workers, 1)):
        return list(Parallel(n_jobs=plan.n_jobs, prefer="threads")(calls))


def _candidates(path: Path, scores: list[Array]) -> list[Candidate]:
    by_alpha = np.column_stack(scores)
    return [
        Candidate(
            penalty=path.penalty.with_strength(float(alpha)),
            alpha=float(alpha),
            settings=path.settings,
            scores=by_alpha[i],
            family=path.family,
            position=path.start + i,
        )
        for i, alpha in enumerate(path.alphas)
    ]


def _score_path(path: Path, fold: Fold, plan: SearchPlan) -> Array:
    """Fit the strengths from strong to weak, each from the last, and score them."""
    problem = fold.problem(path.settings, plan.owner)
    score = scorer_of(plan.scoring, fold, problem, plan.owner)
    bound = problem.bound(path.penalty)
    path_tol = min(_PATH_TOL_FACTOR * plan.tol, max(_LOOSEST_PATH_TOL, plan.tol))
    scores = np.empty(len(path.alphas))
    last: Solution | None = None
    for i, alpha in enumerate(path.alphas):
        penalty = bound.with_strength(float(alpha))
        last = solve(problem, penalty, plan.solver, path_tol, _PATH_MAX_ITER, last)
        scores[i] = score(last.W, last.intercept)
    return scores
