"""Linear models: exact contributions from the coefficients of each task and of all."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import UNSEEN
from polytask._estimator.outputs import runs
from polytask._linalg import is_sparse
from polytask.exceptions import DataError, IncompatibleError
from polytask.explanation.parts import DECISION, LOG_MEAN, PREDICTION, Parts, Rows
from polytask.linear.bayes_laplace_tasks import expected_predictors
from polytask.losses import LogLink, Loss
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
# Coefficients (n_features,) and intercept of a task, -1 what all have in common.
Line = tuple[Array, float]


class TaskLines(Protocol):
    """Tasks with linear predictors: columns of coefficients, with the class of each."""

    def parameters(self, task: int) -> tuple[Array, Array]:
        """Return coefficients and intercepts of a task."""
        ...

    def columns_of(self, task: int) -> tuple[Hashable | None, ...]:
        """Return the class of every column of a task."""
        ...

    def classes_of(self, task: int) -> NDArray[Any] | None:
        """Return the classes of a task."""
        ...

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task."""
        ...


def line_of(tasks: TaskLines, task: int, rows: Rows) -> Line:
    """Return the line that `decision_function` or `predict` has for a task and the class of rows.

    It is NaN where the task lacks the class.
    """
    coef, intercept = (np.asarray(part, dtype=float) for part in tasks.parameters(task))
    signs = column_signs(tasks, task, rows)
    if not signs:
        return np.full(coef.shape[1], np.nan), float("nan")
    slopes = sum(sign * coef[k] for k, sign in signs.items())
    return np.asarray(slopes), float(sum(sign * intercept[k] for k, sign in signs.items()))


def column_signs(tasks: TaskLines, task: int, rows: Rows) -> dict[int, float]:
    """Return the columns of a task whose sum is explained, each with its sign."""
    columns, classes = tasks.columns_of(task), tasks.classes_of(task)
    known = [] if classes is None else classes.tolist()
    if len(known) < 2:
        return {0: 1.0}
    if rows.label not in known:
        return {}
    if len(columns) == 1:
        return {0: 1.0 if rows.label == known[1] else -1.0}
    here = columns.index(rows.label)
    return {here: 1.0, 1 - here: -1.0} if rows.two_classes and len(columns) == 2 else {here: 1.0}


def output_of(loss: Loss) -> str:
    """Return what a linear predictor of a loss is."""
    if loss.is_classifier:
        return DECISION
    return LOG_MEAN if isinstance(loss, LogLink) else PREDICTION


@dataclass(frozen=True, eq=False)
class Reference:
    """The features that contributions are counted from, and those that each task has."""

    # Shapes: means (d,), present (n_tasks, d).

    means: Array
    present: NDArray[np.bool_] | None

    @classmethod
    def of(cls, model: Any, rows: Rows) -> Reference:  # noqa: ANN401 - any estimator
        """Return the means of the background, or of the rows that a model was trained on."""
        schema, present = model._schema, model._schema.present
        if present is not None and schema.encoder is not None:
            present = present[:, schema.encoder.source_columns()]
        if rows.background is not None:
            return cls(np.asarray(rows.background.mean(axis=0), dtype=float).ravel(), present)
        means = getattr(model.data_card_, "means", None)
        if means is None:
            raise DataError(LazyMessage("explanation.refusal.no_means", {"owner": schema.owner}))
        return cls(np.asarray(means, dtype=float), present)

    def of_task(self, task: int) -> tuple[Array, NDArray[np.bool_] | None]:
        """Return the reference of a task, 0 for features that it lacks, and which it has."""
        has = None if self.present is None or task < 0 else self.present[task]
        return self.means if has is None else np.where(has, self.means, 0.0), has


def common_line(line: Callable[[int], Line], width: int) -> Line:
    """Return the line of what all tasks share, 0 where tasks have no mean: all is their own."""
    try:
        return line(UNSEEN)
    except IncompatibleError:
        return np.zeros(width), 0.0


def line_parts(
    rows: Rows, line: Callable[[int], Line], reference: Reference, output: Callable[[int], str]
) -> Parts:
    """Take the predictors of rows apart."""
    coef, intercept = common_line(line, rows.X.shape[1])
    # A class that no mean has is the tasks' own.
    if np.isnan(coef).any():
        coef, intercept = np.zeros(len(coef)), 0.0
    level = rows.first_level
    baseline = float(coef @ reference.means + intercept)
    common, own = np.empty((2, rows.n_rows, rows.n_columns))
    outputs = np.empty(rows.n_rows, dtype="U16")
    for run in runs(rows.tasks):
        task = int(rows.tasks[run.start])
        (mine, at_zero), outputs[run] = line(task), output(task)
        start, has = reference.of_task(task)
        X = rows.X[run].toarray() if is_sparse(rows.X) else rows.X[run]
        away = np.asarray(X, dtype=float) - start
        away = away if has is None else away * has
        common[run] = rows.folded(away * coef)
        own[run] = rows.folded(away * (mine - coef))
        own[run, level] += float(mine @ start + at_zero) - baseline
    n = rows.n_rows
    return Parts(np.full(n, baseline), common, own, outputs, frozenset({"exact"}))


def expected_parts(parts: Parts, variances: Array, loss: Loss) -> Parts:
    """Return the parts of what is expected of predictors that are known up to a variance."""
    # Shapes: variances (n,). Classes: all parts shrink; means: the baseline grows.
    if loss.is_classifier:
        return parts.scaled(expected_predictors(np.ones(len(variances)), variances, loss))
    if not isinstance(loss, LogLink):
        return parts
    more = expected_predictors(np.zeros(len(variances)), variances, loss)
    return replace(parts, baseline=parts.baseline + more)


@dataclass(frozen=True, eq=False)
class LevelLines:
    """Lines that are sums over groupings: the mean, and the deviations of all levels."""

    # Shapes: coef (d,), deviations (n_levels + 1, d) and (n_levels + 1,) each; the last is 0.

    coef: Array
    intercept: float
    deviations: tuple[tuple[Array, Array], ...]

    @classmethod
    def of(cls, tasks: Any) -> LevelLines:  # noqa: ANN401 - the tasks of a learned prior
        """Return the lines of a learned prior of several groupings in original units."""
        coef, intercept = tasks.in_units(tasks.beta[None], tasks.target_mean)
        found = []
        for W in tasks.deviations():
            slopes, levels = tasks.in_units(np.vstack([W, np.zeros(W.shape[1])]), 0.0)
            found.append((slopes, levels))
        return cls(coef[0], float(intercept[0]), tuple(found))

    def times(self, sign: float) -> LevelLines:
        """Return a multiple."""
        own = tuple((sign * a, sign * b) for a, b in self.deviations)
        return LevelLines(sign * self.coef, sign * self.intercept, own)

    def parts(self, rows: Rows, reference: Reference, loss: Loss) -> Parts:
        """Take the predictors of rows apart, every grouping beside the features in its column."""
        assert rows.codes is not None
        away = rows.values() - reference.means
        own = np.zeros((rows.n_rows, rows.n_columns))
        for g, (slopes, levels) in enumerate(self.deviations):
            codes = rows.codes[:, g]
            own += rows.folded(away * slopes[codes])
            own[:, rows.first_level + g] += slopes[codes] @ reference.means + levels[codes]
        baseline = float(self.coef @ reference.means + self.intercept)
        common, n = rows.folded(away * self.coef), rows.n_rows
        output = np.full(n, output_of(loss))
        return Parts(np.full(n, baseline), common, own, output, frozenset({"exact"}))
