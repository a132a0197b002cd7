"""Errors of groups: their intervals are those of the textbooks, and of fairlearn's groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_ind
from sklearn.metrics import mean_absolute_error

from polytask.exceptions import DataError, ParameterError
from polytask.metrics import errors_by_group

COLUMNS = ["low", "high", "difference_low", "difference_high"]


def _rows(rng, n=90):
    group = rng.choice(["a", "b", "c"], n)
    y = rng.normal(size=n)
    return y, y + rng.normal(size=n) * (1 + (group == "b")), group


def test_intervals_of_means_are_students_and_welchs():
    y, prediction, group = _rows(np.random.default_rng(0))
    found = errors_by_group(y, prediction, group, level=0.9)
    losses, mine = np.abs(y - prediction), group == "b"
    own, rest = losses[mine], losses[~mine]
    one = found.loc["b"]
    away = t.ppf(0.95, len(own) - 1) * own.std(ddof=1) / np.sqrt(len(own))
    np.testing.assert_allclose(one[["low", "high"]], [own.mean() - away, own.mean() + away])
    welch = ttest_ind(own, rest, equal_var=False)
    interval = welch.confidence_interval(0.9)
    np.testing.assert_allclose(one[["difference_low", "difference_high"]], interval)
    # Of three p-values the smallest counts three times.
    smallest = found["p_value"].idxmin()
    mine = group == smallest
    p = ttest_ind(losses[mine], losses[~mine], equal_var=False).pvalue
    assert found.loc[smallest, "p_value"] == pytest.approx(min(3 * p, 1.0))


def test_intervals_of_shares_are_wilsons_and_newcombes():
    statsmodels = pytest.importorskip("statsmodels.stats.proportion")
    rng = np.random.default_rng(1)
    y, group = rng.choice(["ill", "well"], 80), pd.Series(rng.choice([3, 4], 80), name="age")
    prediction = np.where(rng.random(80) < 0.3, "ill", y)
    found = errors_by_group(y, prediction, group)
    wrong, mine = y != prediction, np.asarray(group == 3)
    counts = (wrong[mine].sum(), mine.sum(), wrong[~mine].sum(), (~mine).sum())
    wanted = [
        *statsmodels.proportion_confint(*counts[:2], method="wilson"),
        *statsmodels.confint_proportions_2indep(*counts, method="newcomb"),
    ]
    np.testing.assert_allclose(found.loc[3, COLUMNS], wanted)
    assert found.index.name == "age"
    assert found["error"].tolist() == [wrong[mine].mean(), wrong[~mine].mean()]


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say():
    rng, hits, runs = np.random.default_rng(2), np.zeros(3), 400
    for _ in range(runs):
        y = np.zeros(60)
        group = np.repeat(["a", "b"], [20, 40])
        error = rng.gamma(4.0, size=60) * (1.0 + (group == "a"))
        found = errors_by_group(y, error, group).loc["a"]
        hits[0] += found["low"] <= 8.0 <= found["high"]
        hits[1] += found["difference_low"] <= 4.0 <= found["difference_high"]
        wrong = (rng.random(60) < np.where(group == "a", 0.1, 0.3)).astype(str)
        found = errors_by_group(
            np.full(60, "False"), np.char.equal(wrong, "True").astype(str), group
        )
        hits[2] += found.loc["a", "difference_low"] <= -0.2 <= found.loc["a", "difference_high"]
    assert (np.abs(hits / runs - 0.95) < 0.03).all(), hits / runs


def test_a_weight_is_so_many_rows_in_the_mean_and_not_more_knowledge():
    y, prediction, group = _rows(np.random.default_rng(3))
    plain = errors_by_group(y, prediction, group)
    same = errors_by_group(y, prediction, group, sample_weight=np.full(len(y), 5.0))
    pd.testing.assert_frame_equal(plain, same)
    uneven = np.where(np.arange(len(y)) % 2, 1.0, 0.0)
    half = errors_by_group(y, prediction, group, sample_weight=uneven)
    kept = uneven > 0
    wanted = errors_by_group(y[kept], prediction[kept], group[kept])
    np.testing.assert_allclose(half.iloc[:, 1:], wanted.loc[half.index].iloc[:, 1:])


def test_several_columns_and_own_losses():
    y, prediction, group = _rows(np.random.default_rng(4))
    table = pd.DataFrame({"task": group, "sex": np.tile(["f", "m"], 45)})
    found = errors_by_group(y, prediction, table, loss=lambda y, p: (y - p) ** 2)
    rows = (table["task"] == "a") & (table["sex"] == "f")
    assert found.loc[("a", "f"), "error"] == pytest.approx(np.mean((y - prediction)[rows] ** 2))
    assert found["rows"].sum() == 90
    alone = errors_by_group([1.0, 2.0], [1.5, 2.0], ["x", "y"])
    assert alone[["low", "p_value"]].isna().all(axis=None)


def test_what_cannot_be_is_refused():
    with pytest.raises(DataError, match="group of errors_by_group"):
        errors_by_group([1, 2], [1, 2], ["a"])
    with pytest.raises(ParameterError, match="level"):
        errors_by_group([1, 2], [1, 2], ["a", "b"], level=1)
    two, good = ["a", "b"], [1.0, 2.0]
    for given, options, said in (
        ([1.0], {}, "y_pred of errors_by_group must be of 2 rows; got 1"),
        ([1.0, np.nan], {}, "y_pred of errors_by_group must .*row"),
        (good, {"sample_weight": [-1.0, 1.0]}, "sample_weight of errors_by_group .* got -1.0"),
        (good, {"sample_weight": [0.0, 0.0]}, "sample_weight of errors_by_group .* above zero"),
        (good, {"loss": lambda y, p: 1.0}, "loss of errors_by_group must be 2 finite numbers"),
    ):
        with pytest.raises(DataError, match=said):
            errors_by_group(good, given, two, **options)


def test_errors_are_those_of_fairlearn():
    fairlearn = pytest.importorskip("fairlearn.metrics")
    from polytask import BayesianMultiTaskRegressor

    rng = np.random.default_rng(5)
    rows = pd.DataFrame({"x": rng.normal(size=80), "sex": rng.choice(["f", "m"], 80),
                         "task": np.repeat(["a", "b"], 40)})  # fmt: skip
    y = np.asarray(rows["x"] * (1 + (rows["sex"] == "m")) + rng.normal(size=80))
    model = BayesianMultiTaskRegressor(task_column="task").fit(rows, y)
    groups = rows[["sex", "task"]]
    frame = fairlearn.MetricFrame(
        metrics=mean_absolute_error,
        y_true=y,
        y_pred=model.predict(rows),
        sensitive_features=groups,
    )
    found = errors_by_group(y, model.predict(rows), groups)["error"]
    np.testing.assert_allclose(found, frame.by_group.loc[found.index].to_numpy(float).ravel())
