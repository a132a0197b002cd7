"""Comparison of separate, pooled and multi-task models; relatedness of tasks."""

from polytask.analysis._compare import compare
from polytask.analysis._related_result import Relatedness
from polytask.analysis._relatedness import relatedness
from polytask.analysis.result import Comparison

__all__ = ["Comparison", "Relatedness", "compare", "relatedness"]
