"""Rows to predict, and the table of their predictions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest
from polytask.cli.columns import as_column, known_labels, matching, require
from polytask.cli.console import note
from polytask.cli.describe import named
from polytask.cli.files import RowSource
from polytask.cli.fit_line import fit_line
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.messages import LazyMessage, message_of, spoken

if TYPE_CHECKING:
    import pandas as pd

    from polytask._estimator.dates import DayFirst
    from polytask.cli.columns import Copied
    from polytask.data import LabelIndex
    from polytask.data.encoder import TransformReport


Columns = list[tuple[str, Any]]
# Which tasks have no intervals, by the refusal that says so.
_LACKING = {
    "estimator.refusal.no_strange_errors": "unseen",
    "estimator.refusal.only_strange_errors": "known",
}


@dataclass(frozen=True, eq=False)
class RowsToPredict:
    """Rows to predict."""

    X: Any
    beside: pd.DataFrame
    task_name: str | None
    task: list[Hashable] | None
    asked: Any
    # Labels in groupings beyond that of the tasks, by their names.
    others: dict[str, list[Hashable]] = field(default_factory=dict)

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

    def only(self, chosen: NDArray[np.bool_]) -> RowsToPredict:
        """Return the rows of some tasks."""
        X, asked = self.X, self.asked
        task = [label for label, has in zip(self.task or (), chosen, strict=True) if has]
        if isinstance(X, dict):
            X = {label: table for label, table in X.items() if label in set(task)}
        else:
            X = X[chosen]
            # Levels of several groupings are a table.
            asked = asked[chosen] if hasattr(asked, "iloc") else asked and task
        return RowsToPredict(X, self.beside[chosen], self.task_name, task, asked)

    def unseen(self, model: Any) -> list[Hashable]:  # noqa: ANN401 - any estimator
        """Return the tasks that the model does not know."""
        labels = list(dict.fromkeys(self.task or ()))
        codes = model._schema.index.encode(labels, "shared")
        return [label for label, code in zip(labels, codes, strict=True) if code < 0]

    def unseen_levels(self, model: Any) -> dict[str, set[Hashable]]:  # noqa: ANN401
        """Return the levels that the model does not know, of groupings beyond the tasks."""
        known = {str(name): set(index.labels) for name, index in model._schema.groupings}
        return {name: {*labels} - known[name] for name, labels in self.others.items()}

    def met(self, model: Any) -> TransformReport:  # noqa: ANN401 - any estimator
        """Return what the encoder meets in the rows."""
        from polytask._estimator.dates import date_of_feature
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
        # A date is one column, whatever features are made of it.
        made = date_of_feature(model._schema.dates)
        missing, imputed = (
            {made.get(name, name): count for name, count in counts.items()}
            for counts in (report.missing, report.imputed)
        )
        return replace(report, missing=missing, imputed=imputed)


@dataclass(frozen=True, eq=False)
class Met:
    """What deserves a look in rows that were predicted, and rows of tasks that are unknown."""

    report: TransformReport
    strangers: Counter[Hashable]
    # The same of groupings beyond that of the tasks, by their names.
    levels: dict[str, Counter[Hashable]] = field(default_factory=dict)
    # Rows with an interval that begins below 0 though no target of training did.
    below_zero: int = 0
    # Rows without an interval though one was asked for, of "unseen" and of "known" tasks.
    no_interval: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, model: Any, rows: RowsToPredict, table: pd.DataFrame, *, ends: bool) -> Met:  # noqa: ANN401
        """Return what is met in rows and their predictions, and in the intervals of these."""
        names = set(rows.unseen(model))
        strangers = Counter(label for label in rows.task or () if label in names)
        levels = {
            name: Counter(label for label in rows.others[name] if label in strange)
            for name, strange in rows.unseen_levels(model).items()
        }
        held = table.filter(items=[*never_negative(model)] if ends else [])
        lacking = table.filter(items=["lower", "set"] if ends else []).isna().any(axis=1)
        below_zero = int((held < 0).any(axis=1).sum())
        own = itertools.compress(rows.task or (), lacking)
        kinds = Counter("unseen" if label in names else "known" for label in own)
        return cls(rows.met(model), strangers, levels, below_zero, kinds)

    def with_others(self, other: Met) -> Met:
        """Return what is met in the rows of both."""
        levels = {name: own + other.levels[name] for name, own in self.levels.items()}
        strangers = self.strangers + other.strangers
        below_zero = self.below_zero + other.below_zero
        lacking, report = (
            self.no_interval + other.no_interval,
            self.report.with_others(other.report),
        )
        return Met(report, strangers, levels, below_zero, lacking)


def prediction_table(
    model: Any,  # noqa: ANN401 - any estimator
    rows: RowsToPredict,
    interval: float | None = None,
) -> pd.DataFrame:
    """Predict and lay out the columns. Shapes: result (n, columns)."""
    import pandas as pd

    columns: Columns = [(str(name), rows.beside[name].array) for name in rows.beside.columns]
    if rows.task_name is not None and rows.task_name not in rows.beside.columns:
        labels = rows.task or []
        texts = sum(isinstance(label, str) for label in labels)
        if 0 < texts < len(labels):
            labels = [str(label) for label in labels]
        columns.append((rows.task_name, as_column(labels).array))
    columns += [
        (name, as_column(labels).array)
        for name, labels in rows.others.items()
        if name not in rows.beside.columns
    ]
    values = _flat(_ask(model.predict, rows))
    if values.ndim == 2:
        columns += [(str(name), values[:, t]) for t, name in enumerate(model.tasks_)]
    else:
        columns.append(("prediction", values))
    columns += _interval(model, rows, interval) if interval is not None else []
    columns += _probabilities(model, rows)
    notes: list[list[str]] = [[] for _ in range(rows.n_rows)]
    for places, words in _remarks(model, rows):
        for place, word in zip(places.tolist(), words, strict=True):
            notes[place].append(word)
    # A column of the user keeps its name.
    taken = "note" in (name for name, _ in columns)
    columns.append(
        (
            "polytask_note" if taken else "note",
            np.array([spoken()("list.semicolon").join(words) for words in notes], dtype=object),
        )
    )
    names = [name for name, _ in columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise DataError(LazyMessage("cli.refusal.two_columns", {"twice": repr(twice[0])}))
    return pd.DataFrame(dict(columns))


def _ask(method: Any, rows: RowsToPredict) -> Any:  # noqa: ANN401 - predict or predict_proba
    return method(rows.X) if rows.asked is None else method(rows.X, rows.asked)


def _flat(values: Any) -> NDArray[Any]:  # noqa: ANN401 - a column, or a mapping of columns
    if isinstance(values, dict):
        return np.concatenate([np.asarray(part) for part in values.values()])
    return np.asarray(values)


def _interval(model: Any, rows: RowsToPredict, level: float) -> Columns:  # noqa: ANN401
    """Return the ends of the interval of every number, and the set of classes of every class."""
    found: Columns
    try:
        return _ends_and_sets(model, rows, level)
    except IncompatibleError as error:
        part = _LACKING.get(getattr(message_of(error), "key", ""))
        if part is None:
            raise
    # Rows of known tasks have intervals and those of others none, or the other way round.
    strangers = set(rows.unseen(model))
    has = np.array([(label in strangers) == (part == "known") for label in rows.task or ()])
    if not has.any():
        # Parts of a file have columns of one type, whichever tasks they hold.
        names = ["lower", "upper"] * hasattr(model, "predict_interval")
        sets = ["set"] * hasattr(model, "predict_set")
        found = [(name, np.full(len(has), np.nan)) for name in names]
        return found + [(name, np.full(len(has), None, dtype=object)) for name in sets]
    found = []
    for name, own in _ends_and_sets(model, rows.only(has), level):
        cells = np.full(len(has), np.nan if own.dtype.kind == "f" else None, dtype=own.dtype)
        cells[has] = own
        found.append((name, cells))
    return found


def no_interval(model: Any, n: int, which: str) -> LazyMessage:  # noqa: ANN401
    """Say which rows have no interval and why, with the line that fits a model with all."""
    line = fit_line(model, "TABLE.csv", "--model", "learned-prior", "--unseen-tasks", "shared",
                    out="NEW.polytask")  # fmt: skip
    rows = LazyMessage("count.rows", {"n": n})
    return LazyMessage(f"cli.predict.no_interval.{which}", {"rows": rows, "command": line})


def _ends_and_sets(model: Any, rows: RowsToPredict, level: float) -> Columns:  # noqa: ANN401
    found = _ends(model, rows, level) if hasattr(model, "predict_interval") else []
    return found + (_sets(model, rows, level) if hasattr(model, "predict_set") else [])


def _sets(model: Any, rows: RowsToPredict, level: float) -> Columns:  # noqa: ANN401
    """Return the classes in the set of every row as text."""
    values = _ask(partial(model.predict_set, level=level), rows)

    def words(table: NDArray[Any], classes: Any) -> NDArray[Any]:  # noqa: ANN401
        names = [str(label) for label in classes.tolist()]
        # A file is the same whatever the language.
        cells = ["; ".join(n for n, has in zip(names, row, strict=True) if has) for row in table]
        return np.array(cells, dtype=object)

    if not isinstance(values, list):
        return [("set", words(_flat(values), model.classes_))]
    return [
        (f"{task} set", words(own, classes))
        for task, own, classes in zip(model.tasks_, values, model.classes_, strict=True)
        if own is not None
    ]


def _ends(model: Any, rows: RowsToPredict, level: float) -> Columns:  # noqa: ANN401
    bounds = _ask(partial(model.predict_interval, level=level), rows)
    ends = dict(zip(("lower", "upper"), map(_flat, bounds), strict=True))
    if ends["lower"].ndim == 1:
        return list(ends.items())
    # Targets that are classes have none.
    known = [t for t in range(len(model.tasks_)) if not np.isnan(ends["lower"][:, t]).all()]
    return [(f"{model.tasks_[t]} {end}", v[:, t]) for t in known for end, v in ends.items()]


def never_negative(model: Any) -> dict[str, int]:  # noqa: ANN401 - any estimator
    """Return columns of lower ends, and how many targets of training are known to be 0 or more."""
    summary = model.data_card_.training
    names = [f"{t} lower" for t in model.tasks_] if is_targets(model) else ["lower"]
    known = [] if summary is None else summary.never_negative()
    return {name: n for name, n in zip(names, known, strict=False) if n}


def require_intervals(model: Any, path: str) -> None:  # noqa: ANN401 - any estimator
    """Refuse a model without prediction intervals, naming what has them."""
    if model._has_intervals():
        return
    line = fit_line(model, "TABLE.csv", "--model", "learned-prior", out="NEW.polytask")
    fields = {"path": path, "command": line}
    why = ".network" if hasattr(model, "trunk") else ""
    why = ".adapted" if hasattr(model, "adaptation_") else why
    raise IncompatibleError(LazyMessage(f"cli.refusal.no_interval{why}", fields))


def _probabilities(model: Any, rows: RowsToPredict) -> Columns:  # noqa: ANN401
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


def _remarks(model: Any, rows: RowsToPredict) -> Iterator[tuple[NDArray[np.intp], list[str]]]:  # noqa: ANN401
    """Yield rows that deserve a look, and what about each of them does."""
    say, strangers = spoken(), set(rows.unseen(model))
    if strangers:
        unseen = np.flatnonzero([label in strangers for label in rows.task or ()])
        yield unseen, [say("cli.predicted.unseen")] * len(unseen)
    for name, strange in rows.unseen_levels(model).items():
        places = np.flatnonzero([label in strange for label in rows.others[name]])
        yield places, [say("cli.predicted.unseen_level", {"name": name})] * len(places)
    report = rows.met(model)
    for name, found in report.unknown.items():
        words = [say("cli.predicted.level", {"cell": f"{name}={v}"}) for v in found.levels]
        yield np.flatnonzero(found.rows), words
    for name, far in report.far.items():
        words = [say("cli.predicted.far", {"cell": f"{name}={v:g}"}) for v in far.values]
        yield np.flatnonzero(far.rows), words
    for name in report.missing:
        places = np.flatnonzero(_missing(rows, name))
        yield places, [say("cli.predicted.missing", {"name": name})] * len(places)


def _missing(rows: RowsToPredict, name: str) -> NDArray[np.bool_]:
    """Mark the missing or blank cells of a column, not those of tasks that lack it."""
    import pandas as pd

    parts = rows.X.values() if isinstance(rows.X, dict) else [rows.X]
    masks = []
    for part in parts:
        held = next((own for own in (name, f"{name}=year") if own in part.columns), None)
        if held is None:
            masks.append(np.zeros(len(part), dtype=bool))
            continue
        column = part[held]
        blank = np.zeros(len(part), dtype=bool)
        if not pd.api.types.is_numeric_dtype(column):
            blank = np.asarray(column.astype(str).str.strip() == "")
        masks.append(np.asarray(column.isna()) | blank)
    return np.concatenate(masks)


def read_rows(model: Any, source: RowSource, copied: Copied) -> RowsToPredict:  # noqa: ANN401 - any estimator
    """Read the rows to predict from one table, or from one file per task."""
    if source.data is None:
        return _separate(model, source, copied)
    table = source.table(set(model.feature_names_in_).__contains__)
    return rows_of(model, table, source, copied)


def rows_of(model: Any, table: pd.DataFrame, source: RowSource, copied: Copied) -> RowsToPredict:  # noqa: ANN401
    """Return the rows of a table as rows to predict."""
    if model._schema.groupings:
        X, asked, labels = grouped_rows(model, table, source, copied.tasks, model.unseen_tasks)
        task_name, *others = labels
        kept = list(_beside(copied, list(table.columns), source.name))
        levels = {name: labels[name] for name in others}
        return RowsToPredict(X, table[kept], task_name, labels[task_name], asked, levels)
    column = task_column_of(model, single_task(copied.tasks), table, source.name)
    columns = list(table.columns)
    beside = _beside(copied, columns, source.name)
    task = None if column is None else known_labels(table[column], model.tasks_)
    if column is not None and task is not None:
        _check_tasks(
            model, task, LazyMessage("what.column", {"column": repr(column)}), source.name
        )
    X = needed_columns(table, model, source)
    if column is not None and task is not None and column == model.task_column:
        X = X.drop(columns=[column])
        X[column] = as_column(task)
        return RowsToPredict(X, table[list(beside)], column, task, None)
    return RowsToPredict(X, table[list(beside)], column, task, task)


def grouped_rows(
    model: Any,  # noqa: ANN401 - any estimator
    table: pd.DataFrame,
    source: RowSource,
    tasks: Sequence[str],
    unseen: str,
) -> tuple[pd.DataFrame, pd.DataFrame | None, dict[str, list[Hashable]]]:
    """Return rows of several groupings, their levels where X lacks them, and these by name."""
    names = [str(name) for name, _ in model._schema.groupings]
    if tasks and {*tasks} != {*names}:
        fields = {"names": [*map(repr, names)], "given": [*map(repr, tasks)]}
        raise ParameterError(LazyMessage("cli.refusal.other_groupings", fields))
    for name in names:
        require(name, list(table.columns), source.name)
    labels = {}
    for name, (_, index) in zip(names, model._schema.groupings, strict=True):
        labels[name] = known_labels(table[name], index.labels)
        what = LazyMessage("what.column", {"column": repr(name)})
        _encode(model, index, labels[name], unseen, (what, source.name))
    X = needed_columns(table, model, source)
    own = table[[]].assign(**{name: as_column(held).array for name, held in labels.items()})
    if model.task_column is None:
        return X, own, labels
    return X.assign(**own), None, labels


def single_task(tasks: Sequence[str]) -> str | None:
    """Return the one column of tasks that may be named for a model of one grouping."""
    if len(tasks) > 1:
        raise ParameterError(LazyMessage("cli.refusal.one_task_column", {"names": [*tasks]}))
    return next(iter(tasks), None)


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
            raise ParameterError(LazyMessage("cli.refusal.drop_task"))
        return None
    if known is not None and known not in table.columns:
        hint = nearest(known, list(table.columns))
        fields = {"source": source, "known": repr(known), "hint": hint}
        raise DataError(LazyMessage("cli.refusal.renamed_task", fields))
    if known is not None and given is not None and given != known:
        raise ParameterError(
            LazyMessage("cli.refusal.other_task", {"known": repr(known), "given": repr(given)})
        )
    column: str | None = known or given
    if column is None and len(model.tasks_) > 1:
        raise ParameterError(
            LazyMessage(
                "cli.refusal.which_task", {"n": f"{len(model.tasks_):,}", "source": source}
            )
        )
    if column is not None:
        require(column, list(table.columns), source)
    return column


def is_targets(model: Any) -> bool:  # noqa: ANN401 - any estimator
    """Tell whether the model predicts each of several targets for every row."""
    return bool(model.data_card_.form == "targets")


def _check_tasks(model: Any, labels: list[Hashable], what: LazyMessage, source: str) -> None:  # noqa: ANN401
    """Refuse missing labels, and unknown ones unless the model may predict them."""
    from polytask.data import LabelIndex

    index = LabelIndex(tuple(np.asarray(model.tasks_).tolist()))
    _encode(model, index, labels, model.unseen_tasks, (what, source))


def _encode(
    model: Any,  # noqa: ANN401
    index: LabelIndex,
    labels: list[Hashable],
    unseen: str,
    told: tuple[LazyMessage, str],
) -> None:
    """Refuse missing labels, and unknown ones, which some models can learn, unless shared."""
    from polytask.selection.adaptable import obstacle

    strange = bool((index.encode(labels, "shared", *told) < 0).any())
    try:
        index.encode(labels, unseen, *told)
    except DataError as error:
        if not strange or obstacle(model) is not None:
            raise
        text: Any = message_of(error)
        raise DataError(text + LazyMessage("cli.refusal.unseen_learned")) from None


def _dates_of(model: Any, source: RowSource) -> DayFirst:  # noqa: ANN401 - any estimator
    """Return the columns of dates that features are made of, read as the user or `fit` said."""
    said = source.text.day_first
    return {name: day if said is None else said for name, day in model._schema.dates.items()}


def needed_columns(table: pd.DataFrame, model: Any, source: RowSource) -> pd.DataFrame:  # noqa: ANN401
    """Return the columns that the model needs; refuse a table that lacks some."""
    from polytask._estimator.dates import date_of_feature, dates_again

    dates = _dates_of(model, source)
    table = dates_again(table, dates, model._schema.encoder)
    wanted = [str(name) for name in model.feature_names_in_]
    # Named and counted as in the table, where a date is one column.
    made = date_of_feature(dates)
    own = {name: made.get(name, name) for name in wanted}
    lacking = list(dict.fromkeys(own[name] for name in wanted if name not in table.columns))
    if lacking:
        others = [name for name in table.columns if name not in wanted]
        raise DataError(
            LazyMessage(
                "cli.refusal.lacks_columns",
                {
                    "source": source.name,
                    "n": len(lacking),
                    "total": len(set(own.values())),
                    "columns": named([repr(name) for name in lacking]),
                    "hint": nearest(lacking[0], others),
                },
            )
        )
    return table[wanted]


def note_unused(
    key: str,
    table: pd.DataFrame,
    used: Iterable[str | None],
    model: Any,  # noqa: ANN401 - any estimator
    source: RowSource,
) -> None:
    """Say which columns a model does not use: one may be a target that was not named."""
    known = {*used, *model._schema.dates}
    unused = [repr(name) for name in table.columns if name not in known]
    if unused:
        note(LazyMessage(key, {"source": source.name, "columns": named(unused)}))


def _beside(copied: Copied, columns: list[str], source: str) -> tuple[str, ...]:
    ids = matching(copied.ids, columns, source)
    kept = matching(copied.keep, columns, source)
    return (*ids, *(name for name in kept if name not in ids))


def _separate(model: Any, source: RowSource, copied: Copied) -> RowsToPredict:  # noqa: ANN401
    import pandas as pd

    from polytask._estimator.groupings import refuse_grouped

    refuse_grouped(model, "--file-per-task")
    if copied.tasks or is_targets(model):
        raise ParameterError(
            LazyMessage("cli.refusal.task_of_files")
            if copied.tasks
            else LazyMessage("cli.refusal.one_table")
        )
    from polytask._estimator.dates import dates_again

    tables = source.tables(set(model.feature_names_in_).__contains__)
    tables = dates_again(tables, _dates_of(model, source), model._schema.encoder)
    labels = known_labels(pd.Series(list(tables), dtype=object), model.tasks_)
    _check_tasks(model, labels, LazyMessage("cli.what.file_names"), source.name)
    names = set(model.feature_names_in_)
    X = {
        label: table[[name for name in table.columns if name in names]]
        for label, table in zip(labels, tables.values(), strict=True)
    }
    beside = [
        table[list(_beside(copied, list(table.columns), name))] for name, table in tables.items()
    ]
    task = [label for label, t in zip(labels, tables.values(), strict=True) for _ in range(len(t))]
    return RowsToPredict(X, pd.concat(beside, ignore_index=True), "task", task, None)
