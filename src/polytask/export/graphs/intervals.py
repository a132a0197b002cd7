"""The ends of intervals that are made of held-out errors, in a graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.conformal import TaskEnds, ends_of_tasks, number_tasks
from polytask.export.graphs.encoding import encoded_rows
from polytask.export.graphs.graph import Tensor
from polytask.export.graphs.models import answer, classes_of
from polytask.export.graphs.rows import Answer, Rows, no_interval
from polytask.export.inputs import GraphInputs
from polytask.losses import Gamma, Poisson

Array = NDArray[Any]
# As in ErrorPool: where sums of weights are compared, a row is not lost to rounding.
_ROUNDING = 1e-9


def held_out_ends(model: Any, rows: Rows, found: Answer, level: float) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Return the lower and upper ends (N,) of what `predict_interval` says."""
    if not number_tasks(model).any():
        raise no_interval(type(model).__name__)
    ends = ends_of_tasks(model, rows.tasks, level)
    centre = found.given_numbers.reshaped(-1, 1)
    reach = _spread(centre, ends, rows) * rows.pick(ends.reach[:, None])
    low, high = centre - reach, centre + reach
    if ends.folds:
        points = _points(
            ends, [_fold_centre(one, model, rows, centre) for one in ends.folds], rows
        )
        known = rows.pick(np.array(rows.tasks)[:, None] >= 0)
        high = known.choose(_upper(points, ends, level, 1.0), high)
        low = known.choose(_upper(points, ends, level, -1.0) * -1.0, low)
    amounts = np.array([[isinstance(loss, Poisson | Gamma)] for loss in ends.losses])
    if amounts.any():
        low = rows.pick(amounts).choose(low.op("Max", [0.0]), low)
    return low.reshaped(-1), high.reshaped(-1)


def _spread(centre: Tensor, ends: TaskEnds, rows: Rows) -> Tensor:
    """Return what errors are proportional to, (N, 1); see :func:`spread_of`."""
    spread = rows.ones()
    for kind, own in (
        (Poisson, (centre.op("Max", [0.0]) + 0.375).op("Sqrt")),
        (Gamma, centre),
    ):
        these = np.array([[isinstance(loss, kind)] for loss in ends.losses])
        spread = rows.pick(these).choose(own, spread) if these.any() else spread
    return spread


def _fold_centre(fold: Any, model: Any, rows: Rows, centre: Tensor) -> Tensor:  # noqa: ANN401
    """Return what the model of a fold predicts, that of all rows where it lacks the task."""
    # Shapes: centre, result (N, 1).
    labels, index = model._schema.index.labels, fold._schema.index
    codes = index.encode(list(labels), "shared", "task", type(model).__name__)
    codes = np.append(codes, -1)[list(rows.tasks)]
    if rows.wide and index.labels != labels:
        raise no_interval(type(model).__name__)
    code = None if rows.wide else rows.pick(np.maximum(codes, 0))
    inputs = GraphInputs.of(fold)
    own = encoded_rows(rows.X.graph, fold, inputs, classes_of(fold), code)
    levels = []
    groupings = zip(fold._schema.groupings, model._schema.groupings, rows.levels, strict=True)
    for (_, few), (_, every), place in groupings:
        at = few.encode(list(every.labels), "shared", "task", type(model).__name__)
        unknown = len(few.labels)
        table = np.append(np.where(at >= 0, at, unknown), unknown)
        levels.append(rows.X.graph.constant(table).at(place))
    own = replace(own, levels=tuple(levels))
    said = answer(fold, own).given_numbers.reshaped(-1, 1)
    return rows.pick(codes[:, None] >= 0).choose(said, centre)


def _points(
    ends: TaskEnds, centres: list[Tensor], rows: Rows
) -> list[tuple[Tensor, Tensor, Array]]:
    """Return, for every fold, predictions and units (N, 1), and which errors are its own."""
    scale = rows.pick(ends.scale[:, None])
    return [
        (own, _spread(own, ends, rows) * scale, ends.pool.fold == k)
        for k, own in enumerate(centres)
    ]


def _upper(
    points: list[tuple[Tensor, Tensor, Array]], ends: TaskEnds, level: float, sign: float
) -> Tensor:
    """Return the upper ends of CV+ (N, 1), with `sign` -1 of the targets' negatives."""
    total = float(ends.pool.weight.sum())
    # Weight of the points above the end: the largest points, one by one, until it is too much.
    above = total - level * (total + 1.0) + _ROUNDING
    if above < 0:
        return points[0][0] * 0.0 + np.inf
    sums = np.cumsum(np.sort(ends.pool.weight))
    most = min(int(np.searchsorted(sums, above, "right")) + 1, len(sums))
    each = [centre * sign + unit * ends.pool.errors[own] for centre, unit, own in points]
    weight = np.concatenate([ends.pool.weight[own] for _, _, own in points])
    values, places = each[0].beside(*each[1:]).largest(most)
    before = places.graph.constant(weight).at(places).op("CumSum", [np.array(1)], {"exclusive": 1})
    last = (before - above).op("LessOrEqual", [0.0]).cast(np.int64).summed(keep=True) - np.array(1)
    return values.op("GatherElements", [last], {"axis": 1})
