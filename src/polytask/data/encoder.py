"""TableEncoder: from a data frame of numbers, booleans and categories to an array of floats."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from polytask._checks import is_whole, nearest, sentence
from polytask._registry import saveable
from polytask.data._cells import Frame, Kind, Mask, columns_of, kind_of
from polytask.data._column_codes import CategoryCode, ColumnCode, NumericCode, nothing
from polytask.data._encoding_report import (
    ColumnReport,
    EncodingReport,
    FarCells,
    TransformReport,
    UnknownLevels,
)
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.messages import LazyMessage, one_paragraph

__all__ = [
    "ColumnReport",
    "Encoded",
    "EncodingReport",
    "FarCells",
    "TableEncoder",
    "TransformReport",
    "UnknownLevels",
]

Floats = npt.NDArray[Any]

_CODES: dict[str, type[NumericCode] | type[CategoryCode]] = {
    code.tag: code for code in (NumericCode, CategoryCode)
}


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoded table.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features_out)
        The features.
    report : TransformReport
        Missing cells, new levels and far numbers.
    """

    X: Floats
    report: TransformReport


@saveable("data.table_encoder")
class TableEncoder(BaseEstimator):
    """Encode the columns of a data frame as numbers, the same way at prediction.

    Numbers stay as they are; their missing cells get the (weighted) median, and a feature
    ``age=missing`` if there were any in training. Booleans become 0 and 1. Text and categories
    get one feature per level, ``colour=red``, in sorted order; the rarest levels beyond
    `max_levels` share ``colour=other``, and missing or blank cells have ``colour=missing`` if
    there were any in training. A level that was not in training counts as one of the rare ones
    if these were joined, else as the average of the levels: the row gets the means of the
    column's features. Dates are refused by name. Columns missing in every row are left out,
    constant ones are kept and reported.

    Data frames of pandas, polars and pyarrow with the same values give the same array, bit for
    bit. Columns are matched by name: their order does not matter and columns that are not
    needed are ignored. The float type is float32 if every numeric column of the table is.

    Parameters
    ----------
    max_levels : int, default=30
        The most features that the levels of one column get, ``other`` included and ``missing``
        not; at least 2.
    drop : sequence of str, default=()
        Columns to leave out.

    Attributes
    ----------
    report_ : EncodingReport
        What was learned from each column.
    n_features_in_ : int
        Columns of the training table.
    feature_names_in_ : ndarray of shape (n_columns,)
        Their names.

    Examples
    --------
    >>> import pandas as pd
    >>> from polytask.data.encoder import TableEncoder
    >>> table = pd.DataFrame({"age": [30.0, None, 50.0], "colour": ["red", "blue", "red"]})
    >>> encoder = TableEncoder().fit(table)
    >>> [str(name) for name in encoder.get_feature_names_out()]
    ['age', 'age=missing', 'colour=blue', 'colour=red']
    >>> encoder.transform(table)
    array([[30.,  0.,  0.,  1.],
           [40.,  1.,  1.,  0.],
           [50.,  0.,  0.,  1.]])
    """

    def __init__(self, max_levels: int = 30, drop: Sequence[str] = ()) -> None:
        self.max_levels = max_levels
        self.drop = drop

    def fit(
        self,
        table: object,
        y: object = None,
        *,
        sample_weight: npt.ArrayLike | None = None,
        present: npt.ArrayLike | None = None,
        is_part: bool = False,
    ) -> TableEncoder:
        """Learn how to encode each column.

        Parameters
        ----------
        table : data frame of shape (n_rows, n_columns)
            A pandas, polars (eager) or pyarrow table.
        y : object, default=None
            Ignored; lets the encoder stand in a scikit-learn pipeline.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights for medians and for which levels are rare; rows of weight 0 do not count.
        present : array-like of bool of shape (n_rows, n_columns), default=None
            False where a cell does not exist because the row's task lacks the column; such a
            cell is not counted as missing.
        is_part : bool, default=False
            Whether these are some of the rows of a table that was accepted. Text of which hardly
            any value is seen twice, or that looks like dates, is then taken as categories.

        Returns
        -------
        TableEncoder
            This object.

        Raises
        ------
        DataError
            If a column cannot be encoded, with its name and row; if nothing is left.
        ParameterError
            If `max_levels` is not an integer of at least 2.

        Warns
        -----
        DataWarning
            With the sentences of ``report_.warnings``, if there are any.
        """
        frame = _open_table(table)
        names = _names_of(frame)
        if not len(frame):
            raise DataError(LazyMessage("data.refusal.no_rows"))
        left_out = self._left_out(names)
        weights = _column_weights(sample_weight, present, len(frame), len(names))
        most = self.max_levels
        if not is_whole(most) or most < 2:
            allowed = LazyMessage("allowed.from_two")
            raise ParameterError(sentence("max_levels", "TableEncoder", allowed, repr(most)))
        codes, reports = [], []
        columns = columns_of(frame, [j for j, name in enumerate(names) if name not in left_out])
        for j in sorted(columns):
            name, column = names[j], columns.pop(j)
            kind = kind_of(column, name)
            if kind is Kind.EMPTY:
                code, report = nothing(name)
            elif kind.is_numeric:
                code, report = NumericCode.learn(column, name, weights[j], kind)
            else:
                code, report = CategoryCode.learn(
                    column, name, weights[j], kind, int(most), accepted=is_part
                )
            reports.append(report)
            codes += [code] if code is not None else []
        if not codes:
            raise DataError(LazyMessage("data.refusal.no_usable_column"))
        self.report_ = EncodingReport(len(frame), tuple(reports))
        self._set_codes(names, tuple(codes))
        if self.report_.messages:
            warnings.warn(DataWarning(one_paragraph(self.report_.messages)), stacklevel=2)
        return self

    def _left_out(self, names: tuple[str, ...]) -> frozenset[str]:
        if isinstance(self.drop, str):
            raise ParameterError(
                sentence(
                    "drop", "TableEncoder", LazyMessage("allowed.column_names"), repr(self.drop)
                )
            )
        dropped = frozenset(map(str, self.drop or ()))
        for name in sorted(dropped.difference(names)):
            raise DataError(
                LazyMessage(
                    "data.refusal.drop_unknown", {"name": repr(name), "hint": nearest(name, names)}
                )
            )
        return dropped

    def _set_codes(self, names: tuple[str, ...], codes: tuple[ColumnCode, ...]) -> None:
        self._codes = codes
        labels: dict[str, None] = {}
        for label in (label for code in codes for label in code.features()):
            unique, count = label, 1
            while unique in labels:
                count += 1
                unique = f"{label} ({count})"
            labels[unique] = None
        self._labels = tuple(labels)
        self.feature_names_in_ = np.array(names, dtype=object)
        self.n_features_in_ = len(names)

    def transform(self, table: object) -> Floats:
        """Encode a table; see :meth:`encode` for the same without warnings.

        Parameters
        ----------
        table : data frame of shape (n_rows, n_columns)
            A table with the columns of the training table, in any order.

        Returns
        -------
        ndarray of shape (n_rows, n_features_out)
            float32 if every numeric column of `table` is, else float64.

        Raises
        ------
        DataError
            If columns are missing or hold something else than in training.

        Warns
        -----
        DataWarning
            If there are new levels, missing cells where none were missing in training, or numbers
            far outside those of training.
        """
        encoded = self.encode(table)
        if encoded.report.messages:
            warnings.warn(DataWarning(one_paragraph(encoded.report.messages)), stacklevel=2)
        return encoded.X

    def fit_transform(
        self, table: object, y: object = None, *, sample_weight: npt.ArrayLike | None = None
    ) -> Floats:
        """Fit, then encode the same table; parameters as in :meth:`fit`."""
        return self.fit(table, y, sample_weight=sample_weight).encode(table).X

    def encode(self, table: object, present: npt.ArrayLike | None = None) -> Encoded:
        """Encode a table and say what was met in it, without a warning.

        Parameters
        ----------
        table : data frame of shape (n_rows, n_columns)
            A table with the columns of the training table, in any order.
        present : array-like of bool of shape (n_rows, n_columns), default=None
            False where a cell does not exist; all its features are 0 and it is not counted.
            In the order of the columns of `table`.

        Returns
        -------
        Encoded
            The array ``X`` and the ``report``.

        Raises
        ------
        DataError
            If columns are missing or hold something else than in training.
        """
        codes = self._fitted()
        frame = _open_table(table)
        place = {name: j for j, name in enumerate(_names_of(frame))}
        self._check_names(codes, place)
        exists = _presence(present, len(frame), len(place))
        columns = columns_of(frame, {place[code.name] for code in codes})
        real = [columns[place[code.name]].precision for code in codes if code.is_real]
        width = sum(code.width for code in codes)
        X = np.zeros((len(frame), width), np.float32 if {*real} == {np.float32} else np.float64)
        report, start = TransformReport(len(frame)), 0
        for code in codes:
            j = place[code.name]
            block = X[:, start : start + code.width]
            counted = None if exists is None else exists[:, j]
            code.encode(columns.pop(j), block, counted, report)
            if counted is not None:
                block[~counted] = 0
            start += code.width
        return Encoded(X, report)

    def transform_report(self, table: object) -> TransformReport:
        """Return what :meth:`encode` meets: missing cells, new levels and far numbers."""
        return self.encode(table).report

    def unknown_levels(self, table: object) -> dict[str, UnknownLevels]:
        """Return, per column, the cells whose level was not in training."""
        return self.encode(table).report.unknown

    def together(self, other: TableEncoder, *, exact: bool = True) -> TableEncoder:
        """Return what encodes rows as this encoder and another do, with the features of both.

        Parameters
        ----------
        other : TableEncoder
            Fitted on other rows of the same columns.
        exact : bool, default=True
            Whether rows that both have encoded must stay as they are. Before rows are encoded
            missing numbers may be filled by the mean of what both would fill in.

        Returns
        -------
        TableEncoder
            Features that only one of the two has are 0 in the rows of the other.

        Raises
        ------
        IncompatibleError
            If a column has another kind, or missing cells that were filled by another number, or
            rare levels that were put together differently; it names the column.
        """
        mine = {code.name: code for code in self._fitted()}
        theirs = {code.name: code for code in other._fitted()}
        codes, counted = [], self.report_.n_rows + other.report_.n_rows
        share = None if exact else other.report_.n_rows / counted
        if not exact:
            # Where all cells of one part are missing, the column is what the other says.
            for name in {*self.feature_names_in_} & {*other.feature_names_in_}:
                if name in mine and name not in theirs:
                    theirs[name] = mine[name].with_missing()
                elif name in theirs and name not in mine:
                    mine[name] = theirs[name].with_missing()
            places = {name: j for j, name in enumerate(self.feature_names_in_)}
            mine = dict(sorted(mine.items(), key=lambda item: places[item[0]]))
        lacking = [name for name in (*mine, *theirs) if name not in mine or name not in theirs]
        for name in lacking or mine:
            pair = mine.get(name), theirs.get(name)
            same = type(pair[0]) is type(pair[1])
            code = None if pair[0] is None or not same else pair[0].together(pair[1], share)
            if code is None:
                raise IncompatibleError(
                    LazyMessage(
                        "data.refusal.two_codes",
                        {"name": repr(name), "told": _told(pair[0]), "told2": _told(pair[1])},
                    )
                )
            codes.append(code)
        found = TableEncoder(self.max_levels, self.drop)
        found._set_codes(tuple(map(str, self.feature_names_in_)), tuple(codes))
        found.report_ = EncodingReport(counted, _reports(self.report_, other.report_, codes))
        return found

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """Return the labels of the features.

        Parameters
        ----------
        input_features : object, default=None
            Ignored; the names are those of the training table.

        Returns
        -------
        ndarray of shape (n_features_out,)
            Such as ``age``, ``age=missing``, ``colour=red``; a label that would occur twice
            (a level or a name with an equals sign) gets `` (2)`` behind it.
        """
        return np.array(self.labels(), dtype=object)

    def labels(self) -> tuple[str, ...]:
        """Return the labels of :meth:`get_feature_names_out` as text."""
        self._fitted()
        return self._labels

    def source_columns(self) -> npt.NDArray[np.intp]:
        """Return, for each feature, the position in `feature_names_in_` that it comes from."""
        position = {name: j for j, name in enumerate(self.feature_names_in_)}
        codes = self._fitted()
        sources = [position[code.name] for code in codes for _ in code.features()]
        return np.array(sources, dtype=np.intp)

    def number_columns(self) -> frozenset[str]:
        """Return the names of the columns that are numbers, or true and false."""
        return frozenset(code.name for code in self._fitted() if isinstance(code, NumericCode))

    def _fitted(self) -> tuple[ColumnCode, ...]:
        codes: tuple[ColumnCode, ...] | None = getattr(self, "_codes", None)
        if codes is None:
            raise NotFittedError(LazyMessage("data.refusal.encoder_not_fitted"))
        return codes

    def _check_names(self, codes: tuple[ColumnCode, ...], place: dict[str, int]) -> None:
        absent = [code.name for code in codes if code.name not in place]
        if not absent:
            return
        known = set(self.feature_names_in_)
        extra = [name for name in place if name not in known]
        wanted = [
            LazyMessage("data.refusal.absent", {"name": repr(name), "hint": nearest(name, extra)})
            for name in absent
        ]
        others = LazyMessage("data.refusal.not_in_training", {"names": [*map(repr, extra)]})
        told = LazyMessage("data.refusal.lacks", {"n": len(absent), "names": wanted})
        stop = "" if nearest(absent[-1], extra) else LazyMessage("data.refusal.stop")
        raise DataError(told + stop + (others if extra else ""))

    def to_state(self) -> dict[str, Any]:
        """Return the parameters and what was learned, as JSON values."""
        state: dict[str, Any] = {
            "max_levels": self.max_levels,
            "drop": [str(name) for name in self.drop or ()],
        }
        if getattr(self, "_codes", None) is None:
            return state
        return state | {
            "columns": [str(name) for name in self.feature_names_in_],
            "codes": [{"tag": code.tag} | code.to_state() for code in self._codes],
            "n_rows": self.report_.n_rows,
            "report": [column.to_state() for column in self.report_.columns],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TableEncoder:
        """Rebuild the encoder from :meth:`to_state`."""
        encoder = cls(state["max_levels"], tuple(state["drop"]))
        if "codes" in state:
            codes = tuple(_CODES[code["tag"]].from_state(code) for code in state["codes"])
            encoder._set_codes(tuple(state["columns"]), codes)
            columns = tuple(ColumnReport.from_state(column) for column in state["report"])
            encoder.report_ = EncodingReport(state["n_rows"], columns)
        return encoder


def _reports(
    one: EncodingReport, other: EncodingReport, codes: Sequence[ColumnCode]
) -> tuple[ColumnReport, ...]:
    """Return what is to be said of the columns of two tables together."""
    made = {code.name: code for code in codes}
    theirs = {column.name: column for column in other.columns}
    found = []
    for column in one.columns:
        code, missing = made.get(column.name), column.missing + theirs[column.name].missing
        report, values = column, set[Any]()
        if column.kind == Kind.EMPTY.value:
            report = theirs[column.name]
        if isinstance(code, NumericCode):
            report, values = replace(report, fill=code.fill), {*(code.seen or ())}
        elif isinstance(code, CategoryCode):
            report, values = replace(report, levels=code.levels), {*code.levels}
        features = () if code is None else code.features()
        constant = len(values) == 1 and not missing
        found.append(replace(report, features=features, missing=missing, constant=constant))
    return tuple(found)


def _told(code: ColumnCode | None) -> LazyMessage:
    """Say how a column was encoded."""
    match code:
        case None:
            return LazyMessage("code.left_out")
        case NumericCode(flag=True):
            return LazyMessage("code.number_filled", {"fill": f"{code.fill:g}"})
        case NumericCode(boolean=True):
            return LazyMessage("code.truth")
        case NumericCode():
            return LazyMessage("code.number")
    return LazyMessage("code.categories", {"n": len(code.features())})


def _open_table(table: object) -> Frame:
    """Return the narwhals view of a data frame in memory."""
    try:
        return nw.from_native(table, eager_only=True)
    except nw.exceptions.DuplicateError:
        columns: Any = getattr(table, "column_names", getattr(table, "columns", ()))
        raise _twice([str(name) for name in columns]) from None
    except TypeError:
        lazy = LazyMessage("data.refusal.collect") if hasattr(table, "collect") else ""
        raise DataError(
            LazyMessage("data.refusal.encoder_input", {"kind": type(table).__name__, "lazy": lazy})
        ) from None


def _names_of(frame: Frame) -> tuple[str, ...]:
    """Return the column names as text; refuse names that occur twice."""
    names = tuple(map(str, frame.columns))
    if len(set(names)) < len(names):
        raise _twice(names)
    return names


def _twice(names: Sequence[str]) -> DataError:
    name, count = Counter(names).most_common(1)[0]
    return DataError(LazyMessage("data.refusal.same_names", {"count": count, "name": repr(name)}))


def _column_weights(
    sample_weight: npt.ArrayLike | None, present: npt.ArrayLike | None, n: int, d: int
) -> list[npt.NDArray[np.float64] | None]:
    """Return the weights of the rows for each column; None means that all weigh the same."""
    exists = _presence(present, n, d)
    if sample_weight is None:
        return [None] * d if exists is None else [exists[:, j].astype(float) for j in range(d)]
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n,):
        raise DataError(
            LazyMessage("data.refusal.weight_shape", {"wanted": (n,), "shape": weight.shape})
        )
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(bad):
        raise DataError(
            LazyMessage("data.refusal.weight_value", {"weight": weight[bad[0]], "row": bad[0]})
        )
    if not weight.any():
        raise DataError(LazyMessage("data.refusal.weight_zero"))
    return [weight] * d if exists is None else [weight * exists[:, j] for j in range(d)]


def _presence(present: npt.ArrayLike | None, n: int, d: int) -> Mask | None:
    """Return the mask of the cells that exist, of shape (n, d), None if all do."""
    if present is None:
        return None
    mask = np.asarray(present, dtype=bool)
    if mask.shape != (n, d):
        raise DataError(
            LazyMessage("data.refusal.present_shape", {"wanted": (n, d), "shape": mask.shape})
        )
    return mask
