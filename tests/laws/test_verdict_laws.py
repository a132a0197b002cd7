"""Laws of what is said about gains, and how often it is wrong on simulated collections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.analysis._intervals import corrected_interval, row_interval
from polytask.analysis._parts import Interval
from polytask.analysis._shrinkage import posterior, shrink
from polytask.analysis._task_gains import task_gains
from polytask.analysis._verdict import group_and_action, verdict

seeds = st.integers(0, 2**32 - 1)
factors = st.floats(1e-3, 1e3)


def _case(seed):
    """Splits, rows and sizes of a few tasks, one of them with gaps."""
    rng = np.random.default_rng(seed)
    n_tasks = int(rng.integers(1, 8))
    rows = rng.integers(4, 400, n_tasks)
    values = rng.normal(0.1, 1, n_tasks) + rng.normal(size=(5, n_tasks)) / np.sqrt(rows)
    row_variance = rng.chisquare(5, (5, n_tasks)) / rows
    values[:2, -1] = row_variance[:2, -1] = np.nan
    mean = float(np.nanmean(values))
    return values, row_variance, Interval(mean, mean - 0.5, mean + 0.5), rows


def _times(interval, factor):
    ends = sorted(factor * x for x in interval[1:])
    return Interval(factor * interval.mean, *ends)


@given(seeds, factors)
def test_intervals_have_the_unit_of_the_metric(seed, factor):
    rng = np.random.default_rng(seed)
    d, task = rng.normal(0.3, 1, 40), rng.integers(0, 5, 40)
    for interval in (
        lambda x: corrected_interval(x, 0.3),
        lambda x: row_interval(x, None, task),
    ):
        assert interval(factor * d) == pytest.approx(_times(interval(d), factor))
        assert interval(-d) == pytest.approx(_times(interval(d), -1))


@given(seeds, factors)
def test_gains_have_the_unit_of_the_metric(seed, factor):
    values, row_variance, overall, rows = _case(seed)
    found = task_gains(values, row_variance, 1 / 3, overall, rows)
    scaled = task_gains(
        factor * values, factor**2 * row_variance, 1 / 3, _times(overall, factor), rows
    )
    for ours, theirs in zip(found, scaled, strict=True):
        assert theirs == pytest.approx(factor * np.asarray(ours), rel=1e-6)


@given(seeds)
def test_gains_and_losses_are_treated_alike(seed):
    values, row_variance, overall, rows = _case(seed)
    found = task_gains(values, row_variance, 1 / 3, overall, rows)
    mirrored = task_gains(-values, row_variance, 1 / 3, _times(overall, -1), rows)
    assert mirrored.gain == pytest.approx(-found.gain)
    assert mirrored.low == pytest.approx(-found.high)


@given(seeds)
def test_the_order_of_the_tasks_does_not_matter(seed):
    values, row_variance, overall, rows = _case(seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    found = task_gains(values, row_variance, 1 / 3, overall, rows)
    moved = task_gains(values[:, order], row_variance[:, order], 1 / 3, overall, rows[order])
    for ours, theirs in zip(found[:6], moved[:6], strict=True):
        assert theirs == pytest.approx(ours[order], rel=1e-6)


@given(seeds)
def test_the_order_of_the_splits_does_not_matter(seed):
    values, row_variance, overall, rows = _case(seed)
    found = task_gains(values, row_variance, 1 / 3, overall, rows)
    moved = task_gains(values[::-1], row_variance[::-1], 1 / 3, overall, rows)
    assert moved.low == pytest.approx(found.low)


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
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=6)
    values = raw + 1e-7 * rng.normal(size=(5, 6))
    overall = corrected_interval(values.mean(axis=1), 1 / 3)
    found = task_gains(values, np.full((5, 6), 1e-14), 1 / 3, overall, np.full(6, 10**9))
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


@given(st.tuples(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1)), st.floats(0, 1))
def test_more_evidence_never_takes_a_verdict_back(numbers, closer):
    mean, below, above = numbers
    wide = Interval(mean, mean - below, mean + above)
    narrow = Interval(mean, mean - closer * below, mean + closer * above)
    nothing = Interval(0.0, -1.0, 1.0)
    before, after = (verdict(i, nothing, "separate") for i in (wide, narrow))
    assert before in ("unclear", after)
    groups = [group_and_action(i.low, i.high, None, 0.0, 0.0).group for i in (wide, narrow)]
    assert groups[0] in ("unclear", groups[1])


def test_splits_of_the_same_rows_are_not_independent():
    """Two fixed models: the difference of every row stays, only the test rows are drawn."""
    rng = np.random.default_rng(0)
    n, n_test, n_splits, repeats = 40, 10, 10, 3000
    covered = {1 / 3: 0, 0.0: 0}
    for _ in range(repeats):
        d = rng.normal(size=n)
        splits = np.array([rng.permutation(d)[:n_test].mean() for _ in range(n_splits)])
        for share in covered:
            found = corrected_interval(splits, share)
            covered[share] += found.low <= 0 <= found.high
    assert covered[1 / 3] / repeats == pytest.approx(0.95, abs=0.02)
    assert covered[0.0] / repeats < 0.8


class _Collection:
    """Linear tasks; a ridge per task against one that is pulled to the mean of the tasks."""

    n_tasks, n, n_test, p = 20, 24, 6, 5

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
            separate, shared = self.fit(*self.draw(self.n - self.n_test))
            total += ((separate - self.w) ** 2 - (shared - self.w) ** 2).sum(axis=1)
        return total / repeats / self.null

    def compare(self, n_splits=5):
        X, y = self.draw(self.n)
        values, variance = np.empty((2, n_splits, self.n_tasks))
        for j in range(n_splits):
            order = self.rng.permuted(np.tile(np.arange(self.n), (self.n_tasks, 1)), axis=1)
            test, train = np.split(order, [self.n_test], axis=1)
            at = np.arange(self.n_tasks)[:, None]
            separate, shared = self.fit(X[at, train], y[at, train])
            losses = [
                (y[at, test] - np.einsum("tnp,tp->tn", X[at, test], w)) ** 2
                for w in (separate, shared)
            ]
            gains = (losses[0] - losses[1]) / self.null
            values[j] = gains.mean(axis=1)
            variance[j] = gains.var(axis=1, ddof=1) / self.n_test
        return values, variance

    def judge(self):
        """Return the overall interval and the gains of tasks of one comparison."""
        values, variance = self.compare()
        share = self.n_test / (self.n - self.n_test)
        overall = corrected_interval(values.mean(axis=1), share)
        rows = np.full(self.n_tasks, self.n)
        return overall, task_gains(values, variance, share, overall, rows)


RELATED = {
    "unrelated": np.zeros(20),
    "half": np.repeat([0.97, 0.0], 10),
    "related": np.full(20, 0.97),
}


def _rates(kind, collections=6, repeats=20):
    seen = []
    for seed in range(collections):
        collection = _Collection(np.random.default_rng(seed), RELATED[kind])
        true = collection.true_gains()
        for _ in range(repeats):
            overall, tasks = collection.judge()
            up, down = tasks.low > 0, tasks.high < 0
            seen.append(
                (
                    overall.low <= true.mean() <= overall.high,
                    overall.above,
                    np.mean((tasks.low <= true) & (true <= tasks.high)),
                    np.mean(up & (true <= 0)) + np.mean(down & (true >= 0)),
                    np.mean((tasks.gain - true) ** 2) / np.mean((tasks.raw - true) ** 2),
                    true.mean(),
                )
            )
    return np.mean(seen, axis=0)


@pytest.mark.parametrize("kind", RELATED)
def test_simulated_collections_are_judged_honestly(kind):
    overall, shared, tasks, false, error, true = _rates(kind)
    assert overall >= 0.95
    assert tasks >= 0.94
    assert false < 0.03
    assert error < 0.8  # shrinkage pays
    if true <= 0:
        assert shared <= 0.05
    assert (true > 0) == (kind != "unrelated")
    if kind == "related":
        assert shared > 0.6
