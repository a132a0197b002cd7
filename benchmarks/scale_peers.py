"""Tables in parts beside what people use for them: ``python benchmarks/scale_peers.py``.

The tables are those of `scale.py`: 20 features, 1,000 tasks that are related, a noise of variance
1. The last part is held out. Every program reads the same Parquet file in a process of its own,
with one thread: polytask's learned prior, and least squares of every task alone, each from
`collect_parts`; scikit-learn's `SGDRegressor.partial_fit`, one model per task (once and five times
through the file) and one for all; dask-ml's `LinearRegression` of all rows, and `xgboost.dask`
with the task as a category. Peers that need Dask live in an environment of their own, which is
made at the first run.

Excess: held-out mean squared error less the variance of the noise, which no model can avoid.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

FEATURES, TASKS = 20, 1000
NAMES = [f"x{j}" for j in range(FEATURES)]
PEERS = ("dask-ml", "xgboost-cpu", "dask", "distributed", "pyarrow", "pandas", "scikit-learn")
Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


def parts(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield features, tasks and targets, a part at a time."""
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        for batch in file.iter_batches(200_000, row_groups=[group]):
            X = np.column_stack([batch.column(name).to_numpy() for name in NAMES])
            yield X, batch.column("task").to_numpy(), batch.column("y").to_numpy()


def of_statistics(make: Callable[[], Any]) -> Callable[[Path], Predict]:
    """Return how a model of polytask is fitted to statistics in parts."""

    def fit(path: Path) -> Predict:
        from polytask.statistics import collect_parts

        model = make().fit(collect_parts(path, "y", task_column="task"))
        return lambda X, task: np.asarray(
            model.predict(pd.DataFrame(X, columns=NAMES).assign(task=task))
        )

    return fit


def learned_prior() -> Any:
    """Return the model with a learned prior."""
    from polytask import BayesianMultiTaskRegressor

    return BayesianMultiTaskRegressor()


def alone() -> Any:
    """Return least squares of every task alone."""
    from sklearn.linear_model import LinearRegression

    from polytask.baselines import SingleTask

    return SingleTask(LinearRegression())


def sgd_per_task(passes: int) -> Callable[[Path], Predict]:
    """Return how scikit-learn fits one model per task, so many times through the file."""

    def fit(path: Path) -> Predict:
        from sklearn.linear_model import SGDRegressor

        models = [SGDRegressor(random_state=0) for _ in range(TASKS)]
        for _ in range(passes):
            for X, task, y in parts(path):
                order = np.argsort(task, kind="stable")
                ends = np.cumsum(np.bincount(task, minlength=TASKS))
                for k, rows in enumerate(np.split(order, ends[:-1])):
                    if len(rows):
                        models[k].partial_fit(X[rows], y[rows])
        coef = np.array([model.coef_ for model in models])
        intercept = np.array([model.intercept_[0] for model in models])
        return lambda X, task: np.einsum("ij,ij->i", X, coef[task]) + intercept[task]

    return fit


def sgd_pooled(path: Path) -> Predict:
    """Fit scikit-learn's model of all rows."""
    from sklearn.linear_model import SGDRegressor

    model = SGDRegressor(random_state=0)
    for X, _, y in parts(path):
        model.partial_fit(X, y)
    return lambda X, _: np.asarray(model.predict(X))


def dask_ml(path: Path) -> Predict:
    """Fit the linear regression of dask-ml to all rows."""
    import dask
    import dask.dataframe as dd
    from dask_ml.linear_model import LinearRegression

    with dask.config.set(scheduler="synchronous"):
        frame = dd.read_parquet(path, split_row_groups=True, columns=[*NAMES, "y"])
        rows = frame.to_dask_array(lengths=True)
        model = LinearRegression(solver="lbfgs").fit(rows[:, :-1], rows[:, -1])
    coef, intercept = np.asarray(model.coef_), float(model.intercept_)
    return lambda X, _: X @ coef + intercept


def xgboost_dask(path: Path) -> Predict:
    """Boost trees of all rows, the task a category, by workers of one thread."""
    import dask.dataframe as dd
    import xgboost
    import xgboost.dask as boosted
    from distributed import Client, LocalCluster

    kinds = pd.CategoricalDtype(pd.RangeIndex(TASKS))
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        # Without persist() columns that are read apart have partitions of their own.
        frame = dd.read_parquet(path, split_row_groups=True).persist()
        X = frame[[*NAMES, "task"]].astype({"task": kinds})
        data = boosted.DaskQuantileDMatrix(client, X, frame["y"], enable_categorical=True)
        settings = {"tree_method": "hist", "nthread": 1, "max_depth": 8, "eta": 0.1}
        booster = boosted.train(client, settings, data, num_boost_round=200)["booster"]

    def predict(X: np.ndarray, task: np.ndarray) -> np.ndarray:
        table = pd.DataFrame(X, columns=NAMES).assign(task=pd.Categorical(task, dtype=kinds))
        return np.asarray(booster.predict(xgboost.DMatrix(table, enable_categorical=True)))

    return predict


HERE: dict[str, Callable[[Path], Predict]] = {
    "polytask, learned prior": of_statistics(learned_prior),
    "polytask, every task alone": of_statistics(alone),
    "SGDRegressor per task, 1 pass": sgd_per_task(1),
    "SGDRegressor per task, 5 passes": sgd_per_task(5),
    "SGDRegressor of all rows": sgd_pooled,
}
THERE: dict[str, Callable[[Path], Predict]] = {
    "dask-ml LinearRegression of all rows": dask_ml,
    "xgboost.dask, task a category": xgboost_dask,
}


def run(name: str, path: Path) -> None:
    """Fit one program here, and print what it took and how it predicts."""
    wall = time.perf_counter()
    predict = (HERE | THERE)[name](path)
    took = time.perf_counter() - wall
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(use.ru_utime + use.ru_stime for use in (own, children))
    ((X, task, y),) = parts(path.with_suffix(".test.parquet"))
    error = float(np.mean((y - predict(X, task)) ** 2))
    memory = max(own.ru_maxrss, children.ru_maxrss) / 1024**2
    print(json.dumps({"wall": took, "cpu": cpu, "memory": memory, "excess": error - 1.0,
                      "R2": 1 - error / float(np.var(y))}))  # fmt: skip


def write(path: Path, rows: int) -> None:
    """Write rows to learn from, and 200,000 more of the same tasks to test on."""
    import scale

    whole = path.with_suffix(".all.parquet")
    scale.write(whole, rows + 200_000)
    table = pq.read_table(whole)
    pq.write_table(table.slice(0, rows), path, compression="none", row_group_size=200_000)
    pq.write_table(table.slice(rows), path.with_suffix(".test.parquet"), row_group_size=200_000)
    whole.unlink()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e5, 2e6])
    parser.add_argument("--keep", type=Path, default=Path("scale"))
    parser.add_argument("--program", choices=[*HERE, *THERE])
    parser.add_argument("--file", type=Path)
    given = parser.parse_args()
    if given.program:
        run(given.program, given.file)
        return
    sys.path.append(str(Path(__file__).parent / "speed"))
    from environments import Environment, python_of, versions

    given.keep.mkdir(exist_ok=True)
    there = python_of(Environment("scale", PEERS, required=True), given.keep)
    assert there is not None
    print(versions(Path(sys.executable), ("polytask", "scikit-learn", "numpy", "pyarrow")))
    print(versions(there, PEERS))
    print("| rows | program | wall s | CPU s | memory GB | R2 | excess |")
    print("|---|---|---|---|---|---|---|")
    for rows in given.rows:
        path = given.keep / f"peers_{int(rows)}.parquet"
        if not path.exists():
            # What this process held would count as held by those that it starts.
            writer = multiprocessing.get_context("spawn").Process(
                target=write, args=(path, int(rows))
            )
            writer.start()
            writer.join()
        for name in [*HERE, *THERE]:
            python = sys.executable if name in HERE else there
            command = [str(python), __file__, "--program", name, "--file", str(path)]
            found = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
            seconds = f"{found['wall']:.1f} | {found['cpu']:.1f} | {found['memory']:.2f}"
            quality = f"{found['R2']:.4f} | {found['excess']:.4f}"
            print(f"| {int(rows):,} | {name} | {seconds} | {quality} |", flush=True)


if __name__ == "__main__":
    main()
