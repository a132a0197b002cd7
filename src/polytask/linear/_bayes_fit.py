"""Learn the prior of a regression problem, or take a given one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator import Outcomes
from polytask._estimator.scaling import (
    TARGET_SCALES,
    TargetScaling,
    feature_scaling,
    refuse_huge,
    unscaled_targets,
)
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import label_weights, sum_by_task
from polytask.bayes.blocks import Block, RowSpace
from polytask.bayes.choose import Candidate
from polytask.bayes.correlated import JointLearned, Search, Start, learn_correlated
from polytask.bayes.correlated_rows import JointRows
from polytask.bayes.normal import Learned, choose_normal, learn, pull_to_common
from polytask.bayes.posterior import JointTasks
from polytask.bayes.prior import Model, NoVariation, Prior
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, ParameterError
from polytask.linear._bayes_evidence import Densities, densities_of
from polytask.linear._bayes_rows import (
    PriorRows,
    ScaledRows,
    blocks_of,
    given_joint,
    joint_rows,
    refuse_large,
)
from polytask.linear.bayes_settings import (
    BayesSettings,
    Ended,
    is_wide,
    original_units,
    varying_columns,
)
from polytask.linear.bayes_tasks import BayesTasks
from polytask.linear.heavy_weights import refuse_heavy, weights_within_reach
from polytask.messages import LazyMessage

Array = NDArray[np.float64]


# With fewer rows than this for each feature the mean coefficients are shrunk.
_ROWS_PER_FEATURE = 30


@dataclass(frozen=True, eq=False)
class BayesFit:
    """What was learned."""

    tasks: BayesTasks
    learned: Learned | JointLearned | None
    densities: Densities | None
    candidates: tuple[Candidate, ...]
    ended: Ended


def fit_bayes(
    data: TaskData,
    outcomes: Outcomes,
    settings: BayesSettings,
    given: BayesTasks | Prior | None,
    owner: str,
) -> BayesFit:
    """Learn the prior and collect what the tasks' rows say."""
    refuse_huge(data, outcomes, owner)
    correlated = settings.noise == "correlated"
    weight = label_weights(data, outcomes, None, owner)
    refuse_heavy(weight, owner)
    if isinstance(given, BayesTasks):
        features, targets = given.features, given.targets
        # The covariance of the noise belongs to the same tasks, each with its own scaling; else
        # that of the model that the prior comes from is for all tasks alike.
        if not correlated or given.n_tasks != data.n_tasks:
            alike = [np.full(data.n_tasks, value) for value in given.units(-1)]
            targets = TargetScaling(*alike)
    else:
        features = feature_scaling(data, weight, settings.standardize, centre=True)
        targets = _target_scaling(data, outcomes, weight, settings.scale_targets)
    y = np.nan_to_num(targets.apply(outcomes.y, data))
    with weights_within_reach(weight, owner):
        joint = joint_rows(data, y, weight, features, owner) if correlated else None
        rows = ScaledRows(data.X, features, cell_mask(data))
        own = _columns(rows, data, weight, settings, given, owner)
        scaled = _Scaled(data, y, weight, own, blocks_of(data, y, weight, own), joint)
        if given is None:
            found = _learned(scaled, settings, owner)
        else:
            found = _given(scaled, given, owner)
    counts = sum_by_task(weight, data)
    ended, learned = Ended(float("nan")), found.learned
    if learned is not None:
        value = original_units(learned, features, targets, counts)
        how = (learned.residual, learned.converged, learned.n_iter, learned.seconds)
        ended = Ended(value, *how)
    tasks = BayesTasks(
        prior=found.prior,
        blocks=scaled.blocks if found.joint is None else (),
        mean=features.mean,
        scale=features.scale,
        target_mean=targets.mean,
        target_scale=targets.scale,
        counts=counts,
        present=data.present,
        precision="float32" if data.X.dtype == np.float32 else "float64",
        joint=found.joint,
    )
    return BayesFit(tasks, learned, found.densities, found.candidates, ended)


@dataclass(frozen=True, eq=False)
class _Scaled:
    """Rows and targets in the units in which the prior is learned."""

    data: TaskData
    y: Array
    weight: Array
    columns: PriorRows
    blocks: tuple[Block, ...]
    rows: JointRows | None  # if the noise is correlated


@dataclass(frozen=True, eq=False)
class _Found:
    prior: Prior
    joint: JointTasks | None
    learned: Learned | JointLearned | None = None
    candidates: tuple[Candidate, ...] = ()
    densities: Densities | None = None


def _columns(
    rows: ScaledRows,
    data: TaskData,
    weight: Array,
    settings: BayesSettings,
    given: BayesTasks | Prior | None,
    owner: str,
) -> PriorRows:
    """Return the rows in the columns of the prior: the features, or the space of the rows."""
    every = np.arange(data.n_rows)
    if given is not None:
        prior = _prior(given)
        _check_width(prior, data, owner)
        return PriorRows(rows, None if prior.space is None else prior.opened(rows(every)).space)
    n_labels = float(weight.sum())
    varying = varying_columns(settings.varying, data, owner)
    wide = is_wide(data.n_features, data.n_rows, n_labels, varying, settings.fixed_structure)
    shrunk = _shrinks_mean(settings, data.n_features, n_labels)
    if not (wide and shrunk) or settings.noise == "correlated":
        return PriorRows(rows, None)
    return PriorRows(rows, RowSpace.of(rows(every)[:, 1:]))


def _learned(scaled: _Scaled, settings: BayesSettings, owner: str) -> _Found:
    data, labels = scaled.data, (scaled.y, scaled.weight)
    space = scaled.columns.space
    model = _model(data, settings, float(scaled.weight.sum()), owner)
    if space is not None:
        model = replace(model, varying=tuple(range(space.width)))
    if scaled.rows is not None:
        refuse_large(scaled.rows, len(model.varying), owner)
    apart, candidates = _learn(scaled.blocks, model, data.n_tasks, settings)
    found = _Found(_prior_of(apart, space), None, apart, candidates)
    if scaled.rows is not None:
        found = _correlated(scaled.rows, apart, settings)
    densities = densities_of(
        data, labels, scaled.columns, scaled.blocks, (apart.model, found.prior), found.joint
    )
    return replace(found, densities=densities)


def _given(scaled: _Scaled, given: BayesTasks | Prior, owner: str) -> _Found:
    tasks = given if isinstance(given, BayesTasks) else None
    prior = _prior(given)
    if scaled.columns.space is not None:
        prior = prior.opened(scaled.columns.rows(np.arange(scaled.data.n_rows)))
    joint = None
    if scaled.rows is not None:
        known = None if tasks is None else tasks.joint
        joint = given_joint(scaled.rows, known, len(prior.varying), owner)
    return _Found(prior, joint)


def _prior(given: BayesTasks | Prior) -> Prior:
    return given if isinstance(given, Prior) else given.prior


def _model(data: TaskData, settings: BayesSettings, n_rows: float, owner: str) -> Model:
    if data.n_rows < 2:
        allowed, sample = LazyMessage("allowed.rows_for_noise"), LazyMessage("got.one_sample")
        raise DataError(sentence("X", owner, allowed, sample))
    if n_rows < 2:
        got = LazyMessage("got.sum_of", {"value": format(n_rows, ".3g")})
        raise DataError(sentence("sample_weight", owner, LazyMessage("allowed.weight_sum"), got))
    gaussian = _shrinks_mean(settings, data.n_features, n_rows)
    restricted = settings.method == "reml"
    if restricted and not gaussian and n_rows <= data.n_features + 1:
        fields = {"rows": f"{n_rows:g}", "features": str(data.n_features)}
        allowed = LazyMessage("allowed.mean_prior", fields)
        raise ParameterError(sentence("mean_prior", owner, allowed, repr(settings.mean_prior)))
    return Model(
        structure=settings.fixed_structure or NoVariation(),
        varying=varying_columns(settings.varying, data, owner),
        restricted=restricted,
        gaussian_mean=gaussian,
    )


def _learn(
    blocks: tuple[Block, ...], model: Model, n_tasks: int, settings: BayesSettings
) -> tuple[Learned, tuple[Candidate, ...]]:
    tol, max_iter = settings.limits
    candidates: tuple[Candidate, ...] = ()
    if settings.fixed_structure is None:
        learned, candidates = choose_normal(blocks, model, n_tasks, tol=tol, max_iter=max_iter)
    else:
        learned = learn(blocks, model, n_tasks, tol=tol, max_iter=max_iter)
    if settings.noise != "common" and n_tasks > 1:
        own = replace(learned.model, task_noise=pull_to_common(blocks, learned, n_tasks))
        learned = learn(blocks, own, n_tasks, tol=tol, max_iter=max_iter, start=learned)
    return learned, candidates


def _prior_of(learned: Learned, space: RowSpace | None) -> Prior:
    return Prior(
        mean=learned.mean,
        covariance=learned.covariance,
        varying=np.array(learned.model.varying, dtype=np.intp),
        noise=learned.noise if learned.task_noise is None else learned.task_noise,
        mean_covariance=learned.mean_covariance,
        space=space,
    )


def _target_scaling(
    data: TaskData, outcomes: Outcomes, weight: Array, choice: str | None
) -> TargetScaling:
    if choice == "auto":
        choice = "task" if data.form is Form.TARGETS else "common"
    if choice is None:
        return unscaled_targets(data.n_tasks)
    return TARGET_SCALES[choice](outcomes.y, weight, data, centre=True)


def _check_width(prior: Prior, data: TaskData, owner: str) -> None:
    """Refuse a prior of another number of features, or of classes."""
    if prior.noise is None:
        allowed = LazyMessage("allowed.prior_of_numbers")
        raise DataError(sentence("prior", owner, allowed, LazyMessage("got.prior_of_classes")))
    if prior.n_features != data.n_features:
        allowed = LazyMessage("allowed.features_as_x", {"n": data.n_features})
        got = LazyMessage("got.one_of", {"value": str(prior.n_features)})
        raise DataError(sentence("prior", owner, allowed, got))


def given_prior(prior: object, owner: str) -> BayesTasks | Prior | None:
    """Return the prior that the user gave."""
    if prior is None or isinstance(prior, Prior):
        return prior
    tasks = getattr(prior, "_tasks", None)
    if isinstance(tasks, BayesTasks):
        return tasks
    allowed = LazyMessage("allowed.prior", {"owner": owner})
    raise ParameterError(sentence("prior", owner, allowed, type(prior).__name__))


def _correlated(rows: JointRows, apart: Learned, settings: BayesSettings) -> _Found:
    """Learn prior and noise of rows of all tasks."""
    active, model = rows.active, apart.model
    own, structure = apart.task_noise, settings.fixed_structure
    variances = np.full(rows.n_tasks, apart.noise) if own is None else own
    start = Start(apart.covariance, np.diag(variances[active]))
    learned, candidates = learn_correlated(
        rows.of(active), model, start, Search(*settings.limits), structure is not None
    )
    noise = np.diag(np.full(rows.n_tasks, float(np.diagonal(learned.noise).mean())))
    noise[np.ix_(active, active)] = learned.noise
    prior = Prior(
        mean=learned.mean,
        covariance=learned.covariance,
        varying=np.array(model.varying, dtype=np.intp),
        noise=np.diagonal(noise).copy(),
        mean_covariance=learned.mean_covariance,
    )
    return _Found(prior, JointTasks(rows, noise), learned, candidates)


def _shrinks_mean(settings: BayesSettings, n_features: int, n_rows: float) -> bool:
    few = n_rows < _ROWS_PER_FEATURE * n_features
    return n_features > 0 and settings.gaussian_mean(few)
