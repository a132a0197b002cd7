"""Any model: Shapley values, from columns put in at random orders into rows of a background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import UNSEEN, Query
from polytask._estimator.groupings import GroupedRows
from polytask._linalg import is_sparse
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, PolytaskError
from polytask.explanation.parts import PREDICTION, PROBABILITY, Parts, Rows
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Index = NDArray[np.intp]
# (rows of X, the task of each, their levels) -> numbers
Ask = Callable[[Any, Index, Any], Array]

# Numbers of X that are asked for at a time.
_AT_ONCE = 4_000_000


def sampled(model: Any, rows: Rows) -> Parts:  # noqa: ANN401 - any fitted estimator
    """Take the predictions of rows apart by sampling."""
    # Strumbelj and Kononenko, "Explaining prediction models and individual predictions with
    # feature contributions", Knowledge and Information Systems 41 (2014).
    draws = _Drawn.of(model, rows)
    ask = _asked(model, rows.label)
    common_of = _stranger(model, rows, ask)
    n, width = rows.n_rows, rows.n_columns
    baseline, (shared, own, error) = np.empty(n), np.empty((3, n, width))
    per_row = draws.n * (len(draws.columns) + 1) * max(rows.X.shape[1], 1)
    step = max(_AT_ONCE // per_row, 1)
    for start in range(0, n, step):
        part = slice(start, start + step)
        few = rows.at(part)
        mine = draws.changes(few, lambda X, tasks, codes, _: ask(X, tasks, codes))
        of_all = draws.changes(few, common_of)
        # Beside the columns of features is the level at the rows of the background.
        baseline[part] = of_all[:, :, rows.first_level].mean(axis=1)
        mine[:, :, rows.first_level] -= of_all[:, :, rows.first_level]
        of_all[:, :, rows.first_level] = 0.0
        shared[part] = of_all.mean(axis=1)
        own[part] = mine.mean(axis=1) - shared[part]
        error[part] = mine.std(axis=1, ddof=1) / np.sqrt(draws.n)
    output = np.full(n, PREDICTION if rows.label is None else PROBABILITY)
    return Parts(baseline, shared, own, output, frozenset({"sampling"}), error)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Orders of the columns with features, a row of the background for each, and a task."""

    # Shapes: columns (m,), ranks (n, m), rows (n, d), tasks (n,), for n draws.

    columns: Index
    ranks: Index
    rows: Array
    tasks: Index

    @classmethod
    def of(cls, model: Any, rows: Rows) -> _Drawn:  # noqa: ANN401 - any estimator
        rng = np.random.default_rng(rows.draws.seed)
        held = rows.X if rows.background is None else rows.background
        if rows.background is None and held.shape[0] < 2:
            owner = type(model).__name__
            raise DataError(LazyMessage("explanation.refusal.one_row", {"owner": owner}))
        n = rows.draws.n_permutations
        # Every row of a small background is drawn nearly as often as every other.
        size = held.shape[0]
        places = np.concatenate([rng.permutation(size) for _ in range(-(-n // size))])[:n]
        columns = np.unique(rows.sources)
        ranks = np.array([rng.permutation(len(columns)) for _ in range(n)])
        counts = np.array(model.data_card_.rows_per_task, dtype=float)
        tasks = rng.choice(len(counts), n, p=counts / counts.sum())
        held = held[places]
        dense = np.asarray(held.toarray() if is_sparse(held) else held)
        return cls(columns, ranks, dense, tasks)

    @property
    def n(self) -> int:
        """The number of draws."""
        return len(self.rows)

    def changes(self, rows: Rows, ask: Callable[[Any, Index, Any, Index], Array]) -> Array:
        """Return what putting in each column changes, and the level before, for each draw."""
        # Shapes: result (n, n_draws, n_columns), the level at `first_level`.
        steps = np.arange(len(self.columns) + 1)
        # Columns with a rank below k are in place after k steps; (draws, steps, d).
        source = np.searchsorted(self.columns, rows.sources)
        placed = self.ranks[:, None, source] < steps[None, :, None]
        X = rows.X.toarray() if is_sparse(rows.X) else rows.X
        mixed = np.where(placed[None], X[:, None, None, :], self.rows[None, :, None, :])
        shape = mixed.shape[:3]
        tasks = np.broadcast_to(rows.tasks[:, None, None], shape).ravel()
        drawn = np.broadcast_to(self.tasks[None, :, None], shape).ravel()
        codes = None if rows.codes is None else np.repeat(rows.codes, shape[1] * shape[2], axis=0)
        values = ask(mixed.reshape(-1, X.shape[1]), tasks, codes, drawn).reshape(shape)
        found = np.zeros((rows.n_rows, self.n, rows.n_columns))
        every = np.broadcast_to(self.ranks, (rows.n_rows, *self.ranks.shape))
        found[:, :, self.columns] = np.take_along_axis(np.diff(values, axis=2), every, axis=2)
        found[:, :, rows.first_level] = values[:, :, 0]
        return found


def _asked(model: Any, label: Any) -> Ask:  # noqa: ANN401 - any estimator
    """Return what asks a model for rows in any order: numbers, or probabilities of a class."""

    def numbers(X: Any, tasks: Index, codes: Any) -> Array:  # noqa: ANN401
        order = np.argsort(tasks, kind="stable")
        held = X[order] if codes is None else GroupedRows(X[order], codes[order])
        found = np.empty(len(tasks))
        found[order] = np.asarray(model._predict_rows(held, tasks[order]), dtype=float)
        return found

    def probabilities(X: Any, tasks: Index, codes: Any) -> Array:  # noqa: ANN401
        if model._schema.form is Form.TARGETS:
            query = Query(TaskData.from_long(X), None, None, None)
            at = int(tasks[0])
            place = np.asarray(model.classes_[at]).tolist().index(label)
            return np.asarray(model._class_probabilities(query)[at][:, place], dtype=float)
        data = TaskData.from_long(X, None, tasks)
        held: Any = data.X if codes is None else GroupedRows(data.X, codes[data.order])
        query = Query(data.with_X(held), np.array(data.tasks, dtype=np.intp), None, None)
        place = np.asarray(model.classes_).tolist().index(label)
        return np.asarray(model._class_probabilities(query)[:, place], dtype=float)

    return numbers if label is None else probabilities


def _stranger(model: Any, rows: Rows, ask: Ask) -> Callable[[Any, Index, Any, Index], Array]:  # noqa: ANN401
    """Return what asks for what all tasks share: an unseen one, or a task that is drawn."""
    targets = model._schema.form is Form.TARGETS

    def unseen(X: Any, tasks: Index, codes: Any, drawn: Index) -> Array:  # noqa: ANN401
        levels = None if codes is None else np.full_like(codes, UNSEEN)
        return ask(X, np.full(len(tasks), UNSEEN), levels)

    def one_drawn(X: Any, tasks: Index, codes: Any, drawn: Index) -> Array:  # noqa: ANN401
        if not targets:
            return ask(X, drawn, codes)
        found = np.empty(len(drawn))
        for task in np.unique(drawn):
            own = drawn == task
            found[own] = ask(X[own], drawn[own], None)
        return found

    def nothing(X: Any, tasks: Index, codes: Any, drawn: Index) -> Array:  # noqa: ANN401
        return np.zeros(len(tasks))

    # Targets of several kinds have nothing in common.
    if len({type(loss) for loss in getattr(model, "losses_", ())}) > 1:
        return nothing
    first = rows.at(np.zeros(len(model.data_card_.rows_per_task), dtype=np.intp))
    X = first.X.toarray() if is_sparse(first.X) else first.X
    # The classes of a target matrix are asked for one target at a time.
    for way in (one_drawn,) if targets and rows.label is not None else (unseen, one_drawn):
        try:
            way(X, first.tasks, first.codes, np.arange(len(X)))
        except (PolytaskError, ValueError):
            continue
        return way
    return nothing
