"""Additions of low rank to a trunk that stays as it is, for all tasks and for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import final

import torch
from torch import Tensor, nn

from polytask._checks import positive_integer
from polytask._registry import saveable
from polytask.deep.regularise.matrices import COLUMN_PER_COPY
from polytask.deep.sharing.base import (
    Inputs,
    OwnRepresentations,
    checked,
    copied,
    count_rows,
    every_task,
    leaves,
    representation,
    take,
)
from polytask.deep.sharing.trunks import Hard, HardSharing
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage


@final
@saveable("deep.sharing.lora")
@dataclass(frozen=True)
class LoRA:
    """The trunk as it is, with additions of low rank to its linear layers [1]_.

    The weight W of a layer becomes W + B A, for all tasks, plus B_t A_t for task t. The trunk
    itself does not learn. B and B_t begin at 0, so that it starts as hard sharing.

    Learned are rank * (inputs + outputs) numbers for each layer, for the task ranks once for
    each task. For pre-trained trunks, and tasks too small to change all of one; not for a trunk
    with weights just drawn. Rows of an unseen task get the mean of the representations for all
    tasks. With a task rank, and all tasks on every row, the trunk runs once for each task.

    Parameters
    ----------
    task_rank : int or None, default=4
        The rank of what each task has of its own; None: nothing.
    shared_rank : int or None, default=None
        The rank of what all tasks share; None: nothing.
    layers : sequence of str, default=("*",)
        Names or patterns of the nn.Linear layers, such as ``"*query"``. Layers whose weights
        other modules read (in torch's own attention and ``nn.TransformerEncoderLayer``) are
        left as they are.

    References
    ----------
    .. [1] Hu, E. et al. (2022). LoRA: low-rank adaptation of large language models. ICLR,
       section 4.1.
    """

    task_rank: int | None = 4
    shared_rank: int | None = None
    layers: Sequence[str] = ("*",)

    def __post_init__(self) -> None:
        if self.task_rank is None and self.shared_rank is None:
            raise ParameterError(LazyMessage("deep.refusal.lora_ranks"))
        for name in ("task_rank", "shared_rank"):
            if getattr(self, name) is not None:
                positive_integer(getattr(self, name), name, "LoRA")

    def build(self, trunk: nn.Module, n_tasks: int) -> LoRASharing | HardSharing:
        """Return the module that holds the trunk; see :class:`~polytask.deep.sharing.Sharing`."""
        count = checked(trunk, n_tasks, "LoRA")
        own = copied(trunk).requires_grad_(False)
        rows = _TaskOfRows()
        found = [
            (host, key, layer)
            for name, host in own.named_modules()
            if not isinstance(host, nn.TransformerEncoderLayer)
            for key, layer in host.named_children()
            if type(layer) is nn.Linear and self._chosen(f"{name}.{key}" if name else key)
        ]
        if type(own) is nn.Linear and self._chosen(""):
            own = _LowRank(own, count, self.task_rank, self.shared_rank, rows)
        elif not found:
            fields = {"layers": list(map(repr, self.layers)), "trunk": type(trunk).__name__}
            raise IncompatibleError(LazyMessage("deep.refusal.lora_layers", fields))
        for host, key, layer in found:
            setattr(host, key, _LowRank(layer, count, self.task_rank, self.shared_rank, rows))
        return (
            Hard().build(own, count) if self.task_rank is None else LoRASharing(own, count, rows)
        )

    def _chosen(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.layers)


class _TaskOfRows:
    """The task of each row of the call that runs; layers below are not told it."""

    task: Tensor = torch.zeros(0, dtype=torch.long)


class _LowRank(nn.Module):
    """A linear layer with its additions. Shapes: right (rank, in), left (out, rank)."""

    # Those of tasks have an axis of tasks before these.
    shared_right: nn.Parameter | None
    shared_left: nn.Parameter | None
    task_right: nn.Parameter | None
    task_left: nn.Parameter | None

    def __init__(
        self,
        layer: nn.Linear,
        n_tasks: int,
        task_rank: int | None,
        shared_rank: int | None,
        rows: _TaskOfRows,
    ) -> None:
        super().__init__()
        self.layer, self._rows = layer, rows
        # For penalties: a column for each task.
        self.layouts = {name: COLUMN_PER_COPY for name in ("task_right", "task_left")}
        like = layer.weight.detach()
        for name, rank, copies in (
            ("shared", shared_rank, ()),
            ("task", task_rank, (n_tasks,)),
        ):
            right, left = None, None
            if rank is not None:
                drawn = torch.randn(*copies, rank, layer.in_features)
                right = nn.Parameter(drawn.to(like) / math.sqrt(layer.in_features))
                left = nn.Parameter(like.new_zeros(*copies, layer.out_features, rank))
            self.register_parameter(f"{name}_right", right)
            self.register_parameter(f"{name}_left", left)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs. Shapes: x (n, ..., in), result (n, ..., out)."""
        found: Tensor = self.layer(x)
        if self.shared_left is not None and self.shared_right is not None:
            found = found + x @ self.shared_right.T @ self.shared_left.T
        if self.task_left is None or self.task_right is None:
            return found
        task = self._rows.task
        if len(x) != len(task):
            fields = {"count": len(task), "got": len(x)}
            raise IncompatibleError(LazyMessage("deep.refusal.lora_rows", fields))
        inner = torch.einsum("n...i,nri->n...r", x, self.task_right[task])
        return found + torch.einsum("n...r,nor->n...o", inner, self.task_left[task])


@final
class LoRASharing(OwnRepresentations):
    """Additions for each task, built."""

    def __init__(self, trunk: nn.Module, n_tasks: int, rows: _TaskOfRows) -> None:
        super().__init__()
        self.trunk = trunk
        self.n_tasks = n_tasks
        self._rows = rows

    def _every(self, x: Inputs) -> Tensor:
        n = count_rows(x)
        rows, tasks = every_task(n, self.n_tasks, leaves(x)[0].device)
        return torch.unflatten(self._own(take(x, rows), tasks), 0, (n, self.n_tasks))

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        self._rows.task = task
        return representation(self.trunk(x), len(task), self.trunk)
