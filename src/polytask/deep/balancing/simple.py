"""Weights that are given, drawn, or a formula of the losses of one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polytask._checks import nonnegative, positive, sentence
from polytask._registry import saveable
from polytask.deep.balancing.base import State, Weighed, at_least_tiny, require_nonnegative
from polytask.exceptions import ParameterError


@saveable("deep.balancer.equal")
@dataclass(frozen=True)
class Equal:
    """Every task weighs 1: the plain sum, the default and the yardstick."""

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty state."""
        return State()

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return ones."""
        return torch.ones_like(losses), state


@saveable("deep.balancer.fixed")
@dataclass(frozen=True)
class Fixed:
    """Weights that are given, one for each task.

    Parameters
    ----------
    weights : sequence of float, of length n_tasks
        Weights in the order of the tasks, each finite and >= 0.
    """

    weights: Sequence[float]

    def __post_init__(self) -> None:
        checked = tuple(nonnegative(weight, "weights", "Fixed") for weight in self.weights)
        object.__setattr__(self, "weights", checked)

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return the weights as the state, so that the rows follow the tasks present."""
        if len(self.weights) != n_tasks:
            allowed = f"as many as there are tasks, {n_tasks}"
            raise ParameterError(sentence("weights", "Fixed", allowed, len(self.weights)))
        given = torch.tensor(self.weights, dtype=like.dtype, device=like.device)
        return State({"weights": given}, constant=True)

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the given weights of the tasks present."""
        return state.tasks["weights"].to(losses), state


@saveable("deep.balancer.geometric_mean")
@dataclass(frozen=True)
class GeometricMean:
    """Descend along the geometric mean of the losses, whatever their units.

    The weight of a task is the geometric mean divided by its loss (the gradient of the mean
    times the number of tasks). Negative losses are refused; a loss of zero counts as 1e-8 of
    the largest one.

    References
    ----------
    Chennupati et al. (2019), MultiNet++, equation 2.
    """

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty state."""
        return State()

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the geometric mean divided by each loss."""
        logs = at_least_tiny(require_nonnegative(losses, self)).log()
        return (logs.mean() - logs).exp(), state


@saveable("deep.balancer.random_weights")
@dataclass(frozen=True)
class RandomWeights:
    """Weights drawn anew at every step: k times the softmax of standard normal numbers.

    The losses do not matter, so zero and negative ones are as good as others.

    Parameters
    ----------
    seed : int, default=0
        Seed of the numbers; the generator is part of the state.

    References
    ----------
    Lin, Ye, Zhang and Tsang (2022), Reasonable effectiveness of random weighting, section 3.
    """

    seed: int = 0

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return the generator at its seed."""
        return State(common={"generator": seeded(self.seed)})

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Draw a weight for each task present."""
        generator = resumed(state)
        drawn = torch.randn(len(losses), generator=generator, dtype=torch.float64)
        weights = len(losses) * torch.softmax(drawn, dim=0)
        return weights.to(losses), State(common={"generator": generator.get_state()})


@saveable("deep.balancer.stch")
@dataclass(frozen=True)
class STCH:
    """Descend along a smooth maximum of the losses, so that the worst task counts most.

    The step follows ``mu log sum_t exp((loss_t - ideal) / (mu r_t))`` with r_t = 1, or the first
    loss that was seen of the task; weights are its derivatives times the number of tasks.
    Losses of any sign will do, unless they are relative: then they must not be negative, and a
    first loss of zero counts as 1e-8 of the largest one.

    Parameters
    ----------
    smoothing : float, default=1.0
        mu > 0; towards 0 only the worst task counts, at infinity all count alike.
    ideal : float, default=0.0
        What each loss could reach at best. It matters for relative losses only.
    relative : bool, default=False
        Whether losses are measured in units of the first one of their task.

    References
    ----------
    Lin, Zhang, Yang, Liu, Wang and Zhang (2024), Smooth Tchebycheff scalarization for
    multi-objective optimization, equation 6.
    """

    smoothing: float = 1.0
    ideal: float = 0.0
    relative: bool = False

    def __post_init__(self) -> None:
        positive(self.smoothing, "smoothing", "STCH")

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return zeros for first losses that have not been seen; nothing if none are needed."""
        return State({"first": like.new_zeros(n_tasks)}) if self.relative else State()

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the derivatives of the smooth maximum, times the number of tasks."""
        units = torch.ones_like(losses)
        if self.relative:
            seen = at_least_tiny(require_nonnegative(losses, self))
            units = torch.where(state.tasks["first"] > 0, state.tasks["first"].to(losses), seen)
            state = state.with_tasks(first=units)
        heights = (losses - self.ideal) / (self.smoothing * units)
        return len(losses) * torch.softmax(heights, dim=0) / units, state


def seeded(seed: int) -> Tensor:
    """Return the state of a generator on the host at its seed."""
    return torch.Generator().manual_seed(seed).get_state()


def resumed(state: State) -> torch.Generator:
    """Return the generator that a state holds."""
    generator = torch.Generator()
    generator.set_state(state.common["generator"].cpu())
    return generator
