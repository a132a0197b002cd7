"""Relatedness from what a network has recorded while it was trained."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polytask.analysis._related_map import Map, map_of, mapped_places
from polytask.exceptions import IncompatibleError

Array = NDArray[np.float64]
Positions = NDArray[np.intp]

# Sources of a result that come from training.
RECORDED = ("gradients", "affinity")


class Recorded(Protocol):
    """A measure of pairs of tasks."""

    measure: str
    tasks: tuple[Hashable, ...]

    @property
    def similarity(self) -> Array:
        """How alike two tasks are, -1 to 1, (n_tasks, n_tasks)."""
        ...

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which tasks it knows, (n_tasks,)."""
        ...


def recorded(model: Any) -> Recorded | None:  # noqa: ANN401 - any estimator
    """Return the first that a network recorded of pairs of tasks, None of any other model."""
    history = getattr(model, "history_", None)
    if history is None or not hasattr(history, "relations"):
        return None
    if not history.relations:
        raise IncompatibleError(
            f"relatedness of a network is what it records in training, and this "
            f"{type(model).__name__} recorded nothing: fit it with "
            "record=polytask.deep.recording.TaskAffinity(), or give relatedness the data."
        )
    first: Recorded = history.relations[0]
    return first


def rows_of(model: Any, tasks: tuple[Hashable, ...]) -> Positions:  # noqa: ANN401
    """Return the rows of each task in training, 0 where the model does not say."""
    card = getattr(model, "data_card_", None)
    known = {} if card is None else dict(zip(card.tasks, card.rows_per_task, strict=True))
    return np.array([known.get(task, 0) for task in tasks], dtype=np.intp)


def map_of_training(found: Recorded, rows: Positions) -> Map:
    """Order the tasks that were seen by how alike they were."""
    places = np.flatnonzero(found.seen)
    places = places[mapped_places(rows[places])]
    return map_of(found.similarity[np.ix_(places, places)], places, grouped=True)
