"""Several copies of a trunk: as one batched computation where its layers allow it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from polytask.deep.regularise.matrices import (
    COLUMN_PER_COPY,
    ONE_COLUMN,
    Matrix,
    MatrixView,
    input_layers,
    weights_of,
)
from polytask.deep.sharing.base import Inputs, count_rows, representation, take
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage


@final
@dataclass(frozen=True)
class Groups:
    """Rows in groups of equal size, each of one copy."""

    # Shapes: which (n_groups,), counts (n_groups,), slots (n,).

    which: Tensor | None
    counts: Tensor
    size: int
    slots: Tensor

    @classmethod
    def of(cls, copy: Tensor, n_copies: int, whole: bool) -> Groups:
        """Return the groups for the copy of each row; copies are not divided if `whole`."""
        counts = torch.bincount(copy, minlength=n_copies)
        n_present, longest = int((counts > 0).sum()), int(counts.max())
        size = longest if whole else min(longest, math.ceil(2 * len(copy) / n_present))
        order = copy.argsort(stable=True)
        starts = counts.cumsum(0) - counts
        within = torch.arange(len(copy), device=copy.device) - starts[copy[order]]
        every = size == longest and 2 * n_present >= n_copies
        # To choose weights is to copy them, which is dearer than a few empty groups.
        pieces = torch.ones_like(counts) if every else (counts + size - 1) // size
        first = pieces.cumsum(0) - pieces
        group = first[copy[order]] + within // size
        slots = torch.empty_like(order).index_copy(0, order, group * size + within % size)
        filled = torch.bincount(group, minlength=int(pieces.sum()))
        number = torch.arange(n_copies, device=copy.device)
        return cls(None if every else number.repeat_interleave(pieces), filled, size, slots)


class StackedLayer(nn.Module, ABC):
    """Layers of one shape, the first axis of whose parameters counts the copies."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        for name in ("weight", "bias"):
            self.register_parameter(name, _stack(layers, name))

    @abstractmethod
    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        """Return what every copy makes of rows, or that of each group of its own."""
        # Shapes: x (n, h) or (k, n, h), result (k, n, h_out), with k copies or groups.


def _chosen(values: Tensor | None, groups: Groups | None) -> Any:  # noqa: ANN401 - a Tensor, or None
    """Return the parameters of the copies of groups, or of all copies."""
    if values is None or groups is None or groups.which is None:
        return values
    return values[groups.which]


def _shifted(rows: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return rows scaled and shifted, each copy by its own gains, where there are any."""
    scaled = rows if weight is None else rows * weight[:, None]
    return scaled if bias is None else scaled + bias[:, None]


def _stack(layers: Sequence[nn.Module], name: str) -> nn.Parameter | None:
    """Return the parameters of one name as one, None where layers have none."""
    found: list[Any] = [getattr(layer, name, None) for layer in layers]
    if any(value is None for value in found):
        return None
    return nn.Parameter(torch.stack([value.detach() for value in found]), found[0].requires_grad)


@final
class StackedLinear(StackedLayer):
    """Linear layers as one batched product."""

    # Shapes: weight (n_copies, n_out, n_in), bias (n_copies, n_out).

    layouts: Mapping[str, MatrixView] = {"weight": MatrixView(2)}

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        """Return every copy's linear map of its rows."""
        weight, bias = _chosen(self.weight, groups), _chosen(self.bias, groups)
        rows = x.expand(len(weight), *x.shape) if x.ndim == 2 else x
        across = weight.transpose(1, 2)
        if bias is None:
            return torch.bmm(rows, across)
        return torch.baddbmm(bias[:, None], rows, across)


@final
class StackedLayerNorm(StackedLayer):
    """Layer norms, each with gains of its own."""

    not_weights = ("weight",)

    def __init__(self, layers: Sequence[nn.LayerNorm]) -> None:
        super().__init__(layers)
        self.shape, self.eps = tuple(layers[0].normalized_shape), layers[0].eps

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        """Return every copy's normalised rows."""
        found = functional.layer_norm(x, self.shape, eps=self.eps)
        return _shifted(found, _chosen(self.weight, groups), _chosen(self.bias, groups))


@final
class StackedBatchNorm(StackedLayer):
    """Batch norms, each with statistics and gains of its own."""

    # Where a copy gets a single row in training, the row is normalised with its running
    # statistics, which stay as they are: one row has no variance.

    not_weights = ("weight",)
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, layers: Sequence[nn.BatchNorm1d]) -> None:
        super().__init__(layers)
        self.eps, self.momentum = layers[0].eps, float(layers[0].momentum or 0.0)
        for name in ("running_mean", "running_var"):
            stacked = torch.stack([getattr(layer, name) for layer in layers])
            self.register_buffer(name, stacked)

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        """Return every copy's normalised rows."""
        mean, var = _chosen(self.running_mean, groups), _chosen(self.running_var, groups)
        # Statistics have the precision of the running ones, also where products have a lower one.
        whole = x.to(mean.dtype)
        rows = whole.expand(len(mean), *x.shape) if x.ndim == 2 else whole
        if self.training:
            mean, var = self._of_batch(rows, groups)
        found = (rows - mean[:, None]) * torch.rsqrt(var + self.eps)[:, None]
        scale, shift = _chosen(self.weight, groups), _chosen(self.bias, groups)
        return _shifted(found, scale, shift).to(x.dtype)

    def _of_batch(self, rows: Tensor, groups: Groups | None) -> tuple[Tensor, Tensor]:
        """Return the statistics of each copy's rows, running ones for a single row; learn them."""
        k, n, _ = rows.shape
        count = rows.new_full((k,), n) if groups is None else groups.counts.to(rows.dtype)
        there = (torch.arange(n, device=rows.device) < count[:, None])[..., None]
        divisor = count.clamp(min=1)[:, None]
        mean = torch.where(there, rows, 0.0).sum(1) / divisor
        deviation = torch.where(there, rows - mean[:, None], 0.0)
        var = deviation.square().sum(1) / divisor
        enough = (count > 1)[:, None]
        unbiased = var.detach() * divisor / (divisor - 1).clamp(min=1)
        found = []
        pairs = ((self.running_mean, mean, mean.detach()), (self.running_var, var, unbiased))
        for running, own, newest in pairs:
            before = _chosen(running, groups)
            found.append(torch.where(enough, own, before))
            after = torch.where(enough, torch.lerp(before, newest, self.momentum), before)
            which = None if groups is None else groups.which
            running.copy_(after if which is None else running.index_copy(0, which, after))
        return found[0], found[1]


@final
class Elementwise(StackedLayer):
    """A layer without parameters that treats every number, or every row, by itself."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__(layers)
        self.layer = layers[0]

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        """Return the layer's output, the same whichever copies are wanted."""
        found: Tensor = self.layer(x)
        return found


_ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardswish, nn.Identity,
)  # fmt: skip

_STACKED: Mapping[type[nn.Module], Callable[[Any], StackedLayer]] = {
    nn.Linear: StackedLinear,
    nn.LayerNorm: StackedLayerNorm,
    nn.BatchNorm1d: StackedBatchNorm,
}


def layers_of(trunk: nn.Module) -> list[nn.Module]:
    """Return the layers of a trunk in their order: those of nested nn.Sequential, else itself."""
    if type(trunk) is nn.Sequential:
        return [layer for inner in trunk for layer in layers_of(inner)]
    return [trunk]


def is_stackable(layer: nn.Module) -> bool:
    """Tell whether copies of a layer can be computed as one."""
    if isinstance(layer, nn.BatchNorm1d):
        plain = type(layer) is nn.BatchNorm1d
        return plain and layer.track_running_stats and layer.momentum is not None
    if isinstance(layer, nn.LayerNorm):
        return type(layer) is nn.LayerNorm and len(layer.normalized_shape) == 1
    return type(layer) in (*_STACKED, *_ELEMENTWISE, nn.Dropout)


def allows_stacking(trunk: nn.Module) -> bool:
    """Tell whether copies of a trunk can be computed as one batched product."""
    # So it is for an nn.Sequential of linear layers, batch and layer norms, dropout and
    # activations without parameters.
    return type(trunk) is nn.Sequential and all(map(is_stackable, layers_of(trunk)))


def stages_of(trunk: nn.Module) -> list[nn.Module]:
    """Return the stages of a trunk."""
    stages: list[list[nn.Module]] = [[]]
    heavy = False
    for layer in layers_of(trunk):
        begins = any(parameter.ndim >= 2 for parameter in layer.parameters())
        if begins and heavy:
            stages.append([])
        heavy = heavy or begins
        stages[-1].append(layer)
    found: list[nn.Module] = [nn.Sequential(*stage) for stage in stages]
    return found if type(trunk) is nn.Sequential else [trunk]


def first_width(trunk: nn.Module) -> int | None:
    """Return the width of the rows that a trunk reads, None where it cannot be seen."""
    # It can be in an nn.Sequential whose first layer with an attribute `in_features` has nothing
    # before it but norms, activations and dropout.
    if type(trunk) is not nn.Sequential:
        return None
    for layer in layers_of(trunk):
        width = getattr(layer, "in_features", None)
        if isinstance(width, int):
            return width
        if not is_stackable(layer):
            return None
    return None


class Copies(nn.Module, ABC):
    """Copies of a trunk."""

    n_copies: int
    stacks: bool

    @abstractmethod
    def forward(self, x: Inputs) -> Tensor:
        """Return what every copy makes of the same rows, (n_copies, n, h)."""

    @abstractmethod
    def each(self, x: Tensor) -> Tensor:
        """Return what every copy makes of rows of its own, (n_copies, n, h) of that shape."""

    @abstractmethod
    def of_rows(self, x: Inputs, copy: Tensor) -> Tensor:
        """Return what one copy makes of each row. Shapes: copy (n,), result (n, h)."""

    @abstractmethod
    def matrices(self) -> Iterator[tuple[str, Matrix]]:
        """Yield the name of every parameter of the trunk and its copies, one in each column."""

    @abstractmethod
    def input_layers(self) -> list[nn.Module]:
        """Return the first layers of all copies."""


def _not_a_table(x: object) -> IncompatibleError:
    got = str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__
    return IncompatibleError(LazyMessage("deep.refusal.no_table", {"got": got}))


@final
class LoopedCopies(Copies):
    """Copies one after the other, for any trunk."""

    stacks = False

    def __init__(self, trunks: Sequence[nn.Module], *, ends: bool = True) -> None:
        super().__init__()
        self.n_copies = len(trunks)
        self.copies = nn.ModuleList(trunks)
        self._ends = ends

    def forward(self, x: Inputs) -> Tensor:
        """Return what every copy makes of the same rows."""
        return torch.stack([self._run(trunk, x) for trunk in self.copies])

    def _run(self, trunk: nn.Module, x: Inputs) -> Tensor:
        """Return what one copy makes of rows."""
        found: Tensor = trunk(x)
        return representation(found, count_rows(x), trunk) if self._ends else found

    def each(self, x: Tensor) -> Tensor:
        """Return what every copy makes of rows of its own."""
        return torch.stack([self._run(*pair) for pair in zip(self.copies, x, strict=True)])

    def of_rows(self, x: Inputs, copy: Tensor) -> Tensor:
        """Return what one copy makes of each row, one copy after the other."""
        places, parts = [], []
        for number in torch.unique(copy).tolist():
            rows = (copy == number).nonzero()[:, 0]
            places.append(rows)
            parts.append(self._run(self.copies[number], take(x, rows)))
        whole = torch.cat(parts)
        return torch.empty_like(whole).index_copy(0, torch.cat(places), whole)

    def matrices(self) -> Iterator[tuple[str, Matrix]]:
        """Yield every parameter of the trunk, a copy in each column."""
        named = [dict(trunk.named_parameters()) for trunk in self.copies]
        for name in named[0]:
            blocks = tuple((parameters[name], ONE_COLUMN) for parameters in named)
            yield name, Matrix(name, blocks)

    def joined_weights(self, prefix: str) -> Iterator[tuple[str, Matrix]]:
        """Yield every weight of the trunk, with the columns of all copies side by side."""
        for same in zip(*map(weights_of, self.copies), strict=True):
            full = f"{prefix}.{same[0][0]}" if prefix else same[0][0]
            yield full, Matrix(full, tuple(block for _, m in same for block in m.blocks))

    def input_layers(self) -> list[nn.Module]:
        """Return the first layers of all copies."""
        return [layer for trunk in self.copies for layer in input_layers(trunk)]


@final
class StackedCopies(Copies):
    """Copies of one shape as batched products, for trunks that `allows_stacking`."""

    # Rows of unlike copies are put into groups of equal size, filled up with rows that are thrown
    # away. Large groups are divided, so that there are at most about four places for each row,
    # except where a batch norm has to see a group as a whole.

    stacks = True

    def __init__(self, trunks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.n_copies = len(trunks)
        places = zip(*map(layers_of, trunks), strict=True)
        stacked = [_STACKED.get(type(same[0]), Elementwise)(same) for same in places]
        self.layers = nn.ModuleList(stacked)
        self._mixes_rows = any(isinstance(layer, StackedBatchNorm) for layer in self.layers)

    def forward(self, x: Inputs) -> Tensor:
        """Return what every copy makes of the same rows."""
        if not isinstance(x, Tensor) or x.ndim != 2:
            raise _not_a_table(x)
        found = self._through(x)
        return found.expand(self.n_copies, *found.shape) if found.ndim == 2 else found

    def each(self, x: Tensor) -> Tensor:
        """Return what every copy makes of rows of its own."""
        return self._through(x)

    def _through(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, groups)
        return x

    def of_rows(self, x: Inputs, copy: Tensor) -> Tensor:
        """Return what one copy makes of each row."""
        if not isinstance(x, Tensor) or x.ndim != 2:
            raise _not_a_table(x)
        groups = Groups.of(copy, self.n_copies, whole=self._mixes_rows)
        filled = x.new_zeros(len(groups.counts) * groups.size, x.shape[1])
        filled = filled.index_copy(0, groups.slots, x).view(-1, groups.size, x.shape[1])
        found = self._through(filled, groups)
        return found.flatten(0, 1)[groups.slots]

    def matrices(self) -> Iterator[tuple[str, Matrix]]:
        """Yield every parameter of the trunk, a copy in each column."""
        for name, parameter in self.named_parameters():
            yield name, Matrix(name, ((parameter, COLUMN_PER_COPY),))

    def input_layers(self) -> list[nn.Module]:
        """Return the first layers of all copies, which are one stacked layer."""
        linear: list[nn.Module] = [m for m in self.layers if isinstance(m, StackedLinear)]
        return linear[:1]


def make_copies(trunks: Sequence[nn.Module], *, ends: bool = True) -> Copies:
    """Return trunks of one shape as one module, batched where their layers allow it."""
    stacks = allows_stacking(trunks[0])
    return StackedCopies(trunks) if stacks else LoopedCopies(trunks, ends=ends)
