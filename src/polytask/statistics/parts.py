"""Statistics of a table that is read in parts, because it does not fit into memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from polytask._checks import is_whole, sentence
from polytask.data import TableEncoder, tables
from polytask.data.dealing import PartDealer
from polytask.data.readers import Style
from polytask.exceptions import DataError, DataWarning, ParameterError
from polytask.messages import LazyMessage
from polytask.statistics.columns import Columns, no_rows, other_rows
from polytask.statistics.one_part import collect_part, joined, of_all_parts
from polytask.statistics.sources import Parts, Source, source_of
from polytask.statistics.task_statistics import TaskStatistics

_OWNER = "collect_parts"
# Rows of a file that are in memory at a time, unless said otherwise.
_ROWS = 200_000
# Categories are counted over all parts before it is known whether they are too many.
_ANY = 10**9
_MOST_LEVELS = 30


def collect_parts(
    source: Any,  # noqa: ANN401 - also of other libraries
    target: str | Sequence[str],
    *,
    task_column: str | None = None,
    sample_weight: str | None = None,
    fold: str | int | None = None,
    drop: Sequence[str] = (),
    encoder: TableEncoder | None = None,
    part_rows: int = _ROWS,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    missing_values: Sequence[str] = (),
    random_state: int = 0,
) -> TaskStatistics:
    """Collect the statistics of a table in parts, so that only a part is in memory.

    The table is read twice: first to learn how its columns become features, then for the
    statistics. With an `encoder` it is read once. Text files are read once more, to learn what
    their columns are.

    Parameters
    ----------
    source : path-like, iterable, callable, or object of another library
        A Parquet, Arrow, Feather or text file (``.csv``, ``.tsv``, ``.tab``, ``.txt``, also with
        ``.gz``), or a folder of files of one kind with the same columns. A
        ``pyarrow.dataset.Dataset``, a polars ``LazyFrame``, a relation of DuckDB or a dask
        ``DataFrame`` (see :func:`polytask.distributed.collect`). The parts
        themselves: tables of pandas, polars or pyarrow, or record batches, in a list, from a
        function without parameters, or, where an `encoder` is given, from an iterator.
    target : str, or list of str
        The column of targets; several columns are the targets of one design, and tasks then.
    task_column, sample_weight : str or None, default=None
        The columns that hold task labels and row weights.
    fold : str, int or None, default=None
        The column that holds labels of folds, or to how many folds the rows of every task are
        dealt at random (not those of a dask ``DataFrame``). None: one fold.
    drop : sequence of str, default=()
        Columns to leave out.
    encoder : TableEncoder or None, default=None
        How columns become features. None learns it: as :class:`polytask.data.TableEncoder` does,
        but missing numbers are filled by the mean of the medians of the parts, and every level of
        a category has a feature; more than 30 are refused.
    part_rows : int, default=200000
        Rows of a file that are read at a time.
    sep, decimal, encoding, missing_values
        How text files are written, as in :func:`polytask.data.readers.read_table`, by whose rules
        they are read.
    random_state : int, default=0
        The seed by which rows are dealt to folds.

    Returns
    -------
    TaskStatistics

    Raises
    ------
    DataError
        If there is no such file or column, files differ in their columns, the source cannot be
        read as often as needed or gives other rows then, or as :func:`collect`.
    """
    tagged = fold if isinstance(fold, str) else None
    columns = Columns.of(_OWNER, target, task_column, sample_weight, drop, tagged)
    rows = source_of(
        source, part_rows, once=encoder is not None, style=Style(sep, decimal, encoding),
        missing=missing_values,
    )  # fmt: skip

    dealer = None if fold is None or tagged is not None else _dealer(fold, random_state, rows)
    n_rows = None
    if encoder is None:
        encoder = encoder_of(rows, columns)
        n_rows = encoder.report_.n_rows

    def collected(table: Any) -> tuple[int, TaskStatistics | None]:  # noqa: ANN401 - any table
        X = columns.features(table)
        y: Any = list(columns.targets)
        y = tables.select(table, y) if columns.several else tables.get_column(table, y[0])
        weight = None if sample_weight is None else tables.get_column(table, sample_weight)
        tags = None if tagged is None else tables.get_column(table, tagged)
        if dealer is not None:
            same = np.zeros(tables.n_rows(table), dtype=np.intp)
            tasks = same if task_column is None else tables.get_column(table, task_column)
            tags = dealer.folds(tasks, _OWNER)
        found = collect_part(X, y, None, weight, tags, task_column, encoder)
        return tables.n_rows(table), found

    found = rows.summed(
        collected, lambda one, other: (one[0] + other[0], joined(one[1], other[1]))
    )
    if found is None and n_rows is None:
        raise no_rows(_OWNER)
    if found is None or (n_rows is not None and found[0] != n_rows):
        # Such as a function that returns the same iterator again.
        raise other_rows(n_rows, 0 if found is None else found[0])
    return of_all_parts(found[1], _OWNER)


def _dealer(n_folds: object, seed: int, rows: Source) -> PartDealer:
    if not isinstance(rows, Parts):
        allowed = LazyMessage("allowed.fold_column")
        raise ParameterError(sentence("fold", _OWNER, allowed, repr(n_folds)))
    if not is_whole(n_folds) or n_folds < 2:
        allowed = LazyMessage("allowed.column_or_folds")
        raise ParameterError(sentence("fold", _OWNER, allowed, repr(n_folds)))
    return PartDealer(int(n_folds), seed)


def encoder_of(source: Source, columns: Columns) -> TableEncoder:
    """Return what encodes all parts alike."""
    found = source.summed(
        lambda table: part_encoder(columns.features_alone(table)),
        lambda one, other: one.together(other, exact=False),
    )
    if found is None:
        raise no_rows(_OWNER)
    return without_many_levels(found)


def part_encoder(features: Any) -> TableEncoder:  # noqa: ANN401 - any table
    """Return what encodes a part, to be put together with those of other parts."""
    with warnings.catch_warnings():
        # What deserves a look in one part need not do so in all.
        warnings.simplefilter("ignore", DataWarning)
        return TableEncoder(max_levels=_ANY).fit(features)


def without_many_levels(encoder: TableEncoder) -> TableEncoder:
    """Return the encoder of all parts, refusing a column of too many levels."""
    for column in encoder.report_.columns:
        if len(column.levels) > _MOST_LEVELS:
            fields = {"name": repr(column.name), "n": len(column.levels), "most": _MOST_LEVELS}
            raise DataError(LazyMessage("statistics.refusal.many_levels", fields))
    return encoder
