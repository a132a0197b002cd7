"""Networks in a graph: layers by name, so that torch is not imported here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.export.graphs.graph import Tensor
from polytask.export.graphs.linear import coefficient_tables, predicted
from polytask.export.graphs.rows import Answer, Rows, refused
from polytask.messages import LazyMessage

Array = NDArray[Any]

_ACTIVATIONS = {"ReLU": "Relu", "GELU": "Gelu", "Tanh": "Tanh", "Sigmoid": "Sigmoid"}
_AS_THEY_ARE = ("Dropout", "Identity")


def network_answer(model: Any, rows: Rows) -> Answer:  # noqa: ANN401 - a deep estimator
    """Return what a trained network says."""
    tasks = model._tasks
    if tasks.added:
        fields = {"kind": type(model).__name__}
        raise refused(fields["kind"], LazyMessage("export.refusal.added", fields))
    network = tasks.network
    shared = network.shared_representation and tasks.present is None
    rows = rows if shared else rows.long()
    X = rows.X
    if tasks.scaling.active:
        X = (X - tasks.feature_mean.astype(float)) / tasks.feature_scale.astype(float)
    if tasks.present is not None:
        everything = np.vstack([tasks.present, np.ones(rows.n_features)])
        X = X * rows.pick(everything[list(rows.tasks)].astype(float))
    kind = np.float32 if tasks.plan.precision == "float32" else np.float64
    given = replace(rows, X=X.cast(kind))
    features = _Layers(given, kind).represented(network)
    width = int(network.heads.weight.shape[1])
    inner = rows.with_features(features.cast(np.float64), width)
    eta = inner.linear(*coefficient_tables(tasks, tasks._head, inner))
    return predicted(eta, [tasks.loss_of(task) for task in rows.tasks], rows)


class _Layers:
    """The layers of a network, for rows in its precision."""

    def __init__(self, rows: Rows, kind: type) -> None:
        self._rows, self._kind = rows, kind

    def represented(self, network: Any) -> Tensor:  # noqa: ANN401
        """Return what the heads read, (N, width)."""
        sharing = network.sharing
        name = type(sharing).__name__
        if name == "HardSharing":
            found = self.through(sharing.trunk, self._rows.X)
        elif name == "SoftSharing":
            found = self.own(self.copies(sharing.trunk, self._rows.X))
        elif name == "MixedExperts" and sharing._reads_input:
            experts = self.copies(sharing.trunk, self._rows.X)
            gates = self.copies(sharing.gates, self._rows.X).softmax()
            found = self.own(gates.swapped(1, 0, 2) @ experts.swapped(1, 0, 2), swap=False)
        elif name == "SelectedExperts":
            by_row = self.copies(sharing.trunk, self._rows.X).swapped(1, 0, 2)
            gates = by_row.graph.constant(self.array(sharing.gates()))
            found = self.own(gates @ by_row, swap=False)
        elif name == "OwnExperts" and sharing._reads_input:
            trunk = sharing.trunk
            found = self.levels([(trunk.shared, trunk.own, sharing.gates, None)])
        elif name == "LevelledExperts":
            parts = [(one.shared, one.own, one.gates, one.shared_gate) for one in sharing.trunk]
            found = self.levels(parts)
        else:
            raise refused(name)
        if network.own is None:
            return found
        return self.own(self.copies(network.own.copies, found))

    def levels(self, levels: Sequence[tuple[Any, Any, Any, Any]]) -> Tensor:
        """Return what shared experts and those of each task make of rows, level by level."""
        common, mixed = self._rows.X, None
        for shared, own, gates, shared_gate in levels:
            first, tasks = shared.n_copies, gates.n_copies
            each = own.n_copies // tasks
            inputs = common if mixed is None else mixed.swapped(1, 0, 2)
            by_own = inputs if mixed is None else inputs.at(np.repeat(np.arange(tasks), each))
            experts = self.copies(shared, common).beside(
                self.copies(own, by_own, each=mixed is not None), axis=0
            )
            by_row = experts.swapped(1, 0, 2)
            # The experts of other tasks have no weight.
            place = np.append(np.arange(first), first + np.tile(np.arange(each), tasks))
            has = np.hstack([np.ones((tasks, first)), np.kron(np.eye(tasks), np.ones(each))])
            weights = self.copies(gates, inputs, each=mixed is not None).softmax()
            mixed = (weights.swapped(1, 0, 2).at(place, axis=-1) * has.astype(self._kind)) @ by_row
            if shared_gate is not None:
                of_all = self.copies(shared_gate, common).softmax().swapped(1, 0, 2)
                common = (of_all @ by_row).op("Squeeze", [np.array([1])])
        assert mixed is not None
        return self.own(mixed, swap=False)

    def own(self, whole: Tensor, *, swap: bool = True) -> Tensor:
        """Return of what copies made the copy of each row's task; of unseen ones their mean."""
        # Shapes: whole (n_copies, N, h), without `swap` (N, n_copies, h), result (N, h).
        by_row = whole.swapped(1, 0, 2) if swap else whole
        mean = by_row.op("ReduceMean", [np.array([1])], {"keepdims": 1})
        every = by_row.beside(mean, axis=1)
        # -1 is the last copy, which is the mean.
        place = self._rows.pick(np.array(self._rows.tasks, dtype=np.int64)).reshaped(-1, 1)
        return every.op("GatherND", [place], {"batch_dims": 1})

    def array(self, values: Any) -> Array:  # noqa: ANN401 - a tensor of torch
        """Return weights in the precision of the network."""
        return np.asarray(values.detach().cpu().numpy(), dtype=self._kind)

    def number(self, value: float) -> Array:
        """Return a number in the precision of the network."""
        return np.asarray(value, dtype=self._kind)

    def through(self, layer: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - a module
        """Return what a layer makes of rows."""
        name = type(layer).__name__
        if name in ("Sequential", "TaskSequential"):
            for inner in layer:
                x = self.through(inner, x)
            return x
        if name == "Linear":
            product = x @ self.array(layer.weight).T
            return product if layer.bias is None else product + self.array(layer.bias)
        known = {
            "BatchNorm1d": self._batch_norm,
            "LayerNorm": self._layer_norm,
            "TaskBatchNorm1d": self._task_norm,
            "CategoryVectors": self._vectors,
        }
        return known[name](x, layer) if name in known else self._elementwise(name, x)

    def _elementwise(self, name: str, x: Tensor) -> Tensor:
        if name in _AS_THEY_ARE:
            return x
        if name == "SiLU":
            return x * x.op("Sigmoid")
        if name not in _ACTIVATIONS:
            raise refused(name)
        return x.op(_ACTIVATIONS[name])

    def _batch_norm(self, x: Tensor, layer: Any) -> Tensor:  # noqa: ANN401
        """Return rows normalised with statistics of training, and with gains if there are any."""
        factor = 1.0 / np.sqrt(self.array(layer.running_var) + self.number(layer.eps))
        found = (x - _lines(self.array(layer.running_mean))) * _lines(factor)
        if layer.weight is None:
            return found
        return found * _lines(self.array(layer.weight)) + _lines(self.array(layer.bias))

    def _layer_norm(self, x: Tensor, layer: Any) -> Tensor:  # noqa: ANN401
        width = layer.normalized_shape[0] if hasattr(layer, "normalized_shape") else layer.shape[0]
        ones = np.ones(width, dtype=self._kind)
        found = x.op("LayerNormalization", [ones], {"axis": -1, "epsilon": float(layer.eps)})
        if layer.weight is None:
            return found
        found = found * _lines(self.array(layer.weight))
        return found if layer.bias is None else found + _lines(self.array(layer.bias))

    def _task_norm(self, x: Tensor, layer: Any) -> Tensor:  # noqa: ANN401
        codes = list(self._rows.tasks)
        known = layer.n_batches.cpu().numpy() > 0
        mean, variance = self.array(layer.running_mean), self.array(layer.running_var)
        mean = np.where(known[:, None], mean, mean[-1])[codes]
        variance = np.where(known[:, None], variance, variance[-1])[codes]
        scale, shift = (self.array(part) for part in (layer.weight, layer.bias))
        scale, shift = (np.vstack([part, part.mean(axis=0)])[codes] for part in (scale, shift))
        factor = scale / np.sqrt(variance + self.number(layer.eps))
        return (x - self._rows.pick(mean)) * self._rows.pick(factor) + self._rows.pick(shift)

    def _vectors(self, x: Tensor, layer: Any) -> Tensor:  # noqa: ANN401
        parts = [
            x.at(np.arange(*block), axis=1) @ self.array(vectors.weight).T
            for block, vectors in zip(layer.blocks, layer.vectors, strict=True)
        ]
        return x.at(layer.rest.cpu().numpy(), axis=1).beside(*parts)

    def copies(self, copies: Any, x: Tensor, *, each: bool = False) -> Tensor:  # noqa: ANN401
        """Return what every copy makes of the same rows, or `each` of its own."""
        # Shapes: x (N, d), with `each` (n_copies, N, d), result (n_copies, N, h).
        x = x if each else x.op("Unsqueeze", [np.array([0])])
        if not copies.stacks:
            given = [x.at(np.array([k])) if each else x for k in range(copies.n_copies)]
            parts = [self.through(one, x) for one, x in zip(copies.copies, given, strict=True)]
            return parts[0].beside(*parts[1:], axis=0)
        for layer in copies.layers:
            name = type(layer).__name__
            if name == "StackedLinear":
                x = x @ self.array(layer.weight).swapaxes(1, 2)
                x = x if layer.bias is None else x + _lines(self.array(layer.bias))
            elif name == "StackedBatchNorm":
                x = self._batch_norm(x, layer)
            elif name == "StackedLayerNorm":
                x = self._layer_norm(x, layer)
            else:
                x = self._elementwise(type(layer.layer).__name__, x)
        return x


def _lines(values: Array) -> Array:
    """Return one line for all rows of each copy, where there are copies."""
    return values if values.ndim == 1 else values[:, None]
