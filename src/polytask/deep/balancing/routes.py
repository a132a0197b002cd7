"""How the gradients of the tasks are reached: their Gramian, and the weighted sum put back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from polytask._checks import sentence
from polytask.deep.balancing._own_heads import contributions, leaves_above
from polytask.deep.balancing._passes import (
    Gradients,
    Listening,
    Measured,
    OnePass,
    Reweigh,
    Route,
    Stage,
    in_one_pass,
    outer,
    pass_over,
)
from polytask.deep.balancing.structured import LinearHeads, OwnInputs, OwnRows, fan_out
from polytask.exceptions import DataError, IncompatibleError

__all__ = [
    "Route",
    "OnePass",
    "Stage",
    "Measured",
    "Gradients",
    "Listening",
    "Reweigh",
    "Shared",
    "Parameters",
    "LinearHeads",
    "OwnInputs",
    "OwnRows",
    "fan_out",
    "in_one_pass",
    "route_of",
]


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
            allowed = "one tensor"
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
            allowed = "a tensor, LinearHeads or OwnRows"
            got = type(self.through).__name__
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
    if hasattr(type(shared), "measure"):
        at = getattr(shared, "shared", None)
        if isinstance(at, Tensor) and not at.requires_grad:
            allowed = "a representation that requires gradients"
            raise DataError(sentence("shared", "backward", allowed, "that of a frozen trunk"))
        return cast(Route, shared)
    tensors = [shared] if isinstance(shared, Tensor) else list(cast(Iterable[Tensor], shared))
    n_learned = sum(tensor.requires_grad for tensor in tensors)
    if not tensors or n_learned < len(tensors):
        allowed = "tensors that require gradients, at least one"
        got = f"{len(tensors)}, {n_learned} of them with gradients"
        raise DataError(sentence("shared", "backward", allowed, got))
    return Shared(tuple(tensors))


def _mixed(tensor: Tensor, rows: Tensor) -> tuple[Tensor, Reweigh]:
    """Return a shared tensor and the replacement of its gradient by a sum of rows."""

    def reweigh(weights: Tensor, gradient: Tensor) -> Tensor:
        return (weights.to(rows) @ rows).reshape(gradient.shape).to(gradient)

    return tensor, reweigh
