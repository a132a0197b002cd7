"""The proximal operator of a norm of differences of columns, by iterations on its dual."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, final

from polytask._linalg import Array, inner, namespace
from polytask.exceptions import ConvergenceWarning
from polytask.penalties import Composed, Proximable

_ROUNDS = 20_000
# In units of rounding.
_UNITS = 8.0
# The certificate is looked at every so many rounds: it costs as much as a round.
_EVERY = 10


@final
@dataclass(frozen=True, eq=False)
class ByDual(Proximable):
    """A penalty h(A W) with its prox: accelerated projected gradient on the dual [1]_."""

    # The minimiser of 1/2 ||Z - W||^2 + s h(A Z) is W - s A'U, where U minimises
    # s/2 ||A'U||^2 - <A W, U> + h*(U). It ends when the duality gap, which bounds half the squared
    # distance to the minimiser, is at the limit of the precision; what is zero in A Z is then
    # made exactly zero.

    penalty: Composed

    def value(self, W: Array) -> float:
        """Return the value of the penalty."""
        return self.penalty.value(W)

    def prox(self, W: Array, step: float) -> Array:
        """Return the minimiser over Z of 1/2 ||Z - W||_F^2 + step * penalty(Z)."""
        if step == 0:
            return W
        xp = namespace(W)
        # The gap cancels digits that coarser numbers do not have.
        return xp.astype(self._prox(xp.astype(W, xp.float64), step), W.dtype)

    def _prox(self, W: Array, step: float) -> Array:
        """Return the minimiser in float64."""
        part: Any = self.penalty
        rate = 1.0 / (step * part.norm_bound())
        U = ahead = 0.0 * part.forward(W)
        goal = _UNITS * float(namespace(W).finfo(W.dtype).eps) * inner(W, W)
        weight, gap, Z = 1.0, math.inf, W
        for count in range(_ROUNDS):
            point = ahead + rate * part.forward(W - step * part.adjoint(ahead))
            found = part.dual_prox(point, rate)
            overshoots = inner(ahead - found, found - U) > 0
            after = 1.0 if overshoots else 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * weight**2))
            momentum = 0.0 if overshoots else (weight - 1.0) / after
            ahead, U, weight = found + momentum * (found - U), found, after
            if count % _EVERY == 0:
                Z, gap = self._judged(W, U, step, rate)
                if gap <= goal:
                    return Z
        warnings.warn(
            f"The proximal step of {part!r} ended with a duality gap of {gap:.1e} (wanted "
            f"{goal:.1e}): use a smaller learning rate, or fewer tasks.",
            ConvergenceWarning,
            stacklevel=3,
        )
        return Z

    def _judged(self, W: Array, U: Array, step: float, rate: float) -> tuple[Array, float]:
        """Return the point of a dual point, with exact zeros in A Z, and their duality gap."""
        part = self.penalty
        plain = W - step * part.adjoint(U)
        point = U + rate * part.forward(plain)
        Z = part.settled(plain, point - part.dual_prox(point, rate))
        primal = 0.5 * inner(Z - W, Z - W) + step * part.value(Z)
        dual = 0.5 * (inner(W, W) - inner(plain, plain)) - step * part.dual_value(U)
        return Z, primal - dual
