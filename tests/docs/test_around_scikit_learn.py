"""Tools of scikit-learn around our estimators: each works or says what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results" / "scikit_learn.md"
FORMS, CONTAINERS = ("long", "targets", "separate"), ("array", "table")
# What does not work, with what is said: of scikit-learn where it takes one target only.
ONE_TARGET = (
    "StackingRegressor", "StackingClassifier", "VotingRegressor", "CalibratedClassifierCV",
)  # fmt: skip
SORTED = "cross_val_score, cv=3 on rows sorted by task"
BY_NAME = "BaggingRegressor, task column by name"


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return __import__("around_scikit_learn")


def expected(tool, form, container):
    """Return a pattern of what is said, None if the tool works."""
    if form == "targets":
        return r"y should be a 1d array" if tool in ONE_TARGET else None
    if tool == SORTED:
        return r"unseen label \(.*\) in 40 rows.*cv=WithinTasks\(task_column=\.\.\.\)"
    if tool == BY_NAME and container == "table":
        return r"give the position of the column, such as task_column=-1"
    return None


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_tool_works_or_says_a_sentence(program, form, container):
    for tool, trial in program.TOOLS.items():
        said = program.outcome(trial, program.case(form, container))
        wanted = expected(tool, form, container)
        assert said == "works" if wanted is None else re.search(wanted, said), f"{tool}: {said}"


def test_the_page_shows_it(program):
    text = PAGE.read_text("utf-8")
    rows = {}
    for line in text.splitlines():
        name, *cells = [part.strip() for part in line.strip("| \n").split(" | ")]
        rows[name] = cells
    for tool in program.TOOLS:
        wanted = [expected(tool, form, kind) is None for form in FORMS for kind in CONTAINERS]
        assert [cell == "works" for cell in rows[tool]] == wanted, tool
    assert set(program.EXPLAINERS) <= set(rows)
