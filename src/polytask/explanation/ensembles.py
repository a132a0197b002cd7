"""Combinations of models, and a base with a linear correction per task: sums of their parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import UNSEEN
from polytask._estimator.groupings import GroupedRows
from polytask.explanation.parts import Parts, Rows
from polytask.linear import BayesianMultiTaskRegressor
from polytask.losses import Squared
from polytask.selection.auto.calibration import Calibration
from polytask.selection.held import reads_groupings

Array = NDArray[np.float64]
Explain = Callable[[Any, Rows], Parts]


def combined_parts(model: Any, rows: Rows, explain: Explain) -> Parts | None:  # noqa: ANN401
    """Return the weighted sum of the parts of members; None where they are not summed up."""
    weights = np.vstack([model.task_weights_, model.shared_weights_])
    used = [k for k in range(weights.shape[1]) if np.any(weights[[*rows.tasks, UNSEEN], k] > 0)]
    names = list(model.members_)
    if rows.label is not None or not isinstance(model._by_loss().loss_of(0), Squared):
        # Averages of probabilities, and of means whose logarithms the members sum up.
        plain = getattr(model, "calibrations_", {}).get(names[used[0]], Calibration())
        if len(used) > 1 or plain != Calibration():
            return None
    found: Parts | None = None
    for k in used:
        member = model.members_[names[k]]
        of_tasks, level = weights[:, k], rows.first_level
        own = explain(member, _rows_of(model, member, rows))
        part = own.times(of_tasks[rows.tasks], float(of_tasks[UNSEEN]), level)
        found = part if found is None else found.plus(part)
    return found


def _rows_of(model: Any, member: Any, rows: Rows) -> Rows:  # noqa: ANN401 - estimators
    """Return rows as a member reads them: levels of further groupings may be features."""
    if rows.codes is None or reads_groupings(member):
        return rows
    X = model._rows_of(GroupedRows(rows.X, rows.codes))(member)
    more = [
        np.full(table.shape[1], rows.first_level + 1 + g)
        for g, table in enumerate(model._levels.tables)
    ]
    # A background has no levels.
    return replace(
        rows, X=X, codes=None, sources=np.concatenate([rows.sources, *more]), background=None
    )


def corrected_parts(model: Any, rows: Rows, explain: Explain) -> Parts | None:  # noqa: ANN401
    """Return the parts of a base times its coefficient, and of the other features."""
    correction = model.correction_
    if rows.label is not None or not isinstance(correction, BayesianMultiTaskRegressor):
        return None
    base, last = explain(model.base_, rows), rows.n_columns
    # The prediction of the base is a column of its own, behind those of the user.
    X = model._inputs(rows.X, rows.tasks)
    sources = np.append([] if model._wide else rows.sources, last).astype(np.intp)
    held = replace(rows, X=X, sources=sources, n_columns=last + 1, background=None)
    line = explain(correction, held)
    slopes = np.append(correction.coef_[:, -1], correction._tasks.typical()[0][-1]).astype(float)
    # The mean of what the base had said of the rows that the correction was trained on.
    mean = float(np.asarray(correction.data_card_.means)[-1])
    from_mean = replace(base, baseline=base.baseline - mean)
    parts = from_mean.times(slopes[rows.tasks], float(slopes[UNSEEN]), rows.first_level)
    rest = replace(line, common=line.common[:, :last], own=line.own[:, :last])
    return rest.plus(parts)
