"""The closed forms for new rows equal those of the covariance of all targets."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from polytask import BayesianMultiTaskRegressor, adapt
from polytask.transfer._normal_rows import NormalRows


def rows_of(n: int, p: int, rank: int, seed: int = 0) -> NormalRows:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((p, rank))
    Z = np.column_stack([np.ones(n), rng.standard_normal((n, p - 1))])
    noise = 0.3 / rng.uniform(0.5, 4.0, n)
    return NormalRows(Z, rng.standard_normal(n), noise, root @ root.T)


@pytest.mark.parametrize(("n", "p"), [(1, 4), (3, 6), (6, 6), (7, 6), (40, 5)])
@pytest.mark.parametrize("rank", [1, 3])
def test_density_and_left_out_equal_the_form_of_all_rows(n: int, p: int, rank: int) -> None:
    rows = rows_of(n, p, rank)
    covariance = rows.Z @ rows.spread @ rows.Z.T + np.diag(rows.noise)
    expected = multivariate_normal(np.zeros(n), covariance).logpdf(rows.misfit)
    assert rows.log_density == pytest.approx(expected, rel=1e-10)
    inverse = np.linalg.inv(covariance)
    left = inverse @ rows.misfit / np.diagonal(inverse)
    np.testing.assert_allclose(rows.left_out, left, rtol=1e-9)


def test_left_out_is_the_prediction_from_the_other_rows() -> None:
    rows = rows_of(30, 4, 2)
    keep = np.arange(30) != 11
    covariance = rows.Z @ rows.spread @ rows.Z.T
    inner = covariance[np.ix_(keep, keep)] + np.diag(rows.noise[keep])
    predicted = covariance[11, keep] @ np.linalg.solve(inner, rows.misfit[keep])
    assert rows.left_out[11] == pytest.approx(rows.misfit[11] - predicted, rel=1e-9)


def test_little_noise_leaves_the_digits_of_the_density() -> None:
    rng = np.random.default_rng(1)
    Z = np.column_stack([np.ones(20), rng.standard_normal((20, 2))])
    misfit, noise = Z @ [1e3, -2e3, 1e3] + 1e-4 * rng.standard_normal(20), np.full(20, 1e-8)
    found = NormalRows(Z, misfit, noise, 1e6 * np.eye(3))
    # The density in two factors: of the coefficients' estimate, and of what it leaves.
    left = misfit - Z @ np.linalg.lstsq(Z, misfit, rcond=None)[0]
    inside = np.linalg.lstsq(Z, misfit, rcond=None)[0]
    gram = Z.T @ Z
    wide = multivariate_normal(np.zeros(3), 1e6 * np.eye(3) + 1e-8 * np.linalg.inv(gram))
    around = -0.5 * (17 * np.log(2 * np.pi * 1e-8) + np.linalg.slogdet(gram)[1])
    expected = wide.logpdf(inside) + around - 0.5 * left @ left / 1e-8
    assert found.log_density == pytest.approx(expected, rel=1e-6)


def test_many_new_rows_need_no_array_of_rows_by_rows() -> None:
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(12), 15)
    X = rng.standard_normal((len(task), 3))
    slopes = np.array([1.0, 0.0, 0.0]) + rng.standard_normal((12, 3))
    level = 3.0 * rng.standard_normal(12)
    y = np.sum(X * slopes[task], axis=1) + level[task] + rng.standard_normal(len(task))
    model = BayesianMultiTaskRegressor("scalar").fit(X, y, task=task)
    n = 100_000
    far = rng.standard_normal((n, 3))
    target = far @ [1.0, 0.5, 0.0] + 4.0 + rng.standard_normal(n)
    tracemalloc.start()
    more = adapt(model, far, target, task="new")
    new = adapt(model, far, target, task="new", domain="new")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The rows take 3 MB; rows by rows would take 80 GB.
    assert peak < 100 * far.nbytes
    for found in (more, new):
        np.testing.assert_allclose(found.coef_[-1], [1.0, 0.5, 0.0], atol=0.03)
    assert more.adaptation_.scores["adapted"] == pytest.approx(1.0, abs=0.02)
