"""What a way of sharing is, and what every built one checks."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from polytask._checks import positive_integer, sentence
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage

# A tensor, or a dictionary, list or tuple of inputs; the first axis counts the rows.
Inputs = Tensor | dict[str, "Inputs"] | list["Inputs"] | tuple["Inputs", ...] | None


@runtime_checkable
class Sharing(Protocol):
    """A description of how tasks share a trunk; small, immutable, without weights."""

    def build(self, trunk: nn.Module, n_tasks: int) -> nn.Module:
        """Return the module that maps inputs to one representation for each task.

        Parameters
        ----------
        trunk : nn.Module
            From inputs to a representation of shape (n, h). What the module needs several of is
            copied from it.
        n_tasks : int
            The number of tasks.

        Returns
        -------
        nn.Module
            Its call takes inputs and the task of each row, a LongTensor of shape (n,) with -1
            for a task that was not there in training, and returns (n, h); or inputs and None,
            and returns the representations for all tasks: (n, h) if its attribute
            `shared_representation` is True, else (n, n_tasks, h). It may bring penalties of its
            own along with ``penalty_terms()``.
        """
        ...


def leaves(x: Inputs) -> list[Tensor]:
    """Return the tensors in inputs."""
    if isinstance(x, Tensor):
        return [x]
    if x is None:
        return []
    members = x.values() if isinstance(x, dict) else x
    return [leaf for member in members for leaf in leaves(member)]


def count_rows(x: Inputs) -> int:
    """Return the number of rows of inputs."""
    found = leaves(x)
    if not found:
        raise IncompatibleError(LazyMessage("deep.refusal.no_tensor"))
    return len(found[0])


def take(x: Inputs, rows: Tensor) -> Inputs:
    """Return some rows of inputs; what is None (an input that is missing) stays None."""
    if isinstance(x, Tensor):
        return x[rows]
    if isinstance(x, dict):
        return {name: take(member, rows) for name, member in x.items()}
    return None if x is None else type(x)(take(member, rows) for member in x)


def representation(features: object, n: int, trunk: nn.Module) -> Tensor:
    """Return what a trunk gave if it is of shape (n, h), or raise."""
    if isinstance(features, Tensor) and features.ndim == 2 and len(features) == n:
        return features
    got = str(tuple(features.shape)) if isinstance(features, Tensor) else type(features).__name__
    fields = {"trunk": type(trunk).__name__, "shape": f"({n}, h)", "got": got}
    raise IncompatibleError(LazyMessage("deep.refusal.output", fields))


def copied(trunk: nn.Module) -> nn.Module:
    """Return a copy of a trunk with the same weights, or raise."""
    try:
        return copy.deepcopy(trunk)
    except Exception as error:
        fields = {"trunk": type(trunk).__name__, "error": str(error)}
        raise IncompatibleError(LazyMessage("deep.refusal.not_copied", fields)) from error


def redrawn(trunk: nn.Module) -> nn.Module:
    """Return a copy of a trunk with weights drawn anew, or raise."""
    fresh = copied(trunk)
    for name, module in fresh.named_modules():
        reset = getattr(module, "reset_parameters", None) or getattr(
            module, "_reset_parameters", None
        )
        if callable(reset):
            reset()
        elif next(module.parameters(recurse=False), None) is not None:
            part = f"{type(module).__name__} {name!r}" if name else type(module).__name__
            fields = {"trunk": type(trunk).__name__, "part": part}
            raise IncompatibleError(LazyMessage("deep.refusal.not_redrawn", fields))
    return fresh


def takes_task(trunk: nn.Module) -> bool:
    """Tell whether a trunk wants the task of each row as well, by its attribute `takes_task`."""
    return bool(getattr(trunk, "takes_task", False))


def checked(trunk: nn.Module, n_tasks: int, owner: str) -> int:
    """Return the number of tasks; refuse a trunk that treats them differently by itself."""
    if takes_task(trunk):
        raise IncompatibleError(LazyMessage("deep.refusal.takes_task", {"owner": owner}))
    return positive_integer(n_tasks, "n_tasks", owner)


def required_width(width: int | None, owner: str) -> int:
    """Return the width of a representation, which is given where a trunk does not tell it."""
    if width is None:
        raise ParameterError(sentence("width", owner, LazyMessage("allowed.width"), None))
    return positive_integer(width, "width", owner)


def every_task(n: int, n_tasks: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return rows and tasks, each of shape (n * n_tasks,), for n rows with every task."""
    rows = torch.arange(n, device=device).repeat_interleave(n_tasks)
    return rows, torch.arange(n_tasks, device=device).repeat(n)


def served(
    x: Inputs,
    task: Tensor,
    own: Callable[[Inputs, Tensor], Tensor],
    every: Callable[[Inputs], Tensor],
) -> Tensor:
    """Return the representation of each row: by its task, or for an unseen task by all."""
    # Shapes: task (n,), result (n, h).
    unseen = task < 0
    if not bool(unseen.any()):
        return own(x, task)
    strangers, known = unseen.nonzero()[:, 0], (~unseen).nonzero()[:, 0]
    parts = [every(take(x, strangers)).mean(1)]
    if len(known):
        parts.append(own(take(x, known), task[known]))
    whole = torch.cat(parts)
    return torch.empty_like(whole).index_copy(0, torch.cat([strangers, known]), whole)


class OwnRepresentations(nn.Module, ABC):
    """A built way of sharing that gives each task a representation of its own."""

    shared_representation = False

    def forward(self, x: Inputs, task: Tensor | None = None) -> Tensor:
        """Return the representation of every row for its task, (n, h), or (n, n_tasks, h)."""
        # Shapes: task (n,).
        return self._every(x) if task is None else served(x, task, self._own, self._every)

    @property
    def batched(self) -> bool:
        """Whether copies of the trunk are one batched computation."""
        return all(getattr(part, "stacks", True) for part in self.modules())

    @abstractmethod
    def _every(self, x: Inputs) -> Tensor:
        """Return the representations for all tasks, (n, n_tasks, h)."""

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        """Return the representation of every row for its task, (n, h)."""
        return self._every(x)[torch.arange(len(task), device=task.device), task]
