"""Prediction with the posterior of every task: log odds that know how uncertain they are."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.scaling import FeatureScaling
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.bayes.laplace_posterior import ClassPosterior
from polytask.linear._bayes_class_rows import with_ones
from polytask.linear._given_lines import GivenLine, line_given
from polytask.linear.prediction import LinearTasks
from polytask.losses import Logistic, Loss, Multinomial

Array = NDArray[np.float64]
Labels = NDArray[Any]

_LOSS = Logistic()
# Rows whose variances are worked out at a time.
_PIECE = 4096


@saveable("linear.bayes_class_tasks")
@dataclass(frozen=True, eq=False)
class BayesClassTasks:
    """Posteriors of the tasks, with the scaling in which they were learned."""

    # Shapes: mean, scale (n_features,), present (n_tasks, n_features).

    linear: LinearTasks
    posteriors: list[ClassPosterior]
    mean: Array
    scale: Array
    present: NDArray[np.bool_] | None
    given: tuple[GivenLine, ...] = ()

    @property
    def slices(self) -> tuple[slice, ...]:
        """The columns of each task."""
        return self.linear.slices

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The loss of each task, which says whether it has one column or one per class."""
        return self.linear.losses

    @property
    def union(self) -> Labels | None:
        """The union of the classes."""
        return self.linear.union

    def classes_of(self, task: int) -> Labels | None:
        """Return the classes of a task; an unseen one has the union."""
        return self.linear.classes_of(task)

    def eta(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the log odds of each class of a task, shape (n_rows, columns of the task)."""
        # The linear predictor is normal under the posterior; its mean is divided by
        # ``sqrt(1 + pi v / 8)``, v its variance, so that its logistic function is the expected
        # probability to a good approximation.
        labels = self._columns(task)
        coef, intercept = self._parameters(task)
        product = X @ coef.T
        product = product.toarray() if is_sparse(product) else np.asarray(product)
        eta = np.asarray(product + intercept, dtype=np.float64)
        for start in range(0, len(eta), _PIECE):
            part = slice(start, start + _PIECE)
            Z = self.scaled(X[part], task)
            for column, label in enumerate(labels):
                variance = self._variance(Z, task, self._number(label))
                eta[part, column] /= np.sqrt(1.0 + np.pi / 8.0 * variance)
        return eta

    def probabilities(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return class probabilities, shape (n_rows, classes of the task)."""
        classes = self.classes_of(task)
        if classes is not None and len(classes) == 1:
            return np.ones((X.shape[0], 1))
        positive = np.asarray(_LOSS.inverse_link(self.eta(X, task)))
        if self.several:
            total = positive.sum(axis=1, keepdims=True)
            return np.asarray(positive / total)
        return np.column_stack([1.0 - positive[:, 0], positive[:, 0]])

    def labels_of(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        """Return the most probable classes, shape (n_rows,)."""
        classes = self.classes_of(task)
        assert classes is not None
        if len(classes) == 1:
            return np.repeat(classes, X.shape[0])
        eta = self.eta(X, task)
        if self.several:
            return np.asarray(classes[np.argmax(eta, axis=1)])
        return np.asarray(classes[(eta[:, 0] > 0).astype(np.intp)])

    def variances(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the posterior variances of the linear predictors, shaped as them."""
        Z = self.scaled(X, task)
        numbers = [self._number(label) for label in self._columns(task)]
        return np.column_stack([self._variance(Z, task, k) for k in numbers])

    def _variance(self, Z: Array, task: int, number: int) -> Array:
        given, posterior = line_given(self.given, task), self.posteriors[number]
        if given is not None and not given.unseen:
            return np.zeros(len(Z))
        inside = posterior.prior.coordinates(Z)
        return posterior.variance(inside, task if given is None else -1)

    @property
    def several(self) -> bool:
        """Whether there is one posterior per class."""
        return isinstance(self.losses[0], Multinomial)

    def _columns(self, task: int) -> tuple[Hashable | None, ...]:
        """Return the class of every column of a task."""
        if not self.several:
            return (None,)
        if self._borrows(task):
            assert self.union is not None
            return tuple(self.union.tolist())
        return self.linear.labels[self.slices[task]]

    def _number(self, label: Hashable | None) -> int:
        if label is None or self.union is None:
            return 0
        return list(self.union.tolist()).index(label)

    def _borrows(self, task: int) -> bool:
        return task < 0 or self.slices[task].start == self.slices[task].stop

    def _parameters(self, task: int) -> tuple[Array, Array]:
        if task < 0:
            self.linear.refuse_unlike()
        if not self._borrows(task):
            columns = self.slices[task]
            return self.linear.coef[columns], self.linear.intercept[columns]
        priors = [posterior.prior for posterior in self.posteriors]
        means = np.concatenate([prior.lifted(prior.mean[None]) for prior in priors]).T
        scaling = FeatureScaling(self.mean, self.scale, active=True)
        coef, intercept = scaling.restore(means[1:], means[0], None)
        return coef.T, intercept

    def scaled(
        self,
        X: Any,  # noqa: ANN401 - dense or sparse
        task: int,
        present: NDArray[np.bool_] | None = None,
    ) -> Array:
        """Return scaled dense rows with ones in front; features that a task lacks are 0."""
        if self.present is not None and task >= 0:
            present = self.present[task]
        exists = None if present is None else np.broadcast_to(present, X.shape)
        scaling = FeatureScaling(self.mean, self.scale, active=True)
        features = scaling.features(X.astype(np.float64), None if is_sparse(X) else exists)
        Z, shift = with_ones(features)
        dense = Z.toarray() if is_sparse(Z) else Z
        return np.asarray(dense if shift is None else dense - shift)
