"""Mixtures of experts, and layers of them: MMoE, CGC and PLE."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from polytask._checks import positive_integer
from polytask._registry import saveable
from polytask.deep.regularise.matrices import input_layers
from polytask.deep.sharing.base import (
    Inputs,
    OwnRepresentations,
    checked,
    copied,
    redrawn,
    required_width,
)
from polytask.deep.sharing.copies import Copies, first_width, make_copies, stages_of
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage


def draw_experts(trunk: nn.Module, count: int, first: bool = True, *, ends: bool = True) -> Copies:
    """Return experts drawn anew; the first one keeps the weights of the trunk if `first`."""
    kept = [copied(trunk)] if first else []
    return make_copies([*kept, *(redrawn(trunk) for _ in range(count - len(kept)))], ends=ends)


def draw_gates(width: int, n_experts: int, n_gates: int) -> Copies:
    """Return gates: linear maps of rows of a width to one number for each expert."""
    return make_copies([nn.Sequential(nn.Linear(width, n_experts)) for _ in range(n_gates)])


def gate_width(trunk: nn.Module, given: int | None, owner: str) -> tuple[int, bool]:
    """Return the width of what gates read, and whether that is the input."""
    # Gates read the input of a trunk whose first layer is linear, else the mean representation of
    # the experts, whose width must be given.
    width = first_width(trunk)
    if width is not None:
        return width, True
    return required_width(given, owner), False


@final
@saveable("deep.sharing.mmoe")
@dataclass(frozen=True)
class MMoE:
    """Multi-gate mixture of experts: shared trunks, mixed by a gate for each task.

    The representation for task t is sum_e g_te(x) f_e(x), where the experts f_e are copies of
    the trunk with weights of their own and g_t(x) is the softmax of a linear map of the input
    [1]_. Gates read the input where the trunk is an nn.Sequential with a linear layer first;
    else the mean of the experts' representations.

    n_experts times the parameters of the trunk, plus n_tasks * n_experts * (width + 1) for the
    gates. It can help where tasks need unlike features; not for a few hundred rows, where the
    gates cost more than they bring. The first expert starts from the weights of the trunk. Rows
    of an unseen task get the mean of the gates of all tasks.

    Parameters
    ----------
    n_experts : int, default=4
        The number of experts, >= 1.
    width : int, default=None
        The width of the representation, needed where gates cannot read the input.

    References
    ----------
    .. [1] Ma, J., Zhao, Z., Yi, X., Chen, J., Hong, L. and Chi, E. (2018). Modeling task
       relationships in multi-task learning with multi-gate mixture-of-experts. KDD, 1930-1939,
       Equations 5 to 7.
    """

    n_experts: int = 4
    width: int | None = None

    def __post_init__(self) -> None:
        positive_integer(self.n_experts, "n_experts", "MMoE")

    def build(self, trunk: nn.Module, n_tasks: int) -> MixedExperts:
        """Return the module with the experts and a gate for each task."""
        count = checked(trunk, n_tasks, "MMoE")
        width, reads_input = gate_width(trunk, self.width, "MMoE")
        gates = draw_gates(width, self.n_experts, count)
        return MixedExperts(draw_experts(trunk, self.n_experts), gates, reads_input)


def _gate_rows(x: Inputs, experts: Tensor, reads_input: bool) -> Tensor:
    """Return what gates read, (n, width)."""
    return x if reads_input and isinstance(x, Tensor) else experts.mean(0)


@final
class MixedExperts(OwnRepresentations):
    """Multi-gate mixture of experts, built."""

    def __init__(self, experts: Copies, gates: Copies, reads_input: bool) -> None:
        super().__init__()
        self.trunk = experts
        self.gates = gates
        self.n_tasks = gates.n_copies
        self._reads_input = reads_input

    def input_layers(self) -> list[nn.Module]:
        """Return the layers that read the input."""
        gates = input_layers(self.gates) if self._reads_input else []
        return [*input_layers(self.trunk), *gates]

    def _every(self, x: Inputs) -> Tensor:
        experts = self.trunk(x)
        logits = self.gates(_gate_rows(x, experts, self._reads_input))
        return torch.bmm(logits.softmax(-1).transpose(0, 1), experts.transpose(0, 1))

    def readout(self, x: Inputs, weight: Tensor, owners: Tensor) -> Tensor:
        """Return linear maps of the representations for all tasks, which are not formed."""
        # Shapes: weight (n_columns, h), owners (n_columns,), result (n, n_columns).
        # A linear map of a mixture is the mixture of the linear maps, which are far smaller.
        experts = self.trunk(x)
        gates = self.gates(_gate_rows(x, experts, self._reads_input)).softmax(-1)
        return mixed_outputs(gates[owners], experts @ weight.T)

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        experts = self.trunk(x)
        logits = self.gates.of_rows(_gate_rows(x, experts, self._reads_input), task)
        return torch.einsum("ne,enh->nh", logits.softmax(-1), experts)


@final
@saveable("deep.sharing.cgc")
@dataclass(frozen=True)
class CGC:
    """Customised gate control: shared experts, and experts that belong to one task.

    The representation for task t mixes the shared experts and those of the task, by a gate of
    the task as in :class:`MMoE` [1]_. Where every row has one task, its own experts see the rows
    of that task only; where all rows have all tasks, every expert sees every row.

    n_shared + n_tasks * n_own times the parameters of the trunk, plus n_tasks * (n_shared +
    n_own) * (width + 1) for the gates. Not for many tasks with few rows each: an expert of its
    own is as much to learn as a network of its own. Rows of an unseen task get the mean of the
    representations for all tasks.

    Parameters
    ----------
    n_shared : int, default=2
        The number of shared experts, >= 1.
    n_own : int, default=1
        The number of experts of each task, >= 1.
    width : int, default=None
        The width of the representation, needed where gates cannot read the input.

    References
    ----------
    .. [1] Tang, H., Liu, J., Zhao, M. and Gong, X. (2020). Progressive layered extraction (PLE):
       a novel multi-task learning model for personalized recommendations. RecSys, 269-278,
       Section 4.1.
    """

    n_shared: int = 2
    n_own: int = 1
    width: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_shared", "n_own"):
            positive_integer(getattr(self, name), name, "CGC")

    def build(self, trunk: nn.Module, n_tasks: int) -> OwnExperts:
        """Return the module with shared experts, those of each task, and gates."""
        count = checked(trunk, n_tasks, "CGC")
        width, reads_input = gate_width(trunk, self.width, "CGC")
        gates = draw_gates(width, self.n_shared + self.n_own, count)
        shared = draw_experts(trunk, self.n_shared)
        own = draw_experts(trunk, self.n_own * count, first=False)
        return OwnExperts(shared, own, gates, reads_input)


@final
class Trunks(nn.Module):
    """Shared experts and those of each task."""

    def __init__(self, shared: Copies, own: Copies) -> None:
        super().__init__()
        self.shared, self.own = shared, own


@final
class OwnExperts(OwnRepresentations):
    """Customised gate control, built."""

    def __init__(self, shared: Copies, own: Copies, gates: Copies, reads_input: bool) -> None:
        super().__init__()
        self.trunk = Trunks(shared, own)
        self.gates = gates
        self.n_tasks = gates.n_copies
        self._n_own = own.n_copies // gates.n_copies
        self._reads_input = reads_input

    def input_layers(self) -> list[nn.Module]:
        """Return the layers that read the input."""
        gates = input_layers(self.gates) if self._reads_input else []
        return [*input_layers(self.trunk.shared), *input_layers(self.trunk.own), *gates]

    def _every(self, x: Inputs) -> Tensor:
        shared, own = self.trunk.shared(x), self.trunk.own(x)
        gates = self.gates(_gate_rows(x, shared, self._reads_input)).softmax(-1)
        of_shared, of_own = torch.split(gates, [len(shared), self._n_own], dim=-1)
        common = torch.bmm(of_shared.transpose(0, 1), shared.transpose(0, 1))
        return common + mixed_own(of_own, own).transpose(0, 1)

    def readout(self, x: Inputs, weight: Tensor, owners: Tensor) -> Tensor:
        """Return linear maps of the representations for all tasks, which are not formed."""
        # Shapes: weight (n_columns, h), owners (n_columns,), result (n, n_columns).
        shared, own = self.trunk.shared(x), self.trunk.own(x)
        gates = self.gates(_gate_rows(x, shared, self._reads_input)).softmax(-1)[owners]
        of_shared, of_own = torch.split(gates, [len(shared), self._n_own], dim=-1)
        by_task = own.view(self.n_tasks, self._n_own, *own.shape[1:])
        if len(owners) != self.n_tasks or not torch.equal(owners, owners.sort().values):
            by_task = by_task[owners]
        outputs = torch.einsum("conh,ch->con", by_task, weight)
        return mixed_outputs(of_shared, shared @ weight.T) + torch.einsum(
            "cno,con->nc", of_own, outputs
        )

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        shared = self.trunk.shared(x)
        rows = _gate_rows(x, shared, self._reads_input)
        gates = self.gates.of_rows(rows, task).softmax(-1).T
        first = task * self._n_own
        own = [self.trunk.own.of_rows(x, first + k) for k in range(self._n_own)]
        return (gates[:, :, None] * torch.cat([shared, torch.stack(own)])).sum(0)


def mixed_outputs(gates: Tensor, outputs: Tensor) -> Tensor:
    """Mix the outputs of shared experts."""
    # Shapes: gates (n_columns, n, n_experts), outputs (n_experts, n, n_columns), result (n,
    # n_columns).
    return torch.einsum("cne,enc->nc", gates, outputs)


def mixed_own(gates: Tensor, own: Tensor) -> Tensor:
    """Mix each task's experts of its own."""
    # Shapes: gates (n_tasks, n, n_own), own (n_tasks * n_own, n, h), result (n_tasks, n, h).
    n_tasks, _, n_own = gates.shape
    by_task = own.view(n_tasks, n_own, *own.shape[1:])
    # A product with one number for each row needs no einsum.
    return (gates.transpose(1, 2)[..., None] * by_task).sum(1) if n_own > 1 else gates * own


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
        for name in ("n_shared", "n_own", "n_levels"):
            positive_integer(getattr(self, name), name, "PLE")

    def build(self, trunk: nn.Module, n_tasks: int) -> LevelledExperts:
        """Return the module with the levels, or refuse a trunk that cannot be cut into them."""
        count = checked(trunk, n_tasks, "PLE")
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
            fields = {"levels": self.n_levels, "kind": type(trunk).__name__}
            fields["stages"] = len(stages)
            raise IncompatibleError(LazyMessage("deep.refusal.levels", fields))
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
class LevelledExperts(OwnRepresentations):
    """Progressive layered extraction, built."""

    def __init__(self, levels: list[Level], n_tasks: int) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(levels)
        self.n_tasks = n_tasks

    def input_layers(self) -> list[nn.Module]:
        """Return the layers that read the input."""
        return input_layers(self.trunk[0])

    def _every(self, x: Inputs) -> Tensor:
        by_task: Tensor | None = None
        for level in self.trunk:
            x, by_task = level(x, by_task)
        if by_task is None:
            raise RuntimeError("there is at least one level")
        return by_task.transpose(0, 1)
