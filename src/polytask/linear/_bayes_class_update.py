"""Further rows for a fitted classifier: new tasks and known ones, the prior held."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest, sentence
from polytask._estimator import Outcomes, Query
from polytask._estimator.query import InputSchema, read_query
from polytask._estimator.scaling import FeatureScaling, refuse_huge_values
from polytask._estimator.scored import scored_data
from polytask.bayes.laplace_rows import Labelled
from polytask.data import Form, LabelIndex, TaskData, tables
from polytask.exceptions import DataError
from polytask.linear._bayes_class_keep import TaskFrame, tasks_of
from polytask.linear._bayes_class_tasks import BayesClassTasks
from polytask.linear._heavy_weights import refuse_heavy

Array = NDArray[np.float64]
Labels = NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class _Rows:
    """The further rows of one task."""

    # Shapes: Z (n, p), y (n,), weight (n,), present (n_features,).

    label: Hashable
    position: int
    Z: Array
    y: Labels
    weight: Array
    present: NDArray[np.bool_] | None


def updated_state(
    schema: InputSchema, tasks: BayesClassTasks, given: tuple[Any, Any, Any, Any], classes: object
) -> tuple[InputSchema, BayesClassTasks]:
    """Return what a fitted classifier knows after further rows."""
    check_classes(classes, tasks, schema.owner)
    raw = scored_data(schema, *given)
    query = read_query(schema, raw, None, "shared")
    refuse_huge_values(query.data.X, "X", schema.owner)
    if raw.sample_weight is not None:
        refuse_heavy(raw.sample_weight, schema.owner)
    rows = _rows(schema, tasks, raw, query)
    sets = _class_sets(tasks, rows, schema.owner)
    labels = schema.index.labels + tuple(r.label for r in rows if r.position >= len(tasks.slices))
    new = dataclasses.replace(
        schema, index=LabelIndex(labels), present=_column_presence(schema, raw, labels)
    )
    return new, _updated_tasks(tasks, rows, sets, labels)


def check_classes(classes: object, tasks: BayesClassTasks, owner: str) -> None:
    """Refuse classes that the model does not know; None is none."""
    if classes is not None:
        _check_classes(np.asarray(classes).tolist(), tasks, owner)


def _check_classes(given: list[Any], tasks: BayesClassTasks, owner: str) -> None:
    known = [] if tasks.union is None else tasks.union.tolist()
    strangers = [label for label in given if label not in known]
    if strangers:
        allowed = f"classes of the model ({', '.join(map(repr, known[:5]))})"
        raise DataError(
            sentence("classes", owner, allowed, repr(strangers[0])) + nearest(strangers[0], known)
        )


def _rows(schema: InputSchema, tasks: BayesClassTasks, raw: TaskData, query: Query) -> list[_Rows]:
    """Return the rows of every task that has some."""
    found: list[_Rows] = []
    labels, n_known = schema.index.labels, len(tasks.slices)
    fresh = n_known
    for k, label, code, part in _parts(schema, raw, query):
        position = code if code >= 0 else fresh
        fresh += code < 0
        X = query.data.X[part]
        present = (
            None
            if query.data.present is None
            else query.data.present[min(k, len(query.data.present) - 1)]
        )
        weight = np.ones(X.shape[0]) if raw.sample_weight is None else raw.sample_weight[part]
        y = np.asarray(raw.y)
        truth = y[part, k] if raw.form is Form.TARGETS else y[part]
        known = labels[code] if code >= 0 else label
        Z = tasks.scaled(X, code, present if code < 0 else None)
        found.append(_Rows(known, position, Z, truth, weight, present))
    return found


def _parts(
    schema: InputSchema, raw: TaskData, query: Query
) -> list[tuple[int, Hashable, int, Any]]:
    """Return (number in the data, label, code in the model, its rows) of tasks."""
    # Known tasks without rows are left out; new ones get the prior.
    if raw.form is Form.TARGETS:
        seen = raw.labelled()
        every = [(t, label, t, np.flatnonzero(seen[:, t])) for t, label in enumerate(raw.tasks)]
        return [entry for entry in every if len(entry[3])]
    codes = np.asarray(query.codes).tolist()
    parts = [
        (k, label, code, raw.task_slice(k))
        for k, (label, code) in enumerate(zip(raw.tasks, codes, strict=True))
    ]
    return [entry for entry in parts if entry[3].stop > entry[3].start or entry[2] < 0]


def _class_sets(tasks: BayesClassTasks, rows: list[_Rows], owner: str) -> list[Labels | None]:
    """Return the classes of every task, known and new; refuse classes that cannot be learned."""
    sets: list[Labels | None] = list(tasks.linear.classes)
    union = np.asarray(tasks.union)
    order = union.tolist()
    for part in sorted(rows, key=lambda r: r.position):
        seen = set(part.y.tolist())
        _check_classes(sorted(seen, key=repr), tasks, f"{owner}.partial_fit, task {part.label!r}")
        held = sets[part.position] if part.position < len(sets) else None
        if held is None or len(held) == 0:
            own = np.array([label in seen for label in order], dtype=bool)
            fresh = union[own] if tasks.several else union
            if part.position < len(sets):
                sets[part.position] = fresh
            else:
                sets.append(fresh)
        elif not seen <= set(held.tolist()):
            strange = next(label for label in seen if label not in set(held.tolist()))
            raise DataError(
                f"Task {part.label!r} of {owner} has the classes {held.tolist()}; got "
                f"{strange!r}. What its earlier rows say about a further class is not known "
                "any more: fit again with all rows."
            )
    return sets


def _updated_tasks(
    tasks: BayesClassTasks,
    rows: list[_Rows],
    sets: list[Labels | None],
    labels: tuple[Hashable, ...],
) -> BayesClassTasks:
    n_known = len(tasks.slices)
    numbers = [None] if not tasks.several else np.asarray(tasks.union).tolist()
    posteriors = []
    for posterior, label in zip(tasks.posteriors, numbers, strict=True):
        used = [r for r in rows if r.position >= n_known or _takes_part(label, sets[r.position])]
        used.sort(key=lambda r: r.position)
        parts = [_problem_rows(r, label, sets[r.position]) for r in used]
        offsets = np.cumsum([0, *[len(y) for _, y, _ in parts]]).astype(np.intp)
        width = posterior.prior.n_features + 1
        labelled = Labelled(
            Z=np.concatenate([np.zeros((0, width)), *[Z for Z, _, _ in parts]]),
            y=np.concatenate([np.zeros(0), *[y for _, y, _ in parts]]),
            weight=np.concatenate([np.zeros(0), *[w for _, _, w in parts]]),
            offsets=offsets,
        )
        positions = np.array([r.position for r in used], dtype=np.intp)
        posteriors.append(posterior.updated(labelled, positions))
    counts = np.concatenate([tasks.linear.counts, np.zeros(len(labels) - n_known)])
    for part in rows:
        counts[part.position] += part.weight.sum()
    loss = tasks.losses[0]
    outcomes = Outcomes(np.zeros(0), (loss,) * len(labels), tuple(sets), tasks.union)
    scaling = FeatureScaling(tasks.mean, tasks.scale, active=True)
    frame = TaskFrame(labels, _presence(tasks, rows, labels), tasks.linear.coef.dtype)
    return tasks_of(frame, outcomes, posteriors, scaling, counts)


def _takes_part(label: Hashable | None, classes: Labels | None) -> bool:
    if label is None:
        return True
    return classes is not None and len(classes) > 1 and label in classes.tolist()


def _problem_rows(
    rows: _Rows, label: Hashable | None, classes: Labels | None
) -> tuple[Array, Array, Array]:
    """Return rows, 0 or 1, and weights for the problem of a class; none if it has no say."""
    if not _takes_part(label, classes):
        return rows.Z[:0], np.zeros(0), np.zeros(0)
    known = [] if classes is None else classes.tolist()
    positive = label if label is not None else known[-1]
    y = np.array([entry == positive for entry in rows.y.tolist()], dtype=np.float64)
    return rows.Z, y, rows.weight


def _presence(
    tasks: BayesClassTasks, rows: list[_Rows], labels: tuple[Hashable, ...]
) -> NDArray[np.bool_] | None:
    """Return which features every task has."""
    if tasks.present is None:
        return None
    present = np.ones((len(labels), tasks.present.shape[1]), dtype=bool)
    present[: len(tasks.present)] = tasks.present
    for part in rows:
        if part.position >= len(tasks.present) and part.present is not None:
            present[part.position] = part.present
    return present


def _column_presence(
    schema: InputSchema, raw: TaskData, labels: tuple[Hashable, ...]
) -> NDArray[np.bool_] | None:
    """Return which columns of the table every task has."""
    if schema.present is None or schema.encoder is None:
        return schema.present
    names = [str(name) for name in schema.encoder.feature_names_in_]
    out = np.ones((len(labels), len(names)), dtype=bool)
    out[: len(schema.present)] = schema.present
    have = {name: j for j, name in enumerate(tables.column_names(raw.X))}
    place = {label: t for t, label in enumerate(labels)}
    for k, label in enumerate(raw.tasks):
        t = place.get(label, 0)
        if t < len(schema.present):
            continue
        for j, name in enumerate(names):
            absent = raw.present is not None and name in have and not raw.present[k, have[name]]
            out[t, j] = name in have and not absent
    return out
