"""scikit-learn's own checks on the classifier with a learned prior."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import BayesianMultiTaskClassifier


@pytest.mark.slow
@parametrize_with_checks(
    [
        BayesianMultiTaskClassifier(),
        BayesianMultiTaskClassifier("diagonal", mean_prior="flat", standardize=False),
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)
