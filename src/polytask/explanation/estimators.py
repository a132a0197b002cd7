"""Estimators of scikit-learn, one per task or one for all: linear ones and trees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from polytask._estimator import UNSEEN
from polytask._estimator.outputs import runs
from polytask._linalg import is_sparse
from polytask.explanation.lines import Line, Reference, line_parts
from polytask.explanation.parts import DECISION, LOG_MEAN, PREDICTION, PROBABILITY, Parts, Rows
from polytask.explanation.trees import tree_values

Array = NDArray[np.float64]
_SCALERS = (MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler)


def _opened(estimator: Any) -> tuple[list[Any], Any] | None:  # noqa: ANN401
    """Return the scalers in front of an estimator and itself; None if others are in front."""
    steps: list[Any] = []
    while isinstance(estimator, Pipeline) or hasattr(estimator, "best_estimator_"):
        if isinstance(estimator, Pipeline):
            steps += [step for _, step in estimator.steps[:-1] if step != "passthrough"]
            estimator = estimator.steps[-1][1]
        else:
            estimator = estimator.best_estimator_
    plain = all(isinstance(s, _SCALERS) and not getattr(s, "clip", False) for s in steps)
    return (steps, estimator) if plain else None


def _through(steps: list[Any], X: Any) -> Any:  # noqa: ANN401 - dense or sparse
    for step in steps:
        X = step.transform(X)
    return X


def _side(estimator: Any, rows: Rows) -> tuple[int, float] | None:  # noqa: ANN401
    """Return the column of decision values of the class of rows, and what it is multiplied by."""
    if not is_classifier(estimator):
        return 0, 1.0
    classes = np.asarray(estimator.classes_).tolist()
    if rows.label not in classes:
        return None
    here = classes.index(rows.label)
    # As in `decision_function`: one value for two classes, half of it to each of more.
    return here, (1.0 if here else -1.0) * (1.0 if rows.two_classes else 0.5)


def _line(estimator: Any, rows: Rows, width: int) -> Line | None:  # noqa: ANN401
    """Return the line of a fitted linear estimator; None if it is none."""
    if isinstance(estimator, DummyClassifier):
        # A task of one class has the constant 1, or -1 where that is the first of two.
        has = rows.label in np.asarray(estimator.classes_).tolist()
        value = 1.0 if has else -1.0 if rows.two_classes else float("nan")
        return np.zeros(width) + 0.0 * value, value
    opened = _opened(estimator)
    if opened is None:
        return None
    steps, last = opened
    known = getattr(last, "coef_", None)
    if known is None or not hasattr(last, "intercept_") or is_sparse(known):
        return None
    coef = np.atleast_2d(np.asarray(known, dtype=float))
    at_zero = np.broadcast_to(np.asarray(last.intercept_, dtype=float), len(coef))
    side = _side(last, rows)
    if side is None:
        return np.full(width, np.nan), float("nan")
    here, sign = side
    if is_classifier(last) and len(coef) > 1:
        sign = 1.0
    elif len(coef) > 1:
        return None
    here = here if len(coef) > 1 else 0
    start = np.asarray(_through(steps, np.zeros((1, width))), dtype=float)[0]
    scale = np.asarray(_through(steps, np.ones((1, width))), dtype=float)[0] - start
    return sign * coef[here] * scale, sign * float(coef[here] @ start + at_zero[here])


def _output(estimator: Any, X: Any, values: Array, rows: Rows) -> str | None:  # noqa: ANN401
    """Return what values of an estimator are; None if it says something else of the rows."""
    # Shapes: X (n, d), values (n,).
    rough = 1e-4 if X.dtype == np.float32 else 1e-6

    def same(found: Any, wanted: Any) -> bool:  # noqa: ANN401
        scale = float(np.max(np.abs(found), initial=0.0)) + 1e-300
        return bool(np.all(np.abs(np.asarray(found) - wanted) <= rough * scale))

    if not is_classifier(estimator):
        said = np.asarray(estimator.predict(X)).reshape(-1)
        if same(said, values):
            return PREDICTION
        with np.errstate(over="ignore"):
            return LOG_MEAN if same(said, np.exp(values)) else None
    side = _side(estimator, rows)
    if isinstance(estimator, DummyClassifier) or side is None:
        return DECISION
    here, sign = side
    if hasattr(estimator, "decision_function"):
        said = np.asarray(estimator.decision_function(X))
        said = sign * said if said.ndim == 1 else said[:, here]
        return DECISION if same(said, values) else None
    return PROBABILITY if same(estimator.predict_proba(X)[:, here], values) else None


def single_parts(model: Any, rows: Rows) -> Parts | None:  # noqa: ANN401 - a SingleTask
    """Take models of one task each apart, by lines or trees; None where they are neither."""
    return _single_lines(model, rows) or _single_trees(model, rows)


def _single_lines(model: Any, rows: Rows) -> Parts | None:  # noqa: ANN401
    labels, d = model._schema.index.labels, rows.X.shape[1]
    lines: dict[int, Line] = {}
    for t, label in enumerate(labels):
        if label not in model.estimators_:
            continue
        columns = np.arange(d) if model._columns is None else model._columns[t]
        line = _line(model.estimators_[label], rows, len(columns))
        if line is None:
            return None
        coef = np.zeros(d)
        coef[columns] = line[0]
        lines[t] = coef, line[1]
    outputs: dict[int, str] = {}
    for run in runs(rows.tasks):
        t = int(rows.tasks[run.start])
        X = model._features(rows.X[run], t)
        coef, at_zero = lines[t]
        output = _output(model._estimator_of(t), X, rows.X[run] @ coef + at_zero, rows)
        if output is None:
            return None
        outputs[t] = output
    # What all tasks share is the mean of their lines, weighted by their rows.
    known = [t for t, line in lines.items() if not np.isnan(line[1])]
    weights = _weights(model, known)
    mean = np.average([lines[t][0] for t in known], axis=0, weights=weights)
    lines[UNSEEN] = mean, float(np.average([lines[t][1] for t in known], weights=weights))
    return line_parts(rows, lines.__getitem__, Reference.of(model, rows), outputs.__getitem__)


def _weights(model: Any, tasks: list[int]) -> Array:  # noqa: ANN401
    """Return the rows that tasks were trained on."""
    rows = model.data_card_.rows_per_task
    found = np.array([rows[t] if t < len(rows) else 0 for t in tasks], dtype=float)
    return found if found.any() else np.ones(len(tasks))


def _values(estimator: Any, X: Any, rows: Rows) -> tuple[Array, str] | None:  # noqa: ANN401
    """Return what features add to the output of trees, the mean last, and what that is."""
    opened = _opened(estimator)
    if opened is None:
        return None
    steps, last = opened
    side = _side(last, rows)
    if side is None:
        return None
    Z = _through(steps, X)
    found = tree_values(last, Z, side[0])
    if found is None:
        return None
    if is_classifier(last) and len(last.classes_) == 2 and hasattr(last, "decision_function"):
        found = side[1] * found
    output = _output(last, Z, found.sum(axis=1), rows)
    return None if output is None else (found, output)


def _single_trees(model: Any, rows: Rows) -> Parts | None:  # noqa: ANN401
    labels, (n, d) = model._schema.index.labels, rows.X.shape
    known = [t for t, label in enumerate(labels) if label in model.estimators_]
    # Tasks of one class have no trees and say nothing of features.
    alone = [t for t in known if isinstance(model.estimators_[labels[t]], DummyClassifier)]
    grown = [t for t in known if t not in alone]
    weights = _weights(model, grown)
    shared, mine = np.zeros((n, d + 1)), np.zeros((n, d + 1))
    output = np.empty(n, dtype="U16")
    for t, weight in zip(grown, weights / weights.sum(), strict=True):
        columns = np.arange(d) if model._columns is None else model._columns[t]
        found = _values(model.estimators_[labels[t]], model._features(rows.X, t), rows)
        if found is None:
            return None
        values = np.zeros((n, d + 1))
        values[:, [*columns, d]], kind = found
        shared += weight * values
        own = rows.tasks == t
        mine[own], output[own] = values[own], kind
    for t in alone:
        own, line = rows.tasks == t, _line(model.estimators_[labels[t]], rows, d)
        assert line is not None
        mine[own, -1] = float(line[1] == 1.0) if kind == PROBABILITY else line[1]
        output[own] = kind
    return _tree_parts(rows, shared, mine, output)


def _tree_parts(rows: Rows, shared: Array, mine: Array, output: NDArray[np.str_]) -> Parts:
    """Return the parts of values of features, the mean last, of all tasks and of the own."""
    common, own = rows.folded(shared[:, :-1]), rows.folded(mine[:, :-1] - shared[:, :-1])
    own[:, rows.first_level] += mine[:, -1] - shared[:, -1]
    baseline = np.array(shared[:, -1])
    return Parts(baseline, common, own, output, frozenset({"tree_shap"}))


def pooled_parts(model: Any, rows: Rows) -> Parts | None:  # noqa: ANN401 - a Pooled
    """Take one model of all tasks apart, by lines or trees; None where it is neither."""
    before = [] if model.steps_ is None else model.steps_.steps
    opened = _opened(Pipeline([*before, ("last", "passthrough")]))
    if opened is None:
        return None
    return _pooled_line(model, rows, opened[0]) or _pooled_trees(model, rows)


def _pooled_line(model: Any, rows: Rows, steps: list[Any]) -> Parts | None:  # noqa: ANN401
    d = rows.X.shape[1]
    line = _line(model.estimator_, rows, d + model.n_task_columns_)
    if line is None:
        return None
    every = np.unique(np.append(rows.tasks, UNSEEN))
    zeros = np.zeros((len(every), d), dtype=rows.X.dtype)
    inputs = model._inputs(sp.csr_array(zeros) if is_sparse(rows.X) else zeros, every)
    at_zero = np.asarray(inputs @ line[0] + line[1])
    if not is_classifier(model.estimator):
        at_zero = model._effect.restore(at_zero, model._learned(every))
    start = _through(steps, np.zeros((1, d)))
    coef = line[0][:d] * np.asarray(_through(steps, np.ones((1, d))) - start)[0]
    lines = {int(t): (coef, float(value)) for t, value in zip(every, at_zero, strict=True)}
    Z = model._inputs(rows.X, rows.tasks)
    output = _output(model.estimator_, Z, np.asarray(Z @ line[0] + line[1]), rows)
    if output is None:
        return None
    reference = replace(Reference.of(model, rows), present=None)
    return line_parts(rows, lines.__getitem__, reference, lambda _: output)


def _pooled_trees(model: Any, rows: Rows) -> Parts | None:  # noqa: ANN401
    d = rows.X.shape[1]
    sides: list[Array] = []
    for tasks in (np.full(rows.n_rows, UNSEEN), rows.tasks):
        found = _values(model.estimator_, model._inputs(rows.X, tasks), rows)
        if found is None:
            return None
        values, output = found
        # What is told of the task follows the features.
        sides.append(np.column_stack([values[:, :d], values[:, d:].sum(axis=1)]))
    return _tree_parts(rows, sides[0], sides[1], np.full(rows.n_rows, output))
