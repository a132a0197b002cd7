"""Laws of what is said about gains, and how often it is wrong on simulated collections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.comparison.records import Interval
from polytask.comparison.statistics import (
    NOTHING,
    Estimate,
    GroupMeans,
    clustered_mean,
    corrected_mean,
    discoveries,
    group_means,
    mean_of_tasks,
    posterior,
    shrink,
)
from polytask.comparison.verdict import rows_to_decide, task_gains, verdict

seeds = st.integers(0, 2**32 - 1)
factors = st.floats(1e-3, 1e3)


def _case(seed):
    """Gains, variances and sizes of a few tasks, one of them without a variance."""
    rng = np.random.default_rng(seed)
    n_tasks = int(rng.integers(1, 8))
    rows = rng.integers(4, 400, n_tasks)
    raw = rng.normal(0.1, 1, n_tasks) + rng.normal(size=n_tasks) / np.sqrt(rows)
    table = GroupMeans(raw, rng.chisquare(5, n_tasks) / rows, rows - 1.0)
    if n_tasks > 1:
        table.variance[-1], table.freedom[-1] = np.nan, 0.0
    mean = float(raw.mean())
    return table, Interval(mean, mean - 0.5, mean + 0.5), rows


def _times(interval, factor):
    ends = sorted(factor * x for x in interval[1:])
    return Interval(factor * interval.mean, *ends)


def _held_out(seed):
    """Values and weights of held-out labels, with cluster and task of each."""
    rng = np.random.default_rng(seed)
    values, weights = rng.normal(0.3, 1, 40), rng.uniform(0.2, 3, 40)
    return values, weights, rng.integers(0, 12, 40), rng.integers(0, 5, 40)


MEANS = {
    "rows": lambda v, w, c, t: clustered_mean(v, w, np.arange(len(v))),
    "clusters": lambda v, w, c, t: clustered_mean(v, w, c),
    "tasks": mean_of_tasks,
    "splits": lambda v, w, c, t: corrected_mean(v, 0.3),
}
of_weights = pytest.mark.parametrize("kind", sorted(MEANS.keys() - {"splits"}))


@pytest.mark.parametrize("kind", MEANS)
@given(seeds, factors)
def test_means_have_the_unit_of_the_metric(kind, seed, factor):
    values, *rest = _held_out(seed)
    found, scaled, mirrored = (MEANS[kind](x, *rest) for x in (values, factor * values, -values))
    assert scaled == pytest.approx((factor * found.mean, factor * found.error, found.freedom))
    assert mirrored == pytest.approx((-found.mean, found.error, found.freedom))


@pytest.mark.parametrize("kind", MEANS)
@given(seeds, st.floats(-100, 100))
def test_a_constant_moves_the_mean_and_not_its_error(kind, seed, constant):
    values, *rest = _held_out(seed)
    found, moved = (MEANS[kind](x, *rest) for x in (values, values + constant))
    assert moved.mean == pytest.approx(found.mean + constant, abs=1e-9)
    assert moved.freedom == pytest.approx(found.freedom)
    assert moved.error == pytest.approx(found.error, rel=1e-6)


@pytest.mark.parametrize("kind", MEANS)
@given(seeds)
def test_the_order_of_the_rows_does_not_matter(kind, seed):
    case = _held_out(seed)
    order = np.random.default_rng(seed).permutation(40)
    moved = MEANS[kind](*(part[order] for part in case))
    assert moved == pytest.approx(MEANS[kind](*case))


@of_weights
@given(seeds, factors)
def test_weights_count_by_their_ratios(kind, seed, factor):
    values, weights, *codes = _held_out(seed)
    found = MEANS[kind](values, factor * weights, *codes)
    assert found == pytest.approx(MEANS[kind](values, weights, *codes))


@pytest.mark.parametrize("kind", ["clusters", "tasks"])
@given(seeds)
def test_names_of_clusters_and_tasks_do_not_matter(kind, seed):
    values, weights, clusters, tasks = _held_out(seed)
    rng = np.random.default_rng(seed)
    renamed = rng.permutation(50)[clusters], rng.permutation(9)[tasks]
    found = MEANS[kind](values, weights, *renamed)
    assert found == pytest.approx(MEANS[kind](values, weights, clusters, tasks))


@pytest.mark.parametrize("kind", ["clusters", "tasks"])
@given(seeds)
def test_a_row_and_two_halves_of_it_in_its_cluster_say_the_same(kind, seed):
    values, weights, clusters, tasks = _held_out(seed)
    halves = [np.repeat(part, 2) for part in (values, weights / 2, clusters, tasks)]
    found = MEANS[kind](*halves)
    assert found == pytest.approx(MEANS[kind](values, weights, clusters, tasks))


@given(seeds)
def test_rows_by_themselves_have_the_textbook_error(seed):
    values, *_ = _held_out(seed)
    found = clustered_mean(values, np.ones(40), np.arange(40))
    assert found == pytest.approx((values.mean(), values.std(ddof=1) / np.sqrt(40), 39))


@given(seeds)
def test_one_task_is_a_mean_of_its_rows(seed):
    values, weights, clusters, _ = _held_out(seed)
    one = np.zeros(40, dtype=np.intp)
    found = mean_of_tasks(values, weights, clusters, one)
    assert found == pytest.approx(clustered_mean(values, weights, clusters))


def _of_rows(rng):
    return rng.standard_exponential(60) - 1, np.arange(60), np.zeros(60, int)


def _of_groups(rng):
    """Groups of 1 to 9 rows, four fifths of whose variance is common to a group."""
    group = np.repeat(np.arange(30), rng.integers(1, 10, 30))
    own = rng.normal(0, 1, len(group))
    return 2 * rng.normal(size=30)[group] + own, group, np.zeros(len(group), int)


def _of_tasks(rng):
    """Tasks of 8 to 50 rows with means of their own, which add up to nothing."""
    task = np.repeat(np.arange(5), [8, 10, 20, 30, 50])
    means = np.array([-4.0, -1, 0, 2, 3])
    return means[task] + rng.normal(size=len(task)), np.arange(len(task)), task


def _of_targets(rng):
    """Rows with a label of each of four tasks, whose errors go together."""
    row, task = np.repeat(np.arange(40), 4), np.tile(np.arange(4), 40)
    means = np.array([-3.0, 0, 1, 2])
    return means[task] + 2 * rng.normal(size=40)[row] + rng.normal(size=160), row, task


@pytest.mark.parametrize("draw", [_of_rows, _of_groups, _of_tasks, _of_targets])
def test_intervals_hold_the_mean_as_often_as_they_say(draw):
    rng, repeats, levels = np.random.default_rng(0), 2500, (0.90, 0.95)
    inside, as_rows = np.zeros(2), 0
    for _ in range(repeats):
        values, clusters, tasks = draw(rng)
        found = mean_of_tasks(values, np.ones(len(values)), clusters, tasks)
        for k, level in enumerate(levels):
            low, high = found.interval(level)[1:]
            inside[k] += low <= 0 <= high
        plain = clustered_mean(values, np.ones(len(values)), np.arange(len(values))).interval()
        as_rows += plain.low <= 0 <= plain.high
    assert inside / repeats == pytest.approx(levels, abs=0.025)
    # Rows that go together, taken for independent ones, would make it much too short.
    if draw is _of_groups:
        assert as_rows / repeats < 0.8


@given(seeds, factors)
def test_gains_have_the_unit_of_the_metric(seed, factor):
    table, overall, rows = _case(seed)
    found = task_gains(table, overall, rows)
    larger = GroupMeans(factor * table.mean, factor**2 * table.variance, table.freedom)
    scaled = task_gains(larger, _times(overall, factor), rows)
    for ours, theirs in zip(found, scaled, strict=True):
        assert theirs == pytest.approx(factor * np.asarray(ours), rel=1e-6)


@given(seeds)
def test_gains_and_losses_are_treated_alike(seed):
    table, overall, rows = _case(seed)
    found = task_gains(table, overall, rows)
    turned = GroupMeans(-table.mean, table.variance, table.freedom)
    mirrored = task_gains(turned, _times(overall, -1), rows)
    assert mirrored.gain == pytest.approx(-found.gain)
    assert mirrored.low == pytest.approx(-found.high)


@given(seeds)
def test_the_order_of_the_tasks_does_not_matter(seed):
    table, overall, rows = _case(seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    found = task_gains(table, overall, rows)
    other = GroupMeans(table.mean[order], table.variance[order], table.freedom[order])
    moved = task_gains(other, overall, rows[order])
    for ours, theirs in zip(found[:6], moved[:6], strict=True):
        assert theirs == pytest.approx(ours[order], rel=1e-6)


@given(seeds)
def test_shrunken_gains_lie_between_the_raw_ones(seed):
    rng = np.random.default_rng(seed)
    raw, error = rng.normal(size=6), rng.uniform(0.1, 3, 6)
    found = shrink(raw, error, error, np.ones(6))
    assert raw.min() - 1e-9 <= found.mean.min()
    assert found.mean.max() <= raw.max() + 1e-9


@given(seeds)
def test_without_spread_all_gains_are_the_mean_with_it_none_moves(seed):
    rng = np.random.default_rng(seed)
    raw, error = rng.normal(size=6), rng.uniform(0.1, 3, 6)
    found = posterior(raw, error, np.array([0.0, 1e8]), error)
    mean = np.average(raw, weights=1 / error**2)
    assert found.means[0] == pytest.approx(np.full(6, mean))
    assert found.variances[0] == pytest.approx(np.full(6, 1 / (1 / error**2).sum()))
    assert found.means[1] == pytest.approx(raw)
    assert found.variances[1] == pytest.approx(error**2)


@given(seeds, st.floats(0.5, 10))
def test_fully_shrunk_tasks_have_the_error_of_the_mean(seed, common):
    rng = np.random.default_rng(seed)
    raw, error = rng.normal(size=6), rng.uniform(0.1, 1, 6)
    found = posterior(raw, error, np.array([0.0]), error, common)
    assert found.variances[0] == pytest.approx(np.full(6, common**2))


@given(seeds)
def test_much_data_is_not_shrunk(seed):
    raw = np.random.default_rng(seed).normal(size=6)
    table = GroupMeans(raw, np.full(6, 1e-14), np.full(6, 1e9))
    mean = float(raw.mean())
    overall = Interval(mean, mean - 1e-7, mean + 1e-7)
    found = task_gains(table, overall, np.full(6, 10**9))
    assert found.gain == pytest.approx(found.raw, abs=1e-5)
    assert (found.high - found.low < 1e-5).all()


@given(seeds, st.integers(0, 5))
def test_a_better_task_does_not_look_worse(seed, at):
    rng = np.random.default_rng(seed)
    raw, error = rng.normal(size=6), rng.uniform(0.1, 3, 6)
    better = raw.copy()
    better[at] += 0.5
    before, after = (shrink(x, error, error, np.ones(6)).mean[at] for x in (raw, better))
    assert after > before


@given(seeds, st.floats(1.1, 10))
def test_the_noisier_task_is_shrunk_more(seed, factor):
    rng = np.random.default_rng(seed)
    raw = np.concatenate([np.full(2, 3.0), rng.normal(0, 0.5, 6)])
    error = np.ones(8)
    error[1] = factor
    found = shrink(raw, error, error, np.ones(8))
    assert found.mean[1] < found.mean[0] < 3


numbers = st.tuples(st.floats(-0.3, 0.3), st.floats(1e-4, 0.3))
margins = st.sampled_from([0.0, 0.001, 0.01, 0.1])
# How often a rule can be found to hold: separate and pooled models, or one kind of them.
pooled = st.one_of(st.none(), numbers)


def _estimate(pair, closer=1.0):
    return NOTHING if pair is None else Estimate(pair[0], closer * pair[1], 1e6)


@given(numbers, pooled, margins, st.floats(0.01, 1), st.sampled_from(["separate", "pooled"]))
def test_more_evidence_never_turns_a_verdict_round(gain, pooling, margin, closer, plain):
    before, after = (
        verdict(_estimate(gain, c), _estimate(pooling, c), margin, plain) for c in (1.0, closer)
    )
    # Differences that are known better may turn out to be too small to matter, and what is
    # better than both plain models may be found to be so.
    turned = {"share": {"separate", "pool"}, "separate": {"share", "pool"}, "pool": {"separate"}}
    assert before == after or after not in turned.get(before, set())
    assert before == "inconclusive" or after != "inconclusive"


@given(numbers, pooled, margins, st.sampled_from(["separate", "pooled"]))
def test_as_many_more_rows_as_stated_would_decide(gain, pooling, margin, plain):
    now = verdict(_estimate(gain), _estimate(pooling), margin, plain)
    k = rows_to_decide(_estimate(gain), _estimate(pooling), margin)
    if now != "inconclusive":
        return

    def after(times):
        closer = times**-0.5
        return verdict(_estimate(gain, closer), _estimate(pooling, closer), margin, plain)

    if k is None:
        assert after(10.99) == "inconclusive"
        return
    assert 1 <= k <= 11
    assert after(1.0001 * k) != "inconclusive"
    assert k < 1.0002 or after(0.9999 * k) == "inconclusive"


@given(seeds, st.floats(0.01, 1))
def test_more_evidence_never_takes_a_group_back(seed, closer):
    rng = np.random.default_rng(seed)
    gain, error = rng.normal(size=20), rng.uniform(0.1, 1.0, size=20)
    before, after = (discoveries(gain, c * error) for c in (1.0, closer))
    assert ((before == 0) | (before == after)).all()


def test_splits_of_the_same_rows_are_not_independent():
    """Two fixed models: the difference of every row stays, only the test rows are drawn."""
    rng = np.random.default_rng(0)
    n, n_test, n_splits, repeats = 40, 10, 10, 3000
    covered = {1 / 3: 0, 0.0: 0}
    for _ in range(repeats):
        d = rng.normal(size=n)
        splits = np.array([rng.permutation(d)[:n_test].mean() for _ in range(n_splits)])
        for share in covered:
            found = corrected_mean(splits, share).interval()
            covered[share] += found.low <= 0 <= found.high
    assert covered[1 / 3] / repeats == pytest.approx(0.95, abs=0.02)
    assert covered[0.0] / repeats < 0.8


class _Collection:
    """Linear tasks; a ridge per task against one that is pulled to the mean of the tasks."""

    n_tasks, n, p = 20, 24, 5

    def __init__(self, rng, relatedness):
        mean, own = rng.normal(size=self.p), rng.normal(size=(self.n_tasks, self.p))
        r = relatedness[:, None]
        self.rng, self.w = rng, (np.sqrt(r) * mean + np.sqrt(1 - r) * own) / np.sqrt(self.p)
        self.null = 1 + (self.w**2).sum(axis=1).mean()

    def draw(self, n):
        X = self.rng.normal(size=(self.n_tasks, n, self.p))
        return X, np.einsum("tnp,tp->tn", X, self.w) + self.rng.normal(size=(self.n_tasks, n))

    def fit(self, X, y):
        A = np.einsum("tnp,tnq->tpq", X, X)
        b = np.einsum("tnp,tn->tp", X, y)[..., None]
        eye = np.eye(self.p)
        separate = np.linalg.solve(A + 5 * eye, b)[..., 0]
        centre = separate.mean(axis=0)[:, None]
        return separate, np.linalg.solve(A + 8 * eye, b + 8 * centre)[..., 0]

    def true_gains(self, repeats=150):
        """Return gains over fresh rows, averaged over fresh training parts."""
        total = np.zeros(self.n_tasks)
        for _ in range(repeats):
            separate, shared = self.fit(*self.draw(3 * self.n // 4))
            total += ((separate - self.w) ** 2 - (shared - self.w) ** 2).sum(axis=1)
        return total / repeats / self.null

    def judge(self, n_splits=4):
        """Return the overall interval, the gains of tasks, and what the fitted models gain.

        The last is the mean over fresh rows of these tasks, and over the folds.
        """
        X, y = self.draw(self.n)
        folds = self.rng.permuted(np.tile(np.arange(self.n) % n_splits, (self.n_tasks, 1)), axis=1)
        fitted, gains = 0.0, np.empty((self.n_tasks, self.n))
        at = np.arange(self.n_tasks)[:, None]
        for j in range(n_splits):
            order = np.argsort(folds == j, axis=1, kind="stable")
            train, test = np.split(order, [self.n - self.n // n_splits], axis=1)
            separate, shared = self.fit(X[at, train], y[at, train])
            fitted += ((separate - self.w) ** 2 - (shared - self.w) ** 2).sum() / n_splits
            losses = [
                (y[at, test] - np.einsum("tnp,tp->tn", X[at, test], w)) ** 2
                for w in (separate, shared)
            ]
            gains[at, test] = (losses[0] - losses[1]) / self.null
        rows = np.full(self.n_tasks, self.n)
        task, row = np.repeat(np.arange(self.n_tasks), self.n), np.arange(gains.size)
        found = group_means(gains.ravel(), np.ones(gains.size), row, task, self.n_tasks)
        overall = clustered_mean(gains.ravel(), np.ones(gains.size), row).interval()
        return (
            overall,
            task_gains(GroupMeans(*found), overall, rows),
            fitted / gains[:, 0].size / self.null,
        )


RELATED = {
    "unrelated": np.zeros(20),
    "half": np.repeat([0.97, 0.0], 10),
    "related": np.full(20, 0.97),
}


def _rates(kind, collections=6, repeats=30):
    seen = []
    for seed in range(collections):
        collection = _Collection(np.random.default_rng(seed), RELATED[kind])
        true = collection.true_gains()
        for _ in range(repeats):
            overall, tasks, fitted = collection.judge()
            up, down = tasks.low > 0, tasks.high < 0
            seen.append(
                (
                    overall.low <= true.mean() <= overall.high,
                    overall.low <= fitted <= overall.high,
                    overall.above,
                    overall.above and fitted <= 0,
                    np.mean((tasks.low <= true) & (true <= tasks.high)),
                    np.mean(up & (true <= 0)) + np.mean(down & (true >= 0)),
                    np.mean((tasks.gain - true) ** 2) / np.mean((tasks.raw - true) ** 2),
                    true.mean(),
                )
            )
    return np.mean(seen, axis=0)


@pytest.mark.parametrize("kind", RELATED)
def test_simulated_collections_are_judged_honestly(kind):
    overall, of_fitted, shared, wrong, tasks, false, error, true = _rates(kind)
    # Of models fitted to such rows. The folds have rows in common, so with 18 rows of a task to
    # learn from, that of the very models that were fitted is not known quite as well.
    assert overall >= 0.95
    assert of_fitted >= 0.87
    assert tasks >= 0.94
    assert false < 0.03
    assert error < 0.8  # shrinkage pays
    assert wrong < 0.025
    if true <= 0:
        assert shared <= 0.05
    assert (true > 0) == (kind != "unrelated")
    if kind == "related":
        assert shared > 0.6
