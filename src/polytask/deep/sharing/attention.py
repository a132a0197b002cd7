"""One trunk, of whose layers every task attends to a part: MTAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from polytask._checks import nearest, positive_integer, sentence
from polytask._registry import saveable
from polytask.deep.sharing.base import (
    Inputs,
    OwnRepresentations,
    checked,
    count_rows,
    every_task,
    representation,
    required_width,
)
from polytask.deep.sharing.copies import (
    Copies,
    is_stackable,
    layers_of,
    make_copies,
    stages_of,
)
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage


@final
@saveable("deep.sharing.mtan")
@dataclass(frozen=True)
class MTAN:
    """Multi-task attention network: each task masks the features of a trunk that all share.

    With p_j what layer j of the trunk gives, task t attends to a_tj = m_tj * p_j, where the mask
    m_tj is the sigmoid of two linear maps with a ReLU between them, of p_j and of a_t(j-1) side
    by side; the representation for task t is what it attends to of the trunk's output [1]_. The
    trunk reads none of it, so it runs once for all tasks. Of feature maps, (n, channels, ...)
    as convolutions give them, masks are made at every position of its channels, and a_t(j-1) is
    averaged to the positions of p_j. What the paper has between two blocks (a convolution for
    all tasks) and batch norm are left out.

    The parameters of the trunk, and for each task and layer about (3 width + width of the layer
    before) * width / reduction. For tasks that need some of the features each, in a trunk wide
    enough for all; not for very many tasks where all rows have all tasks: masks are formed for
    each. Rows of an unseen task get the mean of the representations for all tasks.

    Parameters
    ----------
    layers : mapping of str to int, default=None
        Names of modules in the trunk, in the order in which they are called, and the width of
        what each gives: features of (n, width), channels of (n, width, ...). The trunk's output
        comes behind them. None: the stages of an nn.Sequential that end with a linear layer or
        convolution, apart from norms, activations and dropout; of any other trunk its output.
    reduction : int, default=4
        How many times narrower than a layer the hidden units of its masks are, >= 1.
    width : int, default=None
        The width of the representation, needed where the trunk does not end as said above.

    References
    ----------
    .. [1] Liu, S., Johns, E. and Davison, A. J. (2019). End-to-end multi-task learning with
       attention. CVPR, 1871-1880, Equations 1 and 2.
    """

    layers: Mapping[str, int] | None = None
    reduction: int = 4
    width: int | None = None

    def __post_init__(self) -> None:
        positive_integer(self.reduction, "reduction", "MTAN")
        for width in (self.layers or {}).values():
            positive_integer(width, "layers", "MTAN")

    def build(self, trunk: nn.Module, n_tasks: int) -> AttendedTrunk:
        """Return the module with the trunk itself and masks for each task."""
        count = checked(trunk, n_tasks, "MTAN")
        known = {name for name, _ in trunk.named_modules() if name}
        for name in self.layers or {}:
            if name not in known:
                told = sentence("layers", "MTAN", LazyMessage("allowed.inner_layer"), repr(name))
                raise ParameterError(told + nearest(name, known))
        layers = _ends(trunk) if self.layers is None else dict(self.layers)
        last = width_of(trunk) if self.width is None else self.width
        widths = [*layers.values(), required_width(last, "MTAN")]
        masks = []
        for before, width in zip([0, *widths], widths, strict=False):
            hidden = max(width // self.reduction, 1)
            copies = [
                (nn.Linear(before + width, hidden), nn.ReLU(), nn.Linear(hidden, width))
                for _ in range(count)
            ]
            masks.append(make_copies([nn.Sequential(*own, nn.Sigmoid()) for own in copies]))
        return AttendedTrunk(trunk, masks, layers)


def width_of(stage: nn.Module) -> int | None:
    """Return the width of what a part of a trunk gives, None where its layers do not tell."""
    for layer in reversed(layers_of(stage)):
        width = getattr(layer, "out_features", None) or getattr(layer, "out_channels", None)
        if isinstance(width, int):
            return width
        if not is_stackable(layer):
            return None
    return None


def _ends(trunk: nn.Module) -> dict[str, int]:
    """Return names and widths of the layers that end the stages of a trunk, but for the last."""
    layers, names = layers_of(trunk), {id(layer): name for name, layer in trunk.named_modules()}
    # A layer that is called twice, such as an activation, has one name for two outputs.
    ends = [(stage, layers_of(stage)[-1]) for stage in stages_of(trunk)[:-1]]
    once = [(stage, end) for stage, end in ends if sum(end is other for other in layers) == 1]
    return {names[id(end)]: width for stage, end in once if (width := width_of(stage))}


_POOLS: Mapping[int, Any] = {
    3: functional.adaptive_avg_pool1d,
    4: functional.adaptive_avg_pool2d,
    5: functional.adaptive_avg_pool3d,
}


def _at_positions(features: Tensor, like: Tensor) -> Tensor:
    """Return features at the positions of others: means, or what all positions have."""
    # Shapes: features (n, width, ...), like (n, other width, ...).
    where = like.shape[2:]
    if features.shape[2:] == where:
        return features
    if features.ndim == like.ndim:
        pooled: Tensor = _POOLS[like.ndim](features, tuple(where))
        return pooled
    mean = features.flatten(2).mean(-1) if features.ndim > 2 else features
    return mean.reshape(*mean.shape, *(1 for _ in where)).expand(*mean.shape, *where)


def _rows(features: Tensor) -> Tensor:
    """Return one row for each position, (n * n_positions, width)."""
    return features.movedim(1, -1).reshape(-1, features.shape[1])


@final
class AttendedTrunk(OwnRepresentations):
    """A multi-task attention network, built."""

    def __init__(
        self,
        trunk: nn.Module,
        masks: list[Copies],
        layers: Mapping[str, int],
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.attention = nn.ModuleList(masks)
        self.n_tasks = masks[0].n_copies
        self._layers = dict(layers)

    def _features(self, x: Inputs) -> list[Tensor]:
        """Return what the layers give that tasks attend to, the trunk's output last."""
        found: dict[str, Any] = dict.fromkeys(self._layers)

        def keep(name: str, _: nn.Module, given: object, output: object) -> None:
            found[name] = output

        hooks = [
            self.trunk.get_submodule(name).register_forward_hook(partial(keep, name))
            for name in self._layers
        ]
        try:
            output = self.trunk(x)
        finally:
            for hook in hooks:
                hook.remove()
        n = count_rows(x)
        for name, width in self._layers.items():
            p = found[name]
            if not isinstance(p, Tensor) or p.ndim < 2 or p.shape[:2] != (n, width):
                got = str(tuple(p.shape)) if isinstance(p, Tensor) else type(p).__name__
                fields = {"name": repr(name), "shape": f"({n}, {width}, ...)", "got": got}
                raise IncompatibleError(LazyMessage("deep.refusal.attended", fields))
        return [*found.values(), representation(output, n, self.trunk)]

    def _attended(self, features: list[Tensor], task: Tensor) -> Tensor:
        """Return what the task of each row attends to, (n, h)."""
        before: Tensor | None = None
        masked: list[Any] = list(self.attention)
        for p, masks in zip(features, masked, strict=True):
            given, positions = _rows(p), p[0, 0].numel()
            if before is not None:
                given = torch.cat([given, _rows(_at_positions(before, p))], dim=1)
            own: Tensor = masks.of_rows(given, task.repeat_interleave(positions))
            before = p * own.view(len(p), *p.shape[2:], p.shape[1]).movedim(-1, 1)
        return features[-1] if before is None else before

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        return self._attended(self._features(x), task)

    def _every(self, x: Inputs) -> Tensor:
        features = self._features(x)
        rows, tasks = every_task(len(features[-1]), self.n_tasks, features[-1].device)
        found = self._attended([p[rows] for p in features], tasks)
        return found.view(-1, self.n_tasks, found.shape[-1])
