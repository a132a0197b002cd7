"""Fitted models for other programs: ONNX, MLflow and scikit-learn."""

from __future__ import annotations

from polytask.export.inputs import onnx_inputs
from polytask.export.onnx_file import to_onnx
from polytask.export.served import log_mlflow
from polytask.export.single_task import to_sklearn

__all__ = ["to_onnx", "onnx_inputs", "log_mlflow", "to_sklearn"]
