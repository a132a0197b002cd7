"""Fit a network to the data of all tasks."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from polytask._checks import sentence
from polytask._estimator import Outcomes
from polytask._estimator.card import checksum
from polytask._estimator.outcomes import Layout, make_layout
from polytask._estimator.scaling import (
    FeatureScaling,
    TargetScaling,
    feature_scaling,
    refuse_huge,
    target_scaling,
)
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import label_weights, sum_by_task, task_scales
from polytask.data import Form, TableEncoder, TaskData
from polytask.data.splits import WithinTasks, as_splits
from polytask.deep.align import alignment_of
from polytask.deep.network import (
    PRECISIONS,
    Network,
    NetworkPlan,
    category_blocks,
    heads_of,
    measured,
    sharing_of,
    trunk_of,
)
from polytask.deep.prediction import DeepTasks
from polytask.deep.regularise import Penalties
from polytask.deep.regularise.matrices import INPUT, resolve
from polytask.deep.rows import (
    DeviceDtype,
    FixedBatches,
    RowBatch,
    TableBatches,
    TableRows,
    table_rows,
)
from polytask.deep.sampling import Proportional
from polytask.deep.trainable import LEVELS
from polytask.deep.training.checkpoint import read_checkpoint
from polytask.deep.training.engine import TrainingProcesses, engine_of
from polytask.deep.training.history import History, TrainingResult
from polytask.deep.training.loop import fit_network
from polytask.deep.training.settings import TrainingSettings, identity_of, settings_of
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.losses import Loss
from polytask.messages import LazyMessage
from polytask.metrics.scores import best_constant

Array = NDArray[np.float64]
# Of numpy's own range of seeds.
_SEEDS = 2**31 - 1
# Rows of a batch that is only looked at: without gradients a larger one costs less.
ROWS_AT_ONCE = 1024


class Loaders(NamedTuple):
    """The batches of a training, and what tells its rows from others."""

    batches: Iterable[RowBatch]
    held_out: Iterable[RowBatch] | None
    everything: Iterable[RowBatch]
    n_rows: int
    identity: Callable[[], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Learned:
    """What the rows tell before training. Shapes: counts, task_weights, levels (n_tasks,)."""

    # `data` are the rows, or some that have the same tasks and columns; `levels` is where the
    # columns of counts and amounts begin, NaN for those of others.

    data: TaskData
    outcomes: Outcomes
    layout: Layout
    counts: Array
    task_weights: Array
    features: FeatureScaling
    targets: TargetScaling
    levels: Array


@dataclass(frozen=True, eq=False)
class NetworkData:
    """Rows in memory as the network takes them. Shapes: weight (n_rows,), or (n_rows, n_tasks)."""

    learned: Learned
    weight: Array

    def rows(self, part: TaskData, at: NDArray[np.intp] | None, place: DeviceDtype) -> TableRows:
        """Return some rows as tensors; `at` are their numbers, None for all."""
        known = self.learned
        y = known.targets.apply(known.outcomes.y, known.data)
        weight = self.weight
        if at is not None:
            y, weight = y[at], weight[at]
        task = None if part.form is Form.TARGETS else part.row_tasks()
        scaled = known.features.features(part.X, cell_mask(part))
        return table_rows(scaled, y, weight, task, part.n_tasks, place)


def fit_tables(
    model: Any,  # noqa: ANN401 - a deep estimator
    data: TaskData,
    outcomes: Outcomes,
) -> tuple[DeepTasks, History, TrainingResult]:
    """Fit the network of a deep estimator."""
    settings = settings_of(model)
    if data.form is Form.TARGETS and not isinstance(settings.sampling, Proportional):
        fields = {"owner": type(model).__name__}
        raise IncompatibleError(LazyMessage("deep.refusal.sampling_of_matrix", fields))
    if data.form is Form.TARGETS and model.alignment is not None:
        fields = {"owner": type(model).__name__}
        raise IncompatibleError(LazyMessage("deep.refusal.alignment_of_matrix", fields))
    prepared = prepare(model, data, outcomes)
    seed = seed_of(model)

    def load(processes: TrainingProcesses) -> Loaders:
        return _loaders(model, prepared, settings, processes, seed)

    return fit_learned(model, prepared.learned, settings, seed, load)


def fit_learned(
    model: Any,  # noqa: ANN401 - a deep estimator
    learned: Learned,
    settings: TrainingSettings,
    seed: int,
    load: Callable[[TrainingProcesses], Loaders],
) -> tuple[DeepTasks, History, TrainingResult]:
    """Fit the network of a deep estimator to the batches that are loaded."""
    owner, data, outcomes = type(model).__name__, learned.data, learned.outcomes
    own_rows = data.form is not Form.TARGETS and model.balance_at == LEVELS[0]
    if own_rows and getattr(type(model.balancer), "resolves_conflicts_only", False):
        # The gradients of tasks are orthogonal there.
        fields = {"balancer": type(model.balancer).__name__, "owner": owner}
        warnings.warn(DataWarning(LazyMessage("warn.idle_balancer", fields)), stacklevel=5)
    plan = NetworkPlan(
        trunk=trunk_of(model.trunk, owner),
        sharing=sharing_of(model.sharing, owner),
        n_features=data.n_features,
        losses=outcomes.losses,
        widths=outcomes.n_outputs,
        precision=model.precision,
        blocks=category_blocks(model.encoder_),
        smoothing=settings.smoothing,
        heads=heads_of(model.heads, owner),
        alignment=alignment_of(model.alignment, owner),
    )
    engine = engine_of(model.device, model.mixed_precision, model.distributed, owner)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = plan.build(engine.device)
    with torch.no_grad():
        for columns, level in zip(learned.layout.slices, learned.levels, strict=True):
            if np.isfinite(level):
                network.heads.bias[columns] = float(level)
    history, result = _trained(model, network, learned, settings, engine, seed, load(engine))
    tasks = DeepTasks(
        plan=plan,
        weights={name: value.cpu().numpy() for name, value in network.state_dict().items()},
        feature_mean=learned.features.mean,
        feature_scale=learned.features.scale,
        target_mean=learned.targets.mean,
        target_scale=learned.targets.scale,
        classes=outcomes.classes,
        labels=learned.layout.columns.classes,
        counts=learned.counts,
        union=outcomes.union,
        present=data.present if data.form is not Form.TARGETS else None,
        device=str(engine.device),
    )
    return tasks, history, result


def prepare(model: Any, data: TaskData, outcomes: Outcomes) -> NetworkData:  # noqa: ANN401
    """Return the rows of a deep estimator, scaled, with what they tell before training."""
    owner = type(model).__name__
    refuse_huge(data, outcomes, owner)
    weight = label_weights(data, outcomes, getattr(model, "class_weight", None), owner)
    counts = sum_by_task(weight, data)
    choice = getattr(model, "scale_targets", None)
    by_task = getattr(model, "task_weight", "equal")
    scaling = feature_scaling(data, weight, model.standardize, centre=True)
    learned = Learned(
        data=data,
        outcomes=outcomes,
        layout=make_layout(data.tasks, outcomes),
        counts=counts,
        task_weights=task_scales(by_task, counts, data.tasks, owner),
        features=of_numbers(scaling, model.encoder_),
        targets=target_scaling(data, outcomes, weight, choice, centre=True),
        levels=_levels(data, outcomes, weight),
    )
    return NetworkData(learned, weight)


def of_numbers(scaling: FeatureScaling, encoder: TableEncoder | None) -> FeatureScaling:
    """Return the scaling of measured numbers alone."""
    # Indicators stay 0 and 1: those of rare levels would become large.
    real = measured(encoder, len(scaling.mean))
    mean, scale = np.where(real, scaling.mean, 0.0), np.where(real, scaling.scale, 1.0)
    return FeatureScaling(mean, scale, scaling.active)


def begins_at_mean(loss: Loss) -> bool:
    """Say whether the columns of a task start at the predictor of its mean."""
    # Counts and amounts are not scaled, and from a predictor of 0 a mean of a thousand is far.
    return not (loss.follows_units or loss.is_classifier)


def _levels(data: TaskData, outcomes: Outcomes, weight: Array) -> Array:
    levels = np.full(data.n_tasks, np.nan)
    for t, loss in enumerate(outcomes.losses):
        own: Any = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(t)
        seen = weight[own] > 0
        if begins_at_mean(loss) and seen.any():
            levels[t] = best_constant(loss, outcomes.y[own][seen], weight[own][seen])
    return levels


def _loaders(
    model: Any,  # noqa: ANN401 - a deep estimator
    prepared: NetworkData,
    settings: TrainingSettings,
    processes: TrainingProcesses,
    seed: int,
) -> Loaders:
    data = prepared.learned.data
    place = DeviceDtype(PRECISIONS[model.precision], processes.device)
    fit, held = _sides(data, settings.validation, seed, type(model).__name__)
    whole = held is None
    rows = prepared.rows(data if whole else data.rows(fit), None if whole else fit, place)
    size = settings.rows_in_batch(len(rows.y))
    share = processes.rank, processes.world
    batches = TableBatches(rows, settings.sampling, size, seed, share, settings.mixing)
    judged = None
    if held is not None:
        own = prepared.rows(data.rows(held), held, place)
        judged = FixedBatches(own, max(size, ROWS_AT_ONCE))

    def identity() -> dict[str, Any]:
        out = None if held is None else zlib.crc32(held.tobytes())
        return {"data": checksum(data), "rows held out": out}

    everything = FixedBatches(rows, max(size, ROWS_AT_ONCE))
    return Loaders(batches, judged, everything, len(rows.y), identity)


def _trained(
    model: Any,  # noqa: ANN401 - a deep estimator
    network: Network,
    learned: Learned,
    settings: TrainingSettings,
    engine: TrainingProcesses,
    seed: int,
    loaders: Loaders,
) -> tuple[History, TrainingResult]:
    data, place = learned.data, DeviceDtype(PRECISIONS[model.precision], engine.device)
    columns = learned.layout.columns
    penalties = model.penalties or {}
    # Not where the first layer reads something else than the features.
    names = None
    if INPUT in penalties:
        read = {matrix.shape[0] for matrix in resolve(network, INPUT)}
        names = data.feature_names if read == {data.n_features} else None
    identity, defaults = None, None
    if model.checkpoint is not None:
        # What tells a training from another.
        texts, defaults = identity_of(model)
        identity = {"seed": seed, **texts, **loaders.identity()}
    return fit_network(
        network,
        loaders.batches,
        settings.training_of(network, loaders.n_rows),
        held_out=loaders.held_out,
        everything=loaders.everything,
        tasks=data.tasks,
        task_weights=place.numbers(learned.task_weights),
        balancer=model.balancer,
        penalties=Penalties(network, penalties, columns=columns, feature_names=names),
        seed=seed,
        identity=identity,
        identity_defaults=defaults,
        engine=engine,
    )


def _sides(
    data: TaskData,
    validation: Any,  # noqa: ANN401 - a share, a splitter, pairs or None
    seed: int,
    owner: str,
) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
    """Return the rows to train on and, if any can be, those held out."""
    everything = np.arange(data.n_rows, dtype=np.intp)
    if validation is None:
        return everything, None
    if not isinstance(validation, float):
        splits = as_splits(validation, data, "validation", owner)
        if not splits:
            allowed = LazyMessage("allowed.some_pairs")
            raise DataError(sentence("validation", owner, allowed, LazyMessage("got.none")))
        return splits[0]
    # Rows without a label judge nothing; all of them stay where they do no harm.
    told = everything
    if data.form is Form.TARGETS:
        told = np.flatnonzero(data.labelled().any(axis=1))
    elif data.sample_weight is not None:
        told = np.flatnonzero(data.sample_weight > 0)
    try:
        _, held = next(WithinTasks(1, validation, random_state=seed).split(data.rows(told)))
    except DataError:
        # Every row is the only one of its task or class.
        return everything, None
    held = told[held]
    return (np.setdiff1d(everything, held), held) if len(held) else (everything, None)


def seed_of(model: Any) -> int:  # noqa: ANN401 - a deep estimator
    """Return the seed; with random_state=None that of the checkpoint, if there is one."""
    if model.random_state is None and getattr(model, "checkpoint", None) is not None:
        found = read_checkpoint(model.checkpoint)
        if found is not None and "seed" in found["identity"]:
            return int(found["identity"]["seed"])
    try:
        return int(check_random_state(model.random_state).randint(_SEEDS))
    except ValueError as error:
        allowed, owner = LazyMessage("allowed.random_state"), type(model).__name__
        got = repr(model.random_state)
        raise ParameterError(sentence("random_state", owner, allowed, got)) from error
