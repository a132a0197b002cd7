"""Intervals of the models that a comparison keeps, and how often they hold in its report."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from polytask import (
    Comparison,
    MultiTaskClassifier,
    MultiTaskRegressor,
    Pooled,
    SingleTask,
    calibrate,
    compare,
)
from polytask.exceptions import IncompatibleError
from polytask.penalties import L2, toward_mean

NEAR = toward_mean(0.3) + L2(0.01)
MODELS = ["separate", "pooled", ("near", MultiTaskRegressor(NEAR))]
OF_CLASSES = [
    ("separate", SingleTask(LogisticRegression())),
    ("pooled", Pooled(LogisticRegression())),
    ("near", MultiTaskClassifier(NEAR)),
]


def given(kind: str) -> dict[str, object]:
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(5), [40, 30, 30, 20, 12])
    X = rng.standard_normal((len(task), 3))
    y = X @ [2.0, 1.0, 0.0] + task * 0.1 + (1 + task) * rng.standard_normal(len(task))
    if kind == "targets":
        return {"X": X, "y": y[:, None] * [1.0, 30.0] + rng.standard_normal((len(y), 2))}
    rows = {"X": X, "y": (y > 0).astype(int) if kind == "classes" else y, "task": task}
    return rows | ({"sample_weight": 0.5 + rng.random(len(y))} if kind == "weights" else {})


@cache
def compared(kind: str) -> Comparison:
    models = OF_CLASSES if kind == "classes" else MODELS
    return compare(**given(kind), models=models, quick=True, random_state=0)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("numbers", "pooled"),
        ("weights", "separate"),
        ("classes", "pooled"),
        ("targets", "separate"),
    ],
)
def test_they_are_made_of_the_errors_that_calibrate_finds_on_the_same_folds(kind, name):
    rows, result = given(kind), compared(kind)
    model, units = result.best_model(name), result._refit._errors.args[0]
    folds = [(u.train, u.test) for u in units if u.model == name and len(u.test)]
    y, n = rows.pop("y"), len(rows["X"])
    assert np.bincount(np.concatenate([test for _, test in folds]), minlength=n).max() == 1
    other = calibrate(model, rows.pop("X"), y, rows.pop("task", None), cv=folds, **rows)
    for field in ("errors", "task", "fold", "weight", "scale"):
        pair = [np.sort(getattr(one._held_out, field)) for one in (model, other)]
        np.testing.assert_allclose(*pair, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["numbers", "targets"])
def test_the_report_has_the_coverage_of_every_task(kind):
    result = compared(kind)
    frame = result.best_model().coverage_frame()
    told = dict(zip(frame["task"], frame["coverage"], strict=True))
    assert result.task_gains.set_index("task")["coverage"].to_dict() == pytest.approx(told)
    tasks = next(one for one in result.document().sections if one.key == "tasks")
    table = next(block for block in tasks.blocks if hasattr(block, "columns"))
    assert table.columns[-1].name == "coverage"
    mean = np.average(frame["coverage"], weights=frame["rows"])
    assert any(f"{mean:.1%}" in getattr(block, "text", "") for block in tasks.blocks)


def test_whole_tasks_that_were_held_out_say_nothing_of_known_ones():
    result = compare(**given("numbers"), models=MODELS, quick=True, unseen=True)
    assert result.task_gains["coverage"].isna().all()
    with pytest.raises(IncompatibleError):
        result.best_model("pooled").predict_interval(np.zeros((1, 3)), task=[0])
