"""Modalities that are missing as a whole: ``python benchmarks/missing_blocks.py``.

Three tasks with three modalities (10, 20 and 30 features) and four features that all rows have.
All tasks use the same tenth of the features, with coefficients that differ a little; all
features share two factors, so that one modality can stand in for another in part; the noise is
half the size of the signal. Every row lacks each modality with probability 0.4, but not all three,
in training as in the 500 test rows of each task; test rows whose gaps no training row of their
task has are left out.

Two worlds: gaps by chance, with one relation for all rows; and gaps that tell something, as when
a scan is made of those who are worse: every combination of modalities has a level of its own, and
coefficients that differ by seven tenths of their size (standard deviation). All methods but
the ridges search ten strengths of two penalties, near the mean and the same features, with three
folds. Columns are training rows per task, of which about a fifth are complete.

Tables show R2 on the test rows, the mean over draws and its standard error, and processor seconds
of a fit with its predictions. ``--draws 5`` sets the number of draws.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import shlex
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import sklearn
from _kept import Kept
from _tables import table
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer

import polytask
from polytask import MissingBlocks, MultiTaskRegressorCV, SingleTask
from polytask.baselines import TunedRidge
from polytask.penalties import L2, L21, toward_mean

SIZES, ALWAYS, TASKS = (10, 20, 30), 4, 3
TRAINING, TEST = (60, 200, 600), 500
SHARE, OTHER = 0.4, 0.7
WORLDS = {"Gaps by chance": False, "Gaps that tell something": True}
ENDS = np.cumsum((ALWAYS, *SIZES))
GROUPS = {f"modality {k}": list(range(a, b)) for k, (a, b) in enumerate(itertools.pairwise(ENDS))}
CODES = 2 ** np.arange(len(SIZES))
Rng = np.random.Generator
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class World:
    """What the rows are drawn from: by feature and task, by factor, and by combination of gaps."""

    coefficients: np.ndarray
    loads: np.ndarray
    factors: np.ndarray
    levels: np.ndarray

    def rows(self, rng: Rng, n: int) -> Rows:
        """Draw X with gaps, y and task, n rows per task."""
        task = np.repeat(np.arange(TASKS), n)
        lacks = rng.random((len(task), len(SIZES))) < SHARE
        lacks[np.arange(len(task)), rng.integers(len(SIZES), size=len(task))] &= ~lacks.all(axis=1)
        X = rng.standard_normal((len(task), len(self.coefficients)))
        X += rng.standard_normal((len(task), len(self.loads))) @ self.loads
        own = self.coefficients[:, task].T * self.factors[lacks @ CODES]
        signal = np.sum(X * own, axis=1) + self.levels[lacks @ CODES]
        y = signal + 0.5 * signal.std() * rng.standard_normal(len(task)) + task
        for k, columns in enumerate(GROUPS.values()):
            X[np.ix_(lacks[:, k], columns)] = np.nan
        return X, y, task


def draw_world(rng: Rng, gaps_tell: bool) -> World:
    """Draw coefficients."""
    d, n_gaps = int(ENDS[-1]), 2 ** len(SIZES)
    used = [rng.choice(columns, len(columns) // 10, False) for columns in GROUPS.values()]
    used.append(rng.integers(ALWAYS, size=1))
    W = np.zeros((d, TASKS))
    for j in np.concatenate(used):
        W[j] = rng.standard_normal() + 0.3 * rng.standard_normal(TASKS)
    size = OTHER if gaps_tell else 0.0
    factors = 1 + size * rng.standard_normal((n_gaps, d))
    levels = rng.standard_normal(n_gaps) if gaps_tell else np.zeros(n_gaps)
    return World(W, rng.standard_normal((2, d)), factors, levels)


def draw(seed: int, n_rows: int, gaps_tell: bool) -> tuple[Rows, Rows]:
    """Draw training and test rows."""
    rng = np.random.default_rng([seed, n_rows])
    world = draw_world(rng, gaps_tell)
    train, test = world.rows(rng, n_rows), world.rows(rng, TEST)
    known = np.isin(_pattern(test), _pattern(train))
    return train, tuple(part[known] for part in test)


def _pattern(rows: Rows) -> np.ndarray:
    """Return a number for the task and the gaps of every row."""
    lacks = np.isnan(rows[0][:, [columns[0] for columns in GROUPS.values()]])
    return rows[2] * 2 ** len(SIZES) + lacks @ CODES


def _search() -> Any:
    # Task weights and the pull of intercepts are the same for all, and not searched.
    return MultiTaskRegressorCV(
        [toward_mean(1.0) + L2(0.1), L21()],
        alphas=10,
        cv=3,
        task_weight="size",
        intercept_strength=1.0,
    )


def _blocks(estimator: Any) -> Callable[[Rows, Rows], np.ndarray]:
    def predict(train: Rows, test: Rows) -> np.ndarray:
        X, y, task = train
        model = MissingBlocks(estimator, GROUPS).fit(X, y, task=task)
        return model.predict(test[0], task=test[2])

    return predict


def _imputed(imputer: Any) -> Callable[[Rows, Rows], np.ndarray]:
    def predict(train: Rows, test: Rows) -> np.ndarray:
        X, y, task = train
        filler = imputer.fit(X)
        model = _search().fit(filler.transform(X), y, task=task)
        return model.predict(filler.transform(test[0]), task=test[2])

    return predict


def _complete_cases(train: Rows, test: Rows) -> np.ndarray:
    """Fit the complete rows; a gap to predict is filled with their mean."""
    X, y, task = train
    kept = ~np.isnan(X).any(axis=1)
    filler = SimpleImputer().fit(X[kept])
    model = _search().fit(X[kept], y[kept], task=task[kept])
    return model.predict(filler.transform(test[0]), task=test[2])


def _always_there(train: Rows, test: Rows) -> np.ndarray:
    X, y, task = train
    model = _search().fit(X[:, :ALWAYS], y, task=task)
    return model.predict(test[0][:, :ALWAYS], task=test[2])


METHODS: dict[str, Callable[[Rows, Rows], np.ndarray]] = {
    "MissingBlocks": _blocks(_search()),
    "a ridge per task and combination": _blocks(SingleTask(TunedRidge(cv=5))),
    "mean imputation": _imputed(SimpleImputer()),
    "mean imputation and flags": _imputed(SimpleImputer(add_indicator=True)),
    "iterative imputation": _imputed(IterativeImputer(max_iter=5)),
    "complete cases": _complete_cases,
    "features that all rows have": _always_there,
}


def _score(
    train: Rows, test: Rows, method: Callable[[Rows, Rows], np.ndarray]
) -> tuple[float, float]:
    started = time.process_time()
    with warnings.catch_warnings():
        # A few rounds of the imputation are not its fixed point.
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        predicted = method(train, test)
    seconds = time.process_time() - started
    y = test[1]
    return 1 - float(np.mean((y - predicted) ** 2) / np.var(y)), seconds


def tables(kept: Kept) -> dict[str, str]:
    """Return the tables of both worlds and of the seconds, of kept results."""
    head, found = ["method", *(f"{n} rows" for n in TRAINING)], {}
    known = kept.grouped()
    for title in WORLDS:
        lines = []
        for name in METHODS:
            runs = [np.array([*known[title][f"{name}, {n}"].values()])[:, 0] for n in TRAINING]
            spreads = [own.std() / np.sqrt(max(len(own) - 1, 1)) for own in runs]
            told = zip(runs, spreads, strict=True)
            lines.append([name, *(f"{own.mean():.3f} ({spread:.3f})" for own, spread in told)])
        found[title] = table(head, lines)
    lines = []
    for name in METHODS:
        runs = [[*known[title][f"{name}, {n}"].values()] for n in TRAINING for title in WORLDS]
        seconds = np.array(runs)[..., 1].reshape(len(TRAINING), -1).mean(axis=1)
        lines.append([name, *(f"{taken:.1f}" for taken in seconds)])
    return found | {"Seconds": table(head, lines)}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    given = parser.parse_args()
    print("# Modalities that are missing as a whole\n")
    print(f"Command: `python {shlex.join(sys.argv)}`, 2 cores, {_versions()}\n")
    print("\n\n".join(__doc__.partition("\n\n")[2].partition(" ``--draws")[0].split("\n\n")))
    kept = Kept(given.keep)
    for kept.title, gaps_tell in WORLDS.items():
        for n, (name, method) in itertools.product(TRAINING, METHODS.items()):
            for seed in range(given.draws):
                run = partial(_score, *draw(seed, n, gaps_tell), method)
                kept.get(f"{name}, {n}", seed, run)
    for title, text in tables(kept).items():
        print(f"\n## {title}\n\n{text}")


def _versions() -> str:
    ours, theirs = polytask.__version__, sklearn.__version__
    return f"polytask {ours}, scikit-learn {theirs}, numpy {np.__version__}, Python " + (
        platform.python_version()
    )


if __name__ == "__main__":
    main()
