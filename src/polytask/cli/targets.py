"""What one target is: numbers or classes, and the rows that have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polytask.cli.columns import AUTO, CLASSES, TargetTypeOverride
from polytask.cli.console import FILE_ROWS, note
from polytask.data.missing import row_of_table
from polytask.data.target_kinds import TargetWords, read_target
from polytask.data.text_hints import counted_words, missing_option
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd


# Words that a message names one by one.
MOST_WORDS = 5
Problem = Literal["regression", "classification", "mixed"]


@dataclass(frozen=True)
class TargetKind:
    """What one target is."""

    name: str
    is_class: bool
    reason: LazyMessage
    n_values: int
    written: LazyMessage | None = None
    given: str | None = None

    @property
    def loss(self) -> str:
        """The name of the loss that was asked for, or that fits."""
        if self.given is not None:
            return self.given
        if not self.is_class:
            return "squared"
        return "logistic" if self.n_values <= 2 else "multinomial"


def problem_of(kinds: Sequence[TargetKind]) -> Problem:
    """Return what the targets are together."""
    classes = {kind.is_class for kind in kinds}
    # One regression has one loss.
    if len(classes) == 2 or len({kind.loss for kind in kinds if not kind.is_class}) > 1:
        return "mixed"
    return "classification" if True in classes else "regression"


@dataclass(frozen=True, eq=False)
class ReadTarget:
    """A target as it was read: what it is, and its values."""

    kind: TargetKind
    column: pd.Series[Any]


def type_of_model(model: Any) -> TargetTypeOverride:  # noqa: ANN401 - any estimator
    """Return what targets are read as that are to be those of a model."""
    classes = getattr(model, "task_classes_", None) or getattr(model, "classes_", None)
    if classes is None:
        return TargetTypeOverride("squared", LazyMessage("cli.what.model_of_numbers"))
    if isinstance(classes, dict) and any(own is None for own in classes.values()):
        return TargetTypeOverride.of_loss(AUTO)
    return TargetTypeOverride(CLASSES, LazyMessage("cli.what.model_of_classes"))


def target_of(
    column: pd.Series[Any],
    name: str,
    source: str,
    override: TargetTypeOverride,
    reading: TargetOptions,
) -> ReadTarget:
    """Tell whether a target is a number or a class, and read numbers that are text."""
    # Shapes: column (n,).
    import pandas as pd

    override = override.of(name)

    from polytask.data.tables import column_values

    values = column.dropna()
    if not len(values):
        raise DataError(
            LazyMessage("cli.refusal.target_empty", {"name": repr(name), "source": source})
        )
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        raise DataError(
            LazyMessage(
                "cli.refusal.target_dates",
                {"name": repr(name), "source": source, "value": str(values.iloc[0])},
            )
        )
    if isinstance(values.iloc[0], list | dict | np.ndarray):
        raise DataError(
            LazyMessage("cli.refusal.target_lists", {"name": repr(name), "source": source})
        )
    words = TargetWords(
        name=LazyMessage("cli.what.target", {"name": repr(name), "source": source}),
        asked="" if override.wanted == "auto" else override.option,
        classes=override.for_classes,
        numbers=LazyMessage("cli.advice.numbers"),
        missing=reading.missing_advice,
        mark=lambda mark: f"--decimal {mark}",
        place=reading.place,
    )
    declared = isinstance(column.dtype, pd.CategoricalDtype)
    found = read_target(
        column_values(column), words, override.wanted, reading.decimal, declared=declared
    )
    if found.missing:
        cells = counted_words(found.missing)
        note(LazyMessage("cli.note.missing", {"name": name, "cells": cells}))
    if found.written:
        column = pd.Series(found.values, index=column.index, name=column.name)
    given = None if override.known is None else override.loss
    kind = TargetKind(name, found.is_class, found.reason, found.n_values, found.written, given)
    return ReadTarget(_overridden(kind, override, column, source), column)


@dataclass(frozen=True)
class TargetOptions:
    """What the user said that matters for reading a target."""

    decimal: str | None = None
    drop_missing: bool | None = None
    place: Callable[[int], LazyMessage] = row_of_table
    met: list[str] = field(default_factory=list)

    def missing_advice(self, words: Sequence[str]) -> LazyMessage:
        """Return how to read words as missing, as options that can be pasted."""
        self.met.extend(words)
        options = missing_option(words[:MOST_WORDS])
        rest = " --drop-missing-target" if self.drop_missing is False else ""
        fields = {"options": options, "rest": rest, "count": len(words)}
        if len(words) <= MOST_WORDS:
            return LazyMessage("cli.advice.missing", fields)
        key = "cli.advice.missing_many"
        return LazyMessage(f"{key}.dropped" if rest else key, fields)


def _overridden(
    kind: TargetKind, override: TargetTypeOverride, column: pd.Series[Any], source: str
) -> TargetKind:
    """Let an option decide instead of the values."""
    if override.wanted == "auto":
        return kind
    if override.wanted == "numbers":
        reason = LazyMessage("cli.reason.option", {"option": override.option})
        if kind.written:
            fields = {"option": override.option, "how": kind.written.node}
            reason = LazyMessage("cli.reason.option_written", fields)
        return replace(kind, is_class=False, reason=reason)
    if override.known is not None and override.known.of_two_classes and kind.n_values > 2:
        raise DataError(
            LazyMessage(
                "cli.refusal.two_classes",
                {
                    "option": override.option,
                    "name": repr(kind.name),
                    "source": source,
                    "n_values": f"{kind.n_values:,}",
                    "other": "squared" if column.dtype.kind in "iuf" else "multinomial",
                },
            )
        )
    fractions = np.zeros(1) if column.dtype.kind != "f" else (column % 1 != 0) & column.notna()
    rows = np.flatnonzero(fractions)
    if len(rows):
        raise DataError(
            LazyMessage(
                "cli.refusal.fractions",
                {
                    "option": override.option,
                    "name": repr(kind.name),
                    "source": source,
                    "value": str(column.iloc[rows[0]]),
                    "row": str(rows[0]),
                },
            )
        )
    reason = LazyMessage("cli.reason.option", {"option": override.option})
    return replace(kind, is_class=True, reason=reason)


def labelled_rows(
    table: pd.DataFrame, target: str, source: str, drop_missing: bool
) -> pd.DataFrame:
    """Return the rows that have a target, all others refused or left out."""
    from polytask.data.missing import row_numbers, rows_text

    column = table[target]
    missing = np.asarray(column.isna())
    infinite = np.isinf(column.to_numpy()) if column.dtype.kind == "f" else missing & False
    if infinite.any():
        raise DataError(
            LazyMessage(
                "cli.refusal.target_infinite",
                {"name": repr(target), "source": source, "rows": rows_text(infinite)},
            )
        )
    if not missing.any():
        return table
    if not drop_missing:
        raise DataError(
            LazyMessage(
                "cli.refusal.target_missing",
                {"name": repr(target), "source": source, "rows": rows_text(missing)},
            )
        )
    rows = row_numbers(missing)
    fields = {"file": source, "name": target, "n": int(missing.sum()), "rows": rows}
    note(LazyMessage("cli.note.unlabelled", fields))
    FILE_ROWS.kept = np.flatnonzero(~missing)
    rest = table[~missing].reset_index(drop=True)
    if not len(rest):
        raise DataError(
            LazyMessage("cli.refusal.target_empty", {"name": repr(target), "source": source})
        )
    return rest
