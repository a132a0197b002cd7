"""From errors of held-out rows to the intervals of numbers and the sets of classes of a model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from polytask._checks import number, sentence
from polytask._estimator import outputs
from polytask._estimator.held_out_errors import ErrorPool, ErrorRows, HeldOutErrors
from polytask._estimator.outcomes import numbers_of
from polytask._estimator.query import Query
from polytask._estimator.scoring import LabelledTask, labelled_rows
from polytask.data import Form, TaskData
from polytask.exceptions import DataWarning, IncompatibleError, ParameterError
from polytask.losses import Gamma, Loss, Poisson
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]
# Tasks that are named one by one.
_NAMED = 8


def checked_level(level: object, owner: str) -> float:
    """Return a probability between 0 and 1."""
    allowed = LazyMessage("allowed.between_0_and_1")
    value = number(level, "level", owner, allowed)
    if not 0 < value < 1:
        raise ParameterError(sentence("level", owner, allowed, repr(level)))
    return value


def spread_of(loss: Loss | None, mean: Array) -> Array:
    """Return what errors of a mean are proportional to under a loss, up to a factor."""
    if isinstance(loss, Poisson):
        # The root of counts next to zero varies as if there were 3/8 more (Anscombe).
        return np.sqrt(np.maximum(mean, 0.0) + 0.375)
    return np.asarray(mean) if isinstance(loss, Gamma) else np.ones(len(mean))


def number_tasks(model: Any) -> Mask:  # noqa: ANN401 - a fitted estimator
    """Say of every task whether it is of numbers."""
    n, known = len(model._schema.index.labels), model._by_loss()
    if is_classifier(model) or known is None:
        return np.full(n, not is_classifier(model))
    return np.array([known.classes_of(t) is None for t in range(n)])


def errors_of(model: Any, data: TaskData) -> list[ErrorRows]:  # noqa: ANN401
    """Return the errors of labelled rows that were not fitted, of the tasks of `data`."""
    model = copy.copy(model)
    model.unseen_tasks = "shared"
    data, query = model._scored(data, None, None, None)
    parts = labelled_rows(data, query.codes)
    # Of rows with a task, tasks without rows are no parts.
    counts = data.task_rows()
    places = [k for k in range(data.n_tasks) if query.codes is None or counts[k]]
    tables = None if number_tasks(model).all() else _class_tables(model, query)
    found = []
    for place, part in zip(places, parts, strict=True):
        n = len(part.y)
        if not n:
            continue
        errors = _errors_of_part(model, query, part, tables)
        weight = np.ones(n) if part.weight is None else np.asarray(part.weight, dtype=float)
        shape = np.full(n, place), np.zeros(n, dtype=np.intp), weight, np.full(n, part.task >= 0)
        found.append(ErrorRows(errors, *shape))
    return found


def _errors_of_part(
    model: Any,  # noqa: ANN401
    query: Query,
    part: LabelledTask,
    tables: Any,  # noqa: ANN401
) -> Array:
    numbers = number_tasks(model)
    if numbers[max(part.task, 0)]:
        tasks = np.full(len(part.y), part.task)
        predicted = np.asarray(model._predict_rows(query.data.X[part.rows], tasks), dtype=float)
        truth = numbers_of(part.y, type(model).__name__)
        spread = spread_of(_loss_of(model, part.task), predicted)
        return np.asarray(np.abs(truth - predicted) / spread)
    targets = query.codes is None
    table = np.asarray(tables[part.task] if targets else tables)[part.rows]
    classes = model.classes_[part.task] if targets else model.classes_
    position = {label: k for k, label in enumerate(classes.tolist())}
    at = np.array([position.get(label, -1) for label in part.y.tolist()], dtype=np.intp)
    # A class that the fold never had has probability 0.
    chance = np.where(at >= 0, table[np.arange(len(at)), at], 0.0)
    return np.asarray(1.0 - chance)


def _loss_of(model: Any, task: int) -> Loss | None:  # noqa: ANN401
    known = model._by_loss()
    return None if known is None else known.loss_of(task)


def _class_tables(model: Any, query: Query) -> Any:  # noqa: ANN401
    """Return class probabilities in the order of the query's rows; a list for targets."""
    found = model._class_probabilities(query)
    if query.codes is None:
        return found
    flat = np.concatenate(list(found.values())) if isinstance(found, dict) else np.asarray(found)
    return flat[query.places()]


def intervals(model: Any, X: Any, task: Any, level: float, by_task: bool) -> tuple[Any, Any]:  # noqa: ANN401
    """Return the ends of intervals made of held-out errors, as `predict` returns predictions."""
    held: HeldOutErrors = model._held_out
    query = model._read(X, task)
    codes = np.zeros(0, dtype=np.intp) if query.codes is None else query.row_tasks()
    pools = _Pools(model, held, level, by_task)
    centres = _centres(model, query)
    others = [_centres(*_fold_query(one, X, task)) for one in _fold_models(model)]
    # Of a task that the model of a fold lacks it predicts what the model of all rows does.
    folds = [np.where(np.isnan(own), centres, own) for own in others]
    low, high = np.full(centres.shape, np.nan), np.full(centres.shape, np.nan)
    if query.codes is None:
        cells: list[tuple[int, Any]] = [
            (t, (slice(None), t)) for t in np.flatnonzero(held.numbers).tolist()
        ]
    else:
        cells = [
            (int(codes[run.start]), run)
            for run in (outputs.runs(codes) if len(codes) else [])
            if held.numbers[max(int(codes[run.start]), 0)]
        ]
    for t, cell in cells:
        each = [own[cell] for own in folds]
        low[cell], high[cell] = pools.ends(t, centres[cell], each)
    pools.warn()
    if query.codes is None:
        return low, high
    order = np.empty(len(codes), dtype=np.intp)
    order[query.places()] = np.arange(len(codes))
    return outputs.split(query, low[order]), outputs.split(query, high[order])


@dataclass(frozen=True, eq=False)
class TaskEnds:
    """What decides, without looking at rows, about the ends of the intervals of tasks."""

    # Shapes: scale, reach (n_tasks,), NaN of tasks of classes. The reach is that of intervals
    # around the prediction: of all tasks if there are no models of folds, else of unseen ones.

    scale: Array
    reach: Array
    losses: tuple[Loss | None, ...]
    pool: ErrorPool
    folds: tuple[Any, ...]


def ends_of_tasks(model: Any, tasks: Sequence[int], level: float) -> TaskEnds:  # noqa: ANN401
    """Return what :func:`intervals` makes the ends of tasks of, -1 being an unseen one."""
    held: HeldOutErrors = model._held_out
    pools, numbers = _Pools(model, held, level, False), number_tasks(model)
    own = [t if numbers[max(t, 0)] else None for t in tasks]
    each = [None if t is None else pools.pool(t) for t in own]
    radius = np.array([np.nan if one is None else one.radius(level) for one in each])
    scale = np.array([np.nan if t is None else 1.0 if t < 0 else held.scale[t] for t in own])
    return TaskEnds(
        scale=scale,
        reach=np.where(np.isinf(radius), np.inf, radius * scale),
        losses=tuple(None if t is None else _loss_of(model, t) for t in own),
        pool=held.pool(int(np.argmax(numbers)), False),
        folds=_fold_models(model),
    )


class _Pools:
    """The errors that decide about rows, and the tasks that have too few of their own."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401
        held: HeldOutErrors,
        level: float,
        by_task: bool,
    ) -> None:
        self.model, self.held, self.level, self.by_task = model, held, level, by_task
        self.lacking: list[int] = []
        self._common: dict[bool, ErrorPool] = {}

    def pool(self, task: int) -> ErrorPool:
        """Return what decides about rows of a task."""
        if task < 0:
            pool = self.held.pool(task, False)
            if not len(pool.errors):
                fields = {"owner": type(self.model).__name__}
                raise IncompatibleError(LazyMessage("estimator.refusal.no_strange_errors", fields))
            return pool
        if self.by_task:
            pool = self.held.pool(task, True)
            if pool.enough(self.level):
                return pool
            self.lacking.append(task)
        kind = bool(self.held.numbers[task])
        if kind not in self._common:
            self._common[kind] = self.held.pool(task, False)
        if not len(self._common[kind].errors):
            fields = {"owner": type(self.model).__name__}
            raise IncompatibleError(LazyMessage("estimator.refusal.only_strange_errors", fields))
        return self._common[kind]

    def ends(self, task: int, centre: Array, folds: Sequence[Array]) -> tuple[Array, Array]:
        """Return the ends for rows of a task of numbers."""
        pool, loss = self.pool(task), _loss_of(self.model, task)
        scale = 1.0 if task < 0 else float(self.held.scale[task])
        if folds and task >= 0:
            spreads = np.stack([scale * spread_of(loss, own) for own in folds])
            low, high = pool.ends(np.stack(folds), spreads, self.level)
        else:
            radius = pool.radius(self.level)
            reach = np.inf if np.isinf(radius) else radius * scale * spread_of(loss, centre)
            low, high = centre - reach, centre + reach
        # Counts and amounts are not below zero.
        return np.maximum(low, 0.0) if isinstance(loss, Poisson | Gamma) else low, high

    def warn(self) -> None:
        """Name the tasks that have too few errors of their own."""
        if not self.lacking:
            return
        tasks = list(dict.fromkeys(self.lacking))
        labels = [repr(self.model._schema.index.labels[t]) for t in tasks[:_NAMED]]
        more = ["..."] * (len(tasks) > _NAMED)
        fields = {"count": len(tasks), "names": [*labels, *more], "level": f"{self.level:.0%}"}
        warnings.warn(DataWarning(LazyMessage("warn.few_errors", fields)), stacklevel=5)


def _fold_models(model: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return tuple(getattr(model, "_fold_models", ()))


def _centres(model: Any, query: Query) -> Array:  # noqa: ANN401
    """Return what is predicted for tasks of numbers, NaN for others, in the query's order."""
    # Shapes: result (n,), or (n, T) for targets.
    X, numbers = query.data.X, number_tasks(model)
    if query.codes is None:
        found = np.full((query.n_rows, len(numbers)), np.nan)
        for t in np.flatnonzero(numbers).tolist():
            found[:, t] = model._predict_rows(X, np.full(query.n_rows, t))
        return found
    tasks = query.row_tasks()
    allowed = numbers[np.maximum(tasks, 0)] & ((tasks >= 0) | (model.unseen_tasks == "shared"))
    flat: Array = np.full(len(tasks), np.nan)
    if allowed.any():
        kept = slice(None) if allowed.all() else np.flatnonzero(allowed)
        flat[kept] = model._predict_rows(X[kept], tasks[kept])
    return flat


def _fold_query(model: Any, X: Any, task: Any) -> tuple[Any, Query]:  # noqa: ANN401
    """Return the model of a fold and what it reads, unknown tasks as -1."""
    reader = copy.copy(model)
    reader.unseen_tasks = "shared"
    query = reader._read(X, task)
    reader.unseen_tasks = "error"
    return reader, query


def sets(model: Any, X: Any, task: Any, level: float, by_task: bool) -> Any:  # noqa: ANN401
    """Return which classes belong to the set of every row, as `predict_proba` returns them."""
    held: HeldOutErrors = model._held_out
    query = model._read(X, task)
    pools = _Pools(model, held, level, by_task)
    tables, classes = _class_tables(model, query), model.classes_
    queries = [_fold_query(one, X, task) for one in _fold_models(model)]
    others = [(one, _class_tables(one, own)) for one, own in queries]
    if query.codes is None:
        chosen: list[Any] = []
        for t, table in enumerate(tables):
            if table is None:
                chosen.append(None)
                continue
            each = [_aligned(own[t], one.classes_[t], classes[t]) for one, own in others]
            chosen.append(_chosen(pools.pool(t), table, each, level))
        pools.warn()
        return chosen
    found = np.zeros(tables.shape, dtype=bool)
    each = [_aligned(own, one.classes_, classes) for one, own in others]
    codes = query.row_tasks()
    for run in outputs.runs(codes) if len(codes) else []:
        t = int(codes[run.start])
        if not held.numbers[max(t, 0)]:
            own = [table[run] for table in each] if t >= 0 else []
            found[run] = _chosen(pools.pool(t), tables[run], own, level)
    pools.warn()
    order = np.empty(len(codes), dtype=np.intp)
    order[query.places()] = np.arange(len(codes))
    return outputs.split(query, found[order])


def _aligned(table: Any, known: Any, classes: Any) -> Array:  # noqa: ANN401
    """Return the columns of some classes, 0 for one that is not known."""
    position = {label: k for k, label in enumerate(known.tolist())}
    out = np.zeros((len(table), len(classes)))
    for k, label in enumerate(classes.tolist()):
        if label in position:
            out[:, k] = table[:, position[label]]
    return out


def _chosen(pool: ErrorPool, table: Array, folds: Sequence[Array], level: float) -> Mask:
    """Return the classes whose probability is not too small, the most probable one always."""
    if folds:
        wanted = level * (pool.weight.sum() + 1.0) - 1e-9
        columns = [
            pool.misses(np.stack([1.0 - own[:, k] for own in folds])) < wanted
            for k in range(table.shape[1])
        ]
        found = np.column_stack(columns)
    else:
        found = 1.0 - table <= pool.radius(level)
    found[np.arange(len(table)), np.argmax(table, axis=1)] = True
    return np.asarray(found)


def smallest_sets(chances: Any, level: float) -> Any:  # noqa: ANN401 - as predict_proba returns it
    """Return the fewest classes that have the wanted probability together, for every row."""
    if isinstance(chances, dict):
        return {label: smallest_sets(own, level) for label, own in chances.items()}
    if isinstance(chances, list):
        return [None if own is None else smallest_sets(own, level) for own in chances]
    table = np.nan_to_num(np.asarray(chances))
    order = np.argsort(-table, axis=1, kind="stable")
    ordered = np.take_along_axis(table, order, axis=1)
    # A class belongs to the set while those before it do not have enough.
    before = np.cumsum(ordered, axis=1) - ordered
    found = np.zeros(table.shape, dtype=bool)
    np.put_along_axis(found, order, (before < level) & (ordered > 0), axis=1)
    return found


def learned_errors(
    rows: ErrorRows,
    model: Any,  # noqa: ANN401
    data: TaskData,
    *,
    for_intervals: bool = True,
) -> HeldOutErrors | None:
    """Return the errors in units of their tasks; targets of several units are made comparable."""
    # The tasks of `data`, the rows that the model was fitted on, may be fewer than its own.
    numbers, known = number_tasks(model), model._by_loss()
    unit = np.ones(len(numbers))
    names = {None} if known is None else {known.loss_of(t).name for t in range(len(unit))}
    if data.form is Form.TARGETS or len(names) > 1:
        codes = model._schema.index.encode(list(data.tasks), "shared", "task", "intervals")
        for part in labelled_rows(data, np.asarray(codes)):
            if numbers[part.task] and len(part.y):
                deviation = float(np.std(np.asarray(part.y, dtype=float)))
                unit[part.task] = deviation if deviation > 0 else 1.0
    found = HeldOutErrors.of(rows, numbers, unit)
    return None if found is None else replace(found, for_intervals=for_intervals)
