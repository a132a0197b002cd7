"""scikit-learn's own checks on the Laplace approximation of a learned prior."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import BayesianMultiTaskClassifier, BayesianMultiTaskModel


@pytest.mark.slow
@parametrize_with_checks(
    [
        BayesianMultiTaskClassifier(),
        BayesianMultiTaskClassifier("diagonal", mean_prior="flat", standardize=False),
        BayesianMultiTaskModel(loss="squared"),
        BayesianMultiTaskModel("scalar"),
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)
