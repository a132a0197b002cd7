"""Which way each model is taken apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.groupings import GroupedRows
from polytask._estimator.outputs import runs
from polytask.baselines import Pooled, SingleTask
from polytask.explanation.ensembles import combined_parts, corrected_parts
from polytask.explanation.estimators import pooled_parts, single_parts
from polytask.explanation.lines import (
    LevelLines,
    Line,
    Reference,
    column_signs,
    expected_parts,
    line_of,
    line_parts,
    output_of,
)
from polytask.explanation.parts import PREDICTION, Parts, Rows
from polytask.explanation.sampling import sampled
from polytask.linear import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
)
from polytask.linear.base import LinearEstimator
from polytask.losses import Squared
from polytask.selection.auto import (
    AutoMultiTaskClassifier,
    AutoMultiTaskModel,
    AutoMultiTaskRegressor,
)
from polytask.selection.shared_base import SharedBase


@singledispatch
def parts_of(model: Any, rows: Rows) -> Parts:  # noqa: ANN401 - a fitted estimator
    """Take the predictions of rows apart."""
    return sampled(model, rows)


@parts_of.register(LinearEstimator)
def _linear(model: LinearEstimator, rows: Rows) -> Parts:
    return _lines_parts(model, model._linear, rows)


@parts_of.register(BayesianMultiTaskClassifier)
@parts_of.register(BayesianMultiTaskModel)
def _laplace(model: BayesianMultiTaskClassifier | BayesianMultiTaskModel, rows: Rows) -> Parts:
    if model._groups is not None:
        return _grouped_labels(model, model._groups, rows)
    tasks = model._tasks
    parts = _lines_parts(model, tasks, rows)
    return after_variances(parts, tasks, rows, lambda run, t: tasks.variances(rows.X[run], t))


def _grouped_labels(model: Any, groups: Any, rows: Rows) -> Parts:  # noqa: ANN401
    """Take the predictors of classes, counts and amounts of several groupings apart."""
    here, sign = 0, 1.0
    if groups.union is not None:
        here = groups.union.tolist().index(rows.label)
        if len(groups.posteriors) == 1:
            # The log odds are those of the second of two classes.
            here, sign = 0, 1.0 if here == 1 else -1.0
    line = LevelLines.of(groups.posteriors[here]).times(sign)
    parts = line.parts(rows, Reference.of(model, rows), groups.loss)
    assert rows.codes is not None
    variances = groups.variances(GroupedRows(rows.X, rows.codes))
    return expected_parts(parts, variances[:, here], groups.loss)


def after_variances(
    parts: Parts,
    tasks: Any,  # noqa: ANN401 - the tasks of a Laplace approximation
    rows: Rows,
    variances_of: Callable[[slice, int], NDArray[np.float64]],
) -> Parts:
    """Return what is expected of predictors at the mode, by the variances of rows of a task."""
    found: list[tuple[Any, Parts]] = []
    for run in runs(rows.tasks):
        task = int(rows.tasks[run.start])
        # A task that lacks the class has no column, and NaN for its parts.
        column = next(iter(column_signs(tasks, task, rows)), 0)
        variances = variances_of(run, task)[:, column]
        found.append((run, expected_parts(parts.at(run), variances, tasks.loss_of(task))))
    return Parts.joined(found, rows.n_rows)


@parts_of.register(BayesianMultiTaskRegressor)
def _normal(model: BayesianMultiTaskRegressor, rows: Rows) -> Parts:
    if model._groups is not None:
        return LevelLines.of(model._groups).parts(rows, Reference.of(model, rows), Squared())

    def line(task: int) -> Line:
        return model._tasks.typical() if task < 0 else line_of(model._linear, task, rows)

    return line_parts(rows, line, Reference.of(model, rows), lambda _: PREDICTION)


def _lines_parts(model: Any, tasks: Any, rows: Rows) -> Parts:  # noqa: ANN401
    """Take rows of tasks with a line each apart."""
    reference = Reference.of(model, rows)

    def output(task: int) -> str:
        return output_of(tasks.loss_of(task))

    return line_parts(rows, lambda task: line_of(tasks, task, rows), reference, output)


@parts_of.register(SingleTask)
def _single(model: SingleTask, rows: Rows) -> Parts:
    return single_parts(model, rows) or sampled(model, rows)


@parts_of.register(Pooled)
def _pooled(model: Pooled, rows: Rows) -> Parts:
    return pooled_parts(model, rows) or sampled(model, rows)


@parts_of.register(AutoMultiTaskClassifier)
@parts_of.register(AutoMultiTaskModel)
@parts_of.register(AutoMultiTaskRegressor)
def _auto(model: Any, rows: Rows) -> Parts:  # noqa: ANN401 - of several classes
    return combined_parts(model, rows, parts_of) or sampled(model, rows)


@parts_of.register(SharedBase)
def _corrected(model: SharedBase, rows: Rows) -> Parts:
    return corrected_parts(model, rows, parts_of) or sampled(model, rows)
