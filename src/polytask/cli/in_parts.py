"""Tables that are larger than the memory they may take: what is fitted of them in parts."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.cli.columns import roles_of
from polytask.cli.console import FILE_ROWS, note, speak
from polytask.cli.files import RowSource, Tables
from polytask.cli.models import SEARCH, Learning
from polytask.cli.options import Running, spoken_flags
from polytask.cli.training_data import TrainingData, check_form, table_training
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    from polytask.cli.columns import Copied, Roles
    from polytask.cli.predicted import Met
    from polytask.statistics import TaskStatistics

# Rows that tell what the columns are for; each of them is checked as in a small table.
_FIRST_ROWS = 20_000
_PAUSE = 10.0


def collect_training(
    tables: Tables, learning: Learning, running: Running
) -> tuple[TrainingData, Learning]:
    """Return statistics of a table in place of its rows, and what to learn from them."""
    source, sizes = tables.source, tables.source.too_large
    note(LazyMessage("cli.note.in_parts", sizes))
    _refuse_options(tables, learning, sizes)
    parts = source.parts()
    first = _first_rows(parts, tables)
    roles = roles_of(tables.columns, list(first.columns), source.name)
    check_form(roles, first, source.name)
    with warnings.catch_warnings():
        # What is refused of the first rows is refused; what is remarkable need not be so of all.
        warnings.simplefilter("ignore", DataWarning)
        training = table_training(first, roles, tables, learning.override)
    if training.problem != "regression":
        named = next(kind.name for kind in training.kinds if kind.is_class)
        fields = sizes | {"name": repr(named)}
        raise IncompatibleError(LazyMessage("cli.refusal.large_classes", fields))
    learning = learning.without_folds()
    estimator = learning.estimator(training, running)
    if not getattr(estimator, "_fits_moments", bool)():
        name = type(estimator).__name__ if learning.name == SEARCH else learning.name
        fields = sizes | {"model": repr(name)}
        raise IncompatibleError(LazyMessage("cli.refusal.large_model", fields))
    found = _collected(parts, roles, tables, running)
    note(LazyMessage("cli.note.no_scores"))
    rows = dict(zip(found.tasks, found.rows_per_task, strict=True))
    return replace(training, X=found, y=None, weight=None, sizes=rows, n_rows=found.n_rows), (
        learning
    )


def _refuse_options(tables: Tables, learning: Learning, sizes: dict[str, str]) -> None:
    """Refuse what only rows can answer."""
    flags = spoken_flags(tables.splitting)
    flags += ["--folds"] * (learning.folds is not None)
    flags += ["--date-features"] * tables.columns.date_features
    if flags:
        fields = sizes | {"flag": flags[0]}
        raise ParameterError(LazyMessage("cli.refusal.large_option", fields))
    if learning.name == SEARCH and learning.penalty is not None and learning.criterion is None:
        raise ParameterError(LazyMessage("cli.refusal.large_folds", sizes))


def _first_rows(parts: Callable[[], Iterator[Any]], tables: Tables) -> Any:  # noqa: ANN401
    from polytask.data.readers import frame_of

    part = next(parts(), None)
    if part is None:
        raise DataError(LazyMessage("read.refusal.no_rows", {"source": tables.source.name}))
    first = frame_of(part.slice(0, _FIRST_ROWS))
    if tables.columns.drop_missing_target:
        named = [name for name in tables.columns.target if name in first.columns]
        first = first.dropna(subset=named).reset_index(drop=True)
    return first


def _collected(
    parts: Callable[[], Iterator[Any]], roles: Roles, tables: Tables, running: Running
) -> TaskStatistics:
    from polytask.statistics import collect_parts

    used = (*roles.features, *roles.targets)
    more = tuple(name for name in (roles.task, roles.weight) if name is not None)
    chosen = list(dict.fromkeys((*used, *more)))
    drop_missing = tables.columns.drop_missing_target

    def needed() -> Iterator[Any]:
        for part in watched(parts(), running):
            table = part.select(chosen)
            if drop_missing:
                target = table.column(roles.targets[0])
                gap = target.is_null(nan_is_null=True)
                FILE_ROWS.kept = np.flatnonzero(~gap.to_numpy())
                table = table.take(FILE_ROWS.kept)
            yield table

    target = roles.targets[0] if roles.task is not None else list(roles.targets)
    return collect_parts(needed, target, task_column=roles.task, sample_weight=roles.weight)


def write_in_parts(
    model: Any,  # noqa: ANN401 - any estimator
    source: RowSource,
    copied: Copied,
    running: Running,
    target: str,
) -> Met:
    """Write the predictions for a table, part by part, whole or not at all."""
    from polytask.cli.predicted import Met, prediction_table, rows_of
    from polytask.data.readers import arrow_of, frame_of, write_parts

    note(LazyMessage("cli.note.in_parts", source.too_large))
    met: list[Met] = []

    def predicted() -> Iterator[Any]:
        for part in watched(source.parts()(), running):
            rows = rows_of(model, frame_of(part), source, copied)
            table = arrow_of(prediction_table(model, rows, copied.interval), target)
            for name in rows.beside.columns:
                # A part whose cells are all missing does not know what they would be.
                table = table.set_column(table.column_names.index(name), name, part.column(name))
            found = Met.of(model, rows)
            met[:] = [met[0].with_others(found) if met else found]
            yield table

    parts = predicted()
    first = next(parts, None)
    if first is None:
        raise DataError(LazyMessage("read.refusal.no_rows", {"source": source.name}))
    write_parts(itertools.chain([first], parts), target)
    return met[0]


def watched(parts: Iterator[Any], running: Running) -> Iterator[Any]:
    """Yield parts, and say now and then how many rows were read, and how fast."""
    started = said = time.monotonic()
    count = 0
    for part in parts:
        FILE_ROWS.first, FILE_ROWS.kept = count, None
        yield part
        count, now = count + len(part), time.monotonic()
        if now - said >= _PAUSE and not running.quiet:
            said = now
            _say_speed(count, now - started, running)
    FILE_ROWS.first = 0
    if not running.quiet:
        _say_speed(count, time.monotonic() - started, running)


def _say_speed(count: int, seconds: float, running: Running) -> None:
    fields = {"n": f"{count:,}", "speed": f"{count / max(seconds, 1e-9):,.0f}"}
    speak(running.speech("cli.streaming.rows", fields))
