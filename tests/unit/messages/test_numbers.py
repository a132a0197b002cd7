"""How numbers and names are written."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.messages import (
    LazyMessage,
    Translator,
    clean,
    decimals,
    fixed,
    plain_number,
)
from polytask.messages.catalogue import shortened

NAN = float("nan")


@pytest.mark.parametrize(
    ("half", "places"),
    [(0.019, 3), (0.21, 2), (2.1, 1), (21.0, 0), (4000.0, 0), (1.9e-9, 6), (0.0095, 4)],
)
def test_two_digits_of_the_uncertainty_are_shown(half, places):
    assert decimals([half]) == places


def test_without_uncertainty_three_digits_of_the_number_are_shown():
    assert decimals([NAN, 0.0], [0.0412]) == 4
    assert decimals([], [412.0]) == 0
    assert decimals([], [0.0, NAN]) == 3


def test_the_median_decides_so_that_one_wide_interval_does_not():
    assert decimals([0.011, 0.012, 6.0]) == 3


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        (0.0312, 3, "+0.031"),
        (-0.0312, 3, "-0.031"),
        (-0.0001, 3, "0.000"),
        (0.0001, 3, "0.000"),
        (0.0, 2, "0.00"),
        (1234567.0, 0, "+1,234,567"),
        (1e300, 2, "+1.00e+300"),
    ],
)
def test_fixed(value, places, shown):
    assert fixed(value, places, signed=True) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.00511, "0.00511"), (1.234, "1.23"), (12345.6, "12,346"), (3e-9, "3.00e-09")],
)
def test_plain_number(value, shown):
    assert plain_number(value) == shown


@given(st.floats(-1e300, 1e300), st.integers(0, 6))
def test_a_number_is_never_long_and_reads_back(value, places):
    text = fixed(value, places, signed=True)
    assert len(text) <= 17
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.01, abs=0.6 * 10**-places)


@pytest.mark.parametrize(
    ("ends", "lang", "said"),
    [
        ((0.031, 0.012, 0.050), "en", "+0.031 (0.012 to 0.050)"),
        ((0.031, 0.012, 0.050), "zh", "+0.031（0.012 至 0.050）"),
        ((-1.25, -9.0, 6.5), "en", "-1.2 (-9.0 to 6.5)"),
        ((0.031, NAN, NAN), "en", "+0.0310 (no interval)"),
        ((NAN, NAN, NAN), "en", "n/a"),
        ((NAN, NAN, NAN), "zh", "无"),
    ],
)
def test_interval(ends, lang, said):
    assert Translator(lang).interval(*ends) == said


def test_interval_of_a_score_has_no_plus():
    assert Translator().interval(0.81, 0.79, 0.83, signed=False) == "0.810 (0.790 to 0.830)"


@pytest.mark.slow
@given(st.text())
def test_clean_text_is_one_line_that_can_be_written(text):
    cleaned = clean(text)
    assert cleaned
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert len(cleaned.splitlines()) == 1
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in cleaned)
    assert clean(cleaned) == cleaned


def test_clean_keeps_names_of_all_scripts():
    for name in ("第一小学", "مدرسة", "👩‍👩‍👧", "a|b", "<b>", "é"):
        assert clean(name) == name


def test_clean_takes_out_what_turns_the_direction_of_others():
    assert clean("\u202eabc\u202c") == "abc"


@given(st.text(), st.integers(6, 80))
def test_shortened_text_is_short_and_keeps_its_start(text, longest):
    short = shortened(text, longest)
    assert len(short) <= longest
    assert short == text or short.startswith(text[: longest // 3].rstrip())
    assert math.isclose(len(short), len(text)) or "…" in short


def test_a_number_told_as_text_is_so_many():
    assert str(LazyMessage("got.rows", {"n": "2.5"})) == "2.5 rows"
    assert str(LazyMessage("got.rows", {"n": 1})) == "1 row"
