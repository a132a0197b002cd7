"""Block descent: agreement with another solver, screening, engines, memory, hard data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.pairs import in_turn
from unit.solvers.shared_designs import INTERCEPTS, agrees, design, resolved, samples, statistics

from polytask.datafits import Features, Samples, ScalarBlock, Shared
from polytask.exceptions import IncompatibleError
from polytask.linear import MultiTaskRegressor
from polytask.losses import Logistic, Squared
from polytask.penalties import (
    L1,
    L2,
    L21,
    Columns,
    CompiledRows,
    ElasticNet,
    L1Inf,
    RowKernel,
    SparseGroup,
    TraceNorm,
    along_time,
    positive,
    toward_mean,
    weighted,
)
from polytask.penalties.row_kernels import apply_rows, row_prox
from polytask.penalties.terms import ALPHA, FRACTION, Norm
from polytask.solvers import AcceleratedGradient, BlockDescent, Status, choose
from polytask.solvers import block_descent as module
from polytask.solvers import block_descent as pools
from polytask.solvers._block_data import SampleData, shared_data

PENALTIES = (
    L21(fraction=0.1),
    L1(fraction=0.2),
    SparseGroup(fraction=0.1, l1_ratio=0.3),
    ElasticNet(fraction=0.1, l1_ratio=0.7),
    L21(fraction=0.1) + L2(0.02),
)
LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "float32": lambda X: X.astype(np.float32),
    "CSR": sp.csr_array,
    "CSC": sp.csc_array,
}


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 60), st.integers(1, 6)),
    seed=st.integers(0, 1000),
    mode=st.sampled_from(sorted(INTERCEPTS)),
    layout=st.sampled_from(["C", "F", "CSR"]),
    penalty=st.sampled_from(PENALTIES),
    unequal=st.booleans(),
)
def test_it_agrees_with_accelerated_gradient(shape, seed, mode, layout, penalty, unequal):
    rng = np.random.default_rng(seed)
    X, Y = design(*shape, seed)
    X = X * (rng.random(X.shape) < 0.6) if layout == "CSR" else X
    factors = rng.uniform(0.3, 2.0, shape[0]), rng.uniform(0.3, 2.0, shape[2])
    datafit = samples(LAYOUTS[layout](X), Y, mode, *(factors if unequal else ()))
    bound = resolved(datafit, penalty)
    found = BlockDescent().solve(datafit, bound, tol=1e-8)
    other = AcceleratedGradient().solve(datafit, bound, tol=1e-8)
    assert found.status.ok == other.status.ok
    size = max(found.certificate.reference, 1e-300)
    # Each is certified to 1e-8, so that they may differ by the sum: at 1e-10 agree the objectives
    # of statistics and samples below, which are solved to 1e-11.
    assert abs(found.objective - other.objective) <= 2e-8 * size


@pytest.mark.parametrize(("mode", "layout"), in_turn(INTERCEPTS, LAYOUTS))
def test_every_engine_gives_the_same_answer(monkeypatch, mode, layout):
    X, Y = design(40, 90, 4)
    X = X * (np.random.default_rng(1).random(X.shape) < 0.5)
    datafit = samples(LAYOUTS[layout](X), Y, mode)
    tol = 1e-5 if layout == "float32" else 1e-9
    for penalty in PENALTIES[:3]:
        gram = agrees(datafit, penalty, tol)
        again = samples(LAYOUTS[layout](X), Y, mode, tasks=np.ones(4))
        with monkeypatch.context() as patch:
            patch.setattr(pools.Pool, "in_gram_domain", lambda self, size: False)
            patch.setattr(pools, "residual_engine", seen := Seen(pools.residual_engine))
            residual = agrees(again, penalty, tol)
        assert seen.count > 0
        size = gram.certificate.reference
        assert residual.objective == pytest.approx(gram.objective, abs=3 * tol * size)


class Seen:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function, self.count = function, 0

    def __call__(self, *args):
        self.count += 1
        return self.function(*args)


def test_weights_and_offsets_reach_every_engine(monkeypatch):
    rng = np.random.default_rng(3)
    X, Y = design(50, 70, 3)
    X = sp.csr_array(X * (rng.random(X.shape) < 0.4))
    factors = rng.uniform(0.2, 3.0, 50), rng.uniform(0.2, 3.0, 3)
    for mode in INTERCEPTS:
        for dense in (False, True):
            if dense:
                monkeypatch.setattr(pools.Pool, "in_gram_domain", lambda self, size: False)
            agrees(samples(X, Y, mode, *factors, offset=np.full(70, 0.3)), L21(fraction=0.1))
            monkeypatch.undo()


COUPLED = {
    "toward the mean": L21(fraction=0.1) + toward_mean(0.05),
    "a strong coupling": L21(fraction=0.1) + toward_mean(50.0),
    "a chain and entries": SparseGroup(fraction=0.1, l1_ratio=0.4) + along_time(0.1, range(4)),
    "the largest entry": L1Inf(fraction=0.1) + toward_mean(0.1),
    "a ridge": L21(fraction=0.1) + toward_mean(0.1) + L2(0.1),
    "weights": weighted(L21(fraction=0.1), np.linspace(0.5, 2.0, 90)) + toward_mean(0.1),
    "signs": positive(L21(fraction=0.1)) + toward_mean(0.1),
}


@pytest.mark.parametrize(
    ("mode", "case", "layout"),
    in_turn(["free", "pulled"], COUPLED, ["C", "C", "CSR", "CSR"]),
)
def test_couplings_of_columns(monkeypatch, mode, case, layout):
    X, Y = design(40, 90, 4)
    X = X * (np.random.default_rng(1).random(X.shape) < 0.5)
    datafit = samples(LAYOUTS[layout](X), Y, mode, tasks=np.array([1.0, 0.5, 2.0, 1.0]))
    penalty = COUPLED[case].bind(Columns.plain(4)).resolved(datafit.origin.gradient)
    other = AcceleratedGradient().solve(datafit, penalty, tol=1e-9, max_iter=50000)
    found = BlockDescent().solve(datafit, penalty, tol=1e-9)
    size = found.certificate.reference
    assert found.status is Status.CONVERGED
    assert abs(found.objective - other.objective) <= 2e-9 * size
    # The next strength of a path has another coupling.
    weaker = penalty.with_strength(0.5 * penalty.strength)
    onward = BlockDescent().solve(datafit, weaker, tol=1e-9, start=found)
    afresh = BlockDescent().solve(datafit, weaker, tol=1e-9)
    assert onward.status is afresh.status is Status.CONVERGED
    assert abs(onward.objective - afresh.objective) <= 2e-9 * size
    with monkeypatch.context() as patch:
        patch.setattr(pools.Pool, "in_gram_domain", lambda self, size: False)
        again = samples(LAYOUTS[layout](X), Y, mode, tasks=np.array([1.0, 0.5, 2.0, 1.0]))
        residual = BlockDescent().solve(again, penalty, tol=1e-9)
    assert residual.status is Status.CONVERGED
    assert abs(residual.objective - found.objective) <= 2e-9 * size


@pytest.mark.parametrize("mode", INTERCEPTS)
def test_statistics_and_samples_agree(mode):
    X, Y = design(60, 30, 4)
    for penalty in PENALTIES:
        one, other = (agrees(make(X, Y, mode), penalty, 1e-11) for make in (samples, statistics))
        assert one.objective == pytest.approx(other.objective, rel=1e-10)
        np.testing.assert_allclose(one.W, other.W, atol=1e-4)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 1000),
    closeness=st.sampled_from([0.0, 1e-12, 1e-9, 1e-6, 1e-3]),
    fraction=st.sampled_from([0.5, 0.1, 0.02]),
    growth=st.sampled_from([1, 3, 100]),
)
def test_screening_discards_no_true_row(seed, closeness, fraction, growth):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(25, 6))
    copies = [base + closeness * rng.normal(size=base.shape) for _ in range(8)]
    X = np.column_stack([base, -base, *copies])[:, rng.permutation(60)]
    Y = base[:, :3] @ rng.normal(size=(3, 3)) + 0.1 * rng.normal(size=(25, 3))
    datafit, found = samples(X, Y), None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module._Blocks, "least_growth", growth)
        for share in (1.0, 0.7, fraction):
            bound = resolved(datafit, L21(fraction=share))
            found = BlockDescent().solve(datafit, bound, tol=1e-4, start=found)
    other = AcceleratedGradient().solve(datafit, bound, tol=1e-4, max_iter=500)
    # Were a row missing that the answer needs, the certificate could not hold.
    assert found.objective - found.gap <= other.objective
    assert other.objective - other.gap <= found.objective
    assert found.status.ok
    norms = np.linalg.norm(datafit.evaluate(found.W).gradient, axis=1)
    resting = ~found.W.any(axis=1)
    # With near copies of every feature more precision takes too many sweeps; at a gap of 1e-4
    # a gradient may still exceed the strength by the order of its root.
    assert np.all(norms[resting] <= bound.strength * (1 + 0.1))


@pytest.mark.parametrize(
    ("n", "d", "T"), [(1, 5, 2), (20, 1, 3), (20, 8, 1), (1, 1, 1), (2, 1, 1)]
)
@pytest.mark.parametrize("mode", ["none", "free"])
def test_small_shapes(n, d, T, mode):
    datafit = samples(*design(n, d, T), mode)
    bound = resolved(datafit, L21(fraction=0.3))
    found = BlockDescent().solve(datafit, bound)
    other = AcceleratedGradient().solve(datafit, bound)
    assert found.status.ok
    assert found.objective == pytest.approx(other.objective, rel=1e-5, abs=1e-12)


def test_zero_constant_and_double_columns():
    X, Y = design(30, 12, 3)
    X[:, 2], X[:, 3], X[:, 5] = 0.0, 3.3, X[:, 4]
    for Z in (X, sp.csr_array(X)):
        found = agrees(samples(Z, Y), L21(fraction=0.1))
        assert not found.W[2:4].any()
    assert not agrees(samples(X, Y, "none"), L21(fraction=0.1)).W[2].any()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("level", [0.0, 100.0])
def test_the_answer_is_certified_or_the_status_says_what_was_lost(layout, level):
    X, Y = design(40, 16, 3)
    X = (X + level) * np.geomspace(1e-8, 1e8, 16)
    datafit = samples(LAYOUTS[layout](X), Y)
    for share in (0.5, 0.01):
        bound = resolved(datafit, L21(fraction=share))
        found = BlockDescent().solve(datafit, bound)
        assert found.status in (Status.CONVERGED, Status.STALLED)
        assert found.status.ok == (found.certificate.relative <= 1e-6)
        exact = samples(np.asarray(LAYOUTS[layout](X) @ np.eye(16), dtype=float), Y)
        value = exact.evaluate(found.W).value + bound.value(found.W)
        assert value == pytest.approx(found.objective, rel=1e-3)


def test_a_path_reuses_features_and_the_last_evaluation(monkeypatch):
    datafit, asked = samples(*design(50, 200, 3)), []
    data = datafit.derived(shared_data)
    plain = type(data).columns
    monkeypatch.setattr(
        type(data), "columns", lambda self, index: asked.extend(index) or plain(self, index)
    )
    evaluated, evaluate = [], Samples.evaluate
    monkeypatch.setattr(
        Samples, "evaluate", lambda self, *args: evaluated.append(1) or evaluate(self, *args)
    )
    limit, start = L21(1.0).null_strength(datafit.origin.gradient), None
    for alpha in np.geomspace(limit, 0.2 * limit, 10):
        start = BlockDescent().solve(datafit, L21(float(alpha)), start=start)
        cold = BlockDescent().solve(samples(*design(50, 200, 3)), L21(float(alpha)))
        assert start.objective == pytest.approx(cold.objective, rel=1e-5)
    asked.clear()
    evaluated.clear()
    BlockDescent().solve(datafit, L21(float(alpha)), start=start)
    assert not asked
    assert not evaluated
    changed = start.W.copy()
    start.W[...] = 0.0
    start.intercept[...] = 1.0
    again = BlockDescent().solve(datafit, L21(float(alpha)), start=start)
    np.testing.assert_allclose(again.W, changed, atol=1e-3)
    assert np.isfinite(again.intercept).all()


def test_memory_is_bounded(monkeypatch):
    X, Y = design(30, 400, 2)
    monkeypatch.setattr(pools, "_LARGEST_GRAM", 20**2)
    agrees(samples(X, Y), L21(fraction=0.02), 1e-7)
    datafit = samples(X, Y)
    sizes, append = [], pools.Pool._append
    monkeypatch.setattr(
        pools.Pool, "_append", lambda self, new: append(self, new) or sizes.append(self.index.size)
    )
    monkeypatch.setattr(SampleData, "entries", 30 * 120.0)
    monkeypatch.setattr(pools, "_LARGEST_COPY", 0.0)
    agrees(datafit, L21(fraction=0.3))
    assert max(sizes) <= 120


def test_refusals():
    X, Y = design(20, 6, 3)
    fits = samples(X, Y)
    solver = BlockDescent()
    assert "row kernel" in str(solver.accepts(fits, TraceNorm(0.1)))
    elsewhere = toward_mean(1.0).shifted(np.ones(fits.shape))
    assert "row kernel" in str(solver.accepts(fits, L21(0.1) + elsewhere))
    assert "row kernel" in str(solver.accepts(fits, L21(0.1).shifted(np.ones((6, 3)))))
    assert solver.accepts(fits, TraceNorm(0.1) + L21(0.1))
    gaps = np.ones(Y.shape)
    gaps[0, 0] = 0.0
    shared = Shared(Features(X), np.arange(3))
    for block in (
        ScalarBlock(shared, Squared(), Y, gaps),
        ScalarBlock(shared, Logistic(), (Y > 0).astype(float), np.ones(Y.shape)),
        ScalarBlock(Shared(Features(X), np.array([2, 0, 1])), Squared(), Y, np.ones(Y.shape)),
    ):
        datafit = Samples((block,), INTERCEPTS["free"](3), 6, 3)
        assert "one design" in str(solver.accepts(datafit, L21(0.1)))
        with pytest.raises(IncompatibleError, match="one design"):
            solver.solve(datafit, L21(0.1))
    wide = samples(X, np.repeat(Y, 150, axis=1), "pulled")
    assert "at most 300 tasks" in str(solver.accepts(wide, L21(0.1)))


def test_without_a_penalty_the_residual_decides():
    for n, d in ((40, 8), (20, 60)):
        datafit = samples(*design(n, d, 3))
        found = BlockDescent().solve(datafit, L21(0.0))
        assert found.status is Status.CONVERGED
        assert found.gap is None
        assert found.residual <= 1e-6
        gradient = datafit.evaluate(found.W).gradient
        assert np.abs(gradient).max() <= 1e-5 * np.abs(datafit.origin.gradient).max()


def test_large_problems_choose_it():
    X, Y = design(100, 2000, 10)
    assert choose(samples(X, Y), L21(0.1)) == BlockDescent()
    assert choose(samples(X[:, :50], Y), L21(0.1)) != BlockDescent()
    X, Y = design(300, 200, 30)
    assert choose(statistics(X, Y), L21(0.1)) == BlockDescent()
    assert choose(statistics(X, Y), TraceNorm(0.1)) != BlockDescent()


def test_too_few_sweeps():
    datafit = samples(*design(40, 100, 3))
    bound = resolved(datafit, L21(fraction=0.01))
    found = BlockDescent().solve(datafit, bound, tol=1e-12, max_iter=3)
    assert found.status is Status.MAX_ITER
    assert found.n_iter == 3
    assert found.certificate.relative > 1e-12


def test_two_sweeps_do_along_a_path_of_independent_features():
    datafit = statistics(*design(5000, 20, 4))
    start = BlockDescent().solve(datafit, resolved(datafit, L21(fraction=0.5)), tol=1e-4)
    found = BlockDescent().solve(
        datafit, resolved(datafit, L21(fraction=0.4)), tol=1e-4, start=start
    )
    assert found.status is Status.CONVERGED
    assert found.n_iter == 2


@row_prox
def largest_prox(row, step, parameters):
    """Take off the projection onto a ball of the sum of absolute values, by bisection."""
    radius, total = step * parameters[0], 0.0
    for value in row:
        total += abs(value)
    low, high = 0.0, total
    for _ in range(200):
        level, kept = (low + high) / 2, 0.0
        for value in row:
            kept += max(abs(value) - level, 0.0)
        low, high = (level, high) if kept > radius else (low, level)
    for t in range(row.size):
        row[t] = 0.0 if total <= radius else max(min(row[t], high), -high)


@dataclass(frozen=True, eq=False, repr=False)
class LargestEntries(Norm, CompiledRows):
    """alpha times the sum of the largest entries of the rows."""

    label = "LargestEntries"
    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def norm(self, W):
        return float(np.abs(W).max(axis=1, initial=0.0).sum())

    def dual_norm(self, Z):
        return float(np.abs(Z).sum(axis=1).max(initial=0.0))

    def prox_rows(self, rows, index, step):
        found, steps = np.array(rows, dtype=float, order="C"), np.broadcast_to(step, len(rows))
        for row, one in zip(found, steps, strict=True):
            apply_rows(row[None, :], float(one), np.array([self.weight]), largest_prox)
        return found

    def merged(self, other):
        return None

    def row_kernel(self):
        return RowKernel(largest_prox, np.array([self.weight]))


def test_an_outside_penalty_joins_with_its_own_kernel():
    datafit = samples(*design(30, 50, 3))
    for penalty in (LargestEntries(fraction=0.1), LargestEntries(fraction=0.1) + L2(0.05)):
        found = agrees(datafit, penalty, 1e-8)
        assert 0 < np.count_nonzero(found.W.any(axis=1)) < 50


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("offset", [1e3, 3e6])
def test_a_feature_whose_mean_is_far_from_zero_still_moves(sparse, offset):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 400))
    Y = np.repeat(2 * X[:, :1], 4, axis=1) + 0.1 * rng.standard_normal((150, 4))
    near = MultiTaskRegressor(solver=BlockDescent()).fit(X, Y)
    X[:, 0] += offset
    far = MultiTaskRegressor(solver=BlockDescent())
    far.fit(sp.csc_array(X) if sparse else X, Y)
    assert far.coef_[0, 0] == pytest.approx(near.coef_[0, 0], rel=5e-3)
    assert far.solution_.objective == pytest.approx(near.solution_.objective, rel=1e-4)
