"""Predictions taken apart into contributions of columns, those of all tasks and of the own."""

from polytask.explanation.api import explain
from polytask.explanation.arrays import ArrayFunction
from polytask.explanation.result import Explanation

__all__ = ["ArrayFunction", "Explanation", "explain"]
