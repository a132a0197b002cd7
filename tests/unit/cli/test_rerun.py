"""Rerun: the same numbers again, or a sentence that says why not."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask.cli import main
from polytask.cli.rerun import first_difference
from polytask.exceptions import DataError

WORDS = ("--task", "g", "--target", "y", "--models", "separate", "--models", "near the mean",
         "--quick", "--jobs", "1")  # fmt: skip

pytestmark = pytest.mark.usefixtures("light")


@pytest.fixture(scope="module")
def finished(light, tmp_path_factory):
    """Return a folder with a table ``data/表 1.csv`` and its comparison ``out``."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "data").mkdir()
    rng = np.random.default_rng(1)
    x = rng.standard_normal(90)
    y = x + 0.1 * rng.standard_normal(90)
    table = pd.DataFrame({"g": np.repeat(["a", "b", "c"], 30), "x": x, "y": y})
    table.to_csv(folder / "data" / "表 1.csv", index=False)
    err = io.StringIO()
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err)
    with contextlib.chdir(folder), quiet[0], quiet[1]:
        status = main(["compare", "data/表 1.csv", *WORDS, "--time-budget", "1h", "--out", "out"])
    assert status == 0, err.getvalue()
    return folder


@pytest.fixture
def there(finished, tmp_path, monkeypatch):
    """Work in a copy of that folder."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def _lock(change):
    path = Path("out/run.lock.json")
    lock = json.loads(path.read_text(encoding="utf-8"))
    change(lock)
    path.write_text(json.dumps(lock), encoding="utf-8")


def _refused(run, *arguments):
    before = set(Path.cwd().rglob("*"))
    done = run("rerun", *arguments)
    assert done.status == 2, done
    assert done.err.splitlines()[-1].startswith("Error: ")
    assert set(Path.cwd().rglob("*")) == before
    return done.err


@pytest.mark.slow
def test_every_number_is_the_same(run, there):
    done = run("rerun", "out/run.lock.json", "--out", "again")
    assert done.status == 0, done.err
    assert done.out.startswith("Verdict: ")
    last = "Identical: every number in scores.csv and tasks.csv is the same as before, apart from "
    last += "times and file sizes."
    assert done.out.splitlines()[-1] == last
    assert "Note:" not in done.err
    locks = [json.loads(Path(n, "run.lock.json").read_text(encoding="utf-8")) for n in
             ("out", "again")]  # fmt: skip
    assert locks[0]["data"] == locks[1]["data"]
    assert locks[0]["settings"] == locks[1]["settings"]
    assert locks[0]["command"]["files"] == locks[1]["command"]["files"]


@pytest.mark.slow
def test_from_another_folder_into_the_next_free_one(run, there, monkeypatch):
    (there / "elsewhere").mkdir()
    (there / "out-rerun").mkdir()
    (there / "out-rerun" / "x").touch()
    monkeypatch.chdir(there / "elsewhere")
    done = run("rerun", "../out/run.lock.json", "--jobs", "1")
    assert done.status == 0, done.err
    assert (there / "out-rerun-2" / "report.html").exists()
    # The line to run next starts from here.
    words = done.out.splitlines()[-3].split()
    assert words[:3] == ["polytask", "predict", "../out-rerun-2/model/model.polytask"]


@pytest.mark.slow
def test_the_whole_may_move(run, there, tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    os.rename(there, tmp_path / "new" / "place")
    monkeypatch.chdir(tmp_path / "new")
    done = run("rerun", "place/out/run.lock.json", "--out", "again")
    assert done.status == 0, done.err
    lock = json.loads(Path("again/run.lock.json").read_text(encoding="utf-8"))
    assert list(lock["command"]["files"]) == ["place/data/表 1.csv"]


@pytest.mark.slow
def test_a_number_that_is_not_the_same_is_named(run, there):
    path = Path("out/scores.csv")
    rows = path.read_text(encoding="utf-8").splitlines()
    column = rows[0].split(",").index("score")
    cells = rows[1].split(",")
    cells[column] = "0.125"
    path.write_text("\n".join([rows[0], ",".join(cells), *rows[2:]]) + "\n", encoding="utf-8")
    done = run("rerun", "out/run.lock.json", "--out", "again")
    assert done.status == 3
    last = done.out.splitlines()[-1]
    assert last.startswith(f"Not identical: score of {cells[0]!r} was 0.125 and is 0.")


def test_changed_data_are_refused(run, there):
    with open("data/表 1.csv", "a", encoding="utf-8") as file:
        file.write("a,1,2\n")
    assert "表 1.csv is not what it was when it was compared on" in _refused(
        run, "out/run.lock.json"
    )


def test_missing_data_are_refused(run, there):
    os.unlink("data/表 1.csv")
    assert "There is no file data/表 1.csv, which was compared on." in _refused(
        run, "out/run.lock.json"
    )


def test_an_unfinished_comparison_is_refused(run, there):
    _lock(lambda lock: lock["command"].update(complete=False))
    words = _refused(run, "out/run.lock.json")
    assert "was stopped before its end" in words
    assert "polytask compare 'data/表 1.csv'" in words


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"command": {"line": 3}}', b"\xff"])
def test_what_is_no_lock(run, folder, content):
    (folder / "run.lock.json").write_bytes(content)
    words = "run.lock.json is not a lock that polytask compare has written."
    assert words in _refused(run, "run.lock.json")


@pytest.mark.slow
def test_a_folder_is_no_lock(run, there):
    assert "out is a folder; name the run.lock.json in it" in _refused(run, "out")


def test_a_folder_that_is_there_is_left_alone(run, there):
    assert "data exists already: a rerun needs a new folder" in _refused(
        run, "out/run.lock.json", "--out", "data"
    )


def test_unknown_and_spoiled_options_are_refused(run, there):
    _lock(lambda lock: lock["command"]["options"].update(tasks="g"))
    assert "'tasks', which compare does not know. Did you mean 'task'?" in _refused(
        run, "out/run.lock.json"
    )
    _lock(lambda lock: lock["command"]["options"].update(seed="many"))
    _lock(lambda lock: lock["command"]["options"].pop("tasks"))
    assert "--seed" in _refused(run, "out/run.lock.json")


@pytest.mark.slow
def test_other_versions_are_noted(run, there):
    _lock(lambda lock: lock["versions"].update(numpy="1.0.0"))
    done = run("rerun", "out/run.lock.json", "--out", "again")
    assert done.status == 0
    assert f"Note: numpy was 1.0.0 then and is {np.__version__} now." in done.err


@pytest.mark.slow
def test_a_file_that_was_added_is_noticed(run, folder, plain):
    (folder / "tasks").mkdir()
    for name, part in plain.groupby("g"):
        part.drop(columns="g").to_csv(folder / "tasks" / f"{name}.csv", index=False)
    done = run("compare", "--file-per-task", "tasks/*.csv", *WORDS[2:], "--out", "out")
    assert done.status == 0, done.err
    done = run("rerun", "out/run.lock.json", "--out", "again")
    assert done.status == 0, done.err
    shutil.copy("tasks/a.csv", "tasks/d.csv")
    assert "now means more files than were compared on: d.csv" in _refused(
        run, "out/run.lock.json"
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("m,s\na,1\n", "m,s\na,1\n", ""),
        ("m,s,fit_seconds\na,1,2\n", "m,s,fit_seconds\na,1,3\n", ""),
        ("m,s\na,1\n", "m,s\na,2\n", "s of 'a' was 1 and is 2"),
        ("m,s\na,1\n", "m,s\na,1.0\n", "s of 'a' was 1 and is 1.0"),
        ("m,s\na,1\n", "m,s\nb,1\n", "m of 'a' was a and is b"),
        ("m,s\na,1\n", "m,s\na,1\nb,2\n", "the rows of old.csv are 1, now 2"),
        ("m,s\na,1\n", "m,t\na,1\n", "the columns of old.csv are m, s, now m, t"),
    ],
)
def test_first_difference(folder, old, new, words):
    Path("old.csv").write_text(old, encoding="utf-8")
    Path("new.csv").write_text(new, encoding="utf-8")
    assert str(first_difference("old.csv", "new.csv")) == words


@pytest.mark.parametrize("text", ["", "m,s\na\n", None])
def test_tables_that_cannot_be_compared(folder, text):
    Path("old.csv").write_text("m,s\na,1\n", encoding="utf-8")
    if text is not None:
        Path("new.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"new\.csv"):
        first_difference("old.csv", "new.csv")
