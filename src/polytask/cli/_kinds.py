"""What the targets of a command are, by their values and by its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polytask._checks import nearest
from polytask.cli._console import note
from polytask.data._text_hints import missing_option
from polytask.data.target_kinds import TargetWords, read_target
from polytask.exceptions import DataError, ParameterError

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
