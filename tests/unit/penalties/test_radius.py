"""A bound on the norm, as well as a penalty on it or instead: L2, L21 and TraceNorm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from polytask import MultiTaskClassifier, MultiTaskRegressor, MultiTaskRegressorCV, load, save
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties import (
    L1,
    L2,
    L21,
    Conjugate,
    NullStrength,
    Parts,
    TraceNorm,
    bounded,
    parse,
    positive,
    sparse_low_rank,
    toward_mean,
    weighted,
)
from polytask.solvers import Status

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6))
W = RNG.standard_normal((6, 3)) * np.array([2.0, 1.0, 1.0, 0.5, 0.0, 0.0])[:, None]
Y = X @ W + 0.5 * RNG.standard_normal((40, 3))

SIZES = {
    L2: np.linalg.norm,
    L21: lambda V: np.linalg.norm(V, axis=1).sum(),
    TraceNorm: lambda V: np.linalg.svd(V, compute_uv=False).sum(),
}
KINDS = list(SIZES)


def cost(kind, V, alpha):
    return alpha / 2 * np.sum(V * V) if kind is L2 else alpha * SIZES[kind](V)


def independent(kind, alpha, radius):
    """Return the minimum of the squared loss with the penalty inside the ball, by SLSQP."""
    shape = (6, 3)
    Xc, Yc = X - X.mean(axis=0), Y - Y.mean(axis=0)

    def objective(v):
        V = v.reshape(shape)
        return np.sum((Yc - Xc @ V) ** 2) / (2 * len(X)) + cost(kind, V, alpha)

    inside = {"type": "ineq", "fun": lambda v: radius - SIZES[kind](v.reshape(shape))}
    # Away from zero rows, where the norms have no derivative, and inside the ball.
    start = RNG.standard_normal(18)
    start *= 0.5 * radius / SIZES[kind](start.reshape(shape))
    options = {"maxiter": 150, "ftol": 1e-12}
    found = minimize(objective, start, constraints=[inside], method="SLSQP", options=options)
    # It meets the bound nearly.
    return objective(found.x * min(1.0, radius / SIZES[kind](found.x.reshape(shape))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("alpha", "share"), [(0.0, 0.5), (0.05, 0.5), (0.05, 0.9), (0.3, 2.0)])
def test_the_answer_is_that_of_an_independent_solver(kind, alpha, share):
    radius = share * SIZES[kind](np.linalg.lstsq(X, Y, rcond=None)[0])
    model = MultiTaskRegressor(kind(alpha, radius=radius), tol=1e-9).fit(X, Y)
    solution = model.solution_
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap is not None
    assert SIZES[kind](model.coef_.T) <= radius * (1 + 1e-9)
    wanted = independent(kind, alpha, radius)
    assert solution.objective == pytest.approx(wanted, rel=1e-5)
    # What is feasible cannot be lower than the certificate allows.
    assert solution.objective - solution.certificate.gap <= wanted * (1 + 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_constrained_form_has_the_answer_of_the_penalised_one_of_its_size(kind):
    penalised = MultiTaskRegressor(kind(0.2), tol=1e-10).fit(X, Y).coef_
    found = MultiTaskRegressor(kind(radius=SIZES[kind](penalised.T)), tol=1e-10).fit(X, Y)
    np.testing.assert_allclose(found.coef_, penalised, atol=1e-4)
    wide = MultiTaskRegressor(kind(0.2, radius=1e3), tol=1e-10).fit(X, Y)
    np.testing.assert_allclose(wide.coef_, penalised, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_without_a_minimum_has_one_inside_a_ball(kind):
    signs = np.sign(X[:, :1]) * np.ones(3) > 0
    model = MultiTaskClassifier(kind(radius=3.0), tol=1e-7).fit(X, signs)
    assert model.solution_.status is Status.CONVERGED
    assert SIZES[kind](model.coef_.T) == pytest.approx(3.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "more", [L2(0.1), toward_mean(0.5), L1(0.1), L21(0.1), TraceNorm(0.1)], ids=repr
)
def test_other_penalties_can_be_added(kind, more):
    model = MultiTaskRegressor(kind(0.1, radius=2.0) + more, tol=1e-6).fit(X, Y)
    assert model.solution_.status is Status.CONVERGED
    assert SIZES[kind](model.coef_.T) <= 2.0 * (1 + 1e-6)
    # The same objective where the ball is large.
    wide = MultiTaskRegressor(kind(0.1, radius=1e4) + more, tol=1e-8).fit(X, Y)
    free = MultiTaskRegressor(kind(0.1) + more, tol=1e-8).fit(X, Y)
    assert wide.solution_.objective == pytest.approx(free.solution_.objective, rel=1e-6)


def test_several_bounds_are_met_together():
    # Of rows, of signs, of a norm: the last two are not those of the first term.
    penalty = weighted(L21(0.05), [np.inf, 1, 1, 1, 1, 1]) + positive(L1(0.05))
    penalty = penalty + TraceNorm(0.05, radius=1.5) + L21(0.02, radius=2.0)
    model = MultiTaskRegressor(penalty, tol=1e-6).fit(X, Y)
    V = model.coef_.T
    assert model.solution_.status is Status.CONVERGED
    assert V.any()
    assert not V[0].any()
    assert (V >= 0).all()
    assert SIZES[TraceNorm](V) <= 1.5 * (1 + 1e-9)
    assert SIZES[L21](V) <= 2.0 * (1 + 1e-9)


def test_without_a_strength_there_is_only_the_bound():
    for kind in KINDS:
        alone = kind(radius=2.0)
        assert alone.alpha == 0.0
        assert alone == kind(0.0, radius=2.0) == 0.5 * alone
        assert not isinstance(alone, NullStrength)
        assert isinstance(alone, Conjugate)
        assert alone.replace("radius", None) == kind(0.0)
    assert L21(fraction=0.2, radius=2.0).strength is None
    assert isinstance(L21(fraction=0.2, radius=2.0), NullStrength)


def test_a_fraction_is_one_of_the_strength_without_the_bound():
    for kind in (L21, TraceNorm):
        gradient = RNG.standard_normal((6, 3))
        bound = kind(fraction=0.3, radius=1.0).resolved(gradient)
        assert bound.alpha == pytest.approx(kind(fraction=0.3).resolved(gradient).alpha)
        assert bound.radius == 1.0


def test_text_and_files(tmp_path):
    assert parse("L21(0.2, radius=3)") == L21(0.2, radius=3.0)
    assert parse("L2(radius=3) + L1(0.1)") == L2(radius=3.0) + L1(0.1)
    assert parse("TraceBall(3)") == parse("TraceBall(radius=3)") == TraceNorm(radius=3.0)
    for kind in KINDS:
        model = MultiTaskRegressor(kind(0.1, radius=2.0)).fit(X, Y)
        save(model, tmp_path / kind.__name__)
        again = load(tmp_path / kind.__name__)
        assert again.penalty == model.penalty
        np.testing.assert_array_equal(again.coef_, model.coef_)


def test_a_search_keeps_the_radius():
    search = MultiTaskRegressorCV(L21(fraction=0.1, radius=2.0), alphas=4, cv=3).fit(X, Y)
    assert search.best_penalty_.radius == 2.0


def test_a_part_can_be_bounded():
    model = MultiTaskRegressor(Parts([L21(radius=1.5), L1(0.1)]), tol=1e-7).fit(X, Y)
    shared, _ = model.coef_parts_
    assert model.solution_.status is Status.CONVERGED
    assert SIZES[L21](np.asarray(shared).T) <= 1.5 * (1 + 1e-6)
    assert sparse_low_rank(0.2, radius=3.0).members[1] == TraceNorm(radius=3.0)


def test_what_a_radius_excludes():
    with pytest.raises(ParameterError, match="radius of L21 must be"):
        L21(radius=0.0)
    for kind in KINDS:
        with pytest.raises(IncompatibleError, match="weight for every feature"):
            weighted(kind(radius=1.0), np.ones(6))
        with pytest.raises(IncompatibleError, match="cannot have bounds"):
            bounded(kind(radius=1.0), lower=0)
