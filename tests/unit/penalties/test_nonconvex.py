"""Penalties that are not convex: exact proximal operators, majorisers, parameters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties import (
    L1,
    L2,
    L21,
    MCP,
    SCAD,
    CappedL21,
    L1Inf,
    Nonconvex,
    TraceNorm,
    decompose,
    parse,
    positive,
    reweighted,
    weighted,
)
from polytask.testing import check_penalty
from polytask.testing._points import resolved_case
from polytask.testing.prox_laws import _line, touching

W = np.random.default_rng(0).normal(size=(6, 4))
SOME = [MCP(0.4), MCP(1.5, 1.2), SCAD(0.4), SCAD(0.9, 2.1), 2.0 * MCP(0.3), 0.5 * SCAD(0.8)]
CAPPED = [CappedL21(0.6, 0.5), CappedL21(0.3, 2.0, "l1")]
LOGS = [reweighted(L21(0.6)), reweighted(L1(0.6), 0.5), reweighted(L1Inf(0.3), 2.0)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "penalty", [SCAD(0.3, 2.1), CAPPED[1], LOGS[0], positive(MCP(0.6))], ids=repr
)
def test_laws(penalty):
    check_penalty(penalty)


@pytest.mark.exhaustive
@pytest.mark.parametrize("penalty", [*SOME, *CAPPED, *LOGS, MCP(), SCAD(), CappedL21()], ids=repr)
def test_laws_of_all(penalty):
    check_penalty(penalty)


@pytest.mark.parametrize("penalty", [*SOME, CAPPED[0]], ids=repr)
def test_the_prox_is_the_best_norm_on_a_fine_grid(penalty):
    grid = np.linspace(0.0, 6.0, 60001)
    values = penalty.value_by_row(grid[:, None])
    for step in (0.05, 0.5, 1.0, 2.0, 5.0):
        for size in (0.01, 0.2, 0.45, 0.8, 1.3, 2.4, 4.0):
            row = np.array([[0.6, -0.8]]) * size
            found = penalty.prox(row, step)
            got = float(np.linalg.norm(found))
            costs = 0.5 * (grid - size) ** 2 + step * values
            best = 0.5 * (got - size) ** 2 + step * penalty.value(found)
            assert best <= costs.min() + 1e-9
            np.testing.assert_allclose(found, row * got / size, atol=1e-12)


def test_the_prox_of_the_capped_sum_of_absolute_values():
    penalty = CappedL21(0.7, 1.0, "l1")
    rng = np.random.default_rng(1)
    for row in rng.normal(size=(20, 2)):
        found = penalty.prox(row[None, :], 1.3)[0]
        axis = np.linspace(-3, 3, 301)
        points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        costs = 0.5 * ((points - row) ** 2).sum(axis=1)
        costs += 1.3 * 0.7 * np.minimum(np.abs(points).sum(axis=1), 1.0)
        best = 0.5 * ((found - row) ** 2).sum() + 1.3 * penalty.value(found[None, :])
        assert best <= costs.min() + 1e-12


@pytest.mark.parametrize("penalty", [*SOME, *CAPPED, *LOGS], ids=repr)
def test_slopes_are_those_of_the_majoriser(penalty):
    # Along a row the derivative is that of the convex penalty, kinks apart.
    for t in (0.31, 0.77, 1.9):
        above = penalty.majorised(t * W)
        ahead, behind = (penalty.value((t + h) * W) for h in (1e-6, -1e-6))
        over = [above.value((t + h) * W) for h in (1e-6, -1e-6)]
        assert (ahead - behind) == pytest.approx(over[0] - over[1], rel=1e-4, abs=1e-11)


def test_what_they_tend_to():
    for penalty in (MCP(0.5, 1e9), SCAD(0.5, 1e9), CappedL21(0.5, 1e9), reweighted(L21(0.5), 1e9)):
        assert penalty.value(W) == pytest.approx(L21(0.5).value(W), rel=1e-6)
    assert CappedL21(0.5, 1e-9).value(W) == pytest.approx(0.5e-9 * len(W))
    firm = MCP(0.5, 3.0).prox(10.0 * W, 1.0)
    np.testing.assert_allclose(firm, 10.0 * W)


def test_large_rows_are_not_penalised_and_small_ones_as_by_the_norm():
    rows = np.array([[10.0, 0.0], [1e-9, 0.0]])
    for penalty, weights in (
        (MCP(0.5), [0, 1]),
        (SCAD(0.5), [0, 1]),
        (CappedL21(0.5, 1.0), [0, 1]),
    ):
        np.testing.assert_allclose(penalty.majorised(rows).weights, weights, atol=1e-8)
    assert MCP(0.5).majorised(np.zeros((3, 2))) == L21(0.5)


@pytest.mark.parametrize(
    "penalty", [MCP(0.5), reweighted(L21(0.5)), MCP(0.5).shifted(W)], ids=repr
)
def test_solvers_of_convex_problems_are_told(penalty):
    assert isinstance(penalty, Nonconvex)
    with pytest.raises(IncompatibleError, match="not convex"):
        decompose(penalty)
    with pytest.raises(IncompatibleError, match="not convex"):
        decompose(penalty + L2(0.1))


def test_a_wrong_majoriser_and_a_wrong_prox_break_laws(monkeypatch):
    case = resolved_case(MCP(0.5), None, 0)
    monkeypatch.setattr(MCP, "slopes", lambda self, sizes: 0.1 + 0.0 * sizes)
    with pytest.raises(AssertionError, match="nowhere below"):
        touching(case)
    monkeypatch.undo()
    monkeypatch.setattr(MCP, "nearby", lambda self, sizes, amount: [0.5 * sizes])
    with pytest.raises(AssertionError, match="better than its prox"):
        _line(case)


def test_texts_and_parameters():
    assert parse("MCP(0.1,3)") == MCP(0.1, 3)
    assert parse("SCAD") == SCAD()
    assert parse("CappedL21(0.1, 2, row_norm='l1')") == CappedL21(0.1, 2, "l1")
    assert parse("reweighted(L21(0.1), eps=0.5)") == reweighted(L21(0.1), 0.5)
    assert parse("positive(MCP(0.1)) + L2(0.2)") == positive(MCP(0.1)) + L2(0.2)
    assert parse("weighted(L21, {'age': 0, 3: inf})") == weighted(L21(), {"age": 0, 3: np.inf})
    for penalty in (*SOME, *CAPPED, LOGS[0]):
        assert parse(repr(penalty)) == penalty
    assert MCP(0.5).replace("gamma", 2).gamma == 2.0
    assert reweighted(L21(0.5)).replace("eps", 2).get_params() == {
        "alpha": 0.5,
        "fraction": None,
        "radius": None,
        "eps": 2.0,
    }


def test_strengths_and_fractions():
    gradient = np.diag([3.0, 2.0, 1.0, 0.5])
    for penalty in (MCP(), SCAD(), CappedL21(), reweighted(L21())):
        assert penalty.null_strength(gradient) == pytest.approx(3.0)
        assert penalty.resolved(gradient).strength == pytest.approx(0.3)
    assert (2.0 * MCP(0.3)).strength == pytest.approx(0.6)
    assert MCP(0.3).with_strength(0.6) == MCP(0.6)
    assert (3.0 * MCP(fraction=0.2)).resolved(gradient).strength == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MCP(0.1, 1.0), "gamma of MCP must be a finite number > 1"),
        (lambda: SCAD(0.1, 2.0), "gamma of SCAD must be a finite number > 2"),
        (lambda: MCP(0.1, fraction=0.1), "exclude each other"),
        (lambda: CappedL21(0.1, 0.0), "theta of CappedL21"),
        (lambda: CappedL21(0.1, 1.0, "max"), "row_norm of CappedL21"),
        (lambda: reweighted(L21(), 0.0), "eps of reweighted"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ParameterError, match=words):
        make()


def test_what_cannot_be_reweighted():
    for penalty in (TraceNorm(), L2(), L21() + L2(), weighted(L21(), [1.0])):
        with pytest.raises(IncompatibleError, match="cannot be reweighted"):
            reweighted(penalty)
    with pytest.raises(IncompatibleError, match="weight for every feature"):
        weighted(reweighted(L21()), [1.0])


def test_a_minimiser_of_one_variable_agrees():
    for penalty in (MCP(0.4), SCAD(0.4)):
        for size in (0.3, 0.6, 1.0, 2.0):

            def cost(r, size=size, penalty=penalty):
                return 0.5 * (r - size) ** 2 + penalty.value(np.array([[abs(r)]]))

            found = minimize_scalar(cost, bounds=(0.0, 4.0), method="bounded")
            got = float(penalty.prox(np.array([[size]]), 1.0)[0, 0])
            assert cost(got) <= found.fun + 1e-9
