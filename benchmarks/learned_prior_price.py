"""What a parameter of the prior should cost: ``python benchmarks/learned_prior_price.py``.

Simulated tasks whose covariance is known to be none, scalar, diagonal, of rank one, or full. Every
structure is learned on every data set; a price then picks one by its log-likelihood less what
its parameters cost. The test error is exact, since the true coefficients are known: 1, the
variance of the noise, plus the squared distance of the coefficients. Figures are by how much it is
larger than that of the structure that is best in hindsight, in percent (100 times the log of
the ratio, so that no single data set decides a mean).
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

import polytask
from polytask import BayesianMultiTaskRegressor, ConvergenceWarning
from polytask.bayes import Diagonal, Full, LowRank, NoVariation, Scalar
from polytask.bayes.prior import Structure

TASKS, ROWS, FEATURES = (4, 15, 60, 240), (10, 40), (3, 10, 25)
TRUTHS = ("none", "scalar", "diagonal", "rank one", "full")
# Variance of what differs between tasks, relative to the noise, beside the intercept.
STRENGTHS = (0.1, 1.0)
LEVEL = 0.3
# Structures of no more parameters are always tried.
PLAIN = 2
# A full covariance of so many columns is learned with no more tasks than this: it is slow.
WIDE = 11


@dataclass(frozen=True)
class Case:
    """A line of the design."""

    tasks: int
    rows: int
    features: int
    truth: str
    strength: float


Price = Callable[[Case, Structure, int], float]


def capped(price: Price) -> Price:
    """Return a price that forbids anything rich with more parameters and means than rows."""

    def capped_price(case: Case, structure: Structure, q: int) -> float:
        k = structure.n_parameters(q)
        fits = k <= PLAIN or k + q <= case.tasks * case.rows
        return price(case, structure, q) if fits else np.inf

    return capped_price


def by_rows(case: Case, structure: Structure, q: int) -> float:
    """Return the price by the number of rows."""
    return structure.price(q, case.tasks * case.rows)


def by_tasks(case: Case, structure: Structure, q: int) -> float:
    """Return the price by the number of tasks."""
    return structure.price(q, case.tasks)


PRICES: dict[str, Price] = {
    "rows, capped": capped(by_rows),
    "rows": by_rows,
    "tasks, capped": capped(by_tasks),
    "tasks": by_tasks,
    "one each": lambda case, structure, q: float(structure.n_parameters(q)),
    "nothing": lambda case, structure, q: 0.0,
}


def cases(tasks: Sequence[int]) -> Iterator[Case]:
    """Yield the design; without variation there is no strength."""
    for T, n, d, truth in itertools.product(tasks, ROWS, FEATURES, TRUTHS):
        for strength in STRENGTHS if truth != "none" else (0.0,):
            yield Case(T, n, d, truth, strength)


def root_of(case: Case, rng: np.random.Generator) -> np.ndarray:
    """Return a factor of the covariance of the features' coefficients, of trace `strength`."""
    d = case.features
    own = np.where(np.arange(d) % 2 == 0, rng.lognormal(0.0, 1.0, d), 0.0)
    direction = np.column_stack([rng.standard_normal(d), 0.3 * np.eye(d)])
    factors = {
        "none": np.zeros((d, d)),
        "scalar": np.eye(d),
        "diagonal": np.diag(np.sqrt(own)),
        "rank one": direction,
        "full": rng.standard_normal((d, d + 2)),
    }
    factor = factors[case.truth]
    size = float(np.sqrt(np.sum(factor**2)))
    return factor if size == 0.0 else factor * np.sqrt(case.strength) / size


def structures(case: Case) -> list[Structure]:
    """Return what may be learned; as in "auto" no more parameters than contrasts of tasks."""
    q = case.features + 1
    tried: list[Structure] = [NoVariation(), Scalar(), Diagonal()]
    tried += [LowRank(1), LowRank(2)] if q > 3 else []
    tried += [Full(), Full(shrinkage=float(q))] if q <= WIDE or case.tasks <= 60 else []
    return [s for s in tried if s.n_parameters(q) <= max(q * (case.tasks - 1), 2)]


@dataclass(frozen=True)
class Found:
    """One structure on one data set: its log-likelihood with any prior, and its test error."""

    structure: Structure
    value: float
    error: float


def learned(case: Case, seed: int) -> list[Found]:
    """Learn every structure on a data set."""
    rng = np.random.default_rng(seed)
    T, d = case.tasks, case.features
    root = root_of(case, rng)
    mean = rng.standard_normal(d) / np.sqrt(d)
    W = mean + rng.standard_normal((T, root.shape[1])) @ root.T
    level = np.sqrt(LEVEL) * rng.standard_normal(T)
    task = np.repeat(np.arange(T), case.rows)
    X = rng.standard_normal((len(task), d))
    y = np.sum(X * W[task], axis=1) + level[task] + rng.standard_normal(len(task))
    found = []
    for structure in structures(case):
        model = BayesianMultiTaskRegressor(structure).fit(X, y, task=task)
        size = structure.n_parameters(d + 1)
        prior, _ = structure.log_prior(model._learned.params[:size], d + 1)
        away = np.sum((model.coef_ - W) ** 2, axis=1) + (model.intercept_ - level) ** 2
        value = model.log_marginal_likelihood_ + prior
        found.append(Found(structure, float(value), 1.0 + float(np.mean(away))))
    return found


def excess(case: Case, found: list[Found]) -> dict[str, float]:
    """Return for every price by how much its choice is worse than the best, in percent of logs."""
    best, q = min(entry.error for entry in found), case.features + 1
    out = {}
    for name, price in PRICES.items():
        pick = max(found, key=lambda entry: entry.value - price(case, entry.structure, q))
        out[name] = 100.0 * float(np.log(pick.error / best))
    return out


def show(
    title: str, part: Callable[[Case], object], results: dict[Case, list[dict[str, float]]]
) -> None:
    """Print the mean excess of every price by some part of the design."""
    print(f"\n| {title} | " + " | ".join(PRICES) + " | rows less tasks (se) |")
    print("|" + "---|" * (len(PRICES) + 2))
    for key in dict.fromkeys(part(case) for case in results):
        lines = [line for case in results if part(case) == key for line in results[case]]
        gap = np.array([line["rows"] - line["tasks"] for line in lines])
        cells = [f"{np.mean([line[price] for line in lines]):.2f}" for price in PRICES]
        error = gap.std(ddof=1) / np.sqrt(len(gap))
        print(f"| {key} | {' | '.join(cells)} | {gap.mean():+.2f} ({error:.2f}) |")
    sys.stdout.flush()


def show_tails(results: dict[Case, list[dict[str, float]]]) -> None:
    """Print how often a price is far from the best structure, by number of tasks."""
    print("\n| share of data sets beyond 10 | " + " | ".join(PRICES) + " |")
    print("|" + "---|" * (len(PRICES) + 1))
    for T in dict.fromkeys(case.tasks for case in results):
        lines = [line for case in results if case.tasks == T for line in results[case]]
        shares = [np.mean([line[price] > 10.0 for line in lines]) for price in PRICES]
        print(f"| {T} tasks | " + " | ".join(f"{share:.3f}" for share in shares) + " |")


def run(seeds: range, tasks: Sequence[int], keep: Path) -> dict[tuple[Case, int], list[Found]]:
    """Learn on every data set that the file does not have yet."""
    known = {}
    for line in keep.read_text(encoding="utf-8").splitlines() if keep.exists() else []:
        case, seed, found = json.loads(line)
        entries = [Found(*pair) for pair in zip(structures(Case(*case)), *found, strict=True)]
        known[Case(*case), seed] = entries
    with keep.open("a", encoding="utf-8") as file:
        for seed, case in itertools.product(seeds, cases(tasks)):
            if (case, seed) not in known:
                known[case, seed] = found = learned(case, seed)
                values, errors = [f.value for f in found], [f.error for f in found]
                file.write(json.dumps([astuple(case), seed, [values, errors]]) + "\n")
                file.flush()
    return {key: f for key, f in known.items() if key[1] in seeds and key[0].tasks in tasks}


PARTS: dict[str, Callable[[Case], object]] = {
    "all": lambda case: "",
    "truth": lambda case: case.truth,
    "tasks": lambda case: case.tasks,
    "rows per task": lambda case: case.rows,
    "features": lambda case: case.features,
    "strength": lambda case: case.strength,
    "tasks, rows per task": lambda case: f"{case.tasks}, {case.rows}",
    "tasks, features": lambda case: f"{case.tasks}, {case.features}",
    "tasks, truth": lambda case: f"{case.tasks}, {case.truth}",
}


def main() -> None:
    """Run the design and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="data sets of every line")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--tasks", type=int, nargs="+", default=TASKS, help="numbers of tasks")
    parser.add_argument("--keep", type=Path, default=Path("learned_prior_price.jsonl"))
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    results: dict[Case, list[dict[str, float]]] = {}
    seeds = range(given.first, given.first + given.seeds)
    for (case, _), found in run(seeds, given.tasks, given.keep).items():
        results.setdefault(case, []).append(excess(case, found))
    count = sum(len(lines) for lines in results.values())
    print(f"polytask {polytask.__version__}, numpy {np.__version__}, Python ", end="")
    print(f"{platform.python_version()}; {count} data sets")
    for title, part in PARTS.items():
        show(title, part, results)
    show_tails(results)


if __name__ == "__main__":
    main()
