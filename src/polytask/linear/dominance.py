"""Which tasks the objective listens to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.training import encode_training
from polytask.data import TaskData
from polytask.linear.problem import Settings, build_problem


def gradient_shares(data: TaskData, outcomes: Outcomes, owner: str) -> NDArray[np.float64]:
    """Return the share of each task in the gradient of the data term at W = 0."""
    # Shapes: result (n_tasks,).
    # Features and targets are scaled and tasks weighted as the searching estimators do by
    # default. A task with more than half decides alone which features matter to all.
    encoded, _ = encode_training(data)
    settings = Settings(intercept="toward_mean", standardize=True, scale_targets="auto")
    problem = build_problem(encoded, outcomes, settings, owner)
    gradient = problem.datafit.origin.gradient
    norms = np.array([np.linalg.norm(gradient[:, part]) for part in problem.layout.slices])
    total = norms.sum()
    return norms / total if total > 0 else norms
