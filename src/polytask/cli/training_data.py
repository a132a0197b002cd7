"""From files to what an estimator is fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest
from polytask.cli.columns import Roles, Wanted, groups_of, likely_tasks, roles_of, times_of
from polytask.cli.console import note
from polytask.cli.files import Source
from polytask.cli.options import counted
from polytask.data._text_hints import missing_option
from polytask.data.target_kinds import TargetWords, read_target
from polytask.exceptions import DataError, DataWarning, ParameterError, PolytaskError

if TYPE_CHECKING:
    import pandas as pd


# Words that a message names one by one.
MOST_WORDS = 5
LOSSES = (
    "auto",
    "squared",
    "huber",
    "poisson",
    "gamma",
    "quantile",
    "square_root",
    "logistic",
    "squared_hinge",
    "multinomial",
)
# Those that models with the usual losses only do not have.
UNUSUAL = ("huber", "poisson", "gamma", "quantile", "square_root", "squared_hinge")
_OF_NUMBERS = frozenset({"squared", "huber", "poisson", "gamma", "quantile", "square_root"})
_OF_TWO_CLASSES = frozenset({"logistic", "squared_hinge"})


class Problem(Enum):
    """What the targets are together."""

    REGRESSION = "regression"
    CLASSIFICATION = "classification"
    MIXED = "mixed"


@dataclass(frozen=True)
class TargetKind:
    """What one target is."""

    name: str
    is_class: bool
    reason: str
    n_values: int
    written: str = ""

    @property
    def sentence(self) -> str:
        """The kind with its reason."""
        word = "classification" if self.is_class else "regression"
        return f"{self.name!r} {self.reason}: {word}."

    @property
    def loss(self) -> str:
        """The name of the loss that fits."""
        if not self.is_class:
            return "squared"
        return "logistic" if self.n_values <= 2 else "multinomial"


def problem_of(kinds: Sequence[TargetKind]) -> Problem:
    """Return what the targets are together."""
    classes = {kind.is_class for kind in kinds}
    if len(classes) == 2:
        return Problem.MIXED
    return Problem.CLASSIFICATION if True in classes else Problem.REGRESSION


@dataclass(frozen=True)
class Demand:
    """What the user wants the targets to be."""

    loss: str
    option: str
    for_classes: str = "--loss multinomial"

    def __post_init__(self) -> None:
        """Refuse losses that there are not."""
        if self.name not in (*LOSSES, "classes"):
            allowed = "one of " + ", ".join(LOSSES)
            raise ParameterError(
                f"--loss must be {allowed}; got {self.loss!r}.{nearest(self.name, LOSSES)}"
            )

    @property
    def name(self) -> str:
        """The loss without numbers in brackets."""
        return name_of(self.loss)

    @property
    def wanted(self) -> Literal["auto", "numbers", "classes"]:
        """What the targets are to be."""
        if self.name == "auto":
            return "auto"
        return "numbers" if self.name in _OF_NUMBERS else "classes"


def name_of(loss: object) -> str:
    """Return the name of a loss as written: ``"quantile"`` of ``"quantile(0.9)"``."""
    return str(loss).partition("(")[0].strip()


@dataclass(frozen=True, eq=False)
class Target:
    """A target as it was read: what it is, and its values."""

    kind: TargetKind
    column: pd.Series[Any]


def target_of(
    column: pd.Series[Any],
    name: str,
    source: str,
    demand: Demand,
    reading: TargetOptions,
) -> Target:
    """Tell whether a target is a number or a class, and read numbers that are text."""
    # Shapes: column (n,).
    import pandas as pd

    from polytask.data.tables import column_values

    values = column.dropna()
    if not len(values):
        raise DataError(f"Target {name!r} of {source} is missing in every row.")
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        raise DataError(
            f"Target {name!r} of {source} holds dates or times ({values.iloc[0]}): turn them "
            "into numbers or classes first."
        )
    if isinstance(values.iloc[0], list | dict | np.ndarray):
        raise DataError(
            f"Target {name!r} of {source} holds lists or records: a target has one value per row."
        )
    words = TargetWords(
        name=f"Target {name!r} of {source}",
        asked="" if demand.name == "auto" else demand.option,
        classes=demand.for_classes,
        numbers="write them as plain numbers, and say --decimal , for decimal commas",
        missing=reading.missing_advice,
        mark=lambda mark: f"--decimal {mark}",
        place=reading.place,
    )
    declared = isinstance(column.dtype, pd.CategoricalDtype)
    found = read_target(
        column_values(column), words, demand.wanted, reading.decimal, declared=declared
    )
    if found.missing:
        shown = ", ".join(f"{word.strip()!r} ({n}x)" for word, n in sorted(found.missing.items()))
        note(f"Target {name!r}: {shown} read as missing.")
    if found.written:
        column = pd.Series(found.values, index=column.index, name=column.name)
    kind = TargetKind(name, found.is_class, found.reason, found.n_values, found.written)
    return Target(_as_demanded(kind, demand, column, source), column)


@dataclass(frozen=True)
class TargetOptions:
    """What the user said that matters for reading a target."""

    decimal: str | None = None
    drop_missing: bool | None = None
    place: Callable[[int], str] = "row {}".format

    def missing_advice(self, words: Sequence[str]) -> str:
        """Return how to read words as missing, as options that can be pasted."""
        options = missing_option(words[:MOST_WORDS])
        rest = " --drop-missing-target" if self.drop_missing is False else ""
        if len(words) <= MOST_WORDS:
            return f"say {options}{rest}"
        return (
            f"say {options} and so on for {len(words):,} different values{rest and ', and'}{rest}"
        )


def _as_demanded(
    kind: TargetKind, demand: Demand, column: pd.Series[Any], source: str
) -> TargetKind:
    """Let an option decide instead of the values."""
    if demand.name == "auto":
        return kind
    if demand.wanted == "numbers":
        written = f" and holds numbers written {kind.written}" if kind.written else ""
        return replace(kind, is_class=False, reason=f"is for {demand.option}{written}")
    if demand.name in _OF_TWO_CLASSES and kind.n_values > 2:
        raise DataError(
            f"{demand.option} is for two classes; target {kind.name!r} of {source} has "
            f"{kind.n_values:,} distinct values. Use --loss "
            f"{'squared' if column.dtype.kind in 'iuf' else 'multinomial'} or auto."
        )
    _refuse_fractions(kind, demand, column, source)
    return replace(kind, is_class=True, reason=f"is for {demand.option}")


def _refuse_fractions(
    kind: TargetKind, demand: Demand, column: pd.Series[Any], source: str
) -> None:
    import pandas as pd

    if not pd.api.types.is_float_dtype(column):
        return
    rows = np.flatnonzero((column % 1 != 0) & column.notna())
    if len(rows):
        raise DataError(
            f"{demand.option} needs classes; target {kind.name!r} of {source} holds "
            f"{column.iloc[rows[0]]} in row {rows[0]}, counting from 0. Leave {demand.option} "
            "out, or turn the numbers into classes."
        )


@dataclass(frozen=True, eq=False)
class Training:
    """What an estimator is fitted on. Shapes: y (n,), weight (n,), group, time (n,)."""

    X: Any
    y: Any
    weight: Any
    task_column: str | None
    kinds: tuple[TargetKind, ...]
    sizes: dict[Any, int]
    n_rows: int
    n_columns: int
    group: NDArray[Any] | None = None
    time: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()


def read_training(source: Source, wanted: Wanted, demand: Demand, drop_missing: bool) -> Training:
    """Read the rows to learn from, in one of three forms."""
    if source.pattern is not None:
        return _checked(_separate(source, wanted, demand, drop_missing), wanted, source)
    table = source.table()
    roles = roles_of(wanted, list(table.columns), source.name)
    _check_form(roles, table, source.name)
    if roles.task is not None:
        training = _long(table, roles, wanted, source, demand, drop_missing)
    else:
        training = _targets(table, roles, wanted, source, demand)
    return _checked(training, wanted, source)


def _checked(training: Training, wanted: Wanted, source: Source) -> Training:
    """Refuse copies of the target among the features, and say what else misleads."""
    import warnings

    from polytask._estimator.data_checks import data_warnings
    from polytask._estimator.training import training_data

    X, y, weight = training.X, training.y, training.weight
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = training_data(X, y, None, weight, training.task_column, "polytask")
    except PolytaskError:
        # Refused where it is learned from, in words of what learns.
        return training
    found = data_warnings(
        data,
        source.name,
        allow_leak=wanted.allow_leak,
        option=True,
        target=training.kinds[0].name if len(training.kinds) == 1 else "",
        grouped=training.group is not None,
    )
    for sentence in found:
        warnings.warn(str(sentence), DataWarning, stacklevel=2)
    return training


def _check_form(roles: Roles, table: pd.DataFrame, source: str) -> None:
    if not roles.targets:
        raise ParameterError(
            "polytask needs a target: --target COL, several of them, or --targets 'y_*'. The "
            f"columns of {source} are {', '.join(map(repr, table.columns[:10]))}."
        )
    if roles.task is not None and len(roles.targets) > 1:
        raise ParameterError(
            f"With --task, every row has one task and one --target; got {len(roles.targets)}: "
            f"{', '.join(map(repr, roles.targets[:5]))}. Without --task each target is a task."
        )
    if roles.task is None and len(roles.targets) == 1:
        likely = likely_tasks(table.drop(columns=list(roles.targets)))
        shown = ", ".join(f"{hint.name!r} ({hint.n_values:,} values)" for hint in likely)
        advice = f" Likely task columns: {shown}." if shown else ""
        raise ParameterError(
            "One --target is one task only: name the column of the tasks with --task, or give "
            f"several targets.{advice}"
        )


def _long(
    table: pd.DataFrame,
    roles: Roles,
    wanted: Wanted,
    origin: Source,
    demand: Demand,
    drop_missing: bool,
) -> Training:
    target, task, source = roles.targets[0], str(roles.task), origin.name
    _refuse_unlabelled(table, task, source)
    tasks = table[task].unique().tolist()
    options = TargetOptions(origin.style.decimal, drop_missing)
    found = target_of(table[target], target, source, demand, options)
    table[target] = found.column
    table = labelled_rows(table, target, source, drop_missing)
    learned = set(table[task])
    notes = _without_target([label for label in tasks if label not in learned])
    counts = table[task].value_counts(sort=False)
    return Training(
        X=table[[task, *roles.features]],
        y=_values(table, target),
        weight=row_weights(table, roles.weight, source),
        task_column=task,
        kinds=(found.kind,),
        sizes={label: int(n) for label, n in counts.items()},
        n_rows=len(table),
        n_columns=len(roles.features),
        group=groups_of(table, wanted.group, source),
        time=times_of(table, wanted.time, source),
        notes=notes,
    )


def _without_target(tasks: Sequence[Any]) -> tuple[str, ...]:
    """Say which tasks are left out with all their rows."""
    if not tasks:
        return ()
    names = ", ".join(repr(name) for name in tasks[:10]) + (", ..." if len(tasks) > 10 else "")
    one = len(tasks) == 1
    text = (
        f"{counted(len(tasks), 'task')} {'has' if one else 'have'} no target at all and "
        f"{'is' if one else 'are'} left out: {names}."
    )
    note(text)
    return (text,)


def _targets(
    table: pd.DataFrame, roles: Roles, wanted: Wanted, origin: Source, demand: Demand
) -> Training:
    source, options = origin.name, TargetOptions(origin.style.decimal)
    found = {name: target_of(table[name], name, source, demand, options) for name in roles.targets}
    for name, target in found.items():
        table[name] = target.column
    bare = table[list(roles.targets)].isna().all(axis=1)
    if bare.any():
        note(f"Nothing is learned from {counted(int(bare.sum()), 'row')} without any target.")
    return Training(
        X=table[list(roles.features)],
        y=table[list(roles.targets)],
        weight=row_weights(table, roles.weight, source),
        task_column=None,
        kinds=tuple(target.kind for target in found.values()),
        sizes={name: int(table[name].notna().sum()) for name in roles.targets},
        n_rows=len(table),
        n_columns=len(roles.features),
        group=groups_of(table, wanted.group, source),
        time=times_of(table, wanted.time, source),
    )


def _separate(source: Source, wanted: Wanted, demand: Demand, drop_missing: bool) -> Training:
    if wanted.task is not None:
        raise ParameterError("--file-per-task makes each file a task: drop --task.")
    if len(wanted.targets) != 1 or wanted.target_patterns:
        raise ParameterError("--file-per-task needs exactly one --target, the same in all files.")
    target = wanted.targets[0]
    found, tables = _target_of_files(source, target, demand, drop_missing)
    union = list(dict.fromkeys(column for table in tables.values() for column in table.columns))
    roles = roles_of(wanted, union, source.name)
    kept = {name: [c for c in roles.features if c in t.columns] for name, t in tables.items()}
    weight = None
    if roles.weight is not None:
        weight = {
            name: row_weights(table, _required(table, roles.weight, name), name)
            for name, table in tables.items()
        }
    return Training(
        X={n: (t[kept[n]], _values(t, target)) for n, t in tables.items()},
        y=None,
        weight=weight,
        task_column=None,
        kinds=(found.kind,),
        sizes={name: len(table) for name, table in tables.items()},
        n_rows=sum(map(len, tables.values())),
        n_columns=len(roles.features),
        group=groups_of(_below(tables, wanted.group), wanted.group, source.name),
        time=times_of(_below(tables, wanted.time), wanted.time, source.name),
    )


def _target_of_files(
    source: Source, target: str, demand: Demand, drop_missing: bool
) -> tuple[Target, dict[str, pd.DataFrame]]:
    """Read the target of all files as one column; return it, and the rows that have one."""
    import pandas as pd

    tables = source.tables()
    for name, table in tables.items():
        _required(table, target, name)
    starts = np.cumsum([0, *map(len, tables.values())])

    def place(row: int) -> str:
        file = int(np.searchsorted(starts, row, side="right")) - 1
        return f"row {row - starts[file]} of {list(tables)[file]}"

    whole = pd.concat([table[target] for table in tables.values()], ignore_index=True)
    options = TargetOptions(source.style.decimal, drop_missing, place)
    found = target_of(whole, target, source.name, demand, options)
    for start, table in zip(starts if found.kind.written else (), tables.values(), strict=False):
        table[target] = found.column.iloc[start : start + len(table)].to_numpy()
    return found, {
        name: labelled_rows(table, target, name, drop_missing) for name, table in tables.items()
    }


def _required(table: pd.DataFrame, name: str, source: str) -> str:
    from polytask.cli.columns import require

    require(name, list(table.columns), source)
    return name


def _below(tables: dict[str, pd.DataFrame], name: str | None) -> pd.DataFrame:
    """Put the cells of one column of all files below each other."""
    import pandas as pd

    if name is None:
        return pd.DataFrame()
    cells = [table[[_required(table, name, file)]] for file, table in tables.items()]
    return pd.concat(cells, ignore_index=True)


def labelled_rows(
    table: pd.DataFrame, target: str, source: str, drop_missing: bool
) -> pd.DataFrame:
    """Return the rows that have a target, all others refused or left out."""
    from polytask.data.missing import rows_text

    missing, infinite = np.asarray(table[target].isna()), _infinite(table[target])
    if infinite.any():
        raise DataError(
            f"Target {target!r} of {source} is infinite in {rows_text(infinite)}, counting from "
            "0: correct it, or leave the cell empty."
        )
    if not missing.any():
        return table
    if not drop_missing:
        raise DataError(
            f"Target {target!r} of {source} is missing in {rows_text(missing)}, counting from 0: "
            "correct them, or leave these rows out with --drop-missing-target."
        )
    note(
        f"{source}: {rows_text(missing)} without target {target!r} left out; row numbers below "
        "count the other rows."
    )
    rest = table[~missing].reset_index(drop=True)
    if not len(rest):
        raise DataError(f"Target {target!r} of {source} is missing in every row.")
    return rest


def _infinite(column: pd.Series[Any]) -> NDArray[np.bool_]:
    if column.dtype.kind != "f":
        return np.zeros(len(column), dtype=bool)
    found: NDArray[np.bool_] = np.isinf(column.to_numpy())
    return found


def _values(table: pd.DataFrame, name: str) -> NDArray[Any]:
    from polytask.data.tables import get_column

    return get_column(table, name)


def row_weights(table: pd.DataFrame, name: str | None, source: str) -> NDArray[Any] | None:
    """Return the weights of the rows, None if no column is named."""
    import pandas as pd

    if name is None:
        return None
    numeric = pd.api.types.is_numeric_dtype(table[name])
    values = _values(table, name)
    bad = ~(np.isfinite(values) & (values >= 0)) if numeric else np.ones(len(table), dtype=bool)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"Weight {name!r} of {source} must be a finite number >= 0 in every row; got "
            f"{table[name].tolist()[row]!r} in row {row}, counting from 0."
        )
    return values


def _refuse_unlabelled(table: pd.DataFrame, task: str, source: str) -> None:
    from polytask.data.missing import rows_text

    missing = np.asarray(table[task].isna())
    if missing.any():
        raise DataError(
            f"Task column {task!r} of {source} is empty in {rows_text(missing)}, counting from "
            "0: every row needs a task."
        )
