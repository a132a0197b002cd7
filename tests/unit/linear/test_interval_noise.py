"""The noise of each task in intervals of the learned prior: dense, and its coverage."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from polytask import BayesianMultiTaskRegressor
from polytask.bayes.posterior import posterior_means
from polytask.linear.interval_noise import _residuals, interval_noise


def unlike(rows=25, tasks=30, spread=0.8, seed=0):
    """Return rows and new rows of tasks whose noise differs, and the deviations of this noise."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal(3) + 0.3 * rng.standard_normal((tasks, 3))
    sd = np.exp(spread * rng.standard_normal(tasks))
    parts = []
    for n in (rows, 200):
        task = np.repeat(np.arange(tasks), n)
        X = rng.standard_normal((len(task), 3))
        y = np.einsum("ij,ij->i", X, W[task]) + sd[task] * rng.standard_normal(len(task))
        parts.append((X, y, task))
    return parts[0], parts[1], sd


def test_residuals_and_what_they_are_of_are_dense_ones():
    (X, y, task), _, _ = unlike(rows=8, tasks=5)
    model = BayesianMultiTaskRegressor(structure="full", tol=1e-3).fit(X, y, task=task)
    known, prior = model._tasks, model.prior_
    squares, free = _residuals(known.blocks, prior, 5)
    W = posterior_means(known.blocks, prior, 5)
    Z = np.column_stack([np.ones(len(X)), (X - known.mean) / known.scale])
    scaled = (y - known.target_mean[task]) / known.target_scale[task]
    for t in range(5):
        own = task == t
        S = np.eye(8) + Z[own][:, prior.varying] @ prior.covariance @ Z[own][
            :, prior.varying
        ].T / float(prior.noise)
        assert_allclose(free[t], np.trace(np.linalg.inv(S)), rtol=1e-8)
        assert_allclose(squares[t], np.sum((scaled[own] - Z[own] @ W[t]) ** 2), rtol=1e-8)


def test_every_task_is_covered_though_one_noise_was_learned():
    rows, (X, y, task), sd = unlike()
    model = BayesianMultiTaskRegressor().fit(rows[0], rows[1], task=rows[2])
    lower, upper = model.predict_interval(X, task)
    inside = ((lower <= y) & (y <= upper)).reshape(30, -1).mean(axis=1)
    assert 0.88 < inside.mean() < 0.94
    assert inside.min() > 0.75
    # The common noise alone, as it was learned.
    reach = 1.645 * model.predict(X, task, return_std=True)[1]
    alone = (np.abs(y - model.predict(X, task)) <= reach).reshape(30, -1).mean(axis=1)
    assert alone.min() < 0.7
    own = interval_noise(model._tasks.blocks, model.prior_, 30)
    assert np.corrcoef(np.log(own), np.log(sd))[0, 1] > 0.9
    # An unseen task has what tasks have on average, and coefficients that nobody knows.
    model.unseen_tasks = "shared"
    lower, upper = model.predict_interval(X[:1], ["new"])
    assert upper[0] - lower[0] > 2 * 1.645 * np.sqrt(np.mean(sd**2)) * 0.7


def test_tasks_that_are_alike_keep_the_common_noise():
    rows, _, _ = unlike(rows=10, spread=0.0, seed=2)
    model = BayesianMultiTaskRegressor().fit(rows[0], rows[1], task=rows[2])
    own = interval_noise(model._tasks.blocks, model.prior_, 30)
    assert_allclose(own, float(model.prior_.noise), rtol=0.1)
