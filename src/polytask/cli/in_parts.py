"""Tables that are larger than the memory they may take: what is fitted of them in parts."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from polytask.cli.columns import roles_of
from polytask.cli.console import FILE_ROWS, note, speak
from polytask.cli.files import RowSource, Tables
from polytask.cli.models import SEARCH, Learning
from polytask.cli.options import Running, spoken_flags
from polytask.cli.training_data import TrainingData, check_form, pd_concat, table_training
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.messages import LazyMessage, Text, message_of, speak_in

if TYPE_CHECKING:
    from polytask.cli.columns import Copied, Roles, TargetTypeOverride
    from polytask.cli.predicted import Met
    from polytask.comparison.options import Options
    from polytask.data.file_parts import FileParts, FilePiece
    from polytask.data.places import Place
    from polytask.statistics.sources import Source

About = TypeVar("About")
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

    parts: FileParts
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
        flags += [f"--task {name}" for name in tables.columns.tasks[1:]]
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

        needed = roles.targets[0] if drop_missing else None
        # Parts know in which row of a file they begin, and which of its rows they lack.
        FILE_ROWS.header, FILE_ROWS.kept = int(self.parts.has_header), None
        source: Any = _NeededRows(self.parts, chosen, needed, running)
        if self.client is not None:
            source = self._of_workers(tables, chosen, needed)
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

    def _of_workers(self, tables: Tables, chosen: Sequence[str], needed: str | None) -> Source:
        """Return the rows as the workers read them."""
        from polytask.data.file_parts import file_pieces
        from polytask.distributed.files import of_files

        missing = tuple(word.strip() for word in tables.source.text.missing_values)
        pieces = file_pieces(tables.source.name, missing).pieces
        note(LazyMessage("cli.note.on_dask", {"source": tables.source.name, "n": len(pieces)}))
        return of_files(pieces, chosen, needed, self.client)


@dataclass(frozen=True, eq=False)
class _NeededRows:
    """What is needed of a table in parts: some columns, of rows with a cell in `needed`."""

    parts: FileParts
    chosen: Sequence[str]
    needed: str | None
    running: Running

    def __call__(self) -> Iterator[Any]:
        """Yield the parts."""
        return (table for _, table in self.placed())

    def placed(self) -> Iterator[tuple[Place, Any]]:
        """Yield the parts, and where their rows stand."""
        for place, part in watched(self.parts.placed(), self.running):
            table = part.select(self.chosen)
            if self.needed is not None:
                gap = table.column(self.needed).is_null(nan_is_null=True)
                kept = np.flatnonzero(~gap.to_numpy())
                yield replace(place, kept=kept), table.take(kept)
            else:
                yield place, table


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
        FILE_ROWS.kept = np.flatnonzero(first[named].notna().all(axis=1))
        first = first.iloc[FILE_ROWS.kept].reset_index(drop=True)
    return first


def write_in_parts(
    model: Any,  # noqa: ANN401 - any estimator
    source: RowSource,
    copied: Copied,
    running: Running,
    target: str,
    address: str | None = None,
) -> Met:
    """Write the predictions for a table, part by part, whole or not at all."""
    # `address` is that of a scheduler of Dask, whose workers predict.
    from polytask.data.readers import write_parts

    met: list[Met] = []
    predictor = _Predictor(source, copied, target, running.lang)

    def predicted() -> Iterator[Any]:
        for found, table in watched(parts, running):
            met[:] = [met[0].with_others(found) if met else found]
            yield table

    with nullcontext() if address is None else _workers(address, source) as client:
        parts = predictor.here(model) if client is None else predictor.on_workers(model, client)
        tables = predicted()
        first = next(tables, None)
        if first is None:
            raise DataError(LazyMessage("read.refusal.no_rows", {"source": source.name}))
        write_parts(itertools.chain([first], tables), target)
    return met[0]


@dataclass(frozen=True)
class _Predictor:
    """What predicts parts of a table, as tables to be written to `target`."""

    source: RowSource
    copied: Copied
    target: str
    lang: str

    def here(self, model: Any) -> Iterator[tuple[Met, Any]]:  # noqa: ANN401 - any estimator
        """Predict the parts one after another."""
        note(LazyMessage("cli.note.in_parts", self.source.too_large))
        parts = self.source.parts()
        FILE_ROWS.header = int(parts.has_header)
        for place, part in parts.placed():
            yield self._of(model, place, part)

    def on_workers(self, model: Any, client: Any) -> Iterator[tuple[Met, Any]]:  # noqa: ANN401
        """Let workers of Dask predict pieces of the files."""
        from polytask.data.file_parts import file_pieces
        from polytask.distributed.files import in_order

        missing = tuple(word.strip() for word in self.source.text.missing_values)
        found = file_pieces(self.source.name, missing)
        FILE_ROWS.header = 0
        note(LazyMessage("cli.note.on_dask", {"source": self.source.name, "n": len(found.pieces)}))
        function = partial(self._elsewhere, found.columns)
        for predicted, warned in in_order(function, model, found.pieces, client):
            for told in warned:
                warnings.warn(DataWarning(told), stacklevel=2)
            if predicted is not None:
                yield predicted

    def _elsewhere(
        self,
        columns: Sequence[str],
        model: Any,  # noqa: ANN401 - any estimator
        piece: FilePiece,
    ) -> tuple[tuple[Met, Any] | None, list[Text]]:
        """Predict a piece, None if it has no rows, and return what is warned of."""
        part = piece.read(columns)
        if not part.num_rows:
            return None, []
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", DataWarning)
            # What is written beside the predictions is in the language of the command.
            found = copy_context().run(self._spoken, model, piece.place, part)
        return found, [message_of(one.message) for one in warned]

    def _spoken(self, *given: Any) -> tuple[Met, Any]:  # noqa: ANN401 - as of `_of`
        speak_in(self.lang)
        return self._of(*given)

    def _of(self, model: Any, place: Place, part: Any) -> tuple[Met, Any]:  # noqa: ANN401
        """Return what was met in a part, and what is written of it."""
        from polytask.cli.predicted import Met, prediction_table, rows_of
        from polytask.data.readers import arrow_of, frame_of

        with place.named():
            rows = rows_of(model, frame_of(part), self.source, self.copied)
            predicted = prediction_table(model, rows, self.copied.interval)
            table = arrow_of(predicted, self.target)
            for name in rows.beside.columns:
                # A part whose cells are all missing does not know what they would be.
                table = table.set_column(table.column_names.index(name), name, part.column(name))
            ends = self.copied.interval is not None
            return Met.of(model, rows, predicted, ends=ends), table


def watched(parts: Iterator[tuple[About, Any]], running: Running) -> Iterator[tuple[About, Any]]:
    """Yield parts with what is known of them, and say at times how many rows were read."""
    started = said = time.monotonic()
    count = 0
    for about, part in parts:
        yield about, part
        count, now = count + len(part), time.monotonic()
        if now - said >= _PAUSE and not running.quiet:
            said = now
            _say_speed(count, now - started, running)
    if not running.quiet:
        _say_speed(count, time.monotonic() - started, running)


def _say_speed(count: int, seconds: float, running: Running) -> None:
    fields = {"n": f"{count:,}", "speed": f"{count / max(seconds, 1e-9):,.0f}"}
    speak(running.speech("cli.streaming.rows", fields))
