"""Rows of a query that remember what was computed from them, for as long as the query lasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from polytask._checks import sentence
from polytask._estimator.query import InputSchema, Query
from polytask._estimator.reading import Reading, WithoutGaps
from polytask._estimator.training import TaskColumn
from polytask.data import TableEncoder, TaskData
from polytask.deep.datasets import feature_arrays, is_dataset, labelled_arrays
from polytask.exceptions import DataError

Array = NDArray[Any]


class KeptRows:
    """Rows of encoded features, and what all tasks have in common on them."""

    # Shapes: values (n, d).

    def __init__(self, values: Any) -> None:  # noqa: ANN401 - dense or sparse
        self.values = values
        self._known: dict[str, Array] = {}
        self._source: tuple[KeptRows, Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and features."""
        shape: tuple[int, ...] = self.values.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the features."""
        kind: np.dtype[Any] = self.values.dtype
        return kind

    def __getitem__(self, rows: Any) -> KeptRows:  # noqa: ANN401 - a slice, mask or numbers
        """Return some of the rows."""
        part = KeptRows(self.values[rows])
        part._source = self, rows
        return part

    def remember(self, name: str, compute: Callable[[Any], Array]) -> Array:
        """Return what a function gives for each row, computed once for all rows of the query."""
        if self._source is not None:
            whole, rows = self._source
            part: Array = whole.remember(name, compute)[rows]
            return part
        if name not in self._known:
            self._known[name] = compute(self.values)
        return self._known[name]


class Keeping(Reading):
    """Reads as all estimators do, and datasets of torch; rows of a query are :class:`KeptRows`."""

    # A dataset is read into memory; for one that does not fit there is :func:`fit_network`.

    _plain = WithoutGaps()

    def training(
        self,
        X: object,
        y: object,
        task: object,
        sample_weight: object,
        column: TaskColumn,
        owner: str,
    ) -> TaskData:
        """Read what `fit` is given; NaN in an array is refused."""
        if is_dataset(X):
            X, y, task = self._of_dataset(X, y, task, owner)
        return self._plain.training(X, y, task, sample_weight, column, owner)

    def _of_dataset(
        self, X: Dataset[Any] | DataLoader[Any], y: object, task: object, owner: str
    ) -> tuple[object, object, object]:
        """Return the parts of a dataset, which hold what is None elsewhere."""
        if y is not None:
            allowed = "None when X is a dataset of torch, which holds it"
            raise DataError(sentence("y", owner, allowed, "a value"))
        features, targets, tasks = labelled_arrays(X, owner)
        return features, targets, tasks if task is None else task

    def encoded(self, raw: TaskData) -> tuple[TaskData, TableEncoder | None]:
        """Fit an encoder that fills missing cells."""
        return self._plain.encoded(raw)

    def query(self, schema: InputSchema, X: object, task: object, unseen: str) -> Query:
        """Read what `predict` is given; NaN in an array is refused."""
        if is_dataset(X):
            X, own = feature_arrays(X, schema.owner)
            task = own if task is None else task
        query = self._plain.query(schema, X, task, unseen)
        kept: Any = KeptRows(query.data.X)
        return dataclasses.replace(query, data=dataclasses.replace(query.data, X=kept))

    def scored(
        self, schema: InputSchema, X: object, y: object, task: object, sample_weight: object
    ) -> TaskData:
        """Read what `score` is given; NaN in an array is refused."""
        if is_dataset(X):
            X, y, task = self._of_dataset(X, y, task, schema.owner)
        return self._plain.scored(schema, X, y, task, sample_weight)
