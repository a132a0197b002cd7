"""docs/which_penalty.md: each line of code is a penalty that fits, and none is left out."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from polytask import ConvergenceWarning, MultiTaskRegressorCV, penalties

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "which_penalty.md"
TEXT = PAGE.read_text(encoding="utf-8")
# Penalties that are made of others, or that change others.
MADE_OF_OTHERS = {"Parts", "weighted", "positive", "bounded"}


class Row(NamedTuple):
    """What is known, the penalty for it, and how it is written."""

    known: str
    penalty: str
    code: str


def rows() -> list[Row]:
    table = TEXT.partition("| what you know |")[2].partition("\n\n")[0]
    return [Row(*[cell.strip() for cell in line.strip("|").split(" | ")])
            for line in table.splitlines()[2:]]  # fmt: skip


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.code)
def test_each_line_of_code_is_the_penalty_beside_it_and_fits(row):
    names = {name: getattr(penalties, name) for name in penalties.__all__} | {"np": np}
    penalty = eval(row.code.strip("`"), names)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 6))
    Y = X @ rng.standard_normal((6, 4)) + rng.standard_normal((40, 4))
    with warnings.catch_warnings():
        # The tolerance of one fit is not what is tested.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MultiTaskRegressorCV(penalty, alphas=3, cv=3).fit(X, Y)
    assert np.isfinite(model.coef_).all()
    called = set(re.findall(r"\w+(?=\()", row.code))
    assert called & set(re.findall(r"`(\w+)`", row.penalty))


@pytest.mark.parametrize("page", ["which_penalty.md", "penalties.md"])
def test_every_penalty_is_in_the_table(page):
    choices = {*penalties.PENALTIES, "coupling", "along_graph"} - MADE_OF_OTHERS
    text = (PAGE.parent / page).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert choices - set(re.findall(r"`(\w+)", "\n".join(lines))) == set()


def test_every_picture_is_shown_and_drawn_by_the_tool():
    tool = (ROOT / "tools" / "draw_which_penalty.py").read_text(encoding="utf-8")
    there = {path.name for path in (ROOT / "docs" / "images").glob("which_*.png")}
    shown = {Path(name).name for name in re.findall(r"\]\((images/which_[^)]*)\)", TEXT)}
    drawn = {f"which_{name}.png" for name in re.findall(r'^    "(\w+)": Case\(', tool, re.M)}
    assert shown == there == drawn
