"""Whether a target is a number or a class, and why."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest
from polytask.data._text_hints import odd_ones
from polytask.exceptions import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

MANY_CLASSES = 20
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
    """What one target is.

    Attributes
    ----------
    name : str
        The target.
    is_class : bool
        Whether it is a class rather than a number.
    reason : str
        Why, as part of a sentence.
    n_values : int
        Distinct values.
    """

    name: str
    is_class: bool
    reason: str
    n_values: int

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


def kind_of(column: pd.Series[Any], name: str, source: str) -> TargetKind:
    """Tell whether a target is a number or a class.

    Text, true/false, categories and numbers with exactly two distinct values are classes; all
    other numbers are numbers.

    Parameters
    ----------
    column : pandas.Series of shape (n,)
        The target.
    name : str
        Its name.
    source : str
        The file, for messages.

    Returns
    -------
    TargetKind

    Raises
    ------
    DataError
        If it holds dates, or nothing.
    """
    import pandas as pd

    values = column.dropna()
    if not len(values):
        raise DataError(f"Target {name!r} of {source} is missing in every row.")
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        raise DataError(
            f"Target {name!r} of {source} holds dates or times ({values.iloc[0]}): turn them "
            "into numbers or classes first."
        )
    distinct = values.unique()
    shown = _shown(distinct)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return TargetKind(name, True, f"holds categories ({shown})", len(distinct))
    if pd.api.types.is_bool_dtype(values):
        return TargetKind(name, True, "holds true/false", len(distinct))
    if pd.api.types.is_numeric_dtype(values):
        few = {1: f"holds one value only ({shown})", 2: f"has two distinct values ({shown})"}
        reason = few.get(len(distinct), "holds numbers")
        return TargetKind(name, len(distinct) == 2, reason, len(distinct))
    _refuse_free_text(name, column, distinct, source)
    return TargetKind(name, True, f"holds text ({shown})", len(distinct))


def _refuse_free_text(
    name: str, column: pd.Series[Any], distinct: NDArray[Any], source: str
) -> None:
    n = int(column.notna().sum())
    if len(distinct) <= max(MANY_CLASSES, n / 2):
        return
    odd = _odd_rows(column)
    if odd:
        raise DataError(
            f"Target {name!r} of {source} holds numbers{_but_for(column, odd)}: correct the cell, "
            "or leave it blank if it is missing."
        )
    raise DataError(
        f"Target {name!r} of {source} is text with {len(distinct):,} different values in {n:,} "
        f"rows ({_shown(distinct)}): that is neither a number nor a class. If they are numbers, "
        "see --decimal and mark missing cells with blanks."
    )


def _odd_rows(column: pd.Series[Any]) -> list[int]:
    """Return the rows with text that is no number, in a column that is numbers otherwise."""
    rows = np.flatnonzero(column.notna())
    return [int(rows[k]) for k in odd_ones([str(cell) for cell in column.iloc[rows]])]


def _but_for(column: pd.Series[Any], rows: list[int]) -> str:
    more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
    return f" but for {column.iloc[rows[0]]!r} in row {rows[0]}, counting from 0{more}"


def _shown(distinct: NDArray[Any]) -> str:
    words = [str(value) for value in list(distinct)[:4]]
    with contextlib.suppress(TypeError):
        words = [str(value) for value in sorted(list(distinct)[:1000])[:4]]
    return ", ".join(words) + (", ..." if len(distinct) > 4 else "")


@dataclass(frozen=True)
class Demand:
    """What the user wants the targets to be.

    Attributes
    ----------
    loss : str
        One of LOSSES, perhaps with numbers in brackets, or "classes": logistic or multinomial.
    option : str
        The option that says so.
    """

    loss: str
    option: str

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


def name_of(loss: object) -> str:
    """Return the name of a loss as written: ``"quantile"`` of ``"quantile(0.9)"``."""
    return str(loss).partition("(")[0].strip()


def as_demanded(
    kind: TargetKind, demand: Demand, column: pd.Series[Any], source: str
) -> TargetKind:
    """Let an option decide instead of the values.

    Parameters
    ----------
    kind : TargetKind
        What the values look like.
    demand : Demand
        What the user wants.
    column : pandas.Series of shape (n,)
        The target.
    source : str
        The file, for messages.

    Returns
    -------
    TargetKind

    Raises
    ------
    DataError
        If the values do not allow it.
    """
    if demand.name == "auto":
        return kind
    if demand.name in _OF_NUMBERS:
        _require_numbers(kind, demand, column, source)
        return TargetKind(kind.name, False, f"is for {demand.option}", kind.n_values)
    if demand.name in _OF_TWO_CLASSES and kind.n_values > 2:
        raise DataError(
            f"{demand.option} is for two classes; target {kind.name!r} of {source} has "
            f"{kind.n_values:,} distinct values. Use --loss "
            f"{'multinomial' if kind.is_class else 'squared'} or auto."
        )
    _refuse_fractions(kind, demand, column, source)
    return TargetKind(kind.name, True, f"is for {demand.option}", kind.n_values)


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


def _require_numbers(
    kind: TargetKind, demand: Demand, column: pd.Series[Any], source: str
) -> None:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return
    odd = _odd_rows(column)
    row = odd[0] if odd else int(np.flatnonzero(column.notna())[0])
    raise DataError(
        f"{demand.option} needs numbers; target {kind.name!r} of {source} holds "
        f"{column.iloc[row]!r} in row {row}, counting from 0. Leave {demand.option} out, or "
        "correct the column."
    )
