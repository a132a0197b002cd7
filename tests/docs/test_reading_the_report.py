"""The page "Reading the report" explains every part that a report has, by the words it uses."""

from __future__ import annotations

from pathlib import Path

import polib
import pytest

import polytask
from polytask.comparison.verdict import VERDICTS
from polytask.messages import Translator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reading_the_report.md"
CATALOGUE = Path(polytask.__file__).parent / "messages" / "locale" / "en.po"
SAY = Translator()


def _keys(group):
    entries = polib.pofile(str(CATALOGUE))
    return sorted(entry.msgid for entry in entries if entry.msgid.startswith(f"{group}."))


@pytest.mark.parametrize("key", _keys("section"))
def test_every_section_is_explained(key):
    assert SAY(key) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("key", _keys("verb"))
def test_every_action_has_a_row(key):
    assert f"| {SAY(key)} |" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_has_a_row(verdict):
    assert f"| {verdict} |" in PAGE.read_text(encoding="utf-8")
