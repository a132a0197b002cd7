"""Which penalty finds which planted structure: ``python benchmarks/planted_structures.py``.

Coefficients of a known structure are drawn (40 features, 12 tasks), 30 rows per task, noise of
half the size of the signal. Every penalty chooses its strength by cross-validation, and one
table shows the squared error of its coefficients in units of that of W = 0, the mean over draws.
A second table shows how well what is planted is read off the coefficients: the F1 score of
features, entries, groups, tasks or change points that are not zero, the adjusted Rand index of
clusters, and how often the rank is found; at the strength of the least error and at the largest
one within a standard error of it. ``--draws 10`` sets the number of draws, ``--only
clusters,tree`` the structures; ``--keep FILE`` goes on with a run that was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import shlex
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _kept import Kept
from scipy.cluster.vq import kmeans2
from sklearn.metrics import adjusted_rand_score, f1_score

import polytask
from polytask import MultiTaskRegressorCV
from polytask.exceptions import PolytaskError
from polytask.penalties import (
    L1,
    L2,
    L21,
    MCP,
    AlternatingStructure,
    CappedL21,
    Clustered,
    FusedTasks,
    GroupNorm,
    L1Inf,
    LearnedCovariance,
    OutlierTasks,
    SparseGroup,
    TraceNorm,
    TreeGroup,
    along_graph,
    along_time,
    dirty,
    robust,
    sparse_low_rank,
    toward_mean,
)

FEATURES, TASKS, ROWS = 40, 12, 30
CLUSTERS = np.repeat(np.arange(3), TASKS // 3)
MODALITIES = [list(range(start, start + 8)) for start in range(0, FEATURES, 8)]
TREE = [list(range(TASKS)), *[list(np.flatnonzero(k == CLUSTERS)) for k in range(3)]]
TREE += [[t] for t in range(TASKS)]
RING = {(t, (t + 1) % TASKS): 1.0 for t in range(TASKS)}
OUTLIERS = np.array([2, 7])
Matrix = np.ndarray
Rng = np.random.Generator


def _rows(rng: Rng) -> Matrix:
    W = np.zeros((FEATURES, TASKS))
    W[rng.choice(FEATURES, 8, replace=False)] = rng.standard_normal((8, TASKS))
    return W


def _entries(rng: Rng) -> Matrix:
    W = np.zeros((FEATURES, TASKS))
    for t in range(TASKS):
        W[rng.choice(FEATURES, 6, replace=False), t] = rng.standard_normal(6)
    return W


def _both(rng: Rng) -> Matrix:
    W = _entries(rng) * (rng.random((FEATURES, TASKS)) < 0.5)
    return W + _rows(rng) * (np.arange(TASKS) >= 0)


def _rank(rng: Rng) -> Matrix:
    return rng.standard_normal((FEATURES, 2)) @ rng.standard_normal((2, TASKS))


def _mean(rng: Rng) -> Matrix:
    return rng.standard_normal((FEATURES, 1)) + 0.4 * rng.standard_normal((FEATURES, TASKS))


def _clusters(rng: Rng) -> Matrix:
    centres = rng.standard_normal((FEATURES, 3))
    return centres[:, CLUSTERS] + 0.2 * rng.standard_normal((FEATURES, TASKS))


def _outliers(rng: Rng) -> Matrix:
    W = rng.standard_normal((FEATURES, 1)) @ (1 + 0.2 * rng.standard_normal((1, TASKS)))
    W[:, OUTLIERS] += 1.5 * rng.standard_normal((FEATURES, len(OUTLIERS)))
    return W


def _drift(rng: Rng) -> Matrix:
    steps = np.hstack([np.ones((FEATURES, 1)), np.full((FEATURES, TASKS - 1), 0.3)])
    return np.cumsum(steps * rng.standard_normal((FEATURES, TASKS)), axis=1)


def _jumps(rng: Rng) -> Matrix:
    W = np.zeros((FEATURES, TASKS))
    for j in rng.choice(FEATURES, 12, replace=False):
        at = rng.integers(2, TASKS - 1)
        W[j, :at], W[j, at:] = rng.standard_normal(2)
    return W


def _modalities(rng: Rng) -> Matrix:
    W = np.zeros((FEATURES, TASKS))
    for k in rng.choice(len(MODALITIES), 2, replace=False):
        W[MODALITIES[k]] = rng.standard_normal((len(MODALITIES[k]), TASKS))
    return W


def _tree(rng: Rng) -> Matrix:
    W = np.zeros((FEATURES, TASKS))
    for k in range(3):
        rows = rng.choice(FEATURES, 6, replace=False)
        W[np.ix_(rows, np.flatnonzero(k == CLUSTERS))] = rng.standard_normal((6, TASKS // 3))
    return W


def _ring(rng: Rng) -> Matrix:
    angle = 2 * np.pi * np.arange(TASKS) / TASKS
    waves = np.array([np.ones(TASKS), np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle)])
    return rng.standard_normal((FEATURES, 3)) @ waves


def _f1(found: Matrix, truth: Matrix) -> float:
    return float(f1_score(truth.ravel(), found.ravel(), zero_division=0.0))


def _found_rows(model: Any, W: Matrix, truth: Matrix) -> float:
    return _f1(W.any(axis=1), truth.any(axis=1))


def _found_entries(model: Any, W: Matrix, truth: Matrix) -> float:
    return _f1(W != 0, truth != 0)


def _found_rank(model: Any, W: Matrix, truth: Matrix) -> float:
    ranks = [np.linalg.matrix_rank(M, tol=1e-6 * np.linalg.norm(truth)) for M in (W, truth)]
    return float(ranks[0] == ranks[1])


def _found_clusters(model: Any, W: Matrix, truth: Matrix) -> float:
    penalty = model.best_penalty_
    if isinstance(penalty, Clustered):
        labels = penalty.clusters(W)
    else:
        labels = kmeans2(W.T, 3, minit="++", seed=0)[1]
    return float(adjusted_rand_score(CLUSTERS, labels))


def _found_outliers(model: Any, W: Matrix, truth: Matrix) -> float:
    named = getattr(model, "outlier_tasks_", None)
    if named is None:
        return float("nan")
    return _f1(np.isin(np.arange(TASKS), list(named)), np.isin(np.arange(TASKS), OUTLIERS))


def _found_jumps(model: Any, W: Matrix, truth: Matrix) -> float:
    scale = 1e-6 * np.abs(truth).max()
    return _f1(np.abs(np.diff(W)) > scale, np.abs(np.diff(truth)) > scale)


def _found_groups(model: Any, W: Matrix, truth: Matrix) -> float:
    used = [np.array([M[g].any() for g in MODALITIES]) for M in (W, truth)]
    return _f1(*used)


@dataclass(frozen=True)
class Structure:
    """A kind of coefficients, and how it is looked for."""

    name: str
    draw: Callable[[Rng], Matrix]
    meant: tuple[str, ...]
    measure: str = ""
    found: Callable[[Any, Matrix, Matrix], float] | None = None


STRUCTURES = (
    Structure("same features", _rows, ("L21", "L1Inf"), "F1 of features", _found_rows),
    Structure("own features", _entries, ("L1",), "F1 of entries", _found_entries),
    Structure("same and own features", _both, ("dirty",), "F1 of entries", _found_entries),
    Structure("rank 2", _rank, ("TraceNorm", "LearnedCovariance"), "rank found", _found_rank),
    Structure("near a mean", _mean, ("toward_mean",)),
    Structure("clusters", _clusters, ("Clustered",), "adjusted Rand", _found_clusters),
    Structure("outlier tasks", _outliers, ("robust",), "F1 of tasks", _found_outliers),
    Structure("slow drift", _drift, ("along_time",)),
    Structure("jumps over time", _jumps, ("FusedTasks",), "F1 of changes", _found_jumps),
    Structure("modalities", _modalities, ("GroupNorm",), "F1 of modalities", _found_groups),
    Structure("tree", _tree, ("TreeGroup",), "F1 of entries", _found_entries),
    Structure("ring of tasks", _ring, ("along_graph",)),
)
PENALTIES: dict[str, Any] = {
    "L2": L2(),
    "L1": L1(),
    "L21": L21(),
    "L1Inf": L1Inf(),
    "SparseGroup": SparseGroup(),
    "MCP": MCP(),
    "CappedL21": CappedL21(),
    "dirty": dirty(),
    "GroupNorm": GroupNorm(groups=MODALITIES),
    "TreeGroup": TreeGroup(groups=TREE),
    "TraceNorm": TraceNorm(),
    "LearnedCovariance": LearnedCovariance(),
    "robust": robust(),
    "sparse_low_rank": sparse_low_rank(),
    "OutlierTasks": OutlierTasks(),
    "Clustered": Clustered(n_clusters=3),
    "AlternatingStructure": AlternatingStructure(n_dimensions=2),
    "toward_mean": toward_mean(),
    "along_graph": along_graph(None, RING),
    "along_time": along_time(),
    "FusedTasks": FusedTasks(l1=0.01),
}


@dataclass(frozen=True)
class Outcome:
    """What a penalty made of one draw; NaN where nothing is measured or the fit was refused."""

    error: float
    found: float
    found_one_se: float


def draw(structure: Structure, seed: int) -> tuple[Matrix, dict[int, tuple[Matrix, Matrix]]]:
    """Draw coefficients and a data set per task."""
    rng = np.random.default_rng([seed, STRUCTURES.index(structure)])
    W = structure.draw(rng)
    tasks = {}
    for t in range(TASKS):
        X = rng.standard_normal((ROWS, FEATURES))
        signal = X @ W[:, t]
        scale = 0.5 * np.linalg.norm(W) / np.sqrt(TASKS)
        tasks[t] = X, signal + scale * rng.standard_normal(ROWS)
    return W, tasks


def run(structure: Structure, penalty: Any, seed: int) -> Outcome:
    """Fit a penalty to one draw."""
    truth, tasks = draw(structure, seed)
    rules = ("min",) if structure.found is None else ("min", "one_se")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = [
            MultiTaskRegressorCV(
                penalty, alphas=20, intercept=None, rule=rule, task_weight="equal"
            )
            for rule in rules
        ]
        models = [fit.fit(tasks) for fit in fits]
    error = float(((models[0].coef_.T - truth) ** 2).sum() / (truth**2).sum())
    if structure.found is None:
        return Outcome(error, np.nan, np.nan)
    return Outcome(error, *(structure.found(m, m.coef_.T, truth) for m in models))


def _measures(structure: Structure, penalty: Any, seed: int) -> tuple[float, ...]:
    return dataclasses.astuple(run(structure, penalty, seed))


def outcomes(structure: Structure, draws: int, keep: str | None) -> dict[str, Outcome]:
    """Return the means over draws of every penalty."""
    means = {}
    kept = Kept(keep, structure.name)
    for name, penalty in PENALTIES.items():
        try:
            each = [
                kept.get(name, seed, partial(_measures, structure, penalty, seed))
                for seed in range(draws)
            ]
        except PolytaskError as error:
            print(f"{structure.name}, {name}: {error}", file=sys.stderr)
            continue
        table = np.array(each)
        means[name] = Outcome(*table.mean(axis=0).tolist())
        print(f"{structure.name}, {name}: {means[name]}", file=sys.stderr, flush=True)
    return means


def error_table(results: dict[str, dict[str, Outcome]]) -> list[str]:
    """Return the table of errors: a row per penalty, the least error of a structure in bold."""
    least = {name: min(o.error for o in found.values()) for name, found in results.items()}
    lines = [
        f"| penalty | {' | '.join(results)} |",
        f"|---|{'---|' * len(results)}",
    ]
    for penalty in PENALTIES:
        cells = []
        for name, found in results.items():
            value = found[penalty].error if penalty in found else float("nan")
            cells.append(f"**{value:.3f}**" if value == least[name] else f"{value:.3f}")
        lines.append(f"| {penalty} | {' | '.join(cells)} |")
    return lines


def found_table(results: dict[str, dict[str, Outcome]]) -> list[str]:
    """Return the table of what was read off: the penalties that are meant for it, and the best."""
    lines = [
        "| structure | measure | penalty | least error | within a standard error |",
        "|---|---|---|---|---|",
    ]
    for s in STRUCTURES:
        if s.found is None or s.name not in results:
            continue
        found = results[s.name]
        # The three best of the others, too.
        ranked = sorted(found, key=lambda k: np.nan_to_num(found[k].found, nan=-1.0))[::-1]
        others = [k for k in ranked if k not in s.meant][:3]
        for name in (*(m for m in s.meant if m in found), *others):
            label = f"**{name}**" if name in s.meant else name
            one = found[name]
            lines.append(
                f"| {s.name} | {s.measure} | {label} | {one.found:.2f} | {one.found_one_se:.2f} |"
            )
    return lines


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--only", default="", help="structures, with commas")
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    chosen = parser.parse_args()
    wanted = [word.strip() for word in chosen.only.split(",") if word.strip()]
    picked = [s for s in STRUCTURES if not wanted or s.name in wanted]
    results = {s.name: outcomes(s, chosen.draws, chosen.keep) for s in picked}
    command = shlex.join(["python", "benchmarks/planted_structures.py", *sys.argv[1:]])
    print(f"`{command}`, polytask {polytask.__version__}, numpy {np.__version__}, ", end="")
    print(f"Python {platform.python_version()}\n")
    print("\n".join([*error_table(results), "", *found_table(results)]))


if __name__ == "__main__":
    main()
