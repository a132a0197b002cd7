"""Logistic regression whose strength is found on as many folds as the rarest class allows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from polytask._checks import is_whole
from polytask._estimator.state import estimator_state, from_estimator_state
from polytask._linalg import is_sparse
from polytask._registry import State, saveable
from polytask.baselines._disjoint import Split, split_columns
from polytask.baselines._newton import PathPoint, logistic_path
from polytask.baselines._repeated import without_repeats
from polytask.baselines._scaled import Design, Plain, scaled_path, unequal
from polytask.exceptions import ConvergenceWarning

Array = NDArray[np.float64]
# From rows, labels, row weights, strengths and whether they are searched to the minima.
Path = Callable[[Any, NDArray[Any], Array, Sequence[float], bool], Iterator[PathPoint]]

# Strengths in units of scikit-learn's C, strongest first: each starts from the one before.
_STRENGTHS = tuple(float(c) for c in np.logspace(-4, 3, 10))
# What None means, as in scikit-learn.
_FOLDS = 5
# What a task too small for a search gets: scikit-learn's own default.
_FALLBACK = 1.0
# Up to here Newton's matrix is cheaper than the many steps of a quasi-Newton method.
_NEWTON_COLUMNS = 1000
# Largest entry of the scaled gradient, relative to that at zero coefficients. What held-out rows
# lose is flat near the minimum.
_SEARCHED, _CHOSEN = 1e-4, 1e-5
# Rows or columns up to which scikit-learn's checks of every fit take longer than the fit.
_FEW = 200


@saveable("baseline.tuned_logistic")
class TunedLogistic(ClassifierMixin, BaseEstimator):
    """L2-penalised logistic regression, its strength cross-validated by log loss.

    Unlike ``LogisticRegressionCV`` it accepts classes with fewer rows than folds: the rarest
    class decides the number of folds, and where it has one row only ``C=1`` is taken
    unsearched, so that small tasks can be compared with large ones.

    Parameters
    ----------
    cv : int, iterable of (train, test), or None, default=5
        Folds at most, or the folds themselves, of which those count whose training rows
        have all classes; None means 5.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    max_iter : int, default=1000
        Iterations of the solver per strength.

    Attributes
    ----------
    C_ : float
        The chosen inverse strength, that of scikit-learn.
    coef_ : ndarray of shape (1 or n_classes, n_features)
        Coefficients.
    intercept_ : ndarray of shape (1 or n_classes,)
        Intercepts.
    classes_ : ndarray of shape (n_classes,)
        The classes.
    n_features_in_ : int
        Columns of X.
    n_iter_ : int
        Iterations of the last fit.
    """

    def __init__(
        self,
        cv: int | Iterable[tuple[Any, Any]] | None = 5,
        fit_intercept: bool = True,
        max_iter: int = 1000,
    ) -> None:
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: ANN401
        """Search the strength and fit all rows.

        Parameters
        ----------
        X : array or sparse matrix of shape (n, d)
            Features.
        y : array of shape (n,)
            Classes, two or more.
        sample_weight : array of shape (n,) or None
            Row weights.

        Returns
        -------
        self
        """
        X, labels = validate_data(self, X, y, accept_sparse="csr", dtype=(np.float64, np.float32))
        check_classification_targets(labels)
        weight = _check_sample_weight(sample_weight, X)
        self.classes_ = np.unique(labels)
        rows, path = self._own(X) if len(self.classes_) == 2 else (X, None)
        self.C_ = self._search(X, rows, path, labels, weight)
        if path is not None:
            # The strengths before it on the path, for a start.
            until = [C for C in _STRENGTHS if C < self.C_] + [self.C_]
            *_, last = path(rows, labels, weight, until, False)
            self.coef_, self.intercept_ = last.coef[None], np.array([last.intercept])
            self.n_iter_ = last.steps
            if not last.converged:
                warnings.warn(
                    f"TunedLogistic did not converge in {last.steps} iterations at C={self.C_:g}: "
                    "scale the features, or give a larger max_iter.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            return self
        model = self._learner(X.shape[1], len(self.classes_)).set_params(C=self.C_)
        model.fit(X, labels, sample_weight=weight)
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        self.n_iter_ = int(np.max(model.n_iter_))
        return self

    def _own(self, X: Any) -> tuple[Any, Path | None]:  # noqa: ANN401 - dense or sparse
        """Return the rows and the solver of two classes, None for that of scikit-learn."""
        split = split_columns(X, _NEWTON_COLUMNS)
        if split is not None:
            return split, self._newton
        if X.shape[1] <= _NEWTON_COLUMNS:
            return X, None
        bare = None if is_sparse(X) or len(X) <= 2 * _FEW else without_repeats(X)
        design = bare or Plain(X)
        return (design, self._scaled) if bare or unequal(design) else (X, None)

    def _search(
        self,
        X: Any,  # noqa: ANN401 - dense or sparse
        rows: Any,  # noqa: ANN401 - X, Split or Design
        path: Path | None,
        labels: NDArray[Any],
        weight: Array,
    ) -> float:
        classes = self.classes_
        losses = np.zeros(len(_STRENGTHS))
        folds = self._folds(labels)
        if not folds:
            return _FALLBACK
        for train, test in folds:
            codes = np.searchsorted(classes, labels[test])
            decisions = self._decisions(rows[train], path, labels[train], weight[train], X[test])
            for k, decision in enumerate(decisions):
                logs = _log_probabilities(decision)
                losses[k] -= weight[test] @ logs[np.arange(len(test)), codes]
        return _STRENGTHS[int(losses.argmin())]

    def _decisions(
        self,
        rows: Any,  # noqa: ANN401 - X, Split or Design
        path: Path | None,
        labels: NDArray[Any],
        weight: Array,
        held: Any,  # noqa: ANN401 - dense or sparse
    ) -> Iterator[Array]:
        """Yield the linear predictors of held-out rows for every strength."""
        few = path is None and len(self.classes_) == 2 and not is_sparse(rows)
        if few and min(rows.shape) <= _FEW:
            path = self._newton
        if path is not None:
            for point in path(rows, labels, weight, _STRENGTHS, True):
                yield held @ point.coef + point.intercept
            return
        model = self._learner(rows.shape[1], len(self.classes_))
        for C in _STRENGTHS:
            model.set_params(C=C).fit(rows, labels, sample_weight=weight)
            yield _decision(model, held)

    def _newton(
        self,
        rows: Any,  # noqa: ANN401 - dense, or Split
        labels: NDArray[Any],
        weight: Array,
        strengths: Sequence[float],
        _searched: bool,  # Newton's last step is exact: a rougher one saves nothing
    ) -> Iterator[PathPoint]:
        head, tail = (rows.head, rows.tail) if isinstance(rows, Split) else (rows, None)
        return logistic_path(
            np.asarray(head, dtype=float),
            self._signs(labels),
            np.asarray(weight, dtype=float),
            strengths,
            intercept=self.fit_intercept,
            tail=tail,
        )

    def _scaled(
        self,
        rows: Design,
        labels: NDArray[Any],
        weight: Array,
        strengths: Sequence[float],
        searched: bool,
    ) -> Iterator[PathPoint]:
        return scaled_path(
            rows,
            self._signs(labels),
            np.asarray(weight, dtype=float),
            strengths,
            intercept=self.fit_intercept,
            max_iter=self.max_iter,
            accuracy=_SEARCHED if searched else _CHOSEN,
        )

    def _signs(self, labels: NDArray[Any]) -> Array:
        return np.where(labels == self.classes_[1], 1.0, -1.0)

    def _folds(self, labels: NDArray[Any]) -> list[tuple[Any, Any]]:
        cv: Any = _FOLDS if self.cv is None else self.cv
        classes, counts = np.unique(labels, return_counts=True)
        if not is_whole(cv):
            return [(a, b) for a, b in cv if len(np.unique(labels[a])) == len(classes)]
        count = min(int(cv), int(counts.min()))
        if count < 2:
            return []
        # Rows may come task by task, and a fold must not be a task.
        splitter = StratifiedKFold(count, shuffle=True, random_state=0)
        return list(splitter.split(np.zeros(len(labels)), labels))

    def _learner(self, width: int, n_classes: int) -> Any:  # noqa: ANN401 - untyped package
        columns = width if n_classes == 2 else width * n_classes
        return LogisticRegression(
            solver="newton-cholesky" if columns <= _NEWTON_COLUMNS else "lbfgs",
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
            warm_start=True,
        )

    def decision_function(self, X: Any) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the linear predictor, shape (n,) for two classes, else (n, n_classes)."""
        check_is_fitted(self)
        dtypes = (np.float64, np.float32)
        X = validate_data(self, X, accept_sparse="csr", dtype=dtypes, reset=False)
        return _decision(self, X)

    def predict_proba(self, X: Any) -> Array:  # noqa: ANN401 - dense or sparse
        """Return class probabilities, shape (n, n_classes)."""
        values = self.decision_function(X)
        if values.ndim == 2:
            return np.asarray(softmax(values, axis=1))
        return np.column_stack([expit(-values), expit(values)])

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        """Return the most probable class of each row, shape (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def to_state(self) -> State:
        """Return parameters and fitted attributes, for :func:`polytask.save`."""
        return estimator_state(self)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the estimator from :meth:`to_state`."""
        return from_estimator_state(cls, state)

    def __sklearn_tags__(self) -> Tags:
        """Say that X may be sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _decision(model: Any, X: Any) -> Array:  # noqa: ANN401 - any linear classifier
    values = np.asarray(X @ model.coef_.T) + model.intercept_
    return np.asarray(values[:, 0] if values.shape[1] == 1 else values)


def _log_probabilities(values: Array) -> Array:
    if values.ndim == 2:
        return np.asarray(log_softmax(values, axis=1))
    return np.column_stack([log_expit(-values), log_expit(values)])
