"""Judges of a search: what fits the strengths of a penalty and scores them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from polytask._progress import add_fits
from polytask.exceptions import DataError
from polytask.linear.fitting import chosen_solver, iterating, solve
from polytask.linear.problem import Problem, Settings
from polytask.messages import LazyMessage, message_of
from polytask.penalties import Columns, Penalty
from polytask.selection.folds import Fold, Folds
from polytask.selection.scoring import FoldScoring, scorer_of
from polytask.solvers import Solution, Solver

Array = NDArray[np.float64]

# A path needs no more precision than telling strengths apart.
PATH_TOL_FACTOR = 100.0
_LOOSEST_PATH_TOL = 1e-3
_PATH_MAX_ITER = 200


@dataclass(frozen=True, eq=False)
class Path:
    """The strengths of one penalty under one choice of settings."""

    # Shapes: alphas (n_alphas,), positions (n_alphas,): their places in the grid. A path with
    # patience ends where so many strengths in a row are worse than the best before them.
    family: int
    penalty: Penalty
    alphas: Array
    settings: Settings
    positions: NDArray[np.intp]
    patience: int | None = None
    _bound: dict[Columns, list[Penalty]] = field(default_factory=dict, repr=False)

    @cached_property
    def penalties(self) -> list[Penalty]:
        """The penalty of every strength."""
        return [self.penalty.with_strength(float(alpha)) for alpha in self.alphas]

    def bound(self, problem: Problem) -> Iterator[Penalty]:
        """Yield the bound penalty of every strength."""
        # What is bound to the columns alone, and what solvers keep with it, serves all folds.
        columns = problem.layout.columns
        if columns not in self._bound:
            self._bound[columns] = [penalty.bind(columns) for penalty in self.penalties]
        return map(problem.bound_further, self._bound[columns])


@dataclass(frozen=True, eq=False)
class Judged:
    """What a judge says of the strengths of a path, or of the first of them."""

    # Shapes: scores (n_alphas, n_folds), sizes (n_alphas,).

    scores: Array
    sizes: Array
    details: Sequence[Any]


class Judge(Protocol):
    """Scores paths: on folds, or by a criterion."""

    def __call__(self, paths: Sequence[Path]) -> list[Judged]:
        """Score every strength of every path."""
        ...


@dataclass(frozen=True, eq=False)
class PathFitter:
    """Fits the strengths of a path from strong to weak, each from the last."""

    solver: Any
    tol: float
    owner: str
    looser: float = PATH_TOL_FACTOR
    max_iter: int = _PATH_MAX_ITER
    repeats: int = 1

    def fits(self, problem: Problem, path: Path) -> Iterator[tuple[Penalty, Solution]]:
        """Yield the bound penalty and the solution of every strength."""
        path_tol = min(self.looser * self.tol, max(_LOOSEST_PATH_TOL, self.tol))
        last: Solution | None = None
        solver: Solver | None = None
        for penalty in path.bound(problem):
            solver = solver or chosen_solver(problem, penalty, self.solver, self.repeats)
            last = solve(problem, penalty, solver, path_tol, self.max_iter, last)
            yield penalty, last


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The judge that fits the training part of every fold and scores the held-out one."""

    folds: Folds
    scoring: FoldScoring
    fitter: PathFitter
    n_jobs: int | None

    def __call__(self, paths: Sequence[Path]) -> list[Judged]:
        """Score every strength of every path on every fold."""
        n = len(self.folds.parts)
        places = [LazyMessage("place.fold", {"fold": k + 1, "n": n}) for k in range(n)]
        folds = list(zip(self.folds.parts, places, strict=True))
        found = self._of_jobs([(path, *fold) for path in paths for fold in folds])
        judged = []
        for k in range(len(paths)):
            parts = found[k * n : (k + 1) * n]
            done = min(len(part) for part in parts)
            scores, sizes = np.moveaxis(np.stack([part[:done] for part in parts]), 2, 0)
            judged.append(Judged(scores.T, sizes.mean(axis=0), [None] * done))
        return judged

    def _of_jobs(self, jobs: list[tuple[Path, Fold, LazyMessage]]) -> list[Array]:
        """Score paths on folds, several side by side: in threads where rows play no part."""
        workers = min(effective_n_jobs(self.n_jobs), len(jobs))
        calls = (delayed(_score_path)(*job, self.scoring, self.fitter) for job in jobs)
        if workers < 2 or not self.folds.light:
            return _counted(Parallel(self.n_jobs, return_as="generator")(calls))
        # Every thread of BLAS beyond the cores costs more than it gives.
        with threadpool_limits(max((os.cpu_count() or 1) // workers, 1)):
            side_by_side = Parallel(self.n_jobs, prefer="threads", return_as="generator")
            return _counted(side_by_side(calls))


def _counted(parts: Iterable[Array]) -> list[Array]:
    """Return the scores of paths; progress counts a fit for each strength."""
    found = []
    for part in parts:
        found.append(part)
        add_fits(len(part))
    return found


def _score_path(
    path: Path, fold: Fold, place: LazyMessage, scoring: FoldScoring, fitter: PathFitter
) -> Array:
    """Return score and number of coefficients of every strength that is tried, (n_tried, 2)."""
    try:
        problem = fold.problem(path.settings, fitter.owner)
    except DataError as error:
        fields = {"place": place, "reason": message_of(error)}
        raise DataError(LazyMessage("selection.refusal.fold", fields)) from error
    score = scorer_of(scoring, fold, problem, fitter.owner)
    found: list[tuple[float, int]] = []
    best, worse = -np.inf, 0
    with iterating():
        for _, last in fitter.fits(problem, path):
            found.append((score(last.W, last.intercept), int(np.count_nonzero(last.W))))
            # A score that is undefined is not worse.
            worse = worse + 1 if found[-1][0] < best else 0
            best = max(best, found[-1][0])
            if path.patience is not None and worse >= path.patience:
                break
    return np.array(found, dtype=float)
