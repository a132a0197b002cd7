"""How equal ONNX graphs are, and what one row costs: ``python benchmarks/serving.py``.

Every model is fitted on the wages of ``load_wages`` (a table with a column of text, of which the
first 30 tasks are taken), or on a matrix of drawn targets; its graph is run by onnxruntime on the
rows of training. The difference is the largest one between what the graph and the model say: of
numbers in standard deviations of the target, else of a probability. Times are CPU milliseconds
for one row, the median of 100 calls; sizes those of the file.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import sklearn
from _kept import Kept
from _tables import table
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask as pt
from polytask.datasets import load_wages
from polytask.deep import MLP, DeepMultiTaskRegressor, sharing
from polytask.export import onnx_inputs, to_onnx

_TASKS, _CALLS = 30, 100
ARRAYS = "one row of an array, 50 tasks, 20 features"
TASK, TARGET = "woman", "log_wage"


def models() -> Iterator[tuple[str, Any, bool]]:
    """Yield name, model, and whether it is of classes."""
    trees = HistGradientBoostingRegressor(random_state=0)
    classes = HistGradientBoostingClassifier(random_state=0)
    yield "MultiTaskRegressor", pt.MultiTaskRegressor(), False
    yield "MultiTaskRegressorCV", pt.MultiTaskRegressorCV(alphas=5, cv=2), False
    yield "BayesianMultiTaskRegressor", pt.BayesianMultiTaskRegressor("scalar"), False
    yield "Pooled, scaled Ridge", pt.Pooled(make_pipeline(StandardScaler(), Ridge())), False
    yield "Pooled, Ridge, intercepts", pt.Pooled(Ridge(), "intercept"), False
    yield "SingleTask, Ridge", pt.SingleTask(Ridge()), False
    yield "Pooled, histogram boosting", pt.Pooled(trees, "category"), False
    yield "SingleTask, forest", pt.SingleTask(RandomForestRegressor(20, random_state=0)), False
    names = ["pooled + intercepts", "separate", "boosting pooled"]
    yield "AutoMultiTaskRegressor", pt.AutoMultiTaskRegressor(names, cv=2), False
    net = DeepMultiTaskRegressor(MLP((64, 64)), max_epochs=10, random_state=0)
    yield "network, hard sharing", net, False
    mixture = DeepMultiTaskRegressor(MLP((32,)), sharing=sharing.MMoE(3), max_epochs=10)
    yield "network, experts", mixture.set_params(random_state=0), False
    own = DeepMultiTaskRegressor(MLP((32, 32)), sharing=sharing.PLE(), max_epochs=10)
    yield "network, levels of experts", own.set_params(random_state=0), False
    yield "MultiTaskClassifier", pt.MultiTaskClassifier(), True
    yield "BayesianMultiTaskClassifier", pt.BayesianMultiTaskClassifier("scalar"), True
    yield "SingleTask, logistic", pt.SingleTask(LogisticRegression(max_iter=2000)), True
    yield "Pooled, boosted classes", pt.Pooled(classes, "category"), True


def forms() -> Iterator[tuple[str, Any, Any]]:
    """Yield the name of a form of the data, X and y."""
    table = load_wages().frame()
    table = table[table[TASK].isin(table[TASK].unique()[:_TASKS])].reset_index(drop=True)
    X, y = table.drop(columns=TARGET), table[TARGET].to_numpy()
    X.loc[::17, "tenure"] = np.nan
    yield "long, table", X, y
    frames = {name: part.drop(columns=TASK) for name, part in X.groupby(TASK)}
    yield "frames of tasks", frames, {n: y[part.index] for n, part in frames.items()}
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((600, 8))
    W = rng.standard_normal((8, 1)) + 0.5 * rng.standard_normal((8, 6))
    yield "target matrix", Z, Z @ W + rng.standard_normal((600, 6))


def fit(model: Any, X: Any, y: Any, classes: bool) -> Any:
    """Fit a model; of classes whether a target is above its median."""
    if isinstance(X, dict):
        middle = np.median(np.concatenate([*y.values()]))
        return model.fit({n: (X[n], own > middle if classes else own) for n, own in y.items()})
    target = (y > np.median(y, axis=0)).astype(int) if classes else y
    column = TASK if isinstance(X, pd.DataFrame) else None
    return model.set_params(task_column=column).fit(X, target)


def milliseconds(call: Callable[[], object]) -> float:
    """Return the median CPU time of a call."""
    times = []
    for _ in range(_CALLS):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return 1000 * float(np.median(times))


def one_row(X: Any) -> Any:
    """Return the first row as `predict` takes it."""
    if isinstance(X, dict):
        name = next(iter(X))
        return {name: X[name].head(1)}
    return X.head(1) if isinstance(X, pd.DataFrame) else X[:1]


def measured(model: Any, classes: bool, X: Any, y: Any) -> list[float]:
    """Return the largest difference, CPU milliseconds of model and graph, and bytes."""
    model = fit(model, X, y, classes)
    graph = to_onnx(model).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options)
    feed = onnx_inputs(model, X)
    outputs = [one.name for one in session.get_outputs()]
    found = dict(zip(outputs, session.run(None, feed), strict=True))
    wanted = model.predict_proba(X) if classes else model.predict(X)
    parts = [*wanted.values()] if isinstance(wanted, dict) else [wanted]
    if isinstance(wanted, list):
        pairs = [(found[f"probabilities_{t}"], own) for t, own in enumerate(wanted)]
    else:
        pairs = [(found["probabilities" if classes else "prediction"], np.concatenate(parts))]
    scale = 1.0 if classes or isinstance(y, dict) else float(np.std(y))
    difference = max(float(np.max(np.abs(a - b))) for a, b in pairs) / scale
    row = one_row(X)
    single = onnx_inputs(model, row)
    own = milliseconds(lambda: (model.predict_proba if classes else model.predict)(row))
    ran = milliseconds(lambda: session.run(None, single))
    return [difference, own, ran, len(graph)]


def arrays() -> dict[str, Callable[[], object]]:
    """Return predictions of one row by models of arrays, which encode nothing."""
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((2000, 20)), np.arange(2000) % 50
    model = pt.MultiTaskRegressor().fit(X, X[:, 0] + rng.standard_normal(2000), task=task)
    plain, row = Ridge().fit(X, X[:, 0]), X[:1]
    return {
        "`predict(array, task=[...])`": lambda: model.predict(row, [7]),
        "`Ridge().predict(array)` of scikit-learn": lambda: plain.predict(row),
    }


def tables(kept: Kept) -> dict[str, str]:
    """Return the tables of arrays and of graphs, of kept results."""
    known = kept.grouped()
    one_row = [[name, f"{took[0][0]:.3f}"] for name, took in known.pop(ARRAYS).items()]
    lines = [
        [name, form, f"{difference:.1e}", f"{own:.2f}", f"{ran:.3f}", f"{size / 1024:,.0f}"]
        for form, runs in known.items()
        for name, ((difference, own, ran, size),) in ((n, r.values()) for n, r in runs.items())
    ]
    head = ["model", "data", "largest difference", "predict, ms", "graph, ms", "file, KB"]
    return {"arrays": table([ARRAYS, "CPU ms"], one_row), "graphs": table(head, lines)}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    kept = Kept(parser.parse_args().keep, ARRAYS)
    warnings.simplefilter("ignore")
    print(f"polytask {pt.__version__}, onnxruntime {onnxruntime.__version__}, ", end="")
    print(f"scikit-learn {sklearn.__version__}, Python {platform.python_version()}\n")
    for name, call in arrays().items():
        kept.get(name, 0, lambda call=call: [milliseconds(call)])
    for kept.title, X, y in forms():
        for name, model, classes in models():
            kept.get(name, 0, partial(measured, model, classes, X, y))
    print("\n\n".join(tables(kept).values()))


if __name__ == "__main__":
    main()
