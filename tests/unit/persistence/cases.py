"""Small fitted models of every kind, each with rows to predict."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import scipy.sparse as sp

from polytask import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor
from polytask.data import TaskData
from polytask.penalties import L2, L21, TraceNorm, toward_mean
from polytask.solvers import Newton

N, D = 60, 4


def rows(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D)).astype(dtype)
    return X, X[:, 0] - X[:, 1] + 0.1 * rng.standard_normal(N), rng


def tasks(labels):
    return np.array([labels[i % len(labels)] for i in range(N)], dtype=object)


def long(labels=("a", "b", "c"), **params):
    X, y, _ = rows()
    t = tasks(labels)
    return MultiTaskRegressor(**params).fit(X, y, task=t), {"X": X, "task": t}


def float32():
    X, y, _ = rows(dtype=np.float32)
    t = tasks([1, 2])
    return MultiTaskRegressor().fit(X, y, task=t), {"X": X, "task": t}


def sparse():
    X, y, _ = rows()
    X = sp.csr_array(np.where(abs(X) > 0.5, X, 0.0))
    t = tasks(["a", "b"])
    return MultiTaskRegressor(standardize=True).fit(X, y, task=t), {"X": X, "task": t}


def targets():
    X, y, rng = rows()
    Y = np.column_stack([y, -y, y + X[:, 2]])
    Y[rng.random(Y.shape) < 0.2] = np.nan
    return MultiTaskRegressor(TraceNorm(0.1)).fit(X, Y), {"X": X}


def table(seed=0, n=N):
    rng = np.random.default_rng(seed)
    colour = rng.choice(["红", "蓝", "绿"], n)
    age = np.where(rng.random(n) < 0.2, np.nan, rng.normal(40, 9, n))
    school = rng.choice(["一中", "二中", "三中"], n)
    y = np.nan_to_num(age, nan=40) / 9 + (colour == "红") + rng.normal(0, 0.1, n)
    return pd.DataFrame({"颜色": colour, "年龄": age, "学校": school, "分数": y})


def from_table():
    frame = table()
    X = frame.drop(columns="分数")
    model = MultiTaskRegressor(task_column="学校", standardize=True).fit(X, frame["分数"])
    return model, {"X": X}


def separate():
    frames = {name: table(seed, 30).drop(columns="学校") for seed, name in enumerate("AB")}
    frames["C"] = table(9, 30).drop(columns=["学校", "年龄"])
    data = {k: (f.drop(columns="分数"), f["分数"].to_numpy()) for k, f in frames.items()}
    model = MultiTaskRegressor().fit(data)
    return model, {"X": {k: X for k, (X, _) in data.items()}}


def classes(kind):
    X, y, _ = rows()
    names = {
        "text": ["no", "yes", "maybe"],
        "int": [3, 1, 2],
        "float": [1.0, 2.0, 4.0],
        "bool": [False, True],
    }[kind]
    target = np.array([names[int(v)] for v in np.digitize(y, np.linspace(-1, 1, len(names) - 1))])
    t = tasks(["a", "b"])
    if kind == "text":  # a task that lacks a class
        target[(t == "b") & (target == "maybe")] = "yes"
    return MultiTaskClassifier(L2(0.1) + toward_mean(1.0)).fit(X, target, task=t), {
        "X": X,
        "task": t,
    }


def target_classes():
    X, y, _ = rows()
    Y = np.column_stack([y > 0, X[:, 2] > 0]).astype(int)
    return MultiTaskClassifier(L21(0.01)).fit(X, Y), {"X": X}


def mixed():
    X, y, _ = rows()
    Y = np.column_stack([y, (y > 0).astype(float)])
    model = MultiTaskModel(L2(0.1), loss={0: "squared", 1: "logistic"}, solver=Newton())
    return model.fit(X, Y), {"X": X}


def no_rows():
    X, y, _ = rows()
    t = tasks(["a", "b"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MultiTaskRegressor().fit(TaskData.from_long(X, y, t, (t == "a") + 0.0))
    return model, {"X": X, "task": t}


CASES = {
    "long": long,
    "labels-int": lambda: long((7, 3)),
    "labels-float": lambda: long((0.5, 1.5)),
    "labels-bool": lambda: long((True, False)),
    "labels-mixed": lambda: long((1, "a", 2.5)),
    "labels-one": lambda: long(("only",)),
    "float32": float32,
    "sparse": sparse,
    "targets": targets,
    "table": from_table,
    "separate": separate,
    "classes-text": lambda: classes("text"),
    "classes-int": lambda: classes("int"),
    "classes-float": lambda: classes("float"),
    "classes-bool": lambda: classes("bool"),
    "target-classes": target_classes,
    "mixed": mixed,
    "no-rows": no_rows,
}
