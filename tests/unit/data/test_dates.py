"""Dates in the usual ways of writing them, and the features made of them."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

import polytask
from polytask import DataError, MultiTaskRegressor, TaskData, penalties
from polytask.data import TimeOrdered
from polytask.data.dates import (
    add_date_features,
    date_columns,
    looks_like_dates,
    n_given_columns,
    read_dates,
)
from polytask.messages import LazyMessage, Translator, message_of

DAYS = {
    "2024-01-31": "2024-01-31",
    "2024/1/3": "2024-01-03",
    "31/12/2024": "2024-12-31",
    "12/31/2024": "2024-12-31",
    "3.4.2024": "2024-04-03",
    "2024-01": "2024-01-01",
    "Jan 2022": "2022-01-01",
    "September 2022": "2022-09-01",
    "3 Feb 2022": "2022-02-03",
    "Feb 3, 2022": "2022-02-03",
    "2024-W05": "2024-01-29",
    "2024-W05-3": "2024-01-31",
    "2024-Q2": "2024-04-01",
    "2024Q2": "2024-04-01",
    "Q2 2024": "2024-04-01",
    "20240131": "2024-01-31",
    "02/2024": "2024-02-01",
    "2024-01-31 23:30-02": "2024-02-01",
    "2024年1月3日": "2024-01-03",
    "2024-01-31T23:30:00-02:00": "2024-02-01",
    "2024-01-31 23:30:05.25Z": "2024-01-31",
    "1/13/2024 5:30 PM": "2024-01-13",
}


@pytest.mark.parametrize(("word", "day"), DAYS.items())
def test_ways_of_writing_a_date(word, day):
    assert read_dates([word]).astype("datetime64[D]")[0] == np.datetime64(day)
    assert looks_like_dates([word])


def test_times_of_a_zone_are_those_of_utc():
    found = read_dates(["2024-01-02T03:04:05Z", "2024-01-02 03:04:05.5+02:00", None])
    assert found[1] == np.datetime64("2024-01-02T01:04:05.500000")
    assert np.isnat(found[2])


def test_other_dates_of_a_column_tell_whether_the_day_comes_first():
    assert read_dates(["03/04/2024", "31/12/2024"])[0] == np.datetime64("2024-04-03")
    assert read_dates(["03/04/2024", "12/31/2024"])[0] == np.datetime64("2024-03-04")
    assert read_dates(["03/04/2024"], day_first=False)[0] == np.datetime64("2024-03-04")


def test_what_is_said_of_day_and_month_must_hold():
    with pytest.raises(DataError, match=r"begin with the month, such as '12/31/2024' in row 1, "):
        read_dates(["03/04/2024", "12/31/2024"], day_first=True)
    with pytest.raises(DataError, match=r"begin with the day, .* but day_first=False says"):
        read_dates(["31/12/2024"], day_first=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["03/04/2024", "05/06/2024"],
            r"'03/04/2024' in 1 row \(0\), counting from 0, is 3 April or 4 March\. Read .*day_f",
        ),
        (["31/12/2024", "12/31/2024"], "the day before the month in all or in none"),
        (["2024-01-01", "soon"], r"dates such as 2024-01-31.*got 'soon' in row 1"),
        (["2024-02-31"], "got '2024-02-31'"),
        (["2024-W53"], "got '2024-W53'"),
        (["20241301"], "got '20241301'"),
        (["31/12/24"], "got '31/12/24'"),
        (["2024-01-02T03:04Z", "2024-01-02T03:04"], "all with a time zone or all without"),
    ],
)
def test_what_cannot_be_read_is_asked_for_or_refused(words, said):
    with pytest.raises(DataError, match=said):
        read_dates(words)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_features_of_dates(make):
    days = [datetime.date(2024, 12, 30), datetime.date(2025, 1, 1), None]
    table = make({"day": days, "x": [1.0, 2.0, 3.0], "month": ["Jan 2022", "Feb 2022", None]})
    assert date_columns(table) == ("day", "month")
    made = add_date_features(table)
    assert type(made) is type(table)
    names = made.column_names if isinstance(made, pa.Table) else list(made.columns)
    parts = ["year", "month", "week", "weekday", "days"]
    assert names == ["x", *(f"{c}={p}" for c in ("day", "month") for p in parts)]
    numbers = [name for name in names[1:6] if name != "day=weekday"]
    values = np.array([np.asarray(made[name], dtype=float) for name in numbers])
    assert_array_equal(values[:, :2].T, [[2024, 12, 1, 20087], [2025, 1, 1, 20089]])
    assert np.isnan(values[:, 2]).all()
    weekdays = pd.Series(np.asarray(made["day=weekday"], dtype=object))
    assert weekdays[:2].tolist() == ["Monday", "Wednesday"]
    assert weekdays.isna().tolist() == [False, False, True]


def test_months_that_come_again_are_names():
    days = pd.DataFrame({"t": pd.date_range("2022-03-31", "2024-02-01", freq="D")})
    made = add_date_features(days)
    assert_array_equal(made["t=month"], days["t"].dt.month_name())
    assert_array_equal(made["t=weekday"], days["t"].dt.day_name())
    short = add_date_features(days[days["t"] < "2024-02-01"])
    assert_array_equal(short["t=month"], days["t"].dt.month[:-1])


def test_features_of_dates_are_those_of_the_calendar():
    moments = pd.Series(pd.date_range("1950-01-01", "2050-01-01", freq="17h"))
    made = add_date_features(pd.DataFrame({"t": moments}), names=())
    calendar = moments.dt.isocalendar()
    assert_array_equal(made["t=week"], calendar["week"])
    assert_array_equal(made["t=weekday"], calendar["day"] - 1)
    assert_array_equal(made["t=month"], moments.dt.month)
    assert_array_equal(made["t=year"], moments.dt.year)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    days = pd.date_range("2022-01-01", periods=90, freq="3D")
    table = pd.DataFrame({"day": days, "x": rng.normal(size=90), "city": np.tile([*"abc"], 30)})
    return table, table["x"] + np.arange(90) / 30


def test_an_estimator_makes_features_of_dates(rows, tmp_path):
    table, y = rows
    with pytest.raises(DataError, match=r"Column 'day' holds dates .* with date_features=True"):
        MultiTaskRegressor(task_column="city").fit(table, y)
    model = MultiTaskRegressor(task_column="city", date_features=True).fit(table, y)
    assert model.feature_names_in_.tolist() == ["day", "x", "city"]
    assert model.coef_feature_names_.tolist()[:2] == ["x", "day=year"]
    wanted = model.predict(table)
    assert_array_equal(model.predict(table.to_numpy()), wanted)
    assert_array_equal(model.predict(table.iloc[3:4]), wanted[3:4])
    polytask.save(model, tmp_path / "m.polytask")
    again = polytask.load(tmp_path / "m.polytask")
    assert_array_equal(again.predict(table), wanted)
    assert again.score(table, y) == model.score(table, y)
    # Words of dates are read the same way, one row too: the day came first in training.
    text = table.assign(day=table["day"].dt.strftime("%d/%m/%Y"))
    of_text = MultiTaskRegressor(task_column="city", date_features=True).fit(text, y)
    assert_array_equal(of_text.predict(text), wanted)
    assert_array_equal(of_text.predict(text.iloc[3:4]), wanted[3:4])


def test_dates_in_every_form(rows):
    table, y = rows
    model = MultiTaskRegressor(date_features=True)
    wanted = model.fit(table.drop(columns="city"), y, task=table["city"]).predict(
        table.drop(columns="city"), task=table["city"]
    )
    parts = {
        c: (table[table["city"] == c].drop(columns="city"), y[table["city"] == c]) for c in "abc"
    }
    found = model.fit(parts).predict({c: part for c, (part, _) in parts.items()})
    np.testing.assert_allclose(found["b"], wanted[table["city"] == "b"])
    data = TaskData.from_long(table, y, "city")
    np.testing.assert_allclose(model.fit(data).predict(data), wanted)
    targets = model.fit(table.drop(columns="city"), np.column_stack([y, -y]))
    assert "day=weekday=Monday" in targets.coef_feature_names_


def test_days_and_months_have_an_effect_each_in_linear_models():
    table = pd.DataFrame({"day": pd.date_range("2022-01-01", "2024-12-31", freq="D")})
    day = table["day"].dt
    y = 5.0 * (day.day_of_week == 5) - 2.0 * (day.day_of_week == 2) + 3.0 * (day.month == 12)
    model = MultiTaskRegressor(penalties.L2(1e-6), date_features=True).fit(table, y)
    np.testing.assert_allclose(model.predict(table), y, atol=0.01)


def test_the_tables_of_all_tasks_decide_together_what_is_a_name():
    days = pd.date_range("2022-01-01", "2023-12-31", freq="D")
    parts = [days[days.year == year] for year in (2022, 2023)]
    tables = {k: (pd.DataFrame({"t": part}), np.arange(365.0)) for k, part in enumerate(parts)}
    model = MultiTaskRegressor(date_features=True).fit(tables)
    assert "t=month=May" in model.coef_feature_names_
    assert len(model.predict({1: tables[1][0][:1]})[1]) == 1


def test_the_order_of_one_table_is_known_for_all(rows):
    table, y = rows
    written = table.assign(day=table["day"].dt.strftime("%m/%d/%Y"))[["day", "x"]]
    days = written.assign(day=table["day"].dt.strftime("%Y-%m-%d"))
    tables = {"a": (written, y), "b": (days, y)}
    model = MultiTaskRegressor(date_features=True).fit(tables)
    single = model.predict({"a": written[3:4]})["a"]
    assert_array_equal(single, model.predict({"a": written})["a"][3:4])
    other = written.assign(day=table["day"].dt.strftime("%d/%m/%Y"))
    both = MultiTaskRegressor(date_features=True).fit(tables | {"c": (other, y)})
    with pytest.raises(DataError, match="two ways"):
        both.predict({"a": written[1:2]})


def test_tasks_that_look_like_dates_stay_tasks(rows):
    table, y = rows
    table = table.assign(city=table["city"].map({"a": "2024-01", "b": "2024-02", "c": "2024-03"}))
    model = MultiTaskRegressor(task_column="city", date_features=True).fit(table, y)
    assert model.tasks_.tolist() == ["2024-01", "2024-02", "2024-03"]


@pytest.mark.parametrize("names", [None, (), ("month",), ("month", "weekday")])
def test_a_model_of_date_features_takes_the_dates_themselves(rows, names):
    # Models of polytask 0.1 have numbers alone.
    table, y = rows
    made = add_date_features(table, names=names)
    model = MultiTaskRegressor(task_column="city").fit(made, y)
    assert_array_equal(model.predict(table), model.predict(made))
    # Nothing says how dates of which the model has seen the features alone are written.
    written = table.head(3).assign(day="03/04/2024")
    with pytest.raises(DataError, match="is 3 April or 4 March"):
        model.predict(written)


def test_time_may_be_written_in_any_of_these_ways():
    words = ["Jan 2022", "Feb 2022", "Mar 2022", "Dec 2021"]
    data = TaskData.from_long(np.zeros((4, 1)), np.arange(4.0))
    *_, (train, test) = TimeOrdered(words, 1).split(data)
    assert set(data.order[test]) <= {1, 2}
    assert 3 in data.order[train]
    # 1 January is written in the same way by everybody.
    assert_array_equal(
        read_dates(["01/01/2022", "02/02/2022"]), read_dates(["1 Jan 2022", "2 Feb 2022"])
    )
    with pytest.raises(
        DataError,
        match=r"two ways: '01/02/2022' in 1 row \(1\), counting from 0, is 1 February or 2",
    ) as refused:
        read_dates(["01/01/2022", "01/02/2022"])
    said = message_of(refused.value)
    assert isinstance(said, LazyMessage)
    assert "可以是 2 月 1 日或 1 月 2 日" in said.text(Translator("zh"))
    with pytest.raises(DataError, match=r"time of TimeOrdered has dates .* two ways"):
        next(TimeOrdered(["01/02/2022", "03/04/2022", "05/06/2022", "01/01/2022"], 1).split(data))


def test_columns_are_counted_as_they_were_given():
    table = pd.DataFrame({"day": ["2024-01-31", "2024-02-29"], "week=days": [1, 2], 3: [1, 2]})
    made = add_date_features(table, ["day"])
    assert made.shape[1] == 7
    assert n_given_columns(made.columns) == n_given_columns(table.columns) == 3
