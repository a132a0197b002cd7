"""Statistics under stress: the certified answer, or samples and a status that says so."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from polytask import MultiTaskRegressor
from polytask._estimator import regression
from polytask.data import TaskData
from polytask.datafits import Samples, SquaredStatistics
from polytask.exceptions import ConvergenceWarning
from polytask.linear.fitting import bound_penalty, solve
from polytask.linear.problem import Settings, build_problem
from polytask.losses import Squared
from polytask.penalties import L1, L2, L21, TraceNorm, toward_mean
from polytask.solvers import Certificate, Newton, Solution, Status, on_samples

N, D, T = 400, 12, 4
TASK = np.repeat(np.arange(T), N // T)
TASK[0] = T  # one task has one row


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D))
    return X, X[:, :4] @ rng.normal(size=4) + 0.3 * rng.normal(size=N)


def with_zero_columns(X):
    return np.where(np.arange(D) % 3 == 0, 0.0, X)


STRESS = {
    "sizes": lambda X: X * np.geomspace(1e-8, 1e8, D),
    "far": lambda X: X + 1e8,
    "far by size": lambda X: (X + 1e4) * np.geomspace(1e-8, 1e8, D),
    "zero columns": with_zero_columns,
    "near-collinear": lambda X: np.hstack([X[:, :6], X[:, :6] + 1e-7 * X[:, 6:]]),
}
PENALTIES = [L21(fraction=0.01), L1(fraction=0.01), TraceNorm(fraction=0.1)]


def problem(X, y, **settings):
    data = TaskData.from_long(X, y, TASK)
    return build_problem(data, regression(data, Squared(), "test"), Settings(**settings), "test")


@pytest.mark.parametrize("kind", STRESS)
@pytest.mark.parametrize("intercept", ["task", "shared"])
@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_hard_features_are_certified_by_statistics_and_by_samples(kind, intercept, penalty):
    X, y = drawn()
    built = problem(STRESS[kind](X), y, intercept=intercept)
    assert isinstance(built.datafit, SquaredStatistics)
    bound = bound_penalty(built, penalty)
    found = solve(built, bound, "auto", 1e-6, 10000, None)
    assert found.status.ok
    samples = built.samples()
    assert isinstance(samples, Samples)
    again = solve(replace(built, datafit=samples, samples=None), bound, "auto", 1e-6, 10000, None)
    assert again.status.ok
    reference = again.certificate.reference
    assert abs(found.objective - again.objective) <= 2e-6 * reference
    # The certificate of the statistics is true of the samples.
    value = samples.value_at(found.W, found.intercept) + bound.value(found.W)
    assert value - again.objective <= 2e-6 * reference


def test_a_stalled_solver_goes_on_with_the_samples(monkeypatch):
    X, y = drawn()
    plain, starts = Newton.solve, []

    def solve_half(self, datafit, penalty, **options):
        if isinstance(datafit, Samples):
            starts.append(options["start"])
            return plain(self, datafit, penalty, **options)
        found = plain(self, datafit, penalty, **options)
        return replace(found, W=0.99 * found.W, status=Status.STALLED, n_iter=9)

    monkeypatch.setattr(Newton, "solve", solve_half)
    # Warnings are errors: what is certified is no reason to warn.
    model = MultiTaskRegressor(L2(0.1)).fit(X, y, task=TASK)
    assert model.solution_.status is Status.ON_SAMPLES
    assert "statistics had lost digits" in model.solution_.message
    assert model.solution_.certificate.relative <= 1e-6
    assert model.solution_.n_iter > 9
    assert starts[0].n_iter == 9
    monkeypatch.undo()
    wanted = MultiTaskRegressor(L2(0.1)).fit(X, y, task=TASK)
    assert wanted.solution_.status is Status.CONVERGED
    np.testing.assert_allclose(model.coef_, wanted.coef_, atol=1e-5)


def test_samples_can_certify_where_statistics_stall():
    """Features 1e5 from zero without an intercept: at the edge of what digits allow."""
    penalty, ended = toward_mean(1.0) + L2(1e-6), []
    for seed in range(12):
        X, y = drawn(seed)
        built = problem(X + 1e5, y, intercept=None)
        found = solve(built, bound_penalty(built, penalty), "auto", 1e-6, 2000, None)
        ended.append(found.status)
        assert found.status.ok == (found.certificate.relative <= 1e-6)
    assert Status.ON_SAMPLES in ended
    assert set(ended) <= {Status.CONVERGED, Status.ON_SAMPLES, Status.STALLED_ON_SAMPLES}


def test_where_samples_do_not_help_either_the_status_says_so():
    X, y = drawn()
    X[::2] += 1e8  # within every task: no mean can be taken off
    with pytest.warns(ConvergenceWarning, match=r"lost digits.*standardize"):
        model = MultiTaskRegressor(L2(1e-3)).fit(X, y, task=TASK)
    assert model.solution_.status is Status.STALLED_ON_SAMPLES
    # Though not certified, the answer is that of features with the jump as one of their own.
    built = problem(X, y)
    statistics = Newton().solve(built.datafit, L2(1e-3))
    samples = built.samples()
    of_statistics = samples.value_at(statistics.W, statistics.intercept)
    assert model.solution_.objective <= of_statistics + L2(1e-3).value(statistics.W)
    assert model.solution_.objective < 0.5 * model.solution_.certificate.reference


def test_the_objective_decides_between_answers_without_a_certificate(monkeypatch):
    built = problem(*drawn())
    good = Newton().solve(built.datafit, L2(1e-3))

    def stalled(W):
        b = built.datafit.evaluate(W).intercept
        value = built.datafit.value_at(W, b) + L2(1e-3).value(W)
        return Solution(W, b, value, Certificate(None, 1.0, 1.0), Status.STALLED, 7, 0.5)

    class Stuck:
        """Ends where it is told to."""

        def __init__(self, W):
            self.W, self.started = W, None

        def solve(self, datafit, penalty, *, tol, max_iter, start):
            self.started = start
            return stalled(self.W)

    module = sys.modules[on_samples.__module__]
    for here, there in ((good.W, 0 * good.W), (0 * good.W, good.W)):
        stuck = Stuck(there)
        monkeypatch.setattr(module, "choose", lambda datafit, penalty, stuck=stuck: stuck)
        found = on_samples(stalled(here), built.samples, L2(1e-3), 1e-6, 100)
        assert found.status is Status.STALLED_ON_SAMPLES
        assert (found.n_iter, found.seconds) == (14, 1.0)
        np.testing.assert_array_equal(found.W, good.W)
        assert stuck.started is not None
    # What is worse than zero is no place to start from.
    on_samples(stalled(1e3 + good.W), built.samples, L2(1e-3), 1e-6, 100)
    assert stuck.started is None
    assert on_samples(good, built.samples, L2(1e-3), 1e-6, 100) is good


@pytest.mark.parametrize("penalty", [L21(0.05), toward_mean(0.5) + L2(0.01)], ids=repr)
def test_features_far_from_zero_give_the_answer_of_centred_ones(penalty):
    X, y = drawn()
    near = MultiTaskRegressor(penalty, tol=1e-9).fit(X, y, task=TASK)
    far = MultiTaskRegressor(penalty, tol=1e-9).fit(X + 2.0**26, y, task=TASK)
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-6)
    moved = near.intercept_ - 2.0**26 * near.coef_.sum(axis=1)
    np.testing.assert_allclose(far.intercept_, moved, atol=100)
