"""What a balancer is: weights from losses, the Gramian of task gradients, and a state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor

from polytask._checks import sentence
from polytask.exceptions import DataError


@dataclass(frozen=True)
class State:
    """What a balancer remembers between two steps.

    Parameters
    ----------
    tasks : mapping from str to Tensor of shape (n_tasks, ...), default={}
        Entries with a row for each task. A balancer sees the rows of the tasks that are
        present, the others stay as they are.
    common : mapping from str to Tensor, default={}
        Entries that concern all tasks.
    constant : bool, default=False
        Whether no step changes it, so that there is nothing to save.
    """

    tasks: Mapping[str, Tensor] = field(default_factory=dict)
    common: Mapping[str, Tensor] = field(default_factory=dict)
    constant: bool = False

    @property
    def remembers(self) -> bool:
        """Whether a step leaves something for the next one."""
        return not self.constant and bool(self.tasks or self.common)

    def of(self, present: Tensor) -> State:
        """Return the state of the tasks with the numbers `present`."""
        return replace(self, tasks={name: rows[present] for name, rows in self.tasks.items()})

    def merged(self, present: Tensor, after: State) -> State:
        """Return this state with the rows of the tasks `present` taken from `after`."""
        tasks = {
            name: rows.index_copy(0, present, after.tasks[name].to(rows))
            for name, rows in self.tasks.items()
        }
        return replace(after, tasks=tasks)

    def on(self, device: torch.device) -> State:
        """Return the state with the entries of the tasks on a device."""
        if all(rows.device == device for rows in self.tasks.values()):
            return self
        return replace(self, tasks={name: rows.to(device) for name, rows in self.tasks.items()})

    def with_tasks(self, **rows: Tensor) -> State:
        """Return the state with some entries of the tasks replaced."""
        return replace(self, tasks={**self.tasks, **rows})


Weighed = tuple[Tensor, State]


@runtime_checkable
class LossBalancer(Protocol):
    """A balancer that needs the losses only; its weights apply to all parameters."""

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return the state before the first step; an empty one if nothing is remembered.

        Parameters
        ----------
        n_tasks : int
            Number of tasks.
        like : Tensor
            A tensor whose dtype and device the state takes.
        """
        ...

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the weights and the next state.

        Parameters
        ----------
        losses : Tensor of shape (k,)
            Losses of the tasks present, detached and finite, k >= 1.
        state : State
            The state of these tasks.

        Returns
        -------
        tuple of Tensor of shape (k,) and State
            Weights, each 1 where the tasks are treated alike, and the state to go on with.
        """
        ...


@runtime_checkable
class GradientBalancer(Protocol):
    """A balancer that needs the Gramian of the task gradients.

    ``weighs_heads`` says whether the weights apply to the parameters that tasks do not share
    too; where it is False, those get the gradient of the plain sum.
    """

    weighs_heads: bool

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return the state before the first step; an empty one if nothing is remembered."""
        ...

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the weights and the next state.

        Parameters
        ----------
        losses : Tensor of shape (k,)
            Losses of the tasks present, detached and finite, k >= 1.
        gramian : Tensor of shape (k, k)
            Inner products of the gradients of these losses, finite.
        state : State
            The state of these tasks.

        Returns
        -------
        tuple of Tensor of shape (k,) and State
            Weights and the state to go on with.
        """
        ...


@runtime_checkable
class Observer(Protocol):
    """A balancer of losses that learns from what a step did to the losses of its batch."""

    def observe_losses(self, losses: Tensor, state: State) -> State:
        """Return the next state.

        Parameters
        ----------
        losses : Tensor of shape (k,)
            Losses of the tasks present in the last batch, after the step.
        state : State
            The state of these tasks.
        """
        ...


AnyBalancer = LossBalancer | GradientBalancer


def weighs_losses(balancer: object) -> TypeGuard[LossBalancer]:
    """Say whether a balancer needs the losses only."""
    return hasattr(type(balancer), "weigh_losses")


def weighs_gradients(balancer: object) -> TypeGuard[GradientBalancer]:
    """Say whether a balancer needs the Gramian; a look at the type, for steps are short."""
    return hasattr(type(balancer), "weigh_gradients")


def require_nonnegative(losses: Tensor, owner: object) -> Tensor:
    """Return the losses, or raise :class:`DataError` if one is negative."""
    if bool((losses < 0).any()):
        at = ", ".join(str(i) for i in torch.nonzero(losses < 0).flatten().tolist())
        name = type(owner).__name__
        got = f"{float(losses.min()):.6g}"
        raise DataError(sentence("losses", name, "zero or more", got, f"positions {at}"))
    return losses


def at_least_tiny(losses: Tensor) -> Tensor:
    """Return losses that can be divided by: none under 1e-8 of the largest."""
    tiny = torch.finfo(losses.dtype).tiny
    return losses.clamp_min(1e-8 * float(losses.max())).clamp_min(tiny**0.5)


def seeded(seed: int) -> Tensor:
    """Return the state of a generator on the host at its seed."""
    return torch.Generator().manual_seed(seed).get_state()


def resumed(state: State) -> torch.Generator:
    """Return the generator that a state holds."""
    generator = torch.Generator()
    generator.set_state(state.common["generator"].cpu())
    return generator
