"""``polytask monitor``: what it prints and writes, and its exit status."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from unit.cli._running import run_in

from polytask import MultiTaskRegressor, calibrate, load, monitor, save
from polytask.messages import unmarked
from polytask.penalties import L2
from polytask.reporting import markdown


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where, rng = tmp_path_factory.mktemp("monitor"), np.random.default_rng(0)
    table = pd.DataFrame({"hours": rng.normal(size=120).round(3),
                          "school": np.repeat(["a", "b", "c"], 40)})  # fmt: skip
    y = 2 * table["hours"] + rng.normal(size=120)
    model = MultiTaskRegressor(L2(0.01), task_column="school").fit(table, y)
    save(calibrate(model, table, y), where / "m.polytask")
    wide = pd.DataFrame({"u": y, "v": -y})
    save(MultiTaskRegressor(L2(0.01)).fit(table[["hours"]], wide), where / "t.polytask")
    table.assign(score=y, u=y, v=-y).to_csv(where / "same.csv", index=False)
    table.assign(hours=table["hours"] + 3, score=y).to_csv(where / "moved.csv", index=False)
    table.head(1).to_csv(where / "few.csv", index=False)
    return where


def _run(folder, *words):
    return run_in(folder, "monitor", *words)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["m.polytask", "same.csv", "--target", "score"], 0, "No change was found"),
        (["m.polytask", "moved.csv"], 3, "Get targets"),
        (["m.polytask", "moved.csv", "--target", "score"], 4, "Refit the model"),
        (["m.polytask", "few.csv"], 5, "Inconclusive"),
        (["t.polytask", "same.csv"], 0, "No change was found"),
    ],
)
def test_status_and_what_to_do(folder, words, status, said):
    found, out, err = _run(folder, *words)
    assert (found, said in out) == (status, True), err
    # What the columns of errors are is said where they hold numbers.
    assert ("Growth (shrunken): the error over the usual one" in out) == (status in (0, 4))


def test_report_json_and_refusals(folder):
    words = ("m.polytask", "moved.csv", "--json", "--out", "r.md", "--force")
    status, out, _ = _run(folder, *words)
    content = json.loads(out)
    assert (status, content["shifts"][0]["column"]) == (3, "hours")
    assert "hours" in (folder / "r.md").read_text(encoding="utf-8")
    assert _run(folder, "m.polytask", "moved.csv", "--target", "grade")[0] == 2
    assert _run(folder, "m.polytask", "none.csv")[0] == 2
    assert _run(folder, "m.polytask", "few.csv", "--rate", "0")[0] == 2


def test_the_first_screen_says_what_was_checked_when_and_how(folder):
    words = ("m.polytask", "moved.csv", "--target", "score")
    for lang, day in (("en", "checked on 20"), ("zh", "检查日期：20")):
        _run(folder, *words, "--lang", lang, "--out", f"{lang}.html")
        first = (folder / f"{lang}.html").read_text(encoding="utf-8").split("</header>")[0]
        for said in ("moved.csv", "m.polytask", day, "polytask monitor m.polytask moved.csv"):
            assert said in first.split("<body>")[1]
    found = monitor(load(folder / "m.polytask"), pd.read_csv(folder / "moved.csv"))
    page = found.document()
    assert unmarked(page.facts[0]) == "model: MultiTaskRegressor"
    assert markdown(page).count(page.headline) == found.summary().count(page.headline) == 1
