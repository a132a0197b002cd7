"""Adam's step on numbers of tasks, each with a step count of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.deep.balancing.base import State

# The constants of Kingma and Ba (2015), algorithm 1.
DECAY_MEAN, DECAY_SQUARE, EPSILON = 0.9, 0.999, 1e-8


def start_adam(value: Tensor) -> dict[str, Tensor]:
    """Return the entries of a state that learns `value` (n_tasks,)."""
    zeros = torch.zeros_like(value)
    return {"value": value, "mean": zeros, "square": zeros, "steps": zeros}


def adam_step(
    state: State, gradient: Tensor, learning_rate: float, learns: Tensor | None = None
) -> State:
    """Take one step against `gradient`. Shapes: gradient (k,), learns (k,)."""
    old = {name: state.tasks[name].to(gradient) for name in ("value", "mean", "square", "steps")}
    steps = old["steps"] + 1
    mean = DECAY_MEAN * old["mean"] + (1 - DECAY_MEAN) * gradient
    square = DECAY_SQUARE * old["square"] + (1 - DECAY_SQUARE) * gradient.square()
    size = (square / (1 - DECAY_SQUARE**steps)).sqrt() + EPSILON
    value = old["value"] - learning_rate * mean / (1 - DECAY_MEAN**steps) / size
    new = {"value": value, "mean": mean, "square": square, "steps": steps}
    if learns is not None:
        new = {name: torch.where(learns, new[name], old[name]) for name in new}
    return state.with_tasks(**new)
