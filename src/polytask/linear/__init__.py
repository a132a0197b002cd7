"""Linear estimators with penalties, certified."""

from polytask.linear._bayes_classifier import BayesianMultiTaskClassifier
from polytask.linear._bayes_model import BayesianMultiTaskModel
from polytask.linear._bayes_regressor import BayesianMultiTaskRegressor
from polytask.linear.estimators import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor

__all__ = [
    "BayesianMultiTaskClassifier",
    "BayesianMultiTaskModel",
    "BayesianMultiTaskRegressor",
    "MultiTaskClassifier",
    "MultiTaskModel",
    "MultiTaskRegressor",
]
