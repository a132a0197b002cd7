"""Tables whose result would be misleading, on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unit.cli._comparing import FEW, ONE

pytestmark = pytest.mark.usefixtures("light")
LEARNING = ("compare", "fit", "auto", "tune", "path")


def outputs(command):
    return "p.png" if command == "path" else "out"


@pytest.fixture
def leaking(plain):
    table = plain.assign(y=plain.y.round(2))
    return table.assign(usd=(1.08 * table.y + 3).round(2))


@pytest.mark.parametrize("command", LEARNING)
def test_a_copy_of_the_target_is_refused(run, leaking, command):
    leaking.to_csv("a.csv", index=False)
    done = run(command, "a.csv", *ONE, "--out", outputs(command))
    assert done.status == 2
    assert done.err == (
        "Error: a.csv has the target among its features: column 'usd' equals the target 'y' up "
        "to a factor and a constant, in all rows. Scores would say nothing about new rows. Leave "
        "it out with --drop 'usd', or say --allow-leak if it is known before the target.\n"
        f"For example:\n  polytask {command} a.csv {' '.join(ONE)} --out {outputs(command)} "
        "--drop usd\n"
    )
    assert not Path("out").exists()


def test_copies_within_tasks_and_of_several_targets(run, leaking):
    factor = leaking.g.map({"a": 2.0, "b": 3.0, "c": 0.7})
    leaking.assign(usd=(factor * leaking.y - factor).round(2)).to_csv("a.csv", index=False)
    done = run("fit", "a.csv", *ONE, "--out", "m.polytask")
    assert "'y' up to a factor and a constant within every task, each with its own" in done.err
    for name, rows in leaking.groupby("g"):
        Path("files").mkdir(exist_ok=True)
        rows.drop(columns="g").to_csv(f"files/{name}.csv", index=False)
    done = run("fit", "--file-per-task", "files/*.csv", "--target", "y", "--out", "m.polytask")
    assert "column 'usd' equals the target 'y'" in done.err
    leaking.assign(t=leaking.x).drop(columns=["g", "x"]).to_csv("b.csv", index=False)
    done = run("fit", "b.csv", "--targets", "y,t", "--out", "m.polytask")
    assert "column 'usd' equals the target 'y'" in done.err


@pytest.mark.slow
def test_what_is_allowed_is_said_on_the_terminal_and_in_the_report_and_can_be_rerun(run, leaking):
    leaking.to_csv("a.csv", index=False)
    done = run("compare", "a.csv", *ONE, *FEW, "--quick", "--allow-leak", "--out", "out")
    assert done.status == 0, done.err
    text = "Column 'usd' equals the target up to a factor and a constant, in all rows"
    assert done.err.count(text) == 1
    report = Path("out/report.md").read_text(encoding="utf-8")
    assert text in report
    verdict = "column 'usd', which looks like a copy of the target, is known before it"
    assert f"provided that {verdict}" in report.partition("\n")[0]
    done = run("rerun", "out/run.lock.json")
    assert done.status == 0, done.err
    done = run("fit", "a.csv", *ONE, "--model", "multitask", "--allow-leak", "--out", "m.polytask")
    assert done.status == 0
    assert text in done.err
    done = run("inspect", "a.csv", *ONE, "--related")
    assert done.status == 0
    assert text in done.err


def test_row_ids_and_far_cells_are_named(run, plain):
    table = plain.assign(row=np.arange(len(plain)), week=np.tile(np.arange(40), 3))
    table.loc[17, "y"] = 1e6
    table.to_csv("a.csv", index=False)
    done = run("fit", "a.csv", *ONE, "--model", "multitask", "--out", "m.polytask")
    assert done.status == 0
    assert "Column 'row' holds a different whole number in nearly every row (0 to 119)" in done.err
    assert "'week'" not in done.err
    assert "The target holds 1000000 in row 19, counting the header as row 1" in done.err
    done = run("compare", "a.csv", *ONE, *FEW, "--quick", "--id", "row", "--out", "out")
    assert "'row'" not in done.err
    text = "The target holds 1000000 in row 19"
    assert done.err.count(text) == 1
    for name in ("report.md", "report.html"):
        assert text in Path("out", name).read_text(encoding="utf-8")
    done = run("inspect", "a.csv")
    assert "y: 1000000 in row 19, counting the header as row 1" in done.out
    assert "row: nearly every value different" in done.out
    assert "week: " not in done.out


def test_whole_numbers_that_are_measured_are_no_row_ids(run, plain):
    income = np.random.default_rng(0).choice(90_000, len(plain), replace=False)
    plain.assign(income=income).to_csv("a.csv", index=False)
    assert "income: " not in run("inspect", "a.csv").out
    done = run("fit", "a.csv", *ONE, "--model", "multitask", "--out", "m.polytask")
    assert done.err == ""


def test_tasks_without_any_target_are_named(run, plain):
    table = pd.concat([plain, plain.assign(g="d"), plain.assign(g="e")], ignore_index=True)
    table.loc[table.g.isin(["d", "e"]) | (table.index == 4), "y"] = np.nan
    table.to_csv("a.csv", index=False)
    done = run("compare", "a.csv", *ONE, *FEW, "--quick", "--drop-missing-target", "--out", "out")
    assert done.status == 0, done.err
    text = "2 tasks have no target at all and are left out: 'd', 'e'."
    assert text in done.err
    assert text in Path("out/report.md").read_text(encoding="utf-8")
