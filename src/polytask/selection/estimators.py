"""Linear estimators that choose penalty and strength: numbers, classes, and a loss per task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from polytask._registry import saveable
from polytask.linear.base import LinearClasses, LinearMixed, LinearNumbers
from polytask.selection.base import SearchEstimator
from polytask.solvers import Solver


@saveable("selection.regressor")
class MultiTaskRegressorCV(SearchEstimator, LinearNumbers):
    """Linear regression of many tasks, penalty and strength chosen by folds or a criterion.

    Everything is tuned inside the training part of each fold: encoding, scaling, penalty,
    strength, task weights and the strength of pulled intercepts.

    Parameters
    ----------
    penalty : Penalty, list of Penalty or None, default=None
        What the tasks may share; each penalty is tried on its own grid of strengths and its
        own strength does not matter. None: near the tasks' mean (``toward_mean + L2``), the
        same features (``L21``), a common subspace (``TraceNorm``).
    criterion : {None, "aic", "aicc", "bic", "ebic", "gcv", "evidence"}, default=None
        None: cross-validation. Else no row is held out: every strength is fitted to all rows
        once, and what is chosen has the smallest criterion. "aic" and "gcv" predict well, "bic"
        and more so "ebic" find which features matter where a few do; "aicc" is "aic" for few
        rows. "evidence" is -2 log of the marginal likelihood of the normal prior that a
        quadratic penalty is, for the squared loss; None as the penalty is then
        ``toward_mean + L2`` and ``L2``. `cv`, `rule` and `scoring` are not used with a
        criterion, and penalties are convex, with one prox if not smooth.
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
    loss : {"squared", "huber", "poisson", "gamma", "quantile", "square_root"} or Loss, \
            default="squared"
        The loss of every row, as in :class:`MultiTaskRegressor`.
    solver : "auto" or Solver, default="auto"
        "auto" chooses by loss and penalty.
    task_weight : {"size", "equal"}, mapping, array or None, default=None
        Weights of the tasks; None searches "size" and "equal".
    intercept : {"auto", "task", "toward_mean", "shared", None} or list, default="auto"
        As in :class:`MultiTaskRegressor`; of a list, such as ``["task", "shared"]``, all are
        tried.
    intercept_strength : float or None, default=None
        Strength of "toward_mean"; None searches .1, 1, 10 and 100,
        then between.
    standardize : bool, default=True
        As in :class:`MultiTaskRegressor`, learned inside the training part of every fold.
    scale_targets : {"task", "common", "auto", None}, default="auto"
        As in :class:`MultiTaskRegressor`.
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
        Folds fitted side by side: in threads where their moments are all that is needed, as
        for the squared loss with many rows, else in processes.
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
    held_out_score_, held_out_error_ : float
        What :meth:`score` is, of the held-out rows of all folds predicted by the chosen
        candidate, each fold against its own training mean; and its standard error over the
        folds, NaN with one. The best of many candidates looks better than it is.
    sizes_ : ndarray of shape (n_candidates,)
        Coefficients other than zero, the mean over the folds.
    criterion_, criteria_, alpha_criteria_ : ndarray, dict of str to ndarray
        With a criterion: its value for every candidate, smaller is better; degrees of freedom
        ("df"), log-likelihood and every criterion, as :meth:`criteria_frame`; and these of the
        strengths in ``alphas_``. There are no ``scores_``, ``alpha_scores_``, ``best_score_``
        and ``held_out_score_`` then.
    best_criterion_ : float
        That of the chosen one.
    noise_variance_ : ndarray of shape (n_tasks,)
        With a criterion: the variance (dispersion) of the noise of each task, in the units of
        its target squared; 1 where the loss has no free one.
    task_weight_, intercept_mode_, intercept_strength_
        The chosen ones.
    coef_, intercept_, tasks_, columns_, solution_
        As in :class:`MultiTaskRegressor`.

    Raises
    ------
    IncompatibleError
        With a criterion, if the loss is no likelihood (it is for squared, logistic, multinomial,
        Poisson and gamma), or the degrees of freedom of a penalty are not known.

    Notes
    -----
    Task weights, kinds of intercepts and their strengths are searched in turn with the
    penalties: all penalties on their whole grids under the first setting; the best penalty
    under all settings, and the other penalties under the best setting, with the strengths
    around the best of each; at last the whole grid of the winner.
    :func:`polytask.selection.variants` makes penalties of several proportions to try.

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
    >>> model = MultiTaskRegressorCV(alphas=10).fit(patients.X, patients.y, task=patients.task)
    >>> model.solution_.status.name
    'CONVERGED'
    """

    def __init__(
        self,
        penalty: Any = None,  # noqa: ANN401 - penalty, list or None
        *,
        criterion: str | None = None,
        alphas: Any = 50,  # noqa: ANN401 - number or strengths
        cv: Any = 5,  # noqa: ANN401 - number, splitter or pairs
        rule: str = "min",
        scoring: Any = None,  # noqa: ANN401 - name or callable
        loss: Any = "squared",  # noqa: ANN401 - name, loss or mapping
        solver: str | Solver = "auto",
        task_weight: Any = None,  # noqa: ANN401
        intercept: Any = "auto",  # noqa: ANN401 - a kind, or a list of kinds
        intercept_strength: float | None = None,
        standardize: bool = True,
        scale_targets: str | None = "auto",
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
        self.criterion = criterion
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
        self.scale_targets = scale_targets
        self.transfer_from = transfer_from
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state


@saveable("selection.classifier")
class MultiTaskClassifierCV(SearchEstimator, LinearClasses):
    """Linear classification of many tasks, penalty and strength chosen by folds or a criterion.

    Everything is tuned inside the training part of each fold: encoding, scaling, penalty,
    strength, task weights and the strength of pulled intercepts.

    Parameters
    ----------
    penalty : Penalty, list of Penalty or None, default=None
        What the tasks may share; each penalty is tried on its own grid of strengths and its
        own strength does not matter. None: near the tasks' mean (``toward_mean + L2``), the
        same features (``L21``), a common subspace (``TraceNorm``).
    criterion : {None, "aic", "aicc", "bic", "ebic", "gcv"}, default=None
        None: cross-validation. Else no row is held out: every strength is fitted to all rows
        once, and what is chosen has the smallest criterion. "aic" and "gcv" predict well, "bic"
        and more so "ebic" find which features matter where a few do; "aicc" is "aic" for few
        rows. `cv`, `rule` and `scoring` are not used then, and penalties are convex, with one
        prox if not smooth.
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
    criterion_, criteria_, alpha_criteria_ : ndarray, dict of str to ndarray
        With a criterion: its value for every candidate, smaller is better; degrees of freedom
        ("df"), log-likelihood and every criterion, as :meth:`criteria_frame`; and these of the
        strengths in ``alphas_``. There are no ``scores_``, ``alpha_scores_``, ``best_score_``
        and ``held_out_score_`` then.
    best_criterion_ : float
        That of the chosen one.
    noise_variance_ : ndarray of shape (n_tasks,)
        With a criterion: the variance (dispersion) of the noise of each task, in the units of
        its target squared; 1 where the loss has no free one.
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

    The criteria are those of :class:`MultiTaskRegressorCV`; losses of classes and counts have a
    noise of variance 1.

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
        criterion: str | None = None,
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
        self.criterion = criterion
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


@saveable("selection.model")
class MultiTaskModelCV(SearchEstimator, LinearMixed):
    """Linear models of tasks with a loss each, strengths chosen by folds or a criterion.

    Everything is tuned inside the training part of each fold: encoding, scaling, penalty,
    strength, task weights and the strength of pulled intercepts.

    Parameters
    ----------
    penalty : Penalty, list of Penalty or None, default=None
        What the tasks may share; each penalty is tried on its own grid of strengths and its
        own strength does not matter. None: near the tasks' mean (``toward_mean + L2``), the
        same features (``L21``), a common subspace (``TraceNorm``).
    criterion : {None, "aic", "aicc", "bic", "ebic", "gcv"}, default=None
        None: cross-validation. Else no row is held out: every strength is fitted to all rows
        once, and what is chosen has the smallest criterion. "aic" and "gcv" predict well, "bic"
        and more so "ebic" find which features matter where a few do; "aicc" is "aic" for few
        rows. `cv`, `rule` and `scoring` are not used then, and penalties are convex, with one
        prox if not smooth.
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
    loss : "auto", str, Loss, or mapping of task to these, default="auto"
        As in :class:`MultiTaskModel`.
    solver : "auto" or Solver, default="auto"
        "auto" chooses by loss and penalty.
    task_weight : {"size", "equal"}, mapping, array or None, default=None
        Weights of the tasks; None searches "size" and "equal".
    intercept : {"auto", "task", "toward_mean", "shared", None} or list, default="auto"
        As in :class:`MultiTaskModel`; of a list, such as ``["task", "shared"]``, all are
        tried.
    intercept_strength : float or None, default=None
        Strength of "toward_mean"; None searches .1, 1, 10 and 100,
        then between.
    standardize : bool, default=True
        As in :class:`MultiTaskRegressor`, learned inside the training part of every fold.
    scale_targets : {"task", "common", "auto", None}, default="auto"
        As in :class:`MultiTaskRegressor`.
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
        Folds fitted side by side: in threads where their moments are all that is needed, as
        for the squared loss with many rows, else in processes.
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
    held_out_score_, held_out_error_ : float
        What :meth:`score` is, of the held-out rows of all folds predicted by the chosen
        candidate, each fold against its own training mean; and its standard error over the
        folds, NaN with one. The best of many candidates looks better than it is.
    sizes_ : ndarray of shape (n_candidates,)
        Coefficients other than zero, the mean over the folds.
    criterion_, criteria_, alpha_criteria_ : ndarray, dict of str to ndarray
        With a criterion: its value for every candidate, smaller is better; degrees of freedom
        ("df"), log-likelihood and every criterion, as :meth:`criteria_frame`; and these of the
        strengths in ``alphas_``. There are no ``scores_``, ``alpha_scores_``, ``best_score_``
        and ``held_out_score_`` then.
    best_criterion_ : float
        That of the chosen one.
    noise_variance_ : ndarray of shape (n_tasks,)
        With a criterion: the variance (dispersion) of the noise of each task, in the units of
        its target squared; 1 where the loss has no free one.
    task_weight_, intercept_mode_, intercept_strength_
        The chosen ones.
    coef_, intercept_, tasks_, columns_, classes_, task_classes_, solution_
        As in :class:`MultiTaskModel`.

    Notes
    -----
    Task weights, kinds of intercepts and their strengths are searched in turn with the
    penalties: all penalties on their whole grids under the first setting; the best penalty
    under all settings, and the other penalties under the best setting, with the strengths
    around the best of each; at last the whole grid of the winner.
    :func:`polytask.selection.variants` makes penalties of several proportions to try.

    The criteria are those of :class:`MultiTaskRegressorCV`; losses of classes and counts have a
    noise of variance 1.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskModelCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((80, 3))
    >>> Y = np.column_stack([X[:, 0] > 0, X[:, 0] + X[:, 1]])
    >>> MultiTaskModelCV(alphas=5, cv=3).fit(X, Y).predict(X).shape
    (80, 2)
    """

    def __init__(
        self,
        penalty: Any = None,  # noqa: ANN401 - penalty, list or None
        *,
        criterion: str | None = None,
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
        scale_targets: str | None = "auto",
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
        self.criterion = criterion
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
        self.scale_targets = scale_targets
        self.class_weight = class_weight
        self.transfer_from = transfer_from
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state


def _choosing_by(init: Callable[..., None], criterion: str) -> Callable[..., None]:
    """Return a constructor that differs in the default of `criterion` alone."""
    signature = inspect.signature(init)
    parameters = signature.parameters
    known = {**parameters, "criterion": parameters["criterion"].replace(default=criterion)}

    @wraps(init)
    def constructor(self: Any, *args: Any, **settings: Any) -> None:  # noqa: ANN401
        init(self, *args, **{"criterion": criterion} | settings)

    constructor.__signature__ = signature.replace(parameters=list(known.values()))  # type: ignore[attr-defined]
    return constructor


@saveable("selection.regressor_ic")
class MultiTaskRegressorIC(MultiTaskRegressorCV):
    """Another name of :class:`MultiTaskRegressorCV`, with ``criterion="aic"`` as the default."""

    __init__ = _choosing_by(MultiTaskRegressorCV.__init__, "aic")


@saveable("selection.classifier_ic")
class MultiTaskClassifierIC(MultiTaskClassifierCV):
    """Another name of :class:`MultiTaskClassifierCV`, with ``criterion="aic"`` as the default."""

    __init__ = _choosing_by(MultiTaskClassifierCV.__init__, "aic")


@saveable("selection.model_ic")
class MultiTaskModelIC(MultiTaskModelCV):
    """Another name of :class:`MultiTaskModelCV`, with ``criterion="aic"`` as the default."""

    __init__ = _choosing_by(MultiTaskModelCV.__init__, "aic")
