"""How far from stationary a network is where penalties make zeros."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from polytask.deep.engine import Engine, add_up_gradients
from polytask.deep.regularise import Penalties
from polytask.deep.trainable import Trainable


def residual_of(
    network: Trainable,
    batches: Iterable[Any],
    weights: Tensor,
    penalties: Penalties,
    engine: Engine,
) -> float | None:
    """Return the stationarity residual of penalties that are not smooth, on all batches."""
    # Shapes: weights (n_tasks,).
    if all(term.parting.proximable is None for term in penalties.terms):
        return None
    network.eval()
    whole, weights = _divisors(network, batches, weights, engine)
    network.zero_grad(set_to_none=True)
    for batch in batches:
        sums = network.sums(batch)
        if not len(sums.present):
            continue
        means = sums.losses / whole[sums.present]
        (weights[sums.present].to(means.dtype) * means).sum().backward()  # type: ignore[no-untyped-call]
    add_up_gradients(_trained(network), engine)
    smooth = penalties.smooth()
    if isinstance(smooth, Tensor):
        smooth.backward()  # type: ignore[no-untyped-call]
    for parameter in (p for term in penalties.terms for p in term.matrix.parameters):
        if parameter.grad is None:
            # It takes no part in the loss.
            parameter.grad = torch.zeros_like(parameter)
    found = penalties.residual()
    network.zero_grad(set_to_none=True)
    return float(sum(value**2 for value in found.values()) ** 0.5)


@torch.no_grad()
def _divisors(
    network: Trainable, batches: Iterable[Any], weights: Tensor, engine: Engine
) -> tuple[Tensor, Tensor]:
    """Return the label weights of all data, and what the mean of each task is multiplied by."""
    both = torch.zeros(2, network.n_tasks, dtype=weights.dtype, device=weights.device)
    for batch in batches:
        sums = network.sums(batch)
        both.index_add_(1, sums.present, torch.stack([sums.weights, sums.losses]).to(both))
    counts, losses = engine.total(both)
    if network.roots is None:
        return counts, weights
    # The slope of a root of twice the mean.
    root = (2.0 * losses / counts.clamp_min(torch.finfo(counts.dtype).tiny)).sqrt()
    return counts, torch.where(network.roots & (root > 0), weights / root, weights)


def _trained(network: nn.Module) -> list[nn.Parameter]:
    return [p for p in network.parameters() if p.requires_grad]
