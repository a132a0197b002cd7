"""``polytask explain``: what is printed adds up, in the table that it writes too."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from unit.cli._running import run_in

from polytask import BayesianMultiTaskRegressor, MultiTaskClassifier, load, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where, rng = tmp_path_factory.mktemp("explain"), np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "pupil": np.arange(60),
            "hours": rng.normal(size=60).round(3),
            "kind": rng.choice(["new", "old"], 60),
            "school": np.repeat(["a", "b", "c"], 20),
        }
    )
    y = table["hours"] * (1 + (table["school"] == "a")) + (table["kind"] == "new")
    rows = table.drop(columns="pupil")
    save(BayesianMultiTaskRegressor(task_column="school").fit(rows, y), where / "m.polytask")
    save(MultiTaskClassifier(task_column="school").fit(rows, np.where(y > 0, "up", "down")),
         where / "c.polytask")  # fmt: skip
    save(MultiTaskClassifier().fit(rows[["hours"]], np.column_stack([y > 0, y > 1])),
         where / "t.polytask")  # fmt: skip
    table.to_csv(where / "rows.csv", index=False)
    return where


def _run(folder, *words):
    return run_in(folder, "explain", *words)


def test_the_table_adds_up_to_the_predictions(folder):
    status, out, err = _run(
        folder, "m.polytask", "rows.csv", "--id", "pupil", "--out", "c.csv", "--force"
    )
    assert (status, "Wrote c.csv." in out) == (0, True), err
    table, given = pd.read_csv(folder / "c.csv"), pd.read_csv(folder / "rows.csv")
    assert table["pupil"].tolist() == given["pupil"].tolist()
    wanted = load(folder / "m.polytask").predict(given.drop(columns="pupil"))
    parts = table.filter(like="contribution of ")
    assert list(parts) == [f"contribution of {name}" for name in ("hours", "kind", "school")]
    np.testing.assert_allclose(table["baseline"] + parts.sum(axis=1), wanted, atol=1e-9)
    apart = table.filter(like="common of ").sum(axis=1) + table.filter(like="own of ").sum(axis=1)
    np.testing.assert_allclose(apart, parts.sum(axis=1), atol=1e-9)


def test_json_says_what_is_printed(folder):
    _, printed, _ = _run(folder, "m.polytask", "rows.csv")
    status, out, _ = _run(folder, "m.polytask", "rows.csv", "--json")
    found = json.loads(out)
    assert (status, found["rows"], found["methods"]) == (0, 60, ["exact"])
    for column in found["columns"]:
        assert f"{column['contribution']:.4g}" in printed


def test_a_class_a_background_and_a_picture(folder):
    pd.read_csv(folder / "rows.csv").head(7).drop(columns="pupil").to_csv(
        folder / "back.csv", index=False
    )
    words = ("c.polytask", "rows.csv", "--background", "back.csv")
    _run(folder, *words, "--label", "up", "--out", "up.csv", "--force")
    _run(folder, *words, "--label", "down", "--out", "down.csv", "--force")
    up, down = pd.read_csv(folder / "up.csv"), pd.read_csv(folder / "down.csv")
    assert set(up["class"]) == {"up"}
    np.testing.assert_allclose(up["contribution of hours"], -down["contribution of hours"])
    # Counted from the mean of the background.
    near = up["contribution of hours"].to_numpy()[:7]
    assert abs(near[up["task"][:7] == "a"].mean()) < 1e-9
    status, _, err = _run(folder, *words, "--out", "c.png", "--force")
    assert status == 0, err
    assert (folder / "c.png").read_bytes().startswith(b"\x89PNG")


def test_targets_stand_below_each_other(folder):
    words = ("t.polytask", "rows.csv", "--id", "pupil", "--out", "t.csv", "--force")
    assert _run(folder, *words)[0] == 0
    table = pd.read_csv(folder / "t.csv")
    assert table["task"].tolist() == [0] * 60 + [1] * 60
    assert table["pupil"].tolist() == [*range(60)] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rows.csv", "--label", "up"), "label is for models of classes"),
        (("rows.csv", "--out", "c.txt"), ".csv"),
        (("rows.csv", "--background", "none.csv"), "none.csv"),
        ((), "DATA"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(folder, words, said):
    status, _, err = _run(folder, "m.polytask", *words)
    assert status == 2
    assert said in err
    assert "Traceback" not in err
