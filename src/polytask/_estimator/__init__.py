"""The shared scikit-learn face of all estimators."""

from polytask._estimator.base import MultiTaskEstimator
from polytask._estimator.outcomes import (
    Outcomes,
    classification,
    mixed,
    refuse_forbidden,
    regression,
)
from polytask._estimator.query import UNSEEN, Query
from polytask._estimator.scoring import natural_scores, rows_by_task

__all__ = [
    "UNSEEN",
    "MultiTaskEstimator",
    "Outcomes",
    "Query",
    "classification",
    "mixed",
    "natural_scores",
    "refuse_forbidden",
    "regression",
    "rows_by_task",
]
