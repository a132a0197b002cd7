"""Gains of single tasks: moderation, shrinkage and what becomes of gaps."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.comparison.records import Interval
from polytask.comparison.statistics import (
    GroupMeans,
    clustered_mean,
    discoveries,
    moderate,
    normal_error,
    posterior,
    shrink,
)
from polytask.comparison.verdict import task_gains, task_rows

NAN = float("nan")
NOWHERE = Interval(0.0, NAN, NAN)


def _example(n_tasks=6, n=40, seed=0, spread=0.3, noise=0.2):
    """Gains of tasks with `n` held-out rows each, and the gain over all rows."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0.1, spread, n_tasks)
    rows = true[:, None] + rng.normal(0, noise * np.sqrt(n), (n_tasks, n))
    table = GroupMeans(rows.mean(axis=1), rows.var(axis=1, ddof=1) / n, np.full(n_tasks, n - 1.0))
    overall = clustered_mean(rows.ravel(), np.ones(rows.size), np.arange(rows.size))
    return table, overall.interval()


def _without_variance(table):
    nothing = np.full(len(table.mean), NAN)
    return GroupMeans(table.mean, nothing, np.zeros(len(table.mean)))


class TestModerate:
    def test_it_finds_the_population_of_variances(self):
        rng = np.random.default_rng(0)
        n, d0, s0, d = 20_000, 6.0, 2.0, 4.0
        true = d0 * s0 / rng.chisquare(d0, n)
        own = true * rng.chisquare(d, n) / d
        found, freedom = moderate(own, np.full(n, d), np.ones(n))
        assert freedom == pytest.approx(np.full(n, d0 + d), rel=0.1)
        expected = (d0 * s0 + d * own) / (d0 + d)
        assert found == pytest.approx(expected, rel=0.1)
        # The point of it: closer to the truth than each for itself.
        assert np.mean(np.log(found / true) ** 2) < 0.5 * np.mean(np.log(own / true) ** 2)

    def test_a_common_variance_is_found_but_not_taken_as_known(self):
        rng = np.random.default_rng(1)
        own = 3.0 * rng.chisquare(4, 8) / 4
        found, freedom = moderate(own, np.full(8, 4.0), np.ones(8))
        assert np.ptp(found) < 0.5 * np.ptp(own)
        assert (freedom <= 8 * 4 + 4).all()

    def test_sizes_are_a_trend(self):
        size = np.array([10.0, 20, 40, 80, 160, 320])
        found, _ = moderate(5 / size**1.5, np.full(6, 4.0), size)
        ratio = found * size**1.5
        assert ratio == pytest.approx(np.full(6, ratio[0]))

    def test_without_degrees_of_freedom_a_task_gets_the_common_value(self):
        own, known = np.array([1.5, 2.0, 2.5, 777.0]), np.array([4.0, 4, 4, 0])
        found, freedom = moderate(own, known, np.ones(4))
        assert 1.5 < found[3] < 3
        assert freedom == pytest.approx(freedom[3] + known)

    def test_zeros_stay_finite(self):
        own = np.array([0.0, 1.0, 2.0])
        found, _ = moderate(own, np.full(3, 4.0), np.ones(3))
        assert np.isfinite(found).all()
        assert found[0] < found[2]

    def test_all_zeros_are_zero(self):
        assert not moderate(np.zeros(3), np.full(3, 4.0), np.ones(3))[0].any()

    def test_nothing_known_is_nothing_known(self):
        found, freedom = moderate(np.ones(2), np.zeros(2), np.ones(2))
        assert np.isnan(found).all()
        assert not freedom.any()


def _by_precision(raw, error, tau):
    """Invert the joint precision of all true values and their mean."""
    n = len(raw)
    precision = np.zeros((n + 1, n + 1))
    precision[:n, :n] = np.diag(1 / error**2 + 1 / tau**2)
    precision[:n, n] = precision[n, :n] = -1 / tau**2
    precision[n, n] = n / tau**2
    covariance = np.linalg.inv(precision)
    return covariance[:n, :n] @ (raw / error**2), np.diag(covariance)[:n]


class TestShrink:
    @pytest.mark.parametrize("tau", [0.05, 0.7, 4.0])
    def test_given_the_spread_it_is_the_conditional_distribution(self, tau):
        rng = np.random.default_rng(2)
        raw, error = rng.normal(size=5), rng.uniform(0.2, 2, 5)
        mean, variance = _by_precision(raw, error, tau)
        found = posterior(raw, error, np.array([tau]), error)
        assert found.means[0] == pytest.approx(mean)
        assert found.variances[0] == pytest.approx(variance)

    def test_the_likelihood_of_the_spread(self):
        rng = np.random.default_rng(3)
        raw, error, tau = rng.normal(size=4), rng.uniform(0.2, 2, 4), np.array([0.3, 1.5])
        found = posterior(raw, error, tau, error).log_density
        # A flat prior on the mean leaves the likelihood of the contrasts with one estimate.
        contrast = np.array([[-1.0, 1, 0, 0], [-1, 0, 1, 0], [-1, 0, 0, 1]])
        logs = []
        for t in tau:
            cov = contrast @ np.diag(error**2 + t**2) @ contrast.T
            d = contrast @ raw
            logs.append(-0.5 * (np.linalg.slogdet(cov)[1] + d @ np.linalg.solve(cov, d)))
        assert found[1] - found[0] == pytest.approx(logs[1] - logs[0])

    def test_many_tasks_find_the_spread(self):
        rng = np.random.default_rng(4)
        true = rng.normal(1, 0.5, 4000)
        error = np.full(4000, 1.0)
        found = shrink(true + rng.normal(size=4000), error, error, np.ones(4000))
        assert found.spread[0] == pytest.approx(0.5, abs=0.08)
        assert np.mean((found.mean - true) ** 2) == pytest.approx(0.2, abs=0.02)  # s^2 t^2 / sum
        inside = np.abs(found.mean - true) < 1.96 * np.sqrt(found.variance)
        assert inside.mean() == pytest.approx(0.95, abs=0.015)

    def test_gains_that_fall_with_size_are_not_pulled_to_the_large_tasks(self):
        rng = np.random.default_rng(5)
        size = np.repeat([10.0, 1000.0], 40)
        true = 10 / size * rng.normal(1, 0.5, 80)
        error = 5 / size
        raw = true + error * rng.normal(size=80)
        found = shrink(raw, error, error, size)
        blind = shrink(raw, error, error, np.ones(80))
        small = size == 10
        ours, theirs = (np.mean((f.mean - true)[small] ** 2) for f in (found, blind))
        assert ours < 0.8 * theirs

    def test_gains_lie_between_what_rows_say_and_the_mean_that_is_told(self):
        rng = np.random.default_rng(6)
        size = np.repeat([10.0, 1000.0], 10)
        raw = np.where(size == 10, 0.4, 0.02) + 0.05 * rng.normal(size=20)
        for sizes in (np.ones(20), size):
            found = shrink(raw, np.full(20, 0.1), np.full(20, 0.1), sizes)
            low, high = np.minimum(raw, found.centre), np.maximum(raw, found.centre)
            # What the mean is depends on the spread, over which both are averaged.
            assert ((low - 0.005 < found.mean) & (found.mean < high + 0.005)).all()
            assert np.abs(found.mean - found.centre).mean() < np.abs(raw - found.centre).mean()
        # Of tasks with different numbers of rows it is the mean of those of a size.
        assert found.centre[0] > 2 * found.centre[-1] > 0

    def test_what_has_no_error_stays(self):
        error = np.array([0.0, 1.0, 1.0])
        found = shrink(np.array([5.0, 0.0, 1.0]), error, error, np.ones(3))
        assert found.mean[0] == pytest.approx(5)
        assert found.variance[0] == pytest.approx(0, abs=1e-12)

    def test_equal_values_without_error(self):
        found = shrink(np.full(3, 0.2), np.zeros(3), np.zeros(3), np.ones(3), common=0.1)
        assert found.mean == pytest.approx([0.2] * 3)
        assert found.variance == pytest.approx([0.01] * 3)

    def test_one_task_stays_with_the_larger_error(self):
        one = np.ones(1)
        assert shrink(one, 2 * one, 3 * one, one, common=1.0).variance == pytest.approx([9])
        assert shrink(one, 2 * one, 3 * one, one, common=4.0).variance == pytest.approx([16])


class TestTaskGains:
    def test_one_task_has_at_least_the_overall_interval(self):
        table, overall = _example(1)
        found = task_gains(table, overall, np.array([40]))
        assert found.gain[0] == pytest.approx(overall.mean)
        assert found.low[0] <= overall.low + 1e-12
        assert found.high[0] >= overall.high - 1e-12

    def test_one_task_keeps_its_own_error(self):
        table, overall = _example(1)
        found = task_gains(table, overall)
        # Its own variance is all that there is, with 39 degrees of freedom and a weak prior.
        assert found.error[0] == pytest.approx(np.sqrt(table.variance[0]), rel=0.05)

    @pytest.mark.parametrize("n_tasks", [1, 2, 3])
    @pytest.mark.parametrize("n", [2, 40])
    def test_few_tasks_work(self, n_tasks, n):
        table, overall = _example(n_tasks, n)
        found = task_gains(table, overall)
        assert (found.low < found.gain).all()
        assert (found.gain < found.high).all()

    def test_shrunken_gains_are_closer_together(self):
        table, overall = _example(20, noise=0.5)
        found = task_gains(table, overall)
        assert found.gain.std() < found.raw.std()
        assert found.raw == pytest.approx(table.mean)

    def test_a_task_never_held_out_is_unknown_and_disturbs_nobody(self):
        table, overall = _example()
        rows = np.arange(20, 26)
        without = task_gains(
            GroupMeans(*(field[1:] for field in _fields(table))), overall, rows[1:]
        )
        for field in _fields(table):
            field[0] = NAN
        found = task_gains(table, overall, rows)
        for ours, theirs in zip(found[:5], without[:5], strict=True):
            assert np.isnan(ours[0])
            assert ours[1:] == pytest.approx(theirs)

    def test_a_task_held_out_in_one_row_takes_the_variance_of_the_others(self):
        table, overall = _example()
        table.variance[0], table.freedom[0] = NAN, 0.0
        found = task_gains(table, overall)
        assert np.isfinite(found.low[0])
        assert found.error[0] > found.error[1:].min()

    def test_without_an_overall_interval_tasks_live_on_their_own_rows(self):
        table, _ = _example()
        found = task_gains(table, NOWHERE, np.full(6, 40))
        assert np.isfinite(found.low).all()
        assert found.error.mean() == pytest.approx(np.sqrt(table.variance.mean()), rel=0.2)

    def test_without_any_variance_nothing_is_told(self):
        table, overall = _example()
        found = task_gains(_without_variance(table), overall)
        assert found.gain == pytest.approx(table.mean)
        assert np.isnan(found.low).all()

    def test_equal_models_have_gains_of_zero(self):
        nothing = Interval(0.0, 0.0, 0.0)
        table = GroupMeans(np.zeros(4), np.zeros(4), np.full(4, 9.0))
        found = task_gains(table, nothing, np.full(4, 30))
        assert not found.gain.any()
        assert not found.low.any()
        assert not found.high.any()

    def test_a_doubtful_mean_makes_all_intervals_wide(self):
        table, _ = _example(30, spread=0.0)
        sure, doubtful = Interval(0.1, 0.09, 0.11), Interval(0.1, -0.9, 1.1)
        narrow, wide = (task_gains(table, overall) for overall in (sure, doubtful))
        assert (wide.high - wide.low > narrow.high - narrow.low).all()
        assert (wide.high - wide.low).mean() > 0.6 * (doubtful.high - doubtful.low)
        assert wide.common == normal_error(doubtful)


def _fields(table):
    return table.mean, table.variance, table.freedom


class TestTaskRows:
    """What is said of a task rests on its own rows, and on what the verdict is."""

    def rows(self, table, overall, undecided=True, pooling=-1.0, margin=0.01):
        n = len(table.mean)
        return task_rows(
            range(n), np.full(n, 40), table, np.full(n, pooling), overall, margin, undecided
        )

    def test_more_rows_are_asked_for_only_if_the_verdict_is_open(self):
        table, overall = _example(12, spread=0.2, noise=0.2)
        asked, settled = (self.rows(table, overall, undecided) for undecided in (True, False))
        assert any(task.action == "collect" for task in asked)
        assert not any(task.action == "collect" for task in settled)
        # The number itself is there either way.
        assert [task.more_rows for task in asked] == [task.more_rows for task in settled]

    @pytest.mark.parametrize("seed", range(5))
    def test_a_task_whose_own_interval_holds_zero_calls_for_nothing_of_its_own(self, seed):
        # Tasks alike: the mean of all is known, that of one alone hardly.
        table, overall = _example(30, 60, seed=seed, spread=0.01, noise=0.04)
        gains = task_gains(table, overall, np.full(30, 40))
        own = discoveries(table.mean, gains.error)
        found = self.rows(table, overall, undecided=False)
        actions = {(task.group, bool(own[task.task]), task.action) for task in found}
        assert ("gain", False, "any") in actions
        assert ("gain", True, "share") in actions
        assert {action for _, told, action in actions if not told} == {"any"}

    def test_a_task_that_loses_takes_the_plain_models_that_serve_it_better(self):
        table, overall = _example(8, 400, spread=0.5, noise=0.02)
        for pooling, action in ((1.0, "pool"), (-1.0, "separate")):
            found = self.rows(table, overall, undecided=False, pooling=pooling)
            assert {task.action for task in found if task.group == "lose"} == {action}
            assert {task.action for task in found if task.group == "gain"} == {"share"}

    @pytest.mark.parametrize("freedom", [4, 60])
    def test_of_many_tasks_without_a_gain_none_is_named(self, freedom):
        named = [self.named(450, {}, seed, freedom) for seed in range(40)]
        assert sum(map(bool, named)) <= 4

    def test_clear_exceptions_among_many_tasks_are_named(self):
        for seed in range(5):
            assert self.named(450, {7: -1.0, 70: 1.0}, seed, 60) == {7: "pool", 70: "share"}

    def named(self, n, effects, seed, freedom):
        """The actions of tasks whose rows have a spread of 0.1 around effects, 0 if not given."""
        rng = np.random.default_rng(seed)
        true = np.array([effects.get(t, 0.0) for t in range(n)])
        rows = true[:, None] + rng.normal(0, 0.1 * np.sqrt(freedom + 1), (n, freedom + 1))
        variance = rows.var(axis=1, ddof=1) / (freedom + 1)
        table = GroupMeans(rows.mean(axis=1), variance, np.full(n, float(freedom)))
        overall = clustered_mean(rows.ravel(), np.ones(rows.size), np.arange(rows.size))
        found = self.rows(table, overall.interval(), undecided=False, pooling=1.0)
        assert all(task.group in ("gain", "lose") for task in found if task.action != "any")
        return {task.task: task.action for task in found if task.group in ("gain", "lose")}

    def test_an_interval_within_the_margin_decides(self):
        table, overall = _example(6, 400, spread=0.0, noise=0.001)
        still = GroupMeans(table.mean - table.mean.mean(), table.variance, table.freedom)
        near = Interval(0.0, overall.low - overall.mean, overall.high - overall.mean)
        groups = {task.group for task in self.rows(still, near, margin=0.01)}
        assert groups == {"same"}
        assert {task.group for task in self.rows(still, near, margin=1e-5)} == {"unclear"}

    def test_a_task_never_held_out_is_left_out(self):
        table, overall = _example()
        for field in _fields(table):
            field[2] = NAN
        found = self.rows(table, overall)
        assert sorted(task.task for task in found) == [0, 1, 3, 4, 5]
        assert [task.gain for task in found] == sorted((t.gain for t in found), reverse=True)
