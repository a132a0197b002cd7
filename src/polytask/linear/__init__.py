"""Linear estimators with penalties, certified."""

from polytask.linear.bayesian import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
)
from polytask.linear.estimators import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor

__all__ = [
    "BayesianMultiTaskClassifier",
    "BayesianMultiTaskModel",
    "BayesianMultiTaskRegressor",
    "MultiTaskClassifier",
    "MultiTaskModel",
    "MultiTaskRegressor",
]
