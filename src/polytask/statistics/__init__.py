"""Sufficient statistics of tasks as an object: collected, added, subtracted, saved, fitted."""

from polytask.statistics.fitting import fit_parts
from polytask.statistics.parts import collect_parts
from polytask.statistics.schema import Schema
from polytask.statistics.task_statistics import TaskStatistics, collect

__all__ = ["Schema", "TaskStatistics", "collect", "collect_parts", "fit_parts"]
