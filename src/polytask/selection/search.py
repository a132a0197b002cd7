"""The search: penalties, strengths, task weights and intercept strengths on the same folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from polytask.linear._fitting import solve
from polytask.linear._problem import Problem, Settings
from polytask.penalties import Penalty
from polytask.selection.folds import Fold, Metric, held_out_loss, held_out_metric
from polytask.selection.grid import resolved_strengths
from polytask.selection.rules import Rule
from polytask.solvers import Solution

Array = NDArray[np.float64]

# A path needs no more precision than telling strengths apart.
_PATH_TOL_FACTOR = 100.0
_LOOSEST_PATH_TOL = 1e-3
_PATH_MAX_ITER = 1000

INTERCEPT_STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
TASK_WEIGHTS = ("size", "equal")


@dataclass(frozen=True, eq=False)
class Candidate:
    """One choice and its scores.

    Attributes
    ----------
    penalty : Penalty
        With its strength.
    alpha : float
        The strength.
    settings : Settings
        Task weights and intercept strength among them.
    scores : ndarray of shape (n_folds,)
        Greater is better.
    family : int
        The position of the penalty among those given.
    """

    penalty: Penalty
    alpha: float
    settings: Settings
    scores: Array
    family: int

    @property
    def score(self) -> float:
        """The mean over the folds."""
        return float(np.mean(self.scores))


@dataclass(frozen=True, eq=False)
class Path:
    """The strengths of one penalty under one choice of settings."""

    family: int
    penalty: Penalty
    alphas: Array
    settings: Settings


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
    metric : callable or None
        None: held-out loss on scaled targets.
    tol : float
        Tolerance of the final fit; paths use a looser one.
    n_jobs : int or None
        Processes.
    owner : str
        The estimator, for messages.
    """

    penalties: tuple[Penalty, ...]
    alphas: Any
    settings: Settings
    task_weights: tuple[Any, ...]
    intercept_strengths: tuple[float, ...]
    rule: Rule
    metric: Metric | None
    tol: float
    solver: Any
    n_jobs: int | None
    owner: str

    def variants(self) -> list[Settings]:
        """Return every combination of task weight and intercept strength."""
        return [
            replace(self.settings, task_weight=weight, intercept_strength=strength)
            for weight in self.task_weights
            for strength in self.intercept_strengths
        ]


def search(
    plan: SearchPlan, whole: Any, folds: Sequence[Fold]
) -> tuple[list[Candidate], Candidate]:  # noqa: ANN401
    """Score candidates on the folds and choose one.

    Every penalty is tried on its grid under the first settings; the best of them under all
    settings; under the best settings the other penalties once more.

    Parameters
    ----------
    plan : SearchPlan
        What to try.
    whole : callable
        ``settings -> Problem`` of all training rows, for the grids.
    folds : sequence of Fold
        Training and held-out rows.

    Returns
    -------
    tuple of (list of Candidate, Candidate)
        All candidates, and the chosen one.
    """
    families = list(enumerate(plan.penalties))
    variants = plan.variants()
    found = _run(plan, whole, folds, [(k, p, variants[0]) for k, p in families])
    best = _best(found)
    chosen = plan.penalties[best.family]
    found += _run(plan, whole, folds, [(best.family, chosen, v) for v in variants[1:]])
    best = _best(found)
    if best.settings != variants[0]:
        others = [(k, p, best.settings) for k, p in families if k != best.family]
        found += _run(plan, whole, folds, others)
        best = _best(found)
    rivals = [c for c in found if c.family == best.family and c.settings == best.settings]
    return found, plan.rule(rivals)


def _best(candidates: Iterable[Candidate]) -> Candidate:
    return max(candidates, key=lambda c: -np.inf if np.isnan(c.score) else c.score)


def _run(
    plan: SearchPlan,
    whole: Any,  # noqa: ANN401
    folds: Sequence[Fold],
    choices: list[tuple[int, Penalty, Settings]],
) -> list[Candidate]:
    paths = []
    for family, penalty, settings in choices:
        resolved, alphas = resolved_strengths(whole(settings), penalty, plan.alphas)
        paths.append(Path(family, resolved, alphas, settings))
    jobs = [(path, fold) for path in paths for fold in folds]
    scores = Parallel(n_jobs=plan.n_jobs)(
        delayed(_score_path)(path, fold, plan.metric, plan.tol, plan.solver, plan.owner)
        for path, fold in jobs
    )
    return [
        candidate
        for k, path in enumerate(paths)
        for candidate in _candidates(path, scores[k * len(folds) : (k + 1) * len(folds)])
    ]


def _candidates(path: Path, scores: list[Array]) -> list[Candidate]:
    by_alpha = np.column_stack(scores)
    return [
        Candidate(
            penalty=path.penalty.with_strength(float(alpha)),
            alpha=float(alpha),
            settings=path.settings,
            scores=by_alpha[i],
            family=path.family,
        )
        for i, alpha in enumerate(path.alphas)
    ]


def _score_path(
    path: Path,
    fold: Fold,
    metric: Metric | None,
    tol: float,
    solver: Any,
    owner: str,  # noqa: ANN401
) -> Array:
    """Fit the strengths from strong to weak, each from the last, and score them."""
    problem = fold.problem(path.settings, owner)
    bound = path.penalty.bind(problem.layout.columns)
    path_tol = min(_PATH_TOL_FACTOR * tol, max(_LOOSEST_PATH_TOL, tol))
    scores = np.empty(len(path.alphas))
    last: Solution | None = None
    for i, alpha in enumerate(path.alphas):
        penalty = bound.with_strength(float(alpha))
        last = solve(problem, penalty, solver, path_tol, _PATH_MAX_ITER, last)
        scores[i] = _score(fold, problem, last, metric, owner)
    return scores


def _score(
    fold: Fold, problem: Problem, solution: Solution, metric: Metric | None, owner: str
) -> float:
    W, b = solution.W, solution.intercept
    if metric is None:
        return -held_out_loss(fold, problem, W, b, owner)
    return held_out_metric(fold, problem, W, b, metric)
