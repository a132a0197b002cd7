"""Pages of results say what their raw rows say, and other pages what the results say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
QUOTING = (ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md")),
           *sorted((ROOT / "docs" / "zh").glob("*.md")))  # fmt: skip
LINK = re.compile(r"\]\(([^)#:]*results/\w+\.md)")
FIGURE = re.compile(r"(?<![\w.])(?:\d*\.\d+|\d+(?=%))(?:%|(?![\w%.]))")


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("results")


def test_tables_are_those_of_the_raw_rows(results):
    for package in ("torch", "onnxruntime"):
        pytest.importorskip(package, reason="programs that measure need it to be imported")
    known, places = results.tables(), []
    for page in sorted(RESULTS.glob("*.md")):
        text = page.read_text("utf-8")
        assert results.written(text, known) == text, f"run tools/results.py: {page.name}"
        places += [found[2] for found in results.PLACE.finditer(text)]
        assert text.count("<!-- table:") == len(results.PLACE.findall(text))
    assert sorted(places) == sorted(known)


def _value(told):
    """Return a figure and its decimal places."""
    digits = told.rstrip("%")
    places = len(digits.partition(".")[2])
    return (float(digits) / 100, places + 2) if "%" in told else (float(digits), places)


@pytest.mark.parametrize("page", QUOTING, ids=lambda page: str(page.relative_to(ROOT)))
def test_quoted_figures_stand_in_the_pages_of_results_beside_them(page):
    # A paragraph, an item or a row of a table with a link to results; code is what a program says.
    for part in re.split(r"\n\n|\n(?=[-*|] )", page.read_text("utf-8")):
        linked = [(page.parent / link).read_text("utf-8") for link in LINK.findall(part)]
        known = [_value(figure) for text in linked for figure in FIGURE.findall(text)]
        told = FIGURE.findall(re.sub(r"\]\([^)]*\)|`[^`]*`", "]", part)) if linked else []
        for value, places in map(_value, told):
            near = 0.5 * 10.0**-places + 1e-9
            assert any(d >= places and abs(k - value) <= near for k, d in known), (value, part)


def test_alternative_texts_of_the_poster_have_its_errors(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    _, errors, _ = importlib.import_module("draw_readme").fitted()
    for page in ("README.md", "README.zh.md", "docs/index.md", "docs/zh/index.md"):
        (told,) = re.findall(r"!\[([^\]]*)\]\([^)]*wages", (ROOT / page).read_text("utf-8"))
        expected = [f"{errors[name]:.2f}" for name in ("separate", "joint", "pooled")]
        assert re.findall(r"\d\.\d\d", told) == expected, page
