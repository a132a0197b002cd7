"""Solvers in hard places: bad scales, no penalty, exact fits, constant targets."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

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
from polytask.exceptions import DataError, IncompatibleError
from polytask.losses import Logistic, Squared
from polytask.penalties import (
    L1,
    L2,
    L21,
    MCP,
    Columns,
    GroupNorm,
    Split,
    TraceNorm,
    decompose,
    robust,
    toward_mean,
    weighted,
)
from polytask.penalties.base import Smooth
from polytask.penalties.decomposition import SplitPenalty
from polytask.solvers import AcceleratedGradient, Factored, Newton, Splitting, Status, choose
from polytask.solvers.choose import SOLVERS
from polytask.solvers.objective import Objective
from polytask.testing import _problems

OFFSETS = np.array([0, 30, 60, 60, 100])
TASKS = np.arange(4)
SPREAD = np.geomspace(1e-6, 1e6, 8)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 8))
EXACT = Stacked(Features(X), OFFSETS, TASKS).forward(RNG.normal(size=(8, 4)))
Y = EXACT + RNG.normal(size=100)
NORMS = [L21(fraction=0.1), L21(fraction=0.1) + toward_mean(1.0), TraceNorm(fraction=0.1)]


def samples(X=X, y=Y, loss=None):
    """Return a datafit on samples; the third task has no rows."""
    loss = Squared() if loss is None else loss
    held = PulledIntercepts(0 * TASKS, 0.05) if loss.is_classifier else TiedIntercepts(TASKS)
    design = Stacked(Features(X), OFFSETS, TASKS)
    block = ScalarBlock(design, loss, y, np.full(100, 0.04))
    return Samples((block,), held, X.shape[1], 4)


def statistics(X=X, y=Y):
    """Return the statistics of the same."""
    design, w = Stacked(Features(X), OFFSETS, TASKS), np.full(100, 0.04)
    return SquaredStatistics(
        collect_stacked(design, y, w, design.collect(w)), TiedIntercepts(TASKS)
    )


def solved(datafit, penalty, solver=None, **options):
    bound = penalty.bind(Columns.plain(4)).resolved(datafit.origin.gradient)
    return (solver or choose(datafit, bound)).solve(datafit, bound, **options)


@pytest.mark.parametrize("make", [samples, statistics])
def test_the_scale_of_features_hardly_matters_to_penalties_on_rows(make):
    for Z in (X * SPREAD, X * SPREAD + 50 * SPREAD):
        found = solved(make(Z), L21(0.0))
        plain = solved(make(X), L21(0.0))
        assert found.status is plain.status is Status.CONVERGED
        assert found.objective == pytest.approx(plain.objective, rel=1e-6)
        assert found.n_iter <= 2 * plain.n_iter + 50


@pytest.mark.parametrize("make", [samples, statistics])
@pytest.mark.parametrize("penalty", NORMS, ids=repr)
def test_double_constant_and_zero_features(make, penalty):
    Z = X.copy()
    Z[:, 1], Z[:, 2], Z[:, 3] = Z[:, 0], 3.3, 0.0
    found = solved(make(Z), penalty)
    assert found.status is Status.CONVERGED
    assert np.abs(found.W[2:4]).max() < 1e-12
    assert np.abs(solved(make(Z), L21(0.0)).W).max() < 100


@pytest.mark.parametrize("make", [samples, statistics])
@pytest.mark.parametrize("penalty", NORMS, ids=repr)
def test_more_features_than_rows(make, penalty):
    Z = np.random.default_rng(1).normal(size=(100, 150))
    assert solved(make(Z), penalty).status is Status.CONVERGED


@pytest.mark.parametrize("make", [samples, statistics])
def test_without_a_penalty_the_residual_decides(make):
    least = [
        np.linalg.lstsq(np.column_stack([X[a:b], np.ones(b - a)]), Y[a:b], rcond=None)[1]
        for a, b in ((0, 30), (30, 60), (60, 100))
    ]
    wanted = 0.5 * 0.04 * np.sum(least)
    for penalty in (L21(0.0), L2(0.0), toward_mean(0.0), TraceNorm(0.0), L1(0.0) + L2(0.0)):
        for solver in SOLVERS:
            bound = penalty.bind(Columns.plain(4))
            if solver.accepts(make(), bound):
                continue
            found = solved(make(), penalty, solver)
            assert found.status is Status.CONVERGED
            assert found.gap is None
            assert found.residual <= 1e-6
            assert found.objective == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("make", [samples, statistics])
def test_an_exact_fit(make):
    found = solved(make(y=EXACT), L21(0.0))
    assert found.status is Status.CONVERGED
    assert found.objective < 1e-9 * found.certificate.reference
    assert solved(make(y=EXACT), L21(fraction=1e-4)).status is Status.CONVERGED


@pytest.mark.parametrize("make", [samples, statistics])
@pytest.mark.parametrize("level", [0.0, 0.1, 1e8 / 3])
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_constant_targets_leave_nothing_to_do(make, level, solver):
    for penalty in (L21(1e-3), L21(0.0), L2(0.1), toward_mean(1.0)):
        datafit, bound = make(y=np.full(100, level)), penalty.bind(Columns.plain(4))
        if solver.accepts(datafit, bound):
            continue
        found = solver.solve(datafit, bound)
        assert found.status.ok
        assert found.n_iter == 0
        assert not found.W.any()
        assert found.certificate.relative == 0


@pytest.mark.slow
@pytest.mark.parametrize("tol", [1e-12, 1e-15])
@pytest.mark.parametrize("penalty", [*NORMS, L2(0.1), L21(0.0)], ids=repr)
def test_tiny_tolerances_end(tol, penalty):
    for datafit in (samples(), statistics(), samples(X.astype(np.float32))):
        for solver in SOLVERS:
            bound = penalty.bind(Columns.plain(4)).resolved(datafit.origin.gradient)
            if solver.accepts(datafit, bound):
                continue
            found = solver.solve(datafit, bound, tol=tol)
            assert found.status in (Status.CONVERGED, Status.STALLED)
            assert found.certificate.relative < 1e-5
            assert found.n_iter < 5000


@pytest.mark.parametrize("factor", [1e160, 1e300])
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_too_large_numbers_are_refused(factor, solver):
    for make in (samples, statistics):
        for datafit in (make(X * factor), make(y=Y * factor)):
            if not solver.accepts(datafit, L2(1.0)):
                with pytest.raises(DataError, match="Scale them"):
                    solver.solve(datafit, L2(1.0))


def test_a_huge_strength():
    found = solved(statistics(), L21(1e300))
    assert found.status is Status.ALL_ZERO
    assert "Coefficients appear below alpha" in found.message
    # A ridge never gives zeros, and has no null strength to name.
    ridge = solved(statistics(), L2(1e12))
    assert ridge.status is Status.CONVERGED
    assert ridge.null_strength is None


def test_zero_for_the_tolerance_is_not_zero_for_the_penalty():
    datafit = statistics()
    limit = L21().null_strength(datafit.origin.gradient)
    found = solved(datafit, L21(limit * (1 - 1e-7)), tol=1e-3)
    assert not found.W.any()
    assert found.status is Status.CONVERGED
    assert found.null_strength == pytest.approx(limit)


@pytest.mark.parametrize("norm", [L21, L1, TraceNorm])
def test_a_smooth_part_is_certified(norm):
    for datafit in (samples(y=(Y > 0).astype(float), loss=Logistic()), statistics()):
        penalty = norm(fraction=0.1) + toward_mean(0.5)
        exact = solved(datafit, penalty, AcceleratedGradient(), tol=1e-10)
        for tol in (1e-2, 1e-4, 1e-6):
            found = solved(datafit, penalty, AcceleratedGradient(), tol=tol)
            assert 0 <= found.objective - exact.objective + 1e-12 <= found.gap + 2e-12


class Bowl(Smooth):
    """A smooth function that is not quadratic."""

    def value(self, W):
        return float(np.sum(np.sqrt(1 + W**2) - 1))

    def gradient(self, W):
        return W / np.sqrt(1 + W**2)

    def curvature(self):
        return 1.0


class BowlAndNorm(SplitPenalty):
    """The same beside a norm, as solvers see it."""

    strength, null_point = 0.1, None

    def __init__(self, norm):
        self.norm = norm

    def split(self):
        return Split(smooth=Bowl(), proximable=self.norm)


def test_a_smooth_part_that_is_not_quadratic_has_no_gap():
    objective = Objective(statistics(), L21(0.1) + toward_mean(0.5))
    assert objective.gap(np.zeros((8, 4)), objective.zero) is not None
    bowl = Objective(statistics(), BowlAndNorm(L21(0.1)))
    assert bowl.gap(np.zeros((8, 4)), bowl.zero) is None


@pytest.mark.parametrize("make", [samples, statistics])
@pytest.mark.parametrize("free", [0, 3])
def test_a_smooth_part_that_is_not_quadratic_is_minimised(make, free):
    datafit, weights = make(), np.repeat([0.0, 1.0], [free, 8 - free])
    norm = weighted(L21(0.1), weights)
    found = AcceleratedGradient().solve(datafit, BowlAndNorm(norm), tol=1e-9)
    assert found.status is Status.CONVERGED
    used = np.flatnonzero(found.W.any(axis=1))
    W = found.W[used]
    assert len(used)
    gradient = datafit.evaluate(found.W).gradient[used] + W / np.sqrt(1 + W**2)
    pull = 0.1 * weights[used, None] * W / np.linalg.norm(W, axis=1, keepdims=True)
    np.testing.assert_allclose(gradient, -pull, atol=1e-6)


def test_newton_refuses_norms_and_all_but_splitting_refuse_sums_of_norms():
    assert "quadratic" in str(Newton().accepts(statistics(), L21(1.0)))
    both = TraceNorm(1.0) + L21(1.0)
    assert choose(statistics(), both) == Splitting()
    with pytest.raises(IncompatibleError, match="cannot be combined"):
        decompose(both)


def test_newton_takes_few_steps():
    datafit = samples(y=(Y > 0).astype(float), loss=Logistic())
    for penalty in (L2(0.01), toward_mean(1.0) + L2(0.01), toward_mean(1e-3) + L2(1e-4)):
        found = solved(datafit, penalty, Newton(), tol=1e-9)
        assert found.status is Status.CONVERGED
        assert found.n_iter < 200


def test_curvature_that_was_underestimated_is_raised(monkeypatch):
    datafit = samples()
    wanted = solved(datafit, L21(fraction=0.1), tol=1e-9)
    low = samples()
    monkeypatch.setattr(Samples, "lipschitz", lambda self, scale: 1e-3)
    found = solved(low, L21(fraction=0.1), tol=1e-9)
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(wanted.objective, rel=1e-8)


def test_what_depends_on_the_datafit_alone_is_computed_once(monkeypatch):
    datafit, asked = samples(), []
    plain = Samples.lipschitz
    monkeypatch.setattr(
        Samples, "lipschitz", lambda self, scale: asked.append(1) or plain(self, scale)
    )
    for fraction in (0.5, 0.2, 0.1):
        solved(datafit, L21(fraction=fraction))
    assert len(asked) == 1
    assert datafit.origin is datafit.origin


PATHS = {
    "logistic": _problems.stacked_samples(Logistic(), _problems.intercept_modes()["pulled"], 0),
    "separate": statistics(),
    "shared": _problems.shared_statistics(NoIntercepts(), 0, missing=False),
    "root": _problems.square_root_problems(0)["square root"],
}


NORMS = (
    L2,
    L21,
    TraceNorm,
    lambda a: L21(a) + TraceNorm(a),
    MCP,
    lambda a: robust(a, a),
)


# The stationary points of Factored may differ with where it starts.
@pytest.mark.slow
@pytest.mark.parametrize("solver", [s for s in SOLVERS if s != Factored()], ids=repr)
def test_warm_starts_along_a_path(solver):
    solved_any = False
    for datafit in PATHS.values():
        groups = [[0, 1, 2], list(range(3, datafit.origin.gradient.shape[0]))]
        for norm in (*NORMS, partial(GroupNorm, groups=groups)):
            if solver.accepts(datafit, norm(0.3)):
                continue
            start, solved_any = None, True
            for alpha in (0.3, 0.1, 0.03, 0.01):
                start = solver.solve(datafit, norm(alpha), start=start)
                cold = solver.solve(datafit, norm(alpha))
                if Status.UNBOUNDED in (start.status, cold.status):
                    # What a penalty without a slope far from zero leaves free is separated.
                    assert start.status is cold.status
                    assert norm is MCP
                    break
                assert start.status.ok
                assert start.objective == pytest.approx(cold.objective, rel=1e-5)
    assert solved_any
