"""What routes to the gradients of the tasks hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor

# Takes the weights and the gradient of the plain sum, gives the gradient of the weighted one.
Reweigh = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Measured:
    """The Gramian of the task gradients, and how each shared tensor gets the weighted sum.

    Parameters
    ----------
    gramian : Tensor of shape (k, k)
        Inner products of the gradients, float32 or float64.
    replaced : sequence of tuple of Tensor and callable
        The shared tensors; each callable takes the weights (k,) and the gradient of the plain
        sum at the tensor, and returns that of the weighted sum.
    finish : callable, default=None
        Takes the step without another pass through what is shared: given the weights, and the
        terms with their slopes (k,), it adds all gradients. None: `replaced` is the only way.
    """

    gramian: Tensor
    replaced: Sequence[tuple[Tensor, Reweigh]]
    finish: Callable[[Tensor, Tensor, Tensor], None] | None = None


@dataclass(frozen=True)
class Gradients:
    """The gradients of the tasks at one tensor.

    Parameters
    ----------
    at : Tensor
        The tensor.
    rows : Tensor of shape (k, *at.shape)
        The gradient of each task.
    reweigh : callable
        As in :class:`Measured`.
    """

    at: Tensor
    rows: Tensor
    reweigh: Reweigh


@dataclass(frozen=True)
class Listening:
    """A backward pass of the plain sum that tells the gradients of the tasks as it goes by.

    Parameters
    ----------
    at : Tensor
        The shared tensor.
    measured : callable
        Takes the gradient of the plain sum at the tensor, when everything above it is done.
    handles : sequence, default=()
        Hooks that have to be removed after the pass.
    """

    at: Tensor
    measured: Callable[[Tensor], Measured]
    handles: Sequence[Any] = field(default=())

    def stop(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()


def pass_over(terms: Tensor, at: Tensor, handles: Sequence[Any] = ()) -> Tensor:
    """Return the gradient of the sum of the terms at a tensor, and remove hooks afterwards."""
    try:
        (gradient,) = torch.autograd.grad(
            terms.sum(), at, retain_graph=True, materialize_grads=True
        )
    finally:
        for handle in handles:
            handle.remove()
    return gradient


@runtime_checkable
class Route(Protocol):
    """What the tasks share, and the cheapest way to their gradients there."""

    def measure(self, terms: Tensor, present: Tensor) -> Measured:
        """Return the Gramian of the gradients of `terms` (k,), of the tasks `present` (k,)."""
        ...


@runtime_checkable
class OnePass(Protocol):
    """A route for which one ordinary backward pass is enough."""

    def listen(self, terms: Tensor, present: Tensor) -> Listening | None:
        """Get ready to listen to the next backward pass of `terms`; None: it cannot tell."""
        ...


def in_one_pass(route: object) -> TypeGuard[OnePass]:
    """Say whether one ordinary pass may be enough; a look at the type, for steps are short."""
    return hasattr(type(route), "listen")


@runtime_checkable
class Stage(Protocol):
    """A route that can hand out the gradients of the tasks at the one tensor it is about."""

    def gradients(self, terms: Tensor, present: Tensor) -> Gradients:
        """Return the gradients of `terms` (k,), of the tasks `present` (k,)."""
        ...


def full(values: Tensor) -> Tensor:
    """Return the values in float32 at least."""
    return values.float() if values.dtype.itemsize < torch.float32.itemsize else values


def outer(rows: Tensor) -> Tensor:
    """Return ``rows @ rows.T``; of many rows the upper blocks only are computed."""
    rows, k, width = full(rows), len(rows), 256
    if k <= width:
        return rows @ rows.T
    product = rows.new_empty(k, k)
    for start in range(0, k, width):
        block = rows[start : start + width] @ rows[start:].T
        product[start : start + width, start:] = block
        product[start:, start : start + width] = block.T
    return product
