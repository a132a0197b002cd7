"""scikit-learn's own checks on the searching estimators."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import (
    MultiTaskClassifierCV,
    MultiTaskClassifierIC,
    MultiTaskModelCV,
    MultiTaskModelIC,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
)
from polytask.penalties import L2, toward_mean

NEAR_MEAN = toward_mean(1.0) + L2(0.1)


@parametrize_with_checks([MultiTaskRegressorCV(alphas=4, cv=3)])
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        MultiTaskClassifierCV(NEAR_MEAN, alphas=3, cv=2, intercept_strength=1.0, tol=1e-12),
        MultiTaskModelCV(NEAR_MEAN, alphas=3, cv=2, intercept_strength=1.0, tol=1e-12),
        MultiTaskRegressorIC(alphas=3, task_weight="size"),
        MultiTaskRegressorIC(criterion="evidence", alphas=3, task_weight="size"),
        MultiTaskClassifierIC(NEAR_MEAN, alphas=3, intercept_strength=1.0, tol=1e-12),
        MultiTaskModelIC(NEAR_MEAN, alphas=3, intercept_strength=1.0, tol=1e-12),
    ]
)
def test_scikit_learn_checks_of_the_others(estimator: Any, check: Any) -> None:
    check(estimator)
