"""Scores per task and over tasks, and a scorer for scikit-learn's cross-validation."""

from polytask.metrics.catalogue import METRICS, Metric
from polytask.metrics.evaluation import Evaluation, default_metrics, evaluate
from polytask.metrics.groups import errors_by_group
from polytask.metrics.held_out import HeldOut
from polytask.metrics.relative import RelativeGain, relative_gain
from polytask.metrics.scorer import TaskScorer, task_scorer
from polytask.metrics.scores import TaskScores, accuracy, d2, r2, scores_by_task

__all__ = [
    "HeldOut",
    "evaluate",
    "Evaluation",
    "default_metrics",
    "errors_by_group",
    "METRICS",
    "Metric",
    "relative_gain",
    "RelativeGain",
    "TaskScorer",
    "TaskScores",
    "accuracy",
    "d2",
    "r2",
    "scores_by_task",
    "task_scorer",
]
