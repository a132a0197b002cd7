"""The rule of the verdict, the groups of tasks and the advice."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from polytask.comparison.answer import better_plain
from polytask.comparison.boards import Board, Chosen
from polytask.comparison.statistics import NOTHING, Estimate
from polytask.comparison.verdict import (
    VERDICTS,
    dominant_task,
    group_and_action,
    margin_of,
    more_rows,
    rows_to_decide,
    verdict,
)

NAN = float("nan")
MARGIN = 0.01
# So many degrees of freedom that quantiles are normal: 1.645 and 1.960 times the error.
LOST, EXACT = Estimate(0.2, NAN, 0.0), Estimate(0.0, 0.0, 99.0)


def about(mean: float, error: float) -> Estimate:
    return Estimate(mean, error, 1e9)


NOISE = about(0.0, 0.05)
POOLS, SEPARATES = about(0.1, 0.01), about(-0.1, 0.01)
# Beyond 0, but not beyond the margin.
BARELY_POOLS, BARELY_SEPARATES = about(0.012, 0.005), about(-0.012, 0.005)


@pytest.mark.parametrize("plain", ["separate", "pooled"])
@pytest.mark.parametrize(
    ("gain", "pooling", "expected"),
    [
        # 1. Within the margin, by the 90% interval: 0.006 + 1.645 * 0.002 < 0.01.
        (about(0.006, 0.002), NOISE, "no practical difference"),
        (about(-0.006, 0.002), NOISE, "no practical difference"),
        (about(0.006, 0.0023), POOLS, "pool"),
        (about(0.006, 0.0023), SEPARATES, "separate"),
        (about(0.0, 0.002), BARELY_POOLS, "no practical difference"),
        (about(0.0, 0.002), BARELY_SEPARATES, "no practical difference"),
        (EXACT, POOLS, "pool"),
        (EXACT, EXACT, "no practical difference"),
        # A gain beyond chance that is too small to matter: 0.003 to 0.008.
        (about(0.0055, 0.00125), NOISE, "no practical difference"),
        # 2. Above 0 by the 95% interval, and not within the margin.
        (about(0.2, 0.05), NOISE, "share"),
        (about(0.2, 0.05), POOLS, "share"),
        (about(0.2, 0.05), SEPARATES, "share"),
        (about(0.2, 0.05), NOTHING, "share"),
        (about(0.008, 0.003), POOLS, "share"),
        # 3. Below the margin, and the sign of pooling is known.
        (about(-0.2, 0.05), POOLS, "pool"),
        (about(-0.2, 0.05), SEPARATES, "separate"),
        (about(-0.2, 0.05), BARELY_POOLS, "pool"),
        (about(-0.2, 0.05), BARELY_SEPARATES, "separate"),
        (about(-0.02, 0.014), POOLS, "pool"),
        # 4. Pooling is better by more than the margin, whatever sharing does.
        (about(0.0, 0.05), POOLS, "pool"),
        (about(0.09, 0.05), POOLS, "pool"),
        # 5. None of them.
        (about(0.0, 0.05), NOISE, "inconclusive"),
        (about(0.0, 0.05), BARELY_POOLS, "inconclusive"),
        (about(0.0, 0.05), SEPARATES, "inconclusive"),
        (about(-0.2, 0.05), NOISE, "inconclusive"),
        (about(0.05, 0.026), NOISE, "inconclusive"),
        (LOST, NOISE, "inconclusive"),
        (LOST, POOLS, "pool"),
        (LOST, LOST, "inconclusive"),
        (about(0.0, 0.05), LOST, "inconclusive"),
    ],
)
def test_the_rule_where_separate_and_pooled_models_were_compared(gain, pooling, plain, expected):
    assert verdict(gain, pooling, MARGIN, plain) == expected
    assert expected in VERDICTS


@pytest.mark.parametrize(("plain", "simple"), [("pooled", "pool"), ("separate", "separate")])
@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (about(0.2, 0.05), "share"),
        (about(0.0, 0.002), "the simple one"),
        (about(-0.2, 0.05), "the simple one"),
        (about(-0.02, 0.014), "the simple one"),
        (about(0.0, 0.05), "inconclusive"),
        (LOST, "inconclusive"),
        (NOTHING, "inconclusive"),
    ],
)
def test_the_only_kind_of_plain_models_is_the_better_one(gain, plain, simple, expected):
    found = verdict(gain, NOTHING, MARGIN, plain)
    assert found == (simple if expected == "the simple one" else expected)


def test_a_margin_of_zero_asks_for_the_sign_alone():
    assert verdict(about(0.0005, 0.0001), NOISE, 0.0, "pooled") == "share"
    assert verdict(about(-0.0005, 0.0001), BARELY_POOLS, 0.0, "pooled") == "pool"
    assert verdict(about(0.0, 0.0001), NOISE, 0.0, "pooled") == "inconclusive"
    # With a margin the same three make no practical difference.
    for mean in (0.0005, -0.0005, 0.0):
        found = verdict(about(mean, 0.0001), NOISE, MARGIN, "pooled")
        assert found == "no practical difference"


def test_few_degrees_of_freedom_are_taken_into_account():
    # 0.2 is 4 errors above 0: enough by the normal distribution, not by Student's with two.
    assert verdict(about(0.2, 0.05), NOISE, MARGIN, "pooled") == "share"
    assert verdict(Estimate(0.2, 0.05, 2.0), NOISE, MARGIN, "pooled") == "inconclusive"


@pytest.mark.parametrize(
    ("score", "share", "expected"),
    [
        (0.5, True, 0.01),
        (0.1, True, 0.01),
        (0.05, True, 0.005),
        (0.01, True, 0.001),
        (0.001, True, 0.001),
        (-3.0, True, 0.001),
        (NAN, True, 0.001),
        (250.0, False, 2.5),
        (NAN, False, 0.0),
    ],
)
def test_margin(score, share, expected):
    assert margin_of(score, share) == pytest.approx(expected)


class TestRowsToDecide:
    def test_a_gain_beyond_the_margin_by_hand(self):
        # Half width 1.96 * 0.05 = 0.098 is to fall to 0.05.
        found = rows_to_decide(about(0.05, 0.05), NOISE, MARGIN)
        assert found == pytest.approx((1.959963985 * 0.05 / 0.05) ** 2)

    def test_equality_by_hand(self):
        # Half width 1.645 * 0.01 is to fall to 0.01.
        found = rows_to_decide(about(0.0, 0.01), NOISE, MARGIN)
        assert found == pytest.approx(1.644853627**2)

    def test_both_conditions_of_a_loss_count(self):
        # The loss is known; which of the plain models is better takes (1.96 * 0.05 / 0.04)^2.
        found = rows_to_decide(about(-0.2, 0.05), about(-0.04, 0.05), MARGIN)
        assert found == pytest.approx((1.959963985 * 0.05 / 0.04) ** 2)

    def test_with_one_kind_of_plain_models_the_gain_decides(self):
        found = rows_to_decide(about(-0.03, 0.03), NOTHING, MARGIN)
        assert found == pytest.approx((1.959963985 * 0.03 / 0.04) ** 2)

    def test_what_is_unknown_about_pooling_does_not_decide(self):
        assert rows_to_decide(about(-0.2, 0.05), Estimate(-0.5, NAN, 0.0), MARGIN) is None

    def test_more_than_ten_times_as_many_are_no_advice(self):
        # Eleven times the data are ten times as many more.
        error = 0.05 * math.sqrt(11) / 1.959963985
        assert rows_to_decide(about(0.05, 0.999 * error), NOISE, MARGIN) is not None
        assert rows_to_decide(about(0.05, 1.001 * error), NOISE, MARGIN) is None

    @pytest.mark.parametrize(
        ("gain", "pooling"), [(NOTHING, NOTHING), (LOST, NOISE), (LOST, LOST)]
    )
    def test_without_an_error_nothing_is_said(self, gain, pooling):
        assert rows_to_decide(gain, pooling, MARGIN) is None


@pytest.mark.parametrize("better", ["separate", "pool"])
@pytest.mark.parametrize(
    ("side", "own", "more", "expected"),
    [
        (1, 1, None, ("gain", "share")),
        (1, 0, None, ("gain", "any")),
        (1, -1, None, ("gain", "any")),
        (-1, -1, None, ("lose", "better")),
        (-1, 0, None, ("lose", "any")),
        (-1, 1, None, ("lose", "any")),
        (0, 0, 40, ("unclear", "collect")),
        (0, 1, 40, ("unclear", "collect")),
        (0, 0, None, ("unclear", "any")),
    ],
)
def test_group_and_action(side, own, more, better, expected):
    group, action = expected
    action = better if action == "better" else action
    assert group_and_action(side, own, more, better) == (group, action)


class TestMoreRows:
    def test_a_task_that_is_not_shrunk_follows_the_square_root(self):
        # 100 rows, gain = error: z^2 = 3.841 times the rows.
        half = 1.959963985 * 0.1
        found = more_rows(0.1, 0.1 - half, 0.1 + half, 0.1, 1e6, 0.0, 100)
        assert found == math.ceil(100 * (1.959963985**2 - 1))

    def test_a_task_fully_shrunk_waits_for_the_common_error(self):
        half = 1.959963985 * 0.1
        found = more_rows(0.1, 0.1 - half, 0.1 + half, 5.0, 0.0, 0.1, 100)
        assert found == math.ceil(100 * (1.959963985**2 - 1))

    def test_between_the_two_it_solves_for_the_variance(self):
        gain, error, spread, common, rows = 0.1, 0.2, 0.08, 0.05, 1000
        found = more_rows(gain, -0.02, 0.22, error, spread, common, rows)
        assert found is not None
        k = 1 + found / rows
        own = error**2 / k
        pull = own / (own + spread**2)
        half = 1.959963985 * math.sqrt((1 - pull) * own + pull * common**2 / k)
        assert half == pytest.approx(gain, rel=2e-3)

    @pytest.mark.parametrize("size", [1e-160, 1.0, 1e160])
    def test_the_scale_of_the_scores_does_not_matter(self, size):
        # A single far cell makes scores of -1e57, whose squares are beyond what floats hold.
        numbers = [size * value for value in (0.2, -0.3, 0.7, 0.2, 0.3, 0.02)]
        usual = more_rows(0.2, -0.3, 0.7, 0.2, 0.3, 0.02, 100, 0.0)
        assert more_rows(*numbers, 100, 0.0) == usual
        assert usual is not None

    def test_a_larger_gain_needs_fewer_rows(self):
        needed = [more_rows(g, g - 0.5, g + 0.5, 0.2, 0.3, 0.02, 100) for g in (0.2, 0.3, 0.45)]
        assert needed[0] > needed[1] > needed[2] > 0

    def test_losses_count_like_gains(self):
        gain = more_rows(0.1, -0.1, 0.3, 0.1, 0.2, 0.02, 50)
        assert gain == more_rows(-0.1, -0.3, 0.1, 0.1, 0.2, 0.02, 50)

    def test_an_interval_that_excludes_zero_needs_none(self):
        assert more_rows(0.2, 0.1, 0.3, 0.05, 0.2, 0.02, 50) is None
        assert more_rows(-0.2, -0.3, -0.1, 0.05, 0.2, 0.02, 50) is None

    def test_a_gain_within_the_margin_needs_none(self):
        values = (-0.001, 0.0108, 0.003, 0.2, 0.001, 50)
        assert more_rows(0.0049, *values, margin=0.005) is None
        assert more_rows(0.0051, *values, margin=0.005) is not None
        assert more_rows(-0.0049, -0.0108, 0.001, *values[2:], margin=0.005) is None
        assert more_rows(0.0049, *values, margin=0.0) is not None

    def test_ten_times_the_rows_is_no_advice(self):
        assert more_rows(0.1, -0.2, 0.4, 0.15, 1e6, 0.0, 100) is not None
        assert more_rows(0.1, -0.3, 0.5, 0.2, 1e6, 0.0, 100) is None

    @pytest.mark.parametrize("at", range(5))
    def test_what_is_unknown_gives_no_advice(self, at):
        values = [0.1, -0.1, 0.3, 0.1, 0.2]
        values[at] = NAN
        assert more_rows(*values, 0.02, 50) is None

    def test_an_unknown_common_error_is_none(self):
        values = (0.1, -0.1, 0.3, 0.1, 0.2)
        assert more_rows(*values, NAN, 50) == more_rows(*values, 0.0, 50)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.6, 0.3, 0.1], 0),
        ([0.1, 0.3, 0.6], 2),
        ([0.5, 0.3, 0.2], None),
        ([0.6, 0.4], None),
        ([0.2, 0.8], 1),
        ([1.0], None),
        ([], None),
        ([np.nan, 0.9, 0.1], 1),
        ([np.nan, np.nan], None),
    ],
)
def test_dominance(shares, expected):
    assert dominant_task(shares) == expected


INNER = {
    # Models by row, splits by column; the first split has little history.
    "pooled": (0.1, 0.1, 0.30, 0.4, 0.5),
    "separate": (-9.0, -9.0, 0.31, 0.6, 0.6),
    "own": (0.0, 0.0, 0.9, 0.0, 0.0),
}


def _board(inner):
    records = {
        (split, name): {"inner": [score]}
        for name, scores in inner.items()
        for split, score in enumerate(scores)
    }
    return Board((), records, tuple(range(5)), 1.0)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("pooled", "pooled", "own", "separate", "separate"), "separate"),
        (("pooled", "pooled", "pooled", "separate", "separate"), "pooled"),
        ((None, None, None, "own", None), "own"),
        ((None,) * 5, None),
    ],
)
def test_of_models_chosen_as_often_the_one_ahead_in_more_splits_is_recommended(names, expected):
    assert _board(INNER).most_chosen(names) == expected


def test_where_splits_are_by_time_the_latest_choice_is_recommended():
    board = replace(_board(INNER), by_time=True)
    assert board.most_chosen(("pooled", "pooled", "pooled", "own", "separate")) == "separate"
    assert board.most_chosen(("pooled", "own", None)) == "own"
    assert board.most_chosen((None,)) is None


@pytest.mark.parametrize(
    ("pooling", "expected"), [(POOLS, "p"), (SEPARATES, "s"), (NOISE, "x"), (NOTHING, "x")]
)
def test_where_nothing_is_shown_of_sharing_the_better_kind_without_is_recommended(
    pooling, expected
):
    chosen = Chosen(("j",), ("x",), ("p",), ("s",), *[(None,)] * 4)
    assert better_plain(chosen, pooling.interval()) == (expected,)
