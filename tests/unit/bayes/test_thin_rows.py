"""Rows of which most entries are zero: worked on as sparse ones, with the same result."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from polytask import BayesianMultiTaskClassifier
from polytask.bayes.laplace_rows import SparseRows, is_thin, row_blocks
from polytask.linear import bayes_laplace_fit


def problem(n: int = 260, d: int = 110):
    rng = np.random.default_rng(0)
    X = (rng.random((n, d)) < 0.05) * rng.uniform(0.5, 2.0, size=(n, d))
    task = np.arange(n) % 2
    eta = X @ rng.normal(size=d) + 0.5 * task
    return X, (eta + rng.logistic(size=n) > 0).astype(int), task


def fitted(X) -> BayesianMultiTaskClassifier:
    _, y, task = problem()
    return BayesianMultiTaskClassifier(structure="scalar").fit(X, y, task=task)


def test_dense_rows_of_few_entries_are_fitted_as_sparse_ones(monkeypatch):
    X, _, _ = problem()
    assert is_thin(X)
    thin = fitted(X)
    monkeypatch.setattr(bayes_laplace_fit, "is_thin", lambda X: False)
    dense = fitted(X)
    np.testing.assert_allclose(thin.coef_, dense.coef_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(thin.intercept_, dense.intercept_, rtol=1e-5)
    assert thin.log_marginal_likelihood_ == pytest.approx(dense.log_marginal_likelihood_)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.2])
def test_what_counts_as_thin(share):
    X = np.zeros((100, 100))
    X.ravel()[: int(share * X.size)] = 1.0
    assert is_thin(X) == is_thin(sp.csr_array(X)) == (share <= 0.1)
    assert not is_thin(X[:, :50])


def test_a_task_of_many_thin_rows_is_a_block_of_its_own(monkeypatch):
    seen = []

    def watched(source):
        blocks = row_blocks(source)
        seen.extend(blocks)
        return blocks

    monkeypatch.setattr("polytask.bayes.laplace.row_blocks", watched)
    fitted(problem()[0])
    assert [type(block) for block in seen[:2]] == [SparseRows, SparseRows]
