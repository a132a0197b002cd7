"""Whether tasks are related, from their data, from a model, or from the training of a network."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._checks import sentence
from polytask._estimator import Outcomes
from polytask._estimator.data_checks import data_warnings
from polytask._estimator.groupings import shares_of_groupings
from polytask._estimator.problem import read_outcomes
from polytask._estimator.training import (
    Collected,
    encode_training,
    refuse_beside_statistics,
    refused_statistics,
    training_data,
)
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.messages import LazyMessage
from polytask.task_relations.map import (
    Map,
    features_of,
    map_of,
    mapped_places,
    pairs_of,
    similarities_of,
)
from polytask.task_relations.records import (
    CHOICES,
    LEVEL,
    UNKNOWN,
    FeatureEffect,
    RelatednessSummary,
    Shares,
)
from polytask.task_relations.result import Relatedness
from polytask.task_relations.slopes import TaskSlopes, slopes_of
from polytask.task_relations.statistics import (
    Estimates,
    correlations,
    estimates_of,
    in_common,
    shared_of,
    sign_flip_test,
)

Array = NDArray[np.float64]

# Standard errors from which a variance of effects counts as told by the data, and the share of
# a task's effects that its rows tell from which it is named in a pair.
_CLEAR, _TOLD = 2.0, 0.5


@dataclass(frozen=True, eq=False)
class TestedTasks:
    """The tasks as coefficients, and what test and moments say. Shapes: informative (T,)."""

    slopes: TaskSlopes
    informative: NDArray[np.bool_]
    p_value: float
    parts: dict[str, float]
    shares: Shares
    effective_tasks: float


def judged(
    data: TaskData,
    outcomes: Outcomes,
    n_flips: int,
    seed: int,
    counts: NDArray[np.intp] | None = None,
) -> TestedTasks:
    """Test and measure the relatedness of tasks; `counts` rows of each were collected."""
    encoded, _ = encode_training(data)
    names = encoded.feature_names or tuple(f"x{j}" for j in range(encoded.n_features))
    every = slopes_of(encoded, outcomes.y, names, seed, counts)
    informative = every.informative
    slopes = every.of(informative)
    if len(slopes.tasks) < 2:
        return TestedTasks(slopes, informative, float("nan"), {}, UNKNOWN, float("nan"))
    p_value, parts = sign_flip_test(slopes, n_flips, seed + 1)
    shares = shared_of(slopes, seed + 2, common_units=data.form is not Form.TARGETS)
    return TestedTasks(slopes, informative, p_value, parts, *shares)


def binary_at_most(outcomes: Outcomes) -> bool:
    """Say whether no task has more than two classes."""
    return all(classes is None or len(classes) <= 2 for classes in outcomes.classes)


def summary_of_data(data: TaskData, outcomes: Outcomes, seed: int) -> RelatednessSummary | None:
    """Return what a comparison says of the relatedness of its tasks.

    Parameters
    ----------
    data : TaskData
        The rows.
    outcomes : Outcomes
        Which tasks have classes.
    seed : int
        For the signs of the test.
    """
    if not binary_at_most(outcomes):
        return None
    found = judged(data, outcomes, CHOICES, seed)
    if np.isnan(found.p_value):
        return None
    return RelatednessSummary(
        len(found.slopes.tasks), found.p_value, found.shares, found.effective_tasks
    )


def told_by_rows(found: TestedTasks) -> NDArray[np.bool_]:
    """Say of which tasks the rows tell more than half of the effects, not chance. Shapes: (T,)."""
    slopes = found.slopes
    told = np.zeros(len(found.informative), dtype=bool)
    if not len(slopes.tasks):
        return told
    size = (slopes.axes * np.matmul(slopes.spread, slopes.axes)).sum(axis=1)
    known = (size * estimates_of(slopes).kept).sum(axis=1)
    told[found.informative] = known > _TOLD * size.sum(axis=1)
    return told


def map_of_data(found: TestedTasks, told: NDArray[np.bool_]) -> Map:
    """Order the informative tasks by the correlations of their predictions."""
    places = np.flatnonzero(found.informative)
    slopes = found.slopes
    if not len(places):
        return map_of(np.zeros((0, 0)), places, grouped=False)
    shown = mapped_places(slopes.rows)
    B = in_common(slopes, estimates_of(slopes).along)[shown]
    clear = bool(found.p_value <= LEVEL and found.shares.clustered >= LEVEL)
    # Groups of tasks that are mostly noise would be groups of noise.
    clear = clear and float(told[places[shown]].mean()) > _TOLD
    return map_of(correlations(B @ slopes.spread @ B.T), places[shown], grouped=clear)


def features_of_data(found: TestedTasks) -> tuple[FeatureEffect, ...]:
    """Describe what the features do, on features of equal spread and targets of spread 1."""
    slopes = found.slopes
    if len(slopes.tasks) < 2:
        return ()
    estimates = estimates_of(slopes)
    B = in_common(slopes, estimates.along)
    W = B if slopes.loading is None else B @ slopes.loading.T
    noise, one, two = _noise_and_left(slopes, estimates)
    squares, known = W**2 - noise, one.sum(axis=0)
    total = np.divide(squares.sum(axis=0), known, out=np.zeros_like(known), where=known > 0)
    # The error by noise alone: effects that differ between tasks are no reason to leave one out.
    error = np.sqrt((2 * noise**2 + 4 * noise * np.maximum(total, 0.0) * one).sum(axis=0))
    # Of a feature that hardly varies within tasks the data do not tell the effects.
    told = (total * known > _CLEAR * error) & (two > 0)
    pairs = W.sum(axis=0) ** 2 - (W**2).sum(axis=0)
    common = np.divide(pairs, two, out=np.zeros_like(known), where=told)
    mean = np.sign(W.mean(axis=0)) * np.sqrt(np.maximum(common, 0.0))
    return features_of(slopes.features, mean, common, np.where(told, total, 0.0))


def _noise_and_left(slopes: TaskSlopes, estimates: Estimates) -> tuple[Array, Array, Array]:
    """Return the noise of effects, and what shrinkage leaves of their squares and products."""
    # Shapes: result (T, d), (T, d) and, summed over pairs of tasks, (d,). A feature that is
    # constant in most tasks is shrunk to zero there, which is no difference between tasks.
    loading = np.eye(slopes.axes.shape[1]) if slopes.loading is None else slopes.loading
    noise, squares = np.empty((2, len(slopes.axes), len(loading)))
    whole = np.zeros_like(loading)
    for t, axes in enumerate(slopes.axes):
        turned = loading @ axes
        left = (turned * estimates.kept[t]) @ axes.T
        noise[t], squares[t] = turned**2 @ estimates.noise[t], (left**2).sum(axis=1)
        whole += left
    return noise, squares, (whole**2).sum(axis=1) - squares.sum(axis=0)


@dataclass(frozen=True, eq=False)
class TaskCoefficients:
    """The coefficients of a model, task by task. Shapes: rows (T,), W (T, c, d)."""

    tasks: tuple[Hashable, ...]
    rows: NDArray[np.intp]
    features: tuple[str, ...]
    W: Array
    units: str


def learned(model: Any) -> TaskCoefficients:  # noqa: ANN401 - any estimator
    """Read the coefficients of a fitted model."""
    check_is_fitted(model)
    if not hasattr(model, "coef_") or not hasattr(model, "columns_"):
        raise IncompatibleError(
            LazyMessage("related.refusal.no_coefficients", {"kind": type(model).__name__})
        )
    coef = np.asarray(model.coef_, dtype=float)
    scale = getattr(model, "feature_scale_", None)
    units = "given" if scale is None else "standardised"
    coef = coef if scale is None else coef * np.asarray(scale, dtype=float)
    tasks = tuple(np.asarray(model.tasks_).tolist())
    W = _by_class(coef, model.columns_, tasks)
    names = tuple(str(name) for name in model.coef_feature_names_)
    return TaskCoefficients(tasks, _rows_of(model, tasks), names, W, units)


def _by_class(coef: Array, columns: Any, tasks: tuple[Hashable, ...]) -> Array:  # noqa: ANN401
    """Put columns of the same class side by side; 0 for a class that a task lacks."""
    place = {task: t for t, task in enumerate(tasks)}
    several = len(columns) > len(tasks)
    classes: dict[Hashable, int] = {}
    for _, label in columns:
        classes.setdefault(label if several else None, len(classes))
    W = np.zeros((len(tasks), len(classes), coef.shape[1]))
    for row, (task, label) in zip(coef, columns, strict=True):
        W[place[task], classes[label if several else None]] = row
    return W


def map_of_model(found: TaskCoefficients) -> Map:
    """Order the tasks with coefficients by the correlations of these."""
    flat = found.W.reshape(len(found.tasks), -1)
    places = np.flatnonzero((flat != 0).any(axis=1))
    places = places[mapped_places(found.rows[places])]
    return map_of(correlations(flat[places] @ flat[places].T), places, grouped=True)


def shares_of_model(found: TaskCoefficients, chart: Map) -> tuple[Shares, float]:
    """Split the squared coefficients, and count effective tasks."""
    flat, groups = found.W.reshape(len(found.tasks), -1)[chart.order], chart.labels
    n = len(flat)
    total = float((flat**2).sum())
    if n < 2 or total <= 0.0:
        return UNKNOWN, float("nan")
    mean = flat.mean(axis=0)
    common = n * float(mean @ mean) / total
    clustered = 0.0
    if groups is not None:
        parts = [flat[groups == g] for g in range(int(groups.max()) + 1)]
        clustered = sum(len(p) * float(((p.mean(axis=0) - mean) ** 2).sum()) for p in parts)
        clustered /= total
    shares = Shares(common, clustered, max(1.0 - common - clustered, 0.0))
    return shares, _effective(flat, common)


def _effective(flat: Array, common: float) -> float:
    n = len(flat)
    chance = 1.0 / max(int((flat != 0).any(axis=0).sum()), 1)
    squares = correlations(flat @ flat.T) ** 2
    alike = (float(squares.sum()) - n) / (n * (n - 1))
    beyond = (alike - chance) / (1.0 - chance) if chance < 1.0 else 0.0
    return n / (1.0 + (n - 1) * float(np.clip(max(beyond, common), 0.0, 1.0)))


def features_of_model(model: Any, found: TaskCoefficients) -> tuple[FeatureEffect, ...]:  # noqa: ANN401
    """Describe what the features do, by the learned prior where the model has one."""
    prior = getattr(model, "prior_", None)
    if isinstance(prior, dict):
        prior = next(iter(prior.values()))  # that of the tasks, of several groupings
    # With several classes there is a prior of each.
    single = not isinstance(prior, list | tuple)
    if prior is not None and single and len(prior.mean) == len(found.features) + 1:
        mean = np.asarray(prior.mean, dtype=float)
        varies = np.zeros_like(mean)
        varies[np.asarray(prior.varying)] = np.diag(np.asarray(prior.covariance))
        return features_of(found.features, mean[1:], mean[1:] ** 2, mean[1:] ** 2 + varies[1:])
    n = len(found.tasks)
    if n < 2:
        return ()
    squares = (found.W**2).sum(axis=0)
    common = (found.W.sum(axis=0) ** 2 - squares) / (n * (n - 1))
    mean = found.W.mean(axis=0)
    shown = mean[0] if len(mean) == 1 else np.sqrt((mean**2).sum(axis=0))
    return features_of(found.features, shown, common.sum(axis=0), squares.sum(axis=0) / n)


class Recorded(Protocol):
    """A measure of pairs of tasks."""

    measure: str
    tasks: tuple[Hashable, ...]

    @property
    def similarity(self) -> Array:
        """How alike two tasks are, -1 to 1, (n_tasks, n_tasks)."""
        ...

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which tasks it knows, (n_tasks,)."""
        ...


def recorded(model: Any) -> Recorded | None:  # noqa: ANN401 - any estimator
    """Return the first that a network recorded of pairs of tasks, None of any other model."""
    history = getattr(model, "history_", None)
    if history is None or not hasattr(history, "relations"):
        return None
    if not history.relations:
        raise IncompatibleError(
            LazyMessage("related.refusal.no_record", {"kind": type(model).__name__})
        )
    first: Recorded = history.relations[0]
    return first


def _rows_of(model: Any, tasks: tuple[Hashable, ...]) -> NDArray[np.intp]:  # noqa: ANN401
    """Return the rows of each task in training, 0 where the model does not say."""
    card = getattr(model, "data_card_", None)
    known = {} if card is None else dict(zip(card.tasks, card.rows_per_task, strict=True))
    return np.array([known.get(task, 0) for task in tasks], dtype=np.intp)


OWNER = "relatedness"


def relatedness(
    data_or_model: Any,  # noqa: ANN401 - as in fit, or an estimator
    y: Any = None,  # noqa: ANN401
    *,
    task: Any = None,  # noqa: ANN401
    sample_weight: Any = None,  # noqa: ANN401
    task_column: str | int | None = None,
    loss: Any = "auto",  # noqa: ANN401
    n_permutations: int = CHOICES,
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
    data_or_model : array, sparse matrix or table of shape (n, d), TaskData, mapping, \
            TaskStatistics or model
        The features; in the separate form ``{task: (X_t, y_t)}`` with ``y=None``. Or, and nothing
        else beside it, :class:`polytask.statistics.TaskStatistics`, a fitted model with ``coef_``
        per task, or a network fitted with ``record=``.
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
        If the model has no coefficients per task, a network recorded nothing, or `loss` is not
        the squared one although there are statistics in place of rows.
    ParameterError
        If a choice does not exist.

    Warns
    -----
    DataWarning
        Of what misleads, as :func:`polytask.compare` does, and of copies of the target, which are
        no reason to refuse here.

    Notes
    -----
    Of more than 100 features the leading 100 principal axes are used (fewer of more than 2,000
    tasks). Shares are moments of products of two tasks, in which noise has mean zero, and what
    shrinkage takes away is put back; "clustered" counts clear groups only (silhouette above
    .25), beyond what groups by chance explain. Groups are suggested where the test finds the
    tasks related, the share is .05 or more, and the rows of most tasks tell more than half of
    the variance of their effects from noise.

    Of statistics the noise of a task is taken to have one variance, because its shape is told by
    the residuals of single rows alone; everything else is as on the rows.

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
    if hasattr(data_or_model, "predict") and hasattr(data_or_model, "get_params"):
        given = {"y": y, "task": task, "sample_weight": sample_weight, "task_column": task_column}
        for name, value in given.items():
            if value is not None:
                raise DataError(
                    sentence(
                        name,
                        OWNER,
                        LazyMessage("allowed.none_beside_model"),
                        LazyMessage("got.a_value"),
                    )
                )
        network = recorded(data_or_model)
        if network is not None:
            return _of_training(data_or_model, network, int(random_state))
        return _of_model(data_or_model, int(random_state))
    counts = None
    if isinstance(data_or_model, Collected):
        if data_or_model.in_parts:
            raise refused_statistics(OWNER)
        if loss not in ("auto", "squared"):
            allowed = LazyMessage("allowed.squared_of_statistics")
            raise IncompatibleError(sentence("loss", OWNER, allowed, repr(loss)))
        loss = "squared"
        refuse_beside_statistics(OWNER, y, task, sample_weight, task_column)
        data = data_or_model.to_task_data()
        counts = np.asarray(data_or_model.rows_per_task, dtype=np.intp)
    else:
        data = training_data(data_or_model, y, task, sample_weight, task_column, OWNER)
    _, outcomes, _ = read_outcomes(data, loss, OWNER)
    if not binary_at_most(outcomes):
        raise DataError(LazyMessage("related.refusal.classes", {"owner": OWNER}))
    for doubt in data_warnings(data, OWNER, allow_leak=True) if counts is None else ():
        warnings.warn(DataWarning(doubt), stacklevel=2)
    found = judged(data, outcomes, int(n_permutations), int(random_state), counts)
    told = told_by_rows(found)
    chart = map_of_data(found, told)
    rows = data.task_rows() if counts is None else counts
    mapped = _mapped(data.tasks, rows, chart, int(random_state), told)
    return replace(
        mapped,
        source="data",
        n_informative=len(found.slopes.tasks),
        n_features=len(found.slopes.features),
        p_value=found.p_value,
        p_values=found.parts,
        n_permutations=int(n_permutations),
        shares=found.shares,
        effective_tasks=found.effective_tasks,
        level_share=found.slopes.level_share,
        features=features_of_data(found),
    )


def _mapped(
    tasks: tuple[Hashable, ...],
    rows: NDArray[np.intp],
    chart: Map,
    seed: int,
    told: NDArray[np.bool_] | None = None,
) -> Relatedness:
    """Return the tasks on their map; what else is known of them is to be filled in."""
    most, least = pairs_of(tasks, chart, told)
    return Relatedness(
        source="",
        n_informative=0,
        n_features=0,
        units="standardised",
        tasks=similarities_of(tasks, rows, chart),
        order=tuple(chart.order.tolist()),
        similarity=tuple(map(tuple, chart.similarity.tolist())),
        tree=chart.tree,
        most_alike=most,
        least_alike=least,
        seed=seed,
    )


def _of_model(model: Any, seed: int) -> Relatedness:  # noqa: ANN401 - any estimator
    found = learned(model)
    chart = map_of_model(found)
    shares, effective = shares_of_model(found, chart)
    return replace(
        _mapped(found.tasks, found.rows, chart, seed),
        source="model",
        n_informative=int((found.W != 0).any(axis=(1, 2)).sum()),
        n_features=len(found.features),
        units=found.units,
        shares=shares,
        effective_tasks=effective,
        features=features_of_model(model, found),
        groupings={str(name): share for name, share in shares_of_groupings(model).items()},
    )


def _of_training(model: Any, found: Recorded, seed: int) -> Relatedness:  # noqa: ANN401
    rows = _rows_of(model, found.tasks)
    # The tasks that were seen, by how alike they were.
    places = np.flatnonzero(found.seen)
    places = places[mapped_places(rows[places])]
    chart = map_of(found.similarity[np.ix_(places, places)], places, grouped=True)
    return replace(
        _mapped(found.tasks, rows, chart, seed),
        source=found.measure,
        n_informative=int(np.count_nonzero(found.seen)),
        n_features=len(model.coef_feature_names_),
        units="given",
    )


def _check(n_permutations: object, random_state: object) -> None:
    for name, value, least in (
        ("n_permutations", n_permutations, 1),
        ("random_state", random_state, 0),
    ):
        number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not number or int(value) < least:  # type: ignore[call-overload]
            allowed = LazyMessage("allowed.from", {"least": least})
            raise ParameterError(sentence(name, OWNER, allowed, repr(value)))
