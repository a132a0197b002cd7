"""Data terms of something else than W, of which W is a linear function."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array, LinearMap
from polytask.penalties import Smooth
from polytask.solvers.objective import with_smooth


class WrappedDatafit(Datafit):
    """What a data term has in common with that of W: W is linear in its argument."""

    # A leaf class is a dataclass with the field `datafit`, the data term of W.

    datafit: Datafit

    @property
    def is_quadratic(self) -> bool:
        """Whether the Hessian is the same everywhere."""
        return self.datafit.is_quadratic

    @property
    def is_bounded(self) -> bool:
        """Whether the curvature has a bound."""
        return self.datafit.is_bounded

    @property
    def magnitude(self) -> float:
        """Value at W = 0 and b = 0."""
        return self.datafit.magnitude

    @property
    def precision(self) -> float:
        """Unit of rounding in gradients."""
        return self.datafit.precision


@dataclass(frozen=True, eq=False)
class StackedDatafit(WrappedDatafit):
    """A data term of W = U_1 + ... + U_k as a function of the parts on top of each other."""

    # Every part has the same gradient, and the conjugate of the whole is that of the data term
    # there, so a duality gap of the stack is one of the parts.

    datafit: Datafit
    count: int
    outside: Smooth | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the stack."""
        d, columns = self.datafit.shape
        return self.count * d, columns

    def parts(self, stack: Array) -> Array:
        """Return the parts, of shape (count, n_features, n_columns)."""
        return stack.reshape(self.count, *self.datafit.shape)

    def summed(self, stack: Array) -> Array:
        """Return W, the sum of the parts."""
        first, *others = self.parts(stack)
        found: Array = first.copy()
        for part in others:
            found += part
        return found

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at the sum of the parts."""
        return self.repeated(self.at_sum(self.summed(W), start))

    def at_sum(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at W itself, the penalty outside included."""
        at = self.datafit.evaluate(W, start)
        return at if self.outside is None else with_smooth(at, self.outside, W)

    def repeated(self, at: Evaluation) -> Evaluation:
        """Return the evaluation at a stack from that at the sum of its parts."""

        def prepare(shift: float) -> LinearMap:
            solve, many = at.preconditioner(shift / self.count), self.count
            # What sums to zero meets no curvature but the shift.
            floor = shift if shift > 0 else 1.0

            def inverse(V: Array) -> Array:
                mean = self.summed(V) / many
                return self._each(solve(mean) / many) + (V - self._each(mean)) / floor

            return inverse

        return replace(
            at,
            gradient=self._each(at.gradient),
            hessian=lambda V: self._each(at.hessian(self.summed(V))),
            preconditioner=prepare,
        )

    def _each(self, values: Array) -> Array:
        return np.concatenate([values] * self.count)

    def value_at(self, W: Array, b: Array) -> float:
        """Value at the sum of the parts and the intercepts `b`."""
        total = self.summed(W)
        outside = 0.0 if self.outside is None else float(self.outside.value(total))
        return self.datafit.value_at(total, b) + outside

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each row of the stack."""
        own = self.datafit.feature_scale()
        if self.outside is not None:
            own = np.sqrt(own**2 + self.outside.curvature())
        return np.concatenate([own] * self.count)

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients: the parts add up in the worst direction."""
        scales = scale.reshape(self.count, -1)
        return sum(self._curvature(own) for own in scales)

    def _curvature(self, scale: Array) -> float:
        curvature = self.datafit.known_lipschitz(scale)
        if self.outside is None:
            return curvature
        return curvature + self.outside.curvature() / float(np.min(scale) ** 2)
