"""Every block of the README and of the pages in docs/ runs and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs._blocks import blocks, run_page

import polytask
from polytask import penalties
from polytask.selection.candidates import MODELS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ("README.md", "README.zh.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in FOLDER), *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "docs" / "zh").glob("*.md"))
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")

# Penalties that users choose, as against what these are made of.
CHOICES = [*penalties.PENALTIES, "coupling", "along_graph"]


# These fit and search for more than a few seconds.
LONG = (
    *("README", "aic_bic_cv", "auto", "cli", "deep", "how_strong"),
    *("large_data", "migrating", "quick_start", "regularising_nets", "tour"),
    "which_penalty",
)


def _name(page):
    return str(page.relative_to(ROOT))


def _pages_with_code():
    # Each recipe of serving.md needs packages that may be missing: test_serving.py runs them. The
    # programs of README.zh.md are those of README.md.
    elsewhere = ("serving", "README.zh")
    for page in filter(blocks, (page for page in PAGES if page.stem not in elsewhere)):
        yield pytest.param(page, marks=[pytest.mark.slow] * (page.stem in LONG))


@pytest.mark.parametrize("page", _pages_with_code(), ids=_name)
def test_code_prints_what_the_page_says(page, tmp_path, monkeypatch):
    if "polytask.deep import" in page.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
    if "from transformers" in page.read_text(encoding="utf-8"):
        pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    run_page(page)


def test_the_chinese_readme_has_the_programs_of_the_english_one():
    here, there = (blocks(ROOT / name) for name in ("README.zh.md", "README.md"))
    assert here
    assert [block[:2] for block in here] == [block[:2] for block in there]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_penalty_is_in_the_table():
    text = (ROOT / "docs" / "penalties.md").read_text(encoding="utf-8")
    assert [name for name in CHOICES if f"`{name}" not in text] == []


def test_every_model_is_in_the_table():
    text = (ROOT / "docs" / "auto.md").read_text(encoding="utf-8")
    assert [name for name in MODELS if f"`{name}`" not in text] == []


def test_every_public_class_is_in_the_tour():
    text = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    classes = [name for name in polytask.__all__ if name.startswith(("Multi", "Single", "Pooled"))]
    assert [name for name in classes if name not in text] == []
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert polytask.__version__ in text
    assert polytask.__version__ in readme
    assert f"version: {polytask.__version__}\n" in (ROOT / "CITATION.cff").read_text()
