"""Choosing penalty and strength: by cross-validation, or by a criterion without folds."""

from polytask._estimator.ranges import Between
from polytask.selection._classifier import MultiTaskClassifierCV
from polytask.selection._classifier_ic import MultiTaskClassifierIC
from polytask.selection._model import MultiTaskModelCV
from polytask.selection._model_ic import MultiTaskModelIC
from polytask.selection._regressor import MultiTaskRegressorCV
from polytask.selection._regressor_ic import MultiTaskRegressorIC
from polytask.selection.importance import importance
from polytask.selection.path import regularization_path
from polytask.selection.path_result import RegularizationPath
from polytask.selection.tuning import Tuned, tune
from polytask.selection.variants import variants

__all__ = [
    "Between",
    "MultiTaskClassifierCV",
    "MultiTaskClassifierIC",
    "MultiTaskModelCV",
    "MultiTaskModelIC",
    "MultiTaskRegressorCV",
    "MultiTaskRegressorIC",
    "RegularizationPath",
    "Tuned",
    "importance",
    "regularization_path",
    "tune",
    "variants",
]
