"""The final phase of a training: penalised layers alone, on all rows, until they stand still."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from polytask.deep.regularise import Penalties, final_phase
from polytask.deep.terms import Sums, task_means
from polytask.deep.trainable import Trainable


def settle(
    network: Trainable,
    batches: Iterable[Any],
    weights: Tensor,
    penalties: Penalties,
    max_iter: int,
) -> None:
    """Take proximal gradient steps on the penalised layers, with their biases, in place."""
    # Shapes: weights (n_tasks,).
    network.eval()
    penalised = {p for term in penalties.terms for p in term.matrix.parameters}
    biases = _biases(network, penalised)
    data = list(batches)
    counts = torch.stack([network.counts(batch) for batch in data]).sum(0)

    def loss() -> Tensor:
        return _data_term(network, data, weights, counts)

    # What stays as it is needs no gradient, and no memory for one.
    with _held({*network.parameters()} - penalised - {*biases}):
        final_phase(penalties, loss, also=biases, tol=_tolerance(weights), max_iter=max_iter)


def _tolerance(like: Tensor) -> float:
    """Return a millionth, or what the precision allows, as a share of the objective."""
    return max(1e-6, 2.0 * math.sqrt(torch.finfo(like.dtype).eps))


def _biases(network: nn.Module, penalised: set[nn.Parameter]) -> list[nn.Parameter]:
    """Return the biases of the layers that have a penalised weight."""
    found: list[nn.Parameter] = []
    for module in network.modules():
        own = dict(module.named_parameters(recurse=False))
        if penalised.intersection(own.values()):
            found += [p for name, p in own.items() if "bias" in name and p not in penalised]
    return found


@contextmanager
def _held(parameters: set[nn.Parameter]) -> Iterator[None]:
    """Keep parameters from asking for gradients."""
    asking = [p for p in parameters if p.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


def _data_term(
    network: Trainable, batches: Iterable[Any], weights: Tensor, counts: Tensor
) -> Tensor:
    """Return the sum over tasks of s_t times the mean loss, on all batches."""
    total = torch.zeros_like(weights)
    for batch in batches:
        sums = network.sums(batch)
        total = total.index_add(0, sums.present, sums.losses.to(total))
    present = torch.nonzero(counts > 0)[:, 0]
    whole = Sums(total[present], counts[present], present)
    means = task_means(whole, whole.weights.to(total), network.roots)
    return (weights[present] * means).sum()
