"""What training asks of a penalty: a part for the loss and a part for the proximal step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polytask.deep.regularise.by_dual import ByDual
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties import (
    Composed,
    LatentTasks,
    Nonconvex,
    Parts,
    Penalty,
    Proximable,
    Smooth,
    Sum,
)
from polytask.penalties.constraints_rows import Bounded
from polytask.penalties.sums import add, merge, parts_of

# Why a penalty has no proximal step, and what to do instead.
_WITHOUT: tuple[tuple[type, str], ...] = (
    (Composed, "a norm of differences of columns has a proximal operator by itself only"),
    (
        LatentTasks,
        "it penalises two factors of W: make them two linear layers, the first with as many units "
        "as there are latent tasks, and give L2 to the first and L1 to the second",
    ),
    (
        Parts,
        "the division of W into these parts has no proximal operator of W; dirty, with L21 or "
        "L1Inf beside L1, has one",
    ),
    (
        Nonconvex,
        "it is known by the convex penalties above it, not by a proximal operator; MCP, SCAD and "
        "CappedL21 have one",
    ),
)


@dataclass(frozen=True)
class Parting:
    """A penalty as a smooth part and a part with a prox, whose sum it is."""

    smooth: Smooth | None
    proximable: Proximable | None

    def value(self, W: Tensor) -> float:
        """Return the value of both at W, of shape (n_features, n_columns)."""
        parts = (self.smooth, self.proximable)
        return sum(float(part.value(W)) for part in parts if part is not None)


def _has_say(term: Penalty) -> bool:
    """Tell whether a term matters: it has a strength, or bounds at any strength."""
    return term.strength != 0 or isinstance(term, Bounded)


def _proximable(terms: list[Penalty], penalty: Penalty) -> Proximable | None:
    """Return terms that are not smooth as one with a prox, or refuse."""
    if len(terms) == 1 and isinstance(terms[0], Composed):
        return ByDual(terms[0])
    for term in terms:
        reason = next((why for kind, why in _WITHOUT if isinstance(term, kind)), None)
        if not isinstance(term, Proximable):
            because = reason or "it has neither a gradient nor a proximal operator"
            raise IncompatibleError(f"{penalty!r} cannot be a penalty of a layer: {because}.")
    active = [term for term in terms if _has_say(term)] or terms[:1]
    whole: Any = merge(active) if active else None
    if whole is None and not active:
        return None
    if not isinstance(whole, Proximable):
        names = " and ".join(repr(term) for term in active)
        raise IncompatibleError(
            f"{names} cannot be penalties of one layer: no proximal operator of their sum is "
            "known."
        )
    return whole


def parted(penalty: Penalty) -> Parting:
    """Take a penalty apart for training by gradients."""
    # Unlike :func:`polytask.penalties.decompose`, which gives ridges to the prox, everything with
    # a gradient goes to the smooth part: there any optimiser is right. Penalties that are not
    # convex are allowed; what is reached is a stationary point, as for the network itself.
    members = penalty.members if isinstance(penalty, Sum) else (penalty,)
    if any(member.strength is None for member in members):
        raise ParameterError(
            f"{penalty!r} is relative to the strength at which every coefficient vanishes, which "
            "a layer of a network does not have; give alpha."
        )
    terms = [part for member in members for part in parts_of(member)]
    smooth = [term for term in terms if isinstance(term, Smooth)]
    together: Any = add(smooth) if smooth else None
    rest = [term for term in terms if not isinstance(term, Smooth)]
    return Parting(together, _proximable(rest, penalty))


class _SmoothValue(torch.autograd.Function):
    """The value of a smooth penalty, whose gradient the penalty itself knows."""

    @staticmethod
    def forward(ctx: Any, W: Tensor, penalty: Smooth) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(W)
        ctx.penalty = penalty
        return W.new_tensor(penalty.value(W.detach()))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (W,) = ctx.saved_tensors
        return slopes[0] * ctx.penalty.gradient(W.detach()), None


def smooth_value(W: Tensor, penalty: Smooth) -> Tensor:
    """Return the value of a smooth penalty as a tensor with a gradient."""
    # Shapes: W (n_features, n_columns), result ().
    found: Tensor = _SmoothValue.apply(W, penalty)  # type: ignore[no-untyped-call]
    return found
