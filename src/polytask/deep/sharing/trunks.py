"""One trunk for all tasks, plain or modulated, or a trunk for each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from polytask._checks import positive_integer, sentence, unit_interval
from polytask._registry import saveable
from polytask.deep.regularise.matrices import NORMS
from polytask.deep.regularise.penalties import PenaltyTerm, term
from polytask.deep.sharing.base import (
    Inputs,
    OwnRepresentations,
    checked,
    copied,
    count_rows,
    every_task,
    leaves,
    representation,
    required_width,
    take,
    takes_task,
)
from polytask.deep.sharing.copies import Copies, layers_of, make_copies, stages_of
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage
from polytask.penalties import Penalty, toward_mean


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


@final
@saveable("deep.sharing.soft")
@dataclass(frozen=True)
class Soft:
    """Soft sharing: every task has a trunk of its own, a tower, and a penalty pulls them together.

    The penalty sees, for each parameter of the trunk, a matrix with one column for each task
    (the flattened parameter of its tower). ``toward_mean`` is the L2 distance to the mean tower
    [1]_, ``TraceNorm`` lets the towers span few directions [2]_; any other penalty that couples
    columns serves as well, with the tasks numbered 0, 1, ... What is smooth is added to the
    loss, what is not is a proximal step; both through
    :class:`~polytask.deep.regularise.Penalties`. All towers start from the weights of the
    trunk, so that the distances start at 0.

    n_tasks times the parameters of the trunk. Not for many tasks with few rows each: there hard
    sharing has the same means with far fewer weights. Rows of an unseen task get the mean of the
    representations of all towers.

    Parameters
    ----------
    penalty : Penalty, default=toward_mean(1e-2)
        What holds the towers together, with an alpha.

    References
    ----------
    .. [1] Duong, L., Cohn, T., Bird, S. and Cook, P. (2015). Low resource dependency parsing:
       cross-lingual parameter sharing in a neural network parser. ACL, 845-850, Equation 2 (for
       two towers).
    .. [2] Yang, Y. and Hospedales, T. M. (2017). Trace norm regularised deep multi-task
       learning. ICLR workshop, Equation 1.
    """

    penalty: Penalty = field(default_factory=lambda: toward_mean(1e-2))

    def __post_init__(self) -> None:
        if not isinstance(self.penalty, Penalty):
            allowed = LazyMessage("allowed.some_penalty", {"example": "toward_mean(0.01)"})
            raise ParameterError(sentence("penalty", "Soft", allowed, repr(self.penalty)))

    def build(self, trunk: nn.Module, n_tasks: int) -> SoftSharing:
        """Return the module with a tower for each task."""
        count = checked(trunk, n_tasks, "Soft")
        return SoftSharing(make_copies([copied(trunk) for _ in range(count)]), self.penalty)


@final
class SoftSharing(OwnRepresentations):
    """Soft sharing, built."""

    def __init__(self, towers: Copies, penalty: Penalty) -> None:
        super().__init__()
        self.trunk = towers
        self.n_tasks = towers.n_copies
        self.penalty = penalty

    def penalty_terms(self) -> list[PenaltyTerm]:
        """Return the penalty of every parameter of the trunk over the towers."""
        return [term("sharing", matrix, self.penalty) for _, matrix in self.trunk.matrices()]

    def _every(self, x: Inputs) -> Tensor:
        whole: Tensor = self.trunk(x)
        return whole.transpose(0, 1)

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        return self.trunk.of_rows(x, task)


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
        unit_interval(self.own_share, "own_share", "CrossStitch")

    def build(self, trunk: nn.Module, n_tasks: int) -> StitchedSharing:
        """Return the module with a tower for each task and a matrix for each stage."""
        count = checked(trunk, n_tasks, "CrossStitch")
        parts = stages_of(trunk)
        stages = [
            make_copies([copied(part) for _ in range(count)], ends=part is parts[-1])
            for part in parts
        ]
        return StitchedSharing(stages, self.own_share)


@final
class StitchedSharing(OwnRepresentations):
    """Cross-stitch networks, built."""

    not_weights = ("stitches",)

    def __init__(self, stages: list[Copies], own_share: float) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(stages)
        self.n_tasks = stages[0].n_copies
        others = (1.0 - own_share) / max(self.n_tasks - 1, 1)
        start = torch.full((self.n_tasks, self.n_tasks), others).fill_diagonal_(own_share)
        self.stitches = nn.Parameter(start.repeat(len(stages), 1, 1))

    def _every(self, x: Inputs) -> Tensor:
        first, *later = [stage for stage in self.trunk if isinstance(stage, Copies)]
        whole: Tensor = torch.tensordot(self.stitches[0], first(x), dims=1)
        for stage, stitch in zip(later, self.stitches[1:], strict=True):
            whole = torch.tensordot(stitch, stage.each(whole), dims=1)
        return whole.transpose(0, 1)


def _points(trunk: nn.Module) -> list[tuple[nn.Module, int]]:
    """Return the parts of a trunk that end where it is modulated, with their widths."""
    # In an nn.Sequential that is after each linear layer and the norm that may follow it; layers
    # after the last such point form a part of width 0.
    parts: list[tuple[list[nn.Module], int]] = []
    layers = layers_of(trunk)
    held: list[nn.Module] = []
    width = 0
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        held.append(layer)
        width = layer.out_features if isinstance(layer, nn.Linear) else width
        closes = isinstance(layer, (nn.Linear, *NORMS)) and not isinstance(following, NORMS)
        if closes and width:
            parts.append((held, width))
            held, width = [], 0
    if held:
        parts.append((held, 0))
    return [(nn.Sequential(*part), found) for part, found in parts]


@final
@saveable("deep.sharing.film")
@dataclass(frozen=True)
class FiLM:
    """Task embedding with feature-wise linear modulation.

    One trunk, whose units are scaled and shifted for each task: after every linear layer (and
    its norm, before the activation) h becomes (1 + gamma_t) * h + beta_t, where gamma and beta
    are linear maps of a learned vector for the task [1]_. Of any trunk that is not an
    nn.Sequential with linear layers, the representation is modulated. It starts as hard sharing:
    gamma and beta are 0.

    The parameters of the trunk, plus n_tasks * n_dimensions for the vectors and 2 * width *
    (n_dimensions + 1) for each modulated layer. It serves many tasks at a small price; not where
    tasks need unlike features of the input, which scaling units cannot make. Rows of an unseen
    task get the mean of the vectors of all tasks. Where all rows have all tasks, every layer
    after the first runs once for each task.

    Parameters
    ----------
    n_dimensions : int, default=16
        The length of the vector for a task, >= 1.
    width : int, default=None
        The width of the representation, needed for a trunk that is not an nn.Sequential with
        linear layers.

    References
    ----------
    .. [1] Perez, E., Strub, F., de Vries, H., Dumoulin, V. and Courville, A. (2018). FiLM:
       visual reasoning with a general conditioning layer. AAAI, 3942-3951, Equation 2.
    """

    n_dimensions: int = 16
    width: int | None = None

    def __post_init__(self) -> None:
        positive_integer(self.n_dimensions, "n_dimensions", "FiLM")

    def build(self, trunk: nn.Module, n_tasks: int) -> ModulatedTrunk:
        """Return the module with the trunk and its modulation."""
        count = checked(trunk, n_tasks, "FiLM")
        own = copied(trunk)
        points = _points(own) if type(own) is nn.Sequential else []
        if not any(width for _, width in points):
            points = [(own, required_width(self.width, "FiLM"))]
        return ModulatedTrunk(points, count, self.n_dimensions)


@final
class ModulatedTrunk(nn.Module):
    """Feature-wise linear modulation, built."""

    shared_representation = False

    def __init__(
        self, parts: list[tuple[nn.Module, int]], n_tasks: int, n_dimensions: int
    ) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(part for part, _ in parts)
        self.tasks = nn.Embedding(n_tasks, n_dimensions)
        maps = [nn.Linear(n_dimensions, 2 * width) for _, width in parts if width]
        for found in maps:
            nn.init.zeros_(found.weight)
            nn.init.zeros_(found.bias)
        self.modulation = nn.ModuleList(maps)
        self.n_tasks = n_tasks

    def _vectors(self, task: Tensor) -> Tensor:
        """Return the vector of each row's task, the mean of all for an unseen one."""
        known = self.tasks(task.clamp(min=0))
        return torch.where((task < 0)[:, None], self.tasks.weight.mean(0), known)

    def forward(self, x: Inputs, task: Tensor | None = None) -> Tensor:
        """Return the representation of every row for its task, (n, h), or (n, n_tasks, h)."""
        # Shapes: task (n,).
        n = count_rows(x)
        vectors = self.tasks.weight if task is None else self._vectors(task)
        features = representation(self.trunk[0](x), n, self.trunk[0])
        if task is None:
            features = features[:, None]
        later = list(self.trunk)[1:]
        for modulate in self.modulation:
            scale, shift = modulate(vectors).chunk(2, dim=-1)
            features = (1.0 + scale) * features + shift
            if later:
                # All axes but the last, which is the width, count as rows.
                rows = later.pop(0)(features.reshape(-1, features.shape[-1]))
                features = rows.view(*features.shape[:-1], -1)
        return features
