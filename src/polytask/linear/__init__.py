"""Linear estimators with penalties, certified."""

from polytask.linear.bayesian import BayesianMultiTaskRegressor
from polytask.linear.bayesian_labels import BayesianMultiTaskClassifier, BayesianMultiTaskModel
from polytask.linear.estimators import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor

__all__ = [
    "BayesianMultiTaskClassifier",
    "BayesianMultiTaskModel",
    "BayesianMultiTaskRegressor",
    "MultiTaskClassifier",
    "MultiTaskModel",
    "MultiTaskRegressor",
]
