"""New levels of one of several groupings, for a model with a learned prior of each."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from polytask._estimator import regression
from polytask._estimator.base import label_array
from polytask._estimator.card import checksum, counted_card
from polytask._estimator.groupings import READING_GROUPINGS
from polytask._estimator.scaling import refuse_huge_values
from polytask.data import LabelIndex, TaskData
from polytask.data.labels import warn_of_likeness
from polytask.data.missing import rows_text
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage
from polytask.transfer._report import Adaptation
from polytask.transfer._rows import OWNER


def new_levels(
    model: Any,  # noqa: ANN401 - an estimator
    X: Any,  # noqa: ANN401
    y: object,
    task: object,
    sample_weight: object,
    domain: str | None,
) -> Any:  # noqa: ANN401
    """Return a model that knows new levels of one grouping, everything else as it was."""
    if domain is not None or y is None:
        key = "levels_unlabelled" if domain is None else "levels_domain"
        raise IncompatibleError(LazyMessage(f"transfer.refusal.{key}", {"owner": OWNER}))
    schema, tasks = model._schema, model._grouped
    raw = READING_GROUPINGS.scored(replace(schema, owner=OWNER), X, y, task, sample_weight)
    assert raw.groupings is not None
    query = READING_GROUPINGS.query(schema, replace(raw, y=None), None, "shared")
    rows: Any = query.data.X
    refuse_huge_values(rows.values, "X", OWNER)
    outcomes = regression(raw, "squared", OWNER)
    refuse_huge_values(outcomes.y, "y", OWNER)
    weight = np.ones(raw.n_rows) if raw.sample_weight is None else raw.sample_weight
    g = _grouping(raw, rows.codes < 0)
    name, index = schema.groupings[g]
    # The positions of new levels among themselves.
    used, own = np.unique(raw.groupings.codes[:, g], return_inverse=True)
    labels = tuple(raw.groupings.labels[g][k] for k in used)
    warn_of_likeness(labels, index.labels)
    learned = tasks.with_levels(g, rows, (outcomes.y, weight), own, len(labels))
    new = copy.copy(model)
    new._forget_held_out()
    groupings = list(schema.groupings)
    groupings[g] = (name, LabelIndex((*index.labels, *labels)))
    new._schema = replace(schema, index=groupings[0][1], groupings=tuple(groupings))
    new.tasks_ = label_array(new._schema.index.labels)
    new._show_groupings(learned)
    held = Counter(labels[k] for k in own)
    # The rows of a known task are rows of it; of a new one they are its first.
    added = Counter(raw.tasks[t] for t in raw.row_tasks())
    encoded = replace(query.data, X=rows.values)
    new.data_card_ = counted_card(model.data_card_, added, raw.n_rows, checksum(encoded))
    fixed = not np.any(np.diagonal(tasks.covariances[g]) > 0)
    new.adaptation_ = Adaptation(
        None, labels, tuple(held[k] for k in labels), "rmse", strengths=(1.0,) * len(labels),
        fixed=fixed, grouping=str(name),
    )  # fmt: skip
    return new


def _grouping(raw: TaskData, unknown: Any) -> int:  # noqa: ANN401 - an array
    """Return the grouping of which every row has a new level; refuse other rows."""
    # Shapes: unknown (n, n_groupings).
    held = raw.groupings
    assert held is not None
    places = np.flatnonzero(unknown.any(axis=0))
    named = [repr(held.names[g]) for g in places] or [*map(repr, held.names)]
    fields: dict[str, Any] = {"names": named}
    if len(places) == 1 and unknown[:, places[0]].all():
        return int(places[0])
    known = ~unknown.any(axis=1)
    key = "levels_known" if known.any() else "levels_several"
    shown = np.zeros(raw.n_rows, dtype=bool)
    shown[np.argsort(np.argsort(raw.order))[known]] = True
    fields["rows"] = rows_text(shown) if known.any() else ""
    raise DataError(LazyMessage(f"transfer.refusal.{key}", fields))
