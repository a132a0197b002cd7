"""Intervals of models that know the quantiles of new targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

from numpy.typing import NDArray

from polytask._checks import number, sentence
from polytask._estimator import outputs
from polytask._estimator.base import MultiTaskEstimator
from polytask._estimator.outputs import RowsFunction
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage


class IntervalMixin(MultiTaskEstimator, ABC):
    """``predict_interval`` of models that know the quantiles of new targets."""

    @abstractmethod
    def _quantiles(self, p: float, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401
        """Return the quantile of a new target for every row of a task."""

    def _quantiles_of_rows(self, p: float) -> RowsFunction:
        """Return what gives the quantiles of rows of several tasks."""
        return outputs.one_by_one(partial(self._quantiles, p))

    def predict_interval(self, X: Any, task: Any = None, level: float = 0.9) -> tuple[Any, Any]:  # noqa: ANN401
        """Return an interval for the target of every row.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.
        level : float, default=0.9
            Probability that a new target lies inside, in (0, 1); of counts, which are whole
            numbers, at least this.

        Returns
        -------
        lower, upper
            As :meth:`predict` returns predictions; NaN for tasks of classes.

        Raises
        ------
        ParameterError
            If `level` is no probability.
        """
        owner = f"{type(self).__name__}.predict_interval"
        allowed = LazyMessage("allowed.between_0_and_1")
        value = number(level, "level", owner, allowed)
        if not 0 < value < 1:
            raise ParameterError(sentence("level", owner, allowed, repr(level)))
        query, n_tasks = self._read(X, task), len(self._schema.index.labels)
        lower, upper = (
            outputs.predictions(query, n_tasks, self._quantiles_of_rows(p))
            for p in (0.5 - value / 2.0, 0.5 + value / 2.0)
        )
        return lower, upper
