"""The data term on samples, for any loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from polytask.datafits.base import Array, Datafit, Evaluation, LinearMap, Preconditioner
from polytask.datafits.blocks import Block
from polytask.datafits.curvature import Curvature, Moments
from polytask.datafits.intercepts import Intercepts
from polytask.datafits.profile import Profile
from polytask.datafits.stack import Predictions, Stack
from polytask.losses import Squared


@dataclass(frozen=True, eq=False)
class Samples(Datafit):
    """Weighted losses over blocks of rows, with the intercepts minimised out.

    Parameters
    ----------
    blocks : tuple of Block
        Every column of W belongs to exactly one block.
    intercepts : Intercepts
        What b may be.
    n_features, n_columns : int
        Shape of W.
    """

    blocks: tuple[Block, ...]
    intercepts: Intercepts
    n_features: int
    n_columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        return self.n_features, self.n_columns

    @cached_property
    def is_quadratic(self) -> bool:
        """Whether every loss is the squared one."""
        return all(isinstance(block.loss, Squared) for block in self.blocks)

    @cached_property
    def is_bounded(self) -> bool:
        """Whether the second derivatives of all losses have bounds."""
        return self._stack.is_bounded

    @cached_property
    def magnitude(self) -> float:
        """Value at W = 0 and b = 0."""
        losses = self._stack.value([np.zeros_like(h) for h in self._stack.bounds])
        return losses + self.intercepts.penalty(np.zeros(self.n_columns))

    @cached_property
    def precision(self) -> float:
        """Unit of rounding of the coarsest features."""
        dtypes = [block.design.features.matrix.dtype for block in self.blocks]
        return max((float(np.finfo(t).eps) for t in dtypes), default=float(np.finfo(float).eps))

    @cached_property
    def _stack(self) -> Stack:
        return Stack(self.blocks, self.n_features, self.n_columns)

    @cached_property
    def _profile(self) -> Profile:
        return Profile(self._stack, self.intercepts)

    @cached_property
    def _curvature(self) -> Curvature:
        return Curvature(self._stack, self.intercepts.held)

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at `W`; `start` is a guess of the intercepts."""
        stack = self._stack
        plain = stack.forward(W)
        guess = np.zeros(self.n_columns) if start is None else start
        b = self._profile.minimise(plain, guess, self.is_quadratic)
        eta = stack.shift(plain, b)
        slopes = stack.slopes(eta)
        hessian, preconditioner = self._second_order(eta)
        return Evaluation(
            value=stack.value(eta) + self.intercepts.penalty(b),
            gradient=stack.adjoint(slopes),
            intercept=b,
            conjugate=self._conjugate(eta, slopes),
            hessian=hessian,
            preconditioner=preconditioner,
            predictions=eta,
        )

    def value_at(self, W: Array, b: Array) -> float:
        """Value at `W` with the intercepts `b`."""
        eta = self._stack.shift(self._stack.forward(W), b)
        return self._stack.value(eta) + self.intercepts.penalty(b)

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each feature."""
        return np.asarray(np.sqrt(self._curvature.largest))

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients, with the curvature of the losses bounded."""
        return self._curvature.lipschitz(scale)

    def _conjugate(self, eta: Predictions, slopes: Predictions) -> Callable[[float], float]:
        def conjugate(c: float) -> float:
            pairs = zip(self.blocks, eta, strict=True)
            rows = sum(block.conjugate(e, c) for block, e in pairs)
            return float(rows) + self.intercepts.conjugate(c * self._stack.collect(slopes))

        return conjugate

    def _second_order(self, eta: Predictions) -> tuple[LinearMap, Preconditioner]:
        """Return the Hessian and its preconditioner at `eta`; squared losses have one of each."""
        if self.is_quadratic:
            return self._everywhere
        moments = cache(lambda: self._curvature.at(eta))
        return self._hessian(eta, moments), self._preconditioner(moments)

    @cached_property
    def _everywhere(self) -> tuple[LinearMap, Preconditioner]:
        eta = self._stack.forward(np.zeros(self.shape))
        moments = cache(lambda: self._curvature.at(eta))
        return self._hessian(eta, moments), self._preconditioner(moments)

    def _preconditioner(self, moments: Callable[[], Moments | None]) -> Preconditioner:
        @cache
        def prepared() -> Preconditioner:
            return self._curvature.preconditioner(moments())

        def prepare(shift: float) -> LinearMap:
            return prepared()(shift)

        return prepare

    def _hessian(self, eta: Predictions, moments: Callable[[], Moments | None]) -> LinearMap:
        @cache
        def made() -> LinearMap:
            found = moments() if self._curvature.in_few_numbers else None
            if found is None:
                return self._on_rows(eta)
            return found.product(self._stack.intercept_solver(eta, self.intercepts))

        def product(V: Array) -> Array:
            return made()(V)

        return product

    def _on_rows(self, eta: Predictions) -> LinearMap:
        """Return products with the Hessian that go over the rows."""
        stack = self._stack

        @cache
        def parts() -> tuple[list[Callable[[Array], Array]], LinearMap]:
            bends = [block.bend(e) for block, e in zip(self.blocks, eta, strict=True)]
            return bends, stack.intercept_solver(eta, self.intercepts)

        def product(V: Array) -> Array:
            bends, solve = parts()
            changes = stack.forward(V)
            pushed = [bend(c) for bend, c in zip(bends, changes, strict=True)]
            delta = solve(stack.collect(pushed))
            moved = stack.shift(changes, -delta)
            return stack.adjoint([bend(c) for bend, c in zip(bends, moved, strict=True)])

        return product
