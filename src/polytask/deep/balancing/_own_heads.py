"""Find out whether every loss has operations of its own, and what each sends back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

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
