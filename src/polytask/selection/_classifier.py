"""Linear classification with a cross-validated choice of penalty and strength."""

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
from polytask.selection._fit import fit_searched, intercept_modes, keep_search, scores_table
from polytask.solvers import Solver

if TYPE_CHECKING:
    import pandas as pd


@saveable("selection.classifier")
class MultiTaskClassifierCV(LinearEstimator):
    """Linear classification of many tasks, penalty and strength chosen by cross-validation.

    Everything is tuned inside the training part of each fold: encoding, scaling, penalty,
    strength, task weights and the strength of pulled intercepts.

    Parameters
    ----------
    penalty : Penalty, list of Penalty or None, default=None
        What the tasks may share; each penalty is tried on its own grid of strengths and its
        own strength does not matter. None: near the tasks' mean (``toward_mean + L2``), the
        same features (``L21``), a common subspace (``TraceNorm``).
    alphas : int or array, default=50
        Number of strengths per penalty, or the strengths. A number means a grid from the
        strength at which every coefficient vanishes down to a thousandth of it; for penalties
        without such a strength from 1e4 to 1e-4 times the mean curvature of the data.
    cv : int, splitter, or list of (train, test), default=5
        An integer splits the rows within every task, by class for classes.
    rule : {"min", "one_se", "pareto"}, default="min"
        The best mean score; the strongest of the same penalty within one standard error of it;
        or, over all penalties, the knee of the front between few coefficients and a good score:
        past it a coefficient buys less than the average one.
    scoring : {"r2", "accuracy"}, callable or None, default=None
        What is optimised. None: the held-out loss on scaled targets, every label counting the
        same. A name: the mean over tasks of that of each task alone, "r2" around the mean of
        its held-out rows. A callable takes (y, prediction) of one task, greater is better;
        tasks are averaged.
    loss : {"auto", "logistic", "multinomial", "squared_hinge"} or Loss, default="auto"
        As in :class:`MultiTaskClassifier`.
    solver : "auto" or Solver, default="auto"
        "auto" chooses by loss and penalty.
    task_weight : {"size", "equal"}, mapping, array or None, default=None
        Weights of the tasks; None searches "size" and "equal".
    intercept : {"auto", "task", "toward_mean", "shared", None} or list, default="auto"
        As in :class:`MultiTaskClassifier`; of a list, such as ``["task", "shared"]``, all are
        tried.
    intercept_strength : float or None, default=None
        Strength of "toward_mean"; None searches .1, 1, 10 and 100,
        then between.
    standardize : bool, default=True
        As in :class:`MultiTaskRegressor`, learned inside the training part of every fold.
    class_weight : "balanced", mapping of class to weight, or None, default=None
        Multiplies the sample weights of classes.
    transfer_from : estimator or None, default=None
        As in :class:`MultiTaskRegressor`.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``.
    tol : float, default=1e-6
        Tolerance of the final fit; the paths on the folds use a hundred times as much, and
        200 iterations per strength at most.
    max_iter : int, default=10000
        Iterations of the final fit.
    n_jobs : int or None, default=None
        Processes that fit folds side by side.
    random_state : int or None, default=0
        Seed of the splits of an integer `cv`.
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
    scores_ : ndarray of shape (n_candidates, n_folds)
        The score of every candidate; greater is better.
    alpha_scores_ : ndarray of shape (n_alphas, n_folds)
        Those of the strengths of ``alphas_``.
    candidates_ : tuple of (Penalty, task weight, intercept strength)
        What the rows of ``scores_`` are.
    best_score_ : float
        Mean over the folds of what is optimised, of the chosen candidate.
    sizes_ : ndarray of shape (n_candidates,)
        Coefficients other than zero, the mean over the folds.
    task_weight_, intercept_mode_, intercept_strength_
        The chosen ones.
    coef_, intercept_, tasks_, columns_, classes_, task_classes_, solution_
        As in :class:`MultiTaskClassifier`.

    Notes
    -----
    Task weights, kinds of intercepts and their strengths are searched in turn with the
    penalties: all penalties on their whole grids under the first setting; the best penalty
    under all settings, and the other penalties under the best setting, with the strengths
    around the best of each; at last the whole grid of the winner. A number of strengths of 20 or
    more is searched from coarse to fine: every fourth strength, down to where the scores of
    held-out rows fall, then those around the best one.
    :func:`polytask.selection.variants` makes penalties of several proportions to try.

    References
    ----------
    L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees"
    (1984), section 3.4.3 (one_se). I. Das, "On characterizing the knee of the Pareto curve
    based on normal-boundary intersection", Structural Optimization 18 (1999) (pareto).

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskClassifierCV
    >>> rng = np.random.default_rng(0)
    >>> X, ward = rng.standard_normal((90, 3)), np.repeat(["north", "south", "west"], 30)
    >>> y = X[:, 0] + 0.5 * rng.standard_normal(90) > 0
    >>> model = MultiTaskClassifierCV(alphas=5, cv=3).fit(X, y, task=ward)
    >>> model.score(X, y, task=ward) > 0.7
    True
    """

    def __init__(
        self,
        penalty: Any = None,  # noqa: ANN401 - penalty, list or None
        *,
        alphas: Any = 50,  # noqa: ANN401 - number or strengths
        cv: Any = 5,  # noqa: ANN401 - number, splitter or pairs
        rule: str = "min",
        scoring: Any = None,  # noqa: ANN401 - name or callable
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
        random_state: int | None = 0,
        date_features: bool = False,
    ) -> None:
        self.penalty = penalty
        self.alphas = alphas
        self.cv = cv
        self.rule = rule
        self.scoring = scoring
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
        self.random_state = random_state

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
        outcomes, problem, solution, found, best = fit_searched(self, data, raw)
        keep_search(self, found, best)
        self._keep(data, outcomes, problem, solution)

    def search_frame(self) -> pd.DataFrame:
        """Return the candidates as a table.

        Returns
        -------
        pandas.DataFrame
            Columns penalty, alpha, task_weight, intercept, intercept_strength, score (the mean
            over the folds), standard_error, coefficients (other than zero).
        """
        check_is_fitted(self)
        return scores_table(self)

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
