"""The parts of boosted trees with a learned prior: of the trees, and of what each task adds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from polytask._estimator import UNSEEN
from polytask.boosting import MixedBoostingClassifier, MixedBoostingRegressor
from polytask.boosting.predictions import GroupedTrees, NumberTrees
from polytask.explanation.dispatch import after_variances, parts_of
from polytask.explanation.lines import (
    LevelLines,
    Line,
    Reference,
    column_signs,
    line_of,
    line_parts,
    output_of,
)
from polytask.explanation.parts import PREDICTION, Parts, Rows
from polytask.explanation.trees import label_tree_values, shared_trees
from polytask.losses import Squared


@parts_of.register(MixedBoostingClassifier)
@parts_of.register(MixedBoostingRegressor)
def _boosted(model: Any, rows: Rows) -> Parts:  # noqa: ANN401 - of two classes
    held, d = model._model, rows.X.shape[1]
    reference = Reference.of(model, rows)

    def wide(line: Line) -> Line:
        coef = np.zeros(d)
        coef[held.columns] = line[0]
        return coef, line[1]

    if isinstance(held, NumberTrees):
        lines = held.lines
        parts = line_parts(
            rows, lambda t: wide((lines[t, 1:], lines[t, 0])), reference, lambda _: PREDICTION
        )
        scales = np.append(held.tasks.target_scale, held.tasks.units(UNSEEN)[1])
        return parts.plus(shared_trees(rows, held.trees.contributions(rows.X), scales, parts))
    if isinstance(held, GroupedTrees):
        chosen = replace(rows, X=rows.X[:, held.columns], sources=rows.sources[held.columns])
        few = Reference(reference.means[held.columns], None)
        parts = LevelLines.of(held.tasks).parts(chosen, few, Squared())
        scales = np.array([held.tasks.target_scale])
        once = replace(rows, tasks=np.zeros(rows.n_rows, dtype=np.intp))
        return parts.plus(shared_trees(once, held.trees.contributions(rows.X), scales, parts))
    parts = line_parts(
        rows,
        lambda t: wide(line_of(held.tasks, t, rows)),
        reference,
        lambda t: output_of(held.loss_of(t)),
    )
    values = label_tree_values(held, rows, lambda t: column_signs(held.tasks, t, rows))
    scales = np.ones(len(held.slices) + 1)
    both = parts.plus(shared_trees(rows, values, scales, parts))
    X = held.beside(rows.X)
    return after_variances(both, held.tasks, rows, lambda run, t: held.variances(X[run], t))
