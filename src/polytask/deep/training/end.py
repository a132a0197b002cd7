"""The end of a training, on all rows: the final phase, the objective, how far from stationary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from polytask.deep.regularise import Penalties, final_phase
from polytask.deep.trainable import Sums, Trainable, task_means
from polytask.deep.training.engine import Engine, add_up_gradients
from polytask.deep.training.history import Tally


@torch.no_grad()
def objective_of(
    network: Trainable,
    batches: Iterable[Any],
    weights: Tensor,
    penalties: Penalties,
    engine: Engine,
) -> tuple[float, float]:
    """Return the objective of a network, and what of it is penalties."""
    # Shapes: weights (n_tasks,).
    tally, extra = _added_up(network, batches, engine)
    total, count = extra.tolist()
    data = weights.cpu().double() * tally.means(network.sqrt_loss_mask)
    penalty = sum(penalties.values().values())
    return float(data.nansum()) + total / max(count, 1.0) + penalty, penalty


def residual_of(
    network: Trainable,
    batches: Iterable[Any],
    weights: Tensor,
    penalties: Penalties,
    engine: Engine,
) -> float | None:
    """Return the stationarity residual of penalties that are not smooth, on all batches."""
    # Shapes: weights (n_tasks,).
    if all(term.split.proximable is None for term in penalties.terms):
        return None
    tally, _ = _added_up(network, batches, engine)
    losses, whole = tally.sums.to(weights)
    if network.sqrt_loss_mask is not None:
        # The slope of a root of twice the mean.
        root = (2.0 * losses / whole.clamp_min(torch.finfo(whole.dtype).tiny)).sqrt()
        weights = torch.where(network.sqrt_loss_mask & (root > 0), weights / root, weights)
    network.zero_grad(set_to_none=True)
    for batch in batches:
        sums = network.sums(batch)
        if not len(sums.present):
            continue
        means = sums.losses / whole[sums.present]
        (weights[sums.present].to(means.dtype) * means).sum().backward()
    add_up_gradients([p for p in network.parameters() if p.requires_grad], engine)
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
def _added_up(network: Trainable, batches: Iterable[Any], engine: Engine) -> tuple[Tally, Tensor]:
    """Return the sums of all data, and the sum and count of what belongs to no task."""
    network.eval()
    tally, extra = Tally(network.n_tasks), torch.zeros(2, dtype=torch.float64)
    for batch in batches:
        sums = network.sums(batch)
        tally.add(sums)
        own = 0.0 if sums.extra is None else float(sums.extra)
        extra += torch.tensor([own, 1.0], dtype=torch.float64)
    tally.add_up(engine)
    return tally, extra if engine.world == 1 else engine.total(extra.to(engine.device)).cpu()


def run_final_phase(
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
    biases: list[nn.Parameter] = []
    for module in network.modules():
        own = dict(module.named_parameters(recurse=False))
        if penalised.intersection(own.values()):
            biases += [p for name, p in own.items() if "bias" in name and p not in penalised]
    data = list(batches)
    counts = torch.stack([network.counts(batch) for batch in data]).sum(0)
    present = torch.nonzero(counts > 0)[:, 0]

    def loss() -> Tensor:
        # The sum over tasks of s_t times the mean loss, on all batches.
        total = torch.zeros_like(weights)
        for batch in data:
            sums = network.sums(batch)
            total = total.index_add(0, sums.present, sums.losses.to(total))
        whole = Sums(total[present], counts[present].to(total), present)
        means = task_means(whole, whole.weights, network.sqrt_loss_mask)
        return (weights[present] * means).sum()

    # A millionth of the objective, or what the precision allows.
    tol = max(1e-6, 2.0 * math.sqrt(torch.finfo(weights.dtype).eps))
    # What stays as it is needs no gradient, and no memory for one.
    with _held({*network.parameters()} - penalised - {*biases}):
        final_phase(penalties, loss, also=biases, tol=tol, max_iter=max_iter)


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
