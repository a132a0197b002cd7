"""The engine of the comparison: data forms, splits, models, failures, resuming."""

from __future__ import annotations

import dataclasses
import itertools
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from polytask import (
    Comparison,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    compare,
    load,
    save,
)
from polytask.baselines import Pooled, SingleTask
from polytask.comparison import sentences as _sentences
from polytask.comparison import work as _run
from polytask.comparison.verdict import VERDICTS
from polytask.data import TaskData, WithinTasks
from polytask.data.encoder import TableEncoder
from polytask.exceptions import DataError, DataWarning, ParameterError
from polytask.messages import Translator
from polytask.metrics import METRICS
from polytask.penalties import L2, toward_mean
from polytask.reporting import markdown

NEAR = ("near", MultiTaskRegressor(toward_mean(0.3) + L2(0.01), standardize=True))
FEW = ["separate", "pooled", "pooled + intercepts", NEAR]


def related(
    n_tasks: int = 6, n: int = 30, spread: float = 0.3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((len(task), 4))
    coef = np.array([1.0, -1.0, 0.5, 0.0]) + spread * rng.standard_normal((n_tasks, 4))
    y = (X * coef[task]).sum(axis=1) + rng.standard_normal(len(task)) + task
    return X, y, task


def plain(result: Any) -> Any:
    """Everything but times."""
    rows = [
        dataclasses.replace(row, fit_seconds=0.0, predict_seconds=0.0) for row in result.models
    ]
    return dataclasses.replace(result, models=tuple(rows), seconds=0.0, lock={})


def same(one: Any, other: Any) -> bool:
    # NaN is equal to itself here.
    return repr(plain(one)) == repr(plain(other))


def test_related_tasks_are_better_shared() -> None:
    X, y, task = related(n_tasks=25, n=12, spread=0.1)
    result = compare(X, y, task=task, models=FEW)
    assert result.verdict in {"share", "pool"}
    assert result.gain.low <= result.gain.mean <= result.gain.high
    assert {row.name for row in result.models} == {"separate", "pooled", FEW[2], "near"}
    assert [t.gain for t in result.tasks] == sorted((t.gain for t in result.tasks), reverse=True)
    assert len(result.tasks) == 25
    assert sum(share for _, share in result.dominance) == pytest.approx(1.0)
    picked = sum(row.picked for row in result.models if row.kind == "shared")
    assert picked == result.setup.n_splits == 5


def test_the_gain_is_the_paired_difference_of_what_inner_splits_chose() -> None:
    X, y, task = related()
    # Folds of 60 rows each, so that a mean over rows is the mean over folds.
    result = compare(X, y, task=task, models=FEW, cv=3, metric="mse")
    rows = {row.name: row for row in result.models}
    plains = ["separate", "pooled", "pooled + intercepts"]
    differences = []
    for j in range(3):
        chosen = min(plains, key=lambda name: rows[name].inner[j])
        differences.append(rows[chosen].splits[j] - rows["near"].splits[j])
    assert result.gain.mean == pytest.approx(np.mean(differences))
    low, mean, _ = sorted(differences)
    assert result.gain.low < mean
    assert low <= result.gain.mean


def test_the_score_is_r2_against_the_training_mean_over_rows() -> None:
    X, y, task = related()
    data = TaskData.from_long(X, y, task)
    squares = np.zeros(2)
    for train, test in WithinTasks(5, random_state=0).split(data):
        model = NEAR[1].fit(data.rows(train))
        held = data.rows(test)
        ranks = np.argsort(np.argsort(held.order))
        prediction = model.predict(held)[ranks]
        constant = np.asarray(data.y)[train].mean()
        squares += [np.sum((held.y - guess) ** 2) for guess in (prediction, constant)]
    result = compare(X, y, task=task, models=["separate", NEAR])
    row = next(row for row in result.models if row.name == "near")
    assert row.score.mean == pytest.approx(1 - squares[0] / squares[1])


def test_undefined_scores_of_tasks_are_counted_only_where_means_leave_them_out() -> None:
    # One held-out row of a task has no R2 of its own.
    X, y, task = related(n_tasks=12, n=5)
    result = compare(X, y, task=task, models=["separate", "pooled"])
    assert all(np.isfinite(row.metrics["r2_within"]) for row in result.models)
    assert not any(row.undefined for row in result.models)


@pytest.mark.slow
def test_forms_agree() -> None:
    X, y, task = related()
    long = compare(X, y, task=task, models=FEW, cv=2)
    separate = compare({t: (X[task == t], y[task == t]) for t in range(6)}, models=FEW, cv=2)
    table = pd.DataFrame(X, columns=list("abcd")).assign(school=task)
    framed = compare(table, y, task_column="school", models=FEW, cv=2)
    for other in (separate, framed):
        assert other.gain == pytest.approx(long.gain, abs=1e-9)
        assert [t.task for t in other.tasks] == [t.task for t in long.tasks]


@pytest.mark.parametrize("cell", [1.5, np.nan])
def test_a_table_of_numbers_is_encoded_once_unless_a_part_would_be_encoded_otherwise(
    cell: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, task = related()
    table = pd.DataFrame(X, columns=list("abcd")).assign(school=task)
    table.loc[0, "a"] = cell
    fits, fit = [], TableEncoder.fit
    monkeypatch.setattr(
        TableEncoder, "fit", lambda self, *a, **k: fits.append(len(a[0])) or fit(self, *a, **k)
    )
    compare(table, y, task_column="school", models=FEW, cv=2)
    # Models of the first split are encoded on their own: their files hold the encoder.
    in_parts = [n for n in fits if n < len(table)]
    assert len(in_parts) == (len(FEW) if cell == 1.5 else 2 * 4 * len(FEW))


def test_targets_and_their_metric() -> None:
    X, y, _ = related(n_tasks=2, n=60)
    Y = np.column_stack([y, 100 * (X[:, 0] + y)])
    Y[::9, 0] = np.nan
    result = compare(X, Y, models=["separate", "pooled", NEAR], cv=2)
    assert result.setup.form == "targets"
    # The mean over tasks of each task's own score.
    data = TaskData.from_targets(X, Y)
    squares = np.zeros((2, 2))
    for train, test in WithinTasks(2, random_state=0).split(data):
        prediction = NEAR[1].fit(data.rows(train)).predict(X[test])
        for k, guess in enumerate((prediction, np.nanmean(Y[train], axis=0))):
            squares[k] += np.nansum((Y[test] - guess) ** 2, axis=0)
    near = next(row for row in result.models if row.name == "near")
    assert near.score.mean == pytest.approx(np.mean(1 - squares[0] / squares[1]))
    assert len(result.tasks) == 2


@pytest.mark.slow
def test_the_same_seed_gives_the_same_table_with_any_number_of_processes() -> None:
    X, y, task = related(n_tasks=4)
    one = compare(X, y, task=task, models=FEW, cv=2)
    assert same(one, compare(X, y, task=task, models=FEW, cv=2))
    assert same(one, compare(X, y, task=task, models=FEW, cv=2, n_jobs=2))
    assert not same(one, compare(X, y, task=task, models=FEW, cv=2, random_state=1))


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the work stop as Ctrl-C stops it."""
    count = itertools.count(1)
    work = _run.run_unit

    def limited(study: Any, unit: Any) -> Any:
        if next(count) > after:
            raise KeyboardInterrupt
        return work(study, unit)

    monkeypatch.setattr(_run, "run_unit", limited)


def test_an_interruption_leaves_what_is_finished_and_a_journal_goes_on(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, task = related(n_tasks=4)
    whole = compare(X, y, task=task, models=FEW, cv=3)
    journal = tmp_path / "journal"
    with monkeypatch.context() as patch:
        interrupted(patch, after=9)
        part = compare(X, y, task=task, models=FEW, cv=3, journal=journal)
    assert not part.complete
    assert part.setup.n_splits == 2
    assert part.setup.planned == 3
    assert part.verdict in VERDICTS
    assert part.stopped == "interrupt"
    assert "interrupted" in part.summary()
    counted: list[str] = []
    work = _run.run_unit

    def counting(study: Any, unit: Any) -> Any:
        counted.append(unit.key)
        return work(study, unit)

    monkeypatch.setattr(_run, "run_unit", counting)
    resumed = compare(X, y, task=task, models=FEW, cv=3, journal=journal)
    assert same(whole, resumed)
    # And the model that shares is described as of all rows.
    assert counted[3:] == ["0/near/all rows"]
    # Reading what is finished takes next to no time; the time said is that of all runs.
    with closing(sqlite3.connect(journal)) as database:
        rows = database.execute("SELECT json_extract(value, '$.clock') FROM pieces ORDER BY rowid")
        clocks = [clock for (clock,) in rows]
    assert len(clocks) == 12 + 1
    assert max(clocks[:9]) < min(clocks[9:]) < resumed.seconds


@pytest.mark.parametrize("after", range(len(FEW)))
def test_an_interruption_inside_the_first_split_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    X, y, task = related(n_tasks=4)
    interrupted(monkeypatch, after)
    result = compare(X, y, task=task, models=FEW)
    assert result.verdict == "inconclusive"
    assert not result.complete
    assert np.isnan(result.gain.mean)
    # What there is can be seen all the same.
    assert sum(np.isfinite(row.score.mean) for row in result.models) == after


def test_a_time_budget_stops_new_fits() -> None:
    X, y, task = related(n_tasks=4)
    result = compare(X, y, task=task, models=FEW, time_budget=0.0)
    assert not result.complete
    assert result.stopped == "time"
    assert "time budget" in result.summary()


def test_numbers_of_numpy_are_those_of_python_to_a_journal(tmp_path: Any) -> None:
    X, y, task = related()
    journal = tmp_path / "journal"
    first = {"random_state": 1, "margin": 0, "cv": 3, "quick": True}
    again = {"random_state": np.int64(1), "margin": np.float32(0), "cv": np.int8(3),
             "quick": np.True_}  # fmt: skip
    results = [
        compare(X, y, task=task, models=FEW, journal=journal, **settings)
        for settings in (first, again)
    ]
    assert results[0].lock["call"] == results[1].lock["call"]
    assert results[0].lock["seed"] == results[1].lock["seed"]


def test_a_journal_of_other_data_is_refused(tmp_path: Any) -> None:
    X, y, task = related(n_tasks=3)
    journal = tmp_path / "journal"
    compare(X, y, task=task, models=FEW, quick=True, journal=journal)
    with pytest.raises(DataError, match="data"):
        compare(X, y + 1, task=task, models=FEW, quick=True, journal=journal)
    with pytest.raises(DataError, match="seed"):
        compare(X, y, task=task, models=FEW, quick=True, journal=journal, random_state=3)


def test_estimators_of_the_user_are_tried_per_task_and_pooled() -> None:
    X, y, task = related()
    tree = ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))
    result = compare(X, y, task=task, models=["separate", NEAR, tree], cv=2)
    kinds = {row.name: (row.kind, row.family) for row in result.models}
    assert kinds["tree per task"] == ("separate", "user")
    assert kinds["tree pooled"] == ("pooled", "user")
    # They are described; the rule is among the linear models.
    assert all(row.picked == 0 for row in result.models if row.family == "user")


class Refusing(DummyRegressor):
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        raise ValueError("no thanks")


def test_a_model_that_fails_is_a_row_with_a_note() -> None:
    X, y, task = related()
    result = compare(X, y, task=task, models=["separate", NEAR, ("bad", Refusing())], cv=2)
    bad = next(row for row in result.models if row.name == "bad pooled")
    assert "failed in 2 of 2 splits" in bad.note
    assert "no thanks" in bad.note
    again = type(result).from_json(result.to_json())
    kept = next(row for row in again.models if row.name == "bad pooled")
    assert kept.said is not None
    assert kept.said.text(Translator("zh")).startswith("在 2 个划分中的 2 个上失败：")
    assert np.isnan(bad.score.mean)
    assert not np.isnan(result.gain.mean)


@pytest.mark.slow
def test_groups_are_never_on_both_sides() -> None:
    X, y, task = related(n=20)
    X, y, task = (np.concatenate([v, v]) for v in (X, y, task))
    patient = np.tile(np.arange(len(y) // 2), 2)
    grouped = compare(X, y, task=task, models=FEW, groups=patient)
    assert grouped.setup.splits == "grouped"
    with pytest.warns(DataWarning, match="120 of 240 rows repeat"):
        leaking = compare(X, y, task=task, models=FEW)
    best = {r.name: r.score.mean for r in leaking.models}["separate"]
    assert {r.name: r.score.mean for r in grouped.models}["separate"] < best


@pytest.mark.slow
def test_no_model_is_tuned_on_rows_of_the_same_patient() -> None:
    rng = np.random.default_rng(0)
    n, times = 100, 5
    X = np.repeat(rng.standard_normal((n, 12)), times, axis=0)
    X += 0.01 * rng.standard_normal(X.shape)
    # The features say nothing; tuned on rows, models know each patient by heart (-1 or worse).
    y = np.repeat(rng.standard_normal(n), times)
    who = np.repeat([f"patient {k}" for k in range(n)], times)
    task = np.repeat(np.arange(n) % 4, times).astype(str)
    models = ["separate", "pooled", "pooled + intercepts", "near the mean"]
    result = compare(X, y, task=task, models=models, groups=who)
    assert all(row.score.mean > -0.25 for row in result.models)
    assert (result.verdict, result.recommended) == ("inconclusive", "")
    with pytest.raises(DataError, match="No model predicts better than a mean"):
        result.best_model()
    model = result.best_model("pooled")
    assert "patient" not in repr(model.get_params(deep=True))


def test_time_goes_forward() -> None:
    X, y, task = related()
    rng = np.random.default_rng(1)
    result = compare(X, y, task=task, models=FEW, time=rng.permutation(len(y)), cv=2)
    assert result.setup.splits == "time"
    assert result.setup.n_splits == 2
    # The gain is that of the splits, each by the rows that it holds out.
    first, second = result.split_gains
    held = [second.train_rows - first.train_rows, len(y) - second.train_rows]
    for name, whole in (("gain", result.gain), ("pooling_gain", result.pooling_gain)):
        gains = [getattr(split, name) for split in result.split_gains]
        np.testing.assert_allclose(np.average(gains, weights=held), whole.mean, rtol=1e-9)
    assert Comparison.from_json(result.to_json()).split_gains == result.split_gains


def test_unseen_tasks_are_served_by_what_is_shared() -> None:
    X, y, task = related(n_tasks=8)
    result = compare(X, y, task=task, models=FEW, unseen=True)
    rows = {row.name: row for row in result.models}
    assert "only for tasks that were in training" in rows["separate"].note
    assert not np.isnan(rows["near"].score.mean)
    assert result.plain == "pooled"


def test_a_quick_comparison_does_not_say_what_more_data_would_do() -> None:
    X, y, task = related(n_tasks=4, n=15, spread=0.5)
    whole, quick = (compare(X, y, task=task, models=FEW, quick=short) for short in (False, True))
    assert (whole.verdict, quick.verdict) == ("inconclusive",) * 2
    assert whole.times_more is not None
    assert "More rows may decide it" in whole.summary()
    assert any(one.more_rows for one in whole.tasks)
    assert quick.times_more is None
    assert "more" not in " ".join(_sentences.certainty(quick, Translator("en")).split(". ")[1:])
    assert not any(one.more_rows or one.action == "collect" for one in quick.tasks)


def test_why_a_model_was_left_out_is_said_in_both_languages() -> None:
    X, y, task = related(n_tasks=8)
    result = compare(X, y, task=task, models=FEW, unseen=True, quick=True)
    for held in (result, Comparison.from_json(result.to_json())):
        english, chinese = (
            " ".join(_sentences.closing(held, Translator(lang))) for lang in ("en", "zh")
        )
        assert "“separate” (separate models are only for tasks" in english
        # It is not said twice.
        assert not any(
            "only for tasks" in line for line in _sentences.notes(held, Translator("en"))
        )
        assert "只适用于训练中有的任务" in chinese
        assert "tasks" not in chinese


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The target has one value in all rows of 1 task")
def test_classes_with_rare_ones_and_one_class_tasks() -> None:
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((160, 3)), np.repeat(np.arange(8), 20)
    y = np.where(X[:, 0] + rng.standard_normal(160) > 0, "yes", "no")
    y[task == 3] = "no"
    y[np.flatnonzero(task == 4)] = "no"
    y[np.flatnonzero(task == 4)[0]] = "yes"
    near = ("near", MultiTaskClassifier(toward_mean(0.1) + L2(0.01)))
    result = compare(X, y, task=task, models=["separate", "pooled + intercepts", near], cv=3)
    assert result.setup.problem == "classification"
    assert not any("failed" in row.note for row in result.models)
    metrics = result.models[0].metrics
    assert {"d2", "accuracy", "majority", "auc", "log_loss"} <= set(metrics)
    shown = {row.name: row.undefined.get("auc", 0) for row in result.models}
    assert all(isinstance(count, int) for count in shown.values())


def test_targets_of_unlike_units_are_averaged_by_their_r2_and_told_by_their_own_errors() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 3))
    Y = X @ rng.standard_normal((3, 2)) + rng.standard_normal((90, 2))
    table = pd.DataFrame({"small": Y[:, 0], "large": 1000 * Y[:, 1] + 50})
    result = compare(X, table, models=["separate", "pooled", "learned prior"])
    plain = compare(X, table / [1.0, 1000.0], models=["separate", "learned prior"])
    mine, same = (next(r for r in one.models if r.name == "separate") for one in (result, plain))
    # A unit changes neither the mean R2 nor that within tasks; one equation would follow "large".
    (pooled,) = [row for row in result.models if row.kind == "pooled"]
    assert "standard deviations of the targets differ up to" in pooled.note
    assert mine.metrics["r2_within"] == pytest.approx(same.metrics["r2_within"], rel=1e-6)
    errors, scaled = dict(mine.target_errors), dict(same.target_errors)
    assert errors == pytest.approx({"small": scaled["small"], "large": 1000 * scaled["large"]})
    text = result.summary()
    assert "mean R2 of the targets" in text
    assert "in the unit of each target" in text
    document = result.document()
    assert "targets: large, small" in markdown(document)
    assert [row[0].text for row in document.table("errors").rows] == ["small", "large"]
    assert "rmse" not in [column.name for column in document.table("metrics").columns]


@pytest.mark.slow
def test_targets_of_both_kinds() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    Y = np.column_stack([X[:, 0], X[:, 1]]) + rng.standard_normal((80, 2))
    Y[:, 1] = Y[:, 1] > 0
    model = ("model", MultiTaskModel(L2(0.1), standardize=True))
    result = compare(X, Y, models=["separate", "pooled", model], cv=2)
    assert result.setup.problem == "mixed"
    rows = {row.name: row for row in result.models}
    assert "cannot be pooled" in rows["pooled"].note
    assert not np.isnan(rows["model"].score.mean)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["mse", "accuracy", "auc", "log_loss"])
def test_any_metric_can_decide(metric: str) -> None:
    X, y, task = related()
    near: Any = NEAR
    if METRICS[metric].of == "classes":
        y = y > np.median(y)
        near = ("near", MultiTaskClassifier(toward_mean(0.1) + L2(0.01)))
    result = compare(X, y, task=task, models=["separate", "pooled", near], metric=metric, cv=2)
    rows = {row.name: row for row in result.models}
    sign = 1 if METRICS[metric].greater_is_better else -1
    best = [
        max(("separate", "pooled"), key=lambda name: sign * rows[name].inner[j]) for j in range(2)
    ]
    gains = [sign * (rows["near"].splits[j] - rows[best[j]].splits[j]) for j in range(2)]
    assert result.gain.mean == pytest.approx(np.mean(gains))
    # A task with one class among its held-out rows has no AUC.
    assert len(result.tasks) == 6 or metric == "auc"


def test_the_table_of_shrinkage_and_sharing() -> None:
    X, y, task = related(n_tasks=5, n=16)
    bare = ["separate, unpenalised", "pooled + intercepts, unpenalised"]
    result = compare(X, y, task=task, models=[*FEW, *bare], cv=3)
    table = result.two_by_two
    assert table is not None
    gain = table.separate_tuned.mean - table.separate_none.mean
    assert table.shrinkage_gain.mean == pytest.approx(gain)
    gain = table.joint_tuned.mean - table.separate_tuned.mean
    assert table.sharing_gain.mean == pytest.approx(gain)
    assert result.recommended not in bare


def test_the_call_is_kept() -> None:
    X, y, task = related(n_tasks=3)
    result = compare(X, y, task=task, models=["separate", NEAR], quick=True, metric="mse")
    call = result.lock["call"]
    assert call.startswith("polytask.compare(X, y, task=task, models=['separate', ('near', ")
    assert call.endswith("metric='mse', quick=True)")
    assert result.lock["data"]["rows"] == 90


def test_the_recommended_model_is_fitted_on_all_rows() -> None:
    X, y, task = related()
    result = compare(X, y, task=task, models=FEW, cv=2)
    model = result.best_model()
    assert model.predict(X, task=task).shape == (len(y),)
    assert model is result.best_model()


@pytest.mark.parametrize("position", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "separate",
        "pooled",
        pytest.param("near the mean", marks=pytest.mark.slow),
        "learned prior",
    ],
)
def test_the_recommended_model_knows_the_task_column(
    name: str, position: bool, tmp_path: Path
) -> None:
    X, y, task = related(n_tasks=3)
    numbers = np.unique(task, return_inverse=True)[1]
    table = pd.DataFrame(X, columns=[f"x{k}" for k in range(X.shape[1])])
    table.insert(1, "store", task)
    given, column = (np.insert(X, 1, numbers, axis=1), 1) if position else (table, "store")
    model = compare(given, y, task_column=column, models=[name], quick=True).best_model()
    assert model.task_column == column
    beside = compare(X, y, task=numbers, models=[name], quick=True).best_model()
    assert beside.task_column is None
    predicted = np.asarray(model.predict(given))
    np.testing.assert_allclose(predicted, beside.predict(X, task=numbers), rtol=1e-9)
    save(model, tmp_path / "model.polytask")
    np.testing.assert_array_equal(load(tmp_path / "model.polytask").predict(given), predicted)


def test_tasks_that_are_no_column_leave_the_model_without_one() -> None:
    X, y, task = related(n_tasks=3)
    given = {name: (X[task == name], y[task == name]) for name in np.unique(task)}
    result = compare(given, task_column="store", models=["separate"], quick=True)
    model = result.best_model()
    assert model.task_column is None
    assert set(model.predict({name: x for name, (x, _) in given.items()})) == set(given)


class Slow(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Takes longer than anybody waits."""

    def fit(self, X: Any, y: Any) -> Slow:
        time.sleep(600)
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X))


@pytest.mark.slow
def test_a_fit_that_outlasts_the_time_budget_is_ended() -> None:
    X, y, task = related(n_tasks=3)
    models = ["separate", ("slow", Pooled(Slow()))]
    result = compare(X, y, task=task, models=models, quick=True, time_budget=15.0)
    assert result.stopped == "time"
    assert [row.name for row in result.models if np.isfinite(row.score.mean)] == ["separate"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": None}, "two tasks or more"),
        ({"models": ["seperate"]}, "Did you mean 'separate'"),
        ({"models": ["separate", "separate"]}, "different names"),
        ({"models": 3}, "models of compare"),
        ({"metric": "r3"}, "metric of compare"),
        ({"cv": "five"}, "cv"),
        ({"cv": 1}, "a number of folds: 2 or more, so that every row is held out once"),
        ({"cv": 0, "time": np.arange(180)}, "with time= 1 or more; got 0"),
        ({"margin": -0.01}, "margin of compare"),
        ({"margin": "wide"}, "margin of compare"),
        ({"margin": float("inf")}, "margin of compare must be a finite number"),
        ({"unseen": True, "time": np.arange(180)}, "one way"),
        ({"groups": np.arange(4)}, "groups"),
        ({"groups": np.array("site")}, "groups of compare must be one value per row, such as X"),
        ({"time": "week"}, r"time of compare must be one value per row, such as X\['week'\]; got"),
        ({"loss": "absolute"}, "loss of compare"),
        ({"random_state": -1}, "random_state"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"time_budget": -1}, "time_budget"),
    ],
)
def test_refusals(given: dict[str, Any], message: str) -> None:
    X, y, task = related()
    with pytest.raises((DataError, ParameterError), match=message):
        compare(X, y, **({"task": task, "models": FEW} | given))


def test_refusals_of_columns_say_what_to_type() -> None:
    X, y, task = related()
    table = pd.DataFrame(X).add_prefix("x")
    table["week"] = pd.date_range("2024-01-01", periods=len(y)).astype(str)
    with pytest.raises(DataError, match=r"leave it out: X.drop\(columns=\['week'\]\)"):
        compare(table, y, task=task, models=FEW)
    # Given as time, it is not recommended as such.
    with pytest.raises(DataError, match=r"'week' of X is given as time= too.* and keep time="):
        compare(table, y, task=task, models=FEW, time=table["week"])
    y[[3, 5]] = np.nan
    said = r"y of compare must be given in every row \(drop the rows without it\); got NaN .*3, 5"
    with pytest.raises(DataError, match=said):
        compare(X, y, task=task, models=FEW)


def test_a_comparison_judges_by_the_loss_as_the_score_of_its_models_does() -> None:
    X, y, task = related(n_tasks=3, n=20)
    model = MultiTaskRegressor(L2(0.1), loss="quantile(0.9)")
    found = compare(X, y, task=task, loss="quantile(0.9)", models=[("own", model)], cv=2)
    data = TaskData.from_long(X, y, task)
    expected = [
        clone(model).fit(data.rows(train)).score(data.rows(test))
        for train, test in WithinTasks(2, random_state=0).split(data)
    ]
    assert found.scores["score"].to_numpy() == pytest.approx(expected)


def test_the_time_of_1000_predictions_is_that_of_one_call(monkeypatch) -> None:
    """Scoring, other processes and calls of few rows are no part of it."""
    X, y, task = related(n_tasks=4, n=12)
    sizes, clock = [], iter(range(10**6))
    monkeypatch.setattr(_run.time, "process_time", lambda: float(next(clock)))
    predict = SingleTask.predict

    def counted(self, X, *args):
        sizes.append(X.n_rows)
        return predict(self, X, *args)

    monkeypatch.setattr(SingleTask, "predict", counted)
    result = compare(X, y, task=task, models=["separate", "pooled"], n_jobs=1)
    assert [row.predict_seconds for row in result.models] == [1.0, 1.0]
    assert sizes.count(1000) == 1


@pytest.mark.parametrize("effect", ["none", "intercept", "category"])
@pytest.mark.parametrize("estimator", [Ridge(), LogisticRegression()])
def test_coefficients_are_counted_without_intercepts(estimator: Any, effect: str) -> None:
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((60, 4)), np.repeat(["a", "b", "c"], 20)
    y = X.sum(axis=1) + rng.standard_normal(60)
    y = y > 0 if isinstance(estimator, LogisticRegression) else y
    assert _run.nonzero(Pooled(estimator, effect).fit(X, y, task=task)) == 4
