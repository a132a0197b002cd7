"""Weights that are learned from losses or gradient norms while the network trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from polytask._checks import nonnegative, positive, positive_integer, sentence
from polytask._registry import saveable
from polytask.deep.balancing.base import State, Weighed, at_least_tiny, require_nonnegative
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage

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


# Learned logarithms of weights stay within this distance of 0: weights from 5e-5 to 2e4.
LARGEST_LOG = 10.0


@saveable("deep.balancer.uncertainty")
@dataclass(frozen=True)
class Uncertainty:
    """Each loss divided by the noise variance of its task, which is learned.

    The likelihood of a task with log variance s is ``exp(-s) loss + s / 2`` for a loss that is
    a negative log likelihood at variance 1: half the squared error, as
    :class:`polytask.losses.Squared` has it, or a cross entropy. For a squared error without
    the half it is ``exp(-s) loss / 2 + s / 2``. The log variances are part of the state, and
    take a step of Adam of their own, so that no optimiser has to know them. Negative losses
    are refused; a loss of zero lowers its variance like any small one, down to exp(-10).

    Parameters
    ----------
    learning_rate : float, default=0.01
        Length of the steps.
    squared_error : bool or sequence of bool, default=False
        Whether losses are squared errors without the half, for all tasks or each.

    References
    ----------
    Kendall, Gal and Cipolla (2018), Multi-task learning using uncertainty to weigh losses,
    equations 7 and 10.
    """

    learning_rate: float = 0.01
    squared_error: bool | Sequence[bool] = False

    def __post_init__(self) -> None:
        positive(self.learning_rate, "learning_rate", "Uncertainty")
        if not isinstance(self.squared_error, bool):
            object.__setattr__(self, "squared_error", tuple(map(bool, self.squared_error)))

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return variances of 1."""
        given = self.squared_error
        halves = [given] * n_tasks if isinstance(given, bool) else list(given)
        if len(halves) != n_tasks:
            allowed = LazyMessage("allowed.as_many_as_tasks", {"count": n_tasks})
            raise ParameterError(sentence("squared_error", "Uncertainty", allowed, len(halves)))
        factors = like.new_tensor([0.5 if half else 1.0 for half in halves])
        return State({**start_adam(like.new_zeros(n_tasks)), "factor": factors})

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the inverse variances, and go one step towards the likeliest ones."""
        require_nonnegative(losses, self)
        factors = state.tasks["factor"].to(losses)
        weights = factors * torch.exp(-state.tasks["value"].to(losses))
        return weights, _within(adam_step(state, 0.5 - weights * losses, self.learning_rate))


@saveable("deep.balancer.imtl_l")
@dataclass(frozen=True)
class IMTLL:
    """Losses brought to the same size: the loss-balancing half of IMTL.

    Each weight is exp(s) with ``exp(s) loss - s`` minimised in s, by steps of Adam that belong
    to the state; at the minimum every weighted loss is 1. Negative losses are refused; a loss
    of zero raises its weight like any small one, up to exp(10).

    Parameters
    ----------
    learning_rate : float, default=0.01
        Length of the steps.

    References
    ----------
    Liu, Li, Kuang, Xue, Chen, Yang, Liao and Zhang (2021), Towards impartial multi-task
    learning, equation 5.
    """

    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        positive(self.learning_rate, "learning_rate", "IMTLL")

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return weights of 1."""
        return State(start_adam(like.new_zeros(n_tasks)))

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the weights, and go one step towards equal losses."""
        require_nonnegative(losses, self)
        weights = torch.exp(state.tasks["value"].to(losses))
        return weights, _within(adam_step(state, weights * losses - 1, self.learning_rate))


def _within(state: State) -> State:
    """Keep the learned logarithms within their bounds."""
    return state.with_tasks(value=state.tasks["value"].clamp(-LARGEST_LOG, LARGEST_LOG))


@saveable("deep.balancer.dwa")
@dataclass(frozen=True)
class DWA:
    """More weight for losses that fall slowly: dynamic weight average.

    The weight is k times the softmax of the ratio of the mean losses of the two last periods
    of a task, divided by the temperature. A period is a number of batches in which the task is
    present; before two of them are over its ratio counts as 1. Negative losses are refused;
    means of zero count as a tiny number.

    Parameters
    ----------
    temperature : float, default=2.0
        Larger values make the weights more equal.
    period : int, default=100
        Batches of a period; the paper takes an epoch.

    References
    ----------
    Liu, Johns and Davison (2019), End-to-end multi-task learning with attention, equation 7.
    """

    temperature: float = 2.0
    period: int = 100

    def __post_init__(self) -> None:
        positive(self.temperature, "temperature", "DWA")
        positive_integer(self.period, "period", "DWA")

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty history."""
        names = ("sum", "batches", "periods", "last", "before")
        return State({name: like.new_zeros(n_tasks) for name in names})

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the weights, and add the losses to the history."""
        require_nonnegative(losses, self)
        old = {name: rows.to(losses) for name, rows in state.tasks.items()}
        tiny = torch.finfo(losses.dtype).tiny ** 0.5
        falls = old["last"].clamp_min(tiny) / old["before"].clamp_min(tiny)
        ratios = torch.where(old["periods"] >= 2, falls, 1.0)
        weights = len(losses) * torch.softmax(ratios / self.temperature, dim=0)
        total, batches = old["sum"] + losses, old["batches"] + 1
        over = batches >= self.period
        return weights, state.with_tasks(
            sum=torch.where(over, 0.0, total),
            batches=torch.where(over, 0.0, batches),
            periods=old["periods"] + over,
            last=torch.where(over, total / batches, old["last"]),
            before=torch.where(over, old["last"], old["before"]),
        )


@saveable("deep.balancer.famo")
@dataclass(frozen=True)
class FAMO:
    """Losses that fall at the same relative rate, learned from how they fell.

    Weights are proportional to ``softmax(z)_t / loss_t`` and sum to k; after a step z moves
    against the change of log losses that the step brought. ``StatefulBalancer.observe`` takes the
    losses of the same batch after the step, which is the published method and costs another
    forward pass; without it the next batch in which a task is present serves for that, at no
    cost. Negative losses are refused; a loss of zero counts as 1e-8 of the largest one.

    Parameters
    ----------
    learning_rate : float, default=0.025
        Length of the steps of Adam on z.
    decay : float, default=0.001
        Pull of z towards 0.

    References
    ----------
    Liu, Feng, Stone and Liu (2023), FAMO: fast adaptive multitask optimization, algorithm 1.
    """

    learning_rate: float = 0.025
    decay: float = 0.001

    def __post_init__(self) -> None:
        positive(self.learning_rate, "learning_rate", "FAMO")
        nonnegative(self.decay, "decay", "FAMO")

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return equal logits, and nothing to compare with."""
        zeros = like.new_zeros(n_tasks)
        return State({**start_adam(zeros), "log_loss": zeros, "waiting": zeros})

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Learn from the last step where that is still due, and return the weights."""
        state = self.observe_losses(losses, state)
        logs = at_least_tiny(require_nonnegative(losses, self)).log()
        shares = torch.softmax(state.tasks["value"].to(losses) - logs, dim=0)
        noted = state.with_tasks(log_loss=logs, waiting=torch.ones_like(logs))
        return len(losses) * shares, noted

    def observe_losses(self, losses: Tensor, state: State) -> State:
        """Move the logits against the relative fall of the losses since the last step."""
        logs = at_least_tiny(require_nonnegative(losses, self)).log()
        old = {name: rows.to(losses) for name, rows in state.tasks.items()}
        waiting = old["waiting"] > 0
        fall = torch.where(waiting, old["log_loss"] - logs, 0.0)
        shares = torch.softmax(old["value"].masked_fill(~waiting, -torch.inf), dim=0).nan_to_num()
        gradient = shares * (fall - (shares * fall).sum()) + self.decay * old["value"]
        moved = adam_step(state, gradient, self.learning_rate, waiting)
        return moved.with_tasks(waiting=torch.zeros_like(logs))


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


@saveable("deep.balancer.auto_lambda")
@dataclass(frozen=True)
class AutoLambda:
    """Weights under which a step of training lowers the loss of held-out rows.

    Before each step the weights move, by a step of Adam, against the gradient of the held-out
    loss of the primary tasks after a trial step; they are then scaled to the sum k. A task
    whose gradient points away from what helps the primary ones loses weight. Two more passes
    through the training batch and two through a held-out one in every step, and the rows that
    weights learn from no longer judge quite fairly when to stop. Where tasks are all primary
    and alike, weights stay near 1.

    Parameters
    ----------
    primary : sequence of int, default=None
        Numbers of the tasks whose held-out loss counts; None: all.
    learning_rate : float, default=0.005
        Length of the steps.

    Notes
    -----
    The paper finds the gradient by a difference of losses; here it is exact, so that dropout
    does not disturb it. The paper leaves the scale of the weights free.

    References
    ----------
    Liu, James, Davison and Johns (2022), Auto-Lambda: disentangling dynamic task relationships,
    equations 3 to 6.
    """

    primary: Sequence[int] | None = None
    learning_rate: float = 0.005

    def __post_init__(self) -> None:
        positive(self.learning_rate, "learning_rate", "AutoLambda")
        if self.primary is not None:
            object.__setattr__(self, "primary", tuple(map(int, self.primary)))

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return weights of 1."""
        return State(start_adam(like.new_ones(n_tasks)))

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the weights."""
        return _scaled(state.tasks["value"].to(losses)), state

    def validation_weights(self, n_tasks: int, like: Tensor) -> Tensor:
        """Return 1 for the primary tasks, 0 for others."""
        if self.primary is None:
            return like.new_ones(n_tasks)
        if not self.primary or not all(0 <= task < n_tasks for task in self.primary):
            allowed = LazyMessage("allowed.numbers_of_tasks", {"last": n_tasks - 1})
            raise ParameterError(sentence("primary", "AutoLambda", allowed, list(self.primary)))
        found = like.new_zeros(n_tasks)
        found[list(self.primary)] = 1.0
        return found

    def observe_validation(self, slopes: Tensor, state: State) -> State:
        """Move the weights against the slopes of the held-out loss."""
        moved = adam_step(state, slopes, self.learning_rate)
        return moved.with_tasks(value=_scaled(moved.tasks["value"].clamp_min(SMALLEST_WEIGHT)))


def _scaled(weights: Tensor) -> Tensor:
    """Return the weights with a mean of 1."""
    return weights / weights.mean()
