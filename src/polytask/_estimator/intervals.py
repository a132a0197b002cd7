"""Intervals of models that know the quantiles of new targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, ClassVar

from numpy.typing import NDArray

from polytask._estimator import outputs
from polytask._estimator.base import MultiTaskEstimator
from polytask._estimator.outputs import RowsFunction


class IntervalMixin(MultiTaskEstimator, ABC):
    """Intervals of models that know the quantiles of new targets."""

    _knows_new_targets: ClassVar[bool] = True

    @abstractmethod
    def _quantiles(self, p: float, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401
        """Return the quantile of a new target for every row of a task."""

    def _quantiles_of_rows(self, p: float) -> RowsFunction:
        """Return what gives the quantiles of rows of several tasks."""
        return outputs.one_by_one(partial(self._quantiles, p))

    def _own_interval(self, X: Any, task: Any, level: float) -> tuple[Any, Any]:  # noqa: ANN401
        query, n_tasks = self._read(X, task), len(self._schema.index.labels)
        lower, upper = (
            outputs.predictions(query, n_tasks, self._quantiles_of_rows(p))
            for p in (0.5 - level / 2.0, 0.5 + level / 2.0)
        )
        return lower, upper
