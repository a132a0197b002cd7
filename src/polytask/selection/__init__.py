"""Choosing penalty and strength: by cross-validation, or by a criterion without folds."""

from polytask._estimator.ranges import Between
from polytask.selection.calibrating import calibrate
from polytask.selection.estimators import (
    MultiTaskClassifierCV,
    MultiTaskClassifierIC,
    MultiTaskModelCV,
    MultiTaskModelIC,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
)
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
    "calibrate",
    "importance",
    "regularization_path",
    "tune",
    "variants",
]
