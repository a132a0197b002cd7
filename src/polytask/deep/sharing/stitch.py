"""A trunk for each task, with units that exchange what they carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from polytask._checks import positive_integer, unit_interval
from polytask._registry import saveable
from polytask.deep.sharing.base import Inputs, copied, refuse_task, served
from polytask.deep.sharing.copies import Copies, make_copies
from polytask.deep.sharing.stages import stages_of


@final
@saveable("deep.sharing.cross_stitch")
@dataclass(frozen=True)
class CrossStitch:
    """Cross-stitch networks: towers whose layers take part in each other.

    After each stage of the trunk the representation of task t becomes sum_s A_ts times that of
    task s, A a learned matrix of shape (n_tasks, n_tasks) for each stage [1]_. The stages of an
    nn.Sequential begin at its layers with weights; any other trunk is one stage. All towers
    start from the weights of the trunk.

    n_tasks times the parameters of the trunk, plus n_tasks squared for each stage; every row
    goes through all towers, whatever its task. Not for many tasks. Rows of an unseen task get
    the mean of the representations of all tasks.

    Parameters
    ----------
    own_share : float, default=0.9
        The diagonal of A at the start, in [0, 1]; the rest is divided among the others.

    References
    ----------
    .. [1] Misra, I., Shrivastava, A., Gupta, A. and Hebert, M. (2016). Cross-stitch networks
       for multi-task learning. CVPR, 3994-4003, Equation 1.
    """

    own_share: float = 0.9

    def __post_init__(self) -> None:
        """Check the share."""
        unit_interval(self.own_share, "own_share", "CrossStitch")

    def build(self, trunk: nn.Module, n_tasks: int) -> StitchedSharing:
        """Return the module with a tower for each task and a matrix for each stage."""
        refuse_task(trunk, "CrossStitch")
        count = positive_integer(n_tasks, "n_tasks", "CrossStitch")
        parts = stages_of(trunk)
        stages = [
            make_copies([copied(part) for _ in range(count)], ends=part is parts[-1])
            for part in parts
        ]
        return StitchedSharing(stages, self.own_share)


@final
class StitchedSharing(nn.Module):
    """Cross-stitch networks, built."""

    shared_representation = False
    not_weights = ("stitches",)

    def __init__(self, stages: list[Copies], own_share: float) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(stages)
        self.n_tasks = stages[0].n_copies
        others = (1.0 - own_share) / max(self.n_tasks - 1, 1)
        start = torch.full((self.n_tasks, self.n_tasks), others).fill_diagonal_(own_share)
        self.stitches = nn.Parameter(start.repeat(len(stages), 1, 1))

    @property
    def batched(self) -> bool:
        """Whether the towers are one batched computation."""
        return all(stage.batched for stage in self._stages())

    def forward(self, x: Inputs, task: Tensor | None = None) -> Tensor:
        """Return the representation of every row for its task, (n, h), or (n, n_tasks, h)."""
        # Shapes: task (n,).
        if task is None:
            return self._every(x)
        return served(x, task, self._own, self._every)

    def _every(self, x: Inputs) -> Tensor:
        """Return the representations for all tasks, (n, n_tasks, h)."""
        first, *later = self._stages()
        whole: Tensor = torch.tensordot(self.stitches[0], first(x), dims=1)
        for stage, stitch in zip(later, self.stitches[1:], strict=True):
            whole = torch.tensordot(stitch, stage.each(whole), dims=1)
        return whole.transpose(0, 1)

    def _stages(self) -> list[Copies]:
        return [stage for stage in self.trunk if isinstance(stage, Copies)]

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        """Return the representation of every row for its task, (n, h)."""
        return self._every(x)[torch.arange(len(task), device=task.device), task]
