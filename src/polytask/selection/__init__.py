"""Choosing penalty and strength by cross-validation."""

from polytask.selection._classifier import MultiTaskClassifierCV
from polytask.selection._model import MultiTaskModelCV
from polytask.selection._regressor import MultiTaskRegressorCV

__all__ = ["MultiTaskClassifierCV", "MultiTaskModelCV", "MultiTaskRegressorCV"]
