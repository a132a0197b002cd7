"""Heads: from a representation to the predictors of each task."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ColumnHeads(nn.Module):
    """One linear map per column, all of them one product."""

    # Shapes: weight (n_columns, n_features), bias (n_columns,).

    owners: Tensor

    def __init__(self, owners: Sequence[int], n_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(len(owners), n_features))
        self.bias = nn.Parameter(torch.empty(len(owners)))
        self.register_buffer("owners", torch.tensor(list(owners)), persistent=False)
        # One column per task, as of numbers and of two classes.
        self._in_order = list(owners) == list(range(len(owners)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights uniformly within 1 / sqrt(n_features); biases start at 0."""
        bound = 1.0 / math.sqrt(max(self.weight.shape[1], 1))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the predictors of all columns, (n, n_columns)."""
        # Shapes: features (n, n_features).
        if features.ndim == 2:
            return nn.functional.linear(features, self.weight, self.bias)
        own = features if self._in_order else features[:, self.owners]
        return torch.einsum("nch,ch->nc", own, self.weight) + self.bias

    def of_columns(self, features: Tensor, columns: Tensor) -> Tensor:
        """Return predictors of some columns for each row, (n, K)."""
        # Shapes: features (n, n_features), columns (n, K).
        if columns.shape[1] == 1:
            column = columns[:, 0]
            product = (features * self.weight[column]).sum(-1)
            return (product + self.bias[column])[:, None]
        return torch.einsum("nkh,nh->nk", self.weight[columns], features) + self.bias[columns]
