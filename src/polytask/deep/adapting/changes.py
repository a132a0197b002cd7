"""Weights of a network that are others for one task, while they are learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask.deep.network import Network

Array = NDArray[Any]
# Parts of a network that are no layers below the heads.
_ABOVE = ("heads", "losses")
# Of the draws of adapters: the same rows give the same model.
_SEED = 0


@dataclass(frozen=True, eq=False)
class Change:
    """What differs from the network for one task.

    Attributes
    ----------
    stages : tuple of list of Tensor
        What learns in each stage, one after another.
    layers : dict of str to Tensor
        Parameters that take the place of those of the network.
    sources : dict of str to Tensor
        What they were in the network.
    additions : dict of str to pair of Tensor
        Factors of shapes (n_outputs, rank) and (rank, n_inputs) whose product is added.
    strength : float
        Of the penalty ``strength / 2`` times the squared distance of the layers from the source.
    """

    stages: tuple[list[Tensor], ...]
    layers: Mapping[str, Tensor] = field(default_factory=dict)
    sources: Mapping[str, Tensor] = field(default_factory=dict)
    additions: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    strength: float = 0.0

    def weights(self) -> dict[str, Tensor]:
        """Return the parameters that take the place of those of the network, by name."""
        added = {
            name: self.sources[name] + left @ right
            for name, (left, right) in self.additions.items()
        }
        return {**self.layers, **added}

    def penalty(self) -> Tensor | None:
        """Return the penalty on the distance from the source; None without one."""
        if not self.strength:
            return None
        squares = [(w - self.sources[name]).square().sum() for name, w in self.layers.items()]
        return 0.5 * self.strength * torch.stack(squares).sum()

    def kept(self) -> tuple[dict[str, Array], dict[str, tuple[Array, Array]]]:
        """Return layers and additions as arrays."""
        layers = {name: _array(value) for name, value in self.layers.items()}
        pairs = self.additions.items()
        return layers, {name: (_array(left), _array(right)) for name, (left, right) in pairs}


def last_layers(network: Network, count: int) -> Change:
    """Return a change of the last layers, one more in each stage."""
    chosen = layers_of(network)[::-1][:count]
    sources = dict(network.named_parameters())
    layers = {name: _copy(sources[name]) for names in chosen for name in names}
    stages = tuple(
        [layers[name] for names in chosen[: k + 1] for name in names] for k in range(len(chosen))
    )
    return Change(stages, layers, {name: sources[name].detach() for name in layers})


def all_layers(network: Network, strength: float) -> Change:
    """Return a change of all layers at once, each held near its source."""
    whole = last_layers(network, len(layers_of(network)))
    return Change(whole.stages[-1:], whole.layers, whole.sources, strength=strength)


def low_rank(network: Network, rank: int) -> Change:
    """Return additions of low rank to all linear layers, which begin at 0."""
    draws = torch.Generator().manual_seed(_SEED)
    additions, sources = {}, {}
    for name, module in below_heads(network).items():
        if isinstance(module, nn.Linear):
            weight = module.weight.detach()
            left = torch.zeros(weight.shape[0], rank)
            right = torch.randn(rank, weight.shape[1], generator=draws)
            right = right / math.sqrt(max(weight.shape[1], 1))
            key = f"{name}.weight"
            additions[key] = (_copy(left.to(weight)), _copy(right.to(weight)))
            sources[key] = weight
    learned = [factor for pair in additions.values() for factor in pair]
    return Change((learned,), sources=sources, additions=additions)


def below_heads(network: Network) -> dict[str, nn.Module]:
    """Return the modules below the heads by name, in the order of their making."""
    modules = network.named_modules()
    return {name: part for name, part in modules if name.partition(".")[0] not in _ABOVE}


def layers_of(network: Network) -> list[list[str]]:
    """Return the names of the parameters of each layer below the heads, the first one first."""
    # A norm, or whatever else has no matrix of weights, belongs to the layer before it.
    found: list[list[str]] = []
    for name, module in below_heads(network).items():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            continue
        names = [f"{name}.{key}" if name else key for key in own]
        if found and all(value.ndim < 2 for value in own.values()):
            found[-1].extend(names)
        else:
            found.append(names)
    return found


def _copy(values: Tensor) -> Tensor:
    return values.detach().clone().requires_grad_()


def _array(values: Tensor) -> Array:
    array: Array = values.detach().cpu().numpy()
    return array
