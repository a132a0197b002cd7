"""Rows with a kink: the answer is that of a search over pieces, of the solvers, of the dual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import minimize

from polytask import MultiTaskRegressor
from polytask.exceptions import ConvergenceWarning
from polytask.penalties import L2
from polytask.transfer._pulled import least_piecewise_linear


@dataclass(frozen=True)
class Kinked:
    """Rows with the loss ``weight_i max((q - 1) r_i, q r_i)`` of ``r = offset + Z u``."""

    Z: np.ndarray
    offset: np.ndarray
    weight: np.ndarray
    q: float
    strength: float

    @property
    def lower(self):
        return (self.q - 1) * self.weight

    @property
    def upper(self):
        return self.q * self.weight

    def solve(self):
        return least_piecewise_linear(self.Z, self.offset, self.lower, self.upper, self.strength)

    def value(self, u):
        r = self.offset + self.Z @ u
        losses = np.maximum(self.lower * r, self.upper * r)
        return losses.sum() + 0.5 * self.strength * u @ u

    def bound(self, slope):
        """What slopes inside their box say the value is at least."""
        u = -(self.Z.T @ slope) / self.strength
        return slope @ self.offset - 0.5 * self.strength * u @ u

    def excess(self, slope):
        return -(self.offset - self.Z @ (self.Z.T @ slope) / self.strength)


def rows(seed, n, width, q, strength):
    rng = np.random.default_rng(seed)
    Z, offset, weight = rng.normal(size=(n, width)), rng.normal(size=n), rng.uniform(0.1, 3.0, n)
    return Kinked(Z, offset, weight, q, strength)


@pytest.mark.parametrize("q", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0, 100.0])
def test_one_coordinate_is_the_best_of_all_kinks_and_pieces(q, strength):
    given = rows(0, 50, 1, q, strength)
    kinks = -given.offset / given.Z[:, 0]
    tried = list(kinks)
    for kink in kinks:
        for side in (kink - 1e-9, kink + 1e-9):
            r = given.offset + given.Z[:, 0] * side
            tried.append(-(given.Z[:, 0] @ np.where(r > 0, given.upper, given.lower)) / strength)
    least = min(given.value(np.array([u])) for u in tried)
    start = given.value(np.zeros(1))
    assert given.value(given.solve()) <= least + 1e-8 * start


@pytest.mark.parametrize(("n", "width"), [(1, 1), (3, 8), (40, 3), (200, 10), (15, 15)])
def test_several_coordinates_are_those_of_the_solvers(n, width):
    given = rows(1, n, width, 0.3, 0.7)
    model = MultiTaskRegressor(
        L2(0.7 / given.weight.sum()),
        loss="quantile(0.7)",
        intercept=None,
        standardize=False,
        scale_targets=None,
        tol=1e-9,
    ).fit(given.Z, -given.offset, task=np.zeros(n, dtype=int), sample_weight=given.weight)
    found = given.solve()
    assert given.value(found) <= given.value(model.coef_[0]) + 1e-8 * given.value(0 * found)
    np.testing.assert_allclose(found, model.coef_[0], atol=1e-3)


@pytest.mark.filterwarnings("error")
def test_rows_twice_rows_of_nothing_and_no_misfit():
    once = rows(2, 20, 3, 0.5, 1e-3)
    parts = (np.concatenate([v, v]) for v in (once.Z, once.offset, once.weight))
    twice = Kinked(*parts, once.q, 2e-3)
    np.testing.assert_allclose(twice.solve(), once.solve(), atol=1e-6)
    nothing = Kinked(np.zeros((4, 2)), np.ones(4), np.ones(4), 0.5, 1.0)
    np.testing.assert_allclose(nothing.solve(), 0.0, atol=1e-12)
    exact = Kinked(once.Z, np.zeros(20), once.weight, once.q, 1.0)
    np.testing.assert_allclose(exact.solve(), 0.0, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_strengths_and_sizes_far_apart_end_near_the_bound():
    for strength in (1e-4, 1.0, 1e4):
        for size in (1e-6, 1.0, 1e6):
            given = rows(3, 300, 12, 0.9, strength)
            given = Kinked(given.Z, size * given.offset, given.weight, given.q, strength)
            u = given.solve()
            r = given.offset + given.Z @ u
            near = np.abs(r) < 1e-3 * size
            slope = np.where(r > 0, given.upper, given.lower)
            # Rows on their kink leave their slopes open: those that balance the others best.
            rest = strength * u + given.Z[~near].T @ slope[~near]
            if near.any():
                slope[near] = np.linalg.lstsq(given.Z[near].T, -rest, rcond=None)[0]
            slope = np.clip(slope, given.lower, given.upper)
            start = given.value(np.zeros(12))
            assert given.value(u) - given.bound(slope) < 1e-5 * start


# The first steps of these are worse than the start, by value, for longer than rounding would be.
@pytest.mark.parametrize(("seed", "q", "strength"), [(14, 0.99, 100.0), (95, 0.9, 1.0)])
def test_weights_of_very_different_sizes_do_not_end_the_search_at_its_start(seed, q, strength):
    rng = np.random.default_rng(seed)
    Z, offset = rng.normal(size=(20, 3)), rng.normal(size=20)
    weight = 10.0 ** (6 * (rng.random(20) - 0.5))
    given = Kinked(Z, offset, weight, q, strength)
    start, found = given.value(np.zeros(3)), given.value(given.solve())
    dual = minimize(
        lambda s: (-given.bound(weight * s), weight * given.excess(weight * s)),
        np.zeros(20),
        jac=True,
        method="L-BFGS-B",
        bounds=[(q - 1, q)] * 20,
        options={"maxiter": 20000, "maxfun": 50000, "ftol": 1e-16, "gtol": 1e-10, "maxcor": 40},
    )
    assert found < 0.99 * start
    assert found + dual.fun < 1e-5 * start


def test_a_search_that_stops_early_says_so(monkeypatch):
    monkeypatch.setattr("polytask.transfer._pulled._STEPS", 1)
    with pytest.warns(ConvergenceWarning, match="stopped within"):
        rows(1, 40, 3, 0.3, 0.7).solve()
