"""How an estimator reads what it is given: an object, which a leaf class may exchange."""

from __future__ import annotations

from abc import ABC, abstractmethod

from polytask._estimator.query import InputSchema, Query, read_query
from polytask._estimator.scored import scored_data
from polytask._estimator.training import TaskColumn, encode_training, training_data
from polytask.data import TableEncoder, TaskData


class Reading(ABC):
    """From what the user gives to encoded rows."""

    @abstractmethod
    def training(
        self,
        X: object,
        y: object,
        task: object,
        sample_weight: object,
        column: TaskColumn,
        owner: str,
    ) -> TaskData:
        """Read what `fit` is given; the result is not encoded yet."""

    @abstractmethod
    def encoded(self, raw: TaskData) -> tuple[TaskData, TableEncoder | None]:
        """Turn a table into numbers; return the encoder, None for arrays."""

    @abstractmethod
    def query(self, schema: InputSchema, X: object, task: object, unseen: str) -> Query:
        """Read what `predict` is given."""

    @abstractmethod
    def scored(
        self, schema: InputSchema, X: object, y: object, task: object, sample_weight: object
    ) -> TaskData:
        """Read what `score` is given; the result is not encoded."""


class ReadingComplete(Reading):
    """Arrays are complete; missing cells of tables are filled by the encoder."""

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
        return training_data(X, y, task, sample_weight, column, owner)

    def encoded(self, raw: TaskData) -> tuple[TaskData, TableEncoder | None]:
        """Fit an encoder that fills missing cells."""
        return encode_training(raw)

    def query(self, schema: InputSchema, X: object, task: object, unseen: str) -> Query:
        """Read what `predict` is given; NaN in an array is refused."""
        return read_query(schema, X, task, unseen)

    def scored(
        self, schema: InputSchema, X: object, y: object, task: object, sample_weight: object
    ) -> TaskData:
        """Read what `score` is given; NaN in an array is refused."""
        return scored_data(schema, X, y, task, sample_weight)
