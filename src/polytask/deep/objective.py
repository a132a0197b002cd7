"""The objective of a trained network: what was trained for, at the weights that are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from polytask.deep.engine import Engine
from polytask.deep.record import Tally
from polytask.deep.regularise import Penalties
from polytask.deep.trainable import Trainable


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
    network.eval()
    tally = Tally(network.n_tasks)
    # What belongs to no task, and how many batches it is the mean of.
    extra = torch.zeros(2, dtype=torch.float64)
    for batch in batches:
        sums = network.sums(batch)
        tally.add(sums.losses, sums.weights, sums.present)
        own = 0.0 if sums.extra is None else float(sums.extra)
        extra += torch.tensor([own, 1.0], dtype=torch.float64)
    tally.add_up(engine)
    if engine.world > 1:
        extra = engine.total(extra.to(engine.device)).cpu()
    total, count = extra.tolist()
    data = weights.cpu().double() * tally.means(network.roots)
    penalty = sum(penalties.values().values())
    return float(data.nansum()) + total / max(count, 1.0) + penalty, penalty
