"""GradNorm: gradients of sizes that follow how much each task still has to learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from polytask._checks import nonnegative, positive
from polytask._registry import saveable
from polytask.deep.balancing._adam import adam_step, start_adam
from polytask.deep.balancing.base import State, Weighed, at_least_tiny, require_nonnegative

# Learned weights stay above this, so that no task is lost for good.
SMALLEST_WEIGHT = 1e-3


@saveable("deep.balancer.gradnorm")
@dataclass(frozen=True)
class GradNorm:
    """Learn weights under which gradients have sizes that follow the training rates.

    The target of the size of a task's weighted gradient is the mean size times ``r_t ** alpha``,
    where r_t is the task's loss relative to its own first loss, divided by the mean of that over
    the tasks present. Weights move against the distance from the target by a step of Adam, and
    are then scaled to the sum k; they apply to all parameters, as published. Negative losses are
    refused; a first loss of zero counts as 1e-8 of the largest one.

    Parameters
    ----------
    alpha : float, default=1.5
        How much slower tasks are pushed; 0 makes all sizes equal.
    learning_rate : float, default=0.025
        Length of the steps.

    References
    ----------
    Chen, Badrinarayanan, Lee and Rabinovich (2018), GradNorm, equations 1 and 2, algorithm 1.
    """

    alpha: float = 1.5
    learning_rate: float = 0.025
    weighs_heads: ClassVar[bool] = True

    def __post_init__(self) -> None:
        nonnegative(self.alpha, "alpha", "GradNorm")
        positive(self.learning_rate, "learning_rate", "GradNorm")

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return weights of 1, and first losses that have not been seen."""
        learned = start_adam(like.new_ones(n_tasks))
        return State({**learned, "first": like.new_zeros(n_tasks)})

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the weights, and go one step towards the target sizes."""
        seen = at_least_tiny(require_nonnegative(losses, self))
        first = state.tasks["first"].to(losses)
        first = torch.where(first > 0, first, seen)
        weights = _scaled(state.tasks["value"].to(losses))
        lengths = gramian.diagonal().clamp_min(0.0).sqrt().to(losses)
        rates = losses / first
        rates = rates / at_least_tiny(rates.mean())
        targets = (weights * lengths).mean() * rates**self.alpha
        gradient = lengths * torch.sign(weights * lengths - targets)
        after = state.with_tasks(value=weights, first=first)
        moved = adam_step(after, gradient, self.learning_rate)
        value = _scaled(moved.tasks["value"].clamp_min(SMALLEST_WEIGHT))
        return weights, moved.with_tasks(value=value)


def _scaled(weights: Tensor) -> Tensor:
    """Return the weights with a mean of 1."""
    return weights / weights.mean()
