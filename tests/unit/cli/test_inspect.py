"""What ``inspect`` says of tables and models."""

from __future__ import annotations

import json
import shlex
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from polytask import MultiTaskRegressor, Pooled, load, save
from polytask.cli.columns import likely_tasks


def test_table(run, pupils):
    pupils["年龄2"] = pupils["年龄"]
    pupils["常数"] = 1
    pupils.to_csv("p.csv", index=False)
    done = run("inspect", "p.csv")
    assert done.status == 0
    assert "p.csv: 160 rows, 10 columns" in done.out
    assert "编号: nearly every value different" in done.out
    assert "年龄2: same as 年龄" in done.out
    assert "常数: constant" in done.out
    assert "学校 (4)" in done.out
    assert done.err == ""


def test_tasks_and_targets(run, pupils):
    pupils.loc[0, "学校"] = "新学校"
    pupils.to_csv("p.csv", index=False)
    done = run("inspect", "p.csv", "--task", "学校", "--target", "分数", "--target", "及格")
    assert "Tasks by '学校': 5, with 1 to " in done.out
    assert "). 1 of them has one row only.\n" in done.out
    assert "Target '分数' holds numbers: regression." in done.out
    assert "Target '及格' holds text (否, 是): classification." in done.out


def test_tasks_without_faults_are_told_without_them(run, plain):
    plain.to_csv("a.csv", index=False)
    done = run("inspect", "a.csv", "--task", "g")
    assert "Tasks by 'g': 3, with 40 rows each.\n" in done.out


def test_lists_and_records_are_no_features(run, plain):
    plain["tags"], plain["place"] = [["a", "b"]] * 120, [{"x": 1}] * 120
    plain.to_parquet("a.parquet")
    done = run("inspect", "a.parquet", "--task", "g", "--target", "y")
    assert done.status == 0
    assert "tags: not a feature: split it into columns" in done.out
    assert "--drop tags --drop place" in done.out.splitlines()[-1]
    done = run("fit", "a.parquet", "--task", "g", "--target", "y", "--out", "m.polytask")
    assert done.status == 2
    assert "Column 'tags' holds lists or records" in done.err


def test_decimals_are_no_identifiers(run, plain):
    for name in ("x", "y"):
        plain[name] = [Decimal(f"{cell:.3f}") for cell in plain[name]]
    plain.to_parquet("a.parquet")
    done = run("inspect", "a.parquet", "--task", "g", "--target", "y")
    assert "identifier" not in done.out
    assert "--drop" not in done.out.splitlines()[-1]


def test_targets_that_are_tasks_are_asked_for_no_task(run, plain):
    plain["number"] = range(1, 121)
    plain.drop(columns="g").to_csv("a.csv", index=False)
    done = run("inspect", "a.csv", "--target", "y", "--target", "z")
    assert "Each target is a task." in done.out
    assert "name the task" not in done.out
    line = "polytask compare a.csv --target z --target y --id number --out comparison --quick"
    assert done.out.splitlines()[-1].strip() == line
    # Where nothing is given, both forms are named.
    lines = [line.strip() for line in run("inspect", "a.csv").out.splitlines()[-4:]]
    assert lines == [
        "polytask compare a.csv --task COL --target COL --id number --out comparison --quick",
        "Or, where each target is a task:",
        "polytask compare a.csv --targets COL,COL --id number --out comparison --quick",
        "Replace COL by the name of a column: --task names the task of each row, --target is "
        "what to predict.",
    ]


def test_the_next_command_works_as_printed(run, plain):
    plain["when"] = pd.date_range("2020-01-01", periods=120)
    plain["pupil"] = [f"p{i}" for i in range(120)]
    plain.loc[3, "y"] = np.nan
    plain.to_csv("a.csv", index=False)
    done = run("inspect", "a.csv", "--task", "g", "--target", "y")
    line = done.out.splitlines()[-1].strip()
    assert line == (
        "polytask compare a.csv --task g --target y --date-features --id pupil "
        "--drop-missing-target --out comparison --quick"
    )
    # What compare refuses says the same, and proposes the same.
    said = (
        "If it says which rows come later in time, and later rows are to be predicted, hold these"
    )
    assert said in " ".join(done.out.split())
    words = line.replace("--date-features ", "").split()[1:]
    refused = run(*words)
    assert refused.status == 2
    assert said in refused.err
    assert refused.err.splitlines()[-1].endswith("--date-features")
    # Dates of birth order no rows; those with a gap cannot.
    plain.loc[5, "when"] = pd.NaT
    plain.to_csv("a.csv", index=False)
    for told in (run("inspect", "a.csv").out, run(*words).err):
        assert "or leave it out (--drop when)." in " ".join(told.split())
        assert "--time" not in told


def test_copies_of_the_target_are_named(run, plain):
    plain["cents"] = (100 * plain["y"]).round()
    plain.to_csv("a.csv", index=False)
    done = run("inspect", "a.csv", "--task", "g", "--target", "y")
    assert "cents: equals the target 'y' up to a factor and a constant, in all rows" in done.out
    assert "--drop cents" in done.out.splitlines()[-1]
    parts = plain.assign(cents=plain["y"] / 3 + plain.index % 7, rest=plain["y"])
    parts["rest"] -= parts["cents"]
    parts.to_csv("b.csv", index=False)
    done = run("inspect", "b.csv", "--task", "g", "--target", "y")
    assert "The sum of the columns 'cents', 'rest', each times a factor" in done.out


def test_json(run, pupils):
    pupils.to_csv("p.csv", index=False)
    done = run("inspect", "p.csv", "--task", "学校", "--target", "及格", "--json")
    facts = json.loads(done.out)
    assert facts["rows"] == 160
    assert facts["tasks"]["count"] == 4
    assert facts["targets"][0]["kind"] == "classification"
    assert {column["name"]: column["kind"] for column in facts["columns"]} == {
        "学校": "text", "编号": "text", "年龄": "numbers", "颜色": "text", "住校": "true/false",
        "身高": "numbers", "分数": "numbers", "及格": "text",
    }  # fmt: skip


def test_strange_columns(run):
    pd.DataFrame(
        {
            "when": pd.date_range("2020-01-01", periods=3),
            "nothing": [None, None, None],
            "kind": pd.Categorical(["a", "b", "a"]),
            "count": [1, 2, 3],
            "far": [np.inf, 1.0, 2.0],
        }
    ).to_parquet("p.parquet")
    facts = json.loads(run("inspect", "p.parquet", "--json").out)
    assert [column["kind"] for column in facts["columns"]] == [
        "dates", "empty", "categories", "whole numbers", "numbers"
    ]  # fmt: skip
    assert "holds dates." in facts["columns"][0]["remarks"][0]
    assert facts["columns"][0]["example"] == "2020-01-01 to 2020-01-03"


def test_model(run, pupils):
    pupils.to_csv("p.csv", index=False)
    run("fit", "p.csv", "--task", "学校", "--target", "及格", "--drop", "分数,编号", "--out",
        "m.polytask", "--model", "multitask")  # fmt: skip
    done = run("inspect", "m.polytask")
    assert done.status == 0, done.err
    assert "MultiTaskClassifier with L21(fraction=0.1)" in done.out
    assert "4, named by column '学校'" in done.out
    # The number of features is said in words: what encoding made of how many columns.
    assert "after encoding, made of " in done.out
    assert "have a coefficient other than zero in some task" in done.out
    assert "proven by the duality gap" in done.out
    assert "Loss         'auto' (squared for numbers, logistic for two classes, " in done.out
    facts = json.loads(run("inspect", "m.polytask", "--json").out)
    assert facts["class"] == "MultiTaskClassifier"
    assert facts["classes"] == ["否", "是"]
    assert facts["status"] == "CONVERGED"
    assert sum(facts["rows_per_task"]) == facts["rows"] == 160
    assert "颜色=红" in facts["features"]


def test_a_model_file_says_what_held_out_rows_said(run, plain):
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--out", "m.polytask")
    fitted, told = run("fit", "a.csv", *words).out, run("inspect", "m.polytask").out
    for label in ("Held out", "Strength", "Intervals"):
        (line,) = (one for one in told.splitlines() if one.startswith(label))
        assert line[: len("Held out     R2 (against the training mean) 0.99")] in fitted


def test_a_learned_prior_of_one_grouping(run, plain):
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--model", "learned-prior", "--out", "m.polytask")
    assert run("fit", "a.csv", *words).status == 0
    done = run("inspect", "m.polytask")
    assert done.status == 0, done.err
    assert "3, named by column 'g'" in done.out
    assert "one per column" in done.out


def test_unknown_column(run, plain):
    plain.to_csv("a.csv", index=False)
    done = run("inspect", "a.csv", "--task", "G")
    assert done.status == 2
    assert "no column 'G'" in done.err


def test_rows_that_stand_together_tell_of_tasks():
    woman = np.repeat(np.arange(8), 6)
    table = pd.DataFrame(
        {
            "year": np.tile(np.arange(6), 8),
            "school_years": woman % 3,
            "central_city": woman % 2,
            "woman": woman,
        }
    )
    names = [hint.name for hint in likely_tasks(table)]
    assert names == ["woman", "year", "school_years", "central_city"]


def test_likely_tasks_put_telling_names_first():
    n = 100
    table = pd.DataFrame(
        {
            "colour": np.resize(["r", "g"], n),
            "school": np.arange(n) % 7,
            "row": np.arange(n),
            "size": np.linspace(0, 1, n),
        }
    )
    assert [hint.name for hint in likely_tasks(table)] == ["school", "colour"]


# Relatedness.


def related_table():
    rng = np.random.default_rng(0)
    task, X = np.repeat(list("ABCDEF"), 20), rng.standard_normal((120, 3))
    y = X @ [1.0, 0.5, 0.0] + rng.standard_normal(120)
    return pd.DataFrame(X, columns=["a", "b", "c"]).assign(school=task, y=y)


def test_related_table(run):
    related_table().to_csv("t.csv", index=False)
    done = run(
        "inspect", "t.csv", "--related", "--task", "school", "--target", "y", "--out", "r.html"
    )
    assert done.status == 0, done.err
    assert done.out.startswith("The tasks are related (test of no relation between the tasks: p")
    assert "Wrote r.html." in done.out
    assert "<!DOCTYPE html>" in Path("r.html").read_text(encoding="utf-8")
    again = run(
        "inspect", "t.csv", "--related", "--task", "school", "--target", "y", "--out", "r.html"
    )
    assert again.status == 2
    assert "r.html exists already" in again.err
    # A folder gets several files, and what is there is kept in the same way.
    Path("r").mkdir()
    Path("r", "report.md").write_text("mine", encoding="utf-8")
    again = run("inspect", "t.csv", "--related", "--task", "school", "--target", "y", "--out", "r")
    assert again.status == 2
    assert "report.md exists already" in again.err
    assert [file.read_text(encoding="utf-8") for file in Path("r").iterdir()] == ["mine"]
    done = run("inspect", "t.csv", "--related", "--task", "school", "--target", "y", "--json")
    facts = json.loads(done.out)
    assert facts["format"] == "polytask.relatedness"
    assert len(facts["tasks"]) == 6
    # A column that is dropped is no feature.
    done = run(
        "inspect", "t.csv", "--related", "--task", "school", "--target", "y", "--drop", "c",
        "--json",
    )  # fmt: skip
    assert json.loads(done.out)["n_features"] == 2


@pytest.mark.slow
def test_related_model(run):
    related_table().to_csv("t.csv", index=False)
    assert run("fit", "t.csv", "--task", "school", "--target", "y", "--out", "m").status == 0
    done = run("inspect", "m", "--related")
    assert done.status == 0, done.err
    assert done.out.startswith("In this model")
    refused = run("inspect", "m", "--related", "--task", "school")
    assert refused.status == 2
    assert "knows its tasks: drop --task" in refused.err


def test_options_of_related_are_refused_without_it(run):
    related_table().to_csv("t.csv", index=False)
    done = run("inspect", "t.csv", "--out", "r.html")
    assert done.status == 2
    assert "--out of polytask inspect goes with --related" in done.err
    done = run("inspect", "t.csv", "--related")
    assert done.status == 2
    assert "needs a target" in done.err


def test_the_next_command_answers_what_compare_refuses(run, plain):
    """Words for missing, free text, a copy of the target: the printed command works at once."""
    rng = np.random.default_rng(0)
    plain["rooms"] = rng.integers(1, 500, 120).astype(str)
    plain["cents"] = 100 * plain.y
    plain["note"] = [f"text {k} {rng.integers(10**9)}" for k in range(120)]
    plain["y"] = plain.y.astype(str)
    plain.loc[7, "rooms"], plain.loc[5, "y"] = "closed", "n/a?"
    plain.to_csv("a.csv", index=False)
    done = run("inspect", "a.csv", "--task", "g", "--target", "y")
    assert done.status == 2
    assert "'n/a?' in row 7, counting the header as row 1" in done.err
    words = shlex.split(done.out.splitlines()[-1])
    assert words[:3] == ["polytask", "compare", "a.csv"]
    assert {"n/a?", "closed", "--drop-missing-target", "cents", "note"} < set(words)
    assert run("fit", *words[2:-3], "--model", "pooled", "--out", "m.polytask").status == 0


def test_spellings_of_one_label_are_remarked_on(run, plain):
    plain.loc[::3, "g"] += " "
    plain.to_csv("a.csv", index=False)
    said = "g: 'a' and 'a ' differ in case or spaces only, and count as different values"
    assert said in run("inspect", "a.csv").out


def test_dates_are_not_proposed_as_tasks(run, plain):
    plain["when"] = [f"{k % 28 + 1:02d}/01/2024" for k in range(120)]
    plain.to_csv("a.csv", index=False)
    told = run("inspect", "a.csv").out
    assert "with the number of distinct values: g (3).\n" in told


def test_the_card_of_a_model_is_written(run):
    save(MultiTaskRegressor().fit(np.eye(6), np.arange(6.0), task=[0, 1] * 3), "m.polytask")
    done = run("inspect", "m.polytask", "--out", "m.card.md")
    assert (done.status, Path("m.card.json").is_file()) == (0, True)
    assert Path("m.card.md").read_text("utf-8") == load("m.polytask").card().markdown
    assert "m.card.md" in done.out
    assert run("inspect", "m.polytask", "--out", "m.card.md").status == 2
    assert ".md or .json" in run("inspect", "m.polytask", "--out", "card.html").err


@pytest.mark.parametrize("case", ["target text", "constant", "one task", "empty task", "word"])
def test_a_command_that_would_be_refused_is_not_proposed_as_it_is(run, plain, case):
    changed = {
        "target text": {"y": [f"free text {k}" for k in range(120)]},
        "constant": {"y": 3.0},
        "one task": {"g": "a"},
        "empty task": {"g": [None, *plain.g[1:]]},
        "word": {"x": ["n/a?", *plain.x.round(4).astype(str)[1:]]},
    }[case]
    plain.assign(**changed).to_csv("a.csv", index=False)
    done = run("inspect", "a.csv", "--task", "g", "--target", "y")
    refused = run("compare", "a.csv", "--task", "g", "--target", "y", "--out", "c").err
    sentence = refused.rpartition("Error: ")[2].splitlines()[0]
    if case == "word":
        assert "--na 'n/a?' --out comparison --quick" in done.out
    elif case == "target text":
        assert sentence in done.err
        assert "polytask compare" not in done.out
    else:
        assert f"polytask compare refuses this table as it is: {sentence}\n" in done.out
        assert "When that is mended, " in done.out


def test_a_saved_model_says_in_chinese_how_tasks_are_told_apart(run, plain):
    model = Pooled(Ridge(), "intercept").fit(plain[["x", "z"]], plain["y"], plain["g"])
    save(model, "m.polytask")
    done = run("inspect", "m.polytask", "--lang", "zh")
    assert "每个任务一个不加惩罚的截距：X 与 y 在任务内中心化" in done.out
    assert "intercept per task" not in done.out


@pytest.mark.parametrize("birth", [False, True])
def test_later_rows_are_held_out_of_series_and_not_of_dates_of_birth(run, folder, birth):
    rng = np.random.default_rng(0)
    days = pd.date_range("2025-01-01", periods=20).strftime("%Y-%m-%d")
    table = pd.DataFrame({"shop": np.repeat(list("abcd"), 20), "day": np.tile(days, 4)})
    if birth:
        table["day"] = rng.permutation(pd.date_range("2009-01-01", periods=80)).astype(str)
    table["price"] = rng.uniform(1, 3, 80)
    table.assign(sold=rng.normal(20 - table.price, 1)).to_csv("a.csv", index=False)
    option = "--date-features" if birth else "--time day"
    roles = ("a.csv", "--task", "shop", "--target", "sold")
    assert f" {option} --out" in run("inspect", *roles).out.splitlines()[-1]
    assert run("compare", *roles, "--out", "o").err.splitlines()[-1].endswith(f"--out o {option}")
