"""Task labels: from labels of any kind to integers, and what to say when they do not match."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
import warnings
from collections.abc import Hashable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest, one_of, sentence
from polytask._registry import saveable
from polytask.data.missing import SHOWN, distinct_values, member_mask, missing_among, rows_text
from polytask.data.tables import column_values, is_column, is_table, refuse_lazy
from polytask.exceptions import DataError, DataWarning, ParameterError
from polytask.messages import LazyMessage, Text, with_and

# Integers are counted where their range is no more than so many times their number.
_SPARSE = 4
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")


# Fewer rows do not tell whether numbers are measured.
_FEWEST_MEASURED = 20


def are_measured(values: NDArray[Any], rows: NDArray[Any]) -> bool:
    """Say whether distinct floats, each in some rows, vary as measured ones do, mostly once."""
    if rows.sum() < _FEWEST_MEASURED or not (values % 1 != 0).any():
        return False
    return bool(rows[rows > 1].sum() < rows.sum() / 2)


def label_list(
    labels: object, parameter: Text = "task", owner: Text = "TaskData"
) -> list[Hashable]:
    """Return labels as a list of Python values, each of the type that it has."""
    # Shapes: labels (n,).
    refuse_lazy(labels, parameter, owner)
    if is_table(labels) or isinstance(labels, str | bytes | dict) or np.ma.is_masked(labels):
        got = LazyMessage("got.kind", {"kind": type(labels).__name__})
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.label_per_row"), got))
    if isinstance(labels, list | tuple):
        return _python_values(list(labels))
    array = column_values(labels) if is_column(labels) else np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind in "cV":
        got = LazyMessage("got.array_of", {"shape": array.shape, "dtype": array.dtype})
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.label_per_row_1d"), got))
    if array.dtype.kind in "mM":
        array = array.astype(f"{array.dtype.kind}8[us]")
    return _python_values(array.tolist())


def label_of(value: object) -> str:
    """Return the label of a level: text as it is, whole numbers without a decimal point."""
    if isinstance(value, str):
        return value
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return str(value)


def is_grouped(task: object) -> bool:
    """Say whether labels or names of columns are those of several groupings."""
    if isinstance(task, np.ndarray):
        return task.ndim == 2
    return is_table(task)


def refuse_groupings(task: object, column: object, owner: str) -> None:
    """Refuse several groupings where rows can belong to tasks only."""
    if is_grouped(task) or isinstance(column, list | tuple):
        refusal, name = (
            (DataError, "task") if is_grouped(task) else (ParameterError, "task_column")
        )
        fields = {"owner": owner, "parameter": name}
        raise refusal(LazyMessage("estimator.refusal.groupings", fields))


def factorize(
    labels: object, parameter: Text = "task", owner: Text = "TaskData"
) -> tuple[tuple[Hashable, ...], NDArray[np.intp]]:
    """Turn labels into integers. Shapes: labels (n,), codes (n,)."""
    if type(labels) is np.ndarray and labels.ndim == 1 and labels.dtype.kind in "iu":
        return _integers(labels)
    entries = label_list(labels, parameter, owner)
    found = distinct_values(entries)
    missing = missing_among(found)
    if missing:
        got = LazyMessage("got.no_label", {"rows": rows_text(member_mask(entries, missing))})
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.label_everywhere"), got))
    distinct = in_order(found)
    return distinct, _codes(entries, distinct)


def _integers(labels: NDArray[Any]) -> tuple[tuple[Hashable, ...], NDArray[np.intp]]:
    """Turn integers into their places among each other. Shapes: labels (n,), codes (n,)."""
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if high - low > _SPARSE * len(labels):
        found, codes = np.unique(labels, return_inverse=True)
        return tuple(found.tolist()), codes.astype(np.intp, copy=False)
    # As many places as there may be labels: faster than to sort.
    wide = labels.astype(np.int64) if labels.dtype.kind == "i" else labels
    place = (wide - np.array(low, wide.dtype)).astype(np.intp)
    met = np.zeros(high - low + 1, dtype=bool)
    met[place] = True
    distinct = [low + k for k in np.flatnonzero(met).tolist()]
    return tuple(distinct), (np.cumsum(met) - 1)[place]


def in_order(labels: Iterable[Hashable]) -> tuple[Hashable, ...]:
    """Return labels sorted, or as they come if they cannot be compared."""
    labels = tuple(labels)
    try:
        return tuple(sorted(labels))  # type: ignore[type-var]
    except TypeError:
        return labels


def warn_near_misses(labels: Sequence[Hashable], parameter: Text = "task") -> None:
    """Warn of labels that differ by type, blanks, leading zeros or capitals only."""
    found = near_misses(labels, parameter)
    if found is not None:
        warnings.warn(DataWarning(found), stacklevel=5)


def warn_of_likeness(labels: Iterable[Hashable], known: Iterable[Hashable]) -> None:
    """Warn of new labels that look like known ones."""
    fresh = [label for label in dict.fromkeys(labels) if label not in set(known)]
    alike = {_normal(label) for label in fresh}
    warn_near_misses([*(label for label in known if _normal(label) in alike), *fresh])


def near_misses(labels: Sequence[Hashable], parameter: Text) -> LazyMessage | None:
    """Name the labels that look alike, if there are any."""
    if not any(isinstance(label, str) for label in labels):
        return None
    alike: dict[Hashable, list[Hashable]] = {}
    for label in labels:
        alike.setdefault(_normal(label), []).append(label)
    groups = [group for group in alike.values() if len(group) > 1]
    if not groups:
        return None
    fields: dict[str, Any] = {"parameter": parameter, "n": len(groups) - SHOWN}
    fields["labels"] = []
    for group in groups[:SHOWN]:
        # Letters that look the same are told apart by their codes.
        seen = {(unicodedata.normalize("NFC", str(label)), type(label)) for label in group}
        plain = len(seen) == len(group)
        # Types are named where they differ.
        mixed = len({type(label) for label in group}) > 1
        shown = _typed if mixed else repr if plain else ascii
        named = [shown(label) for label in group]
        fields["labels"].append(with_and(named))
    return LazyMessage("warn.alike.more" if len(groups) > SHOWN else "warn.alike", fields)


@saveable("data.label_index")
@dataclasses.dataclass(frozen=True)
class LabelIndex:
    """The labels that a model knows, and the way from labels to positions.

    Parameters
    ----------
    labels : tuple
        The known labels; the position of a label is its code.
    """

    labels: tuple[Hashable, ...]

    def encode(
        self,
        labels: object,
        unseen: str = "error",
        parameter: Text = "task",
        owner: str = "predict",
    ) -> NDArray[np.intp]:
        """Return the position of every label.

        Labels match as Python compares them: 7 is 7.0, but neither ``"7"`` nor ``"07"``. True is
        1 only where no other numbers than 0 and 1 are known.

        Parameters
        ----------
        labels : array-like of shape (n,)
            The labels.
        unseen : {"error", "shared"}, default="error"
            What to do with a label that is not known: refuse it, or code it -1.
        parameter, owner : str
            Names for messages.

        Returns
        -------
        ndarray of shape (n,), integers
            Positions in ``labels``.

        Raises
        ------
        DataError
            If a label is missing, or not known and `unseen` is "error".
        """
        one_of(unseen, "unseen_tasks", owner, ("error", "shared"))
        given, codes = factorize(labels, parameter, owner)
        positions = dict(zip(self.labels, range(len(self.labels)), strict=True))
        # True is 1 where the labels are those of a truth value, not where 1 is one of many.
        truths = set(self.labels) <= {0, 1}
        found = [positions.get(label, -1) for label in given]
        kept = [truths or not isinstance(label, bool) for label in given]
        translated = np.where(kept, found, -1).astype(np.intp)
        encoded: NDArray[np.intp] = translated[codes]
        if unseen == "error" and bool((translated < 0).any()):
            strangers = [label for label, code in zip(given, translated, strict=True) if code < 0]
            raise DataError(self._unseen(strangers, encoded < 0, parameter, owner))
        return encoded

    def _unseen(
        self,
        strangers: Sequence[Hashable],
        mask: NDArray[np.bool_],
        parameter: Text,
        owner: str,
    ) -> LazyMessage:
        named = [repr(label) for label in strangers[:SHOWN]]
        more = LazyMessage("list.etc") if len(strangers) > SHOWN else ""
        fields = {"n": len(strangers), "names": named, "more": more, "rows": rows_text(mask)}
        got = LazyMessage("got.unseen", fields)
        allowed = LazyMessage("allowed.known_labels", {"n": len(self.labels)})
        return (
            sentence(parameter, owner, allowed, got)
            + self._hint(strangers)
            + LazyMessage("data.refusal.unseen_advice")
        )

    def _hint(self, strangers: Sequence[Hashable]) -> Text:
        known = {_normal(label): label for label in reversed(self.labels)}
        near = [
            LazyMessage(
                "data.refusal.known_as",
                {"given": _typed(label), "known": _typed(known[_normal(label)])},
            )
            for label in strangers
            if _normal(label) in known
        ]
        if near:
            n = len(near) - SHOWN
            more = LazyMessage("data.refusal.known_more", {"n": n}) if n > 0 else ""
            return LazyMessage("data.refusal.known", {"pairs": near[:SHOWN], "more": more})
        return nearest(strangers[0], self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Groupings:
    """The level of every row in each of several groupings; the first is that of the tasks.

    Parameters
    ----------
    names : tuple
        The names of the groupings: those of their columns, or positions.
    labels : tuple of tuple
        The levels of each.
    codes : ndarray of shape (n, n_groupings), integers
        The position of the row's level; -1 is an unknown one.
    """

    names: tuple[Hashable, ...]
    labels: tuple[tuple[Hashable, ...], ...]
    codes: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        names: Sequence[Hashable],
        labels: Sequence[object],
        first: tuple[tuple[Hashable, ...], NDArray[np.intp]],
        order: NDArray[np.intp],
        owner: Text,
    ) -> Groupings:
        """Encode labels of rows in the order of the input; `first` has levels and codes."""
        # Shapes: labels (n_input,) each, codes and order (n,).
        # The columns of one table are equally long.
        levels, codes = [first[0]], [first[1]]
        for name, given in zip(names[1:], labels[1:], strict=True):
            found, own = factorize(given, str(name), owner)
            warn_near_misses(found, str(name))
            levels.append(found)
            codes.append(own[order])
        return cls(tuple(names), tuple(levels), np.column_stack(codes))

    def rows(self, chosen: NDArray[np.intp] | slice) -> Groupings:
        """Return those of some rows."""
        return dataclasses.replace(self, codes=self.codes[chosen])

    def seen(self) -> Groupings:
        """Return them without the levels that no row has."""
        found = [np.unique(own, return_inverse=True) for own in self.codes.T]
        pairs = zip(self.labels, found, strict=True)
        labels = tuple(tuple(known[k] for k in used) for known, (used, _) in pairs)
        codes = np.column_stack([own for _, own in found]).astype(np.intp)
        return Groupings(self.names, labels, codes)


def _codes(entries: Sequence[Hashable], distinct: Sequence[Hashable]) -> NDArray[np.intp]:
    positions = dict(zip(distinct, range(len(distinct)), strict=True))
    return np.fromiter(map(positions.__getitem__, entries), np.intp, len(entries))


def _python_values(entries: list[Any]) -> list[Hashable]:
    """Turn NumPy scalars into Python ones, so that a label is the same in every container."""
    if not any(issubclass(kind, np.generic) for kind in set(map(type, entries))):
        return entries
    return [entry.item() if isinstance(entry, np.generic) else entry for entry in entries]


def _normal(label: Hashable) -> Hashable:
    """Return what is left of a label without its type, blanks, leading zeros and capitals."""
    text = " ".join(unicodedata.normalize("NFKC", str(label)).split())
    # A single letter may mean one thing small and another one large.
    folded = text.casefold() if len(text) > 1 else text
    return Fraction(text) if _NUMBER.fullmatch(text) else folded


def _typed(label: Hashable) -> str:
    return f"{label!r} ({type(label).__name__})"
