"""Tables that are larger than the memory they may take: what is fitted of them in parts."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.cli.columns import roles_of
from polytask.cli.console import FILE_ROWS, note, speak
from polytask.cli.files import RowSource, Tables
from polytask.cli.models import SEARCH, Learning
from polytask.cli.options import Running, spoken_flags
from polytask.cli.training_data import TrainingData, check_form, pd_concat, table_training
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    from polytask.cli.columns import Copied, Roles, TargetTypeOverride
    from polytask.cli.predicted import Met
    from polytask.comparison.options import Options
    from polytask.statistics.sources import Source

_PAUSE = 10.0


def collect_training(
    tables: Tables, learning: Learning, running: Running, address: str | None = None
) -> tuple[TrainingData, Learning]:
    """Return statistics of a table in place of its rows, and what to learn from them."""
    # `address` is that of a scheduler of Dask, whose workers read the table.
    where, sizes = ("dask", {}) if address else ("large", tables.source.too_large)
    folds = ["--folds"] * (learning.folds is not None)
    if not folds and learning.name == SEARCH and learning.penalty and learning.criterion is None:
        raise ParameterError(LazyMessage(f"cli.refusal.{where}_folds", sizes))
    with nullcontext() if address is None else _workers(address, tables.source) as client:
        rows = _LargeTable.of(tables, learning.override, folds, client)
        learning = learning.without_folds()
        estimator = learning.estimator(rows.training, running)
        if not getattr(estimator, "_fits_moments", bool)():
            name = type(estimator).__name__ if learning.name == SEARCH else learning.name
            fields = sizes | {"model": repr(name)}
            raise IncompatibleError(LazyMessage(f"cli.refusal.{where}_model", fields))
        found = rows.collected(tables, running)
    note(LazyMessage("cli.note.no_scores"))
    return found, learning


def _workers(address: str, source: RowSource) -> AbstractContextManager[Any]:
    """Use a cluster of Dask."""
    if source.data is None or source.is_statistics:
        raise ParameterError(LazyMessage("cli.refusal.dask_source", {"source": source.name}))
    try:
        from polytask.distributed.files import connected
    except ImportError as error:
        raise DataError(*error.args) from None
    return connected(address)


def collect_folds(
    tables: Tables, learning: Learning, options: Options, running: Running
) -> TrainingData:
    """Return statistics of a table with folds to compare on, in place of its rows."""
    from polytask.comparison.collected import FOLDS, LEAST_FOLDS, check_options

    flags = ["--unseen"] * options.unseen + ["--learning-curve"] * bool(options.learning_curve)
    rows = _LargeTable.of(tables, learning.override, flags)
    check_options(replace(options, loss=rows.training.losses(learning.loss)))
    n_folds = max(FOLDS if options.cv is None else options.cv, LEAST_FOLDS)
    fields = tables.source.too_large | {"n": n_folds}
    note(LazyMessage("cli.note.compared_in_parts", fields))
    return rows.collected(tables, running, n_folds)


@dataclass(frozen=True)
class _LargeTable:
    """A table that is read in parts, and what its first rows tell."""

    parts: Callable[[], Iterator[Any]]
    roles: Roles
    training: TrainingData
    # Where workers of Dask read the table.
    client: Any = None

    @classmethod
    def of(
        cls,
        tables: Tables,
        override: TargetTypeOverride,
        flags: Sequence[str],
        client: Any = None,  # noqa: ANN401 - of Dask
    ) -> _LargeTable:
        """Look at the first rows; `flags` are options of the command that need all of them."""
        source = tables.source
        where, sizes = ("dask", {}) if client else ("large", source.too_large)
        if client is None:
            note(LazyMessage("cli.note.in_parts", sizes))
        flags = [*spoken_flags(tables.splitting), *flags]
        flags += ["--date-features"] * tables.columns.date_features
        if flags:
            fields = sizes | {"flag": flags[0]}
            raise ParameterError(LazyMessage(f"cli.refusal.{where}_option", fields))
        parts = source.parts()
        first = _first_rows(parts, tables)
        roles = roles_of(tables.columns, list(first.columns), source.name)
        check_form(roles, first, source.name)
        with warnings.catch_warnings():
            # What is refused of the first rows is refused; what is remarkable need not be of all.
            warnings.simplefilter("ignore", DataWarning)
            training = table_training(first, roles, tables, override)
        if training.problem != "regression":
            named = next(kind.name for kind in training.kinds if kind.is_class)
            fields = sizes | {"name": repr(named)}
            raise IncompatibleError(LazyMessage(f"cli.refusal.{where}_classes", fields))
        return cls(parts, roles, training, client)

    def collected(
        self, tables: Tables, running: Running, n_folds: int | None = None
    ) -> TrainingData:
        """Return the statistics of all rows, which are dealt to folds."""
        from polytask.statistics import collect_parts

        self._refuse_large(tables.source, n_folds or 1)
        roles, drop_missing = self.roles, tables.columns.drop_missing_target
        more = tuple(name for name in (roles.task, roles.weight) if name is not None)
        chosen = list(dict.fromkeys((*roles.features, *roles.targets, *more)))

        def needed() -> Iterator[Any]:
            for part in watched(self.parts(), running):
                table = part.select(chosen)
                if drop_missing:
                    target = table.column(roles.targets[0])
                    gap = target.is_null(nan_is_null=True)
                    FILE_ROWS.kept = np.flatnonzero(~gap.to_numpy())
                    table = table.take(FILE_ROWS.kept)
                yield table

        source = needed if self.client is None else self._of_workers(tables, chosen)
        found = collect_parts(
            source, roles.targets[0] if roles.task is not None else list(roles.targets),
            task_column=roles.task, sample_weight=roles.weight, fold=n_folds,
            random_state=running.seed,
        )  # fmt: skip
        sizes = dict(zip(found.tasks, found.rows_per_task, strict=True))
        return replace(
            self.training, X=found, y=None, weight=None, sizes=sizes, n_rows=found.n_rows
        )

    def _refuse_large(self, source: RowSource, n_folds: int) -> None:
        """Refuse statistics that are larger than the table may be, as far as first rows tell."""
        data, limit = self.training, source.memory
        tasks = len(data.sizes)
        of_a_fold = (
            tasks * (data.n_columns + 1) ** 2
            if self.roles.task is not None
            else (data.n_columns + tasks) ** 2
        )
        # While they are added up, those of all parts, of one, and their sum.
        needed = 3 * 8.0 * n_folds * of_a_fold
        if self.client is None and limit is not None and needed > limit:
            fields = {"source": source.name, "needed": f"{needed / 1e9:.2g}"}
            fields |= {"limit": f"{limit / 1e9:.2g}", "tasks": str(tasks)}
            fields |= {"columns": str(data.n_columns), "folds": str(n_folds)}
            raise DataError(LazyMessage("cli.refusal.large_statistics", fields))

    def _of_workers(self, tables: Tables, chosen: Sequence[str]) -> Source:
        """Return the rows as the workers read them."""
        from polytask.data.file_parts import file_pieces
        from polytask.distributed.files import of_files

        missing = tuple(word.strip() for word in tables.source.text.missing_values)
        pieces = file_pieces(tables.source.name, missing)
        note(LazyMessage("cli.note.on_dask", {"source": tables.source.name, "n": len(pieces)}))
        needed = self.roles.targets[0] if tables.columns.drop_missing_target else None
        # Workers count rows within what they read.
        FILE_ROWS.header = None
        return of_files(pieces, chosen, needed, self.client)


def _first_rows(parts: Callable[[], Iterator[Any]], tables: Tables) -> Any:  # noqa: ANN401
    from polytask.data.readers import frame_of

    taken, count = list[Any](), 0
    for part in parts():
        most = tables.source.first_rows(part.num_columns)
        taken.append(frame_of(part.slice(0, most - count)))
        count += len(taken[-1])
        if count >= most:
            break
    if not taken:
        raise DataError(LazyMessage("read.refusal.no_rows", {"source": tables.source.name}))
    first = pd_concat(taken) if len(taken) > 1 else taken[0]
    if tables.columns.drop_missing_target:
        named = [name for name in tables.columns.target if name in first.columns]
        first = first.dropna(subset=named).reset_index(drop=True)
    return first


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
