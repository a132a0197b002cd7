"""Linear estimators with penalties, certified."""

from polytask.linear._bayes_classifier import BayesianMultiTaskClassifier
from polytask.linear._bayes_regressor import BayesianMultiTaskRegressor
from polytask.linear._classifier import MultiTaskClassifier
from polytask.linear._model import MultiTaskModel
from polytask.linear._regressor import MultiTaskRegressor

__all__ = [
    "BayesianMultiTaskClassifier",
    "BayesianMultiTaskRegressor",
    "MultiTaskClassifier",
    "MultiTaskModel",
    "MultiTaskRegressor",
]
