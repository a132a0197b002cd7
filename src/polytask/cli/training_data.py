"""From files to what an estimator is fitted on."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask.cli.columns import (
    AUTO,
    FOLDS,
    NO_SPLITTING,
    ColumnOptions,
    Roles,
    SplitOptions,
    TargetTypeOverride,
    are_series,
    groups_of,
    is_measured,
    likely_tasks,
    matching,
    may_order_rows,
    numbers_like_tasks,
    require,
    roles_of,
    times_of,
)
from polytask.cli.console import FILE_ROWS, in_options, lines_of, note
from polytask.cli.files import RowSource, Tables, require_file
from polytask.cli.options import command, flag_words
from polytask.cli.targets import (
    MOST_WORDS,
    Problem,
    TargetKind,
    TargetOptions,
    labelled_rows,
    problem_of,
    target_of,
)
from polytask.data.text_hints import odd_ones
from polytask.exceptions import DataError, DataWarning, ParameterError, PolytaskError
from polytask.messages import LazyMessage, message_of, speak_in, spoken

if TYPE_CHECKING:
    import pandas as pd

    from polytask.selection.facts import DataFacts


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What an estimator is fitted on. Shapes: y (n,), weight (n,), group, time (n,)."""

    X: Any
    y: Any
    weight: Any
    task_column: str | list[str] | None
    kinds: tuple[TargetKind, ...]
    sizes: dict[Any, int]
    n_rows: int
    n_columns: int
    group: NDArray[Any] | None = None
    time: NDArray[Any] | None = None
    notes: tuple[LazyMessage, ...] = ()
    # Levels of each of several groupings.
    groupings: dict[str, int] = field(default_factory=dict)

    @property
    def problem(self) -> Problem:
        """What the targets are together."""
        return problem_of(self.kinds)

    @property
    def n_targets(self) -> int:
        """How many columns are predicted."""
        return len(self.kinds)

    def refuse_constant(self, source: str) -> None:
        """Refuse targets of one value, which leave nothing to learn."""
        if all(kind.n_values == 1 for kind in self.kinds):
            names = [repr(kind.name) for kind in self.kinds]
            fields = {"names": names, "n": len(names), "source": source}
            raise DataError(LazyMessage("cli.refusal.constant_target", fields))

    def refuse_incomparable(self, source: str) -> None:
        """Refuse what leaves nothing to compare: one task, or targets of one value."""
        if len(self.sizes) < 2:
            task = repr(next(iter(self.sizes)))
            raise DataError(LazyMessage("cli.refusal.one_task", {"task": task}))
        self.refuse_constant(source)

    def losses(self, loss: str) -> str | dict[str, str]:
        """Return the loss, or that of each target where they are of both kinds."""
        if self.problem == "mixed":
            return {kind.name: kind.loss for kind in self.kinds}
        if loss != AUTO:
            return loss
        needed = {kind.loss for kind in self.kinds}
        return "multinomial" if "multinomial" in needed else needed.pop()

    def facts(self, loss: Any, seed: int, *, unseen: bool) -> DataFacts:  # noqa: ANN401
        """Return what decides which models can be tried."""
        import pandas as pd

        from polytask.selection.facts import DataFacts, target_spread

        targets = isinstance(self.y, pd.DataFrame)
        return DataFacts(
            problem=self.problem,
            losses=loss,
            n_rows=self.n_rows,
            n_features=self.n_columns,
            n_tasks=len(self.sizes),
            median_rows=float(np.median(list(self.sizes.values()))),
            targets=targets,
            sparse=False,
            unseen=unseen,
            seed=seed,
            gaps=targets and bool(self.y.isna().any(axis=None)),
            groupings=tuple(self.groupings),
            target_spread=target_spread(self.y)
            if targets and self.problem == "regression"
            else 0.0,
        )

    def folds(self, n_splits: int | None, seed: int) -> Any:  # noqa: ANN401 - a number or splitter
        """Return how a search holds rows out: by groups, by time, or within tasks."""
        from polytask.data import GroupedRows, TimeOrdered

        if self.time is not None:
            return TimeOrdered(self.time, n_splits=n_splits or _PASTS)
        n_splits = n_splits or FOLDS
        if self.group is None:
            return n_splits
        n_groups = len(set(self.group.tolist()))
        if n_groups < n_splits:
            fields = {"n": n_groups, "folds": n_splits}
            raise DataError(LazyMessage("cli.refusal.few_groups", fields))
        return GroupedRows(self.group, n_splits=n_splits, random_state=seed)


# Splits of a time column: every fold trains on the past of what it holds out.
_PASTS = 4


def read_training(tables: Tables, override: TargetTypeOverride) -> TrainingData:
    """Read the rows to learn from, in one of three forms."""
    source, columns = tables.source, tables.columns
    if source.is_statistics:
        return _of_statistics(tables.source.name, allow_leak=columns.allow_leak)
    if source.file_per_task is not None:
        training = _separate(tables, override)
    else:
        # What its text and dates mean as features is said by the encoder, or refuses them.
        table = source.table(lambda _: False)
        dated = _dates_held_by(tables, [table])
        roles = roles_of(columns, list(table.columns), source.name, tables.splitting, dated)
        check_form(roles, table, source.name)
        return table_training(table, roles, tables, override)
    _check_leaks(training, tables)
    return training


def table_training(
    table: pd.DataFrame, roles: Roles, tables: Tables, override: TargetTypeOverride
) -> TrainingData:
    """Return what an estimator is fitted on, of the rows of one table."""
    override.refuse_others(roles.targets)
    read = _targets if roles.task is None else _long
    training = read(table, roles, tables, override)
    if len(roles.targets) == 1:
        FILE_ROWS.target = roles.targets[0], tables.source.name
    _check_leaks(training, tables)
    return training


def _of_statistics(path: str, *, allow_leak: bool) -> TrainingData:
    """Return statistics in place of rows."""
    from polytask.statistics import TaskStatistics
    from polytask.statistics.leaks import leak_warnings

    require_file(path, LazyMessage("cli.what.statistics"))
    found = TaskStatistics.load(path)
    for doubt in leak_warnings(found, path, allow_leak=allow_leak):
        warnings.warn(DataWarning(doubt), stacklevel=2)
    names = found.tasks if found.form.value == "targets" else ("target",)
    reason = LazyMessage("cli.reason.statistics")
    columns = found.n_columns - (found.task_column is not None)
    return TrainingData(
        X=found,
        y=None,
        weight=None,
        task_column=None if found.task_column is None else str(found.task_column),
        kinds=tuple(TargetKind(str(name), False, reason, 0) for name in names),
        sizes=dict(zip(found.tasks, found.rows_per_task, strict=True)),
        n_rows=found.n_rows,
        n_columns=columns,
    )


# More rounds than there are ways in which a table is refused.
_ROUNDS = 10


def mended(words: Sequence[str]) -> tuple[list[str], str]:
    """Return the words of a command with what its data ask for, and what is refused still."""
    language, words, refused = spoken(), list(words), ""
    rows = FILE_ROWS.header, FILE_ROWS.kept
    parse = command("compare", _tables_of, "")
    for _ in range(_ROUNDS):
        try:
            with redirect_stderr(StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tables = parse.main(args=words, standalone_mode=False)
                if not tables.source.too_large:
                    training = read_training(tables, TargetTypeOverride.of_loss(AUTO))
                    training.refuse_incomparable(tables.source.name)
        except PolytaskError as error:
            more = error.answer if isinstance(error, DataError) else ()
            words += more
            if not more:
                refused = FILE_ROWS.counted(in_options(message_of(error)))
                break
        else:
            break
    speak_in(language.lang)
    FILE_ROWS.header, FILE_ROWS.kept = rows
    return words, refused


def _tables_of(columns: ColumnOptions, splitting: SplitOptions, source: RowSource) -> Tables:
    return Tables(columns, splitting, source)


def _dates_held_by(tables: Tables, parts: Sequence[pd.DataFrame]) -> tuple[str, ...]:
    """Return the columns of dates that rows are held out by and that are learned from too."""
    from polytask.data.dates import date_columns

    columns, splitting = tables.columns, tables.splitting
    held = [name for name in (splitting.group, splitting.time) if name is not None]
    if not columns.date_features or columns.features:
        return ()
    held = [name for name in held if all(name in part.columns for part in parts)]
    found = tuple(name for name in held if date_columns(parts[0][[name]]))
    left_out = matching((*columns.drop, *columns.ids), list(parts[0].columns), tables.source.name)
    for name in found:
        if name not in (columns.task, *left_out):
            note(LazyMessage("cli.note.time_features", {"name": name}))
    return found


def _check_leaks(training: TrainingData, tables: Tables) -> None:
    """Refuse copies of the target among the features, and say what else misleads."""
    from polytask._estimator.data_checks import data_warnings
    from polytask._estimator.groupings import READING_GROUPINGS

    X, y, weight = training.X, training.y, training.weight
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            column = training.task_column
            data = READING_GROUPINGS.training(X, y, None, weight, column, "polytask")
    except PolytaskError:
        # Refused where it is learned from, in words of what learns.
        return
    try:
        found = data_warnings(
            data,
            tables.source.name,
            allow_leak=tables.columns.allow_leak,
            target=training.kinds[0].name if len(training.kinds) == 1 else "",
            grouped=training.group is not None,
        )
    except DataError as error:
        named = error.args[0].fields["drop"].strip(" '")
        error.answer = tuple(flag_words("--drop", "", named)) if named else ()
        raise
    for message in found:
        warnings.warn(DataWarning(message), stacklevel=2)


def check_form(roles: Roles, table: pd.DataFrame, source: str) -> None:
    """Refuse columns that are not those of one of the forms."""
    if not roles.targets:
        raise ParameterError(
            LazyMessage(
                "cli.refusal.target_of_columns",
                {"source": source, "names": [*map(repr, table.columns[:10])]},
            )
        )
    for name in (roles.task, *roles.others):
        if name is not None and is_measured(table[name]):
            swapped = {"task": shlex.quote(roles.targets[0]), "target": shlex.quote(name)}
            fields = {"name": repr(name), "n": table[name].nunique(), "source": source, **swapped}
            raise DataError(LazyMessage("cli.refusal.measured_task", fields))
    if roles.task is not None and len(roles.targets) > 1:
        raise ParameterError(
            LazyMessage(
                "cli.refusal.one_target",
                {"n": len(roles.targets), "names": [*map(repr, roles.targets[:5])]},
            )
        )
    if roles.task is None and len(roles.targets) == 1:
        likely = likely_tasks(table.drop(columns=list(roles.targets)))
        shown = [
            LazyMessage("cli.what.likely", {"name": repr(hint.name), "n_values": hint.n_values})
            for hint in likely
        ]
        named = (
            LazyMessage("cli.what.such_as_task", {"quote": shlex.quote(likely[0].name)})
            if likely
            else ""
        )
        advice = LazyMessage("cli.what.likely_columns", {"shown": shown}) if shown else ""
        raise ParameterError(
            LazyMessage("cli.refusal.one_task_only", {"named": named, "advice": advice})
        )


@dataclass
class _Refusals:
    """What refuses a table, each with the options that answer it, for one command with all."""

    found: list[tuple[DataError, tuple[str, ...]]] = field(default_factory=list)

    @contextmanager
    def answered_by(
        self, *options: str, met: Sequence[str] = (), timed: bool = False
    ) -> Iterator[None]:
        """Keep a refusal with the options that it names, and with words that mean missing."""
        try:
            yield
        except DataError as error:
            if timed and error.args[0].key == "column.refusal.dates":
                # The command can hold rows out by the dates as well.
                error.args = (LazyMessage("column.refusal.dates.held", error.args[0].fields),)
            words = [word for name in met for word in flag_words("--na", "", name)]
            words += options if options and options[0] in in_options(message_of(error)) else ()
            self.found.append((error, tuple(words)))

    def add_features(self, features: pd.DataFrame, tables: Tables) -> None:
        """Keep what is refused of dates and of text as features."""
        from polytask.data.dates import date_columns
        from polytask.data.encoder import TableEncoder

        dates, split = date_columns(features), tables.splitting
        free = split is not NO_SPLITTING and split.time is None and split.group is None
        with warnings.catch_warnings():
            # The fit on all columns says them.
            warnings.simplefilter("ignore")
            for name in features.select_dtypes(exclude=["number", "bool"]).columns:
                column = features[name]
                if column.isna().all():
                    continue  # left out by the fit on all columns, which says so
                if name not in dates:
                    met = _words_among_numbers(column)
                    with self.answered_by("--drop", name, met=met):
                        fitted = TableEncoder().fit(features[[name]])
                        if met and fitted.report_.columns[0].joined:
                            # Nearly all numbers would be one level.
                            raise DataError(fitted.report_.messages[0])
                elif not tables.columns.date_features:
                    timed = free and may_order_rows(column.nunique(), column.isna().sum())
                    # As `inspect` proposes.
                    later = timed and len(dates) == 1 and are_series(column)
                    answer = ("--time", name) if later else ("--date-features",)
                    with self.answered_by(*answer, timed=timed):
                        TableEncoder().fit(features[[name]])

    def refuse(self, source: str) -> None:
        """Raise the one refusal, or all of them with the options that answer them."""
        if len(self.found) == 1:
            only, answer = self.found[0]
            only.answer = answer
            raise only
        if self.found:
            reasons = lines_of([message_of(e) for e, _ in self.found])
            answers = dict.fromkeys(words for _, words in self.found)
            fields = {"n": len(self.found), "source": source, "reasons": reasons}
            several = DataError(LazyMessage("cli.refusal.reasons", fields))
            if all(answers):
                several.answer = tuple(word for words in answers for word in words)
            raise several


def _words_among_numbers(column: pd.Series[Any]) -> list[str]:
    """Return the few words of a column that is numbers otherwise."""
    words = column.dropna()
    if not all(isinstance(word, str) for word in words):
        return []
    distinct = words.unique().tolist()
    odd = odd_ones(distinct)
    return [distinct[k] for k in odd] if len(odd) <= MOST_WORDS else []


# Names of columns whose values to come are others than those of today.
_TIMES = re.compile(r"date|day|week|month|quarter|year|日期|日|周|月份?|季度|年份?", re.IGNORECASE)


def _long(
    table: pd.DataFrame, roles: Roles, tables: Tables, override: TargetTypeOverride
) -> TrainingData:
    from polytask.data.dates import date_columns
    from polytask.data.missing import rows_text
    from polytask.data.tables import get_column

    columns, split, source = tables.columns, tables.splitting, tables.source.name
    target, task = roles.targets[0], str(roles.task)
    grouped = (task, *roles.others)
    for name in grouped:
        unlabelled = np.asarray(table[name].isna())
        if unlabelled.any():
            what = LazyMessage("what.task_column", {"column": repr(name)})
            fields = {"what": what, "source": source, "rows": rows_text(unlabelled)}
            raise DataError(LazyMessage("cli.refusal.empty", fields))
    tasks = table[task].unique().tolist()
    if date_columns(table[[task]]) or _TIMES.fullmatch(task):
        note(LazyMessage("cli.note.time_task", {"name": task}))
    reading = TargetOptions(tables.source.text.decimal, columns.drop_missing_target)
    refusals = _Refusals()
    with refusals.answered_by("--drop-missing-target", met=reading.met):
        found = target_of(table[target], target, source, override, reading)
        table[target] = found.column
        table = labelled_rows(table, target, source, columns.drop_missing_target)
    refusals.add_features(table[list(roles.features)], tables)
    refusals.refuse(source)
    counts = table[task].value_counts(sort=False)
    return TrainingData(
        X=_with_dates(table[[*grouped, *roles.features]], tables, grouped),
        y=get_column(table, target),
        weight=row_weights(table, roles.weight, source),
        task_column=[*grouped] if roles.others else task,
        kinds=(found.kind,),
        sizes={label: int(n) for label, n in counts.items()},
        n_rows=len(table),
        n_columns=len(roles.features),
        group=groups_of(table, split.group, source),
        time=times_of(table, split.time, source, tables.source.text.day_first),
        notes=_without_target([label for label in tasks if label not in counts.index]),
        groupings={name: table[name].nunique() for name in grouped} if roles.others else {},
    )


def _without_target(tasks: Sequence[Any]) -> tuple[LazyMessage, ...]:
    """Say which tasks are left out with all their rows."""
    if not tasks:
        return ()
    names = [repr(name) for name in tasks[:10]] + ["..."] * (len(tasks) > 10)
    message = LazyMessage("cli.note.no_target", {"n": len(tasks), "names": names})
    note(message)
    return (message,)


def _targets(
    table: pd.DataFrame, roles: Roles, tables: Tables, override: TargetTypeOverride
) -> TrainingData:
    split, source = tables.splitting, tables.source.name
    kinds, refusals = [], _Refusals()
    for name in roles.targets:
        reading = TargetOptions(tables.source.text.decimal)
        with refusals.answered_by(met=reading.met):
            found = target_of(table[name], name, source, override, reading)
            table[name] = found.column
            kinds.append(found.kind)
    refusals.add_features(table[list(roles.features)], tables)
    refusals.refuse(source)
    like = numbers_like_tasks(table[list(roles.features)])
    if like is not None:
        fields = {"name": like.name, "n_values": like.n_values, "quote": shlex.quote(like.name)}
        fields |= {"target": shlex.quote(roles.targets[0])}
        note(LazyMessage("cli.note.like_tasks", fields))
    bare = table[list(roles.targets)].isna().all(axis=1)
    if bare.any():
        note(LazyMessage("cli.note.bare", {"n": int(bare.sum())}))
    return TrainingData(
        X=_with_dates(table[list(roles.features)], tables),
        y=table[list(roles.targets)],
        weight=row_weights(table, roles.weight, source),
        task_column=None,
        kinds=tuple(kinds),
        sizes={name: int(table[name].notna().sum()) for name in roles.targets},
        n_rows=len(table),
        n_columns=len(roles.features),
        group=groups_of(table, split.group, source),
        time=times_of(table, split.time, source, tables.source.text.day_first),
    )


def _separate(tables: Tables, override: TargetTypeOverride) -> TrainingData:
    from polytask.data.tables import get_column

    columns, split, source = tables.columns, tables.splitting, tables.source
    if columns.task is not None:
        raise ParameterError(LazyMessage("cli.refusal.task_of_files"))
    if len(columns.target) != 1 or columns.targets:
        raise ParameterError(LazyMessage("cli.refusal.files_one_target"))
    target = columns.target[0]
    override.refuse_others([target])
    kind, parts = _target_of_files(source, target, override, columns.drop_missing_target)
    union = list(dict.fromkeys(column for part in parts.values() for column in part.columns))
    dated = _dates_held_by(tables, list(parts.values()))
    roles = roles_of(columns, union, source.name, split, dated)
    for role in (roles.weight, split.group, split.time):
        for name, part in parts.items():
            if role is not None:
                require(role, list(part.columns), name)
    kept = {name: [c for c in roles.features if c in p.columns] for name, p in parts.items()}
    held = [name for name in (split.group, split.time) if name is not None]
    below = pd_concat([part[held] for part in parts.values()])
    weight = {name: row_weights(part, roles.weight, name) for name, part in parts.items()}
    rows = {name: (part[kept[name]], get_column(part, target)) for name, part in parts.items()}
    return TrainingData(
        X=_with_dates(rows, tables),
        y=None,
        weight=None if roles.weight is None else weight,
        task_column=None,
        kinds=(kind,),
        sizes={name: len(part) for name, part in parts.items()},
        n_rows=sum(map(len, parts.values())),
        n_columns=len(roles.features),
        group=groups_of(below, split.group, source.name),
        time=times_of(below, split.time, source.name, source.text.day_first),
    )


def _with_dates(X: Any, tables: Tables, tasks: Sequence[str] = ()) -> Any:  # noqa: ANN401
    """Return a table, or tables by task, with features of its dates if these are asked for."""
    from polytask._estimator.dates import with_dates

    if not tables.columns.date_features:
        return X
    X, found = with_dates(X, [*tasks], tables.source.text.day_first)
    if not found:
        note(LazyMessage("cli.note.no_dates"))
    return X


def pd_concat(parts: Sequence[Any]) -> Any:  # noqa: ANN401 - tables or columns
    """Put tables, or columns, below each other."""
    import pandas as pd

    return pd.concat(list(parts), ignore_index=True)


def _target_of_files(
    source: RowSource, target: str, override: TargetTypeOverride, drop_missing: bool
) -> tuple[TargetKind, dict[str, pd.DataFrame]]:
    """Read the target of all files as one column; return it, and the rows that have one."""
    tables = source.tables(target.__ne__)
    for name, table in tables.items():
        require(target, list(table.columns), name)
    starts = np.cumsum([0, *map(len, tables.values())])

    def place(row: int) -> LazyMessage:
        file = int(np.searchsorted(starts, row, side="right")) - 1
        return LazyMessage(
            "place.row_of_file", {"row": str(row - starts[file]), "file": list(tables)[file]}
        )

    whole = pd_concat([table[target] for table in tables.values()])
    reading = TargetOptions(source.text.decimal, drop_missing, place)
    found = target_of(whole, target, source.name, override, reading)
    for start, table in zip(starts if found.kind.written else (), tables.values(), strict=False):
        table[target] = found.column.iloc[start : start + len(table)].to_numpy()
    parts = {name: labelled_rows(t, target, name, drop_missing) for name, t in tables.items()}
    # Which rows are kept differs from file to file.
    FILE_ROWS.kept = None
    return found.kind, parts


def row_weights(table: pd.DataFrame, name: str | None, source: str) -> NDArray[Any] | None:
    """Return the weights of the rows, None if no column is named."""
    import pandas as pd

    from polytask.data.tables import get_column

    if name is None:
        return None
    numeric = pd.api.types.is_numeric_dtype(table[name])
    values = get_column(table, name)
    bad = ~(np.isfinite(values) & (values >= 0)) if numeric else np.ones(len(table), dtype=bool)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            LazyMessage(
                "cli.refusal.weight",
                {
                    "name": repr(name),
                    "source": source,
                    "got": repr(table[name].tolist()[row]),
                    "row": str(row),
                },
            )
        )
    return values
