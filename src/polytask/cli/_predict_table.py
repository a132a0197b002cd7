"""The table of predictions: what was copied, task, prediction, probabilities, notes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask.cli._task_labels import as_column
from polytask.exceptions import DataError

if TYPE_CHECKING:
    import pandas as pd

    from polytask.data.encoder import TransformReport

Columns = list[tuple[str, Any]]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to predict."""

    X: Any
    beside: pd.DataFrame
    task_name: str | None
    task: list[Hashable] | None
    asked: list[Hashable] | None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.beside)

    @cached_property
    def table(self) -> pd.DataFrame:
        """All rows below each other."""
        import pandas as pd

        parts: list[pd.DataFrame] = list(self.X.values()) if isinstance(self.X, dict) else [self.X]
        return pd.concat(parts, ignore_index=True)

    def unseen(self, model: Any) -> list[Hashable]:  # noqa: ANN401 - any estimator
        """Return the tasks that the model does not know."""
        known = set(np.asarray(model.tasks_).tolist())
        return [label for label in dict.fromkeys(self.task or ()) if label not in known]

    def met(self, model: Any) -> TransformReport:  # noqa: ANN401 - any estimator
        """Return what the encoder meets in the rows."""
        from polytask.data.encoder import TransformReport

        encoder = getattr(model, "encoder_", None)
        if encoder is None:
            return TransformReport(self.n_rows)
        names = [str(name) for name in encoder.feature_names_in_]
        table, present = self.table, None
        lacking = [name for name in names if name not in table.columns]
        table = table.reindex(columns=names) if lacking else table[names]
        if isinstance(self.X, dict):
            held = [
                np.tile([name in part.columns for name in names], (len(part), 1))
                for part in self.X.values()
            ]
            present = np.concatenate(held)
        report: TransformReport = encoder.encode(table, present=present).report
        return report


def prediction_table(model: Any, rows: Rows) -> pd.DataFrame:  # noqa: ANN401 - any estimator
    """Predict and lay out the columns. Shapes: result (n, columns)."""
    import pandas as pd

    columns: Columns = [(str(name), rows.beside[name].array) for name in rows.beside.columns]
    if rows.task_name is not None and rows.task_name not in rows.beside.columns:
        columns.append((rows.task_name, _written(rows.task or [])))
    columns += _predicted(model, rows)
    columns += _probabilities(model, rows)
    columns.append(("note", _notes(model, rows)))
    names = [name for name, _ in columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise DataError(
            f"The predictions would have two columns {twice[0]!r}: rename that column of the "
            "input, or leave it out of --id and --keep."
        )
    return pd.DataFrame(dict(columns))


def _written(labels: list[Hashable]) -> Any:  # noqa: ANN401 - a column of pandas
    """Return labels as a column of one type: text where some are text."""
    texts = sum(isinstance(label, str) for label in labels)
    mixed = 0 < texts < len(labels)
    return as_column([str(label) for label in labels] if mixed else labels).array


def _ask(method: Any, rows: Rows) -> Any:  # noqa: ANN401 - predict or predict_proba
    return method(rows.X) if rows.asked is None else method(rows.X, rows.asked)


def _flat(values: Any) -> NDArray[Any]:  # noqa: ANN401 - a column, or a mapping of columns
    if isinstance(values, dict):
        return np.concatenate([np.asarray(part) for part in values.values()])
    return np.asarray(values)


def _predicted(model: Any, rows: Rows) -> Columns:  # noqa: ANN401
    import pandas as pd

    values = _ask(model.predict, rows)
    if isinstance(values, pd.DataFrame):
        return [(str(name), values[name].array) for name in values.columns]
    return [("prediction", _flat(values))]


def _probabilities(model: Any, rows: Rows) -> Columns:  # noqa: ANN401
    if not hasattr(model, "predict_proba"):
        return []
    values = _ask(model.predict_proba, rows)
    if not isinstance(values, list):
        flat = _flat(values)
        return [(f"P({label})", flat[:, k]) for k, label in enumerate(model.classes_)]
    return [
        (f"P({task}={label})", part[:, k])
        for task, classes, part in zip(model.tasks_, model.classes_, values, strict=True)
        if part is not None
        for k, label in enumerate(classes)
    ]


def _notes(model: Any, rows: Rows) -> NDArray[np.object_]:  # noqa: ANN401
    """Say what deserves a look, row by row."""
    notes: list[list[str]] = [[] for _ in range(rows.n_rows)]
    for places, words in _remarks(model, rows):
        for place, word in zip(places.tolist(), words, strict=True):
            notes[place].append(word)
    said = np.empty(rows.n_rows, dtype=object)
    said[:] = ["; ".join(words) for words in notes]
    return said


def _remarks(model: Any, rows: Rows) -> Iterator[tuple[NDArray[np.intp], list[str]]]:  # noqa: ANN401
    strangers = set(rows.unseen(model))
    if strangers:
        unseen = np.flatnonzero([label in strangers for label in rows.task or ()])
        yield unseen, ["unseen task"] * len(unseen)
    report = rows.met(model)
    for name, found in report.unknown.items():
        yield np.flatnonzero(found.rows), [f"new level {name}={level}" for level in found.levels]
    for name, far in report.far.items():
        yield np.flatnonzero(far.rows), [f"far outside training {name}={v:g}" for v in far.values]
    for name in report.missing:
        places = np.flatnonzero(_missing(rows, name))
        yield places, [f"{name} missing"] * len(places)


def _missing(rows: Rows, name: str) -> NDArray[np.bool_]:
    """Mark the missing or blank cells of a column, not those of tasks that lack it."""
    import pandas as pd

    parts = rows.X.values() if isinstance(rows.X, dict) else [rows.X]
    masks = []
    for part in parts:
        if name not in part.columns:
            masks.append(np.zeros(len(part), dtype=bool))
            continue
        column = part[name]
        blank = np.zeros(len(part), dtype=bool)
        if not pd.api.types.is_numeric_dtype(column):
            blank = np.asarray(column.astype(str).str.strip() == "")
        masks.append(np.asarray(column.isna()) | blank)
    return np.concatenate(masks)
