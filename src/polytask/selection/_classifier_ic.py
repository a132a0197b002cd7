"""Linear classification with penalty and strength chosen by a criterion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.validation import check_is_fitted

from polytask._estimator import Outcomes, classification
from polytask._estimator.classes import decisions, probabilities
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.linear.base import LinearEstimator
from polytask.linear.problem import Settings
from polytask.linear.transfer import source_of
from polytask.selection._fit import intercept_modes
from polytask.selection._fit_whole import criteria_table, fit_by_criterion
from polytask.solvers import Solver

if TYPE_CHECKING:
    import pandas as pd


@saveable("selection.classifier_ic")
class MultiTaskClassifierIC(LinearEstimator):
    """Linear classification of many tasks, penalty and strength chosen by a criterion.

    Every strength of every penalty is fitted to all rows once, from strong to weak, and judged by
    how well it fits less what it is charged for its degrees of freedom. There are no folds:
    no row is held out, and nothing depends on how rows are dealt. To count degrees of freedom
    takes about as long as the folds of :class:`MultiTaskClassifierCV`. A criterion believes the
    model: noise that is alike in all rows and independent between them. Where rows come in
    groups or the order of time matters, cross-validate.

    Parameters
    ----------
    penalty : Penalty, list of Penalty or None, default=None
        As in :class:`MultiTaskClassifierCV`; convex, with one prox if not smooth.
    criterion : {"aic", "aicc", "bic", "ebic", "gcv"}, default="aic"
        What is made as small as possible: "aic" and "gcv" predict well, "bic" and more so "ebic"
        find which features matter where a few do; "aicc" is "aic" for few rows.
    alphas : int or array, default=50
        Number of strengths per penalty, or the strengths, as in :class:`MultiTaskClassifierCV`.
    loss : {"auto", "logistic", "multinomial"} or Loss, default="auto"
        As in :class:`MultiTaskClassifier`.
    solver : "auto" or Solver, default="auto"
        "auto" chooses by loss and penalty.
    task_weight : {"size", "equal"}, mapping, array or None, default=None
        Weights of the tasks; None searches "size" and "equal".
    intercept : {"auto", "task", "toward_mean", "shared", None} or list, default="auto"
        As in :class:`MultiTaskClassifier`; of a list, such as ``["task", "shared"]``, all are
        tried.
    intercept_strength : float or None, default=None
        Strength of "toward_mean"; None searches .1, 1, 10 and 100, then between.
    standardize : bool, default=True
        As in :class:`MultiTaskRegressor`.
    class_weight : "balanced", mapping of class to weight, or None, default=None
        Multiplies the sample weights of classes, also in the criterion.
    transfer_from : estimator or None, default=None
        As in :class:`MultiTaskRegressor`.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``.
    tol : float, default=1e-6
        Tolerance of the final fit; the paths use a hundred times as much (not for "evidence"),
        and 200 iterations per strength at most.
    max_iter : int, default=10000
        Iterations of the final fit.
    n_jobs : int or None, default=None
        Threads of BLAS; None: all there are for sums over rows, one for iterations.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    alpha_ : float
        The chosen strength.
    best_penalty_ : Penalty
        The chosen penalty with its strength.
    alphas_ : ndarray
        The strengths tried of the chosen penalty, strongest first.
    criterion_ : ndarray of shape (n_candidates,)
        The criterion of every candidate; smaller is better.
    best_criterion_ : float
        That of the chosen one.
    criteria_ : dict of str to ndarray of shape (n_candidates,)
        Degrees of freedom ("df"), log-likelihood and every criterion; :meth:`criteria_frame` is
        the same as a table.
    alpha_criteria_ : dict of str to ndarray of shape (n_alphas,)
        The same of the strengths in ``alphas_``, under what was chosen beside them.
    candidates_ : tuple of (Penalty, task weight, intercept strength)
        What these are about.
    sizes_ : ndarray of shape (n_candidates,)
        Coefficients other than zero.
    noise_variance_ : ndarray of shape (n_tasks,)
        The variance (dispersion) of the noise of each task, in the units of its target squared;
        1 where the loss has no free one.
    task_weight_, intercept_mode_, intercept_strength_
        The chosen ones.
    coef_, intercept_, tasks_, columns_, classes_, task_classes_, solution_
        As in :class:`MultiTaskClassifier`.

    Raises
    ------
    IncompatibleError
        If the loss is no likelihood (it is for squared, logistic, multinomial, Poisson and gamma),
        or the degrees of freedom of a penalty are not known.

    Notes
    -----
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

    References
    ----------
    H. Akaike, IEEE Transactions on Automatic Control 19 (1974) (aic). C. Hurvich and C.-L. Tsai,
    Biometrika 76 (1989) (aicc). G. Schwarz, Annals of Statistics 6 (1978) (bic). J. Chen and
    Z. Chen, Biometrika 95 (2008) (ebic). G. Golub, M. Heath and G. Wahba, Technometrics 21 (1979)
    (gcv). S. Reid, R. Tibshirani and J. Friedman, Statistica Sinica 26 (2016) (the noise).

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskClassifierIC
    >>> rng = np.random.default_rng(0)
    >>> X, ward = rng.standard_normal((90, 3)), np.repeat(["north", "south", "west"], 30)
    >>> y = X[:, 0] + 0.5 * rng.standard_normal(90) > 0
    >>> model = MultiTaskClassifierIC(criterion="bic", alphas=5).fit(X, y, task=ward)
    >>> model.score(X, y, task=ward) > 0.7
    True
    """

    def __init__(
        self,
        penalty: Any = None,  # noqa: ANN401 - penalty, list or None
        *,
        criterion: str = "aic",
        alphas: Any = 50,  # noqa: ANN401 - number or strengths
        loss: Any = "auto",  # noqa: ANN401 - name, loss or mapping
        solver: str | Solver = "auto",
        task_weight: Any = None,  # noqa: ANN401
        intercept: Any = "auto",  # noqa: ANN401 - a kind, or a list of kinds
        intercept_strength: float | None = None,
        standardize: bool = True,
        class_weight: Any = None,  # noqa: ANN401
        transfer_from: Any = None,  # noqa: ANN401 - a fitted estimator
        task_column: str | int | None = None,
        unseen_tasks: str = "error",
        tol: float = 1e-6,
        max_iter: int = 10000,
        n_jobs: int | None = None,
        date_features: bool = False,
    ) -> None:
        self.penalty = penalty
        self.criterion = criterion
        self.alphas = alphas
        self.loss = loss
        self.solver = solver
        self.task_weight = task_weight
        self.intercept = intercept
        self.intercept_strength = intercept_strength
        self.standardize = standardize
        self.class_weight = class_weight
        self.transfer_from = transfer_from
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs

    def _settings(self) -> Settings:
        strength = 1.0 if self.intercept_strength is None else self.intercept_strength
        settings = Settings(
            task_weight="size" if self.task_weight is None else self.task_weight,
            intercept=intercept_modes(self.intercept, type(self).__name__)[0],
            intercept_strength=strength,
            standardize=self.standardize,
            class_weight=self.class_weight,
            source=source_of(self.transfer_from, type(self).__name__),
        )
        settings.check(type(self).__name__)
        return settings

    def _outcomes(self, data: TaskData) -> Outcomes:
        return classification(data, self.loss, type(self).__name__)

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        outcomes, problem, solution, _, _ = fit_by_criterion(self, data)
        self._keep(data, outcomes, problem, solution)

    def criteria_frame(self) -> pd.DataFrame:
        """Return the candidates as a table.

        Returns
        -------
        pandas.DataFrame
            Columns penalty, alpha, task_weight, intercept, intercept_strength, then df,
            log_likelihood and every criterion; coefficients (other
            than zero).
        """
        check_is_fitted(self)
        return criteria_table(self)

    def predict_proba(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return class probabilities; see :meth:`MultiTaskClassifier.predict_proba`."""
        return probabilities(self._linear_model(), self._read(X, task))

    def decision_function(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return linear predictors; see :meth:`MultiTaskClassifier.decision_function`."""
        return decisions(self._linear_model(), self._read(X, task))

    def __sklearn_tags__(self) -> Tags:
        """Say that this is a classifier."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags(multi_class=True, multi_label=False)
        return tags
