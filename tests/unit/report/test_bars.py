"""The places of intervals on a chart of boxes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.comparison.records import Interval
from polytask.reporting.drawing import Line, chart

NAN = float("nan")
finite = st.floats(-1e9, 1e9)


def lines(*intervals: tuple[float, float, float]) -> list[Line]:
    return [Line("a", Interval(*one), "gain", "") for one in intervals]


def test_places_are_in_order_and_zero_has_one():
    found = chart(lines((0.2, 0.1, 0.3), (-0.1, -0.2, 0.0)), around_zero=True)
    first, second = found.bars
    assert second.start < second.point < second.start + second.width <= first.start
    assert found.zero == pytest.approx(second.start + second.width, abs=0.01)
    assert [tick.text for tick in found.ticks] == ["-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3"]


def test_scores_need_no_zero():
    found = chart(lines((0.8, 0.79, 0.81), (0.7, 0.69, 0.71)), around_zero=False)
    assert found.zero is None
    assert found.bars[0].width > 3


def test_outlier_is_cut_and_says_on_which_side():
    near = [(0.5 + j / 100, 0.49 + j / 100, 0.51 + j / 100) for j in range(5)]
    found = chart(lines(*near, (-40.0, -41.0, -39.0), (90.0, NAN, NAN)), around_zero=False)
    *kept, low, high = found.bars
    assert all(bar.point is not None and not bar.cut_low and not bar.cut_high for bar in kept)
    assert (low.point, low.start, low.cut_low, low.cut_high) == (None, None, True, False)
    assert (high.point, high.start, high.cut_low, high.cut_high) == (None, None, False, True)


def test_long_line_is_cut_at_both_ends():
    found = chart(
        lines((0.0, -99.0, 99.0), *[(j / 10, j / 10 - 0.1, j / 10 + 0.1) for j in range(5)]),
        around_zero=True,
    )
    bar = found.bars[0]
    assert bar.cut_low
    assert bar.cut_high
    assert (bar.start, bar.width) == (0.0, 100.0)


def test_missing_numbers_are_not_drawn():
    (bar,) = chart(lines((NAN, NAN, NAN)), around_zero=True).bars
    assert (bar.start, bar.width, bar.point, bar.cut_low, bar.cut_high) == (
        None, None, None, False, False
    )  # fmt: skip


@given(
    st.lists(st.tuples(finite, finite, finite).map(sorted), min_size=1, max_size=12), st.booleans()
)
def test_everything_is_in_the_box(triples, around_zero):
    found = chart(lines(*[(b, a, c) for a, b, c in triples]), around_zero=around_zero)
    for bar in found.bars:
        for place in (bar.start, bar.width, bar.point):
            assert place is None or 0 <= place <= 100
        if bar.start is not None:
            assert bar.start + bar.width <= 100.01
    assert 2 <= len(found.ticks) <= 7
    assert all(math.isfinite(tick.place) for tick in found.ticks)
