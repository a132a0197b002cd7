"""Is the p-value of `relatedness` uniform on unrelated tasks, and does it find related ones?

``python benchmarks/relatedness.py``. Collections of tasks are simulated, unrelated and related in
several ways. For unrelated ones the table shows the p-value of a Kolmogorov-Smirnov test of
uniformity and how often p <= .05; for related ones how often p <= .05, in all and by aspect.
Shares of collections whose shares are known follow, and real data sets where POLYTASK_DATA names
their folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy
from _kept import Kept
from _tables import table
from scipy import stats

import polytask
from polytask import TaskData, relatedness
from polytask.task_relations.slopes import slopes_of
from polytask.task_relations.statistics import sign_flip_test

REAL = ("school", "computer", "exam65", "sarcos_sub", "radon", "landmine", "heart4",
        "bank_conjoint", "mtr_wq", "tox21", "amazon_sentiment")  # fmt: skip
ASPECTS = ["direction", "structure", "features"]
SHARES = ["common", "clustered", "own"]
HEADS = {
    "unrelated": ["unrelated tasks", "KS p", "p <= .05", "p <= .01", "mean p"],
    "related": ["related tasks", "p <= .05", *ASPECTS],
    "known": ["tasks", "true shares", *SHARES, "effective tasks of T"],
    "real": ["set", "tasks", "p", *ASPECTS, *SHARES, "effective", "between means", "groups",
             "CPU s"],
}  # fmt: skip
Coefficients = Callable[[np.random.Generator, int, int], np.ndarray]


@dataclass(frozen=True)
class Setting:
    """One kind of collection: T tasks of n rows and d features."""

    name: str
    coef: Coefficients
    tasks: int = 10
    rows: int = 30
    features: int = 8
    correlation: float = 0.0
    noise: float = 1.0
    uneven: bool = False
    by_feature: bool = False
    by_task: bool = False
    classes: bool = False
    scales: bool = False
    one_design: bool = False


def collection(s: Setting, seed: int) -> TaskData:
    """Draw one."""
    rng = np.random.default_rng([seed, sum(map(ord, s.name))])
    W = s.coef(rng, s.tasks, s.features)
    places = np.arange(s.features)
    root = np.linalg.cholesky(s.correlation ** np.abs(np.subtract.outer(places, places)))
    scale = 10.0 ** rng.uniform(-3, 3, s.features) if s.scales else np.ones(s.features)
    shared = rng.standard_normal((s.rows, s.features)) @ root.T
    # Equal coefficients are equal effects only if the features of this one design vary alike.
    shared /= shared.std(axis=0)
    found = {}
    for t in range(s.tasks):
        n = int(rng.integers(2, 2 * s.rows)) if s.uneven else s.rows
        X = shared if s.one_design else rng.standard_normal((n, s.features)) @ root.T
        noise = s.noise * rng.standard_normal(len(X))
        noise *= np.abs(X[:, 0]) if s.by_feature else 1.0
        noise *= np.exp(rng.standard_normal()) if s.by_task else 1.0
        eta = X @ W[t] + rng.standard_normal()
        if s.classes:
            y = (rng.random(len(X)) < 1 / (1 + np.exp(-eta))).astype(float)
        else:
            y = eta + noise
        found[t] = (X * scale, y)
    return TaskData.from_tasks(found)


def own(rng: np.random.Generator, T: int, d: int) -> np.ndarray:
    return rng.standard_normal((T, d))


def faint(rng: np.random.Generator, T: int, d: int) -> np.ndarray:
    return 0.2 * rng.standard_normal((T, d))


def own_features(rng: np.random.Generator, T: int, d: int) -> np.ndarray:
    """Each task has a quarter of the features, of its own choice."""
    base = 1.5 * (np.arange(d) < max(d // 4, 1))
    return np.array([rng.permutation(base) for _ in range(T)]) * rng.standard_normal((T, d))


def heavy(rng: np.random.Generator, T: int, d: int) -> np.ndarray:
    return rng.laplace(size=(T, d))


def direction(rng: np.random.Generator, T: int, d: int) -> np.ndarray:
    return 0.25 * rng.standard_normal(d) + 0.4 * rng.standard_normal((T, d))


def weak_direction(rng: np.random.Generator, T: int, d: int) -> np.ndarray:
    return np.tile(0.1 * rng.standard_normal(d), (T, 1))


def same_features(rng: np.random.Generator, T: int, d: int) -> np.ndarray:
    return rng.standard_normal((T, d)) * (np.arange(d) < max(d // 4, 1))


def subspace(rng: np.random.Generator, T: int, d: int) -> np.ndarray:
    return 0.5 * rng.standard_normal((T, 2)) @ rng.standard_normal((2, d))


def opposite(rng: np.random.Generator, T: int, d: int) -> np.ndarray:
    side = rng.permutation(np.where(np.arange(T) % 2, 1.0, -1.0))
    return 0.4 * np.outer(side, rng.standard_normal(d)) + 0.2 * rng.standard_normal((T, d))


def clusters(rng: np.random.Generator, T: int, d: int) -> np.ndarray:
    centres = 0.5 * rng.standard_normal((3, d))
    return centres[np.arange(T) % 3] + 0.2 * rng.standard_normal((T, d))


UNRELATED = (
    Setting("10 tasks, 30 rows, 8 features", own),
    Setting("much noise", faint),
    Setting("hardly any noise", own, noise=0.05),
    Setting("4 tasks", own, tasks=4, features=5),
    Setting("4 tasks, more features than rows", own, tasks=4, rows=15, features=20),
    Setting("60 tasks of 12 rows", own, tasks=60, rows=12, features=5),
    Setting("correlated features (.8)", own, correlation=0.8),
    Setting("correlated features, much noise", faint, correlation=0.8),
    Setting("2 to 59 rows", own, tasks=15, uneven=True),
    Setting("features in other units (1e-3 to 1e3)", own, scales=True),
    Setting("noise differs between tasks", own, by_task=True),
    Setting("noise grows with a feature", faint, tasks=20, rows=40, features=6, by_feature=True),
    Setting("classes", own, tasks=15, rows=60, features=6, classes=True),
    Setting("one design for all", own, one_design=True),
    Setting("coefficients with heavy tails", heavy),
    Setting("each task has features of its own", own_features, tasks=15, rows=40),
)
RELATED = (
    Setting("a common direction", direction),
    Setting("a weak one, 60 tasks of 12 rows", weak_direction, tasks=60, rows=12, features=5),
    Setting("the same 2 of 8 features", same_features),
    Setting("the same 2 of 8 features, one design", same_features, one_design=True),
    Setting("the same 5 of 20 features, 4 tasks", same_features, tasks=4, features=20),
    Setting("a common plane", subspace, features=10),
    Setting("two groups of opposite sign", opposite),
    Setting("three groups", clusters, tasks=15),
    Setting("two groups of opposite sign, classes", opposite, rows=120, classes=True),
    Setting("a common direction, 4 tasks", direction, tasks=4),
)
KNOWN = (
    (Setting("unrelated", own, tasks=20, rows=40), "0 / 0 / 1"),
    (Setting("identical", lambda r, T, d: np.tile(own(r, 1, d), (T, 1)), tasks=20, rows=40),
     "1 / 0 / 0"),
    (Setting("half common", lambda r, T, d: (own(r, 1, d) + own(r, T, d)) / np.sqrt(2), tasks=20,
             rows=40), ".5 / 0 / .5"),
    (Setting("opposite", lambda r, T, d: np.outer(np.resize([1.0, -1.0], T), own(r, 1, d)),
             tasks=20, rows=40), "0 / 1 / 0"),
    (Setting("half common, 8 rows", lambda r, T, d: (own(r, 1, d) + own(r, T, d)) / np.sqrt(2),
             tasks=60, rows=8), ".5 / 0 / .5"),
    (Setting("opposite, 4 features, classes", lambda r, T, d: np.outer(
        np.resize([1.0, -1.0], T), own(r, 1, d)), tasks=8, rows=300, features=4, classes=True),
     "0 / 1 / 0"),
    (Setting("the same 2 of 8 features", same_features, tasks=20, rows=40), "0 / 0 / 1"),
)  # fmt: skip


def tested(s: Setting, seed: int, n: int) -> tuple[float, ...]:
    """Return the p-value and those of the aspects, without the rest of the answer."""
    data = collection(s, seed)
    names = tuple(f"x{j}" for j in range(data.n_features))
    slopes = slopes_of(data, np.asarray(data.y, dtype=float), names, seed)
    p_value, parts = sign_flip_test(slopes.of(slopes.informative), n, seed + 1)
    return tuple(round(p, 6) for p in (p_value, *parts.values()))


def shared(s: Setting, seed: int) -> tuple[float, ...]:
    """Return the shares and the effective number of tasks."""
    found = relatedness(collection(s, seed), n_permutations=9, random_state=seed, loss="squared")
    shares = found.shares
    values = shares.common, shares.clustered, shares.own, found.effective_tasks
    return tuple(round(value, 6) for value in values)


def run(kept: Kept, first: int, count: int, n: int) -> None:
    """Simulate what is not kept: a line of results for each kind of collection."""

    def all_of(how: Callable[..., Any], s: Setting, number: int, *more: int) -> list[Any]:
        return [how(s, seed, *more) for seed in range(first, first + number)]

    kept.title = "unrelated"
    for s in UNRELATED:
        kept.get(s.name, n, lambda s=s: [p for p, *_ in all_of(tested, s, count, n)])
    kept.title = "related"
    for s in RELATED:
        kept.get(s.name, n, partial(all_of, tested, s, count // 2, n))
    kept.title = "known"
    for s, _ in KNOWN:
        kept.get(s.name, n, partial(all_of, shared, s, count // 20))
    kept.title = "real"
    for name in REAL if os.environ.get("POLYTASK_DATA") else ():
        kept.get(name, 999, partial(real, name))


def real(name: str) -> list[Any]:
    """Return p-values, shares, numbers and sizes of groups, and seconds of a real set."""
    from _sets import load_set

    data: Any = load_set(name)
    begun = time.process_time()
    r = relatedness(data.X, data.y, task=data.task)
    seconds = time.process_time() - begun
    shares = [r.shares.common, r.shares.clustered, r.shares.own]
    numbers = [r.effective_tasks, r.level_share]
    groups = [len(group) for group in r.groups]
    return [r.n_informative, [r.p_value, *r.p_values.values()], shares, numbers, groups, seconds]


def tables(kept: Kept) -> dict[str, str]:
    """Return the tables of kept results."""
    known = kept.grouped()
    found: dict[str, list[list[object]]] = {title: [] for title in HEADS}
    for name, runs in known["unrelated"].items():
        ((n, line),) = runs.items()
        p = np.array(line)
        uniform = stats.kstest(p - 0.5 / (n + 1), "uniform").pvalue
        below = [f"{np.mean(p <= a):.3f}" for a in (0.05, 0.01)]
        found["unrelated"].append([name, f"{uniform:.2f}", *below, f"{p.mean():.2f}"])
    for name, runs in known["related"].items():
        power = np.mean(np.array(next(iter(runs.values()))) <= 0.05, axis=0)
        found["related"].append([name, *(f"{share:.2f}" for share in power)])
    for s, truth in KNOWN:
        values = np.array(next(iter(known["known"][s.name].values())))
        spread = zip(np.nanmean(values, axis=0), np.nanstd(values, axis=0), strict=True)
        *shares, effective = (f"{mean:.2f} ± {sd:.2f}" for mean, sd in spread)
        found["known"].append([s.name, truth, *shares, f"{effective} of {s.tasks}"])
    for name, runs in known.get("real", {}).items():
        n, p, shares, (effective, level), groups, seconds = next(iter(runs.values()))
        cells = [n, *(f"{v:.3f}" for v in p), *(f"{v:.2f}" for v in shares), f"{effective:.1f}"]
        between = "" if np.isnan(level) else f"{level:.2f}"
        told = ", ".join(map(str, groups)) or "none"
        found["real"].append([name, *cells, between, told, f"{seconds:.1f}"])
    return {title: table(HEADS[title], rows) for title, rows in found.items() if rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collections", type=int, default=600)
    parser.add_argument("--first", type=int, default=0, help="seed of the first collection")
    parser.add_argument("--permutations", type=int, default=99)
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    chosen = parser.parse_args()
    print(f"polytask {polytask.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, "
          f"Python {platform.python_version()}; {chosen.collections} collections, "
          f"{chosen.permutations} permutations\n")  # fmt: skip
    kept = Kept(chosen.keep)
    run(kept, chosen.first, chosen.collections, chosen.permutations)
    print("\n\n".join(tables(kept).values()))


if __name__ == "__main__":
    main()
