"""What an encoder learned from a table, and what it met when it was applied: plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from polytask.messages import LazyMessage


@dataclass(frozen=True)
class ColumnReport:
    """What happened to one column of the training table.

    Attributes
    ----------
    name : str
        The column.
    kind : str
        ``"numeric"``, ``"boolean"``, ``"text"``, ``"category"`` or ``"empty"``.
    features : tuple of str
        The labels of the features made from it; empty if it was left out.
    missing : int
        Rows (of positive weight) in which it is missing.
    fill : float or None
        The median that replaces missing numbers.
    levels : tuple of str
        The levels with a feature of their own, sorted.
    joined : tuple of str
        The rarer levels that share one feature, sorted.
    constant : bool
        Whether it has the same value in every row.
    messages : tuple of LazyMessage
        What deserves a look.
    """

    name: str
    kind: str
    features: tuple[str, ...] = ()
    missing: int = 0
    fill: float | None = None
    levels: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    constant: bool = False
    messages: tuple[LazyMessage, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The messages in English."""
        return tuple(map(str, self.messages))

    @property
    def dropped(self) -> bool:
        """Whether the column makes no feature."""
        return not self.features

    def to_state(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ColumnReport:
        """Rebuild the report from :meth:`to_state`."""
        fields: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in state.items()
        }
        # Files of earlier versions hold sentences.
        lines = fields.pop("warnings", ())
        told = [LazyMessage("sentence", {"text": line}) for line in lines]
        told += [LazyMessage(**node) for node in fields.pop("messages", ())]
        return cls(**fields, messages=tuple(told))


@dataclass(frozen=True)
class EncodingReport:
    """What an encoder learned.

    Attributes
    ----------
    n_rows : int
        Rows of the training table.
    columns : tuple of ColumnReport
        One entry per column that was not named in `drop`, in the order of the table.
    """

    n_rows: int
    columns: tuple[ColumnReport, ...]

    @property
    def messages(self) -> tuple[LazyMessage, ...]:
        """The messages of all columns."""
        return tuple(message for column in self.columns for message in column.messages)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The messages in English."""
        return tuple(map(str, self.messages))

    @property
    def constant(self) -> tuple[str, ...]:
        """The columns with one value only."""
        return tuple(column.name for column in self.columns if column.constant)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The columns left out because nothing is in them."""
        return tuple(column.name for column in self.columns if column.dropped)


N_EXAMPLES = 5
_NO_ROWS, _NO_LEVELS = np.empty(0, dtype=bool), np.empty(0, dtype=object)
_NO_VALUES = np.empty(0)


@dataclass(frozen=True, eq=False)
class UnknownLevels:
    """The cells of one column whose level was not in the training table.

    Attributes
    ----------
    count : int
        The number of cells.
    examples : tuple of str
        Up to five of the new levels, sorted.
    rows : ndarray of shape (n_rows,)
        The mask of the rows concerned.
    levels : ndarray of shape (count,)
        The new level in each of these rows, in row order.
    """

    count: int
    examples: tuple[str, ...]
    rows: npt.NDArray[np.bool_]
    levels: npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class FarCells:
    """The cells of one column of numbers that lie far outside those of the training table.

    Attributes
    ----------
    count : int
        The number of cells.
    farthest : float
        The one that is farthest outside.
    seen : tuple of float
        The smallest and the largest number of the training table.
    rows : ndarray of shape (n_rows,)
        The mask of the rows concerned.
    values : ndarray of shape (count,)
        The numbers in these rows, in row order.
    """

    count: int
    farthest: float
    seen: tuple[float, float]
    rows: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TransformReport:
    """What an encoder met in a table that it encoded.

    Attributes
    ----------
    n_rows : int
        Rows of the table.
    missing : dict
        Missing cells per column, for columns that have any.
    imputed : dict
        The part of `missing` in columns where nothing was missing in training: there is no
        feature to say so, and the model sees a usual row.
    unknown : dict
        :class:`UnknownLevels` per column, for columns that have any.
    far : dict
        :class:`FarCells` per column of numbers, for columns that have any: more than five times
        the range of the training table outside of it, as another unit or a code for "missing" is.
    later : dict
        Per column of dates that became features, how many rows lie after the last date of
        training, and that date in days since 1970, where there are any.
    """

    n_rows: int
    missing: dict[str, int] = field(default_factory=dict)
    imputed: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, UnknownLevels] = field(default_factory=dict)
    far: dict[str, FarCells] = field(default_factory=dict)
    later: dict[str, tuple[int, float]] = field(default_factory=dict)

    def with_others(self, other: TransformReport) -> TransformReport:
        """Return what was met in the rows of both; which rows it was is not kept.

        Parameters
        ----------
        other : TransformReport
            What was met in other rows.

        Returns
        -------
        TransformReport
        """
        unknown, far = dict(self.unknown), dict(self.far)
        for name, more in other.unknown.items():
            known = unknown.get(name, more)
            count = more.count if known is more else known.count + more.count
            levels = sorted({*known.examples, *more.examples})[:N_EXAMPLES]
            unknown[name] = UnknownLevels(count, tuple(levels), _NO_ROWS, _NO_LEVELS)
        for name, cells in other.far.items():
            held = far.get(name, cells)
            count = cells.count if held is cells else held.count + cells.count
            low, high = cells.seen
            ends = held.farthest, cells.farthest
            farthest = max(ends, key=lambda value: max(value / 2 - high / 2, low / 2 - value / 2))
            far[name] = FarCells(count, farthest, cells.seen, _NO_ROWS, _NO_VALUES)
        later = dict(self.later)
        for name, (count, last) in other.later.items():
            later[name] = count + later.get(name, (0, last))[0], last
        return TransformReport(
            self.n_rows + other.n_rows,
            dict(Counter(self.missing) + Counter(other.missing)),
            dict(Counter(self.imputed) + Counter(other.imputed)),
            unknown,
            far,
            later,
        )

    @property
    def dates(self) -> tuple[LazyMessage, ...]:
        """What to say of dates after those of training: nothing unusual, but it extrapolates."""
        start = np.datetime64(0, "D")
        return tuple(
            LazyMessage("met.later", {"column": name, "n": n, "last": str(start + int(last))})
            for name, (n, last) in self.later.items()
        )

    @property
    def messages(self) -> tuple[LazyMessage, ...]:
        """What deserves a look: new levels, unexpected missing values and far numbers."""
        said = []
        for name, found in self.unknown.items():
            fields: dict[str, Any] = {"column": name, "n": found.count}
            fields["levels"] = [repr(level) for level in found.examples]
            said.append(LazyMessage("met.unknown", fields))
        for name, count in self.imputed.items():
            said.append(LazyMessage("met.imputed", {"column": name, "n": count}))
        for name, far in self.far.items():
            fields = {"column": name, "n": far.count, "farthest": f"{far.farthest:g}"}
            fields |= {"low": f"{far.seen[0]:g}", "high": f"{far.seen[1]:g}"}
            said.append(LazyMessage("met.far", fields))
        return tuple(said)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The messages in English."""
        return tuple(map(str, self.messages))

    def add_missing(
        self,
        name: str,
        missing: npt.NDArray[np.bool_],
        counted: npt.NDArray[np.bool_] | None,
        expected: bool,
    ) -> None:
        """Count the missing cells of a column among the counted rows."""
        count = int((missing if counted is None else missing & counted).sum())
        if count:
            self.missing[name] = count
            if not expected:
                self.imputed[name] = count
