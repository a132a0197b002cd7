"""Linear estimators that choose penalty and strength: numbers, classes, and a loss per task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from polytask._estimator.documentation import documented
from polytask._registry import saveable
from polytask.linear.base import LinearClasses, LinearMixed, LinearNumbers
from polytask.selection.base import SearchEstimator


@saveable("selection.regressor")
@documented(SearchEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskRegressorCV(SearchEstimator, LinearNumbers):
    """Linear regression of many tasks, penalty and strength chosen by folds or a criterion.

    Everything is tuned inside the training part of each fold: encoding, scaling, penalty,
    strength, task weights and the strength of pulled intercepts.

    Parameters
    ----------
    loss : {"squared", "huber", "poisson", "gamma", "quantile", "square_root"} or Loss, \
            default="squared"
        The loss of every row, as in :class:`MultiTaskRegressor`.
    scale_targets : {"task", "common", "auto", None}, default="auto"
        As in :class:`MultiTaskRegressor`.

    Attributes
    ----------
    coef_, intercept_, tasks_, columns_, solution_
        As in :class:`MultiTaskRegressor`.

    Notes
    -----
    A criterion believes the model: noise that is alike in all rows and independent between them.
    Where rows come in groups or the order of time matters, cross-validate. To count degrees of
    freedom takes about as long as the folds.

    With D_t the deviance of task t (the sum of squares for the squared loss), n_t its rows,
    df_t its degrees of freedom (the divergence of its predictions, intercepts included) and
    phi_t the variance of its noise,

    - aic = sum_t D_t / phi_t + n_t log(2 pi phi_t) + 2 df_t,
    - bic has ``df_t log n_t`` in the place of ``2 df_t``,
    - ebic = bic of the support, refitted without a penalty (one step of Newton's method), +
      2 log(number of supports of that size); of a penalty that makes no zeros it is bic,
    - aicc = the AIC of Hurvich and Tsai, with the noise that fits each candidate best,
    - gcv = sum_t D_t / (1 - df_t / n_t)^2 / sum_t n_t.

    The variances are unknown. Tasks whose targets are scaled together are one quantity and have
    one, others one each. They are the same for all candidates, D / (n - df) of the one
    with the smallest gcv: the variance that fits a candidate best would reward one that follows
    the noise, without limit where features outnumber rows. Losses of classes and counts have
    phi_t = 1. Weights of rows count as numbers of rows.

    The evidence integrates over all coefficients and intercepts, in closed form from moments,
    with the variance that makes it largest; directions that a penalty leaves free, such as
    intercepts, have a flat prior (restricted likelihood).

    References
    ----------
    L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees"
    (1984), section 3.4.3 (one_se). I. Das, "On characterizing the knee of the Pareto curve
    based on normal-boundary intersection", Structural Optimization 18 (1999) (pareto).
    H. Akaike, IEEE Transactions on Automatic Control 19 (1974) (aic). C. Hurvich and C.-L. Tsai,
    Biometrika 76 (1989) (aicc). G. Schwarz, Annals of Statistics 6 (1978) (bic). J. Chen and
    Z. Chen, Biometrika 95 (2008) (ebic). G. Golub, M. Heath and G. Wahba, Technometrics 21 (1979)
    (gcv). S. Reid, R. Tibshirani and J. Friedman, Statistica Sinica 26 (2016) (the noise).
    D. MacKay, Neural Computation 4 (1992) (evidence).

    Examples
    --------
    >>> from polytask import MultiTaskRegressorCV
    >>> from polytask.datasets import load_diabetes_groups
    >>> patients = load_diabetes_groups()
    >>> model = MultiTaskRegressorCV(alphas=5).fit(patients.X, patients.y, task=patients.task)
    >>> model.solution_.status.name
    'CONVERGED'
    """

    loss: Any = "squared"
    scale_targets: str | None = "auto"


@saveable("selection.classifier")
@documented(SearchEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskClassifierCV(SearchEstimator, LinearClasses):
    """Linear classification of many tasks, penalty and strength chosen by folds or a criterion.

    Everything is tuned inside the training part of each fold: encoding, scaling, penalty,
    strength, task weights and the strength of pulled intercepts.

    Parameters
    ----------
    loss : {"auto", "logistic", "multinomial", "squared_hinge"} or Loss, default="auto"
        As in :class:`MultiTaskClassifier`.
    class_weight : "balanced", mapping of class to weight, or None, default=None
        Multiplies the sample weights of classes.

    Attributes
    ----------
    coef_, intercept_, tasks_, columns_, classes_, task_classes_, solution_
        As in :class:`MultiTaskClassifier`.

    Notes
    -----
    The criteria are those of :class:`MultiTaskRegressorCV`; losses of classes and counts have a
    noise of variance 1.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskClassifierCV
    >>> rng = np.random.default_rng(0)
    >>> X, ward = rng.standard_normal((90, 3)), np.repeat(["north", "south", "west"], 30)
    >>> y = X[:, 0] + 0.5 * rng.standard_normal(90) > 0
    >>> model = MultiTaskClassifierCV(alphas=3, cv=2).fit(X, y, task=ward)
    >>> model.score(X, y, task=ward) > 0.7
    True
    """

    class_weight: Any = None


@saveable("selection.model")
@documented(SearchEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskModelCV(SearchEstimator, LinearMixed):
    """Linear models of tasks with a loss each, strengths chosen by folds or a criterion.

    Everything is tuned inside the training part of each fold: encoding, scaling, penalty,
    strength, task weights and the strength of pulled intercepts.

    Parameters
    ----------
    loss : "auto", str, Loss, or mapping of task to these, default="auto"
        As in :class:`MultiTaskModel`.
    scale_targets : {"task", "common", "auto", None}, default="auto"
        As in :class:`MultiTaskRegressor`.
    class_weight : "balanced", mapping of class to weight, or None, default=None
        Multiplies the sample weights of classes.

    Attributes
    ----------
    coef_, intercept_, tasks_, columns_, classes_, task_classes_, solution_
        As in :class:`MultiTaskModel`.

    Notes
    -----
    The criteria are those of :class:`MultiTaskRegressorCV`; losses of classes and counts have a
    noise of variance 1.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskModelCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((80, 3))
    >>> Y = np.column_stack([X[:, 0] > 0, X[:, 0] + X[:, 1]])
    >>> MultiTaskModelCV(alphas=3, cv=2).fit(X, Y).predict(X).shape
    (80, 2)
    """

    scale_targets: str | None = "auto"
    class_weight: Any = None


@saveable("selection.regressor_ic")
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskRegressorIC(MultiTaskRegressorCV):
    """Another name of :class:`MultiTaskRegressorCV`, with ``criterion="aic"`` as the default."""

    criterion: str | None = "aic"


@saveable("selection.classifier_ic")
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskClassifierIC(MultiTaskClassifierCV):
    """Another name of :class:`MultiTaskClassifierCV`, with ``criterion="aic"`` as the default."""

    criterion: str | None = "aic"


@saveable("selection.model_ic")
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskModelIC(MultiTaskModelCV):
    """Another name of :class:`MultiTaskModelCV`, with ``criterion="aic"`` as the default."""

    criterion: str | None = "aic"
