"""Columns of categories in an encoded table: which features they are, and vectors for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask.data import TableEncoder

Block = tuple[int, int]
_LEVELS = ("text", "category")


def category_blocks(encoder: TableEncoder | None) -> tuple[Block, ...]:
    """Return where the indicators of each column of categories begin and end."""
    return tuple((start, stop) for kind, start, stop in _columns(encoder) if kind in _LEVELS)


def measured(encoder: TableEncoder | None, n_features: int) -> NDArray[np.bool_]:
    """Return which features are measured numbers, not indicators of 0 and 1."""
    if encoder is None:
        return np.ones(n_features, dtype=bool)
    real = np.zeros(n_features, dtype=bool)
    # Behind a number comes the flag of its missing cells, if it has one.
    real[[start for kind, start, _ in _columns(encoder) if kind == "numeric"]] = True
    return real


def _columns(encoder: TableEncoder | None) -> list[tuple[str, int, int]]:
    """Return kind, first feature and end of every column that makes features."""
    found, start = [], 0
    for column in () if encoder is None else encoder.report_.columns:
        if not column.dropped:
            found.append((column.kind, start, start + len(column.features)))
            start += len(column.features)
    return found


class CategoryVectors(nn.Module):
    """Puts a learned vector in the place of each column's indicators."""

    rest: Tensor

    def __init__(self, n_features: int, blocks: Sequence[Block], width: int) -> None:
        super().__init__()
        self.blocks = tuple(block for block in blocks if block[1] - block[0] > width)
        inside = np.zeros(n_features, dtype=bool)
        for start, stop in self.blocks:
            inside[start:stop] = True
        self.register_buffer("rest", torch.from_numpy(np.flatnonzero(~inside)), persistent=False)
        self.vectors = nn.ModuleList(
            [nn.Linear(stop - start, width, bias=False) for start, stop in self.blocks]
        )
        self.in_features = n_features
        self.out_features = len(self.rest) + width * len(self.blocks)

    def input_layers(self) -> list[nn.Module]:
        """Return nothing: penalties of the input are for the layer that reads what this gives."""
        return []

    def forward(self, x: Tensor) -> Tensor:
        """Return the other features, and the vectors behind them, (n, out_features)."""
        pairs = zip(self.vectors, self.blocks, strict=True)
        found = [vectors(x[:, start:stop]) for vectors, (start, stop) in pairs]
        return torch.cat([x[:, self.rest], *found], dim=1)
