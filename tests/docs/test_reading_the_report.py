"""The page "Reading the report" explains every part that a report has, by the words it uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.comparison.verdict import VERDICTS
from polytask.messages.english import EXTRA_ENGLISH, REPORT_ENGLISH

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reading_the_report.md"
# What follows from the verdict and needs no words of its own.
PLAIN = {"section.do", "section.why"}


WORDS = {**REPORT_ENGLISH, **EXTRA_ENGLISH}


def _words(group):
    return sorted(key for key in WORDS if key.startswith(f"{group}."))


@pytest.mark.parametrize("key", sorted({*_words("section")} - PLAIN))
def test_every_section_is_explained(key):
    assert str(WORDS[key]) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("key", _words("verb"))
def test_every_action_has_a_row(key):
    assert f"| {WORDS[key]} |" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_has_a_row(verdict):
    assert f"| {verdict} |" in PAGE.read_text(encoding="utf-8")
