"""What sites agree on before any of them collects: columns, levels, target and smallest count."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from numpy.typing import ArrayLike

from polytask._checks import nearest, of_system, sentence
from polytask._estimator.data_checks import site_warnings
from polytask._estimator.training import training_data
from polytask.data import TableEncoder, tables
from polytask.exceptions import DataError, DataWarning, ParameterError
from polytask.io.atomic import write_whole
from polytask.messages import LazyMessage, Text, message_of
from polytask.statistics.disclosure import SmallCounts
from polytask.statistics.task_statistics import TaskStatistics, collect

FORMAT = "polytask schema 1"
_OWNER = "Schema"
_NUMBER, _TRUTH = "number", "true/false"
MINIMUM = 10


@dataclass(frozen=True, eq=False)
class Schema:
    """What all sites do alike when they collect statistics of rows that stay with them.

    It is a small text file that sites exchange first. It fixes which columns are features, the
    levels of categories, the numbers that replace missing cells, and how few rows may be told
    apart. Statistics that are collected with it have the same features everywhere, name no level
    that is not in it, and are refused where a sum is over fewer rows than the minimum.

    Parameters
    ----------
    target : str
        The column to predict: numbers, or true and false as 1 and 0; words are refused.
    task_column : str
        The column that names the task of each row.
    columns : mapping of str to mapping
        What each feature is: ``{"kind": "number"}``, ``{"kind": "true/false"}`` or
        ``{"levels": ["f", "m"]}``. ``"missing_as": 60.0`` replaces missing numbers, and
        ``"missing": True`` gives missing levels a feature; without these, missing cells are
        refused. Missing numbers get a feature beside, unless there is ``"flagged": False``.
    minimum : int, default=10
        The fewest rows that may be told apart, at least 2; see :meth:`collect`.

    Notes
    -----
    This bounds what a single set of statistics tells of a person. It is no differential privacy:
    the answer is exact, and whoever adds the statistics of the sites is trusted with them. Two
    sets of a site whose rows differ by a few persons tell of these persons, so a site hands over
    one set of each task.

    References
    ----------
    A. Hundepool et al., "Statistical Disclosure Control" (Wiley, 2012), chapters 4 and 5.
    C. Dwork and A. Roth, "The Algorithmic Foundations of Differential Privacy", Foundations and
    Trends in Theoretical Computer Science 9 (2014).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from polytask.statistics import Schema
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"ward": np.repeat(["a", "b"], 40), "age": rng.normal(50, 9, 80)})
    >>> table["cost"] = 2 * table["age"] + rng.normal(size=80)
    >>> schema = Schema.of(table, target="cost", task_column="ward")
    >>> schema.collect(table)
    TaskStatistics(long: 80 rows, 1 features, 2 tasks)
    """

    target: str
    task_column: str
    columns: Mapping[str, Mapping[str, Any]]
    minimum: int = MINIMUM

    def __post_init__(self) -> None:
        """Check what a person wrote."""
        SmallCounts(self.minimum, ())
        for name, column in self.columns.items():
            if not _is_column(column):
                allowed = LazyMessage("allowed.schema_column", {"name": name})
                raise ParameterError(sentence("columns", _OWNER, allowed, repr(column)))
        if not self.columns:
            allowed = LazyMessage("allowed.some_columns")
            raise ParameterError(sentence("columns", _OWNER, allowed, "{}"))

    @cached_property
    def encoder(self) -> TableEncoder:
        """How columns become features."""
        return _encoder(self.columns)

    @classmethod
    def of(cls, table: Any, *, target: str, task_column: str, minimum: int = MINIMUM) -> Self:  # noqa: ANN401
        """Learn the columns from a table.

        Parameters
        ----------
        table : data frame
            Rows of one site, or made-up ones that have every level. Of its rows the schema holds
            the levels of categories, and of columns with missing cells the median.
        target, task_column : str
            See :class:`Schema`.
        minimum : int, default=10
            See :class:`Schema`.

        Returns
        -------
        Schema
        """
        known = [str(name) for name in tables.column_names(table)]
        for name in (target, task_column):
            _require(name, known)
        encoder = TableEncoder().fit(tables.drop_columns(table, [target, task_column]))
        # The smallest and the largest number of a column are those of a person.
        columns = {code["name"]: _plain(code) for code in encoder.to_state()["codes"]}
        return cls(target, task_column, columns, minimum)

    def collect(
        self,
        table: Any,  # noqa: ANN401
        *,
        fold: ArrayLike | None = None,
        allow_leak: bool = False,
    ) -> TaskStatistics:
        """Collect the statistics of the rows of a site, or refuse to.

        Parameters
        ----------
        table : data frame
            Rows with the columns of the schema; others are left out.
        fold : array of shape (n,) or None, default=None
            As in :func:`collect`; every task then needs enough rows in each fold.
        allow_leak : bool, default=False
            Whether a column may equal the target up to a factor and a constant, over all rows or
            within every task, which otherwise is refused.

        Returns
        -------
        TaskStatistics

        Raises
        ------
        DataError
            If a column is not there, is a copy of the target, holds a level that is not in the
            schema or missing cells that the schema does not provide for; or where some sum is
            over few rows: each task must have more rows (in each fold) than the minimum and than
            twice the number of features; every level, every pair of levels and what is left of
            either must have no row or at least the minimum, and so must the rows in which a
            number differs from a value that as many rows have.

        Warns
        -----
        DataWarning
            Of columns that number or name the rows, of cells so far from the others that they
            decide a column, and of what else may hold the target: statistics do not show it.
        """
        known = [str(name) for name in tables.column_names(table)]
        wanted = list(self.columns)
        for name in (self.target, self.task_column, *wanted):
            _require(name, known)
        features = tables.select(table, wanted)
        met = self.encoder.transform_report(features)
        for name, found in met.unknown.items():
            fields = {"name": repr(name), "level": repr(found.examples[0])}
            raise DataError(LazyMessage("statistics.refusal.level", fields))
        for name, n in met.missing.items():
            if not {"missing_as", "missing"} & self.columns[name].keys():
                fields = {"name": repr(name), "n": str(n)}
                raise DataError(LazyMessage("statistics.refusal.missing", fields))
        rows = tables.select(table, [self.task_column, *wanted])
        y = tables.get_column(table, self.target)
        collected = collect(
            rows,
            y,
            task_column=self.task_column,
            fold=fold,
            encoder=self.encoder,
            minimum=self.minimum,
        )
        data = training_data(rows, y, None, None, self.task_column, _OWNER)
        for doubt in site_warnings(data, _OWNER, allow_leak=allow_leak, target=self.target):
            warnings.warn(DataWarning(doubt), stacklevel=2)
        return collected

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schema as text that people read and edit.

        Parameters
        ----------
        path : path-like
            The file, such as ``study.json``; one that exists is replaced.
        """
        content = {
            "format": FORMAT,
            "target": self.target,
            "task": self.task_column,
            "minimum": self.minimum,
            "columns": self.columns,
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_whole(path, text.encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` has written.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        Schema

        Raises
        ------
        DataError
            If there is no such file or it is no schema; it names the key that is wrong.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(of_system("read", path, error)) from None
        except ValueError as error:
            raise _no_schema(path, str(error)) from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise _no_schema(path, _lacks("format"))
        kinds: dict[str, type] = {"target": str, "task": str, "minimum": int, "columns": dict}
        for name, kind in kinds.items():
            if not isinstance(content.get(name), kind):
                raise _no_schema(path, _lacks(name))
        try:
            return cls(content["target"], content["task"], content["columns"], content["minimum"])
        except ParameterError as error:
            raise _no_schema(path, message_of(error)) from None


def _require(name: str, known: list[str]) -> None:
    if name not in known:
        fields = {"owner": _OWNER, "name": repr(name), "hint": nearest(name, known)}
        raise DataError(LazyMessage("statistics.refusal.no_column", fields))


def _no_schema(path: str | os.PathLike[str], place: Text) -> DataError:
    fields = {"path": os.fspath(path), "place": place}
    return DataError(LazyMessage("statistics.refusal.no_schema", fields))


def _lacks(key: str) -> LazyMessage:
    return LazyMessage("statistics.no_schema.key", {"key": repr(key)})


def _plain(code: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a column is encoded, as a person would write it."""
    if code["tag"] == "numeric":
        kind = _TRUTH if code["boolean"] else _NUMBER
        return {"kind": kind} | ({"missing_as": code["fill"]} if code["flag"] else {})
    levels = {"levels": list(code["levels"])}
    joined = {"joined": list(code["joined"])} if code["joined"] else {}
    return levels | joined | ({"missing": True} if code["missing"] else {})


def _is_column(column: object) -> bool:
    """Tell whether a person wrote a column as it must be."""
    if not isinstance(column, dict):
        return False
    if "levels" in column:
        lists = [column["levels"], column.get("joined", [])]
        if not all(isinstance(x, list) and all(isinstance(v, str) for v in x) for x in lists):
            return False
        names = [*lists[0], *lists[1]]
        unlike = len(set(names)) == len(names) and bool(lists[0])
        return unlike and set(column) <= {"levels", "joined", "missing"}
    fill, flagged = column.get("missing_as", 0.0), column.get("flagged", True)
    number = isinstance(fill, int | float) and not isinstance(fill, bool)
    known = set(column) <= {"kind", "missing_as", "flagged"} and isinstance(flagged, bool)
    return number and known and column.get("kind") in (_NUMBER, _TRUTH)


def _encoder(columns: Mapping[str, Mapping[str, Any]]) -> TableEncoder:
    """Return the encoder of columns as people write them."""
    codes: list[dict[str, Any]] = []
    reports: list[dict[str, Any]] = []
    for name, column in columns.items():
        flag = column.get("flagged", True) and "missing_as" in column
        missing = flag or bool(column.get("missing"))
        if "levels" in column:
            levels = {key: sorted(column.get(key, [])) for key in ("levels", "joined")}
            codes.append({"tag": "category", "name": name, "missing": missing} | levels)
            reports.append({"name": name, "kind": "text"} | levels)
        else:
            fill, truth = float(column.get("missing_as", 0.0)), column["kind"] == _TRUTH
            kind = "boolean" if truth else "numeric"
            number = {"tag": "numeric", "name": name, "flag": missing, "boolean": truth}
            codes.append(number | {"fill": fill})
            reports.append({"name": name, "kind": kind, "fill": fill})
    state = {
        "max_levels": TableEncoder().max_levels, "drop": [], "columns": list(columns),
        "codes": codes, "n_rows": 0, "report": reports,
    }  # fmt: skip
    made = TableEncoder.from_state(state)
    for feature, column in zip(made.get_feature_names_out(), made.source_columns(), strict=True):
        reports[column].setdefault("features", []).append(str(feature))
    return TableEncoder.from_state(state)
