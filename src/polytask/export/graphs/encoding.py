"""From the inputs of a graph to encoded rows and the positions of their tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import MultiTaskEstimator
from polytask._estimator.training import listed_columns
from polytask.data import Form, LabelIndex
from polytask.exceptions import IncompatibleError
from polytask.export.graphs.graph import Graph, Tensor
from polytask.export.graphs.rows import Classes, Rows
from polytask.export.inputs import FEATURES, GraphInputs, graph_labels, level_features
from polytask.messages import LazyMessage

Array = NDArray[Any]

_BLANK = r"\s*"
# Where there is no line in any table.
_NOWHERE = 2**40


def encoded_rows(
    graph: Graph,
    model: MultiTaskEstimator,
    inputs: GraphInputs,
    classes: Sequence[Classes],
    code: Tensor | None = None,
) -> Rows:
    """Return the rows that a graph is given. `classes` are those of every task, unseen last."""
    # The codes of their tasks come from the inputs unless they are known.
    schema = inputs.schema
    X, d = _features(graph, inputs)
    n_tasks = len(schema.index.labels)
    positions = [*range(n_tasks), -1] if lets_in_strangers(model) else [*range(n_tasks)]
    wide = schema.form is Form.TARGETS
    levels: tuple[Tensor, ...] = ()
    if code is None and inputs.tasks and not wide:
        more = len(positions) - n_tasks
        levels = tuple(_codes(graph, model, name, index, more) for name, index in inputs.tasks)
        code = levels[0]
    elif code is None:
        shape = X.op("Shape", attributes={"start": 0, "end": 1})
        code = shape.op("ConstantOfShape", attributes={"value": np.array([0])})
        code = (code.reshaped(-1, 1) + np.arange(n_tasks if wide else 1)).reshaped(-1)
    kinds = tuple(classes[t] for t in positions)
    several = levels if schema.groupings else ()
    rows = Rows(X, code, d, tuple(positions), kinds, wide, several)
    if schema.present is None or schema.present.all() or schema.encoder is None:
        return rows
    # Columns that a task lacked in training count as zeros.
    own = schema.present[:, schema.encoder.source_columns()].astype(np.float64)
    lines = np.vstack([own, np.ones(d)])[positions]
    return rows.with_features(X * rows.pick(lines), d)


def lets_in_strangers(model: MultiTaskEstimator) -> bool:
    """Say whether a model predicts tasks that it has not seen."""
    if model.unseen_tasks != "shared" or model._schema.form is Form.TARGETS:
        return False
    known: Any = getattr(model, "_linear", getattr(model, "_tasks", None))
    try:
        if known is not None:
            known.loss_of(-1)
    except IncompatibleError:
        # Tasks of several kinds have nothing in common.
        return False
    return True


def _codes(
    graph: Graph, model: MultiTaskEstimator, name: str, index: LabelIndex, strangers: int
) -> Tensor:
    """Return the position of the task of each row; what cannot be predicted ends the run."""
    labels, known = graph_labels(index), index.labels
    count = len(known) + strangers
    if len(set(labels)) < len(labels):
        raise IncompatibleError(LazyMessage("export.refusal.labels"))
    whole = isinstance(labels[0], int)
    given = graph.input(name, np.int64 if whole else str, ["n"])
    attributes: dict[str, Any] = {
        "keys_int64s" if whole else "keys_strings": labels,
        "values_int64s": list(range(len(labels))),
        "default_int64": len(labels),
    }
    code = given.op("LabelEncoder", attributes=attributes)
    # A node's name is part of the error that a place beyond its table leads to.
    code = code.op("Reshape", [np.array([-1])])
    unseen = str(LazyMessage("export.run.unseen", {"model": type(model).__name__}))
    # Names of nodes differ: that of the grouping is part of it.
    refusal = f"{name}: {unseen}" if model._schema.groupings else unseen
    code = graph.constant(np.arange(count)).at(code, refusal=refusal)
    fitted = getattr(model, "estimators_", None)
    if fitted is not None and any(label not in fitted for label in known):
        places = np.array([k if label in fitted else _NOWHERE for k, label in enumerate(known)])
        empty = str(LazyMessage("export.run.empty", {"model": type(model).__name__}))
        code = graph.constant(np.arange(count)).at(graph.constant(places).at(code), refusal=empty)
    return code


def _features(graph: Graph, inputs: GraphInputs) -> tuple[Tensor, int]:
    """Return the encoded features (n, d), and d."""
    schema, encoder = inputs.schema, inputs.schema.encoder
    if encoder is None or inputs.columns is None:
        d = schema.n_features - len(listed_columns(schema.task_column))
        return graph.input(FEATURES, np.float64, ["n", d]), d
    numbers = [column for column in inputs.columns if column.levels is None]
    levels = level_features(encoder, inputs.columns)
    given = {
        column.name: graph.input(column.name, np.float64 if column.levels is None else str, ["n"])
        for column in inputs.columns
    }
    blocks: list[Tensor] = []
    order: dict[str, list[int]] = {}
    if numbers:
        cells = [given[column.name].reshaped(-1, 1) for column in numbers]
        cell = cells[0].beside(*cells[1:])
        missing = cell.op("IsNaN")
        fill = np.array([column.fill for column in numbers], dtype=np.float64)
        blocks += [missing.choose(fill, cell), missing.cast(np.float64)]
        for place, column in enumerate(numbers):
            flag = [len(numbers) + place] if column.flag else []
            order[column.name] = [place, *flag]
    width = 2 * len(numbers)
    for column in inputs.columns:
        if column.levels is None:
            continue
        text, n_levels = given[column.name], len(column.levels)
        attributes = {
            "keys_strings": list(column.levels),
            "values_int64s": list(range(n_levels)),
            "default_int64": n_levels,
        }
        known = text.op("LabelEncoder", attributes=attributes)
        blank = text.op("RegexFullMatch", attributes={"pattern": _BLANK})
        table = levels[column.name]
        line = blank.choose(np.array(n_levels + 1), known)
        blocks.append(graph.constant(table).at(line))
        order[column.name] = [*range(width, width + table.shape[1])]
        width += table.shape[1]
    X = blocks[0].beside(*blocks[1:])
    places = [place for column in inputs.columns for place in order[column.name]]
    return X.at(np.array(places), axis=1), len(places)
