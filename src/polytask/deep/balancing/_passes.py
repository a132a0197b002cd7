"""Backward passes over single tasks, and what is heard of them on the way."""

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


Node = Any  # torch.autograd.graph.Node: its edges are not part of the typed interface
Edge = tuple[Node, int]
# Operations that may follow the stack: of one tensor that is learned and a constant.
ENTRYWISE = ("MulBackward0", "DivBackward0", "ToCopyBackward0")


def contributions(terms: Tensor, shared: Tensor) -> tuple[Tensor, Sequence[Any]] | None:
    """Listen to what each term sends back to a shared tensor in the next backward pass."""
    # Shapes: terms (k,), result (k, *shared.shape).
    at = torch.autograd.graph.get_gradient_edge(shared)
    found = _edges_into(terms, (at.node, at.output_nr))
    if found is None:
        return None
    gathered = torch.zeros(len(terms), *shared.shape, dtype=shared.dtype, device=shared.device)
    handles = [listen(node, _adding(slot, gathered[task])) for task, node, slot in found]
    return gathered, handles


def leaves_above(terms: Tensor, at: Tensor, below: Sequence[Tensor]) -> list[Tensor] | None:
    """Return the leaves that the terms depend on beside a tensor and what is below it."""
    # Shapes: terms (k,).
    edge = torch.autograd.graph.get_gradient_edge(at)
    named = {id(leaf) for leaf in below}
    beside = _leaves(terms.grad_fn, {edge.node})
    if {id(leaf) for leaf in _leaves(edge.node, set())} != named:
        return None
    return None if any(id(leaf) in named for leaf in beside) else beside


def _leaves(start: Node, seen: set[Node]) -> list[Tensor]:
    """Return the leaves reached from a node, not through nodes that were seen."""
    waiting, found = [start], []
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting.extend(child for child, _ in node.next_functions)
    return found


def listen(source: Any, hear: Callable[..., Any]) -> Any:  # noqa: ANN401 - torch leaves both untyped
    """Register a hook on a tensor or node; return its handle."""
    return source.register_hook(hear)


def _adding(slot: int, into: Tensor) -> Callable[..., None]:
    """Return a hook that adds what a node sends along one edge to a tensor."""

    def hear(sent: tuple[Tensor | None, ...], _: object) -> None:
        gradient = sent[slot]
        if gradient is not None:
            into.add_(gradient)

    return hear


def _edges_into(terms: Tensor, target: Edge) -> list[tuple[int, Node, int]] | None:
    """Return (position of the loss, node, slot) of every edge into the shared tensor."""
    starts = _separate_losses(terms)
    owner: dict[Node, int] = {}
    found: list[tuple[int, Node, int]] = []
    for task, start in enumerate(starts):
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if owner.setdefault(node, task) != task:
                return None
            for slot, (child, number) in enumerate(node.next_functions):
                if (child, number) == target:
                    found.append((task, node, slot))
                elif child is not None and child.next_functions and child not in owner:
                    waiting.append(child)
                elif owner.get(child, task) != task:
                    return None
    return found if starts else None


def _separate_losses(terms: Tensor) -> list[Node]:
    """Return the nodes of the losses that were stacked, or nothing if they were not."""
    node: Node = terms.grad_fn
    while node is not None and node.name() in ENTRYWISE:
        children = [child for child, _ in node.next_functions if child is not None]
        node = children[0] if len(children) == 1 else None
    stacked = node is not None and node.name() == "StackBackward0"
    starts = [child for child, _ in node.next_functions] if stacked else []
    separate = len(starts) == len(terms) and None not in starts
    return starts if separate else []
