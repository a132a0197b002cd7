"""Which columns of the coefficients belong to which task and class."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from polytask._estimator.outcomes import Outcomes
from polytask.losses import Multinomial
from polytask.penalties import Columns


@dataclass(frozen=True, eq=False)
class Layout:
    """Which columns of W each task owns."""

    columns: Columns
    slices: tuple[slice, ...]


def make_layout(tasks: tuple[Hashable, ...], outcomes: Outcomes) -> Layout:
    """Lay out one column per task, or one per task and class."""
    ends = np.cumsum(outcomes.n_outputs)
    pairs = zip(ends, outcomes.n_outputs, strict=True)
    slices = tuple(slice(int(end - k), int(end)) for end, k in pairs)
    owners: list[Hashable] = []
    labels: list[Hashable | None] = []
    for task, part, loss, classes in zip(
        tasks, slices, outcomes.losses, outcomes.classes, strict=True
    ):
        owners += [task] * (part.stop - part.start)
        several = isinstance(loss, Multinomial) and classes is not None
        labels += classes.tolist() if several else [None]  # type: ignore[union-attr]
    return Layout(Columns(tuple(owners), tuple(labels)), slices)
