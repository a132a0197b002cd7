"""scikit-learn's own checks on the searching estimators."""

from __future__ import annotations

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import MultiTaskClassifierCV, MultiTaskModelCV, MultiTaskRegressorCV


@parametrize_with_checks(
    [
        MultiTaskRegressorCV(alphas=4, cv=3),
        MultiTaskClassifierCV(alphas=4, cv=3, intercept_strength=1.0),
        MultiTaskModelCV(alphas=4, cv=3, intercept_strength=1.0),
    ]
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)
