"""Parts of W by every solver that moves them: one answer, certified."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polytask import MultiTaskRegressor
from polytask.datafits import (
    Features,
    NoIntercepts,
    PulledIntercepts,
    Samples,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    Stacked,
    collect_shared,
    collect_stacked,
)
from polytask.exceptions import IncompatibleError
from polytask.losses import Logistic, Squared
from polytask.penalties import (
    L1,
    L2,
    L21,
    Columns,
    L1Inf,
    Parts,
    TraceNorm,
    dirty,
    robust,
    robust_features,
    sparse_low_rank,
    toward_mean,
)
from polytask.solvers import (
    AcceleratedGradient,
    BlockDescent,
    ExtrapolatedGradient,
    PartsGradient,
    ProximalNewton,
    Status,
    choose,
)
from polytask.solvers.parts_gradient import PartsSplitting

RNG = np.random.default_rng(4)
N, D, T = 40, 9, 5
X = RNG.normal(size=(N, D)) * np.geomspace(0.5, 2.0, D) + 0.3
TRUE = np.outer(RNG.normal(size=D), RNG.normal(size=T))
TRUE[:, 3] += 2 * RNG.normal(size=D)
Y = X @ TRUE + RNG.normal(size=(N, T))
FAMILIES = [dirty(), robust(), robust_features(), sparse_low_rank(), sparse_low_rank(radius=4.0)]


def shared_statistics():
    design = Shared(Features(X), np.arange(T))
    scale = np.ones(T)
    found = collect_shared(design, Y, np.full(Y.shape, 1.0 / N), scale)
    return SquaredStatistics(found, NoIntercepts())


def coupled_statistics(kappa=0.05):
    """Rows per task, and intercepts that couple the tasks."""
    offsets = np.arange(T + 1) * (N // T)
    design = Stacked(Features(X), offsets, np.arange(T))
    weight = np.full(N, T / N)
    found = collect_stacked(design, Y.sum(axis=1), weight, np.ones(T))
    return SquaredStatistics(found, PulledIntercepts(np.zeros(T, dtype=np.intp), kappa))


def samples(loss=None, y=Y):
    design = Shared(Features(X), np.arange(T))
    block = ScalarBlock(design, loss or Squared(), y, np.full(Y.shape, 1.0 / N))
    return Samples((block,), PulledIntercepts(np.zeros(T, dtype=np.intp), 0.1), D, T)


def resolved(penalty, datafit):
    return penalty.bind(Columns.plain(T)).resolved(datafit.origin.gradient)


@pytest.mark.parametrize("make", [shared_statistics, coupled_statistics, samples])
@pytest.mark.parametrize("penalty", FAMILIES[1:], ids=repr)
def test_inner_solvers_agree(penalty, make):
    datafit = make()
    bound = resolved(penalty, datafit)
    inner = (None, PartsSplitting(), ExtrapolatedGradient(), AcceleratedGradient())
    found = [
        PartsGradient(solver).solve(datafit, bound, tol=1e-11)
        for solver in inner
        if not PartsGradient(solver).accepts(datafit, bound)
    ]
    assert len(found) == (3 if make is samples else 4)
    for one in found:
        assert one.status is Status.CONVERGED
        assert one.objective == pytest.approx(found[0].objective, rel=1e-10)
        np.testing.assert_allclose(one.W, found[0].W, atol=2e-5)
        np.testing.assert_allclose(sum(one.parts), one.W, atol=1e-13)
        assert bound.value(one.W) + datafit.evaluate(one.W).value == pytest.approx(one.objective)


def test_splitting_is_what_is_chosen_for_statistics():
    datafit = shared_statistics()
    bound = resolved(robust(), datafit)
    assert choose(datafit, bound) == PartsGradient()
    quick = PartsGradient().solve(datafit, bound, tol=1e-9)
    plain = PartsGradient(AcceleratedGradient()).solve(datafit, bound, tol=1e-9)
    assert 3 * quick.n_iter < plain.n_iter


@pytest.mark.parametrize("shared", [L21, L1Inf])
def test_closed_forms_are_the_stack(shared):
    datafit = shared_statistics()
    whole = resolved(Parts([shared(fraction=0.2), L1(fraction=0.2)]), datafit)
    # A third part that costs too much leaves the closed form nothing to use.
    stack = Parts([*whole.members, TraceNorm(1e6)])
    wanted = PartsGradient().solve(datafit, stack, tol=1e-11)
    for solver in (AcceleratedGradient(), BlockDescent()):
        found = solver.solve(datafit, whole, tol=1e-11)
        assert found.status is Status.CONVERGED
        assert found.objective == pytest.approx(wanted.objective, rel=1e-9)
        np.testing.assert_allclose(found.W, wanted.W, atol=1e-6)
        for part, other in zip(whole.divided(found.W), wanted.parts[:2], strict=True):
            np.testing.assert_allclose(part, other, atol=1e-5)


@pytest.mark.parametrize(
    ("parts", "alone"),
    [
        (dirty(0.3, 1e4), L21(0.3)),
        (dirty(1e4, 0.2), L1(0.2)),
        (robust(0.4, 1e4), TraceNorm(0.4)),
        (sparse_low_rank(0.2, 1e4), L1(0.2)),
        (Parts([TraceNorm(0.4)]), TraceNorm(0.4)),
        (Parts([L2(0.3), L2(0.6)]), L2(0.2)),
        (robust(0.4, 1e4) + L2(0.1), TraceNorm(0.4) + L2(0.1)),
        (robust(0.4, 1e4) + toward_mean(0.1), TraceNorm(0.4) + toward_mean(0.1)),
    ],
    ids=repr,
)
def test_a_part_that_costs_too_much_is_left_out(parts, alone):
    datafit = shared_statistics()
    found, wanted = (
        choose(datafit, p.bind(Columns.plain(T))).solve(
            datafit, p.bind(Columns.plain(T)), tol=1e-11
        )
        for p in (parts, alone)
    )
    assert found.objective == pytest.approx(wanted.objective, rel=1e-9)
    np.testing.assert_allclose(found.W, wanted.W, atol=1e-5)


def test_a_huge_ball_leaves_nothing_to_the_sparse_part():
    datafit = shared_statistics()
    found = PartsGradient().solve(datafit, sparse_low_rank(0.2, radius=1e4), tol=1e-10)
    assert not found.parts[0].any()
    least = choose(datafit, L2(0.0)).solve(datafit, L2(1e-12), tol=1e-12)
    assert found.objective == pytest.approx(least.objective, rel=1e-6)


def test_a_smooth_part_has_its_own_gradient():
    datafit = shared_statistics()
    both = Parts([TraceNorm(0.4), toward_mean(0.3) + L2(0.2)])
    found = PartsGradient().solve(datafit, both, tol=1e-10)
    gradient = datafit.evaluate(found.W).gradient
    smooth = both.members[1].gradient(found.parts[1])
    np.testing.assert_allclose(smooth, -gradient, atol=1e-4)


def test_other_losses_take_newton_steps_or_gradients():
    datafit = samples(Logistic(), (Y > 0).astype(float))
    bound = resolved(robust(), datafit)
    found = [
        PartsGradient(inner).solve(datafit, bound, tol=1e-9)
        for inner in (None, ProximalNewton(), AcceleratedGradient())
    ]
    for one in found:
        assert one.status is Status.CONVERGED
        assert one.objective == pytest.approx(found[2].objective, rel=1e-8)


def test_warm_starts_from_parts_and_from_other_answers():
    datafit = shared_statistics()
    bound = resolved(robust(), datafit)
    first = PartsGradient().solve(datafit, bound, tol=1e-8)
    again = PartsGradient().solve(datafit, bound, tol=1e-8, start=first)
    assert again.n_iter == 0
    other = PartsGradient().solve(datafit, bound, tol=1e-8, start=replace(first, parts=None))
    assert other.objective == pytest.approx(first.objective, rel=1e-6)
    # A start outside the ball is not used.
    ball = sparse_low_rank(0.1, radius=1.0)
    inside = PartsGradient().solve(datafit, ball, tol=1e-8, start=first)
    assert np.linalg.svd(inside.parts[1], compute_uv=False).sum() <= 1.0 + 1e-9


def test_what_cannot_be_solved_is_said():
    datafit = shared_statistics()
    with pytest.raises(IncompatibleError, match="smooth penalties only"):
        PartsGradient().solve(datafit, robust(0.1, 0.1) + L21(0.1))
    with pytest.raises(IncompatibleError, match="one penalty of parts"):
        PartsGradient().solve(datafit, L21(0.1))
    with pytest.raises(IncompatibleError, match="PartsSplitting needs"):
        PartsGradient(PartsSplitting()).solve(samples(), robust(0.1, 0.1))
    with pytest.raises(IncompatibleError, match="PartsSplitting needs"):
        PartsSplitting().solve(datafit, TraceNorm(0.1))


@pytest.mark.parametrize("make", [robust, sparse_low_rank], ids=lambda make: make.__name__)
@pytest.mark.parametrize("scale", [1e6, 1e8])
def test_parts_that_are_weak_beside_the_targets_are_found(make, scale):
    X, y, task = low_rank_tasks()
    weak = MultiTaskRegressor(make(0.1, 0.2)).fit(X, scale * y, task)
    assert weak.solution_.status is Status.CONVERGED
    # The same problem in other units.
    other = MultiTaskRegressor(make(0.1 / scale, 0.2 / scale)).fit(X, y, task)
    assert other.solution_.status is Status.CONVERGED
    np.testing.assert_allclose(weak.coef_ / scale, other.coef_, rtol=1e-6)
    assert weak.solution_.gap <= 1e-6 * weak.solution_.certificate.reference


@pytest.mark.filterwarnings("ignore::polytask.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", [robust, sparse_low_rank], ids=lambda make: make.__name__)
def test_parts_as_weak_as_the_rounding_are_still_found(make):
    """Gradients of 1e12 are known to a thousandth of such a strength, and so is the gap."""
    X, y, task = low_rank_tasks()
    weak = MultiTaskRegressor(make(0.1, 0.2)).fit(X, 1e12 * y, task)
    free = MultiTaskRegressor(make(1e-9, 2e-9)).fit(X, y, task)
    np.testing.assert_allclose(weak.coef_ / 1e12, free.coef_, rtol=1e-6)
    assert weak.solution_.gap <= 1e-4 * weak.solution_.certificate.reference


def low_rank_tasks():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(4), 30)
    X = rng.standard_normal((120, 6))
    W = np.outer(rng.standard_normal(6), rng.standard_normal(4))
    y = np.einsum("ij,ji->i", X, W[:, task]) + 0.3 * rng.standard_normal(120)
    return X, y, task
