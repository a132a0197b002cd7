"""Block descent for tasks with rows of their own: exact rows, all modes, hard data."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from unit.pairs import in_turn

from polytask.datafits import (
    Features,
    NoIntercepts,
    PulledIntercepts,
    Samples,
    ScalarBlock,
    SquaredStatistics,
    Stacked,
    TiedIntercepts,
    collect_stacked,
)
from polytask.exceptions import IncompatibleError
from polytask.losses import Logistic, Squared
from polytask.penalties import (
    L1,
    L2,
    L21,
    Columns,
    ElasticNet,
    SparseGroup,
    TraceNorm,
    along_time,
    bounded,
    coupling,
    decompose,
    positive,
    toward_mean,
    weighted,
)
from polytask.penalties.base import FeatureSpace
from polytask.solvers import (
    AcceleratedGradient,
    ProximalNewton,
    SeparateDescent,
    Status,
    choose,
    null_gradient,
)
from polytask.solvers import _separate_kernels as kernels
from polytask.solvers import separate_descent as module
from polytask.solvers._separate_engines import GramEngine
from polytask.solvers._separate_terms import terms_of
from polytask.testing import check_solver

SEEDS = st.integers(0, 2**32 - 1)
PENALTIES = [
    L21(fraction=0.1),
    L1(fraction=0.2),
    SparseGroup(fraction=0.1, l1_ratio=0.4),
    ElasticNet(fraction=0.1, l1_ratio=0.6),
    L21(fraction=0.1) + L2(0.2),
    L21(fraction=0.1) + L1(fraction=0.05),
]
MODES = {
    "none": NoIntercepts(),
    "free": TiedIntercepts(np.arange(5)),
    "tied": TiedIntercepts(np.zeros(5, dtype=np.intp)),
    "pulled": PulledIntercepts(np.zeros(5, dtype=np.intp), 0.1),
}


def drawn(seed, d=7, loss=None, dtype=float, shift=0.0):
    """Return a block of five tasks: of one row, of none, and of different size."""
    rng = np.random.default_rng(seed)
    counts = np.array([20, 1, 0, 35, 12])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    X = rng.normal(size=(offsets[-1], d)) * np.geomspace(0.2, 5.0, d) + shift
    X[:, 1] = 0.0
    X[:, 2] = X[:, 0]
    design = Stacked(Features(X.astype(dtype)), offsets, np.arange(5))
    W = rng.normal(size=(d, 5)) * (rng.random((d, 1)) < 0.5)
    y = design.forward(W) + rng.logistic(size=len(X))
    loss = loss or Squared()
    if loss.is_classifier:
        y = (y > np.median(y)).astype(float)
    weight = rng.uniform(0.5, 1.0, size=len(X)) / 20.0
    weight[3] = 0.0
    return ScalarBlock(design, loss, y, weight)


def samples(block, intercepts):
    return Samples((block,), intercepts, block.design.features.n_features, 5)


def statistics(block, intercepts):
    scale = block.design.collect(block.weight)
    return SquaredStatistics(
        collect_stacked(block.design, block.y, block.weight, scale), intercepts
    )


def bound(datafit, penalty):
    return penalty.bind(Columns.plain(datafit.shape[1])).resolved(datafit.origin.gradient)


@given(SEEDS, st.floats(1e-3, 1e3), st.floats(0.0, 2.0))
def test_a_row_is_minimised_exactly(seed, group, entry):
    rng = np.random.default_rng(seed)
    h, v = rng.uniform(0.01, 10.0, 6), 10.0 * rng.normal(size=6)
    h[0] = 0.0
    z = np.sign(v) * np.maximum(np.abs(v) - entry, 0.0)
    z[0] = 0.0
    out = np.empty(6)
    none = np.zeros(0)
    norm = kernels.best_row(v.copy(), h, entry, group, none, none, 1.0, out)
    if np.linalg.norm(z) <= group:
        assert norm == 0.0
        assert not out.any()
        return

    def excess(rho):
        return np.sum((z / (h * rho + group)) ** 2) - 1.0

    rho = brentq(excess, 0.0, 1e9, xtol=1e-300, rtol=1e-14)
    np.testing.assert_allclose(out, z * rho / (h * rho + group), rtol=1e-10)
    assert norm == pytest.approx(rho, rel=1e-10)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=6)
@given(seed=SEEDS, penalty=st.sampled_from(PENALTIES), kind=st.sampled_from("abc"))
def test_the_answer_is_that_of_accelerated_gradient(mode, seed, penalty, kind):
    block = drawn(seed, loss=Logistic() if kind == "a" else Squared(), shift=0.3)
    held = mode in ("tied", "pulled") or kind != "a"
    intercepts = MODES[mode] if held else MODES["pulled"]
    datafit = (statistics if kind == "b" else samples)(block, intercepts)
    p = bound(datafit, penalty)
    found = SeparateDescent().solve(datafit, p, tol=1e-10)
    wanted = AcceleratedGradient().solve(datafit, p, tol=1e-10)
    assert found.status.ok
    reference = found.certificate.reference
    assert abs(found.objective - wanted.objective) <= 1e-8 * reference
    assert not found.W[1].any()


ORDER = list(range(5))
SIMILAR = np.array([[2.0 if i == j else (-1.0) ** (i + j) / 5 for j in ORDER] for i in ORDER])
WEIGHTS = [1.0, 2.0, 0.3, 0.0, 1.5, float("inf"), 0.7]
LIMITED = {
    "weights": weighted(L21(fraction=0.1), WEIGHTS),
    "weights of entries": weighted(SparseGroup(fraction=0.1, l1_ratio=0.4), WEIGHTS),
    "weights and a ridge": weighted(L21(fraction=0.1), WEIGHTS) + L2(0.1),
    "weighted ridge": weighted(ElasticNet(fraction=0.1, l1_ratio=0.5), WEIGHTS),
    "signs": positive(L21(fraction=0.1)),
    "signs by feature": bounded(SparseGroup(fraction=0.1), {0: 0.0, 4: 0.0}, {5: 0.0}),
    "walls": bounded(L1(fraction=0.05), -0.2, [0.1, 0.3, 0.0, 0.2, 9.0, float("inf"), 0.05]),
    "walls and a ridge": bounded(L1(fraction=0.05), -0.1, 0.1) + L2(0.1),
    "weights and signs": positive(weighted(L21(0.05), WEIGHTS)),
    "nothing but bounds": bounded(L2(0.05), 0.0, 0.4),
    "toward the mean": L21(fraction=0.1) + toward_mean(0.5),
    "a strong coupling": L21(fraction=0.1) + toward_mean(500.0),
    "a chain and entries": SparseGroup(fraction=0.1, l1_ratio=0.4) + along_time(0.3, ORDER),
    "two couplings": L21(fraction=0.1) + toward_mean(0.1) + coupling(0.1, SIMILAR) + L2(0.1),
    "weights and a coupling": weighted(L21(fraction=0.1), WEIGHTS) + toward_mean(0.2),
    "signs and a coupling": positive(L21(fraction=0.1)) + toward_mean(0.2),
}


@pytest.mark.parametrize(
    ("case", "kind", "mode"),
    in_turn(LIMITED, ["samples", "statistics", "logistic"], ["none", "free", "pulled", "free"]),
)
def test_rows_that_differ_and_columns_that_are_coupled(case, kind, mode):
    loss = Logistic() if kind == "logistic" else Squared()
    block = drawn(6, loss=loss)
    intercepts = MODES["pulled" if kind == "logistic" and mode == "free" else mode]
    datafit = (statistics if kind == "statistics" else samples)(block, intercepts)
    space = FeatureSpace(7, None, np.ones((7, 5)))
    p = LIMITED[case].bind(Columns.plain(5)).bind_features(space)
    p = p.resolved(null_gradient(datafit, p))
    assert SeparateDescent().accepts(datafit, p) == ""
    # Data that no minimum exists for say so in every solver.
    found = SeparateDescent().solve(datafit, p, tol=1e-9)
    wanted = AcceleratedGradient().solve(datafit, p, tol=1e-9, max_iter=30000)
    assert found.status.ok == wanted.status.ok
    size = found.certificate.reference
    assert abs(found.objective - wanted.objective) <= 1e-8 * size
    assert np.isfinite(p.value(found.W))
    if not wanted.status.ok:
        return
    again = SeparateDescent().solve(datafit, p, tol=1e-9, start=found)
    assert again.n_iter == 0
    assert again.objective == pytest.approx(found.objective, rel=1e-12)


@pytest.mark.slow
def test_the_laws_of_solvers():
    check_solver(SeparateDescent())


@pytest.mark.parametrize("make", [samples, statistics])
def test_warm_starts(make):
    datafit = make(drawn(0), MODES["free"])
    p = bound(datafit, L21(fraction=0.05))
    cold = SeparateDescent().solve(datafit, p, tol=1e-9)
    near = SeparateDescent().solve(datafit, bound(datafit, L21(fraction=0.06)), tol=1e-9)
    warm = SeparateDescent().solve(datafit, p, tol=1e-9, start=near)
    assert warm.objective == pytest.approx(cold.objective, rel=1e-8)
    assert SeparateDescent().solve(datafit, p, tol=1e-9, start=cold).n_iter == 0


@pytest.mark.parametrize("make", [samples, statistics])
@pytest.mark.parametrize("mode", ["none", "free", "pulled"])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_features_of_all_sizes(make, mode, shift):
    block = drawn(1, d=17)
    X = block.design.features.matrix * np.geomspace(1e-8, 1e8, 17) / np.geomspace(0.2, 5.0, 17)
    X = X + shift * X.std(axis=0)
    design = Stacked(Features(X), block.design.offsets, block.design.columns)
    datafit = make(ScalarBlock(design, block.loss, block.y, block.weight), MODES[mode])
    found = SeparateDescent().solve(datafit, bound(datafit, L21(fraction=1e-2)), max_iter=300)
    # Where the means hide the features, the status says that the certificate was not reached.
    assert found.status.ok == (found.certificate.relative <= 1e-6)
    assert found.objective <= found.certificate.reference
    if shift == 0.0:
        assert found.status is Status.CONVERGED


def test_single_precision_features():
    block = drawn(2, dtype=np.float32)
    datafit = samples(block, MODES["free"])
    found = SeparateDescent().solve(datafit, bound(datafit, PENALTIES[0]))
    wide = samples(drawn(2), MODES["free"])
    exact = SeparateDescent().solve(wide, bound(wide, PENALTIES[0]), tol=1e-10)
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(exact.objective, rel=1e-5)


def test_small_tolerances_are_reached_in_double_precision(monkeypatch):
    datafit = samples(drawn(3, shift=1.0), MODES["none"])
    p = bound(datafit, L21(fraction=0.01))
    monkeypatch.setattr(module, "_COARSE", 0.0)
    found = SeparateDescent().solve(datafit, p, tol=1e-11)
    assert found.status is Status.CONVERGED


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=8)
def test_no_row_is_lost_from_the_working_sets(seed):
    """Extremely correlated features and doubles, with working sets of one row at first."""
    rng = np.random.default_rng(seed)
    few = rng.normal(size=(40, 4))
    X = np.hstack([few[:, rng.integers(0, 4, 30)] + 1e-2 * rng.normal(size=(40, 30)), few, few])
    design = Stacked(Features(X), np.array([0, 20, 40]), np.arange(2))
    y = few @ rng.normal(size=4) + 0.1 * rng.normal(size=40)
    block = ScalarBlock(design, Squared(), y, np.full(40, 0.05))
    datafit = Samples((block,), NoIntercepts(), X.shape[1], 2)
    p = bound(datafit, L21(fraction=0.05))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FIRST_ROWS", 1)
        patch.setattr(module, "_SLACK", 0.0)
        found = SeparateDescent().solve(datafit, p, tol=1e-5)
    wanted = AcceleratedGradient().solve(datafit, p, tol=1e-5)
    assert found.status is Status.CONVERGED
    assert abs(found.objective - wanted.objective) <= 1e-5 * found.certificate.reference


def test_what_it_refuses_is_said_before_work():
    datafit = samples(drawn(0), MODES["free"])
    elsewhere = coupling(1.0, np.eye(5)).shifted(np.ones((7, 5)))
    for penalty in (TraceNorm(1.0), L2(1.0), L21(1.0) + elsewhere):
        assert "L21" in str(SeparateDescent().accepts(datafit, penalty.bind(Columns.plain(5))))
        with pytest.raises(IncompatibleError, match="SeparateDescent"):
            SeparateDescent().solve(datafit, penalty.bind(Columns.plain(5)))
    two = drawn(0)
    half = Stacked(two.design.features, two.design.offsets, np.arange(5)[::-1].copy())
    other = samples(ScalarBlock(half, two.loss, two.y, two.weight), MODES["free"])
    assert "rows of their own" in str(SeparateDescent().accepts(other, L21(1.0)))


@pytest.mark.parametrize("make", [samples, statistics])
@pytest.mark.parametrize("mode", ["none", "free", "pulled"])
def test_constant_features(make, mode):
    """One that is constant over all rows, one within a task, and all of them."""
    block = drawn(4)
    X = block.design.features.matrix
    X[:, 3], X[:20, 4] = 7.7, 10 / 3
    datafit = make(block, MODES[mode])
    p = bound(datafit, L21(fraction=0.02))
    found = SeparateDescent().solve(datafit, p, tol=1e-8)
    wanted = AcceleratedGradient().solve(datafit, p, tol=1e-8, max_iter=30000)
    assert found.status.ok
    assert found.objective <= wanted.objective + 1e-8 * found.certificate.reference
    if mode == "free":
        assert not found.W[3].any()
        assert abs(found.W[4, 0]) < 1e-12
    X[...] = np.arange(7.0)
    datafit = make(block, MODES["free"])
    for penalty in (L21(fraction=0.1), L1(0.1), ElasticNet(0.1, l1_ratio=0.0), L21(0.0)):
        # All features are constant, so that any fraction of the null strength is 0.
        rest = SeparateDescent().solve(datafit, bound(datafit, penalty))
        assert rest.status.ok
        assert not rest.W.any()


@pytest.mark.parametrize("make", [samples, statistics])
@pytest.mark.parametrize("penalty", [L21(0.0), ElasticNet(0.1, l1_ratio=0.0)], ids=repr)
def test_a_penalty_without_a_kink(make, penalty):
    datafit = make(drawn(5), MODES["free"])
    found = SeparateDescent().solve(datafit, bound(datafit, penalty), tol=1e-9)
    wanted = AcceleratedGradient().solve(datafit, bound(datafit, penalty), tol=1e-9)
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(wanted.objective, rel=1e-8)


def test_it_is_chosen_for_large_data_only(monkeypatch):
    from polytask.solvers.candidates import WORTH

    datafit = samples(drawn(0), MODES["free"])
    p = bound(datafit, PENALTIES[0])
    assert not isinstance(choose(datafit, p), SeparateDescent)
    monkeypatch.setitem(WORTH, SeparateDescent, lambda datafit, repeats: True)
    assert isinstance(choose(datafit, p), SeparateDescent)


@pytest.mark.parametrize("most", [1, 3, 7])
def test_sweeps_that_go_in_one_call_are_bounded_too(most):
    datafit = statistics(drawn(0), MODES["free"])
    terms = terms_of(decompose(bound(datafit, PENALTIES[0])), 5)
    engine = GramEngine(datafit, terms)
    engine.begin(np.zeros((7, 5)), datafit.origin, np.arange(7))
    assert engine.times == 5
    assert engine.advance(0.0, most)[1] == min(most, 5)


def test_many_small_problems_pay_for_what_is_compiled():
    squares = statistics(drawn(0), MODES["free"])
    p = bound(squares, PENALTIES[0])
    assert isinstance(choose(squares, p, repeats=99), AcceleratedGradient)
    assert isinstance(choose(squares, p, repeats=100), SeparateDescent)
    logs = samples(drawn(0, loss=Logistic()), MODES["pulled"])
    p = bound(logs, PENALTIES[0])
    assert choose(logs, p, repeats=99) == ProximalNewton()
    many = choose(logs, p, repeats=100)
    assert many == ProximalNewton(compiled=True)
    found, wanted = (s.solve(logs, p, tol=1e-9) for s in (many, ProximalNewton()))
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(wanted.objective, rel=1e-8)


def test_numba_is_not_imported_for_a_small_fit():
    code = (
        "import sys, numpy as np; from polytask import MultiTaskRegressor;"
        "X = np.random.default_rng(0).normal(size=(40, 3));"
        "MultiTaskRegressor().fit(X, X[:, 0], task=np.repeat([0, 1], 20));"
        "print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
