"""The page "Reading the report" explains every part that a report has, by the words it uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask._messages._report_english import REPORT_ENGLISH

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reading_the_report.md"
# What follows from the verdict and needs no words of its own.
PLAIN = {"section.do", "section.why"}


def _words(group):
    return sorted(key for key in REPORT_ENGLISH if key.startswith(f"{group}."))


@pytest.mark.parametrize("key", sorted({*_words("section")} - PLAIN))
def test_every_section_is_explained(key):
    assert str(REPORT_ENGLISH[key]) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("key", _words("verb"))
def test_every_action_has_a_row(key):
    assert f"| {REPORT_ENGLISH[key]} |" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("verdict", ["share", "separate", "pool", "unclear"])
def test_every_verdict_has_a_row(verdict):
    assert f"| {verdict} |" in PAGE.read_text(encoding="utf-8")
