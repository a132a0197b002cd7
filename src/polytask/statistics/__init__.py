"""Sufficient statistics of tasks as an object: collect, merge, subtract, save, and fit from them."""

from polytask.statistics.task_statistics import TaskStatistics, collect

__all__ = ["TaskStatistics", "collect"]
