"""The scikit-learn API that all estimators share."""

from polytask._estimator.base import MultiTaskEstimator, given_columns
from polytask._estimator.outcomes import (
    Outcomes,
    classification,
    mixed,
    refuse_forbidden,
    regression,
)
from polytask._estimator.query import UNSEEN, Query

__all__ = [
    "UNSEEN",
    "MultiTaskEstimator",
    "Outcomes",
    "Query",
    "classification",
    "given_columns",
    "mixed",
    "refuse_forbidden",
    "regression",
]
