"""What a site hands over tells of no few rows; every attack succeeds where no limit is set."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from polytask import DataError, DataWarning, MultiTaskRegressor, ParameterError
from polytask.penalties import L21
from polytask.statistics import Schema, TaskStatistics, collect

COLUMNS = {"age": {"kind": "number"}, "sex": {"levels": ["f", "m"]}}


def patients(seed: int = 0, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "ward": np.repeat(["a", "b"], n // 2),
            "age": rng.normal(60, 9, n),
            "sex": np.tile(["f", "m"], n // 2),
        }
    )
    return table.assign(days=0.1 * table["age"] + (table["sex"] == "m") + rng.normal(size=n))


def schema(**changes) -> Schema:
    return Schema(**{"target": "days", "task_column": "ward", "columns": COLUMNS} | changes)


def bare(table: pd.DataFrame) -> TaskStatistics:
    """Return statistics that no minimum guards."""
    return collect(
        table.drop(columns="days"), table["days"], task_column="ward", encoder=schema().encoder
    )


def cell(found: TaskStatistics, task: str):
    place = found.tasks.index(task)
    return next(each for each in found.cells if each.tasks == (place,))


def product(found: TaskStatistics, task: str, one: int, other: int) -> float:
    """Return the sum over rows of a product of two columns, the target being the last."""
    each = cell(found, task)
    return each.weight * (each.second[one, other] + each.mean[one] * each.mean[other])


def test_sites_together_are_fitted_as_all_rows():
    table = patients()
    agreed = schema()
    halves = [table[::2].assign(sex="f"), table[1::2]]
    with pytest.raises(DataError, match=r"Task 'a': fewer rows"):
        agreed.collect(table.assign(sex=["m"] + ["f"] * 199))
    parts = [agreed.collect(part) for part in halves]
    model = MultiTaskRegressor(L21(0.1), tol=1e-12).fit(sum(parts))
    whole = pd.concat(halves)
    rows = MultiTaskRegressor(L21(0.1), task_column="ward", tol=1e-12)
    rows.fit(whole.drop(columns="days"), whole["days"])
    assert_allclose(model.coef_, rows.coef_, atol=1e-9)
    assert model.predict(table.head(3)).shape == (3,)


def test_rows_of_a_small_task_are_reconstructed_and_refused():
    table = patients()
    small = pd.concat([table[table["ward"] == "a"], table[table["ward"] == "b"].head(1)])
    rebuilt = cell(bare(small), "b").mean
    assert_allclose(rebuilt[[0, -1]], small.iloc[-1][["age", "days"]].to_numpy(float))
    with pytest.raises(DataError, match="Task 'b' has 1 rows; it must have more than 10"):
        schema().collect(small)


def test_twice_the_features_are_needed():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(100, 30)), columns=[f"x{j}" for j in range(30)])
    table = table.assign(ward=np.repeat(["a", "b"], 50), days=rng.normal(size=100))
    columns = {f"x{j}": {"kind": "number"} for j in range(30)}
    with pytest.raises(DataError, match="must have more than 60"):
        schema(columns=columns).collect(table)


def test_the_only_one_of_a_level_is_found_and_refused():
    table = patients()
    table["sex"] = "f"
    table.loc[0, "sex"] = "m"
    days = product(bare(table), "a", 2, 3)
    assert days == pytest.approx(table.loc[0, "days"])
    with pytest.raises(DataError, match=r"sex=m \(1\)"):
        schema().collect(table)


def test_all_but_one_is_a_difference():
    table = patients()
    table["sex"] = "m"
    table.loc[3, "sex"] = "f"
    each, found = cell(bare(table), "a"), bare(table)
    days = each.weight * each.mean[3] - product(found, "a", 2, 3)
    assert days == pytest.approx(table.loc[3, "days"])
    with pytest.raises(DataError, match=r"fewer rows than the minimum of 10 have"):
        schema().collect(table)


@pytest.mark.parametrize("which", ["both", "first", "neither"])
def test_pairs_of_levels_and_their_rests(which):
    table = patients()
    smoker = np.zeros(200, dtype=bool)
    men = np.asarray(table["sex"] == "m")
    smoker[np.flatnonzero(~men)[::2]] = True
    if which == "both":
        smoker[np.flatnonzero(men)[0]] = True
    elif which == "first":
        smoker[np.flatnonzero(men)[1:]] = True
    else:
        smoker[:] = ~men
        smoker[0] = False
        smoker[np.flatnonzero(men)[::2]] = True
    table["smoker"] = smoker
    agreed = schema(columns={"sex": COLUMNS["sex"], "smoker": {"kind": "true/false"}})
    with pytest.raises(DataError, match=r"\(1\)"):
        agreed.collect(table)
    # Where each has ten rows or more, or none, nothing tells of single rows.
    agreed.collect(table.assign(smoker=np.arange(200) % 4 < 2))


def test_a_number_that_nearly_all_have_alike_tells_of_the_others():
    table = patients()
    rng = np.random.default_rng(1)
    table["debts"] = 0.0
    table.loc[:3, "debts"] = rng.normal(1e5, 1e4, 4)
    columns = COLUMNS | {"debts": {"kind": "number"}}
    with pytest.raises(DataError, match=r"debts differs from 0 \(4\)"):
        schema(columns=columns).collect(table)
    table.loc[:60, "debts"] = rng.normal(1e5, 1e4, 61)
    schema(columns=columns).collect(table)


def test_few_values_of_the_target_are_counted():
    table = patients()
    table["days"] = 0.0
    table.loc[5, "days"] = 1.0
    with pytest.raises(DataError, match=r"target \(1\)"):
        schema().collect(table)


def test_folds_need_rows_each():
    table = patients()
    fold = np.arange(200) % 2
    found = schema().collect(table.assign(sex="f"), fold=fold)
    assert found.folds == (0, 1)
    with pytest.raises(DataError, match="Task 'a' in fold 7 has 5 rows"):
        schema().collect(table, fold=np.where(np.arange(200) % 20 == 0, 7, 1))


def test_levels_and_missing_cells_are_those_of_the_schema():
    table = patients()
    with pytest.raises(DataError, match="'sex' holds 'x', which is none of the levels"):
        schema().collect(table.assign(sex=["x"] * 20 + ["f"] * 180))
    gaps = table.assign(age=[np.nan] * 60 + [50.0 + k for k in range(140)])
    with pytest.raises(DataError, match="'age' has 60 missing cells"):
        schema().collect(gaps)
    filled = COLUMNS | {"age": {"kind": "number", "missing_as": 61.0, "flagged": False}}
    with pytest.warns(DataWarning, match=r"'age' holds a different whole number in nearly every"):
        found = schema(columns=filled).collect(gaps)
    assert cell(found, "a").mean[0] == pytest.approx((60 * 61.0 + sum(range(50, 90))) / 100)
    flagged = COLUMNS | {"age": {"kind": "number", "missing_as": 61.0}}
    assert schema(columns=flagged).encoder.get_feature_names_out()[1] == "age=missing"


def test_a_schema_holds_no_number_of_a_person_but_the_median(tmp_path):
    table = patients()
    table.loc[0, "age"] = 103.25
    made = Schema.of(table, target="days", task_column="ward", minimum=12)
    made.save(tmp_path / "study.json")
    text = (tmp_path / "study.json").read_text()
    assert "103.25" not in text
    assert json.loads(text)["columns"] == COLUMNS
    again = Schema.load(tmp_path / "study.json")
    assert (again.target, again.task_column, again.minimum) == ("days", "ward", 12)
    one, other = made.collect(table), again.collect(table)
    assert_allclose(one.cells[0].second, other.cells[0].second)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "'format'"),
        ({"minimum": "ten"}, "'minimum'"),
        ({"minimum": 1}, "minimum of Schema"),
        ({"columns": {}}, "a column or more"),
        ({"columns": {"age": {"kind": "numbr"}}}, "column age"),
        ({"columns": {"age": {"kind": "number", "unit": "years"}}}, "column age"),
        ({"columns": {"age": {"kind": "number", "missing_as": "60"}}}, "column age"),
        ({"columns": {"sex": {"levels": ["f", "f"]}}}, "column sex"),
        ({"columns": {"sex": {"levels": []}}}, "column sex"),
        ({"columns": {"sex": ["f", "m"]}}, "column sex"),
    ],
)
def test_spoiled_schemas_are_refused(tmp_path, change, words):
    path = tmp_path / "study.json"
    schema().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=words):
        Schema.load(path)


def test_files_that_are_none(tmp_path):
    path = tmp_path / "study.json"
    with pytest.raises(DataError, match=r"study\.json"):
        Schema.load(path)
    path.write_text("no json")
    with pytest.raises(DataError, match="is no schema of polytask"):
        Schema.load(path)


def test_minimum_is_a_number_of_rows():
    with pytest.raises(ParameterError, match="minimum"):
        schema(minimum=1)
    with pytest.raises(DataError, match="'weight'"):
        Schema.of(patients(), target="weight", task_column="ward")


def test_sets_of_targets_are_guarded_too():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    Y[:3, 1] = np.nan
    collect(X, Y)
    with pytest.raises(DataError, match="targets that are observed together"):
        collect(X, Y, minimum=5)


def test_copies_of_the_target_are_refused_where_the_rows_are():
    table = patients().assign(days=lambda t: t["days"].round(2))
    # Rounded, so that sums alone would not show it.
    table["age"] = (24 * table["days"] + 1).round(1)
    with pytest.raises(DataError, match=r"Schema has the target among .*'age' equals .*'days'"):
        schema().collect(table)
    with pytest.warns(DataWarning, match="leave it out of what is collected"):
        found = schema().collect(table, allow_leak=True)
    assert found.n_rows == 200


def test_a_cell_that_decides_its_column_is_named_where_the_rows_are():
    table = patients()
    table.loc[7, "age"] = 1e6
    with pytest.warns(DataWarning, match=r"Column 'age' of X holds 1000000 in row 7"):
        schema().collect(table)
