"""Learning many tasks without a choice of model."""

from polytask.selection.auto.base import AutoEstimator
from polytask.selection.auto.classifier import AutoMultiTaskClassifier
from polytask.selection.auto.model import AutoMultiTaskModel
from polytask.selection.auto.regressor import AutoMultiTaskRegressor

__all__ = [
    "AutoEstimator",
    "AutoMultiTaskClassifier",
    "AutoMultiTaskModel",
    "AutoMultiTaskRegressor",
]
