"""Poisson and gamma regression whose strength is found by cross-validated deviance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.linear_model import GammaRegressor, PoissonRegressor
from sklearn.utils import Tags

from polytask._checks import is_whole, one_of
from polytask._estimator.tuned import TunedModel, folds_of
from polytask._registry import saveable
from polytask.losses import LOSSES

Array = NDArray[np.float64]

# Strengths relative to the curvature of a typical row, strongest first: each starts from the
# one before.
_STRENGTHS = tuple(float(a) for a in np.logspace(1.5, -4, 9))
# What None means, as in scikit-learn.
_FOLDS = 5
# What rows too few for a search get.
_FALLBACK = 0.1
# Up to here Newton's matrix is cheaper than the many steps of a quasi-Newton method.
_NEWTON_COLUMNS = 1000
# So many counts stand for none at all.
_HALF = 0.5

_LEARNERS: dict[str, Any] = {"poisson": PoissonRegressor, "gamma": GammaRegressor}


@saveable("baseline.tuned_means")
class TunedMeans(RegressorMixin, TunedModel):
    """L2-penalised Poisson or gamma regression, its strength cross-validated by deviance.

    Rows that hold zeros only, for which scikit-learn has no answer, get a constant: half a
    count over their weight.

    Parameters
    ----------
    loss : {"poisson", "gamma"}, default="poisson"
        Of counts and rates >= 0, or of amounts > 0.
    cv : int, iterable of (train, test), or None, default=5
        Folds at most, or the folds themselves; None means 5.
    strengths : sequence of float or None, default=None
        To be searched, relative to the curvature of a typical row (the mean of counts, 1 for
        amounts); None means nine from 30 to 1e-4. A single one is taken unsearched.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    max_iter : int, default=1000
        Iterations of the solver per strength.

    Attributes
    ----------
    alpha_ : float
        The chosen strength, that of scikit-learn.
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : float
        The intercept.
    n_features_in_ : int
        Columns of X.
    n_iter_ : int
        Iterations of the last fit.
    """

    def __init__(
        self,
        loss: str = "poisson",
        cv: int | Iterable[tuple[Any, Any]] | None = 5,
        strengths: Sequence[float] | None = None,
        fit_intercept: bool = True,
        max_iter: int = 1000,
    ) -> None:
        self.loss = loss
        self.cv = cv
        self.strengths = strengths
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: ANN401
        """Search the strength and fit all rows.

        Parameters
        ----------
        X : array or sparse matrix of shape (n, d)
            Features.
        y : array of shape (n,)
            Targets.
        sample_weight : array of shape (n,) or None
            Row weights.

        Returns
        -------
        self
        """
        one_of(self.loss, "loss", type(self).__name__, tuple(_LEARNERS))
        X, y, weight = self._read(X, y, sample_weight, numeric=True)
        y = np.asarray(y, dtype=np.float64)
        searched = _STRENGTHS if self.strengths is None else tuple(self.strengths)
        alphas = tuple(_curvature(self.loss, y, weight) * s for s in searched)
        self.alpha_ = alphas[0] if len(alphas) == 1 else self._search(X, y, weight, alphas)
        model = self._learner(X.shape[1])
        self.coef_, self.intercept_, self.n_iter_ = self._fitted(model, X, y, weight, self.alpha_)
        return self

    def _search(self, X: Any, y: Array, weight: Array, alphas: tuple[float, ...]) -> float:  # noqa: ANN401
        loss, lost = LOSSES[self.loss](), np.zeros(len(alphas))
        cv: Any = _FOLDS if self.cv is None else self.cv
        if is_whole(cv) and min(int(cv), len(y)) < 2:
            return _FALLBACK * _curvature(self.loss, y, weight)
        for train, test in folds_of(cv, len(y)):
            model = self._learner(X.shape[1])
            for k, alpha in enumerate(alphas):
                coef, intercept, _ = self._fitted(model, X[train], y[train], weight[train], alpha)
                with np.errstate(over="ignore"):
                    values = loss.value(y[test], X[test] @ coef + intercept)
                    lost[k] += float(weight[test] @ values)
        return alphas[int(np.argmin(lost))]

    def _learner(self, width: int) -> Any:  # noqa: ANN401 - untyped package
        return _LEARNERS[self.loss](
            solver="newton-cholesky" if width <= _NEWTON_COLUMNS else "lbfgs",
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
            warm_start=True,
        )

    @staticmethod
    def _fitted(
        model: Any,  # noqa: ANN401 - untyped package
        X: Any,  # noqa: ANN401 - dense or sparse
        y: Array,
        weight: Array,
        alpha: float,
    ) -> tuple[Array, float, int]:
        """Return coefficients, intercept and iterations."""
        total = float(weight @ y)
        if total <= 0:
            level = float(np.log(_HALF / max(float(weight.sum()), _HALF)))
            return np.zeros(X.shape[1]), level, 0
        model.set_params(alpha=alpha).fit(X, y, sample_weight=weight)
        return np.array(model.coef_), float(model.intercept_), int(np.max(model.n_iter_))

    def predict(self, X: Any) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the mean of each row, shape (n,)."""
        return np.asarray(np.exp(self._linear(X)))

    def __sklearn_tags__(self) -> Tags:
        """Say that X may be sparse, and that y is positive."""
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags


def _curvature(loss: str, y: Array, weight: Array) -> float:
    """Return the second derivative of the loss of a typical row at the best constant."""
    if loss == "gamma":
        return 1.0
    mean = float(np.average(y, weights=weight)) if weight.any() else 0.0
    return mean if mean > 0 else 1.0
