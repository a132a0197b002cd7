"""What each column of a table is: task, target, identifier, weight, feature, group or time."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from polytask._checks import nearest
from polytask._options import option
from polytask.cli.console import lines_of, one_of_names
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage, Text

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from polytask.losses import Loss


# Of the cross-validation of a search.
FOLDS = 5
FEWEST, MOST = 2, 10_000
ROWS_PER_TASK = 4
SHOWN = 5
NEARLY_ALL = 0.95
FEW_ROWS = 20
# Dates that a comparison needs to hold later rows out.
_LEAST_TIMES = 5
# The share of dates that have as many rows as each other, from which on they are those of series.
_SERIES = 0.5

# Words that names of task columns often hold, in the order of how much they promise.
_WORDS = re.compile(
    r"task|group|school|site|store|shop|hospital|clinic|ward|region|country|city|plant|sensor"
    r"|machine|patient|subject|user|customer|branch|station|centre|center|(^|_)id$"
    r"|任务|组|学校|医院|地区|城市|门店|站|编号",
    re.IGNORECASE,
)

_SUFFIX = r"([_ .-]?(id|no|nr|num|number|code|name|label))?"
# A name that ends in such a word, unlike school_years; and one of times and ages.
_NAMED = re.compile(rf"({_WORDS.pattern}){_SUFFIX}$", re.IGNORECASE)
_TIMED = re.compile(r"year|month|week|day|date|time|hour|age$|年|月|日|周|时", re.IGNORECASE)


@dataclass(frozen=True)
class TaskHint:
    """A column that may hold task labels."""

    name: str
    n_values: int


@dataclass(frozen=True)
class LabelColumn:
    """What tells whether a column of text, categories or whole numbers holds task labels."""

    name: str
    n_rows: int
    n_values: int
    is_number: bool
    # Whether the rows of every value stand together.
    together: bool


def likely_tasks(table: pd.DataFrame) -> tuple[TaskHint, ...]:
    """Return the columns that may hold task labels, the likeliest first. Shapes: table (n, d)."""
    columns = [table[name] for name in table.columns if may_be_labels(table[name])]
    counts = [int(column.nunique()) for column in columns]
    runs = [int((column != column.shift()).sum()) for column in columns]
    return ranked_tasks(
        LabelColumn(str(column.name), len(column), count, _is_number(column), run == count)
        for column, count, run in zip(columns, counts, runs, strict=True)
    )


def ranked_tasks(columns: Iterable[LabelColumn]) -> tuple[TaskHint, ...]:
    """Return those that may hold task labels, the likeliest first."""
    ranked: list[tuple[tuple[bool | int, ...], TaskHint]] = []
    for position, column in enumerate(columns):
        count = column.n_values
        if FEWEST <= count <= min(MOST, column.n_rows // ROWS_PER_TASK):
            # Numbers of two values say yes or no.
            flag = column.is_number and count == FEWEST
            told = not flag and _NAMED.search(column.name) is not None
            timed = _TIMED.search(column.name) is not None
            rank = (not told, flag, timed, not column.together, column.is_number, position)
            ranked.append((rank, TaskHint(column.name, count)))
    return tuple(hint for _, hint in sorted(ranked, key=lambda pair: pair[0])[:SHOWN])


def is_measured(column: pd.Series) -> bool:
    """Say whether numbers vary as measured ones do: fractions, most of which occur once."""
    from pandas.api.types import is_float_dtype

    from polytask.data.labels import are_measured

    rows = column.value_counts()
    return is_float_dtype(column) and are_measured(rows.index.to_numpy(), rows.to_numpy())


# The whole name of a column that holds labels, unlike age_group or n_users.
_LABELS = re.compile(rf"({_WORDS.pattern}){_SUFFIX}", re.IGNORECASE)
_FEWEST_LABELS = 3


def numbers_like_tasks(table: pd.DataFrame) -> TaskHint | None:
    """Return the first column of whole numbers that are very likely labels of tasks."""
    for name in table.columns:
        column = table[name]
        if _LABELS.fullmatch(str(name)) and _is_number(column) and may_be_labels(column):
            rows = column.value_counts()
            if _FEWEST_LABELS <= len(rows) <= MOST and rows.min() >= ROWS_PER_TASK:
                return TaskHint(str(name), len(rows))
    return None


def may_be_labels(column: pd.Series[Any]) -> bool:
    """Tell whether a column holds text, categories or whole numbers without gaps."""
    import pandas as pd

    types = pd.api.types
    if types.is_bool_dtype(column) or types.is_datetime64_any_dtype(column):
        return False
    return not types.is_float_dtype(column) and not column.isna().any()


def _is_number(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column))


def may_order_rows(n_values: int | None, missing: int) -> bool:
    """Say whether later rows can be held out by dates, of very many values where it is None."""
    return not missing and (n_values is None or n_values >= _LEAST_TIMES)


def are_series(dates: pd.Series[Any]) -> bool:
    """Say whether most dates have as many rows as each other, two or more: one of every task."""
    counts = dates.value_counts()
    if not may_order_rows(len(counts), int(dates.isna().sum())):
        return False
    usual = counts.mode()[0]
    return bool(usual > 1 and (counts == usual).mean() >= _SERIES)


def looks_like_identifier(column: pd.Series[Any], n_values: int) -> bool:
    """Tell whether a column names its rows by text, or numbers them."""
    import numpy as np

    from polytask._estimator.data_checks import numbers_rows
    from polytask.data.text_hints import MOSTLY, NUMBER, share

    if _is_number(column):
        values = column.to_numpy(float, na_value=np.nan)
        return numbers_rows(values, str(column.name))
    present = int(column.notna().sum())
    few = present < FEW_ROWS or n_values <= NEARLY_ALL * present
    if few or not may_be_labels(column):
        return False
    # Measured numbers, with a word among them.
    words = [word for word in column.tolist() if isinstance(word, str)]
    return share(NUMBER, words) < MOSTLY or not any("." in word for word in words)


# A task, a group or a time may name the rows as well.
_MAY_NAME_ROWS = {(flag, "--id") for flag in ("--task", "--group", "--time")}


@dataclass(frozen=True)
class SplitOptions:
    """How rows are held out: within tasks unless said otherwise."""

    PANEL = "help.panel.held_out"

    time: str | None = option(
        "help.time",
        metavar="COL",
    )
    group: str | None = option(
        "help.group",
        metavar="COL",
    )

    def check(self) -> None:
        """Refuse groups and time together."""
        if self.group and self.time:
            raise ParameterError(LazyMessage("cli.refusal.group_and_time"))


NO_SPLITTING = SplitOptions()


@dataclass(frozen=True)
class ColumnOptions:
    """What the user said about the columns."""

    PANEL = "help.panel.columns"

    tasks: tuple[str, ...] = option("help.task", "--task", metavar="COL", default=(), name="task")
    target: tuple[str, ...] = option(
        "help.target",
        metavar="COL",
        default=(),
    )
    targets: tuple[str, ...] = option(
        "help.targets",
        metavar="PATTERN",
        default=(),
    )
    features: tuple[str, ...] = option(
        "help.features",
        metavar="COLS",
        default=(),
    )
    date_features: bool = option(
        "help.date_features",
        default=False,
    )
    drop: tuple[str, ...] = option("help.drop", metavar="COLS", default=())
    ids: tuple[str, ...] = option(
        "help.ids",
        "--id",
        metavar="COL",
        default=(),
    )
    weight: str | None = option("help.weight", metavar="COL")
    drop_missing_target: bool = option("help.drop_missing_target", default=False)
    allow_leak: bool = option(
        "help.allow_leak",
        default=False,
    )

    @property
    def task(self) -> str | None:
        """The column of the tasks, the first of several groupings."""
        return next(iter(self.tasks), None)

    def is_feature(self, name: str) -> bool:
        """Tell whether a column may be learned from, as far as names and patterns tell."""
        others = (*self.target, *self.targets, *self.drop, *self.ids)
        patterns = (word.strip() for text in others for word in (text, *text.split(",")))
        return not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


AUTO, CLASSES = "auto", "classes"


@dataclass(frozen=True)
class TargetTypeOverride:
    """What the targets are to be: by a loss, "auto" or "classes", and the option that says so."""

    loss: str
    option: Text
    for_classes: str = "--loss multinomial"
    each: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_loss(cls, loss: str) -> TargetTypeOverride:
        """Return what the option ``--loss`` says."""
        return cls(loss, f"--loss {loss}")

    def of(self, target: str) -> TargetTypeOverride:
        """Return what one target is to be: of a loss of its own, if it has one."""
        if target not in self.each:
            return self
        named = f"--loss {target}="
        return TargetTypeOverride(
            self.each[target], f"{named}{self.each[target]}", f"{named}multinomial"
        )

    def refuse_others(self, targets: Sequence[str]) -> None:
        """Refuse losses of columns that are no targets."""
        for name in self.each:
            if name not in targets:
                raise ParameterError(one_of_names("--loss", name, targets))

    @cached_property
    def known(self) -> Loss | None:
        """The loss itself; None for "auto" and "classes"."""
        from polytask.losses import LOSSES
        from polytask.losses.parse import parse

        if self.loss in (AUTO, CLASSES):
            return None
        found = parse(self.loss, LOSSES)
        if found is None:
            known = (AUTO, *LOSSES)
            raise ParameterError(one_of_names("--loss", self.loss, known))
        return found

    @property
    def wanted(self) -> Literal["auto", "numbers", "classes"]:
        """What the targets are to be."""
        if self.loss == AUTO:
            return "auto"
        return "classes" if self.known is None or self.known.is_classifier else "numbers"


@dataclass(frozen=True)
class Copied:
    """What is known of the columns of the table, and copied from them."""

    PANEL = "help.panel.columns"

    ids: tuple[str, ...] = option(
        "help.predict.ids",
        "--id",
        metavar="COL",
        default=(),
    )
    keep: tuple[str, ...] = option(
        "help.keep",
        metavar="COLS",
        default=(),
    )
    tasks: tuple[str, ...] = option(
        "help.predict.task", "--task", metavar="COL", default=(), name="task"
    )
    unseen_tasks: Literal["error", "shared"] | None = option(
        "help.predict.unseen_tasks",
        metavar="error|shared",
    )
    interval: float | None = option(
        "help.interval",
        metavar="LEVEL",
        panel="help.panel.running",
    )


@dataclass(frozen=True)
class Roles:
    """What each column is."""

    task: str | None
    weight: str | None
    targets: tuple[str, ...]
    ids: tuple[str, ...]
    features: tuple[str, ...]
    # Those of groupings beyond that of the tasks.
    others: tuple[str, ...] = ()


def roles_of(
    options: ColumnOptions,
    columns: Sequence[str],
    source: str,
    splitting: SplitOptions = NO_SPLITTING,
    dated: Collection[str] = (),
) -> Roles:
    """Find out what each column of a table is; `dated` are those to make date features of."""
    weight = () if options.weight is None else (options.weight,)
    single = [*options.tasks, *weight]
    held = [name for name in (splitting.group, splitting.time) if name is not None]
    listed = (*options.targets, *options.ids, *options.drop, *options.features)
    words = [w for w in _split(listed, columns) if not any(c in w for c in "*?[")]
    _require_all((*single, *held, *options.target, *words), columns, source)
    patterns = matching(options.targets, columns, source)
    targets = tuple(dict.fromkeys((*options.target, *patterns)))
    ids = matching(options.ids, columns, source)
    _refuse_two_roles(options, splitting, targets, ids)
    taken = {*single, *targets, *ids}
    drop = set(matching(options.drop, columns, source))
    named = matching(options.features, columns, source, refused=taken)
    # What rows are held out by may be learned from too, but only if it is asked for.
    others = (name for name in columns if name not in held or name in dated)
    features = tuple(name for name in named or others if name not in taken | drop)
    if not features:
        raise DataError(
            LazyMessage(
                "cli.refusal.no_column_left",
                {"source": source, "names": [*map(repr, columns[:10])]},
            )
        )
    return Roles(options.task, options.weight, targets, ids, features, options.tasks[1:])


def _require_all(names: Sequence[str], columns: Sequence[str], source: str) -> None:
    """Refuse names of columns that are not there, all at once."""
    lacking = [name for name in dict.fromkeys(names) if name not in columns]
    if len(lacking) < 2:
        for name in lacking:
            require(name, columns, source)
        return
    named = [
        LazyMessage("cli.what.no_column", {"name": repr(name), "hint": nearest(name, columns)})
        for name in lacking
    ]
    fields = {"source": source, "shown": _shown(columns), "lines": lines_of(named)}
    raise DataError(LazyMessage("cli.refusal.no_columns", fields))


def _shown(columns: Sequence[str]) -> str:
    """Return the first columns of a table."""
    return ", ".join(map(repr, columns[:10])) + (", ..." if len(columns) > 10 else "")


def require(name: str, columns: Sequence[str], source: str) -> None:
    """Refuse the name of a column that is not there."""
    if name in columns:
        return
    fields = {"source": source, "name": repr(name), "hint": nearest(name, columns)}
    raise DataError(LazyMessage("cli.refusal.no_column", fields | {"shown": _shown(columns)}))


def matching(
    patterns: Sequence[str],
    columns: Sequence[str],
    source: str,
    refused: Iterable[str] = (),
) -> tuple[str, ...]:
    """Return the columns that names, patterns or lists with commas stand for, in table order."""
    found: set[str] = set()
    for pattern in _split(patterns, columns):
        if pattern in columns:
            if pattern in set(refused):
                raise ParameterError(
                    LazyMessage("cli.refusal.not_a_feature", {"pattern": repr(pattern)})
                )
            found.add(pattern)
            continue
        hits = fnmatch.filter(columns, pattern) if any(c in pattern for c in "*?[") else []
        if not hits and any(c in pattern for c in "*?["):
            raise DataError(
                LazyMessage("cli.refusal.no_match", {"source": source, "pattern": repr(pattern)})
            )
        if not hits:
            require(pattern, columns, source)
        found.update(hits)
    return tuple(name for name in columns if name in found)


def _split(patterns: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Split at commas, unless a column is called so."""
    words: list[str] = []
    for pattern in patterns:
        whole = pattern in columns or "," not in pattern
        words.extend([pattern] if whole else [word.strip() for word in pattern.split(",")])
    return [word for word in words if word]


def _refuse_two_roles(
    options: ColumnOptions, splitting: SplitOptions, targets: tuple[str, ...], ids: tuple[str, ...]
) -> None:
    if splitting.group is not None and splitting.group == options.task:
        raise ParameterError(
            LazyMessage("cli.refusal.task_as_group", {"group": repr(splitting.group)})
        )
    roles: dict[str, list[str | None]] = {
        "--task": [*options.tasks],
        "--target": [*targets],
        "--weight": [options.weight],
        "--group": [splitting.group],
        "--time": [splitting.time],
        "--id": [*ids],
    }
    seen: dict[str, str] = {}
    for flag, names in roles.items():
        for name in names:
            if name is None:
                continue
            if name in seen and (seen[name], flag) not in _MAY_NAME_ROWS:
                raise ParameterError(
                    LazyMessage(
                        "cli.refusal.given_twice",
                        {"name": repr(name), "seen": seen[name], "flag": flag},
                    )
                )
            seen.setdefault(name, flag)


def known_labels(column: pd.Series[Any], tasks: Any) -> list[Hashable]:  # noqa: ANN401 - an array
    """Return labels, each as the model knows it if it is written the same way."""
    # Shapes: column (n,), tasks (n_tasks,).
    # Whether a column of a text file is read as numbers depends on all its cells: "7" beside
    # "A1" is text, alone it is a number. The model's labels decide what it means here; "07" is
    # never 7.
    import numpy as np

    from polytask.data.labels import label_list

    known = np.asarray(tasks).tolist()
    spelled: dict[str, Hashable] = {}
    for label in known:
        spelled[_spelling(label)] = label
    exact = set(known)
    return [
        label if label in exact else spelled.get(_spelling(label), label)
        for label in label_list(column)
    ]


def as_column(labels: list[Hashable]) -> pd.Series[Any]:
    """Return labels as a column that keeps their types. Shapes: result (n,)."""
    import pandas as pd

    column: pd.Series[Any] = pd.Series(labels, dtype=object).infer_objects()
    return column


def _spelling(label: Hashable) -> str:
    # A file's TRUE is read as a truth value.
    return str(label).casefold() if isinstance(label, bool) else str(label)


def groups_of(table: pd.DataFrame, name: str | None, source: str) -> NDArray[Any] | None:
    """Return the group of every row. Shapes: table (n, d), result (n,)."""
    from polytask.data.tables import get_column

    if name is None:
        return None
    _refuse_gaps(table[name], f"--group {name!r}", "group", source)
    return get_column(table, name)


def times_of(
    table: pd.DataFrame, name: str | None, source: str, day_first: bool | None
) -> NDArray[Any] | None:
    """Return the time of every row. Shapes: table (n, d), result (n,)."""
    import pandas as pd

    from polytask.data.dates import read_dates
    from polytask.data.tables import get_column

    if name is None:
        return None
    column = table[name]
    types = pd.api.types
    dates = types.is_datetime64_any_dtype(column)
    numbers = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
    _refuse_gaps(column, f"--time {name!r}", "time", source)
    values = get_column(table, name)
    if dates or numbers:
        return values
    return read_dates(values, day_first, f"--time {name!r}", source)


def _refuse_gaps(column: pd.Series[Any], what: str, word: str, source: str) -> None:
    from polytask.data.missing import rows_text

    missing = column.isna().to_numpy()
    if missing.any():
        raise DataError(
            LazyMessage(
                "cli.refusal.empty", {"what": what, "source": source, "rows": rows_text(missing)}
            )
        )
