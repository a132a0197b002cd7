"""Linear estimators with penalties, certified."""

from polytask.linear._classifier import MultiTaskClassifier
from polytask.linear._model import MultiTaskModel
from polytask.linear._regressor import MultiTaskRegressor

__all__ = ["MultiTaskClassifier", "MultiTaskModel", "MultiTaskRegressor"]
