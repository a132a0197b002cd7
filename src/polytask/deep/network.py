"""The network for tables: a trunk under a way of sharing it, and heads."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from polytask.deep.balancing.routes import LinearHeads, OwnRows, Route, Shared
from polytask.deep.heads import ColumnHeads
from polytask.deep.own_layers import OwnLayers
from polytask.deep.rows import RowBatch
from polytask.deep.terms import Sums, TaskLosses, sums_of_rows, sums_of_targets
from polytask.deep.trainable import Trainable


class Network(Trainable):
    """Sharing, heads and losses of a table of tasks."""

    def __init__(
        self,
        sharing: nn.Module,
        heads: ColumnHeads,
        losses: TaskLosses,
        own: OwnLayers | None = None,
    ) -> None:
        super().__init__()
        self.sharing = sharing
        self.own = own
        self.heads = heads
        self.losses = losses
        self.n_tasks = losses.n_tasks

    @property
    def roots(self) -> Tensor | None:
        """Which tasks count by the root of twice their mean loss; None if none does."""
        return self.losses.roots if self.losses.has_roots else None

    def forward(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Return predictors. Shapes: x (n, n_features), task (n,), result (n, K)."""
        if task is None:
            return self._of_all_tasks(x)[1]
        return self._predictors(self.represent(x, task), task)

    def represent(self, x: Tensor, task: Tensor) -> Tensor:
        """Return what the heads read of rows, each of one task, (n, width)."""
        return self._own(self.sharing(x, task), task)

    @property
    def shared_representation(self) -> bool:
        """Whether the heads of all tasks read the same."""
        return self.own is None and bool(self.sharing.shared_representation)

    def _own(self, features: Tensor, task: Tensor | None) -> Tensor:
        return features if self.own is None else self.own(features, task)

    def _of_all_tasks(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the representation of all tasks, None if it is not formed, and predictors."""
        readout = getattr(self.sharing, "readout", None)
        if callable(readout) and self.own is None:
            # Mixtures of experts mix outputs, which are smaller than representations.
            return None, readout(x, self.heads.weight, self.heads.owners) + self.heads.bias
        features: Tensor = self.sharing(x, None)
        return features, self._predictors(self._own(features, None), None)

    def _predictors(self, features: Tensor, task: Tensor | None) -> Tensor:
        if task is None:
            every: Tensor = self.heads(features)
            return every
        return self.heads.of_columns(features, self.losses.columns[task])

    def counts(self, batch: RowBatch) -> Tensor:
        """Return the sum of label weights of every task in a batch, (n_tasks,)."""
        if batch.task is None:
            return batch.weight.sum(0)
        return batch.weight.new_zeros(self.n_tasks).index_add(0, batch.task, batch.weight)

    def sums(self, batch: RowBatch) -> Sums:
        """Return the sums of losses and label weights of the tasks present in a batch."""
        # Losses are computed in full precision, also where products are not.
        if batch.task is None:
            every, outputs = self._of_all_tasks(batch.x)
            eta = outputs.to(batch.y.dtype)
            sums = sums_of_targets(self.losses.of_targets(batch.y, eta), batch.weight)
            return dataclasses.replace(sums, shared=self._route(every, eta))
        features: Tensor = self.sharing(batch.x, batch.task)
        own = self._own(features, batch.task)
        eta = self._predictors(own, batch.task).to(batch.y.dtype)
        losses = self.losses.of_rows(batch.y, eta, batch.task)
        sums = sums_of_rows(losses, batch.weight, batch.task, self.n_tasks)
        return dataclasses.replace(sums, shared=OwnRows(features, batch.task))

    def _route(self, features: Tensor | None, eta: Tensor) -> Route | None:
        """Return how balancers reach a representation that all tasks share."""
        if features is None or features.ndim > 2:
            return None
        if self.own is not None:
            return Shared((features,))
        return LinearHeads(features, eta, self.heads.weight, self.heads.owners)

    def shared_parameters(self) -> list[Tensor]:
        """Return the parameters of the sharing."""
        return [p for p in self.sharing.parameters() if p.requires_grad]


def width_of(sharing: nn.Module, x: Tensor) -> int:
    """Return the width of the representation, found with a few rows."""
    training = sharing.training
    sharing.eval()
    with torch.no_grad():
        width = int(sharing(x, torch.zeros(len(x), dtype=torch.long, device=x.device)).shape[-1])
    sharing.train(training)
    return width
