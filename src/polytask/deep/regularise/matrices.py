"""Parameters of layers seen as the coefficient matrix W, of shape (n_features, n_columns)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from polytask._checks import sentence
from polytask.exceptions import IncompatibleError


class Layout(ABC):
    """How a tensor is seen as a matrix; the two directions undo each other."""

    @abstractmethod
    def matrix(self, values: Tensor) -> Tensor:
        """Return the tensor as a matrix of shape (n_features, n_columns)."""

    @abstractmethod
    def tensor(self, W: Tensor, shape: Sequence[int]) -> Tensor:
        """Return a matrix as a tensor of the given shape."""


@final
@dataclass(frozen=True)
class RowsAt(Layout):
    """The features are along one axis of the tensor, the columns are all other axes."""

    axis: int

    def matrix(self, values: Tensor) -> Tensor:
        """Return the tensor as a matrix of shape (shape[axis], all else)."""
        return values.movedim(self.axis, 0).flatten(1)

    def tensor(self, W: Tensor, shape: Sequence[int]) -> Tensor:
        """Return a matrix as a tensor of the given shape."""
        others = [n for axis, n in enumerate(shape) if axis != self.axis]
        return W.reshape(shape[self.axis], *others).movedim(0, self.axis)


@final
@dataclass(frozen=True)
class ColumnPerCopy(Layout):
    """Each copy, along the first axis of the tensor, is one column."""

    def matrix(self, values: Tensor) -> Tensor:
        """Return the tensor as a matrix of shape (all else, shape[0])."""
        return values.reshape(len(values), -1).T

    def tensor(self, W: Tensor, shape: Sequence[int]) -> Tensor:
        """Return a matrix as a tensor of the given shape."""
        return W.T.reshape(*shape)


@final
@dataclass(frozen=True)
class OneColumn(Layout):
    """The whole tensor is one column: one of several copies that are tensors of their own."""

    def matrix(self, values: Tensor) -> Tensor:
        """Return the tensor as a matrix of shape (n_elements, 1)."""
        return values.reshape(-1, 1)

    def tensor(self, W: Tensor, shape: Sequence[int]) -> Tensor:
        """Return a matrix as a tensor of the given shape."""
        return W.reshape(*shape)


@final
@dataclass(frozen=True)
class OneRow(Layout):
    """The whole tensor is one row, as for a bias: the coefficients of a feature that is 1."""

    def matrix(self, values: Tensor) -> Tensor:
        """Return the tensor as a matrix of shape (1, n_elements)."""
        return values.reshape(1, -1)

    def tensor(self, W: Tensor, shape: Sequence[int]) -> Tensor:
        """Return a matrix as a tensor of the given shape."""
        return W.reshape(*shape)


_INPUT_FIRST = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def layout_of(module: nn.Module, name: str, values: Tensor) -> Layout:
    """Return how a parameter of a module is seen as a matrix."""
    # A module that stacks copies says so in its attribute `layouts`, a mapping from the names of
    # its parameters to their layouts. Otherwise an embedding and a transposed convolution have
    # their inputs along the first axis, every other layer along the second; a vector is one row.
    own: dict[str, Layout] = getattr(module, "layouts", {})
    if name in own:
        return own[name]
    if values.ndim < 2:
        return OneRow()
    return RowsAt(0 if isinstance(module, _INPUT_FIRST) else 1)


@final
@dataclass(frozen=True, eq=False)
class Matrix:
    """One or several parameters as one matrix W; several have their columns side by side."""

    name: str
    blocks: tuple[tuple[nn.Parameter, Layout], ...]

    def __post_init__(self) -> None:
        """Refuse parameters that do not fit side by side."""
        widths = [len(layout.matrix(parameter.detach())) for parameter, layout in self.blocks]
        if len(set(widths)) > 1:
            allowed = "layers with the same number of inputs, whose columns stand side by side"
            got = f"layers with {', '.join(map(str, widths))} inputs; name them one by one"
            raise IncompatibleError(sentence(repr(self.name), "Penalties", allowed, got))

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """The parameters."""
        return tuple(parameter for parameter, _ in self.blocks)

    @property
    def frozen(self) -> bool:
        """Whether no parameter is to be trained."""
        return not any(parameter.requires_grad for parameter in self.parameters)

    def require_free(self) -> None:
        """Refuse parameters of which some are to be trained and some are not."""
        kinds = {parameter.requires_grad for parameter in self.parameters}
        if len(kinds) > 1:
            raise IncompatibleError(
                f"A part of {self.name!r} is frozen, and a penalty with zeros is for the whole of "
                "it: put penalties on the layers that are trained, by their own names."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """The number of features and of columns."""
        n_features = len(self.blocks[0][1].matrix(self.blocks[0][0].detach()))
        return n_features, sum(p.numel() for p in self.parameters) // max(n_features, 1)

    def joined(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return tensors, of the shapes of the parameters, as one matrix."""
        found = [layout.matrix(t) for t, (_, layout) in zip(tensors, self.blocks, strict=True)]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    def value(self) -> Tensor:
        """Return W, of shape (n_features, n_columns); gradients flow through it."""
        return self.joined(self.parameters)

    def gradient(self) -> Tensor | None:
        """Return the gradient in W from ``.grad``, zero where there is none; None if nowhere."""
        found = [parameter.grad for parameter in self.parameters]
        if all(gradient is None for gradient in found):
            return None
        known = zip(found, self.parameters, strict=True)
        return self.joined([torch.zeros_like(p) if g is None else g for g, p in known])

    def split(self, W: Tensor) -> list[Tensor]:
        """Return a matrix as tensors of the shapes of the parameters."""
        n_features = max(len(W), 1)
        widths = [math.prod(p.shape) // n_features for p in self.parameters]
        pieces = torch.split(W, widths, dim=1)
        pairs = zip(pieces, self.blocks, strict=True)
        return [layout.tensor(piece, p.shape) for piece, (p, layout) in pairs]

    @torch.no_grad()
    def write(self, W: Tensor) -> None:
        """Put the entries of a matrix into the parameters."""
        for parameter, values in zip(self.parameters, self.split(W), strict=True):
            parameter.copy_(values)
