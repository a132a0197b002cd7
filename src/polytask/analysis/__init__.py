"""Comparison of separate, pooled and multi-task models; relatedness of tasks."""

from polytask.analysis._compare import compare
from polytask.analysis._relatedness import Relatedness, relatedness
from polytask.analysis.result import Comparison

__all__ = ["Comparison", "Relatedness", "compare", "relatedness"]
