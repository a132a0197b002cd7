"""The end of a training, on all rows: the final phase, the objective, how far from stationary."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from polytask.deep.regularise import Penalties, final_phase
from polytask.deep.trainable import Sums, Trainable, task_means
from polytask.deep.training.engine import TrainingProcesses, add_up_gradients
from polytask.deep.training.history import Tally


def measured(
    network: Trainable,
    batches: Iterable[Any],
    weights: Tensor,
    penalties: Penalties,
    engine: TrainingProcesses,
) -> tuple[float, float, float | None]:
    """Return the objective on all batches, what of it is penalties, and its residual."""
    # Shapes: weights (n_tasks,).
    network.eval()
    tally, extra = Tally(network.n_tasks), torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for batch in batches:
            sums = network.sums(batch)
            tally.add(sums)
            own = 0.0 if sums.extra is None else float(sums.extra)
            extra += torch.tensor([own, 1.0], dtype=torch.float64)
    tally.add_up(engine)
    if engine.world > 1:
        extra = engine.total(extra.to(engine.device)).cpu()
    total, count = extra.tolist()
    data = weights.cpu().double() * tally.means(network.sqrt_loss_mask)
    penalty = sum(penalties.values().values())
    objective = float(data.nansum()) + total / max(count, 1.0) + penalty
    residual = None
    if any(term.split.proximable is not None for term in penalties.terms):
        residual = _residual(network, batches, weights, tally.sums, penalties, engine)
    return objective, penalty, residual


def _residual(
    network: Trainable,
    batches: Iterable[Any],
    weights: Tensor,
    sums_of_tasks: Tensor,
    penalties: Penalties,
    engine: TrainingProcesses,
) -> float:
    """Return the stationarity residual of the penalties; sums_of_tasks (2, n_tasks)."""
    losses, whole = sums_of_tasks.to(weights)
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
    still = {*network.parameters()} - penalised - {*biases}
    asking = [parameter for parameter in still if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        final_phase(penalties, loss, also=biases, tol=tol, max_iter=max_iter)
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)
