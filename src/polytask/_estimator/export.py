"""What a model of one task needs to stand alone: the columns of the task, and their encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.query import InputSchema
from polytask.data import TableEncoder


def task_position(schema: InputSchema, task: object) -> int:
    """Return the position of a task."""
    return int(schema.index.encode([task], "error", "task", f"{schema.owner}.to_sklearn")[0])


def own_features(schema: InputSchema, task: int) -> NDArray[np.intp] | None:
    """Return the encoded features that a task has, None if it has all."""
    if schema.encoder is None or schema.present is None or schema.present[task].all():
        return None
    return np.flatnonzero(schema.present[task][schema.encoder.source_columns()])


def stand_alone(schema: InputSchema, task: int, model: Any) -> Any:  # noqa: ANN401 - an estimator
    """Put the encoding of a table in front of a model of one task."""
    if schema.encoder is None:
        return model
    from sklearn.pipeline import Pipeline

    state = schema.encoder.to_state()
    if own_features(schema, task) is not None and schema.present is not None:
        kept = {str(n) for n in schema.encoder.feature_names_in_[schema.present[task]]}
        state["columns"] = [name for name in state["columns"] if name in kept]
        for part in ("codes", "report"):
            state[part] = [entry for entry in state[part] if entry["name"] in kept]
    return Pipeline([("encoder", TableEncoder.from_state(state)), ("model", model)])
