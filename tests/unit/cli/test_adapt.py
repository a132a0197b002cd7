"""``polytask adapt``: the same as Python, and one sentence for everything that can go wrong."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from unit.cli._comparing import three_tasks

import polytask
from polytask import load
from polytask.cli import main
from polytask.data.readers import read_table

FIT = ("--task", "g", "--target", "y", "--model", "multitask", "--penalty", "toward_mean(0.1)")


@pytest.fixture(scope="module")
def model_of_two(tmp_path_factory):
    """Return the model of tasks a and b, as it is written."""
    folder = tmp_path_factory.mktemp("two")
    table = three_tasks()
    table[table.g != "c"].to_csv(folder / "old.csv", index=False)
    with contextlib.chdir(folder):
        assert main(["fit", "old.csv", *FIT, "--out", "m.polytask"]) == 0
    return Path(folder, "m.polytask").read_bytes()


@pytest.fixture
def files(folder, plain, model_of_two):
    """Put the model of tasks a and b beside their rows; new.csv holds eight rows of task c."""
    plain[plain.g != "c"].to_csv("old.csv", index=False)
    new = plain[plain.g == "c"].head(8).copy()
    new["y"] += 2.0
    new.to_csv("new.csv", index=False)
    Path("m.polytask").write_bytes(model_of_two)
    return new


def test_a_new_task_is_learned_as_in_python(run, files):
    done = run("adapt", "m.polytask", "new.csv", "--target", "y", "--out", "more.polytask")
    assert done.status == 0, done.err
    assert "Adapted to 1 task (c) with 8 rows." in done.out
    assert "Wrote more.polytask." in done.out
    table = read_table("new.csv").table
    want = polytask.adapt(load("m.polytask"), table[["g", "x", "z"]], table["y"].to_numpy())
    got = load("more.polytask")
    np.testing.assert_array_equal(got.coef_, want.coef_)
    assert got.adaptation_ == want.adaptation_
    assert run("predict", "more.polytask", "new.csv", "--out", "p.csv").status == 0
    assert np.abs(read_table("p.csv").table["prediction"] - table["y"]).mean() < 1.0


@pytest.mark.parametrize("model", ["multitask", "learned-prior"])
def test_held_out_errors_are_not_kept_but_intervals_of_the_models_own_are(run, files, model):
    words = ("--task", "g", "--target", "y", "--model", model, "--out", "old.polytask")
    assert run("fit", "old.csv", *words).status == 0
    done = run("adapt", "old.polytask", "new.csv", "--target", "y", "--out", "more.polytask")
    said = "more.polytask has no prediction intervals, unlike old.polytask" in done.err
    done = run("predict", "more.polytask", "new.csv", "--interval", "0.9", "--out", "p.csv")
    told = "which a model from polytask adapt does not keep" in done.err
    own = model == "learned-prior"
    assert (said, told, done.status) == ((False, False, 0) if own else (True, True, 2))


def test_the_given_model_is_not_changed(run, files):
    before = Path("m.polytask").read_bytes()
    run("adapt", "m.polytask", "new.csv", "--target", "y", "--out", "more.polytask")
    assert Path("m.polytask").read_bytes() == before


def test_without_a_target_new_tasks_get_what_is_shared(run, files):
    files.drop(columns="y").to_csv("bare.csv", index=False)
    done = run("adapt", "m.polytask", "bare.csv", "--out", "more.polytask")
    assert done.status == 0, done.err
    assert "Without targets of their rows, new tasks are predicted from what the" in done.out
    assert "--target" not in done.err
    model = load("more.polytask")
    np.testing.assert_allclose(model.coef_[2], model.coef_[:2].mean(axis=0), rtol=1e-12)


def test_without_a_target_columns_that_may_hold_it_are_named(run, files):
    done = run("adapt", "m.polytask", "new.csv", "--out", "more.polytask")
    assert done.status == 0, done.err
    assert "does not use these columns of new.csv: 'y'. If one of them is the target" in done.err


def test_json_holds_the_report(run, files):
    done = run("adapt", "m.polytask", "new.csv", "--target", "y", "--out", "x.polytask", "--json")
    content = json.loads(done.out)
    assert content["tasks"] == ["c"]
    assert content["rows"] == [8]
    assert content["chosen"] == "adapted"
    assert content["scores"]["adapted"] < content["scores"]["source"]
    assert content["summary"].startswith("Adapted to 1 task")


def test_a_new_domain_is_judged(run, files):
    done = run(
        "adapt", "m.polytask", "new.csv", "--target", "y", "--domain", "new", "--source",
        "old.csv", "--out", "more.polytask", "--json",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert set(json.loads(done.out)["scores"]) == {"adapted", "source", "target", "pooled"}


def test_a_shift_needs_no_targets_of_new_rows(run, files, plain):
    moved = plain[(plain.g != "c") & (plain.x > 0)].drop(columns="y")
    moved.to_csv("moved.csv", index=False)
    done = run(
        "adapt", "m.polytask", "moved.csv", "--target", "y", "--domain", "shift", "--source",
        "old.csv", "--out", "more.polytask",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "with these weights they count as" in done.out


def test_a_new_target_is_a_new_task(run, plain):
    plain["w"] = plain["y"] + 1.0
    plain.to_csv("a.csv", index=False)
    words = ("--targets", "y,z", "--drop", "g,w", "--model", "multitask")
    assert run("fit", "a.csv", *words, "--out", "m.polytask").status == 0
    done = run("adapt", "m.polytask", "a.csv", "--target", "w", "--out", "n.polytask")
    assert done.status == 0, done.err
    assert load("n.polytask").tasks_.tolist() == ["z", "y", "w"]


def test_files_per_task_need_the_column_of_the_task(run, folder, plain, files):
    (folder / "tasks").mkdir()
    for name, part in plain[plain.g != "c"].groupby("g"):
        part.drop(columns="g").to_csv(folder / "tasks" / f"{name}.csv", index=False)
    pattern = ("--file-per-task", "tasks/*.csv", "--target", "y", "--model", "multitask")
    assert run("fit", *pattern, "--out", "s.polytask").status == 0
    done = run("adapt", "s.polytask", "new.csv", "--target", "y", "--out", "t.polytask")
    assert done.err.startswith("Error: The model has 2 tasks: name the column of new.csv")
    again = ("--task", "g", "--out", "t.polytask")
    done = run("adapt", "s.polytask", "new.csv", "--target", "y", *again)
    assert done.status == 0, done.err
    assert load("t.polytask").tasks_.tolist() == ["a", "b", "c"]


REFUSED = {
    "no rows": (("m.polytask",), "polytask adapt needs DATA"),
    "no such model": (("x.polytask", "new.csv", "--target", "y"), "There is no file x.polytask."),
    "truncated": (("cut.polytask", "new.csv", "--target", "y"), "cut.polytask is cut short"),
    "no such target": (("m.polytask", "new.csv", "--target", "yy"), "new.csv has no column 'yy'."),
    "missing column": (
        ("m.polytask", "narrow.csv", "--target", "y"),
        "narrow.csv lacks 1 of the 3 columns that the model needs: 'z'.",
    ),
    "missing target": (
        ("m.polytask", "gap.csv", "--target", "y"),
        "Target 'y' of gap.csv is missing in 1 row (3)",
    ),
    "known task": (("m.polytask", "old.csv", "--target", "y"), "the model knows 'a' already"),
    "other model": (
        ("single.polytask", "new.csv", "--target", "y"),
        "SingleTask has one model per task",
    ),
    "shift without source": (
        ("m.polytask", "new.csv", "--target", "y", "--domain", "shift"),
        "--domain shift needs --source",
    ),
    "new without target": (("m.polytask", "new.csv", "--domain", "new"), "--domain new needs"),
    "source without domain": (
        ("m.polytask", "new.csv", "--target", "y", "--source", "old.csv"),
        "--source is for --domain shift or --domain new",
    ),
    "weight without target": (("m.polytask", "new.csv", "--weight", "x"), "--weight needs"),
    "other task column": (
        ("m.polytask", "new.csv", "--target", "y", "--task", "x"),
        "The model reads the tasks from column 'g'",
    ),
    "combination": (
        ("auto.polytask", "new.csv", "--target", "y"),
        "auto.polytask combines models, and polytask adapt extends a single one. To learn",
    ),
    "text for numbers": (("m.polytask", "text.csv", "--target", "y"), "must hold numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_sentence(run, files, case):
    files.drop(columns="z").to_csv("narrow.csv", index=False)
    files.assign(y=np.where(np.arange(8) == 1, np.nan, 1.0)).to_csv("gap.csv", index=False)
    files.assign(y="many").to_csv("text.csv", index=False)
    Path("cut.polytask").write_bytes(Path("m.polytask").read_bytes()[:-200])
    if case == "other model":
        words = ("--task", "g", "--target", "y", "--model", "single")
        assert run("fit", "old.csv", *words, "--out", "single.polytask").status == 0
    if case == "combination":
        words = ("--task", "g", "--target", "y", "--models", "pooled", "--jobs", "1")
        assert run("auto", "old.csv", *words, "--out", "auto.polytask").status == 0
    arguments, said = REFUSED[case]
    done = run("adapt", *arguments, "--out", "out.polytask")
    assert done.status == 2, done.out + done.err
    assert said in done.err
    assert done.err.count("Error:") == 1
    assert not Path("out.polytask").exists()


@pytest.mark.parametrize("model", ["separate", "pooled"])
def test_a_model_that_cannot_be_extended_is_told_the_command_instead(run, files, model):
    words = ("--task", "g", "--target", "y", "--model", model, "--out", "own.polytask")
    assert run("fit", "old.csv", *words).status == 0
    done = run("adapt", "own.polytask", "new.csv", "--target", "y", "--out", "b.polytask")
    assert done.status == 2
    command = "polytask fit OLD.csv --task g --target y --features x,z --out joint.polytask"
    assert command in " ".join(done.err.split())
    if model == "pooled":
        done = run("predict", "own.polytask", "new.csv", "--unseen-tasks", "shared",
                   "--out", "p.csv")  # fmt: skip
        assert done.status == 0


def test_the_file_to_write_is_kept_unless_forced(run, files):
    words = ("adapt", "m.polytask", "new.csv", "--target", "y")
    assert "it is a file that is read" in run(*words, "--out", "m.polytask", "--force").err
    assert "Name the file to write with --out" in run(*words).err
    assert run(*words, "--out", "a.polytask").status == 0
    assert "exists already" in run(*words, "--out", "a.polytask").err
    assert run(*words, "--out", "a.polytask", "--force").status == 0
