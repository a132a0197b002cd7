"""What predicts with trees and the posteriors of tasks: numbers, and labels of other losses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from polytask._estimator import Query, outputs
from polytask._estimator.groupings import GroupedRows
from polytask._estimator.predictors import labels_from
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.bayes.blocks import Array, Index
from polytask.bayes.posterior import noise_of
from polytask.boosting.trees import Trees
from polytask.linear.bayes_groupings import GroupedTasks
from polytask.linear.bayes_intervals import quantiles
from polytask.linear.bayes_laplace_tasks import (
    LaplaceTasks,
    TaskUnits,
    class_probabilities,
    expected_predictors,
)
from polytask.linear.bayes_tasks import BayesTasks
from polytask.losses import Loss

Labels = NDArray[Any]


def dense(X: Any) -> Array:  # noqa: ANN401 - dense or sparse
    """Return rows as a dense array."""
    return np.asarray(X.toarray() if is_sparse(X) else X, dtype=np.float64)


@saveable("boosting.number_trees")
@dataclass(frozen=True, eq=False)
class NumberTrees:
    """Trees of scaled numbers, and the posteriors of tasks of one grouping."""

    # Shapes: columns (q,), those whose slopes vary; noise (n_tasks,), the variances that intervals
    # have in the place of the common one, None in files of 0.1.

    tasks: BayesTasks
    trees: Trees
    columns: Index
    noise: Array | None = None

    @cached_property
    def lines(self) -> Array:
        """Intercepts and slopes of the tasks, and last of unseen ones, in original units."""
        linear, (coef, intercept) = self.tasks.linear(), self.tasks.typical()
        known = np.column_stack([linear.intercept, linear.coef])
        return np.vstack([known, np.concatenate([[intercept], coef]).astype(known.dtype)])

    def effects(self) -> Array:
        """Return the deviations of the tasks from the prior mean, shape (n_tasks, 1 + q)."""
        own = self.lines.copy()
        own[:, 0] -= np.append(self.tasks.target_mean, self.tasks.units(-1)[0])
        return np.asarray(own[:-1] - own[-1])

    def predict(self, X: Any, tasks: Index) -> Labels:  # noqa: ANN401 - dense or sparse
        """Return the predictions of rows."""
        Z = np.column_stack([np.ones(X.shape[0]), dense(X[:, self.columns])])
        own = np.einsum("ij,ij->i", Z, self.lines[tasks])
        scales = np.append(self.tasks.target_scale, self.tasks.units(-1)[1])
        found = self.trees.values(X) * scales[tasks] + own
        return np.asarray(found, dtype=self.tasks.precision)

    def deviation(self, X: Any, tasks: Index) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the standard deviations of new targets."""
        one = outputs.one_by_one(lambda X, task: self.tasks.deviation(X[:, self.columns], task))
        return one(X, tasks)

    def quantiles(self, p: float, X: Any, tasks: Index) -> Labels:  # noqa: ANN401
        """Return the quantiles of new targets."""
        # Trees are asked once for the rows of all tasks.
        deviation = self.deviation(X, tasks)
        if self.noise is not None:
            scale = np.append(self.tasks.target_scale, self.tasks.units(-1)[1])[tasks]
            beyond = self.noise - noise_of(self.tasks.prior, len(self.noise))
            beyond = np.append(beyond, beyond.mean())[tasks]
            deviation = np.sqrt(deviation**2 + beyond * scale**2)
        return np.asarray(self.predict(X, tasks) + scipy.special.ndtri(p) * deviation)


@saveable("boosting.grouped_trees")
@dataclass(frozen=True, eq=False)
class GroupedTrees:
    """Trees of scaled numbers, and what is known of the levels of several groupings."""

    # Shapes: columns (q,), those whose slopes vary.

    tasks: GroupedTasks
    trees: Trees
    columns: Index

    def _chosen(self, X: GroupedRows) -> GroupedRows:
        return GroupedRows(X.values[:, self.columns], X.codes)

    def predict(self, X: GroupedRows, tasks: Index) -> Labels:
        """Return the predictions of rows, which know their levels themselves."""
        found = self.trees.values(X.values) * self.tasks.target_scale
        return np.asarray(self.tasks.predict(self._chosen(X)) + found, self.tasks.precision)

    def deviation(self, X: GroupedRows, tasks: Index) -> Array:
        """Return the standard deviations of new targets."""
        return self.tasks.deviation(self._chosen(X))

    def quantiles(self, p: float, X: GroupedRows, tasks: Index) -> Labels:
        """Return the quantiles of new targets."""
        spread = scipy.special.ndtri(p) * self.deviation(X, tasks)
        return np.asarray(self.predict(X, tasks) + spread)


@saveable("boosting.label_trees")
@dataclass(frozen=True, eq=False)
class LabelTrees:
    """Trees of predictors, one sum for each posterior, and the posteriors of tasks."""

    # What is asked of a task is given rows of :meth:`beside`. Shapes: columns (q,).

    tasks: LaplaceTasks
    trees: tuple[Trees, ...]
    columns: Index

    def beside(self, X: Any) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the columns that vary, and beside them the sums of trees, asked once."""
        sums = [own.values(X) for own in self.trees]
        return np.column_stack([dense(X[:, self.columns]), *sums])

    def with_sums(self, query: Query) -> Query:
        """Return a query with rows of :meth:`beside`."""
        return replace(query, data=query.data.with_X(self.beside(query.data.X)))

    @property
    def slices(self) -> tuple[slice, ...]:
        """The columns of each task."""
        return self.tasks.slices

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The loss of each task."""
        return self.tasks.losses

    @property
    def union(self) -> Labels | None:
        """The union of the classes."""
        return self.tasks.union

    @property
    def units(self) -> TaskUnits | None:
        """Units of the predictors."""
        return self.tasks.units

    def classes_of(self, task: int) -> Labels | None:
        """Return the classes of a task; an unseen one has the union."""
        return self.tasks.classes_of(task)

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task."""
        return self.tasks.loss_of(task)

    def modes(self, X: Array, task: int) -> Array:
        """Return the predictors at the mode, shape (n_rows, columns of the task)."""
        width = len(self.columns)
        sums = X[:, width:][:, self.tasks.problems_of(task)]
        return self.tasks.modes(X[:, :width], task) + sums

    def variances(self, X: Array, task: int) -> Array:
        """Return the posterior variances of the predictors, shaped as them."""
        return self.tasks.variances(X[:, : len(self.columns)], task)

    def eta(self, X: Array, task: int) -> Array:
        """Return the predictors of the expected targets, shaped as the modes."""
        loss = self.loss_of(task)
        return expected_predictors(self.modes(X, task), self.variances(X, task), loss)

    def probabilities(self, X: Array, task: int) -> Array:
        """Return class probabilities, shape (n_rows, classes of the task)."""
        classes = self.classes_of(task)
        if classes is not None and len(classes) == 1:
            return np.ones((len(X), 1))
        return class_probabilities(self.eta(X, task), self.loss_of(task))

    def predict(self, X: Any, tasks: Index) -> Labels:  # noqa: ANN401 - dense or sparse
        """Return the most probable classes of rows, or expected counts and amounts."""
        precision = self.tasks.linear.coef.dtype

        def of_task(X: Array, task: int) -> Labels:
            found = labels_from(self.eta(X, task), self.classes_of(task), self.loss_of(task))
            return found if self.union is not None else found.astype(precision)

        return outputs.one_by_one(of_task)(self.beside(X), tasks)

    def quantiles(self, p: float, X: Any, tasks: Index) -> Labels:  # noqa: ANN401
        """Return the quantiles of new targets."""
        one = outputs.one_by_one(lambda X, task: quantiles(self, X, task, p))
        return one(self.beside(X), tasks)

    def effects(self) -> Array:
        """Return the deviations of tasks from the prior mean, of each class of several."""
        # Shapes: result (n_columns, 1 + q), the columns of all tasks.
        known = np.column_stack([self.tasks.linear.intercept, self.tasks.linear.coef])
        typical = self.tasks.prior_lines()
        for task, part in enumerate(self.slices):
            if self.units is not None:
                known[part, 0] -= self.units.level[task] - self.units.level[0]
            known[part] -= typical[self.tasks.problems_of(task)]
        return known
