"""Prediction of a trained network, for its tasks and for those added since."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask._estimator.predictors import (
    labels_from,
    mean_columns,
    probabilities_from,
    refuse_unlike,
)
from polytask._estimator.scaling import FeatureScaling
from polytask._linalg import is_sparse
from polytask._registry import State, fields_of, saveable
from polytask.deep.network import MLP, Network, NetworkPlan, device_of
from polytask.deep.rows import CachedRows, design_of
from polytask.exceptions import DataError
from polytask.losses import Loss
from polytask.messages import LazyMessage

Array = NDArray[Any]
# Rows that go through the network at a time.
_CHUNK = 4096


@saveable("deep.added_task")
@dataclass(frozen=True, eq=False)
class AddedTask:
    """A task that :func:`polytask.adapt` has added to a trained network."""

    # Shapes: coef (n_columns, width), intercept (n_columns,).
    # The network itself, and with it the tasks that it was trained on, stay as they are.

    loss: Loss
    classes: Array | None
    labels: tuple[Hashable | None, ...]
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    reads_features: bool = False
    layers: Mapping[str, Array] = field(default_factory=dict)
    additions: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether the head reads the representation of the network as it was trained."""
        return not (self.layers or self.additions or self.reads_features)

    def network_of(self, network: Network) -> Network:
        """Return the network that computes the representation of this task."""
        if not (self.layers or self.additions):
            return network
        own = copy.deepcopy(network)
        weights = dict(own.named_parameters())
        with torch.no_grad():
            for name, values in self.layers.items():
                weights[name].copy_(torch.from_numpy(np.array(values)))
            for name, (left, right) in self.additions.items():
                product = torch.from_numpy(np.array(left)) @ torch.from_numpy(np.array(right))
                weights[name].add_(product.to(weights[name]))
        return own


@saveable("deep.tasks")
@dataclass(frozen=True, eq=False)
class DeepTasks:
    """A trained network with what its columns mean."""

    # Shapes: feature_mean, feature_scale (n_features,), target_mean, target_scale (n_tasks,),
    # counts (n_tasks,), present (n_tasks, n_features).

    plan: NetworkPlan
    weights: Mapping[str, Array]
    feature_mean: NDArray[np.float64]
    feature_scale: NDArray[np.float64]
    target_mean: NDArray[np.float64]
    target_scale: NDArray[np.float64]
    classes: tuple[Array | None, ...]
    labels: tuple[Hashable | None, ...]
    counts: NDArray[np.float64]
    union: Array | None
    present: NDArray[np.bool_] | None
    device: str
    added: tuple[AddedTask, ...] = ()

    def to_state(self) -> State:
        """Return the fields by name."""
        return fields_of(self) | {"device": "auto"}

    @classmethod
    def from_state(cls, state: State) -> DeepTasks:
        """Rebuild the object from :meth:`to_state`."""
        tasks = cls(**state)
        if not isinstance(tasks.plan.trunk, MLP):
            # A module that does not fit the weights is refused at once.
            _ = tasks.network
        return tasks

    @property
    def n_trained(self) -> int:
        """How many tasks the network was trained on."""
        return len(self.plan.losses)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The loss of each task."""
        return (*self.plan.losses, *(task.loss for task in self.added))

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The columns of each task."""
        widths = [*self.plan.widths, *(len(task.coef) for task in self.added)]
        ends = np.cumsum(widths).tolist()
        return tuple(slice(e - k, e) for e, k in zip(ends, widths, strict=True))

    @cached_property
    def network(self) -> Network:
        """The network, built from the plan and given its weights."""
        with torch.random.fork_rng(devices=[]):
            network = self.plan.build(device_of(self.device, "load"))
        weights = {name: torch.from_numpy(np.array(w)) for name, w in self.weights.items()}
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            told = str(error).partition(":")[2].strip().splitlines()[0]
            raise DataError(LazyMessage("deep.refusal.other_trunk", {"reason": told})) from error
        return network.eval()

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task; an unseen task has that of all tasks."""
        if task < 0:
            refuse_unlike(self.plan.losses, self.classes)
        return self.losses[max(task, 0)]

    def classes_of(self, task: int) -> Array | None:
        """Return the classes of a task; one without rows, or unseen, has the union."""
        if self.union is not None and self._borrows(task):
            return self.union
        known = self._added_one(task)
        return self.classes[max(task, 0)] if known is None else known.classes

    def eta(self, X: Any, task: int) -> Array:  # noqa: ANN401 - rows of a query
        """Return predictors in original units, shape (n_rows, columns of the task)."""
        if task < 0:
            refuse_unlike(self.plan.losses, self.classes)
        coef, intercept = self._head(task)
        eta = self.features(X, task).astype(np.float64) @ coef.T + intercept
        return eta.astype(X.dtype, copy=False)

    def labels_of(self, X: Any, task: int) -> Array:  # noqa: ANN401 - rows of a query
        """Return numbers or class labels, shape (n_rows,)."""
        return labels_from(self.eta(X, task), self.classes_of(task), self.loss_of(task))

    def probabilities(self, X: Any, task: int) -> Array:  # noqa: ANN401 - rows of a query
        """Return class probabilities, shape (n_rows, classes of the task)."""
        return probabilities_from(self.eta(X, task), self.classes_of(task), self.loss_of(task))

    def _added_one(self, task: int) -> AddedTask | None:
        """Return a task that was added, None for one of the network or an unseen one."""
        return self.added[task - self.n_trained] if task >= self.n_trained else None

    def _borrows(self, task: int) -> bool:
        """Say whether a task has no head that was trained."""
        return task < 0 or (task < self.n_trained and self.counts[task] <= 0)

    @cached_property
    def _columns(self) -> tuple[Array, Array]:
        """Weights and intercepts of all columns, in the units of the targets."""
        owners = self.network.heads.owners.cpu().numpy()
        scale = self.target_scale[owners]
        coef, bias = self.heads()
        return coef * scale[:, None], bias * scale + self.target_mean[owners]

    @cached_property
    def shared(self) -> tuple[Array, Array]:
        """Mean weights and intercepts, weighted by n_t, per class: the head of unseen tasks."""
        return self._mean_of(*self._columns)

    def mean_head(self) -> tuple[Array, Array]:
        """Return the same in the units that the network was trained in."""
        return self._mean_of(*self.heads())

    def heads(self) -> tuple[Array, Array]:
        """Return weights and intercepts of all columns in the units of training."""
        heads = self.network.heads
        weight, bias = (part.detach().cpu().numpy() for part in (heads.weight, heads.bias))
        return weight.astype(np.float64), bias.astype(np.float64)

    def _mean_of(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        slices = self.slices[: self.n_trained]
        return mean_columns(coef, intercept, slices, self.labels, self.counts, self.union)

    def _head(self, task: int) -> tuple[Array, Array]:
        known = self._added_one(task)
        if known is not None:
            return known.coef, known.intercept
        if self._borrows(task):
            return self.shared
        coef, intercept = self._columns
        return coef[self.slices[task]], intercept[self.slices[task]]

    def features(self, X: Any, task: int) -> Array:  # noqa: ANN401 - rows of a query
        """Return the representation of rows for a task, shape (n_rows, width)."""
        known = self._added_one(task)
        shared = self.network.shared_representation and self.present is None
        if known is not None:
            shared = shared and known.is_plain
        if not shared or not isinstance(X, CachedRows):
            values = X.values if isinstance(X, CachedRows) else X
            if known is not None and known.reads_features:
                return np.asarray(values.toarray() if is_sparse(values) else values)
            return self._computed(values, task)
        # The rows of a query have the same representation for all of its tasks.
        return X.remember(lambda values: self._computed(values, task))

    def _computed(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        place = self.plan.place(next(self.network.parameters()).device)
        exists = None
        if self.present is not None and 0 <= task < self.n_trained:
            exists = np.broadcast_to(self.present[task], X.shape)
        scaled = self.scaling.features(X, exists)
        design = design_of(scaled, place)
        # A task that was added is unseen in its network.
        network, code = self.network, task
        if task >= self.n_trained:
            network, code = self._own_networks[task - self.n_trained], -1
        parts = []
        with torch.no_grad():
            for start in range(0, X.shape[0], _CHUNK):
                rows = np.arange(start, min(start + _CHUNK, X.shape[0]))
                own = torch.full((len(rows),), code, dtype=torch.long, device=place.device)
                features: Tensor = network.represent(design.take(rows), own)
                parts.append(features.cpu().numpy())
        computed = np.concatenate(parts)
        if not np.isfinite(computed).all():
            matrix = scaled.matrix
            values = matrix.data if is_sparse(matrix) else np.asarray(matrix)
            largest = float(np.abs(values).max(initial=0.0))
            fields = {"precision": self.plan.precision, "largest": f"{largest:.3g}"}
            raise DataError(LazyMessage("deep.refusal.too_large", fields))
        return computed

    @cached_property
    def _own_networks(self) -> tuple[Network, ...]:
        """The networks of the tasks that were added."""
        return tuple(task.network_of(self.network) for task in self.added)

    @cached_property
    def scaling(self) -> FeatureScaling:
        """How features are scaled before the network."""
        mean, scale = self.feature_mean, self.feature_scale
        return FeatureScaling(mean, scale, active=bool(mean.any() or np.any(scale != 1.0)))
