"""A comparison on statistics is that on rows of which these folds are the groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge

import polytask
from polytask import (
    BayesianMultiTaskRegressor,
    DataError,
    IncompatibleError,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    ParameterError,
    Pooled,
    SingleTask,
    compare,
)
from polytask.baselines import TunedRidge
from polytask.comparison import Comparison
from polytask.comparison.options import Options
from polytask.comparison.plan import inner_splits
from polytask.data import CollectedFolds, GroupedRows
from polytask.data.splits import as_splits
from polytask.penalties import L2, L21, toward_mean
from polytask.reporting import terminal
from polytask.statistics import TaskStatistics, collect

N_TASKS, ROWS, D = 11, 30, 3
FIXED = ("fixed", MultiTaskRegressor(L21(0.1), tol=1e-12))
PRIOR = ("prior", BayesianMultiTaskRegressor(tol=1e-12))
FEW = ["separate", "pooled", FIXED]
MANY = [
    "pooled + intercepts", "pooled + category", PRIOR, "separate, unpenalised",
    "pooled + intercepts, unpenalised",
]  # fmt: skip


def near(cv: Any = 4) -> tuple[str, Any]:
    penalty = toward_mean(1.0) + L2(0.1)
    return "near", MultiTaskRegressorCV(penalty, alphas=3, cv=cv, tol=1e-9, task_weight="size")


def rows(n_folds: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    n = N_TASKS * ROWS
    task, X = np.repeat(np.arange(N_TASKS), ROWS), rng.normal(size=(n, D)) + 3.0
    W = 1.0 + 0.4 * rng.normal(size=(N_TASKS, D))
    y = (X * W[task]).sum(axis=1) + 0.3 * task + rng.normal(size=n)
    return {
        "X": X, "task": task, "y": y, "weight": rng.uniform(0.5, 2.0, n),
        "Y": X @ W.T + rng.normal(size=(n, N_TASKS)) + rng.normal(size=(n, 1)),
        "fold": np.tile(np.arange(n_folds), n // n_folds + 1)[:n],
    }  # fmt: skip


def given(form: str) -> tuple[tuple[Any, ...], dict[str, Any], np.ndarray]:
    """Return what both are given, and the fold of every row."""
    r = rows()
    X, weight = r["X"], {"sample_weight": r["weight"]}
    match form:
        case "long":
            return (X, r["y"]), {"task": r["task"]}, r["fold"]
        case "weighted":
            return (X, r["y"]), {"task": r["task"]} | weight, r["fold"]
        case "sparse":
            thin = np.where(np.abs(X - 3.0) < 0.5, 0.0, X)
            return (sp.csr_array(thin), r["y"]), {"task": r["task"]}, r["fold"]
        case "targets":
            return (X[:60], r["Y"][:60]), {}, r["fold"][:60]
        case "gaps":
            gaps = np.random.default_rng(1).random((60, N_TASKS)) < 0.2
            return (X[:60], np.where(gaps, np.nan, r["Y"][:60])), {}, r["fold"][:60]
        case "table":
            table = pd.DataFrame(X, columns=list("pqr"))
            table["colour"] = np.array(["red", "blue"])[np.arange(len(X)) // 5 % 2]
            return (table.assign(site=r["task"]), r["y"]), {"task_column": "site"}, r["fold"]
    parts = {t: (X[r["task"] == t], r["y"][r["task"] == t]) for t in range(N_TASKS)}
    return (parts,), {}, r["fold"]


def compared(form: str) -> tuple[Comparison, Comparison]:
    """Compare statistics, and their rows."""
    data, more, fold = given(form)
    few = ["pooled", FIXED] if form == "sparse" else FEW
    models = [*few, *(MANY if form == "long" else [PRIOR] * (form == "gaps"))]
    by_groups = near(GroupedRows(fold, n_splits=4))
    return (
        compare(collect(*data, **more, fold=fold), models=[*models, near()]),
        compare(*data, **more, groups=fold, models=[*models, by_groups]),
    )


LONG = [
    pytest.param(form, marks=pytest.mark.slow)
    for form in ("long", "weighted", "sparse", "gaps", "separate", "table")
]


@pytest.mark.parametrize("form", ["targets", *LONG])
def test_scores_and_choices_are_those_of_the_rows(form):
    found, expected = compared(form)
    # Ridge regression of sparse rows is solved by iterations.
    loose = 1e-7 if form == "sparse" else 1e-9
    theirs = {row.name: row for row in expected.models}
    assert {row.name for row in found.models} == set(theirs)
    for row in found.models:
        other = theirs[row.name]
        assert row.left_out is None
        assert row.note == other.note == ""
        assert_allclose(row.splits, other.splits, atol=loose)
        assert_allclose(row.inner, other.inner, atol=max(loose, 1e-7))
        assert_allclose(row.score.mean, other.score.mean, atol=loose)
        assert row.picked == other.picked
        for name, value in row.metrics.items():
            assert_allclose(value, other.metrics[name], atol=loose, err_msg=name)
    for field in ("gain", "pooling_gain"):
        assert_allclose(getattr(found, field).mean, getattr(expected, field).mean, atol=loose)
    assert_allclose(found.margin, expected.margin, atol=loose)
    gains = [{task.task: task.raw for task in one.tasks} for one in (found, expected)]
    assert gains[0].keys() == gains[1].keys()
    for task, gain in gains[0].items():
        assert_allclose(gain, gains[1][task], atol=loose)
    assert [task.rows for task in found.tasks] == [
        {task.task: task.rows for task in expected.tasks}[task.task] for task in found.tasks
    ]
    assert found.setup.n_rows == expected.setup.n_rows
    assert found.setup.rows_per_task == expected.setup.rows_per_task
    assert_allclose([s for _, s in found.dominance], [s for _, s in expected.dominance], rtol=1e-6)
    if form == "targets":
        # Rows with all their targets are what goes together, and so are folds of them.
        for field in ("gain", "pooling_gain"):
            assert_allclose(getattr(found, field), getattr(expected, field), atol=loose)


def test_folds_of_unequal_size_have_the_same_scores():
    r = rows()
    fold = np.minimum(np.random.default_rng(3).integers(9, size=len(r["y"])), 5)
    data, models = (r["X"], r["y"], r["task"]), [FIXED, "separate, unpenalised"]
    found = compare(collect(*data, fold=fold), models=models, cv=6)
    expected = compare(data[0], data[1], task=data[2], groups=fold, models=models, cv=6)
    theirs = {row.name: row for row in expected.models}
    assert found.setup.n_splits == 6
    for row in found.models:
        assert_allclose(sorted(row.splits), sorted(theirs[row.name].splits), atol=1e-9)
        assert_allclose(row.score.mean, theirs[row.name].score.mean, atol=1e-9)


def statistics(n_tasks: int = N_TASKS, n_folds: int = 5) -> TaskStatistics:
    r = rows(n_folds)
    kept = r["task"] < n_tasks
    return collect(r["X"][kept], r["y"][kept], r["task"][kept], fold=r["fold"][kept])


QUICK: dict[str, Any] = {"models": ["separate", "pooled", FIXED]}


def test_intervals_are_those_of_sums_over_tasks_and_folds():
    found = compare(statistics(), **QUICK)
    assert found.gain.low < found.gain.mean < found.gain.high
    row = next(row for row in found.models if row.name == "fixed")
    assert row.score.low < row.score.mean < row.score.high
    assert any("clustered by task and fold" in text for text in found.diagnostics)


def test_many_tasks_have_as_many_inner_splits_as_few():
    # Which the covariance between folds is told by.
    rng, n = np.random.default_rng(0), 12_000
    X, task, fold = rng.normal(size=(n, 1)), np.arange(n) % 1200, np.arange(n) // 1200 % 5
    data = collect(X, X[:, 0] + rng.normal(size=n), task, fold=fold).to_task_data()
    folds = CollectedFolds(5, n_folds=5)
    for number, (train, _) in enumerate(as_splits(folds, data)):
        assert len(train) > 5000
        inner = inner_splits(data, train, Options(cv=folds), number)
        held = [set(np.unique(data.fold[test]).tolist()) for _, test in inner]
        assert len(held) == len(set.union(*held)) == 3


def test_fewer_than_ten_tasks_have_no_interval():
    found = compare(statistics(9), **QUICK)
    assert np.isfinite(found.gain.mean)
    assert np.isnan([found.gain.low, found.pooling_gain.high]).all()
    assert all(np.isnan(row.score.low) for row in found.models)
    assert all(np.isnan(task.low) for task in found.tasks)
    assert found.verdict == "inconclusive"
    assert "The statistics of 9 tasks give no interval" in terminal(found.document())
    assert np.isfinite(compare(statistics(10), **QUICK).gain.low)


def test_what_needs_rows_is_left_out_by_name():
    models = [
        *QUICK["models"], "boosting per task", "boosting pooled", ("mine", Ridge()),
        ("plain", LinearRegression()), ("leaves", SingleTask(HistGradientBoostingRegressor())),
        ("huber", MultiTaskRegressor(loss="huber")),
    ]  # fmt: skip
    found = compare(statistics(), models=models)
    left = {row.name: str(row.left_out) for row in found.models if row.left_out is not None}
    assert left.keys() >= {"boosting pooled", "mine pooled", "mine per task", "leaves", "huber"}
    assert "statistics only" in left["huber"]
    assert not {"plain pooled", "plain per task", "separate"} & left.keys()
    assert "“boosting pooled”" in terminal(found.document())
    assert found.relatedness is None


def test_the_recommended_model_is_that_of_the_rows():
    r = rows()
    table = pd.DataFrame(r["X"], columns=list("pqr")).assign(site=r["task"])
    found = compare(collect(table, r["y"], task_column="site", fold=r["fold"]), **QUICK)
    expected = compare(table, r["y"], task_column="site", groups=r["fold"], **QUICK)
    assert found.recommended == expected.recommended
    for name in ("separate", "pooled", "fixed"):
        theirs = expected.best_model(name).predict(table)
        assert_allclose(found.best_model(name).predict(table), theirs, rtol=1e-7)


def test_a_report_is_written_and_a_journal_gone_on_with(tmp_path):
    journal = tmp_path / "journal"
    found = compare(statistics(), journal=journal, **QUICK)
    again = compare(statistics(), journal=journal, **QUICK)
    assert again.gain == found.gain
    found.to_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "folds that the statistics were collected with" in text
    assert found.lock["call"].startswith("polytask.compare(statistics, models=")
    assert found.lock["data"]["rows"] == N_TASKS * ROWS
    with pytest.raises(DataError, match="journal"):
        compare(statistics(10), journal=journal, **QUICK)


def test_a_fitted_baseline_of_statistics_can_be_saved(tmp_path):
    found = statistics()
    r = rows()
    for model in (
        SingleTask(TunedRidge(cv=CollectedFolds(3))),
        Pooled(LinearRegression(), "intercept"),
    ):
        model.fit(found)
        polytask.save(model, tmp_path / "m.polytask")
        loaded = polytask.load(tmp_path / "m.polytask")
        assert_allclose(loaded.predict(r["X"], r["task"]), model.predict(r["X"], r["task"]))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"groups": np.zeros(3)}, DataError, "statistics, which hold them"),
        ({"unseen": True}, IncompatibleError, "unseen of compare needs rows"),
        ({"learning_curve": True}, IncompatibleError, "learning_curve of compare needs rows"),
        ({"loss": "huber"}, IncompatibleError, "loss of compare must be 'squared'"),
        ({"metric": "mae"}, ParameterError, "metric of compare must be one of 'd2'"),
        ({"cv": 6}, ParameterError, "cv of compare must be from 2 to 5"),
        ({"cv": [([0], [1])]}, ParameterError, "cv of compare must be a number"),
        ({"y": np.zeros(3)}, DataError, "y, task and sample_weight of compare"),
    ],
)
def test_what_asks_for_rows_is_refused(change, error, words):
    with pytest.raises(error, match=words):
        compare(statistics(), **change)


def test_statistics_that_cannot_be_compared_are_refused():
    for n_folds in (1, 3):
        with pytest.raises(DataError, match=f"at least 4 folds.*got {n_folds}. .*fold="):
            compare(statistics(n_folds=n_folds))
    with pytest.raises(DataError, match="needs two tasks or more"):
        compare(statistics(1))
    r = rows()
    X = np.column_stack([r["X"], 3.0 * r["y"] + 1.0])
    leaking = collect(X, r["y"], r["task"], fold=r["fold"])
    with pytest.raises(DataError, match=r"compare has the target among .* column 3 equals"):
        compare(leaking, **QUICK)
    with pytest.warns(polytask.DataWarning, match="Column 3 equals the target"):
        assert compare(leaking, allow_leak=True, **QUICK).perfect
