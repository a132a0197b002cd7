"""Logistic regression along a path of strengths, chosen on held-out rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.multiclass import check_classification_targets

from polytask._checks import is_whole
from polytask._estimator.tuned import Folds, TunedModel
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.baselines._columns import SplitDesign, split_columns, without_repeats
from polytask.datafits import Features
from polytask.exceptions import ConvergenceWarning
from polytask.messages import LazyMessage

Array = NDArray[np.float64]

_STEPS = 100
_HALVINGS = 30
# Largest entry of the gradient, relative to that at zero coefficients.
_ACCURACY = 1e-9
_RIDGE = 1e-12
# Of the value: what a step near the minimum may add to it by rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class PathPoint:
    """The minimum at one strength. Shapes: coef (d,)."""

    coef: Array
    intercept: float
    steps: int
    converged: bool


def logistic_path(
    rows: SplitDesign, y: Array, weight: Array, strengths: Sequence[float], *, intercept: bool
) -> Iterator[PathPoint]:
    """Yield the minimum for inverse strengths C, each found from the one before."""
    # Shapes: y (n,), weight (n,).
    # Minimises C sum_i s_i log(1 + exp(-y_i f_i)) + |w|^2 / 2 with f = X w + b by Newton steps.
    # The minimum lies in the space of the rows, so that X is turned to no more columns than it has
    # rows. Columns of which no row has two have a diagonal block in Newton's matrix, so that
    # thousands of them cost little more than the rows.
    X, basis = np.asarray(rows.head, dtype=float), None
    if X.shape[0] < X.shape[1]:
        basis, corner = scipy.linalg.qr(X.T, mode="economic")
        X = np.ascontiguousarray(corner.T)
    width = X.shape[1]
    design = SplitDesign(np.column_stack([X, np.ones(len(X))]) if intercept else X, rows.tail)
    penalty = np.ones(design.width)
    penalty[width : width + intercept] = 0.0
    w = np.zeros(design.width)
    for C in strengths:
        w, steps, converged = _minimised(design, y, C * weight, penalty, w)
        coef = w[:width] if basis is None else basis @ w[:width]
        level = float(w[width]) if intercept else 0.0
        yield PathPoint(np.concatenate([coef, w[width + intercept :]]), level, steps, converged)


def _newton_step(design: SplitDesign, curvature: Array, penalty: Array, target: Array) -> Array:
    """Return the solution of (X' diag(curvature) X + diag(penalty)) x = target."""
    Z, tail = design.head, design.tail
    k = Z.shape[1]
    H = (Z.T * curvature) @ Z
    block = np.zeros(0) if tail is None else tail.adjoint(curvature * tail.values)
    ridge = _RIDGE * max(float(np.trace(H) + block.sum()), 1.0)
    H[np.diag_indices_from(H)] += penalty[:k] + ridge
    if tail is None:
        return np.asarray(scipy.linalg.solve(H, target, assume_a="pos", check_finite=False))
    # By the complement of the diagonal block of the tail.
    block = block + penalty[k:] + ridge
    cross = tail.matrix().T @ (curvature[:, None] * Z)
    shares = cross / block[:, None]
    H -= cross.T @ shares
    rest = target[:k] - shares.T @ target[k:]
    head = scipy.linalg.solve(H, rest, assume_a="pos", check_finite=False)
    return np.concatenate([head, target[k:] / block - shares @ head])


def _minimised(
    design: SplitDesign, y: Array, weight: Array, penalty: Array, w: Array
) -> tuple[Array, int, bool]:
    goal = _ACCURACY * float(np.max(np.abs(design.adjoint(0.5 * weight)), initial=0.0))
    f = design @ w
    value = _value(f, y, weight, penalty, w)
    for taken in range(_STEPS):
        share = expit(-y * f)
        gradient = penalty * w - design.adjoint(weight * y * share)
        if np.max(np.abs(gradient)) <= goal:
            return w, taken, True
        step = _newton_step(design, weight * share * (1.0 - share), penalty, -gradient)
        moved = design @ step
        for _ in range(_HALVINGS):
            trial = _value(f + moved, y, weight, penalty, w + step)
            if trial <= value + _ROUNDING * abs(value):
                break
            step, moved = 0.5 * step, 0.5 * moved
        else:
            # No step along Newton's direction is lower: what is left is rounding.
            return w, taken, True
        w, f, value = w + step, f + moved, trial
    return w, _STEPS, False


def _value(f: Array, y: Array, weight: Array, penalty: Array, w: Array) -> float:
    return float(weight @ np.logaddexp(0.0, -y * f) + 0.5 * (penalty * w) @ w)


_HISTORY = 20
# A column this many times as long as most is what slows down a method without scales.
_LONG = 100.0


def unequal(X: Features) -> bool:
    """Say whether some columns are far longer than most that are not zero."""
    squares = X.squares_adjoint(np.ones(X.matrix.shape[0]))
    some = squares[squares > 0]
    return bool(some.size) and bool(some.max() > _LONG**2 * np.median(some))


def scaled_path(
    X: Features,
    y: Array,
    weight: Array,
    strengths: Sequence[float],
    *,
    intercept: bool,
    max_iter: int,
    accuracy: float,
) -> Iterator[PathPoint]:
    """Yield the minimum for inverse strengths C, each found from the one before."""
    # Shapes: X (n, d), y (n,), weight (n,).
    # As :func:`polytask.baselines._logistic.logistic_path`, by L-BFGS in coefficients that are
    # scaled to a curvature of one: columns of very unequal length, such as intercepts of tasks
    # beside features, do not slow it down.
    squares, width = X.squares_adjoint(weight), X.n_features
    w = np.zeros(width + intercept)
    for C in strengths:
        curvature = 0.25 * C * np.append(squares, np.full(int(intercept), weight.sum()))
        curvature[:width] += 1.0
        problem = _ScaledObjective(
            X, y, C * weight, np.sqrt(np.where(curvature > 0, curvature, 1.0))
        )
        goal = accuracy * float(np.abs(problem(np.zeros(len(w)))[1]).max(initial=0.0))
        found = scipy.optimize.minimize(
            problem,
            w * problem.scale,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iter, "maxcor": _HISTORY, "gtol": goal, "ftol": 0.0},
        )
        w = found.x / problem.scale
        level = float(w[-1]) if intercept else 0.0
        # Where the line search ends in rounding the gradient may miss the goal by little.
        converged = float(np.abs(found.jac).max(initial=0.0)) <= 10.0 * goal
        yield PathPoint(w[:width].copy(), level, int(found.nit), converged)


@dataclass(frozen=True, eq=False)
class _ScaledObjective:
    """Value and gradient in scaled coefficients, the intercept last if there is one."""

    X: Features
    y: Array
    weight: Array
    scale: Array

    def __call__(self, u: Array) -> tuple[float, Array]:
        w, d = u / self.scale, self.X.n_features
        margin = self.y * (self.X.times(w[:d]) + w[d:].sum())
        slope = -self.weight * self.y * expit(-margin)
        value = self.weight @ np.logaddexp(0.0, -margin) + 0.5 * w[:d] @ w[:d]
        gradient = np.append(self.X.adjoint(slope) + w[:d], np.full(len(w) - d, slope.sum()))
        return float(value), gradient / self.scale


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
class TunedLogistic(ClassifierMixin, TunedModel):
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
        X, labels, weight = self._read(X, y, sample_weight, numeric=False)
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        rows = self._prepared(X) if len(self.classes_) == 2 else X
        self.C_ = self._search(X, rows, labels, weight)
        if isinstance(rows, SplitDesign | Features):
            # The strengths before it on the path, for a start.
            until = [C for C in _STRENGTHS if C < self.C_] + [self.C_]
            *_, last = self._path(rows, labels, weight, until, _CHOSEN)
            self.coef_, self.intercept_ = last.coef[None], np.array([last.intercept])
            self.n_iter_ = last.steps
            if not last.converged:
                fields = {"n": last.steps, "C": f"{self.C_:g}"}
                message = LazyMessage("warn.logistic", fields)
                warnings.warn(ConvergenceWarning(message), stacklevel=2)
            return self
        model = self._learner(X.shape[1], len(self.classes_)).set_params(C=self.C_)
        model.fit(X, labels, sample_weight=weight)
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        self.n_iter_ = int(np.max(model.n_iter_))
        return self

    def _prepared(self, X: Any) -> Any:  # noqa: ANN401 - dense or sparse; the same, Split, Features
        """Return the rows of two classes as the solver needs them, X itself for scikit-learn's."""
        split = split_columns(X, _NEWTON_COLUMNS)
        if split is not None or X.shape[1] <= _NEWTON_COLUMNS:
            return X if split is None else split
        bare = None if is_sparse(X) or len(X) <= 2 * _FEW else without_repeats(X)
        design = bare or Features(X.astype(float, copy=False))
        return design if bare or unequal(design) else X

    def _search(
        self,
        X: Any,  # noqa: ANN401 - dense or sparse
        rows: Any,  # noqa: ANN401 - X, Split or Features
        labels: NDArray[Any],
        weight: Array,
    ) -> float:
        losses = np.zeros(len(_STRENGTHS))
        folds = self._folds(labels)
        if not folds:
            return _FALLBACK
        for train, test in folds:
            codes = np.searchsorted(self.classes_, labels[test])
            part = rows.rows(train) if isinstance(rows, Features) else rows[train]
            decisions = self._decisions(part, labels[train], weight[train], X[test])
            for k, decision in enumerate(decisions):
                if decision.ndim == 2:
                    logs = log_softmax(decision, axis=1)
                else:
                    logs = np.column_stack([log_expit(-decision), log_expit(decision)])
                losses[k] -= weight[test] @ logs[np.arange(len(test)), codes]
        return _STRENGTHS[int(losses.argmin())]

    def _decisions(
        self,
        rows: Any,  # noqa: ANN401 - X, Split or Features
        labels: NDArray[Any],
        weight: Array,
        new: Any,  # noqa: ANN401 - dense or sparse
    ) -> Iterator[Array]:
        """Yield the linear predictors of held-out rows for every strength."""
        if isinstance(rows, np.ndarray) and len(self.classes_) == 2 and min(rows.shape) <= _FEW:
            rows = SplitDesign(rows)
        if isinstance(rows, SplitDesign | Features):
            for point in self._path(rows, labels, weight, _STRENGTHS, _SEARCHED):
                yield new @ point.coef + point.intercept
            return
        model = self._learner(rows.shape[1], len(self.classes_))
        for C in _STRENGTHS:
            model.set_params(C=C).fit(rows, labels, sample_weight=weight)
            yield _decision(np.asarray(new @ model.coef_.T + model.intercept_))

    def _path(
        self,
        rows: SplitDesign | Features,
        labels: NDArray[Any],
        weight: Array,
        strengths: Sequence[float],
        accuracy: float,
    ) -> Iterator[PathPoint]:
        y = np.where(labels == self.classes_[1], 1.0, -1.0)
        weight, intercept = np.asarray(weight, dtype=float), self.fit_intercept
        if isinstance(rows, SplitDesign):
            # Newton's last step is exact: a rougher one saves nothing.
            return logistic_path(rows, y, weight, strengths, intercept=intercept)
        most = self.max_iter
        return scaled_path(
            rows, y, weight, strengths, intercept=intercept, max_iter=most, accuracy=accuracy
        )

    def _folds(self, labels: NDArray[Any]) -> Folds:
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
        return _decision(self._linear(X))

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


def _decision(values: Array) -> Array:
    return values[:, 0] if values.shape[1] == 1 else values
