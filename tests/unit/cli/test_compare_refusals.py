"""What compare cannot use ends in one sentence, status 2, and no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask.cli.options import seconds
from polytask.exceptions import ParameterError

TWICE = ("pooled", "near the mean", "pooled")
ONE = ("--task", "g", "--target", "y", "--quick", "--jobs", "1")


def _refused(run, *arguments):
    before = set(Path.cwd().rglob("*"))
    done = run("compare", *arguments)
    assert done.status == 2, done
    errors = [line for line in done.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, done.err
    # Nothing follows but the command that answers it.
    after = done.err.partition(f"{errors[0]}\n")[2].splitlines()
    assert not after or (after[0], len(after)) == ("For example:", 2), done.err
    assert not after or after[1].startswith("  polytask compare "), done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert set(Path.cwd().rglob("*")) == before
    return errors[0]


OPTIONS = {
    "no data": (("--out", "o"), "polytask compare needs DATA"),
    "no out": (("a.csv", *ONE), "Name the folder to write with --out"),
    "out in no folder": (("a.csv", *ONE, "--out", "p/o"), "Cannot make p/o: there is no folder"),
    "out a file": (("a.csv", *ONE, "--out", "a.csv"), "Cannot write into a.csv: it is a file"),
    "no file": (("b.csv", *ONE, "--out", "o"), "There is no file b.csv. Did you mean 'a.csv'?"),
    "unknown task": (
        ("a.csv", "--task", "gg", "--target", "y", "--out", "o"),
        "a.csv has no column 'gg'. Did you mean 'g'?",
    ),
    "unknown group": (
        ("a.csv", *ONE, "--group", "patint", "--out", "o"),
        "a.csv has no column 'patint'. Did you mean 'patient'?",
    ),
    "unknown time": (("a.csv", *ONE, "--time", "dy", "--out", "o"), "Did you mean 'day'?"),
    "no target": (("a.csv", "--task", "g", "--out", "o"), "needs a target"),
    "one target": (("a.csv", "--target", "y", "--out", "o"), "One --target is one task only"),
    "group with a gap": (
        ("a.csv", *ONE, "--group", "gap", "--out", "o"),
        "--group 'gap' of a.csv is empty in 2 rows (5, 9), counting the header as row 1",
    ),
    "time with a gap": (
        ("a.csv", *ONE, "--time", "gap", "--out", "o"),
        "--time 'gap' of a.csv is empty in 2 rows (5, 9)",
    ),
    "time of text": (
        ("a.csv", *ONE, "--time", "word", "--out", "o"),
        "--time 'word' of a.csv must be dates such as 2024-01-31, 31/12/2024, 31.12.2024, "
        "2024-01, Jan 2022, 31 Jan 2022, 2024-W05 or 2024-Q1; got 'monday' in row 2, counting "
        "the header as row 1.",
    ),
    "time of truth": (
        ("a.csv", *ONE, "--time", "yes", "--out", "o"),
        "must be dates such as 2024-01-31",
    ),
    "group is task": (
        ("a.csv", *ONE, "--group", "g", "--out", "o"),
        "name another column for --group",
    ),
    "group is target": (("a.csv", *ONE, "--group", "y", "--out", "o"), "as --target and as --gr"),
    "two ways": (
        ("a.csv", *ONE, "--group", "patient", "--unseen", "--out", "o"),
        "--group and --unseen hold out different rows, and all models are judged on the same ones",
    ),
    "time and unseen": (
        ("a.csv", *ONE, "--time", "z", "--unseen", "--out", "o"),
        "Give one: --time COL judges predictions of later rows",
    ),
    "unseen targets": (
        ("a.csv", "--targets", "x,z", "--unseen", "--out", "o"),
        "name the column of the tasks with --task",
    ),
    "misspelt model": (
        ("a.csv", *ONE, "--models", "pool", "--out", "o"),
        "--models must be one of 'default', 'deep', 'separate', ",
    ),
    "nearest model": (
        ("a.csv", *ONE, "--models", "near the men", "--out", "o"),
        "Did you mean 'near the mean'?",
    ),
    "same model twice": (
        ("a.csv", *ONE, *(word for name in TWICE for word in ("--models", name)), "--out", "o"),
        "two 'pooled'",
    ),
    "nothing that shares": (
        ("a.csv", *ONE, "--models", "separate", "--models", "pooled", "--out", "o"),
        "--models lacks one that shares, such as 'learned prior'",
    ),
    "nothing but sharing": (
        ("a.csv", *ONE, "--models", "near the mean", "--out", "o"),
        "--models lacks one that does not share, such as 'separate'",
    ),
    "misspelt metric": (
        ("a.csv", *ONE, "--metric", "acuracy", "--out", "o"),
        "Did you mean 'accuracy'?",
    ),
    "nonsense budget": (
        ("a.csv", *ONE, "--time-budget", "soon", "--out", "o"),
        "--time-budget must be a time above 0, in seconds or with units, such as 600, 90s, 10m or "
        "1h30m; got 'soon'.",
    ),
    "no budget": (("a.csv", *ONE, "--time-budget", "0", "--out", "o"), "a time above 0"),
    "no split": (("a.csv", *ONE, "--splits", "0", "--out", "o"), "--splits"),
    "one fold": (("a.csv", *ONE, "--splits", "1", "--out", "o"), "a number of folds: 2 or more"),
    "margin below 0": (("a.csv", *ONE, "--margin", "-0.1", "--out", "o"), "--margin"),
    "margin of nothing": (("a.csv", *ONE, "--margin", "nan", "--out", "o"), "--margin"),
    "margin without end": (("a.csv", *ONE, "--margin", "inf", "--out", "o"), "--margin must be a"),
    "margin of words": (("a.csv", *ONE, "--margin", "small", "--out", "o"), "--margin"),
    "too few times": (
        ("a.csv", *ONE, "--time", "third", "--out", "o"),
        "--time must be of 5 distinct values or more",
    ),
    "negative seed": (("a.csv", *ONE, "--seed", "-1", "--out", "o"), "--seed"),
    "no process": (("a.csv", *ONE, "--jobs", "0", "--out", "o"), "--jobs"),
    "language": (("a.csv", *ONE, "--lang", "fr", "--out", "o"), "--lang"),
    "wrong loss": (("a.csv", *ONE, "--loss", "logistic", "--out", "o"), "is for two classes"),
    "too few groups": (
        ("a.csv", *ONE, "--group", "half", "--out", "o"),
        "groups",
    ),
}


@pytest.fixture
def table(plain):
    plain["patient"] = np.arange(120) // 3
    plain["half"] = np.arange(120) % 2
    plain["third"] = np.arange(120) % 3
    plain["day"] = np.arange(120.0)
    plain["gap"] = plain["day"].where(~plain.index.isin([3, 7]))
    plain["word"] = "monday"
    plain["yes"] = True
    plain.to_csv("a.csv", index=False)
    return plain


@pytest.mark.parametrize("name", OPTIONS)
def test_options(run, table, name):
    arguments, words = OPTIONS[name]
    assert words in _refused(run, *arguments)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that takes no folder")
def test_a_folder_that_cannot_be_made(run, table):
    refused = _refused(run, "a.csv", *ONE, "--quick", "--out", "/proc/o")
    assert "Cannot make the folder /proc/o: " in refused


SPOILED = {
    "one task": (lambda t: t.assign(g="a"), "There is one task only, 'a'"),
    "task missing": (lambda t: t.assign(g=t["g"].where(t.index != 4)), "every row needs a value"),
    "target missing": (lambda t: t.assign(y=t["y"].where(t.index != 4)), "--drop-missing-target"),
    "one class": (lambda t: t.assign(y="k"), "have the same value in"),
    "free text": (lambda t: t.assign(y=[f"t{i}" for i in t.index]), "is text with 120 different"),
    "dates": (
        lambda t: t.assign(d=pd.date_range("2020-01-01", periods=len(t))),
        "leave it out (--drop d)",
    ),
    "nothing to learn from": (lambda t: t[["g", "y"]], "no column left to learn from"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_table(run, plain, name):
    spoil, words = SPOILED[name]
    spoil(plain).to_csv("a.csv", index=False)
    assert words in _refused(run, "a.csv", *ONE, "--out", "o")


def test_group_missing_from_one_file(run, folder, plain):
    (folder / "tasks").mkdir()
    plain["k"] = 1
    for name, part in plain.groupby("g"):
        kept = part.drop(columns="g" if name == "a" else ["g", "k"])
        kept.to_csv(folder / "tasks" / f"{name}.csv", index=False)
    pattern = ("--file-per-task", "tasks/*.csv", "--target", "y", "--group", "k", "--out", "o")
    assert "b has no column 'k'" in _refused(run, *pattern)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("600", 600), ("0.5", 0.5), ("90s", 90), ("10m", 600), ("10 min", 600), ("1h30m", 5400),
     ("1.5H", 5400), ("1h 1m 1s", 3661)],
)  # fmt: skip
def test_times(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", " ", "m", "10x", "-5", "1m1h", "10 m 5", "nan", "1e3", "٣"])
def test_times_that_are_none(text):
    with pytest.raises(ParameterError, match="--time-budget must be a time above 0"):
        seconds(text)
