"""What the tests of ``polytask compare`` have in common."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pandas as pd

from polytask.data.readers import read_table

ONE = ("--task", "g", "--target", "y")
NAMES = ["separate", "pooled", "near the mean"]
FEW = (*(word for name in NAMES for word in ("--models", name)), "--jobs", "1")
QUICK = ("a.csv", *ONE, *FEW, "--quick")
SAME = ("a.csv", *ONE, *FEW, "--splits", "3")
FILES = {
    "journal",
    "model/card.json",
    "model/card.md",
    "model/model.polytask",
    "report.html",
    "report.json",
    "report.md",
    "run.lock.json",
    "scores.csv",
    "tasks.csv",
}


def three_tasks() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "g": np.repeat(["a", "b", "c"], 40),
            "x": rng.standard_normal(120),
            "z": rng.standard_normal(120),
        }
    )
    table["y"] = table.x + 0.1 * rng.standard_normal(120)
    return table


def files_of(folder):
    return {p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file()}


def comparison(run, *arguments, out="out"):
    done = run("compare", *arguments, "--out", out)
    assert done.status == 0, done.err
    return done


def verdict_of(done):
    (line,) = [line for line in done.out.splitlines() if line.startswith(("Verdict:", "结论："))]
    return line


def next_words(done):
    """Return the words of the line that is printed to run next."""
    words = shlex.split(done.out.splitlines()[-1])
    assert words[:2] == ["polytask", "predict"]
    return words[1:]


def predicted(run, done, table="a.csv"):
    """Run that line with a table in the place of NEW and return the table that it writes."""
    words = [table if word.startswith("NEW") else word for word in next_words(done)]
    assert table in words
    done = run(*words)
    assert done.status == 0, done.err
    return read_table(words[words.index("--out") + 1]).table


def numbers_of(text):
    """Return the cells of a table without those that depend on the machine."""
    rows = [line.split(",") for line in text.splitlines()]
    kept = [k for k, n in enumerate(rows[0]) if not n.endswith(("_seconds", "_bytes"))]
    return [[row[k] for k in kept] for row in rows]


def raising(error):
    def work(*_, **__):
        raise error

    return work
