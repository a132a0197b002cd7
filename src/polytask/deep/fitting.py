"""Fit a network to the data of all tasks."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from typing import Any

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
from polytask.data import Form, TaskData
from polytask.data.splits import WithinTasks, as_splits
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
from polytask.deep.rows import DeviceDtype, FixedBatches, TableBatches, TableRows, table_rows
from polytask.deep.sampling import Proportional
from polytask.deep.trainable import LEVELS
from polytask.deep.training.checkpoint import read_checkpoint
from polytask.deep.training.engine import TrainingProcesses, engine_of
from polytask.deep.training.history import History, TrainingResult
from polytask.deep.training.loop import fit_network
from polytask.deep.training.settings import TrainingSettings, identity_of, settings_of
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.messages import LazyMessage
from polytask.metrics.scores import best_constant

Array = NDArray[np.float64]
# Of numpy's own range of seeds.
_SEEDS = 2**31 - 1
# Rows of a batch that is only looked at: without gradients a larger one costs less.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class NetworkData:
    """Data as the network takes them. Shapes: counts, task_weights (n_tasks,)."""

    data: TaskData
    outcomes: Outcomes
    layout: Layout
    weight: Array
    counts: Array
    task_weights: Array
    features: FeatureScaling
    targets: TargetScaling

    def rows(self, part: TaskData, at: NDArray[np.intp] | None, place: DeviceDtype) -> TableRows:
        """Return some rows as tensors; `at` are their numbers, None for all."""
        y = self.targets.apply(self.outcomes.y, self.data)
        weight = self.weight
        if at is not None:
            y, weight = y[at], weight[at]
        task = None if part.form is Form.TARGETS else part.row_tasks()
        scaled = self.features.features(part.X, cell_mask(part))
        return table_rows(scaled, y, weight, task, part.n_tasks, place)


def fit_tables(
    model: Any,  # noqa: ANN401 - a deep estimator
    data: TaskData,
    outcomes: Outcomes,
) -> tuple[DeepTasks, History, TrainingResult]:
    """Fit the network of a deep estimator."""
    owner = type(model).__name__
    settings = settings_of(model)
    if data.form is Form.TARGETS and not isinstance(settings.sampling, Proportional):
        raise IncompatibleError(LazyMessage("deep.refusal.sampling_of_matrix", {"owner": owner}))
    prepared = _prepared(model, data, outcomes)
    own_rows = data.form is not Form.TARGETS and model.balance_at == LEVELS[0]
    if own_rows and getattr(type(model.balancer), "resolves_conflicts_only", False):
        # The gradients of tasks are orthogonal there.
        fields = {"balancer": type(model.balancer).__name__, "owner": owner}
        warnings.warn(DataWarning(LazyMessage("warn.idle_balancer", fields)), stacklevel=4)
    seed = _seed_of(model)
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
    )
    engine = engine_of(model.device, model.mixed_precision, model.distributed, owner)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = plan.build(engine.device)
    _begin_at_means(network, prepared)
    history, result = _trained(model, network, prepared, settings, engine, seed)
    tasks = DeepTasks(
        plan=plan,
        weights={name: value.cpu().numpy() for name, value in network.state_dict().items()},
        feature_mean=prepared.features.mean,
        feature_scale=prepared.features.scale,
        target_mean=prepared.targets.mean,
        target_scale=prepared.targets.scale,
        classes=outcomes.classes,
        labels=prepared.layout.columns.classes,
        counts=prepared.counts,
        union=outcomes.union,
        present=data.present if data.form is not Form.TARGETS else None,
        device=str(engine.device),
    )
    return tasks, history, result


def _prepared(model: Any, data: TaskData, outcomes: Outcomes) -> NetworkData:  # noqa: ANN401
    owner = type(model).__name__
    refuse_huge(data, outcomes, owner)
    weight = label_weights(data, outcomes, getattr(model, "class_weight", None), owner)
    counts = sum_by_task(weight, data)
    choice = getattr(model, "scale_targets", None)
    scaling = feature_scaling(data, weight, model.standardize, centre=True)
    real = measured(model.encoder_, data.n_features)
    return NetworkData(
        data=data,
        outcomes=outcomes,
        layout=make_layout(data.tasks, outcomes),
        weight=weight,
        counts=counts,
        task_weights=task_scales(model.task_weight, counts, data.tasks, owner),
        # Indicators stay 0 and 1: those of rare levels would become large.
        features=FeatureScaling(
            np.where(real, scaling.mean, 0.0), np.where(real, scaling.scale, 1.0), scaling.active
        ),
        targets=target_scaling(data, outcomes, weight, choice, centre=True),
    )


def _trained(
    model: Any,  # noqa: ANN401 - a deep estimator
    network: Network,
    prepared: NetworkData,
    settings: TrainingSettings,
    engine: TrainingProcesses,
    seed: int,
) -> tuple[History, TrainingResult]:
    data, place = prepared.data, DeviceDtype(PRECISIONS[model.precision], engine.device)
    fit, held = _sides(data, settings.validation, seed, type(model).__name__)
    whole = held is None
    rows = prepared.rows(data if whole else data.rows(fit), None if whole else fit, place)
    size = settings.rows_in_batch(len(rows.y))
    batches = TableBatches(
        rows, settings.sampling, size, seed, (engine.rank, engine.world), settings.mixing
    )
    judged = None
    if held is not None:
        own = prepared.rows(data.rows(held), held, place)
        judged = FixedBatches(own, max(size, _ROWS_AT_ONCE))
    columns = prepared.layout.columns
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
        identity = {
            "seed": seed,
            "data": checksum(data),
            **texts,
            "rows held out": None if held is None else zlib.crc32(held.tobytes()),
        }
    return fit_network(
        network,
        batches,
        settings.training_of(network, len(rows.y)),
        held_out=judged,
        everything=FixedBatches(rows, max(size, _ROWS_AT_ONCE)),
        tasks=data.tasks,
        task_weights=place.numbers(prepared.task_weights),
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
    told = np.flatnonzero(data.labelled().any(axis=1)) if data.form is Form.TARGETS else everything
    try:
        _, held = next(WithinTasks(1, validation, random_state=seed).split(data.rows(told)))
    except DataError:
        # Every row is the only one of its task or class.
        return everything, None
    held = told[held]
    return (np.setdiff1d(everything, held), held) if len(held) else (everything, None)


def _seed_of(model: Any) -> int:  # noqa: ANN401 - a deep estimator
    """Return the seed; with random_state=None that of the checkpoint, if there is one."""
    if model.random_state is None and model.checkpoint is not None:
        found = read_checkpoint(model.checkpoint)
        if found is not None and "seed" in found["identity"]:
            return int(found["identity"]["seed"])
    try:
        return int(check_random_state(model.random_state).randint(_SEEDS))
    except ValueError as error:
        allowed, owner = LazyMessage("allowed.random_state"), type(model).__name__
        got = repr(model.random_state)
        raise ParameterError(sentence("random_state", owner, allowed, got)) from error


@torch.no_grad()
def _begin_at_means(network: Network, prepared: NetworkData) -> None:
    """Start the columns of counts and amounts at the predictor of their mean."""
    # They are not scaled, and from a predictor of 0 a mean of a thousand is far away.
    data, y = prepared.data, prepared.outcomes.y
    for t, loss in enumerate(prepared.outcomes.losses):
        if loss.follows_units or prepared.counts[t] <= 0 or loss.is_classifier:
            continue
        own: Any = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(t)
        values, weight = y[own], prepared.weight[own]
        seen = weight > 0
        level = best_constant(loss, values[seen], weight[seen])
        if np.isfinite(level):
            network.heads.bias[prepared.layout.slices[t]] = level
