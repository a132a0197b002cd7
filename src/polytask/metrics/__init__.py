"""Scores per task."""

from polytask.metrics.scores import TaskScores, accuracy, d2, r2, scores_by_task

__all__ = ["TaskScores", "accuracy", "d2", "r2", "scores_by_task"]
