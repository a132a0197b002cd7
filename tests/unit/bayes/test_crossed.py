"""Several groupings: likelihood and gradient, equations with a grouping eliminated, recovery."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from polytask.bayes import Diagonal, Full, LowRank, NoVariation, Scalar
from polytask.bayes.blocks import collect_stacked
from polytask.bayes.crossed import CrossedSums, MixedEquations, effect_columns
from polytask.bayes.crossed_prior import (
    ByGrouping,
    CrossedMarginal,
    choose_crossed,
    learn_crossed,
)
from polytask.bayes.normal import learn
from polytask.bayes.prior import Model

LEVELS = [(7,), (12, 5), (5, 12, 4)]


class Rows:
    """Rows of crossed groupings, drawn from the model."""

    def __init__(self, levels, q=3, n=150, seed=0, spread=0.7, weighted=True):
        rng = np.random.default_rng(seed)
        self.levels, self.q, self.varying = levels, q, np.arange(q)
        self.Z = np.column_stack([np.ones(n), rng.standard_normal((n, 3))])
        self.codes = np.column_stack([rng.integers(0, size, n) for size in levels])
        self.weight = rng.integers(1, 3, n).astype(float) if weighted else np.ones(n)
        spreads = np.broadcast_to(spread, (len(levels), q))
        self.effects = [
            rng.standard_normal((size, q)) * own for size, own in zip(levels, spreads, strict=True)
        ]
        self.y = self.Z @ np.array([1.0, 0.5, -1.0, 0.0])
        for own, effects in zip(self.codes.T, self.effects, strict=True):
            self.y += np.sum(self.Z[:, :q] * effects[own], axis=1)
        self.y += rng.standard_normal(n) / np.sqrt(self.weight)

    def sums(self):
        labels = (self.y, self.weight)
        return CrossedSums.of(
            lambda numbers: self.Z[numbers], labels, self.codes, self.levels, self.varying
        )

    def design(self, g):
        """Return the columns of the effects of a grouping, shape (n, levels * q)."""
        own = self.codes[:, [g]]
        return effect_columns(self.Z[:, self.varying], own, (self.levels[g],)).toarray()

    def covariance(self, covariances):
        """Return the covariance of the rows relative to the noise."""
        V = np.diag(1.0 / self.weight)
        for g, own in enumerate(covariances):
            A = self.design(g)
            V += A @ np.kron(np.eye(self.levels[g]), own) @ A.T
        return V


def evaluated(rows, structure, restricted, seed=1):
    sums = rows.sums()
    form = ByGrouping((structure,) * len(rows.levels))
    marginal = CrossedMarginal(sums, form, restricted)
    size = form.n_parameters(len(rows.levels) * rows.q)
    params = np.random.default_rng(seed).standard_normal(size)
    return marginal, params, marginal.evaluate(params)


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("structure", [Scalar(), Diagonal(), LowRank(1), Full(), Full(2.0)])
@pytest.mark.parametrize("levels", LEVELS)
def test_gradient_is_that_of_the_value(levels, structure, restricted):
    marginal, params, at = evaluated(Rows(levels), structure, restricted)
    steps = 1e-5 * np.eye(len(params))
    slopes = [
        (marginal.evaluate(params + h).value - marginal.evaluate(params - h).value) / 2e-5
        for h in steps
    ]
    assert_allclose(at.gradient, slopes, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("levels", LEVELS)
def test_likelihood_is_that_of_all_rows_at_once(levels, restricted):
    rows = Rows(levels, weighted=False)
    marginal, params, at = evaluated(rows, Full(), restricted)
    each = marginal.structure.each(params, marginal.q)
    V = at.detail.noise * rows.covariance([s.covariance(own, rows.q) for s, own in each])
    inverse, Z = np.linalg.inv(V), rows.Z
    gram = Z.T @ inverse @ Z
    residual = rows.y - Z @ np.linalg.solve(gram, Z.T @ inverse @ rows.y)
    expected = np.linalg.slogdet(V)[1] + residual @ inverse @ residual
    degrees = len(rows.y)
    if restricted:
        expected += np.linalg.slogdet(gram)[1]
        degrees -= Z.shape[1]
    expected += degrees * np.log(2.0 * np.pi)
    assert_allclose(at.detail.log_likelihood, -0.5 * expected, rtol=1e-9)


def test_a_weight_of_two_is_the_row_twice():
    rows = Rows((12, 5))
    _, _, at = evaluated(rows, Full(), True)
    twice = np.repeat(np.arange(len(rows.y)), rows.weight.astype(int))
    rows.Z, rows.codes, rows.y = rows.Z[twice], rows.codes[twice], rows.y[twice]
    rows.weight = np.ones(len(twice))
    _, _, again = evaluated(rows, Full(), True)
    assert_allclose(again.value, at.value, rtol=1e-10)


@pytest.mark.parametrize("levels", LEVELS)
def test_effects_and_variances_are_the_posterior(levels):
    rows = Rows(levels)
    covariances = [0.5 * np.eye(3) + 0.1, 0.3 * np.eye(3), np.diag([0.2, 0.0, 0.1])][: len(levels)]
    equations = MixedEquations(rows.sums(), covariances)
    sums = equations.sums
    effects, beta = equations.solve(sums.cross[:, None], sums.mean_cross[:, None])
    V = rows.covariance(covariances)
    inverse = np.linalg.inv(V)
    gram = np.linalg.inv(rows.Z.T @ inverse @ rows.Z)
    expected = gram @ rows.Z.T @ inverse @ rows.y
    assert_allclose(beta[:, 0], expected, rtol=1e-7, atol=1e-9)
    residual = inverse @ (rows.y - rows.Z @ expected)
    for g, part in enumerate(sums.slices):
        prior = np.kron(np.eye(levels[g]), covariances[g])
        assert_allclose(effects[part, 0], prior @ rows.design(g).T @ residual, atol=1e-7)
    # The variance of what is known of rows: of known levels, and of rows with unknown ones.
    codes = rows.codes[:20].copy()
    codes[10:, 0] = -1
    designs = []
    for g, size in enumerate(levels):
        own = effect_columns(rows.Z[:20, rows.varying], codes[:, [g]], (size,)).toarray()
        designs.append(own @ np.kron(np.eye(size), covariances[g]))
    through = sum(
        own @ rows.design(g).T for g, own in enumerate(designs)
    )  # covariance of the new rows' effects with all rows
    prior = sum(
        np.sum(
            own * effect_columns(rows.Z[:20, rows.varying], codes[:, [g]], (size,)).toarray(), 1
        )
        for g, (own, size) in enumerate(zip(designs, levels, strict=True))
    )
    left = rows.Z[:20] - through @ inverse @ rows.Z
    variance = prior - np.sum(through @ inverse * through, 1) + np.sum(left @ gram * left, 1)
    found = equations.variances(rows.Z[:20], rows.varying, codes)
    assert_allclose(found, variance, rtol=1e-6)


@pytest.mark.parametrize("levels", LEVELS[1:])
def test_compiled_variances_are_those_of_products(levels, monkeypatch):
    rows = Rows(levels)
    equations = MixedEquations(rows.sums(), [0.5 * np.eye(3) + 0.1] * len(levels))
    some = rows.Z[:60], rows.varying, np.where(rows.Z[:60, [1]] > 1, -1, rows.codes[:60])
    expected, traces = equations.variances(*some), equations.traces(restricted=True)
    monkeypatch.setattr("polytask.bayes.crossed_left._COMPILED", 0)
    equations = MixedEquations(rows.sums(), [0.5 * np.eye(3) + 0.1] * len(levels))
    first = equations.traces(restricted=True)
    assert_allclose(equations.variances(*some), expected, rtol=1e-10)
    for found in (first, equations.traces(restricted=True)):
        assert_allclose(found, traces, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("structure", [NoVariation(), Diagonal(), Full()])
def test_one_grouping_is_the_prior_of_tasks(structure, restricted):
    q = 1 if isinstance(structure, NoVariation) else 3
    rows = Rows((15,), q=q, n=300)
    order = np.argsort(rows.codes[:, 0], kind="stable")
    offsets = np.searchsorted(rows.codes[order, 0], np.arange(16))
    blocks = collect_stacked(
        lambda numbers: rows.Z[order][numbers], 4, rows.y[order], rows.weight[order], offsets
    )
    model = Model(structure, tuple(range(q)), restricted)
    known = learn(blocks, model, 15, tol=1e-7)
    found = learn_crossed(rows.sums(), ByGrouping((structure,)), restricted=restricted, tol=1e-7)
    assert_allclose(found.covariances[0], known.covariance, rtol=1e-4, atol=1e-6)
    assert_allclose(found.log_likelihood, known.log_likelihood, rtol=1e-5)  # noise has a floor
    assert_allclose(found.mean, known.mean, rtol=1e-4, atol=1e-6)


def test_nested_levels_are_those_of_one_grouping_where_the_outer_one_does_not_vary():
    rows = Rows((20,), q=1, n=400, spread=0.8)
    inner = rows.codes[:, 0]
    alone = learn_crossed(rows.sums(), ByGrouping((NoVariation(),)), tol=1e-8)
    # Towns that alternate have equal means of their schools' effects, so that they do not vary.
    ranks = np.argsort(np.argsort(alone.effects))
    rows.codes, rows.levels = (
        np.column_stack([inner, np.minimum(ranks, 19 - ranks)[inner]]),
        (20, 10),
    )
    both = learn_crossed(rows.sums(), ByGrouping((NoVariation(),) * 2), tol=1e-8)
    assert both.converged
    assert both.covariances[1][0, 0] < 1e-6
    assert_allclose(both.covariances[0], alone.covariances[0], rtol=1e-4)
    assert_allclose(both.log_likelihood, alone.log_likelihood, rtol=1e-6)
    assert_allclose(both.effects[:20], alone.effects, atol=1e-3)


@pytest.mark.parametrize("dense", [True, False])
def test_sparse_and_dense_products_agree(dense):
    rows = Rows((12, 5, 9))
    sums = rows.sums()
    sums.__dict__["is_dense"] = dense
    marginal = CrossedMarginal(sums, ByGrouping((Full(),) * 3), restricted=True)
    params = np.random.default_rng(0).standard_normal(18)
    _, _, other = evaluated(rows, Full(), True, seed=0)
    at = marginal.evaluate(params)
    assert_allclose(at.value, other.value, rtol=1e-12)
    assert_allclose(at.gradient, other.gradient, rtol=1e-8, atol=1e-8)


def both_ways(rows, monkeypatch):
    """Return the likelihood at a point, solved densely and by conjugate gradients."""
    exact = evaluated(rows, Full(), True)[2]
    monkeypatch.setattr("polytask.bayes.crossed_left.LARGEST_DENSE", 0)
    return exact, evaluated(rows, Full(), True)[2]


def test_conjugate_gradients_solve_the_same_equations(monkeypatch):
    rows = Rows((400, 150, 40), q=2, n=3000)
    exact, found = both_ways(rows, monkeypatch)
    assert_allclose(found.detail.effects, exact.detail.effects, atol=1e-7)
    assert_allclose(found.detail.beta, exact.detail.beta, rtol=1e-7)
    some = (rows.Z[:50], rows.varying, rows.codes[:50])
    variances = [at.detail.equations.variances(*some) for at in (exact, found)]
    assert_allclose(*variances, rtol=1e-7)
    assert found.detail.equations.left.residual < 1e-8


def test_estimated_determinants_are_within_their_standard_error(monkeypatch):
    rows = Rows((400, 150, 40), q=2, n=3000)
    exact, found = both_ways(rows, monkeypatch)
    error = 0.5 * found.detail.equations.left.error
    assert 0.0 < error < 1.0
    assert abs(found.value - exact.value) < 4.0 * error
    # Off by less than a hundredth of what information there is for a standard deviation.
    assert_allclose(found.gradient, exact.gradient, atol=0.01 * np.abs(exact.gradient).max())
    assert_allclose(found.weights, exact.weights, rtol=0.01)


def test_variances_learned_by_conjugate_gradients(monkeypatch):
    rows = Rows((300, 200, 100), q=2, n=4000, spread=0.6, weighted=False)
    structure = ByGrouping((Diagonal(),) * 3)
    exact = learn_crossed(rows.sums(), structure)
    monkeypatch.setattr("polytask.bayes.crossed_left.LARGEST_DENSE", 0)
    found = learn_crossed(rows.sums(), structure)
    again = learn_crossed(rows.sums(), structure)
    assert found.converged
    assert found.n_iter < 15
    deviations = [np.sqrt([np.diagonal(s) for s in one.covariances]) for one in (exact, found)]
    # A tenth of the standard error that a hundred levels leave.
    assert_allclose(*deviations, rtol=0.1 / np.sqrt(200))
    assert abs(found.log_likelihood - exact.log_likelihood) < 4.0 * found.error
    assert found.log_likelihood == again.log_likelihood
    assert exact.error == 0.0


def test_a_variance_of_zero_by_conjugate_gradients(monkeypatch):
    rows = Rows((300, 200), q=1, n=4000, spread=np.array([[0.8], [0.0]]), weighted=False)
    monkeypatch.setattr("polytask.bayes.crossed_left.LARGEST_DENSE", 0)
    found = learn_crossed(rows.sums(), ByGrouping((NoVariation(),) * 2))
    assert found.converged
    assert found.covariances[1][0, 0] < 1e-4
    assert_allclose(found.covariances[0][0, 0], 0.64, rtol=0.3)


def test_sums_of_some_columns_and_their_state():
    rows = Rows((12, 5))
    sums = rows.sums()
    rows.q, rows.varying = 1, np.array([0])
    assert_allclose(sums.of_columns(np.array([0])).gram.toarray(), rows.sums().gram.toarray())
    again = CrossedSums.from_state(sums.to_state())
    assert_allclose(again.gram.toarray(), sums.gram.toarray())


def test_the_only_level_of_a_grouping_does_not_deviate():
    rows = Rows((12, 1))
    found = learn_crossed(rows.sums(), ByGrouping((Diagonal(),) * 2))
    assert found.converged
    assert_allclose(found.covariances[1], 0.0, atol=1e-9)


def test_variances_are_recovered():
    spread = np.array([[1.0, 0.0, 0.6], [0.5, 0.4, 0.0]])
    rows = Rows((300, 200), n=12_000, spread=spread, weighted=False)
    found = learn_crossed(rows.sums(), ByGrouping((Diagonal(),) * 2))
    deviations = [np.sqrt(np.diagonal(own)) for own in found.covariances]
    # Four standard errors of a standard deviation that hundreds of levels show; zeros are small.
    assert_allclose(deviations, spread, atol=4.0 * spread.max() / np.sqrt(2 * 200))
    assert found.covariances[0][1, 1] < 0.005
    assert found.covariances[1][2, 2] < 0.005
    assert_allclose(found.noise, 1.0, atol=0.06)


def test_evidence_picks_the_groupings_with_slopes():
    spread = np.array([[1.0, 0.5, 0.5], [0.5, 0.0, 0.0]])
    rows = Rows((60, 40), n=3000, spread=spread, weighted=False)
    chosen, tried = choose_crossed(rows.sums())
    first, second = chosen.structure.structures
    assert not isinstance(first, NoVariation)
    assert isinstance(second, NoVariation)
    assert max(candidate.score for candidate in tried) == pytest.approx(
        chosen.log_likelihood - chosen.structure.price(6, 3000), abs=0.05
    )


def test_evidence_picks_intercepts_where_slopes_do_not_vary():
    rows = Rows((60, 40), n=3000, spread=np.array([[1.0, 0.0, 0.0]] * 2), weighted=False)
    chosen, _ = choose_crossed(rows.sums())
    assert chosen.structure.structures == (NoVariation(), NoVariation())
