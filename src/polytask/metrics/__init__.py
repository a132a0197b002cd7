"""Scores per task, and a scorer for scikit-learn's cross-validation."""

from polytask.metrics.scorer import TaskScorer, task_scorer
from polytask.metrics.scores import TaskScores, accuracy, d2, r2, scores_by_task

__all__ = ["TaskScorer", "TaskScores", "accuracy", "d2", "r2", "scores_by_task", "task_scorer"]
