"""Compare: the verdict, the tables, the model and the line to run next, in every form of data."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unit.cli._comparing import (
    FEW,
    FILES,
    NAMES,
    ONE,
    QUICK,
    SAME,
    comparison,
    files_of,
    next_words,
    predicted,
    raising,
    verdict_of,
)

import polytask
from polytask.comparison import work as _run
from polytask.comparison.actions import action_words
from polytask.comparison.tables import group_word
from polytask.data.readers import read_table
from polytask.messages import Translator

pytestmark = pytest.mark.usefixtures("light")


def test_verdict_then_leaderboard_then_what_to_run_next(finished):
    folder, out, err = finished
    lines = out.splitlines()
    assert lines[0].startswith("Verdict: ")
    assert len(lines[0]) > len("Verdict: ") + 20
    table = "\n".join(lines[1:])
    assert table.index("separate") > 0
    assert all(name in table for name in ("pooled", "near the mean"))
    assert lines[-1].strip() == (
        "polytask predict out/model/model.polytask NEW.csv --out out/predictions.csv"
    )
    assert "\x1b" not in out
    assert "95% interval" in out
    assert "Scores on held-out rows (3 of 3 splits)" in out
    for words in ("Rows         120", "Tasks        3 (40 rows each)", "3 splits, 10 steps: "):
        assert words in err
    assert files_of(folder / "out") == FILES


def _in_python(path):
    table = read_table(path).table
    X, y = table.drop(columns="y"), table["y"]
    return polytask.compare(X, y, task_column="g", models=NAMES, cv=3)


@pytest.mark.slow
def test_tables_are_those_of_python(finished):
    folder, _, _ = finished
    result = _in_python(folder / "a.csv")
    scores = read_table(folder / "out" / "scores.csv").table
    expected = result.to_frame()
    for name in ("model", "score", "low", "high", "picked"):
        assert scores[name].tolist() == expected[name].tolist()
    tasks = read_table(folder / "out" / "tasks.csv").table
    for name in ("task", "rows", "gain", "low", "high"):
        assert tasks[name].tolist() == result.task_gains[name].tolist()
    # Words are those of the report.
    say, gains = Translator(), result.task_gains
    assert tasks["group"].tolist() == [group_word(task, result, say) for task in result.tasks]
    actions = [action_words(action, result, say) for action in gains["action"]]
    assert tasks["action"].tolist() == actions
    assert set(scores["kind"]) <= {"separate", "pooled", "joint"}


def test_report_in_three_forms_and_json_can_be_read_back(finished):
    folder, out, _ = finished
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html")
    text = (folder / "out" / "report.md").read_text(encoding="utf-8")
    assert "near the mean" in text
    content = (folder / "out" / "report.json").read_text(encoding="utf-8")
    held = polytask.Comparison.from_json(content)
    assert held.verdict in json.loads(content).values()
    assert held.lock["command"]["complete"] is True
    assert out.splitlines()[0] == held.summary().splitlines()[0]


def test_printed_line_works_as_printed_twice(run, there, finished):
    shutil.copy("a.csv", "NEW.csv")
    words = shlex.split(finished[1].splitlines()[-1])
    assert run(*words[1:]).status == 0
    assert len(read_table("out/predictions.csv").table) == 120
    # Now that the file exists, the line says that it may be replaced.
    again = comparison(run, *SAME)
    assert next_words(again)[-1] == "--force"
    assert len(predicted(run, again)) == 120


def test_lock_says_what_was_run(there):
    lock = json.loads(Path("out/run.lock.json").read_text(encoding="utf-8"))
    assert {"data", "settings", "seed", "versions", "threads", "command"} <= set(lock)
    assert "plan" not in lock["settings"]
    assert "target" not in lock
    command = lock["command"]
    assert command["options"]["models"] == ["separate", "pooled", "near the mean"]
    assert list(command["files"]) == ["a.csv"]
    assert command["folder"] == ".."
    assert command["complete"] is True
    words = shlex.split(command["line"])
    assert words[:3] == ["polytask", "compare", "a.csv"]


@pytest.mark.slow
def test_saved_model_is_the_recommended_one(there):
    held = polytask.Comparison.from_json(Path("out/report.json").read_text(encoding="utf-8"))
    result = _in_python("a.csv")
    model = polytask.load("out/model/model.polytask")
    assert result.recommended == held.recommended
    table = read_table("a.csv").table
    # Both find the tasks in the table.
    X = table[["g", "x", "z"]]
    np.testing.assert_array_equal(model.predict(X), result.best_model().predict(X))


@pytest.mark.slow
def test_chinese_names_classes_and_language(run, pupils):
    pupils.to_csv("学生 表.csv", index=False, encoding="gb18030")
    done = comparison(
        run, "学生 表.csv", "--task", "学校", "--target", "及格", "--id", "编号", "--drop", "分数",
        "--quick", "--jobs", "1", "--lang", "zh", out="比较 一",
    )  # fmt: skip
    assert any("\u4e00" <= letter <= "\u9fff" for letter in verdict_of(done))
    found = predicted(run, done, "学生 表.csv")
    assert found["编号"].tolist() == pupils["编号"].tolist()
    assert list(found.columns)[:3] == ["编号", "学校", "prediction"]
    assert "第0中学" in Path("比较 一/tasks.csv").read_text(encoding="utf-8")
    lock = json.loads(Path("比较 一/run.lock.json").read_text(encoding="utf-8"))
    assert list(lock["command"]["files"]) == ["学生 表.csv"]


@pytest.mark.slow
def test_targets_form_of_both_kinds(run, pupils):
    pupils.to_csv("p.csv", index=False)
    done = comparison(run, "p.csv", "--targets", "分*,及格", "--drop", "编号,学校", "--quick",
                    "--jobs", "1")  # fmt: skip
    assert "'及格' holds text (否, 是): classification." in done.err
    assert "--task" not in next_words(done)
    assert "Chosen" in done.out
    assert "95% interval" in done.out
    assert {"分数", "及格"} <= set(predicted(run, done, "p.csv").columns)


@pytest.mark.slow
def test_a_file_per_task_and_one_table_give_the_same(run, folder, plain):
    (folder / "tasks").mkdir()
    plain["day"] = np.arange(len(plain)) % 40
    for name, part in plain.groupby("g"):
        part.drop(columns="g").to_csv(folder / "tasks" / f"{name}.csv", index=False)
    plain.to_csv("all.csv", index=False)
    for way in (("--time", "day"), ("--group", "day")):
        pattern = ("--file-per-task", "tasks/*.csv", "--target", "y")
        done = comparison(run, *pattern, *FEW, "--quick", *way, out="a")
        comparison(run, "all.csv", *ONE, *FEW, "--quick", *way, out="b")
        scores = [read_table(f"{name}/scores.csv").table for name in "ab"]
        assert scores[0]["model"].tolist() == scores[1]["model"].tolist()
        np.testing.assert_allclose(scores[0]["score"], scores[1]["score"], rtol=1e-8)
        assert predicted(run, done, "tasks/*.csv")["task"].tolist() == plain["g"].tolist()
        shutil.rmtree("a")
        shutil.rmtree("b")


@pytest.mark.slow
def test_group_and_time_are_no_features_unless_asked(run, plain):
    plain["day"] = pd.date_range("2020-01-01", periods=40).astype(str).tolist() * 3
    plain["k"] = np.arange(len(plain)) // 2
    plain.to_csv("a.csv", index=False)
    done = comparison(run, *QUICK, "--time", "day", "--drop", "k")
    assert "Columns      2 to learn from" in done.err
    assert "by 'day'; the earliest are for training only. All rows: 2020-01-01 to" in done.err
    assert "holds dates" not in done.err
    done = comparison(run, *QUICK, "--group", "k", "--features", "x,z,k", out="b")
    assert "Columns      3 to learn from" in done.err
    assert "whole groups of rows with the same 'k' (60 groups)" in done.err
    assert polytask.load("b/model/model.polytask").feature_names_in_.tolist() == [
        "g",
        "x",
        "z",
        "k",
    ]
    settings = [
        json.loads(Path(name, "run.lock.json").read_text(encoding="utf-8"))["settings"]
        for name in ("out", "b")
    ]
    assert [setting["splits"] for setting in settings] == ["time", "grouped"]


def test_quick_is_about_the_models_and_splits_about_the_folds(run, plain):
    plain.to_csv("a.csv", index=False)
    done = comparison(run, *QUICK, "--splits", "2", "--margin", "7.5")
    assert "(2 of 2 splits)" in done.out
    # The options are those of the command line, and the data are described once.
    assert "Before you act on it, leave out --quick: then more models are tried." in done.out
    assert "features: regression." not in done.err
    # Nothing is as far apart as that.
    assert verdict_of(done).endswith("joint models make no practical difference")
    assert "within the margin: between -7.5 and +7.5" in done.out
    held = polytask.Comparison.from_json(Path("out/report.json").read_text(encoding="utf-8"))
    assert (held.margin, held.setup.planned, held.setup.quick) == (7.5, 2, True)
    assert json.loads(Path("out/run.lock.json").read_text(encoding="utf-8"))["command"]["options"][
        "margin"
    ] == pytest.approx(7.5)


def test_a_model_that_fails_in_one_split_is_named_on_the_terminal(run, plain, monkeypatch):
    work = _run.run_unit

    def failing(study, unit):
        lost = unit.model == "separate" and unit.split == 1
        return {"failed": "ValueError: no luck"} if lost else work(study, unit)

    monkeypatch.setattr(_run, "run_unit", failing)
    plain.to_csv("a.csv", index=False)
    done = comparison(run, *SAME)
    (line,) = [line for line in done.out.splitlines() if line.startswith("Left out")]
    assert line == "Left out: “separate” (failed in 1 of 3 splits: ValueError: no luck)."
    assert "Use “separate”" not in done.out


@pytest.mark.slow
def test_unseen_holds_out_whole_tasks(run, plain):
    table = pd.concat([plain, plain.assign(g=plain["g"] + "2")], ignore_index=True)
    table.to_csv("a.csv", index=False)
    done = comparison(run, "a.csv", *ONE, "--models", "pooled", "--models", "near the mean",
                    "--unseen", "--quick", "--jobs", "1")  # fmt: skip
    assert "Held out     whole tasks" in done.err
    lock = json.loads(Path("out/run.lock.json").read_text(encoding="utf-8"))
    assert lock["settings"]["splits"] == "unseen"


@pytest.mark.slow
def test_weights_and_missing_targets(run, plain):
    plain["w"] = 1.0
    plain["y"] = plain["y"].astype(object)
    plain.loc[5, "y"] = None
    plain.to_csv("a.csv", index=False)
    done = comparison(run, *QUICK, "--weight", "w", "--drop-missing-target")
    assert re.search(r"Rows +119\nTasks +3 ", done.err)
    assert len(predicted(run, done)) == 120


@pytest.mark.slow
def test_configuration_file_may_say_everything(run, plain):
    plain.to_csv("a.csv", index=False)
    Path("run.toml").write_text(
        'data = "a.csv"\ntask = "g"\ntarget = ["y"]\nmodels = ["separate", "near the mean"]\n'
        'quick = true\njobs = 1\nout = "c"\n',
        encoding="utf-8",
    )
    done = run("compare", "--config", "run.toml")
    assert done.status == 0, done.err
    lock = json.loads(Path("c/run.lock.json").read_text(encoding="utf-8"))
    assert lock["command"]["options"]["models"] == ["separate", "near the mean"]
    assert "--config" not in lock["command"]["line"]


@pytest.mark.slow
def test_names_of_groups_are_not_in_the_model(run, plain, monkeypatch):
    plain["patient"] = [f"patient {k // 2}" for k in range(len(plain))]
    plain.to_csv("a.csv", index=False)
    monkeypatch.setattr("polytask.comparison.answer.verdict", lambda *_: "share")
    monkeypatch.setattr("polytask.comparison.answer._matched", lambda *_: False)
    done = comparison(run, *QUICK, "--group", "patient")
    assert "Use “near the mean”: " in done.out
    assert len(predicted(run, done)) == 120
    for path in Path("out/model").iterdir():
        assert b"patient" not in path.read_bytes()


@pytest.mark.slow
def test_a_model_that_cannot_be_saved_is_said(run, plain, monkeypatch):
    plain.to_csv("a.csv", index=False)
    monkeypatch.setattr(polytask, "save", raising(polytask.DataError("It holds a lambda.")))
    done = comparison(run, *QUICK)
    assert "could not be kept: It holds a lambda." in done.err
    assert "polytask predict" not in done.out
    assert not Path("out/model").exists()


def test_the_saved_report_repeats_what_the_encoder_said(run, folder, plain):
    plain["shade"] = [f"s{k % 40}" for k in range(len(plain))]
    plain.to_csv("a.csv", index=False)
    done = comparison(run, *QUICK, "--lang", "zh")
    told = "列 'shade' 有 40 个取值，多于 30 个：最少见的 11 个共用一个特征。"
    assert done.err.count(told) == 1
    assert f"- {told}" in (folder / "out" / "report.md").read_text("utf-8")
