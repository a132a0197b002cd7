"""The page "Reading the report" explains, in each language, every part by its name there."""

from __future__ import annotations

from pathlib import Path

import polib
import pytest

import polytask
from polytask.comparison.verdict import VERDICTS
from polytask.messages import Translator

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {"en": DOCS / "reading_the_report.md", "zh": DOCS / "zh" / "reading_the_report.md"}
CATALOGUE = Path(polytask.__file__).parent / "messages" / "locale" / "en.po"
in_each_language = pytest.mark.parametrize("lang", PAGES)


def _keys(group):
    entries = polib.pofile(str(CATALOGUE))
    return sorted(entry.msgid for entry in entries if entry.msgid.startswith(f"{group}."))


@in_each_language
@pytest.mark.parametrize("key", _keys("section"))
def test_every_section_is_explained(key, lang):
    assert Translator(lang)(key) in PAGES[lang].read_text(encoding="utf-8")


@in_each_language
@pytest.mark.parametrize("key", _keys("verb"))
def test_every_action_has_a_row(key, lang):
    assert f"| {Translator(lang)(key)} |" in PAGES[lang].read_text(encoding="utf-8")


@in_each_language
@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_has_a_row(verdict, lang):
    assert f"| {verdict} |" in PAGES[lang].read_text(encoding="utf-8")
