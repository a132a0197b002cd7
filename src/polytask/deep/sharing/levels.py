"""Progressive layered extraction: mixtures of experts one above the other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from polytask._checks import positive_integer, sentence
from polytask._registry import saveable
from polytask.deep.regularise.names import input_layers
from polytask.deep.sharing.base import Inputs, refuse_task, served
from polytask.deep.sharing.copies import Copies
from polytask.deep.sharing.experts import draw_experts, draw_gates, mixed_own
from polytask.deep.sharing.stages import first_width, stages_of
from polytask.exceptions import IncompatibleError


@final
@saveable("deep.sharing.ple")
@dataclass(frozen=True)
class PLE:
    """Progressive layered extraction: :class:`CGC` in several levels, each a part of the trunk.

    In each level the shared experts read what all experts below gave, mixed by a shared gate,
    and the experts of a task what its own gate mixed; the last level gives the representation
    for each task [1]_. The trunk is cut into levels of as equal numbers of layers as possible.

    n_shared + n_tasks * n_own times the parameters of the trunk, plus the gates; every row goes
    through all experts, since the shared gates mix those of all tasks. Not for many tasks. Rows
    of an unseen task get the mean of the representations for all tasks.

    Parameters
    ----------
    n_shared : int, default=1
        The number of shared experts in a level, >= 1.
    n_own : int, default=1
        The number of experts of each task in a level, >= 1.
    n_levels : int, default=2
        The number of levels, >= 1; 1 is CGC.

    References
    ----------
    .. [1] Tang, H., Liu, J., Zhao, M. and Gong, X. (2020). Progressive layered extraction (PLE):
       a novel multi-task learning model for personalized recommendations. RecSys, 269-278,
       Section 4.2.
    """

    n_shared: int = 1
    n_own: int = 1
    n_levels: int = 2

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("n_shared", "n_own", "n_levels"):
            positive_integer(getattr(self, name), name, "PLE")

    def build(self, trunk: nn.Module, n_tasks: int) -> LevelledExperts:
        """Return the module with the levels.

        Raises
        ------
        IncompatibleError
            If the trunk cannot be cut into the levels.
        """
        refuse_task(trunk, "PLE")
        count = positive_integer(n_tasks, "n_tasks", "PLE")
        parts = self._parts(trunk)
        levels = [self._level(part, count, last=part is parts[-1]) for part in parts]
        return LevelledExperts(levels, count)

    def _parts(self, trunk: nn.Module) -> list[nn.Module]:
        """Return the trunk cut into levels that begin with a linear layer."""
        stages = stages_of(trunk)
        cuts = [round(k * len(stages) / self.n_levels) for k in range(self.n_levels + 1)]
        pairs = itertools.pairwise(cuts)
        parts: list[nn.Module] = [nn.Sequential(*stages[a:b]) for a, b in pairs]
        if any(first_width(part) is None for part in parts):
            allowed = f"an nn.Sequential with at least {self.n_levels} linear layers"
            got = f"{type(trunk).__name__} with {len(stages)} stages"
            raise IncompatibleError(sentence("The trunk", "PLE", allowed, got))
        return parts

    def _level(self, part: nn.Module, n_tasks: int, last: bool) -> Level:
        width = first_width(part) or 0
        shared = draw_experts(part, self.n_shared)
        own = draw_experts(part, self.n_own * n_tasks, first=False)
        gates = draw_gates(width, self.n_shared + self.n_own, n_tasks)
        everything = None if last else draw_gates(width, shared.n_copies + own.n_copies, 1)
        return Level(shared, own, gates, everything)


@final
class Level(nn.Module):
    """One level of progressive layered extraction."""

    def __init__(
        self, shared: Copies, own: Copies, gates: Copies, shared_gate: Copies | None
    ) -> None:
        super().__init__()
        self.shared, self.own = shared, own
        self.gates, self.shared_gate = gates, shared_gate

    def input_layers(self) -> list[nn.Module]:
        """Return the layers that read what comes from below."""
        inner = (self.shared, self.own, self.gates, self.shared_gate)
        return [layer for part in inner if part is not None for layer in input_layers(part)]

    def forward(self, common: Tensor, by_task: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the shared representation and that for each task."""
        # Shapes: common (n, width), by_task (n_tasks, n, width).
        n_own = self.own.n_copies // self.gates.n_copies
        shared = self.shared(common)
        if by_task is None:
            own, logits = self.own(common), self.gates(common)
        else:
            own = self.own.each(by_task.repeat_interleave(n_own, dim=0))
            logits = self.gates.each(by_task)
        of_shared, of_own = torch.split(logits.softmax(-1), [len(shared), n_own], dim=-1)
        tasks = torch.einsum("tns,snh->tnh", of_shared, shared) + mixed_own(of_own, own)
        if self.shared_gate is None:
            return common, tasks
        weights = self.shared_gate(common)[0].softmax(-1)
        return torch.einsum("ne,enh->nh", weights, torch.cat([shared, own])), tasks


@final
class LevelledExperts(nn.Module):
    """Progressive layered extraction, built."""

    shared_representation = False

    def __init__(self, levels: list[Level], n_tasks: int) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(levels)
        self.n_tasks = n_tasks

    @property
    def batched(self) -> bool:
        """Whether the experts are one batched computation."""
        return all(level.shared.batched for level in self.trunk if isinstance(level, Level))

    def input_layers(self) -> list[nn.Module]:
        """Return the layers that read the input."""
        return input_layers(self.trunk[0])

    def forward(self, x: Inputs, task: Tensor | None = None) -> Tensor:
        """Return the representation of every row for its task, (n, h), or (n, n_tasks, h)."""
        # Shapes: x (n, n_features), task (n,).
        return self._every(x) if task is None else served(x, task, self._own, self._every)

    def _every(self, x: Inputs) -> Tensor:
        """Return the representations for all tasks, (n, n_tasks, h)."""
        by_task: Tensor | None = None
        for level in self.trunk:
            x, by_task = level(x, by_task)
        if by_task is None:
            raise RuntimeError("there is at least one level")
        return by_task.transpose(0, 1)

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        """Return the representation of every row for its task, (n, h)."""
        return self._every(x)[torch.arange(len(task), device=task.device), task]
