"""Ways to the gradients of the tasks at what they share, the cheapest one for each structure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeGuard, cast, runtime_checkable

import torch
from torch import Tensor

from polytask._checks import sentence
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage

# Takes the weights and the gradient of the plain sum, gives the gradient of the weighted one.
Reweigh = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Measured:
    """The Gramian of the task gradients, and how each shared tensor gets the weighted sum."""

    # Shapes: gramian (k, k), in float32 or float64. Of each shared tensor a callable takes the
    # weights (k,) and the gradient of the plain sum, and returns that of the weighted sum.
    # `finish` takes the step without another pass through what is shared: given the weights, and
    # the terms with their slopes (k,), it adds all gradients; None: `replaced` is the only way.

    gramian: Tensor
    replaced: Sequence[tuple[Tensor, Reweigh]]
    finish: Callable[[Tensor, Tensor, Tensor], None] | None = None


@dataclass(frozen=True)
class Gradients:
    """The gradients of the tasks at one tensor; `rows` (k, *at.shape)."""

    at: Tensor
    rows: Tensor
    reweigh: Reweigh


@dataclass(frozen=True)
class Listening:
    """A backward pass of the plain sum that tells the gradients of the tasks as it goes by."""

    # `measured` takes the gradient of the plain sum at the shared tensor, when everything above it
    # is done; `handles` are hooks that have to be removed after the pass.

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


@dataclass(frozen=True)
class LinearHeads:
    """Linear heads on one shared representation, each column of one task.

    The gradient of a task at the representation is ``R_t W_t`` with the derivatives R in the
    outputs; so its Gramian needs products of ``R' R`` and ``W W'`` only, and no pass through
    the heads.

    Parameters
    ----------
    shared : Tensor of shape (..., h)
        The representation.
    outputs : Tensor of shape (..., C)
        ``shared @ weight.T`` plus a bias; all losses reach `shared` through it.
    weight : Tensor of shape (C, h)
        Weights of the heads.
    tasks : LongTensor of shape (C,), default=None
        The number of the task that owns each column; None: column t belongs to task t. Each
        column must influence the loss of its task only.
    """

    shared: Tensor
    outputs: Tensor
    weight: Tensor
    tasks: Tensor | None = None

    def measure(self, terms: Tensor, present: Tensor) -> Measured:
        """Return the Gramian from the derivatives in the outputs."""
        slopes = pass_over(terms, self.outputs)
        return self._parts(slopes, present).measured(self.shared)

    def gradients(self, terms: Tensor, present: Tensor) -> Gradients:
        """Return the gradients at the representation, columns of a task added up."""
        slopes = pass_over(terms, self.outputs)
        return self._parts(slopes, present).gradients(self.shared)

    def listen(self, terms: Tensor, present: Tensor) -> Listening:
        """Hear the derivatives in the outputs when a backward pass comes by."""
        heard: list[Tensor] = []
        handle = listen(self.outputs, heard.append)

        def measured(gradient: Tensor) -> Measured:
            return self._parts(heard[0], present).measured(self.shared)

        return Listening(self.shared, measured, (handle,))

    def _parts(self, slopes: Tensor, present: Tensor) -> _Products:
        """Return the two factors of the gradients, for the columns of present tasks."""
        owner, columns = self._owners(present)
        slopes, weight = full(slopes.flatten(0, -2)), full(self.weight.detach())
        if columns is not None:
            slopes, weight = slopes[:, columns], weight[columns]
        return _Products(slopes, weight, owner, len(present))

    def _owners(self, present: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the position among the tasks present that owns each column, and the columns."""
        # None stands for one column for each task in order, and for all columns.
        n_columns = self.weight.shape[0]
        tasks = torch.arange(n_columns) if self.tasks is None else self.tasks
        tasks = tasks.to(present.device)
        if len(present) == n_columns and torch.equal(tasks, present):
            return None, None
        top = int(torch.maximum(tasks.max(), present.max())) + 1
        position = torch.full((top,), -1, dtype=torch.long, device=present.device)
        position[present] = torch.arange(len(present), device=present.device)
        owner = position[tasks]
        columns = torch.nonzero(owner >= 0).flatten()
        return owner[columns], columns


@dataclass(frozen=True)
class _Products:
    """Gradients ``slopes[:, c] weight[c]``, summed over the columns c of a task."""

    slopes: Tensor
    weight: Tensor
    owner: Tensor | None
    k: int

    def measured(self, shared: Tensor) -> Measured:
        """Return the Gramian: the products of both factors, entry by entry."""
        products = (self.slopes.T @ self.slopes) * (self.weight @ self.weight.T)
        gramian = products
        if self.owner is not None:
            # The products of columns, summed over the columns of each task.
            rows = products.new_zeros(self.k, products.shape[1]).index_add(0, self.owner, products)
            gramian = products.new_zeros(self.k, self.k).index_add(1, self.owner, rows)
        return Measured(gramian, [(shared, self.reweigh)])

    def gradients(self, shared: Tensor) -> Gradients:
        """Return the gradients themselves."""
        rows = self.slopes.T[:, :, None] * self.weight[:, None, :]
        if self.owner is not None:
            rows = rows.new_zeros(self.k, *rows.shape[1:]).index_add(0, self.owner, rows)
        return Gradients(shared, rows.reshape(self.k, *shared.shape).to(shared), self.reweigh)

    def reweigh(self, weights: Tensor, gradient: Tensor) -> Tensor:
        """Take weighted derivatives through the heads."""
        weights = weights.to(self.slopes)
        each = weights if self.owner is None else weights[self.owner]
        return ((self.slopes * each) @ self.weight).reshape(gradient.shape).to(gradient)


@dataclass(frozen=True)
class OwnInputs:
    """One copy of the representation for each task, as :func:`fan_out` makes them.

    Parameters
    ----------
    shared : Tensor of shape (n_tasks, ...)
        Copies; the loss of a task reaches the network through its own copy only.
    """

    shared: Tensor

    def measure(self, terms: Tensor, present: Tensor) -> Measured:
        """Return the Gramian from one ordinary pass through the heads."""
        return self.listen(terms, present).measured(pass_over(terms, self.shared))

    def listen(self, terms: Tensor, present: Tensor) -> Listening:
        """Find the gradients in that of the plain sum, one for each copy."""
        n_tasks = self.shared.shape[0]

        def reweigh(weights: Tensor, gradient: Tensor) -> Tensor:
            each = weights.new_zeros(n_tasks).index_copy(0, present, weights)
            return gradient * each.to(gradient).reshape(-1, *[1] * (gradient.ndim - 1))

        def measured(gradient: Tensor) -> Measured:
            rows = gradient.reshape(n_tasks, -1)
            mine = rows if present.tolist() == list(range(n_tasks)) else rows[present]
            return Measured(outer(mine), [(self.shared, reweigh)])

        return Listening(self.shared, measured)


@dataclass(frozen=True)
class OwnRows:
    """A batch in which every row belongs to one task.

    The gradients of two tasks at the representation have no row in common, so their inner
    product is zero: balancers see the sizes of the gradients and no conflict. Conflicts in
    such data are seen at parameter level.

    Parameters
    ----------
    shared : Tensor of shape (n, ...)
        The representation of each row.
    tasks : LongTensor of shape (n,)
        The number of the task of each row.
    """

    shared: Tensor
    tasks: Tensor

    def measure(self, terms: Tensor, present: Tensor) -> Measured:
        """Return the diagonal Gramian from one ordinary pass through the heads."""
        return self.listen(terms, present).measured(pass_over(terms, self.shared))

    def gradients(self, terms: Tensor, present: Tensor) -> Gradients:
        """Return the gradients, zero in the rows of other tasks."""
        gradient = pass_over(terms, self.shared)
        mine = (self.tasks == present[:, None]).to(gradient)
        rows = gradient * mine.reshape(*mine.shape, *[1] * (gradient.ndim - 1))
        return Gradients(self.shared, rows, self._reweigh(present))

    def listen(self, terms: Tensor, present: Tensor) -> Listening:
        """Find the gradients in that of the plain sum, each in the rows of its task."""

        def measured(gradient: Tensor) -> Measured:
            squares = full(gradient).flatten(1).square().sum(1)
            sums = squares.new_zeros(self._top(present)).index_add(0, self.tasks, squares)
            return Measured(torch.diag(sums[present]), [(self.shared, self._reweigh(present))])

        return Listening(self.shared, measured)

    def _top(self, present: Tensor) -> int:
        """Return one more than the largest number of a task."""
        return int(torch.maximum(self.tasks.max(), present.max())) + 1

    def _reweigh(self, present: Tensor) -> Reweigh:
        """Return what weighs the rows of each task."""

        def reweigh(weights: Tensor, gradient: Tensor) -> Tensor:
            known = weights.new_zeros(self._top(present)).index_copy(0, present, weights)
            each = known[self.tasks].to(gradient)
            return gradient * each.reshape(-1, *[1] * (gradient.ndim - 1))

        return reweigh


def fan_out(shared: Tensor, n_tasks: int) -> Tensor:
    """Return a copy of a representation for each task, without copying its memory.

    Parameters
    ----------
    shared : Tensor of shape (n, h)
        The representation.
    n_tasks : int
        Number of tasks.

    Returns
    -------
    Tensor of shape (n_tasks, n, h)
        The copies, for :class:`OwnInputs`.
    """
    return shared.expand(n_tasks, *shared.shape)


# Of that many tasks or fewer, adding up kept gradients costs less than another pass.
FEW = 8


@dataclass(frozen=True)
class Shared:
    """Any tensors that tasks share: a representation, several of them, or parameters.

    If every loss reaches the one tensor through operations of its own (a head for each task,
    ``losses = torch.stack([...])``), one ordinary pass through the heads gives all gradients;
    otherwise one pass vectorised over the tasks.

    Parameters
    ----------
    tensors : sequence of Tensor
        Tensors that require gradients.
    """

    tensors: Sequence[Tensor]

    def measure(self, terms: Tensor, present: Tensor) -> Measured:
        """Return the Gramian of the gradients with respect to all the tensors."""
        rows = self.rows(terms)
        gramian = sum((outer(of) for of in rows[1:]), outer(rows[0]))
        return Measured(gramian, [_mixed(t, of) for t, of in zip(self.tensors, rows, strict=True)])

    def listen(self, terms: Tensor, present: Tensor) -> Listening | None:
        """Hear what each loss sends back to the one tensor, if their operations are apart."""
        heard = contributions(terms, self.tensors[0]) if len(self.tensors) == 1 else None
        if heard is None:
            return None
        rows, handles = heard
        at = self.tensors[0]

        def measured(gradient: Tensor) -> Measured:
            flat = rows.flatten(1)
            return Measured(outer(flat), [_mixed(at, flat)])

        return Listening(at, measured, handles)

    def gradients(self, terms: Tensor, present: Tensor) -> Gradients:
        """Return the gradients at the one tensor."""
        if len(self.tensors) != 1:
            allowed = LazyMessage("allowed.one_tensor")
            raise IncompatibleError(sentence("through", "Parameters", allowed, len(self.tensors)))
        at, (rows,) = self.tensors[0], self.rows(terms)
        return Gradients(at, rows.reshape(len(terms), *at.shape), _mixed(at, rows)[1])

    def rows(self, terms: Tensor) -> list[Tensor]:
        """Return the gradients of all terms, (k, size) for each tensor."""
        heard = contributions(terms, self.tensors[0]) if len(self.tensors) == 1 else None
        if heard is not None:
            rows, handles = heard
            pass_over(terms, self.tensors[0], handles)
            return [rows.flatten(1)]
        if len(terms) == 1:
            single = torch.autograd.grad(
                terms[0], self.tensors, retain_graph=True, materialize_grads=True
            )
            return [gradient.reshape(1, -1) for gradient in single]
        together = torch.autograd.grad(
            terms,
            self.tensors,
            grad_outputs=torch.eye(len(terms), dtype=terms.dtype, device=terms.device),
            is_grads_batched=True,
            retain_graph=True,
            materialize_grads=True,
        )
        return [gradients.reshape(len(terms), -1) for gradients in together]


@dataclass(frozen=True)
class Parameters:
    """Parameters of the trunk, reached through the representation that it computes.

    The gradients at the representation come first, by their own cheap route; one pass
    vectorised over the tasks takes them through the trunk, and none goes through the heads. As
    the gradient of the parameters is linear in that of the representation, the weighted sum is
    put back there.

    Parameters
    ----------
    tensors : sequence of Tensor
        The parameters; the losses depend on them through the representation only.
    through : Tensor or Stage
        The representation: a tensor, ``LinearHeads`` or ``OwnRows``.

    Raises
    ------
    IncompatibleError
        If `through` cannot hand out gradients (``OwnInputs``).
    """

    tensors: Sequence[Tensor]
    through: Tensor | Route

    def measure(self, terms: Tensor, present: Tensor) -> Measured:
        """Return the Gramian of the gradients with respect to the parameters."""
        stage = route_of(self.through)
        if not isinstance(stage, Stage):
            allowed, got = LazyMessage("allowed.route"), type(self.through).__name__
            raise IncompatibleError(sentence("through", "Parameters", allowed, got))
        upper = stage.gradients(terms, present)
        each: Sequence[Tensor | None] = torch.autograd.grad(
            upper.at,
            tuple(self.tensors),
            grad_outputs=upper.rows,
            is_grads_batched=True,
            retain_graph=True,
            allow_unused=True,
        )
        pairs = zip(self.tensors, each, strict=True)
        used = [(t, rows.reshape(len(terms), -1)) for t, rows in pairs if rows is not None]
        empty = terms.new_zeros(len(terms), len(terms))
        gramian = sum((outer(rows) for _, rows in used), empty)
        return Measured(gramian, [(upper.at, upper.reweigh)], self._finish(terms, upper.at, used))

    def _finish(
        self, terms: Tensor, at: Tensor, used: Sequence[tuple[Tensor, Tensor]]
    ) -> Callable[[Tensor, Tensor, Tensor], None] | None:
        """Return how to add up the rows, if they are few and nothing else is shared."""
        if len(terms) > FEW:
            return None
        others = leaves_above(terms, at, [tensor for tensor, _ in used])
        if others is None:
            return None

        def finish(weights: Tensor, given: Tensor, slopes: Tensor) -> None:
            if others:
                torch.autograd.backward(given, slopes, inputs=others)
            sums = [(weights.to(rows) @ rows).reshape(t.shape).to(t.dtype) for t, rows in used]
            torch.autograd.backward([tensor for tensor, _ in used], sums)

        return finish


def route_of(shared: Route | Tensor | Iterable[Tensor]) -> Route:
    """Return the route that `shared` stands for, or raise :class:`DataError`."""
    allowed = LazyMessage("allowed.with_gradients")
    if hasattr(type(shared), "measure"):
        at = getattr(shared, "shared", None)
        if isinstance(at, Tensor) and not at.requires_grad:
            frozen = LazyMessage("got.frozen_trunk")
            raise DataError(sentence("shared", "backward", allowed, frozen))
        return cast(Route, shared)
    tensors = [shared] if isinstance(shared, Tensor) else list(cast(Iterable[Tensor], shared))
    n_learned = sum(tensor.requires_grad for tensor in tensors)
    if not tensors or n_learned < len(tensors):
        got = LazyMessage("got.with_gradients", {"count": len(tensors), "learned": n_learned})
        raise DataError(sentence("shared", "backward", allowed, got))
    return Shared(tuple(tensors))


def _mixed(tensor: Tensor, rows: Tensor) -> tuple[Tensor, Reweigh]:
    """Return a shared tensor and the replacement of its gradient by a sum of rows."""

    def reweigh(weights: Tensor, gradient: Tensor) -> Tensor:
        return (weights.to(rows) @ rows).reshape(gradient.shape).to(gradient)

    return tensor, reweigh
