"""New rows against those that a model was fitted on: what to do first, and for each task."""

from polytask.monitoring.api import monitor
from polytask.monitoring.records import Gain, NewLevels, Shift, TaskState
from polytask.monitoring.result import Monitoring

__all__ = ["Gain", "Monitoring", "NewLevels", "Shift", "TaskState", "monitor"]
