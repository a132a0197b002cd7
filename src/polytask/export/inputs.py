"""The inputs of a graph: columns of a table or an array, and the task of each row."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.dates import dates_again
from polytask._estimator.groupings import levels_apart
from polytask._estimator.query import InputSchema, named_columns
from polytask._estimator.training import is_task_mapping
from polytask._linalg import is_sparse
from polytask.data import Form, LabelIndex, TableEncoder, tables
from polytask.data.labels import label_list
from polytask.data.missing import is_missing
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Array = NDArray[Any]

TASK, FEATURES = "task", "X"
# What stands for a missing cell of text.
NO_TEXT = ""


def free_name(word: str, taken: Sequence[str]) -> str:
    """Return a word, in as many parentheses as it takes to differ from names that are taken."""
    while word in taken:
        word = f"({word})"
    return word


@dataclass(frozen=True)
class Column:
    """A column of the table that a model was fitted on, as its encoder knows it."""

    name: str
    levels: tuple[str, ...] | None
    fill: float
    flag: bool
    boolean: bool


@dataclass(frozen=True, eq=False)
class GraphInputs:
    """What a graph is given: the columns of a table, or one array; and labels of tasks."""

    schema: InputSchema
    columns: tuple[Column, ...] | None
    # The inputs of labels, and what is known of these: none, or one for every grouping.
    tasks: tuple[tuple[str, LabelIndex], ...]

    @classmethod
    def of(cls, model: MultiTaskEstimator) -> GraphInputs:
        """Return the inputs of a fitted model."""
        schema: InputSchema = model._schema
        columns = None if schema.encoder is None else columns_of(schema.encoder)
        taken = [FEATURES] if columns is None else [column.name for column in columns]
        named = isinstance(schema.task_column, str)
        pairs: list[tuple[Any, LabelIndex]] = [*schema.groupings]
        alone = schema.form is Form.TARGETS or len(schema.index.labels) == 1
        if not pairs and not alone:
            pairs = [(schema.task_column if named else TASK, schema.index)]
        words = [name if isinstance(name, str) else f"grouping {name}" for name, _ in pairs]
        tasks = [(free_name(w, taken), index) for w, (_, index) in zip(words, pairs, strict=True)]
        return cls(schema, columns, tuple(tasks))

    @property
    def names(self) -> list[str]:
        """The names of all inputs."""
        columns = [FEATURES] if self.columns is None else [c.name for c in self.columns]
        return [*columns, *(name for name, _ in self.tasks)]


def graph_labels(index: LabelIndex) -> list[Any]:
    """Return labels as a graph is given them: whole numbers, or text."""
    whole = all(isinstance(label, int) and not isinstance(label, bool) for label in index.labels)
    return list(index.labels) if whole else [str(label) for label in index.labels]


def _labels_of_rows(index: LabelIndex, given: Sequence[Hashable], owner: str) -> Array:
    """Return labels of rows as a graph is given them."""
    known = graph_labels(index)
    whole = isinstance(known[0], int)
    codes = index.encode(list(given), "shared", "task", owner)
    # Whatever was not seen in training must not look as if it had been.
    strange: Any = max(known) + 1 if whole else free_name("?", known)
    found = [known[code] if code >= 0 else strange for code in codes.tolist()]
    return np.array(found, dtype=np.int64 if whole else object)


def columns_of(encoder: TableEncoder) -> tuple[Column, ...]:
    """Return the columns that an encoder makes features of, in the order of these."""
    found = []
    for code in encoder.to_state()["codes"]:
        levels = (*code["levels"], *code["joined"]) if code["tag"] == "category" else None
        numeric = (code.get("fill", 0.0), code.get("flag", False), code.get("boolean", False))
        found.append(Column(code["name"], levels, *numeric))
    return tuple(found)


def level_features(encoder: TableEncoder, columns: Sequence[Column]) -> dict[str, Array]:
    """Return, by column of text, the features of every level, of a strange one, and of none."""
    # The encoder itself is asked. Shapes: result (n_levels + 2, features of the column).
    length = 2 + max((len(c.levels) for c in columns if c.levels is not None), default=0)
    cells: dict[str, list[Any]] = {}
    for column in columns:
        if column.levels is None:
            # The median of a flag may be neither true nor false.
            cells[column.name] = [False if column.boolean else column.fill] * length
            continue
        strange = free_name("?", column.levels)
        known = [*column.levels, strange, None]
        cells[column.name] = known + [None] * (length - len(known))
    import pandas as pd

    table = pd.DataFrame({name: pd.Series(own, dtype=object) for name, own in cells.items()})
    features = np.asarray(encoder.encode(table).X, dtype=np.float64)
    names = np.asarray(encoder.feature_names_in_)[encoder.source_columns()]
    return {
        column.name: features[: len(column.levels) + 2, names == column.name]
        for column in columns
        if column.levels is not None
    }


def onnx_inputs(model: MultiTaskEstimator, X: Any, task: Any = None) -> dict[str, Array]:  # noqa: ANN401
    """Return rows as the graph of :func:`to_onnx` is given them.

    Parameters
    ----------
    model : fitted estimator
        The model that was exported.
    X : array or table of shape (n, d), or mapping of task to these
        The rows, as ``predict`` takes them; those of a mapping below each other.
    task : array of shape (n,), str, int or None
        The task of each row, as ``predict`` takes it.

    Returns
    -------
    dict of str to ndarray
        By name of the input: for a model of a table each column of shape (n,), numbers as
        float64 with NaN where a cell is missing, text with ``""`` there; for a model of an array
        ``X`` of shape (n, d); and unless the model is of a target matrix or of one task, the
        labels of the tasks, whole numbers or text, of several groupings one input for each.

    Raises
    ------
    DataError
        If columns are missing, or rows have no task.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskRegressor
    >>> from polytask.export import onnx_inputs
    >>> X, school = np.arange(6.0).reshape(6, 1), ["a", "a", "a", "b", "b", "b"]
    >>> model = MultiTaskRegressor().fit(X, X[:, 0], task=school)
    >>> onnx_inputs(model, X[:2], task=["a", "b"])["task"].tolist()
    ['a', 'b']
    """
    check_is_fitted(model)
    wanted = GraphInputs.of(model)
    schema = wanted.schema
    X = dates_again(named_columns(schema, X), schema.dates, schema.encoder)
    labels: Sequence[Any]
    if is_task_mapping(X):
        parts = [_cells(wanted, part, lacking=True) for part in X.values()]
        labels = [[label for label, part in X.items() for _ in range(part.shape[0])]]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    elif schema.groupings:
        X, labels = levels_apart(schema, X, task)
        found = _cells(wanted, X, lacking=False)
    else:
        column = schema.task_column if task is None else task
        X, own = _without_labels(X, column) if _is_column(column) else (X, column)
        labels, found = [own], _cells(wanted, X, lacking=False)
    # Of a target matrix and of one task there are no labels.
    for (name, index), own in zip(wanted.tasks, labels, strict=False):
        if own is None:
            allowed = LazyMessage("allowed.label_per_row")
            raise DataError(sentence("task", "onnx_inputs", allowed, "None"))
        found[name] = _labels_of_rows(index, label_list(own), schema.owner)
    return found


def _is_column(task: object) -> bool:
    return isinstance(task, str | int | np.integer)


def _without_labels(X: Any, column: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Return the rows without the column of the task labels, and these."""
    if tables.is_table(X):
        rest = [name for name in tables.column_names(X) if name != column]
        return tables.select(X, rest), tables.get_column(X, column)
    array = np.asarray(X)
    return np.delete(array, column, axis=1), array[:, column]


def _cells(wanted: GraphInputs, X: Any, *, lacking: bool) -> dict[str, Array]:  # noqa: ANN401
    """Return the inputs of rows without labels of tasks."""
    if wanted.columns is None:
        if tables.is_table(X):
            X = np.column_stack([tables.get_column(X, n) for n in tables.column_names(X)])
        array = X.toarray() if is_sparse(X) else np.asarray(X)
        return {FEATURES: np.asarray(array, dtype=np.float64)}
    frame = nw.from_native(X, eager_only=True)
    found: dict[str, Array] = {}
    for column in wanted.columns:
        if column.name in frame.columns:
            cells = frame[column.name].to_list()
        elif lacking:
            cells = [None] * len(frame)
        else:
            fields = {"name": repr(column.name), "owner": wanted.schema.owner}
            raise DataError(LazyMessage("export.refusal.column", fields))
        found[column.name] = _numbers(cells) if column.levels is None else _texts(cells)
    return found


def _numbers(cells: list[Any]) -> Array:
    return np.array([np.nan if is_missing(cell) else float(cell) for cell in cells])


def _texts(cells: list[Any]) -> Array:
    from polytask.data.labels import label_of

    found = np.empty(len(cells), dtype=object)
    found[:] = [NO_TEXT if is_missing(cell) else label_of(cell) for cell in cells]
    return found
