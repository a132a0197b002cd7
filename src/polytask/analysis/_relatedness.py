"""The first question: whether tasks are related at all, and which of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask._checks import sentence
from polytask._estimator.training import training_data
from polytask.analysis import _related_model, _related_training
from polytask.analysis._problem import read_outcomes
from polytask.analysis._related_data import (
    binary_at_most,
    features_of_data,
    judged,
    map_of_data,
)
from polytask.analysis._related_map import kin_of, pairs_of
from polytask.analysis._related_parts import Shares
from polytask.analysis._related_result import Relatedness
from polytask.exceptions import DataError, ParameterError

OWNER = "relatedness"


def relatedness(
    data_or_model: Any,  # noqa: ANN401 - as in fit, or an estimator
    y: Any = None,  # noqa: ANN401
    *,
    task: Any = None,  # noqa: ANN401
    sample_weight: Any = None,  # noqa: ANN401
    task_column: str | int | None = None,
    loss: Any = "auto",  # noqa: ANN401
    n_permutations: int = 999,
    random_state: int = 0,
) -> Relatedness:
    """Say whether tasks are related, how much they share, and which of them are alike.

    Before learning, from data; or after learning, from the coefficients of a fitted model, or
    from what a network recorded of its tasks (``record=``).

    **The test.** Rows are centred within their task and every feature is divided by its spread
    within tasks; a task is then its coefficients, in whatever units the features came. The null
    hypothesis: each task draws its coefficients independently of the other tasks, and without
    a preference for a sign along any of the axes along which its least-squares coefficients are
    uncorrelated (such as: normal, of mean zero and the same variance on all features; the
    variance may differ between tasks). Under it, and with symmetric noise, every choice of signs
    of the estimates along these axes is as likely as the one seen, whatever the correlations of
    features, the numbers of rows and the sizes of the noise: the p-value is uniform, but for its
    steps and the estimated shape of noise that depends on the features. For classes it is so
    approximately. Three statistics are judged by the same random signs, and the smallest of
    their p-values by its own distribution: coefficients alike on average ("direction"), along
    the same directions with either sign, as in groups or a common subspace ("structure"), and
    large for the same features ("features"). Levels of tasks (intercepts) play no role.

    Tasks whose coefficients have mean zero but a common covariance are therefore *related*: a
    feature that matters in all tasks with any sign is something to learn from the others. So is
    a feature that matters more everywhere only because it varies more than the others count
    for: equal coefficients on features of unequal spread are unequal effects.

    Parameters
    ----------
    data_or_model : array, sparse matrix or table of shape (n, d), TaskData, mapping, or model
        The features; in the separate form ``{task: (X_t, y_t)}`` with ``y=None``. Or a fitted
        model with ``coef_`` per task, or a network fitted with ``record=``, and nothing else.
    y : array of shape (n,) or (n, T), or None
        The targets: numbers or at most two classes per task; NaN where a label of a target
        matrix is missing.
    task : array of shape (n,) or None
        The task of each row.
    sample_weight : array of shape (n,), mapping or None
        Row weights.
    task_column : str, int or None, default=None
        The column that holds the task labels, instead of `task`.
    loss : "auto", name, Loss or mapping, default="auto"
        As in :func:`polytask.compare`: what the targets are.
    n_permutations : int, default=999
        Random choices of signs. The p-value is a multiple of ``1 / (n_permutations + 1)``.
    random_state : int, default=0
        Seed; the same seed gives the same answer.

    Returns
    -------
    Relatedness

    Raises
    ------
    DataError
        If the data cannot be read, or a task has more than two classes.
    IncompatibleError
        If the model has no coefficients per task, or a network recorded nothing.
    ParameterError
        If a choice does not exist.

    Notes
    -----
    Of more than 100 features the leading 100 principal axes are used (fewer of more than 2,000
    tasks). Shares are moments of products of two tasks, in which noise has mean zero, and what
    shrinkage takes away is put back; "clustered" counts clear groups only (silhouette above
    .25), beyond what groups by chance explain. Groups are suggested where the test finds the
    tasks related and the share is .05 or more.

    Where one row has several targets, noise that these have in common looks like effects in
    common; with many rows per feature it is small.

    References
    ----------
    Fisher, "The Design of Experiments", 1935, section 21 (randomisation of signs).
    Westfall and Young, "Resampling-Based Multiple Testing", 1993, section 2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import relatedness
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.standard_normal((200, 5)), np.repeat(np.arange(10), 20)
    >>> coef = 1 + 0.1 * rng.standard_normal((10, 5))
    >>> y = (X * coef[school]).sum(axis=1) + rng.standard_normal(200)
    >>> result = relatedness(X, y, task=school)
    >>> result.p_value
    0.001
    >>> result.shares.common > 0.9
    True
    """
    _check(n_permutations, random_state)
    if _related_model.is_model(data_or_model):
        _refuse_data(y=y, task=task, sample_weight=sample_weight, task_column=task_column)
        network = _related_training.recorded(data_or_model)
        if network is not None:
            return _of_training(data_or_model, network, int(random_state))
        return _of_model(data_or_model, int(random_state))
    data = training_data(data_or_model, y, task, sample_weight, task_column, OWNER)
    _, outcomes, _ = read_outcomes(data, loss, OWNER)
    if not binary_at_most(outcomes):
        raise DataError(
            f"y of {OWNER} must be numbers, or two classes per task; got more classes. Give one "
            "target per class, or fit a classifier and give it to relatedness."
        )
    found = judged(data, outcomes, int(n_permutations), int(random_state))
    chart = map_of_data(found)
    most, least = pairs_of(data.tasks, chart)
    return Relatedness(
        source="data",
        n_telling=len(found.slopes.tasks),
        n_features=len(found.slopes.features),
        units="standardised",
        p_value=found.p_value,
        p_values=found.parts,
        n_permutations=int(n_permutations),
        shares=found.shares,
        effective_tasks=found.shared.effective,
        level_share=found.slopes.level_share,
        tasks=kin_of(data.tasks, data.task_rows(), chart),
        order=tuple(chart.order.tolist()),
        similarity=tuple(map(tuple, chart.similarity.tolist())),
        tree=chart.tree,
        most_alike=most,
        least_alike=least,
        features=features_of_data(found),
        seed=int(random_state),
    )


def _of_model(model: Any, seed: int) -> Relatedness:  # noqa: ANN401 - any estimator
    found = _related_model.learned(model)
    chart = _related_model.map_of_model(found)
    shares, effective = _related_model.shares_of_model(found, chart)
    most, least = pairs_of(found.tasks, chart)
    return Relatedness(
        source="model",
        n_telling=found.n_telling,
        n_features=len(found.features),
        units=found.units,
        p_value=float("nan"),
        p_values={},
        n_permutations=0,
        shares=shares,
        effective_tasks=effective,
        level_share=float("nan"),
        tasks=kin_of(found.tasks, found.rows, chart),
        order=tuple(chart.order.tolist()),
        similarity=tuple(map(tuple, chart.similarity.tolist())),
        tree=chart.tree,
        most_alike=most,
        least_alike=least,
        features=_related_model.features_of_model(model, found),
        seed=seed,
    )


def _of_training(model: Any, found: _related_training.Recorded, seed: int) -> Relatedness:  # noqa: ANN401
    rows = _related_training.rows_of(model, found.tasks)
    chart = _related_training.map_of_training(found, rows)
    most, least = pairs_of(found.tasks, chart)
    unknown = float("nan")
    return Relatedness(
        source=found.measure,
        n_telling=int(np.count_nonzero(found.seen)),
        n_features=len(model.coef_feature_names_),
        units="given",
        p_value=unknown,
        p_values={},
        n_permutations=0,
        shares=Shares(unknown, unknown, unknown),
        effective_tasks=unknown,
        level_share=unknown,
        tasks=kin_of(found.tasks, rows, chart),
        order=tuple(chart.order.tolist()),
        similarity=tuple(map(tuple, chart.similarity.tolist())),
        tree=chart.tree,
        most_alike=most,
        least_alike=least,
        features=(),
        seed=seed,
    )


def _check(n_permutations: object, random_state: object) -> None:
    for name, value, least in (
        ("n_permutations", n_permutations, 1),
        ("random_state", random_state, 0),
    ):
        number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not number or int(value) < least:  # type: ignore[call-overload]
            allowed = f"an integer >= {least}"
            raise ParameterError(sentence(name, OWNER, allowed, repr(value)))


def _refuse_data(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise DataError(sentence(name, OWNER, "None beside a fitted model", "a value"))
