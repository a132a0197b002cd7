"""The default trunk for tables: a multilayer perceptron, described by plain settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

from sklearn.base import BaseEstimator
from torch import nn

from polytask._checks import number, one_of, positive_integer, sentence
from polytask._registry import State, saveable
from polytask.deep.categories import Block, CategoryVectors
from polytask.deep.regularise import TaskBatchNorm1d, TaskSequential
from polytask.exceptions import ParameterError

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
        more levels than that; None gives the first layer one indicator per level.

    Examples
    --------
    >>> from polytask.deep import MLP
    >>> MLP((64, 32), dropout=0.1)
    MLP(dropout=0.1, widths=(64, 32))
    """

    def __init__(
        self,
        widths: Sequence[int] = (128, 128),
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        norm: str | None = None,
        embedding: int | None = None,
    ) -> None:
        self.widths = widths
        self.activation = activation
        self.dropout = dropout
        self.norm = norm
        self.embedding = embedding

    def build(self, n_features: int, blocks: Sequence[Block] = (), n_tasks: int = 1) -> nn.Module:
        """Return the module for rows of shape (n, n_features), with weights just drawn.

        Parameters
        ----------
        n_features : int
            Features of a row.
        blocks : sequence of (int, int), default=()
            Where the indicators of each categorical column begin and end.
        n_tasks : int, default=1
            Number of tasks, for a norm of their own.

        Raises
        ------
        ParameterError
            If a setting is outside its set.
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
        allowed = "a number in [0, 1)"
        if not 0 <= number(self.dropout, "dropout", "MLP", allowed) < 1:
            raise ParameterError(sentence("dropout", "MLP", allowed, repr(self.dropout)))
        if self.embedding is not None:
            positive_integer(self.embedding, "embedding", "MLP")
        widths: object = self.widths
        if isinstance(widths, str) or not isinstance(widths, Sequence):
            allowed = "a sequence of integers >= 1, such as (128, 128)"
            raise ParameterError(sentence("widths", "MLP", allowed, repr(self.widths)))
        for units in self.widths:
            positive_integer(units, "widths", "MLP")

    def to_state(self) -> State:
        """Return the settings."""
        return {**self.get_params(), "widths": tuple(self.widths)}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the description from :meth:`to_state`."""
        return cls(**state)
