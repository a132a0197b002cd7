"""The work of ``polytask predict``."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask._checks import nearest
from polytask.cli._console import note, say
from polytask.cli._fit_report import named
from polytask.cli._predict_table import Rows, prediction_table
from polytask.cli._quantities import counted
from polytask.cli._roles import matching, require
from polytask.cli._sources import Output, Source, require_file
from polytask.cli._task_labels import as_column, known_labels
from polytask.exceptions import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (
    ".csv",
    ".tsv",
    ".csv.gz",
    ".tsv.gz",
    ".parquet",
    ".pq",
    ".arrow",
    ".feather",
    ".ipc",
)


@dataclass(frozen=True)
class Copied:
    """What is copied from the table."""

    task: str | None
    ids: tuple[str, ...]
    keep: tuple[str, ...]


def run_predict(
    path: str, source: Source, copied: Copied, output: Output, unseen_tasks: str | None
) -> None:
    """Load, read, predict, write and say what was met."""
    source.check("polytask predict")
    target = output.check("predictions.csv", path, source.data)
    if not target.lower().endswith(TABLE_SUFFIXES):
        raise DataError(
            f"Cannot write {target}: allowed are the suffixes {', '.join(TABLE_SUFFIXES)}."
        )
    require_file(path, "the model that polytask fit has written")
    from polytask import load
    from polytask.data.readers import write_table

    model = load(path)
    if unseen_tasks is not None:
        model.unseen_tasks = unseen_tasks
    rows = _rows(model, source, copied)
    table = prediction_table(model, rows)
    write_table(table, target)
    _say_summary(model, rows, target)


def _rows(model: Any, source: Source, copied: Copied) -> Rows:  # noqa: ANN401 - any estimator
    if source.pattern is not None:
        return _separate(model, source, copied)
    table = source.table()
    column = task_column_of(model, copied.task, table, source.name)
    columns = list(table.columns)
    beside = _beside(copied, columns, source.name)
    task = None if column is None else known_labels(table[column], model.tasks_)
    if column is not None and task is not None:
        _check_tasks(model, task, f"column {column!r}", source.name)
    X = needed_columns(table, model, source.name)
    if column is not None and task is not None and column == model.task_column:
        X = X.drop(columns=[column])
        X[column] = as_column(task)
        return Rows(X, table[list(beside)], column, task, None)
    return Rows(X, table[list(beside)], column, task, task)


def task_column_of(
    model: Any,  # noqa: ANN401 - any estimator
    given: str | None,
    table: pd.DataFrame,
    source: str,
) -> str | None:
    """Return the column of task labels, None if the model needs none."""
    known = model.task_column
    if is_targets(model):
        if given is not None:
            raise ParameterError(
                "The model predicts each of its targets for every row: drop --task."
            )
        return None
    if known is not None and given is not None and given != known:
        raise ParameterError(
            f"The model reads the tasks from column {known!r}: drop --task, or rename the column "
            f"{given!r}."
        )
    column: str | None = known or given
    if column is None and len(model.tasks_) > 1:
        raise ParameterError(
            f"The model has {len(model.tasks_):,} tasks: name the column of {source} that says "
            "which with --task."
        )
    if column is not None:
        require(column, list(table.columns), source)
    return column


def is_targets(model: Any) -> bool:  # noqa: ANN401 - any estimator
    """Tell whether the model predicts each of several targets for every row."""
    return bool(model.data_card_.form == "targets")


def _check_tasks(model: Any, labels: list[Hashable], what: str, source: str) -> None:  # noqa: ANN401
    """Refuse missing labels, and unknown ones unless the model may predict them."""
    from polytask.data import LabelIndex

    index = LabelIndex(tuple(np.asarray(model.tasks_).tolist()))
    index.encode(labels, model.unseen_tasks, what, source)


def needed_columns(table: pd.DataFrame, model: Any, source: str) -> pd.DataFrame:  # noqa: ANN401
    """Return the columns that the model needs; refuse a table that lacks some."""
    wanted = [str(name) for name in model.feature_names_in_]
    lacking = [name for name in wanted if name not in table.columns]
    if lacking:
        others = [name for name in table.columns if name not in wanted]
        raise DataError(
            f"{source} lacks {len(lacking)} of the {len(wanted)} columns that the model needs: "
            f"{named([repr(name) for name in lacking])}.{nearest(lacking[0], others)}"
        )
    return table[wanted]


def _beside(copied: Copied, columns: list[str], source: str) -> tuple[str, ...]:
    ids = matching(copied.ids, columns, source)
    kept = matching(copied.keep, columns, source)
    return (*ids, *(name for name in kept if name not in ids))


def _separate(model: Any, source: Source, copied: Copied) -> Rows:  # noqa: ANN401
    import pandas as pd

    if copied.task is not None or is_targets(model):
        raise ParameterError(
            "--file-per-task makes each file a task: drop --task."
            if copied.task is not None
            else "The model predicts each of its targets for every row: give it DATA, one table."
        )
    tables = source.tables()
    labels = known_labels(pd.Series(list(tables), dtype=object), model.tasks_)
    _check_tasks(model, labels, "the names of the files", source.name)
    X = {
        label: _of_task(table, model) for label, table in zip(labels, tables.values(), strict=True)
    }
    beside = [
        table[list(_beside(copied, list(table.columns), name))] for name, table in tables.items()
    ]
    task = [label for label, t in zip(labels, tables.values(), strict=True) for _ in range(len(t))]
    return Rows(X, pd.concat(beside, ignore_index=True), "task", task, None)


def _of_task(table: pd.DataFrame, model: Any) -> pd.DataFrame:  # noqa: ANN401
    return table[[name for name in table.columns if name in set(model.feature_names_in_)]]


def _say_summary(model: Any, rows: Rows, target: str) -> None:  # noqa: ANN401
    for sentence in rows.met(model).warnings:
        note(sentence)
    strangers = rows.unseen(model)
    if strangers:
        count = sum(label in set(strangers) for label in rows.task or ())
        were = "was" if len(strangers) == 1 else "were"
        note(
            f"{counted(count, 'row')} of {counted(len(strangers), 'task')} that {were} not in "
            f"training ({named([str(s) for s in strangers])}) had only what tasks share to go by."
        )
    say(f"Wrote {counted(rows.n_rows, 'row')} to {target}.")
