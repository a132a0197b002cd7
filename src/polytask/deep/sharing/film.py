"""One trunk whose layers are scaled and shifted for each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from polytask._checks import positive_integer, sentence
from polytask._registry import saveable
from polytask.deep.regularise.names import NORMS
from polytask.deep.sharing.base import (
    Inputs,
    copied,
    count_rows,
    refuse_task,
    representation,
)
from polytask.deep.sharing.stacked import layers_of
from polytask.exceptions import ParameterError


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
        """Check the number of dimensions."""
        positive_integer(self.n_dimensions, "n_dimensions", "FiLM")

    def build(self, trunk: nn.Module, n_tasks: int) -> ModulatedTrunk:
        """Return the module with the trunk and its modulation."""
        refuse_task(trunk, "FiLM")
        count = positive_integer(n_tasks, "n_tasks", "FiLM")
        own = copied(trunk)
        points = _points(own) if type(own) is nn.Sequential else []
        if not any(width for _, width in points):
            if self.width is None:
                allowed = (
                    "the width h of the representation, for a trunk that is not an nn.Sequential "
                    "with linear layers"
                )
                raise ParameterError(sentence("width", "FiLM", allowed, "None"))
            points = [(own, positive_integer(self.width, "width", "FiLM"))]
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
                features = _by_rows(later.pop(0), features)
        return features


def _by_rows(part: nn.Module, features: Tensor) -> Tensor:
    """Return a part's output for features of any number of axes; the last is the width."""
    # All others count as rows.
    rows: Tensor = part(features.reshape(-1, features.shape[-1]))
    return rows.view(*features.shape[:-1], -1)
