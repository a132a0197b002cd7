"""Comparison of separate, pooled and multi-task models."""

from polytask.comparison.api import compare
from polytask.comparison.result import Comparison

__all__ = ["Comparison", "compare"]
