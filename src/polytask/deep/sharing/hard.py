"""One trunk for all tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from polytask._checks import positive_integer
from polytask._registry import saveable
from polytask.deep.sharing.base import (
    Inputs,
    count_rows,
    every_task,
    leaves,
    representation,
    take,
    takes_task,
)


@final
@saveable("deep.sharing.hard")
@dataclass(frozen=True)
class Hard:
    """Hard sharing: the trunk itself, the same representation for every task [1]_.

    The default and the yardstick. It has the parameters of the trunk and no more, and takes any
    trunk, also one that cannot be copied. Not for tasks that need unlike features of the inputs:
    then one of the other structures may pay for its parameters.

    A trunk with the attribute ``takes_task = True`` is called with the task of each row as well,
    which is how task-specific batch norm gets it; the representation is then one for each task.

    References
    ----------
    .. [1] Caruana, R. (1997). Multitask learning. Machine Learning 28, 41-75.
    """

    def build(self, trunk: nn.Module, n_tasks: int) -> HardSharing:
        """Return the module that holds the trunk; see :class:`~polytask.deep.sharing.Sharing`."""
        return HardSharing(trunk, positive_integer(n_tasks, "n_tasks", "Hard"))


@final
class HardSharing(nn.Module):
    """Hard sharing, built."""

    def __init__(self, trunk: nn.Module, n_tasks: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.n_tasks = n_tasks
        self.shared_representation = not takes_task(trunk)

    def forward(self, x: Inputs, task: Tensor | None = None) -> Tensor:
        """Return the representation, (n, h), or (n, n_tasks, h) if it differs between tasks."""
        # Shapes: task (n,).
        n = count_rows(x)
        if self.shared_representation:
            return representation(self.trunk(x), n, self.trunk)
        if task is not None:
            return representation(self.trunk(x, task), n, self.trunk)
        rows, tasks = every_task(n, self.n_tasks, leaves(x)[0].device)
        features = self.trunk(take(x, rows), tasks)
        whole = representation(features, n * self.n_tasks, self.trunk)
        return torch.unflatten(whole, 0, (n, self.n_tasks))
