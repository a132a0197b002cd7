"""Means with their errors, against numbers worked out by hand and the textbook's formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from polytask.comparison.records import Interval
from polytask.comparison.statistics import (
    NOTHING,
    Estimate,
    clustered_mean,
    corrected_mean,
    group_means,
    mean_of_tasks,
    normal_error,
    normal_quantile,
    t_quantile,
)


class TestEstimate:
    def test_its_interval_is_that_of_student(self):
        low, high = stats.t.interval(0.9, 7.5, 0.3, 0.1)
        assert Estimate(0.3, 0.1, 7.5).interval(0.9) == pytest.approx((0.3, low, high))

    def test_without_an_error_there_are_no_ends(self):
        found = Estimate(0.3, math.nan, 0.0).interval()
        assert found.mean == 0.3
        assert np.isnan(found[1:]).all()
        assert not found.above
        assert not found.below
        assert np.isnan(NOTHING.interval()).all()


class TestCorrected:
    def test_five_splits_by_hand(self):
        # mean 3, S^2 = 2.5, (1/5 + 1/3) 2.5 = 4/3, t(4) = 2.776445
        found = corrected_mean(np.array([1.0, 2, 3, 4, 5]), 1 / 3).interval()
        half = 2.776445105 * math.sqrt(4 / 3)
        assert found == pytest.approx((3, 3 - half, 3 + half))

    def test_without_a_correction_it_is_the_t_interval(self):
        d = np.array([0.1, -0.4, 0.7, 0.2])
        low, high = stats.t.interval(0.9, 3, d.mean(), stats.sem(d))
        assert corrected_mean(d, 0.0).interval(0.9) == pytest.approx((d.mean(), low, high))

    def test_failed_splits_do_not_count(self):
        d = np.array([1.0, np.nan, 3.0, 2.0, np.nan])
        assert corrected_mean(d, 0.3) == corrected_mean(d[[0, 2, 3]], 0.3)

    def test_equal_differences_have_no_width(self):
        value = 0.1 + 0.2
        assert corrected_mean(np.full(7, value), 0.3).interval() == (value, value, value)

    def test_two_equal_models_do_not_differ(self):
        found = corrected_mean(np.zeros(5), 1 / 3).interval()
        assert not found.above
        assert not found.below

    @pytest.mark.parametrize(("d", "mean"), [([0.4], 0.4), ([np.nan, 0.4], 0.4)])
    def test_one_split_gives_no_spread(self, d, mean):
        found = corrected_mean(np.array(d), 1 / 3).interval()
        assert found.mean == mean
        assert np.isnan(found[1:]).all()

    @pytest.mark.parametrize("d", [[], [np.nan, np.nan]])
    def test_nothing_gives_nothing(self, d):
        assert np.isnan(corrected_mean(np.array(d), 1 / 3).interval()).all()


class TestClustered:
    def test_independent_rows_have_the_textbook_error(self):
        d = np.array([0.0, 1, 5, 2])
        found = clustered_mean(d, np.ones(4), np.arange(4))
        assert found == pytest.approx((2, stats.sem(d), 3))

    def test_clusters_of_equal_size_count_as_their_means(self):
        d, cluster = np.random.default_rng(0).normal(size=30), np.tile(np.arange(6), 5)
        means = d.reshape(5, 6).mean(axis=0)
        found = clustered_mean(d, np.ones(30), cluster)
        assert found == pytest.approx((d.mean(), stats.sem(means), 5))

    def test_copies_of_the_rows_of_a_cluster_are_no_evidence(self):
        effects = np.random.default_rng(0).normal(size=10)
        found = [
            clustered_mean(np.repeat(effects, n), np.ones(10 * n), np.repeat(np.arange(10), n))
            for n in (1, 20, 2000)
        ]
        assert found[0] == pytest.approx(found[1])
        assert found[0] == pytest.approx(found[2])

    def test_weights_by_hand(self):
        # Shares 1/2, 1/4, 1/4; mean 0.75; weighted residuals -.375, .0625, .3125; the weight is
        # spread as over 1 / (1/4 + 1/16 + 1/16) = 8/3 equal rows.
        found = clustered_mean(np.array([0.0, 1, 2]), np.array([2.0, 1, 1]), np.arange(3))
        squares = 0.375**2 + 0.0625**2 + 0.3125**2
        assert found == pytest.approx((0.75, math.sqrt(squares * (8 / 3) / (5 / 3)), 5 / 3))

    def test_one_cluster_has_a_mean_and_no_error(self):
        found = clustered_mean(np.array([0.2, 0.4]), np.ones(2), np.array([3, 3]))
        assert found.mean == pytest.approx(0.3)
        assert np.isnan(found.error)
        assert found.freedom == 0
        assert np.isnan(found.interval()[1:]).all()

    def test_two_equal_models_do_not_differ(self):
        found = clustered_mean(np.zeros(5), np.ones(5), np.arange(5)).interval(0.9)
        assert found == (0, 0, 0)

    def test_nothing_gives_nothing(self):
        nothing, no_codes = np.empty(0), np.empty(0, dtype=np.intp)
        assert clustered_mean(nothing, nothing, no_codes) is NOTHING
        assert mean_of_tasks(nothing, nothing, no_codes, no_codes) is NOTHING


class TestGroups:
    def test_every_group_is_a_mean_of_its_own(self):
        rng = np.random.default_rng(1)
        d, w, group = rng.normal(size=60), rng.uniform(1, 3, 60), rng.integers(0, 4, 60)
        cluster = rng.integers(0, 15, 60)
        found = group_means(d, w, cluster, group, 4)
        for g in range(4):
            mine = group == g
            alone = clustered_mean(d[mine], w[mine], cluster[mine])
            expected = (alone.mean, alone.error**2, alone.freedom)
            assert [field[g] for field in found] == pytest.approx(expected)

    def test_groups_without_rows_or_with_one_cluster_are_unknown(self):
        d, group = np.array([1.0, 3, 5, 7]), np.array([0, 0, 2, 2])
        found = group_means(d, np.ones(4), np.array([0, 1, 4, 4]), group, 3)
        assert found.mean[[0, 2]] == pytest.approx([2, 6])
        assert np.isnan(found.mean[1])
        assert found.variance[0] == pytest.approx(1)
        assert np.isnan(found.variance[1:]).all()
        assert found.freedom == pytest.approx([1, 0, 0])


class TestMeanOfTasks:
    def test_tasks_count_alike_however_many_rows_they_have(self):
        rng = np.random.default_rng(2)
        sizes = np.array([4, 40, 400])
        task, d = np.repeat(np.arange(3), sizes), rng.normal(size=444)
        found = mean_of_tasks(d, np.ones(444), np.arange(444), task)
        parts = [d[task == t] for t in range(3)]
        assert found.mean == pytest.approx(np.mean([part.mean() for part in parts]))
        # Rows of different tasks are independent: variances of the means of tasks add up.
        variance = sum(part.var(ddof=1) / len(part) for part in parts) / 9
        assert found.error == pytest.approx(math.sqrt(variance))

    def test_rows_with_a_label_of_every_task_are_what_is_independent(self):
        d = np.random.default_rng(3).normal(size=(25, 3)) + np.arange(3)
        row, task = np.repeat(np.arange(25), 3), np.tile(np.arange(3), 25)
        found = mean_of_tasks(d.ravel(), np.ones(75), row, task)
        assert found == pytest.approx((d.mean(), stats.sem(d.mean(axis=1)), 24))

    def test_means_of_tasks_may_differ_without_widening_the_interval(self):
        rng = np.random.default_rng(4)
        d, task = rng.normal(size=60), np.repeat(np.arange(3), 20)
        near = mean_of_tasks(d, np.ones(60), np.arange(60), task)
        far = mean_of_tasks(d + 100 * task, np.ones(60), np.arange(60), task)
        assert far.error == pytest.approx(near.error)
        assert far.mean == pytest.approx(near.mean + 100)

    def test_tasks_that_are_clusters_themselves_are_told_apart_by_their_means(self):
        rng = np.random.default_rng(5)
        task, d = np.repeat(np.arange(8), 10), rng.normal(size=80)
        means = d.reshape(8, 10).mean(axis=1)
        found = mean_of_tasks(d, np.ones(80), task, task)
        assert found.mean == pytest.approx(means.mean())
        # The residuals of eight means around their own mean, without the n / (n - 1).
        assert found.error == pytest.approx(stats.sem(means), rel=0.1)

    def test_one_cluster_has_no_error(self):
        found = mean_of_tasks(np.arange(4.0), np.ones(4), np.zeros(4, int), np.array([0, 0, 1, 1]))
        assert found.mean == pytest.approx(1.5)
        assert np.isnan(found.error)


def test_normal_error_is_the_width_in_normal_quantiles():
    assert normal_error(Interval(0, -1.959963985, 1.959963985)) == pytest.approx(1)
    assert normal_error(Interval(5, 5 - 1.644853627, 5 + 1.644853627), 0.9) == pytest.approx(1)
    assert np.isnan(normal_error(Interval(1, np.nan, np.nan)))


def test_quantiles():
    assert normal_quantile(0.95) == pytest.approx(1.959963985)
    assert t_quantile(np.array([1.0, 4.0]), 0.95) == pytest.approx([12.70620474, 2.776445105])
