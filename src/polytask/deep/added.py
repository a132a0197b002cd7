"""Tasks that a trained network has learned since: a head each, and layers that differ for it."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.deep.network import Network
from polytask.losses import Loss

Array = NDArray[Any]


@saveable("deep.added_task")
@dataclass(frozen=True, eq=False)
class AddedTask:
    """A task that :func:`polytask.adapt` has added to a trained network."""

    # Shapes: coef (n_columns, width), intercept (n_columns,).
    # The network itself, and with it the tasks that it was trained on, stay as they are.

    loss: Loss
    classes: Array | None
    labels: tuple[Hashable | None, ...]
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    reads_features: bool = False
    layers: Mapping[str, Array] = field(default_factory=dict)
    additions: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether the head reads the representation of the network as it was trained."""
        return not (self.layers or self.additions or self.reads_features)

    def network_of(self, network: Network) -> Network:
        """Return the network that computes the representation of this task."""
        if not (self.layers or self.additions):
            return network
        own = copy.deepcopy(network)
        weights = dict(own.named_parameters())
        with torch.no_grad():
            for name, values in self.layers.items():
                weights[name].copy_(torch.from_numpy(np.array(values)))
            for name, (left, right) in self.additions.items():
                product = torch.from_numpy(np.array(left)) @ torch.from_numpy(np.array(right))
                weights[name].add_(product.to(weights[name]))
        return own
