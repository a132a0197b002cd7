"""All models are scored on the same rows, each of which is held out once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from unit.report.pages import Page

from polytask import Comparison, MultiTaskClassifier, MultiTaskRegressor, compare
from polytask._estimator.problem import read_outcomes, read_problem
from polytask.comparison import work as _run
from polytask.comparison.options import Options
from polytask.comparison.plan import facts_of, make_plan
from polytask.comparison.sentences import closing
from polytask.data import TaskData
from polytask.exceptions import DataError, DataWarning
from polytask.messages import Translator
from polytask.penalties import L2, toward_mean
from polytask.reporting import markdown, write_report
from polytask.selection.held import Study

NEAR = ("near", MultiTaskRegressor(toward_mean(0.3) + L2(0.01), standardize=True))
DAYS = np.arange(180) % 30
WAYS = {
    "within": lambda n: {},
    "three folds": lambda n: {"cv": 3},
    "grouped": lambda n: {"groups": np.arange(n) % 11},
    "four groups": lambda n: {"groups": np.arange(n) % 4},
    "unseen": lambda n: {"unseen": True},
    "time": lambda n: {"time": np.arange(n) % 24},
    "five times": lambda n: {"time": np.arange(n) % 5},
    "days": lambda n: {"time": pd.Timestamp("2024-01-01") + pd.to_timedelta(DAYS, unit="D")},
}


def related(n_tasks: int = 6, n: int = 30) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((len(task), 4))
    coef = np.array([1.0, -1.0, 0.5, 0.0]) + 0.3 * rng.standard_normal((n_tasks, 4))
    return X, (X * coef[task]).sum(axis=1) + rng.standard_normal(len(task)) + task, task


def panel(weeks: int) -> tuple[pd.DataFrame, pd.Series, pd.Series, pd.Series]:
    """40 stores, whose sales follow price and season in nearly the same way, week by week."""
    rng = np.random.default_rng(0)
    store, week = np.repeat(np.arange(40), weeks), np.tile(np.arange(weeks), 40)
    price, promotion = rng.normal(size=len(store)), rng.random(len(store)) < 0.2
    effect = -1 + 0.2 * rng.standard_normal(40)
    sales = (
        effect[store] * price + 0.8 * promotion + np.sin(week / 4) + rng.normal(size=len(store))
    )
    X = pd.DataFrame({"store": store, "price": price, "promotion": promotion.astype(float)})
    days = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(7 * week, unit="D"))
    return X, pd.Series(sales), X.pop("store"), days


def plan_of(X: Any, y: Any, task: Any, **given: Any) -> Any:
    """Return what a comparison would do."""
    asked = {"cv": None, "groups": None, "time": None, "unseen": False} | given
    choices = Options(models=["pooled", NEAR], quick=False, random_state=0, **asked)
    data = read_problem(X, y, task, None, None)
    problem, outcomes, losses = read_outcomes(data, "auto")
    study = Study(data, outcomes)
    return make_plan(study, facts_of(study, problem, losses, choices), choices, "d2", ("d2",))


def test_r2_within_tasks_is_over_the_rows_of_all_splits_whatever_metric_decides() -> None:
    X, y, task = related()
    weight = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    part = np.arange(180) % 3
    folds = [(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in range(3)]
    given = {"task": task, "cv": folds, "sample_weight": weight, "models": ["pooled", NEAR]}
    found = {metric: compare(X, y, **given, metric=metric) for metric in ("d2", "r2", "mae")}
    held = np.empty(len(y))
    for train, test in folds:
        model = clone(NEAR[1]).fit(X[train], y[train], task=task[train],
                                   sample_weight=weight[train])  # fmt: skip
        held[test] = model.predict(X[test], task=task[test])
    means = np.bincount(task, weight * y) / np.bincount(task, weight)
    expected = 1 - np.sum(weight * (y - held) ** 2) / np.sum(weight * (y - means[task]) ** 2)
    for result in found.values():
        near = next(row for row in result.models if row.name == "near")
        assert near.metrics["r2_within"] == pytest.approx(expected, rel=1e-9)
    said = markdown(found["r2"].document())
    assert "R2, against the mean of the held-out rows and averaged over the splits" in said
    assert "R2 (against the mean of the held-out rows, not of the training rows" in said


@pytest.mark.parametrize("way", ["time", "given"])
def test_rows_of_a_task_without_training_rows_are_not_scored_and_counted(way: str) -> None:
    X, y, task = related()
    day = np.arange(180) % 30
    # The last task begins on day 12; in the split that is given, no row of it is trained on.
    kept = (task < 5) | (day >= 12)
    X, y, task, day = X[kept], y[kept], task[kept], day[kept]
    given = {"cv": [(np.flatnonzero(day < 12), np.flatnonzero(day >= 12))]}
    asked = {"time": day} if way == "time" else given
    with pytest.warns(DataWarning, match="not scored"):
        result = compare(X, y, task=task, models=["pooled", NEAR], **asked)
    told = next(text for text in result.diagnostics if "not scored" in text)
    units = plan_of(X, y, task, **asked).units
    scored = np.concatenate([unit.test for unit in units if unit.model == "near"])
    assert told in markdown(result.document())
    unscored = np.count_nonzero(day >= min(day[scored].min(), 12)) - len(scored)
    assert told.startswith(f"{unscored} held-out rows of 1 task (5) are not scored")
    assert ("earlier row" in told) == (way == "time")


@pytest.mark.parametrize("way", WAYS)
def test_every_row_is_held_out_once(way: str) -> None:
    X, y, task = related()
    given = WAYS[way](180)
    plan = plan_of(X, y, task, **given)
    tests = [unit.test for unit in plan.units if unit.model == "near"]
    held = np.concatenate(tests)
    assert len(tests) == plan.n_splits <= 5
    if "time" in given:
        # Once the first stretch, of three times or more, has been learned from.
        times = np.asarray(given["time"])[plan.study.data.order]
        distinct, first = np.unique(times), times[held].min()
        assert sorted(held) == np.flatnonzero(times >= first).tolist()
        assert np.searchsorted(distinct, first) >= 3
    else:
        assert sorted(held) == list(range(180))
    for unit in plan.units:
        assert set(unit.test).isdisjoint(unit.train)
        for train, test in unit.inner:
            assert {*train, *test} <= set(unit.train)
    # What belongs together has one number, and is held out together.
    if "groups" in given or given.get("unseen"):
        for one in tests:
            assert set(plan.clusters[one]).isdisjoint(plan.clusters[np.setdiff1d(held, one)])


def cases() -> dict[str, tuple[Any, Any, dict[str, Any]]]:
    X, y, task = related()
    near: Any = ("near", MultiTaskClassifier(toward_mean(0.1) + L2(0.01)))
    weights = np.random.default_rng(1).uniform(0, 2, 180)
    wide = np.column_stack([y, 100 * X[:, 0] - y, X[:, 1] + y])
    wide[::7, 1] = np.nan
    classes = y > np.median(y)
    return {
        "d2": (X, y, {"task": task}),
        "weighted": (X, y, {"task": task, "sample_weight": weights}),
        "mse": (X, y, {"task": task, "metric": "mse"}),
        "mae": (X, y, {"task": task, "metric": "mae", "groups": np.arange(180) % 7}),
        "time": (X, y, {"task": task, "time": np.arange(180) % 17}),
        "unseen": (X, y, {"task": task, "unseen": True}),
        "accuracy": (X, classes, {"task": task, "metric": "accuracy", "models": ["pooled", near]}),
        "classes": (X, classes, {"task": task, "models": ["pooled", near]}),
        "targets": (X, wide, {"models": ["separate", NEAR]}),
        "targets mse": (X, wide, {"models": ["separate", NEAR], "metric": "mse"}),
    }


@pytest.mark.parametrize("name", sorted(cases()))
def test_the_gain_is_the_difference_of_the_scores(name: str) -> None:
    X, y, given = cases()[name]
    result = compare(X, y, **({"models": ["pooled", NEAR]} | given))
    plain, near = (
        next(row.score for row in result.models if row.name in names)
        for names in (("pooled", "separate"), ("near",))
    )
    sign = 1 if result.setup.greater_is_better else -1
    assert result.gain.mean == pytest.approx(sign * (near.mean - plain.mean), abs=1e-9, rel=1e-9)
    assert np.isfinite([*result.gain, *result.gain_90, *plain, *near]).all()
    assert result.gain.low < result.gain_90.low < result.gain.mean
    assert result.gain.mean < result.gain_90.high < result.gain.high
    scores = [abs(row.score.mean) for row in result.models if row.name != "near"]
    share = max(0.001, min(0.01, scores[0] / 10)) if sign > 0 else scores[0] / 100
    assert result.margin == pytest.approx(share)


def test_the_margin_is_the_users() -> None:
    X, y, task = related()
    wide, none = (
        compare(X, y, task=task, models=["separate", NEAR], margin=margin) for margin in (5, 0)
    )
    assert wide.verdict == "separate"
    assert (wide.margin, none.margin) == (5.0, 0.0)
    assert wide.gain == none.gain
    assert none.verdict != "no practical difference"
    assert "margin=5.0" in wide.lock["call"]
    assert wide.lock["settings"]["margin"] == 5.0


@pytest.mark.parametrize(
    "weeks",
    [6, pytest.param(24, marks=pytest.mark.slow), pytest.param(60, marks=pytest.mark.slow)],
)
def test_a_panel_of_stores_is_judged_by_time_without_failures(weeks: int) -> None:
    X, y, store, day = panel(weeks)
    models = ["pooled + intercepts", "near the mean"]
    result = compare(X, y, task=store, time=day, models=models)
    assert [row.note for row in result.models if "failed" in row.note] == []
    assert all(np.isfinite(row.score.mean) for row in result.models)
    assert all(np.isfinite(row.splits).all() for row in result.models)
    assert result.setup.n_splits == result.setup.planned == min(5, weeks - 3)
    assert (result.setup.times, result.setup.time_gap) == (weeks, 7 * 86_400)
    # However many stores there are: weeks are what is independent.
    assert np.isfinite(result.gain.low)


@pytest.mark.slow
def test_no_model_of_a_full_comparison_fails_on_a_panel() -> None:
    X, y, store, day = panel(12)
    result = compare(X, y, task=store, time=day)
    assert [row.note for row in result.models if "failed" in row.note] == []
    scored = [row for row in result.models if row.left_out is None]
    assert all(np.isfinite(row.score.mean) for row in scored)


@pytest.mark.parametrize("weeks", [2, 4])
def test_fewer_than_five_times_are_refused(weeks: int) -> None:
    X, y, store, day = panel(weeks)
    few = f"time of TimeOrdered must be of 5 distinct values or more, .*; got {weeks} in"
    with pytest.raises(DataError, match=few):
        compare(X, y, task=store, time=day, models=["pooled", NEAR])


class Fragile(DummyRegressor):
    """Cannot be fitted to one of the rows."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        if np.any(np.isclose(np.asarray(X)[:, 0], MARK)):
            raise ValueError("not this row")
        return super().fit(X, y, sample_weight)


MARK = 5.0


def test_a_model_that_fails_in_one_split_is_not_ranked(tmp_path: Any) -> None:
    X, y, task = related()
    X[0, 0] = MARK
    result = compare(X, y, task=task, models=["separate", NEAR, ("fragile", Fragile())])
    rows = {row.name: row for row in result.models}
    fragile = rows["fragile pooled"]
    # It was scored in a split, but not on the rows that the others were scored on.
    assert np.isfinite(fragile.splits).sum() == 1
    assert np.isnan(fragile.score).all()
    assert fragile.metrics == {}
    assert [row.name for row in result.models[-2:]] == ["fragile per task", "fragile pooled"]
    assert "failed in 4 of 5 splits" in fragile.note
    assert "not this row" in fragile.note
    assert fragile.picked == 0
    assert not result.recommended.startswith("fragile")
    alone = compare(X, y, task=task, models=["separate", NEAR])
    assert result.gain == alone.gain
    for kind in ("html", "md"):
        write_report(result, tmp_path / f"report.{kind}")
        assert "not this row" in (tmp_path / f"report.{kind}").read_text(encoding="utf-8")
    assert any("fragile pooled" in line for line in closing(result, Translator()))


def test_a_linear_model_that_fails_in_one_split_is_never_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y, task = related()
    work = _run.run_unit

    def failing(study: Any, unit: Any) -> Any:
        best = unit.model == "pooled + intercepts"
        return {"failed": "ValueError: no"} if best and unit.split == 3 else work(study, unit)

    models = ["separate", "pooled + intercepts", NEAR]
    assert {row.name for row in compare(X, y, task=task, models=models).models if row.picked} > {
        "near"
    }
    monkeypatch.setattr(_run, "run_unit", failing)
    result = compare(X, y, task=task, models=models)
    rows = {row.name: row for row in result.models}
    assert rows["separate"].picked == 5
    assert rows["pooled + intercepts"].picked == 0
    assert np.isnan(rows["pooled + intercepts"].score.mean)
    assert result.recommended != "pooled + intercepts"
    # The one kind of plain models that is left is no reason to say that pooling is worse.
    assert np.isnan(result.pooling_gain.mean)


def test_what_is_shown_of_a_model_is_of_all_rows(tmp_path: Any) -> None:
    X, y, task = related()
    result = compare(X, y, task=task, models=["separate", NEAR, "near the mean"], cv=2)
    shown = result.coefficients
    assert shown is not None
    sharing = [row for row in result.models if row.kind == "shared"]
    # Of models that are chosen equally often, the one with more inner scores ahead is shown.
    level = [row for row in sharing if row.picked == max(row.picked for row in sharing)]
    ahead = [
        sum(np.sum(np.subtract(row.inner, other.inner) > 0) for other in level) for row in level
    ]
    chosen = level[int(np.argmax(ahead))].name
    if any(row.name == result.recommended for row in sharing):
        chosen = result.recommended
    assert shown.model == chosen
    only = compare(X, y, task=task, models=["separate", NEAR], cv=2)
    found = only.coefficients
    assert found is not None
    assert found.model == "near"
    model = NEAR[1].fit(TaskData.from_long(X, y, task))
    places = [int(name.strip("x")) for name in found.features]
    expected = np.asarray(model.coef_).T[places] * X.std(axis=0)[places, None]
    assert np.array(found.values) == pytest.approx(expected, rel=1e-6)
    for kind in ("html", "md"):
        write_report(only, tmp_path / f"report.{kind}")
        text = (tmp_path / f"report.{kind}").read_text(encoding="utf-8")
        said = Page(text).top.text if kind == "html" else text
        assert "Coefficients of “near”, fitted to all rows, on standardized features" in said


@pytest.mark.slow
def test_the_class_that_coefficients_are_about_is_known_where_all_tasks_have_it() -> None:
    X, y, task = related()
    models = ["separate", "near the mean"]
    answer = np.where(y > np.median(y), "yes", "no")
    found = compare(X, answer, task=task, models=models, cv=2)
    assert found.coefficients is not None
    assert found.coefficients.positive == "yes"
    assert Comparison.from_json(found.to_json()).coefficients == found.coefficients
    # Numbers are about no class.
    numbers = compare(X, y, task=task, models=models, cv=2).coefficients
    assert numbers is not None
    assert numbers.positive == ""


def test_a_comparison_read_again_is_the_one_that_was_written() -> None:
    X, y, task = related()
    result = compare(X, y, task=task, models=["separate", "pooled", NEAR], cv=2)
    again = Comparison.from_json(result.to_json())
    assert (again.setup, again.margin, again.gain_90) == (
        result.setup,
        result.margin,
        result.gain_90,
    )
    assert again.summary() == result.summary()
