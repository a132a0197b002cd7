"""Intervals of paired differences, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from polytask.analysis._intervals import (
    corrected_interval,
    normal_error,
    normal_quantile,
    row_interval,
    t_quantile,
)
from polytask.analysis._parts import Interval


class TestCorrected:
    def test_five_splits_by_hand(self):
        # mean 3, S^2 = 2.5, (1/5 + 1/3) 2.5 = 4/3, t(4) = 2.776445
        found = corrected_interval(np.array([1.0, 2, 3, 4, 5]), 1 / 3)
        half = 2.776445105 * math.sqrt(4 / 3)
        assert found == pytest.approx((3, 3 - half, 3 + half))

    def test_without_a_correction_it_is_the_t_interval(self):
        d = np.array([0.1, -0.4, 0.7, 0.2])
        low, high = stats.t.interval(0.9, 3, d.mean(), stats.sem(d))
        assert corrected_interval(d, 0.0, level=0.9) == pytest.approx((d.mean(), low, high))

    def test_failed_splits_do_not_count(self):
        d = np.array([1.0, np.nan, 3.0, 2.0, np.nan])
        assert corrected_interval(d, 0.3) == corrected_interval(d[[0, 2, 3]], 0.3)

    def test_equal_differences_have_no_width(self):
        value = 0.1 + 0.2
        assert corrected_interval(np.full(7, value), 0.3) == (value, value, value)

    def test_two_equal_models_do_not_differ(self):
        found = corrected_interval(np.zeros(5), 1 / 3)
        assert not found.above
        assert not found.below

    @pytest.mark.parametrize(("d", "mean"), [([0.4], 0.4), ([np.nan, 0.4], 0.4)])
    def test_one_split_gives_no_spread(self, d, mean):
        found = corrected_interval(np.array(d), 1 / 3)
        assert found.mean == mean
        assert np.isnan(found[1:]).all()

    @pytest.mark.parametrize("d", [[], [np.nan, np.nan]])
    def test_nothing_gives_nothing(self, d):
        assert np.isnan(corrected_interval(np.array(d), 1 / 3)).all()


class TestRows:
    def test_one_task_uses_its_rows(self):
        d = np.array([0.0, 1, 5, 2])
        found = row_interval(d, None, np.zeros(4, int), test_share=0.0)
        low, high = stats.t.interval(0.95, 3, 2, stats.sem(d))
        assert found == pytest.approx((2, low, high))

    def test_tasks_that_disagree_count_as_one_observation_each(self):
        # Means 1 and 3, nothing within: residuals -1/2 and 1/2 times 2 / (2 - 1): variance 1, df 1
        d = np.repeat([1.0, 3.0], 50)
        found = row_interval(d, None, np.repeat([7, 9], 50), test_share=0.0)
        half = stats.t.ppf(0.975, 1)
        assert found == pytest.approx((2, 2 - half, 2 + half))

    def test_tasks_that_agree_leave_it_to_the_rows(self):
        d = np.tile([-1.0, 1.0, 3.0], 4)
        found = row_interval(d, None, np.repeat(np.arange(4), 3), test_share=0.0)
        # Every task: mean 1, variance of rows 4; 12 rows, 8 degrees of freedom.
        half = stats.t.ppf(0.975, 8) * math.sqrt(4 / 12)
        assert found == pytest.approx((1, 1 - half, 1 + half))

    def test_copies_of_the_rows_of_many_tasks_are_no_evidence(self):
        rng = np.random.default_rng(0)
        effects = rng.normal(size=10)
        widths = []
        for copies in (20, 2000):
            found = row_interval(np.repeat(effects, copies), None, np.repeat(range(10), copies))
            widths.append(found.high - found.low)
        assert widths[0] == pytest.approx(widths[1])

    def test_scale_and_correction(self):
        rng = np.random.default_rng(1)
        d, task = rng.normal(size=60), np.repeat(range(6), 10)
        plain = row_interval(d, None, task, test_share=0.0)
        scaled = row_interval(d, None, task, scale=0.2, test_share=0.44)
        assert scaled.mean == pytest.approx(0.2 * plain.mean)
        assert scaled.high - scaled.mean == pytest.approx(0.2 * 1.2 * (plain.high - plain.mean))

    def test_weights_of_a_common_factor_change_nothing(self):
        rng = np.random.default_rng(2)
        d, task = rng.normal(size=30), np.repeat(range(3), 10)
        one = row_interval(d, None, task)
        assert row_interval(d, np.full(30, 17.0), task) == pytest.approx(one)

    def test_rows_without_weight_or_value_are_left_out(self):
        rng = np.random.default_rng(3)
        d, task, w = rng.normal(size=12), np.repeat(range(3), 4), rng.uniform(1, 2, 12)
        longer = np.append(d, [100.0, np.nan])
        found = row_interval(longer, np.append(w, [0.0, 1.0]), np.append(task, [5, 6]))
        assert found == pytest.approx(row_interval(d, w, task))

    def test_a_task_of_one_row_borrows_the_spread_of_the_others(self):
        # Both tasks have mean 0, so rows decide: variances 2 and unknown, weights 2/3 and 1/3.
        # Weighted: (2/3)^2 * 2 / 2 is known; its share of sum w^2 / n is (4/18) / (4/18 + 1/9).
        found = row_interval(np.array([-1.0, 1, 0]), None, np.array([0, 0, 1]), test_share=0.0)
        variance = (4 / 9) / (2 / 3)
        assert found.high == pytest.approx(stats.t.ppf(0.975, 1) * math.sqrt(variance))

    @pytest.mark.parametrize("d", [[0.3], [np.nan, 0.3]])
    def test_one_row_has_no_spread(self, d):
        found = row_interval(np.array(d), None, np.arange(len(d)))
        assert found.mean == pytest.approx(0.3)
        assert np.isnan(found[1:]).all()

    def test_nothing_gives_nothing(self):
        assert np.isnan(row_interval(np.array([np.nan]), None, np.array([0]))).all()


def test_normal_error_is_the_width_in_normal_quantiles():
    assert normal_error(Interval(0, -1.959963985, 1.959963985)) == pytest.approx(1)
    assert normal_error(Interval(5, 5 - 1.644853627, 5 + 1.644853627), 0.9) == pytest.approx(1)
    assert np.isnan(normal_error(Interval(1, np.nan, np.nan)))


def test_quantiles():
    assert normal_quantile(0.95) == pytest.approx(1.959963985)
    assert t_quantile(np.array([1.0, 4.0]), 0.95) == pytest.approx([12.70620474, 2.776445105])
