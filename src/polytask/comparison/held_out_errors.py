"""Errors of the rows that a comparison held out, of which intervals of its models are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.conformal import learned_errors, spread_of
from polytask._estimator.held_out_errors import ErrorRows, HeldOutErrors
from polytask.data import Form
from polytask.metrics import HeldOut
from polytask.selection.held import Study

_LEVEL = 0.9


def errors_record(
    study: Study,
    model: Any,  # noqa: ANN401
    parts: Sequence[tuple[int, HeldOut]],
) -> dict[str, Any]:
    """Return what the intervals of a model are made of, nothing where classes have no chances."""
    codes = model._schema.index.encode(list(study.data.tasks), "shared")
    known, errors = model._by_loss(), []
    for task, part in parts:
        if part.classes is None:
            loss = None if known is None else known.loss_of(max(int(codes[task]), 0))
            errors.append(np.abs(part.y - part.prediction) / spread_of(loss, part.prediction))
        elif part.probabilities is None:
            return {}
        else:
            of_truth = part.probabilities[np.arange(len(part.y)), part.y.astype(np.intp)]
            errors.append(1.0 - of_truth)
    if not errors:
        return {}
    tasks = np.repeat([task for task, _ in parts], [len(one) for one in errors])
    weights = [np.ones(len(p.y)) if p.weight is None else p.weight for _, p in parts]
    found = {"errors": np.concatenate(errors), "error_tasks": tasks, "seen": codes[tasks] >= 0}
    plain = all(part.weight is None for _, part in parts)
    return found if plain else found | {"error_weights": np.concatenate(weights)}


def held_out_errors(
    units: Sequence[Any], records: Mapping[str, dict[str, Any]], n_rows: int, name: str
) -> ErrorRows | None:
    """Return the errors of a model in splits that hold no row out twice."""
    parts, taken = [], np.zeros(n_rows, dtype=bool)
    for unit in units:
        record = records.get(unit.key, {})
        if unit.model != name or unit.variant or "errors" not in record or taken[unit.test].any():
            continue
        taken[unit.test] = True
        errors = np.asarray(record["errors"])
        fold = np.full(len(errors), unit.split)
        weight = np.asarray(record.get("error_weights", np.ones(len(errors))))
        rows = ErrorRows(errors, record["error_tasks"], fold, weight, record["seen"])
        parts.append(rows.of_fold())
    return ErrorRows.joined(parts) if parts else None


def with_errors(model: Any, rows: ErrorRows | None, study: Study) -> Any:  # noqa: ANN401
    """Give a model of all rows the errors of the folds, unless it keeps those of its own."""
    if rows is None or getattr(model, "_held_out", None) is not None:
        return model
    codes = np.asarray(model._schema.index.encode(list(study.data.tasks), "shared"))
    kept = rows.rows(codes[rows.task] >= 0)
    kept = ErrorRows(kept.errors, codes[kept.task], kept.fold, kept.weight, kept.seen)
    own = model._has_intervals()
    model._held_out = learned_errors(kept, model, study.data, for_intervals=not own)
    return model


def coverage(rows: ErrorRows, study: Study) -> NDArray[np.float64]:
    """Return which share of the held-out labels of each task the errors of other folds cover."""
    tasks = range(study.data.n_tasks)
    numbers, unit = np.array([study.classes(t) is None for t in tasks]), np.ones(len(tasks))
    if study.data.form is Form.TARGETS:
        deviations = np.nanstd(study.outcomes.y, axis=0)
        unit = np.where(numbers & (deviations > 0), deviations, 1.0)
    held = HeldOutErrors.of(rows, numbers, unit)
    return np.full(len(tasks), np.nan) if held is None else held.coverage(_LEVEL)[0]
