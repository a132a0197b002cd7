"""Write the saved models of the present version: ``python tests/saved_models/make.py``.

Run once before a release; the files of older versions stay as they are, so that
``test_saved_models.py`` shows that this version loads them. Each model has a JSON file beside it
with rows and what the model predicted for them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge

import polytask
from polytask import (
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    Pooled,
    SingleTask,
    save,
)
from polytask.penalties import L2, L21, TraceNorm, toward_mean

HERE = Path(__file__).parent
N, D = 36, 3


def rows(dtype=np.float64):
    rng = np.random.default_rng(20)
    X = rng.standard_normal((N, D)).astype(dtype)
    return (
        X,
        X[:, 0] - X[:, 1] + 0.1 * rng.standard_normal(N),
        np.array(["a", "b", "c"] * (N // 3)),
    )


def array(model, classes=False, dtype=np.float64):
    X, y, task = rows(dtype)
    if classes:  # task "a" lacks a class
        y = np.where(y > 0.7, "high", np.where(y > -0.7, "middle", "low"))
        y[(task == "a") & (y == "low")] = "middle"
    query = {"X": X[:9].tolist(), "dtype": X.dtype.name, "task": task[:9].tolist()}
    return model.fit(X, y, task=task), query


def targets(model):
    X, y, _ = rows()
    return model.fit(X, np.column_stack([y, y > 0])), {"X": X[:9].tolist(), "dtype": "float64"}


def table():
    X, y, task = rows()
    frame = pd.DataFrame({"年龄": np.where(X[:, 2] > 1, np.nan, X[:, 0]), "学校": task})
    frame["颜色"] = np.where(X[:, 1] > 0, "红", "蓝")
    model = MultiTaskRegressor(task_column="学校", standardize=True).fit(frame, y)
    head = frame.head(9)
    columns = {
        name: head[name].astype(object).where(head[name].notna(), None).tolist() for name in frame
    }
    return model, {"table": columns}


def models():
    """Return name: (fitted model, query)."""
    return {
        "regressor": array(MultiTaskRegressor(L21(0.05))),
        "float32": array(MultiTaskRegressor(TraceNorm(0.05)), dtype=np.float32),
        "classifier": array(MultiTaskClassifier(L2(0.1) + toward_mean(0.5)), classes=True),
        "mixed": targets(MultiTaskModel(L2(0.1), loss={0: "squared", 1: "logistic"})),
        "table": table(),
        "searched": array(MultiTaskRegressorCV([L2(), L21()], alphas=4, cv=3)),
        "single": array(SingleTask(LogisticRegression()), classes=True),
        "pooled": array(Pooled(Ridge(), "intercept")),
    }


def asked(model, query):
    """Return what the model says about the rows of a query."""
    if "table" in query:
        frame = pd.DataFrame(query["table"])
        return {"predict": np.asarray(model.predict(frame)).tolist()}
    X = np.array(query["X"], dtype=query["dtype"])
    said = {"predict": model.predict(X, task=query.get("task")).tolist()}
    if hasattr(model, "predict_proba"):
        proba = model.predict_proba(X, task=query.get("task"))
        parts = proba if isinstance(proba, list) else [proba]
        said["predict_proba"] = [None if part is None else part.tolist() for part in parts]
    return said


def main():
    """Write all files."""
    folder = HERE / ".".join(polytask.__version__.split(".")[:2])
    folder.mkdir(exist_ok=True)
    for name, (model, query) in models().items():
        save(model, folder / f"{name}.polytask")
        content = {"query": query, "said": asked(model, query)}
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
