"""Several copies of a trunk: as one batched computation where its layers allow it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from polytask._checks import sentence
from polytask.deep.regularise.matrices import (
    ColumnPerCopy,
    Matrix,
    OneColumn,
    input_layers,
    weights_of,
)
from polytask.deep.sharing.base import Inputs, count_rows, representation, take
from polytask.deep.sharing.stacked import (
    StackedBatchNorm,
    StackedLinear,
    allows_stacking,
    stack_layers,
)
from polytask.exceptions import IncompatibleError


class Copies(nn.Module, ABC):
    """Copies of a trunk."""

    n_copies: int
    batched: bool

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
    got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
    allowed = "a tensor of shape (n, n_features), as its layers are linear ones and their like"
    return IncompatibleError(sentence("The input", "this trunk", allowed, got))


def _one_by_one(x: Inputs, copy: Tensor, run: Callable[[int, Inputs], Tensor]) -> Tensor:
    """Return what one copy makes of each row, one copy after the other."""
    places, parts = [], []
    for number in torch.unique(copy).tolist():
        rows = (copy == number).nonzero()[:, 0]
        places.append(rows)
        parts.append(run(number, take(x, rows)))
    whole = torch.cat(parts)
    return torch.empty_like(whole).index_copy(0, torch.cat(places), whole)


@final
class LoopedCopies(Copies):
    """Copies one after the other, for any trunk."""

    batched = False

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
        """Return what one copy makes of each row."""
        return _one_by_one(x, copy, lambda number, rows: self._run(self.copies[number], rows))

    def matrices(self) -> Iterator[tuple[str, Matrix]]:
        """Yield every parameter of the trunk, a copy in each column."""
        named = [dict(trunk.named_parameters()) for trunk in self.copies]
        for name in named[0]:
            blocks = tuple((parameters[name], OneColumn()) for parameters in named)
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
@dataclass(frozen=True)
class _Groups:
    """Rows in groups of equal size, each of one copy."""

    # Shapes: which (n_groups,), counts (n_groups,), slots (n,).

    which: Tensor | None
    counts: Tensor
    size: int
    slots: Tensor

    @classmethod
    def of(cls, copy: Tensor, n_copies: int, whole: bool) -> _Groups:
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


@final
class StackedCopies(Copies):
    """Copies of one shape as batched products, for trunks that `allows_stacking`."""

    # Rows of unlike copies are put into groups of equal size, filled up with rows that are thrown
    # away. Large groups are divided, so that there are at most about four places for each row,
    # except where a batch norm has to see a group as a whole.

    batched = True

    def __init__(self, trunks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.n_copies = len(trunks)
        self.layers = nn.ModuleList(stack_layers(trunks))
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

    def _through(
        self, x: Tensor, which: Tensor | None = None, counts: Tensor | None = None
    ) -> Tensor:
        for layer in self.layers:
            x = layer(x, which, counts)
        return x

    def of_rows(self, x: Inputs, copy: Tensor) -> Tensor:
        """Return what one copy makes of each row."""
        if not isinstance(x, Tensor) or x.ndim != 2:
            raise _not_a_table(x)
        groups = _Groups.of(copy, self.n_copies, whole=self._mixes_rows)
        filled = x.new_zeros(len(groups.counts) * groups.size, x.shape[1])
        filled = filled.index_copy(0, groups.slots, x).view(-1, groups.size, x.shape[1])
        found = self._through(filled, groups.which, groups.counts)
        return found.flatten(0, 1)[groups.slots]

    def matrices(self) -> Iterator[tuple[str, Matrix]]:
        """Yield every parameter of the trunk, a copy in each column."""
        for name, parameter in self.named_parameters():
            yield name, Matrix(name, ((parameter, ColumnPerCopy()),))

    def input_layers(self) -> list[nn.Module]:
        """Return the first layers of all copies, which are one stacked layer."""
        linear: list[nn.Module] = [m for m in self.layers if isinstance(m, StackedLinear)]
        return linear[:1]


def make_copies(trunks: Sequence[nn.Module], *, ends: bool = True) -> Copies:
    """Return trunks of one shape as one module, batched where their layers allow it."""
    stacks = allows_stacking(trunks[0])
    return StackedCopies(trunks) if stacks else LoopedCopies(trunks, ends=ends)
