"""Comparison of separate, pooled and multi-task models."""

from polytask.analysis._compare import compare
from polytask.analysis.result import Comparison

__all__ = ["Comparison", "compare"]
