"""The rule of the verdict, the groups of tasks and the advice."""

from __future__ import annotations

import math

import numpy as np
import pytest

from polytask.analysis._parts import Interval
from polytask.analysis._verdict import dominant_task, group_and_action, more_rows, verdict

NAN = float("nan")
UP, DOWN, ZERO = Interval(0.2, 0.1, 0.3), Interval(-0.2, -0.3, -0.1), Interval(0.0, -0.1, 0.1)
LOST = Interval(0.2, NAN, NAN)
EXACT = Interval(0.0, 0.0, 0.0)


@pytest.mark.parametrize("plain", ["separate", "pooled"])
@pytest.mark.parametrize("pooling", [UP, DOWN, ZERO, LOST])
def test_a_gain_above_zero_shares(plain, pooling):
    assert verdict(UP, pooling, plain) == "share"


@pytest.mark.parametrize("pooling", [UP, DOWN, ZERO, LOST])
def test_a_loss_keeps_to_what_the_rule_without_sharing_chose(pooling):
    assert verdict(DOWN, pooling, "separate") == "separate"
    assert verdict(DOWN, pooling, "pooled") == "pool"


@pytest.mark.parametrize("gain", [ZERO, LOST, EXACT])
@pytest.mark.parametrize("plain", ["separate", "pooled"])
@pytest.mark.parametrize(
    ("pooling", "expected"),
    [(UP, "pool"), (DOWN, "separate"), (ZERO, "unclear"), (LOST, "unclear"), (EXACT, "unclear")],
)
def test_noise_takes_the_simpler_model_if_it_can_be_told_which(gain, plain, pooling, expected):
    assert verdict(gain, pooling, plain) == expected


@pytest.mark.parametrize(
    ("low", "high", "more", "separate", "pooled", "expected"),
    [
        (0.1, 0.3, None, 0.5, 0.6, ("gain", "share")),
        (-0.3, -0.1, None, 0.5, 0.6, ("lose", "pool")),
        (-0.3, -0.1, None, 0.6, 0.5, ("lose", "separate")),
        (-0.3, -0.1, None, 0.5, 0.5, ("lose", "separate")),
        (-0.3, -0.1, None, NAN, 0.5, ("lose", "pool")),
        (-0.3, -0.1, None, 0.5, NAN, ("lose", "separate")),
        (-0.3, -0.1, None, NAN, NAN, ("lose", "separate")),
        (-0.1, 0.3, 40, 0.5, 0.6, ("unclear", "collect")),
        (-0.1, 0.3, None, 0.5, 0.6, ("unclear", "any")),
        (NAN, NAN, None, 0.5, 0.6, ("unclear", "any")),
        (0.0, 0.0, None, 0.5, 0.6, ("unclear", "any")),
    ],
)
def test_group_and_action(low, high, more, separate, pooled, expected):
    assert group_and_action(low, high, more, separate, pooled) == expected


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

    def test_a_larger_gain_needs_fewer_rows(self):
        needed = [more_rows(g, g - 0.5, g + 0.5, 0.2, 0.3, 0.02, 100) for g in (0.2, 0.3, 0.45)]
        assert needed[0] > needed[1] > needed[2] > 0

    def test_losses_count_like_gains(self):
        gain = more_rows(0.1, -0.1, 0.3, 0.1, 0.2, 0.02, 50)
        assert gain == more_rows(-0.1, -0.3, 0.1, 0.1, 0.2, 0.02, 50)

    def test_an_interval_that_excludes_zero_needs_none(self):
        assert more_rows(0.2, 0.1, 0.3, 0.05, 0.2, 0.02, 50) is None
        assert more_rows(-0.2, -0.3, -0.1, 0.05, 0.2, 0.02, 50) is None

    def test_a_gain_of_practically_nothing_needs_none(self):
        assert more_rows(0.0049, -0.001, 0.0108, 0.003, 0.2, 0.001, 50) is None
        assert more_rows(0.0051, -0.001, 0.0112, 0.003, 0.2, 0.001, 50) is not None

    def test_what_is_practically_nothing_follows_the_scale(self):
        assert more_rows(0.0051, -0.001, 0.0112, 0.003, 0.2, 0.001, 50, scale=9.0) is None

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
