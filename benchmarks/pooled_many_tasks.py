"""Pooled linear models with a column per task beside scikit-learn's on the same columns.

``python benchmarks/pooled_many_tasks.py``. Ten features, 20 rows per task, a level per task;
strengths searched by both on the same grid. The peers get the task as a sparse one-hot matrix, as
a user would give it: ``RidgeCV`` (leaving one row out), and ``LogisticRegressionCV`` with its
default solver on five folds, at its default accuracy and at one that is closer to the minimum.
"difference" is the largest of two predictions (numbers: in units of the noise; classes: of the log
odds).
``--largest N`` stops at N tasks; peers are not run beyond ``--peers N`` tasks.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy
import scipy.sparse as sp
import sklearn
from _kept import Kept
from _tables import table
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import StratifiedKFold

import polytask
from polytask import Pooled
from polytask.baselines import TunedLogistic, TunedRidge

SIZES = (100, 300, 1000, 3000, 10_000)
ROWS = 20
ALPHAS = tuple(float(a) for a in np.logspace(-3, 5, 25))
# The tolerance of the peer: for numbers it has none, for classes its default and a strict one.
TARGETS = {"numbers": None, "classes, tol=0.0001": 1e-4, "classes, tol=1e-08": 1e-8}
HEAD = ["target", "tasks", "rows", "polytask, CPU s", "scikit-learn, CPU s", "ratio", "difference"]
CS = tuple(float(c) for c in np.logspace(-4, 3, 10))
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows(n_tasks: int, classes: bool) -> Rows:
    """Return features, targets and the task of each row."""
    rng = np.random.default_rng(n_tasks)
    task = np.repeat(np.arange(n_tasks), ROWS)
    X = rng.standard_normal((len(task), 10))
    signal = X @ rng.standard_normal(10) / np.sqrt(10) + rng.standard_normal(n_tasks)[task]
    if classes:
        return X, (signal + rng.logistic(size=len(task)) > 0).astype(int), task
    return X, signal + rng.standard_normal(len(task)), task


def ours(data: Rows, classes: bool) -> np.ndarray:
    """Fit Pooled with the task as a category; return its linear predictor."""
    X, y, task = data
    model = Pooled(TunedLogistic() if classes else TunedRidge(ALPHAS), "category")
    model.fit(X, y, task=task)
    return np.asarray((model.decision_function if classes else model.predict)(X, task=task))


def theirs(data: Rows, tol: float | None) -> np.ndarray:
    """Fit scikit-learn on features and one-hot columns; return its linear predictor.

    `tol` is the tolerance of classes; None for numbers.
    """
    X, y, task = data
    hot = sp.csr_array((np.ones(len(task)), task, np.arange(len(task) + 1)))
    design = sp.hstack([sp.csr_array(X), hot], format="csr")
    if tol is None:
        return np.asarray(RidgeCV(ALPHAS).fit(design, y).predict(design))
    model = LogisticRegressionCV(
        Cs=CS,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        scoring="neg_log_loss",
        max_iter=10_000,
        tol=tol,
    )
    return np.asarray(model.fit(design, y).decision_function(design))


def timed(fit: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Return the predictor and the processor seconds."""
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fit()
    return found, time.process_time() - started


def measured(n_tasks: int, tol: float | None, peer: bool) -> list[float]:
    """Return the seconds of both and the largest difference; of polytask alone without a peer."""
    data = rows(n_tasks, tol is not None)
    own, seconds = timed(partial(ours, data, tol is not None))
    if not peer:
        return [seconds]
    other, longer = timed(partial(theirs, data, tol))
    return [seconds, longer, float(np.abs(own - other).max())]


def tables(kept: Kept) -> dict[str, str]:
    """Return the one table, of kept results."""
    lines = []
    for (target, size, _), (own, *peer) in kept.values.items():
        n_tasks = int(size)
        told = ["not run", "", ""]
        if peer:
            told = [f"{peer[0]:.2f}", f"{peer[0] / own:.1f}", f"{peer[1]:.0e}"]
        lines.append([target, f"{n_tasks:,}", f"{ROWS * n_tasks:,}", f"{own:.2f}", *told])
    return {"all": table(HEAD, lines)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--peers", type=int, default=3000)
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    chosen = parser.parse_args()
    print(
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, SciPy {scipy.__version__}, Python {platform.python_version()}\n"
    )
    kept = Kept(chosen.keep)
    for kept.title, tol in TARGETS.items():
        for n_tasks in (size for size in SIZES if size <= chosen.largest):
            kept.get(str(n_tasks), 0, partial(measured, n_tasks, tol, n_tasks <= chosen.peers))
    print(tables(kept)["all"])


if __name__ == "__main__":
    main()
