"""The network for tables: trunk, heads, and the plan from which it is built again."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from polytask._checks import below_one, one_of, positive_integer, sentence
from polytask._registry import saveable
from polytask.data import TableEncoder
from polytask.deep.align import Alignment
from polytask.deep.balancing import LinearHeads, OwnRows, Route, Shared
from polytask.deep.keras_models import as_module, precision_of
from polytask.deep.regularise import SmoothedLabels, TaskBatchNorm1d, TaskSequential
from polytask.deep.rows import DeviceDtype, RowBatch
from polytask.deep.sharing import Hard, Sharing
from polytask.deep.sharing.base import Inputs, OwnRepresentations, redrawn
from polytask.deep.sharing.copies import make_copies
from polytask.deep.trainable import Sums, TaskLosses, Trainable
from polytask.exceptions import DataError, ParameterError, PolytaskError
from polytask.losses import Logistic, Loss, Multinomial
from polytask.messages import LazyMessage

Block = tuple[int, int]
_LEVELS = ("text", "category")


def category_blocks(encoder: TableEncoder | None) -> tuple[Block, ...]:
    """Return where the indicators of each column of categories begin and end."""
    return tuple((start, stop) for kind, start, stop in _columns(encoder) if kind in _LEVELS)


def measured(encoder: TableEncoder | None, n_features: int) -> NDArray[np.bool_]:
    """Return which features are measured numbers, not indicators of 0 and 1."""
    real = np.full(n_features, encoder is None)
    # Behind a number comes the flag of its missing cells, if it has one.
    real[[start for kind, start, _ in _columns(encoder) if kind == "numeric"]] = True
    return real


def _columns(encoder: TableEncoder | None) -> list[tuple[str, int, int]]:
    """Return kind, first feature and end of every column that makes features."""
    columns = () if encoder is None else encoder.report_.columns
    used = [column for column in columns if not column.dropped]
    ends = itertools.accumulate(len(column.features) for column in used)
    return [(c.kind, end - len(c.features), end) for c, end in zip(used, ends, strict=True)]


class CategoryVectors(nn.Module):
    """Puts a learned vector in the place of each column's indicators."""

    rest: Tensor

    def __init__(self, n_features: int, blocks: Sequence[Block], width: int) -> None:
        super().__init__()
        self.blocks = tuple(block for block in blocks if block[1] - block[0] > width)
        inside = np.zeros(n_features, dtype=bool)
        for start, stop in self.blocks:
            inside[start:stop] = True
        self.register_buffer("rest", torch.from_numpy(np.flatnonzero(~inside)), persistent=False)
        self.vectors = nn.ModuleList(
            [nn.Linear(stop - start, width, bias=False) for start, stop in self.blocks]
        )
        self.in_features = n_features
        self.out_features = len(self.rest) + width * len(self.blocks)

    def input_layers(self) -> list[nn.Module]:
        """Return nothing: penalties of the input are for the layer that reads what this gives."""
        return []

    def forward(self, x: Tensor) -> Tensor:
        """Return the other features, and the vectors behind them, (n, out_features)."""
        pairs = zip(self.vectors, self.blocks, strict=True)
        found = [vectors(x[:, start:stop]) for vectors, (start, stop) in pairs]
        return torch.cat([x[:, self.rest], *found], dim=1)


class ColumnHeads(nn.Module):
    """One linear map per column, all of them one product."""

    # Shapes: weight (n_columns, n_features), bias (n_columns,).

    owners: Tensor

    def __init__(self, owners: Sequence[int], n_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(len(owners), n_features))
        self.bias = nn.Parameter(torch.empty(len(owners)))
        self.register_buffer("owners", torch.tensor(list(owners)), persistent=False)
        # One column per task, as of numbers and of two classes.
        self._in_order = list(owners) == list(range(len(owners)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights uniformly within 1 / sqrt(n_features); biases start at 0."""
        bound = 1.0 / math.sqrt(max(self.weight.shape[1], 1))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the predictors of all columns, (n, n_columns)."""
        # Shapes: features (n, n_features).
        if features.ndim == 2:
            return nn.functional.linear(features, self.weight, self.bias)
        own = features if self._in_order else features[:, self.owners]
        return torch.einsum("nch,ch->nc", own, self.weight) + self.bias

    def of_columns(self, features: Tensor, columns: Tensor) -> Tensor:
        """Return predictors of some columns for each row, (n, K), or of one, (n,)."""
        # Shapes: features (n, n_features), columns (n, K) or (n,).
        if columns.ndim == 1:
            # Gradients of what is selected are added up faster than those of what is indexed.
            product = (features * self.weight.index_select(0, columns)).sum(-1)
            return product + self.bias.index_select(0, columns)
        return torch.einsum("nkh,nh->nk", self.weight[columns], features) + self.bias[columns]


class OwnLayers(OwnRepresentations):
    """Copies of some layers, one for each task, as one batched product where they allow it."""

    def __init__(self, template: nn.Module, n_tasks: int) -> None:
        super().__init__()
        self.copies = make_copies([redrawn(template) for _ in range(n_tasks)])

    def _every(self, x: Any) -> Tensor:  # noqa: ANN401 - a tensor, (n, [n_tasks,] width)
        own: Tensor = self.copies(x) if x.ndim == 2 else self.copies.each(x.movedim(1, 0))
        return own.movedim(0, 1)

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        return self.copies.of_rows(x, task)


ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
# (units, tasks) -> module
NORMS: Mapping[str, Callable[[int, int], nn.Module]] = {
    "batch": lambda units, _: nn.BatchNorm1d(units),
    "layer": lambda units, _: nn.LayerNorm(units),
    "task_batch": TaskBatchNorm1d,
}


@saveable("deep.mlp")
@dataclass(eq=False, repr=False)
class MLP(BaseEstimator):
    """A multilayer perceptron: linear map, norm, activation and dropout per layer.

    Parameters
    ----------
    widths : sequence of int, default=(128, 128)
        Units of each hidden layer; ``()`` is no hidden layer, so that the heads are linear
        models of the features.
    activation : {"relu", "gelu", "silu", "tanh"}, default="relu"
        What follows each linear map.
    dropout : float, default=0.0
        The share of units set to zero in training, in [0, 1).
    norm : {"batch", "layer", "task_batch", None}, default=None
        Normalisation between linear map and activation; "task_batch" is batch norm with
        statistics, scale and shift for each task (hard sharing only).
    embedding : int or None, default=None
        Length of the learned vector that stands for each categorical column of a table with
        more levels than that; None gives the first layer one indicator per level. Levels beyond
        30 share one unless ``fit_parts`` is given an `encoder` with more ``max_levels``.

    Examples
    --------
    >>> from polytask.deep import MLP
    >>> MLP((64, 32), dropout=0.1)
    MLP(dropout=0.1, widths=(64, 32))
    """

    widths: Sequence[int] = (128, 128)
    _: KW_ONLY
    activation: str = "relu"
    dropout: float = 0.0
    norm: str | None = None
    embedding: int | None = None

    def build(self, n_features: int, blocks: Sequence[Block] = (), n_tasks: int = 1) -> nn.Module:
        """Return the module for rows of shape (n, n_features), with weights just drawn.

        Blocks say where the indicators of each categorical column begin and end; the number of
        tasks is for a norm of their own. A setting outside its set is a ParameterError.
        """
        self._check()
        layers: list[nn.Module] = []
        width = n_features
        if self.embedding is not None and blocks:
            vectors = CategoryVectors(n_features, blocks, self.embedding)
            layers.append(vectors)
            width = vectors.out_features
        for units in self.widths:
            # A norm brings a shift of its own.
            layers.append(nn.Linear(width, int(units), bias=self.norm is None))
            if self.norm is not None:
                layers.append(NORMS[self.norm](int(units), n_tasks))
            layers.append(ACTIVATIONS[self.activation]())
            if self.dropout > 0:
                layers.append(nn.Dropout(self.dropout))
            width = int(units)
        wants_task = any(getattr(layer, "takes_task", False) for layer in layers)
        return TaskSequential(*layers) if wants_task else nn.Sequential(*layers)

    def _check(self) -> None:
        one_of(self.activation, "activation", "MLP", ACTIVATIONS)
        one_of(self.norm, "norm", "MLP", (*NORMS, None))
        below_one(self.dropout, "dropout", "MLP")
        if self.embedding is not None:
            positive_integer(self.embedding, "embedding", "MLP")
        widths: object = self.widths
        if isinstance(widths, str) or not isinstance(widths, Sequence):
            allowed = LazyMessage("allowed.widths")
            raise ParameterError(sentence("widths", "MLP", allowed, repr(self.widths)))
        for units in self.widths:
            positive_integer(units, "widths", "MLP")


class Network(Trainable):
    """Sharing, heads and losses of a table of tasks."""

    def __init__(
        self,
        sharing: nn.Module,
        heads: ColumnHeads,
        losses: TaskLosses,
        own: OwnLayers | None = None,
        alignment: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.sharing = sharing
        self.own = own
        self.heads = heads
        self.losses = losses
        self.alignment = alignment
        self.n_tasks = losses.n_tasks
        # Mixtures of experts mix outputs, which are smaller than representations.
        self._mixes_outputs = own is None and callable(getattr(sharing, "readout", None))

    @property
    def sqrt_loss_mask(self) -> Tensor | None:
        """Which tasks count by the root of twice their mean loss; None if none does."""
        return self.losses.sqrt_mask if self.losses.has_roots else None

    def forward(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Return predictors. Shapes: x (n, n_features), task (n,), result (n, K)."""
        if task is None:
            return self._of_all_tasks(x)[1]
        found = self._predictors(self.represent(x, task), task)
        return found if found.ndim == 2 else found[:, None]

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
        if self._mixes_outputs:
            readout: Any = self.sharing.readout
            return None, readout(x, self.heads.weight, self.heads.owners) + self.heads.bias
        features: Tensor = self.sharing(x, None)
        return features, self._predictors(self._own(features, None), None)

    def _predictors(self, features: Tensor, task: Tensor | None) -> Tensor:
        if task is None:
            every: Tensor = self.heads(features)
            return every
        columns = task if self.losses.in_order else self.losses.columns[task]
        return self.heads.of_columns(features, columns)

    def counts(self, batch: RowBatch) -> Tensor:
        """Return the sum of label weights of every task in a batch, (n_tasks,)."""
        if batch.counts is not None:
            return batch.counts
        if batch.task is None:
            return batch.weight.sum(0)
        return batch.weight.new_zeros(self.n_tasks).index_add(0, batch.task, batch.weight)

    def sums(self, batch: RowBatch) -> Sums:
        """Return the sums of losses and label weights of the tasks present in a batch."""
        y, weight, task = batch.y, batch.weight, batch.task
        shared: Route | None
        extra = None
        # Losses are computed in full precision, also where products are not.
        if task is None:
            every, outputs = self._of_all_tasks(batch.x)
            eta = outputs.to(y.dtype)
            losses = self.losses.of_targets(y, eta, weight, batch.complete)
            shared = self._route(every, eta)
        else:
            features: Tensor = self.sharing(batch.x, task)
            eta = self._predictors(self._own(features, task), task).to(y.dtype)
            losses = self.losses.of_rows(y, eta, weight, task)
            shared = OwnRows(features, task)
            if self.alignment is not None and self.training:
                extra = self.alignment(features, task)
        counts, present = self.counts(batch), batch.present
        if present is None:
            present = torch.nonzero(counts > 0)[:, 0]
        if present.shape[0] < self.n_tasks:
            losses, counts = losses[present], counts[present]
        return Sums(losses, counts, present, shared, extra)

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


# Of the trunk that None stands for; see docs/results/deep_accuracy.md.
_DROPPED = 0.1
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
# Rows with which the width of a representation is found.
_TRIED = 2


@saveable("deep.plan")
@dataclass(frozen=True, eq=False)
class NetworkPlan:
    """The parts of a network for tables."""

    trunk: Any
    sharing: Any
    n_features: int
    losses: tuple[Loss, ...]
    widths: tuple[int, ...]
    precision: str
    blocks: tuple[Block, ...] = ()
    smoothing: float = 0.0
    heads: MLP | None = None
    alignment: Alignment | None = None

    def place(self, device: torch.device) -> DeviceDtype:
        """Return dtype and device of tensors."""
        return DeviceDtype(PRECISIONS[self.precision], device)

    def build(self, device: torch.device) -> Network:
        """Return the network, its weights drawn from torch's own generator."""
        dtype, n_tasks = PRECISIONS[self.precision], len(self.losses)
        if isinstance(self.trunk, MLP):
            trunk = self.trunk.build(self.n_features, self.blocks, n_tasks).to(dtype)
        else:
            trunk = copy.deepcopy(as_module(self.trunk))
            own = precision_of(trunk)
            if own not in (None, self.precision):
                fields = {"own": repr(own), "got": self.precision}
                raise ParameterError(LazyMessage("deep.refusal.keras_precision", fields))
            trunk = trunk.to(dtype)
        sharing = self.sharing.build(trunk, n_tasks).to(dtype)
        width = self._width(sharing, dtype)
        layers, aligned = None, None
        if self.alignment is not None:
            aligned = self.alignment.build(width, n_tasks).to(dtype)
        if self.heads is not None:
            layers = OwnLayers(self.heads.build(width).to(dtype), n_tasks).to(dtype)
            width = int(layers(torch.zeros(1, width, dtype=dtype), None).shape[-1])
        owners = np.repeat(np.arange(n_tasks), self.widths)
        heads = ColumnHeads(owners.tolist(), width).to(dtype)
        losses = TaskLosses([self._trained(loss) for loss in self.losses], self.widths)
        network = Network(sharing, heads, losses, layers, aligned).to(device)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.register_forward_pre_hook(_refuse_one_row)
        return network

    def _width(self, sharing: nn.Module, dtype: torch.dtype) -> int:
        """Return the width of the representation, or refuse a trunk of other rows."""
        training = sharing.training
        sharing.eval()
        x, task = torch.zeros(_TRIED, self.n_features, dtype=dtype), torch.zeros(_TRIED).long()
        try:
            with torch.no_grad():
                return int(sharing(x, task).shape[-1])
        except (RuntimeError, ValueError, TypeError) as error:
            if isinstance(error, PolytaskError):
                raise
            told = (str(error).splitlines() or [type(error).__name__])[0]
            fields = {"count": self.n_features, "error": told}
            raise ParameterError(LazyMessage("deep.refusal.trunk_features", fields)) from error
        finally:
            sharing.train(training)

    def _trained(self, loss: Loss) -> Loss:
        """Return the loss that training uses."""
        smooths = self.smoothing > 0 and isinstance(loss, Logistic | Multinomial)
        return SmoothedLabels(loss, self.smoothing) if smooths else loss


def _refuse_one_row(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Refuse a batch of one row, which has no variance, while training."""
    x = inputs[0]
    if norm.training and x.numel() == x.shape[1]:
        raise DataError(LazyMessage("deep.refusal.one_row"))


def trunk_of(trunk: object, owner: str) -> Any:  # noqa: ANN401 - MLP or nn.Module
    """Return a trunk, the default for None."""
    if trunk is None:
        return MLP(dropout=_DROPPED)
    if not isinstance(trunk, MLP | nn.Module):
        raise ParameterError(sentence("trunk", owner, LazyMessage("allowed.trunk"), repr(trunk)))
    return trunk


def heads_of(heads: object, owner: str) -> MLP | None:
    """Return the layers that each task has of its own, None for linear heads."""
    if heads is None or (isinstance(heads, MLP) and heads.norm in (None, "layer")):
        return heads
    raise ParameterError(sentence("heads", owner, LazyMessage("allowed.heads"), repr(heads)))


def sharing_of(sharing: object, owner: str) -> Sharing:
    """Return a way of sharing, hard sharing for None."""
    if sharing is None:
        return Hard()
    if isinstance(sharing, type) or not isinstance(sharing, Sharing):
        fields = {"module": "polytask.deep.sharing", "example": "MMoE(4)"}
        allowed = LazyMessage("allowed.none_or_object", fields)
        raise ParameterError(sentence("sharing", owner, allowed, repr(sharing)))
    return sharing


def device_of(device: object, owner: str) -> torch.device:
    """Return a device; "auto" is the first CUDA card, or the processor."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found: torch.device = torch.device(device)  # type: ignore[call-overload]
        # A name that torch knows may be that of a card which is not there.
        torch.zeros(1, device=found)
    except (RuntimeError, TypeError, AssertionError) as error:
        allowed = LazyMessage("allowed.device")
        raise ParameterError(sentence("device", owner, allowed, repr(device))) from error
    return found
