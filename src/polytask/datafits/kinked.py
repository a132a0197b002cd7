"""The data term of losses with kinks, beside smooth ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array, Datafit, Evaluation, LinearMap
from polytask.datafits.blocks import Block, ScalarBlock
from polytask.datafits.intercepts import Intercepts
from polytask.datafits.kinked_levels import (
    Rows,
    balanced,
    best_levels,
    subgradient,
    zero_sum_groups,
)
from polytask.datafits.samples import Samples
from polytask.datafits.stack import Stack
from polytask.losses import PiecewiseLinear, Squared

# The curvature of a mean loss is about this over the mean distance from the best constant.
_TYPICAL = 0.5


@dataclass(frozen=True, eq=False)
class KinkedSamples(Datafit):
    """Weighted losses over blocks of rows, some of them with kinks.

    The intercepts are minimised out exactly, to weighted quantiles. The gradient at W is a
    subgradient: the one whose rows on a kink, of which there is one per free intercept where
    targets differ, share alike what makes the intercepts stationary. Only Splitting minimises
    it.

    Parameters
    ----------
    blocks : tuple of ScalarBlock
        Those with kinks.
    rest : Samples or None
        The others, of the same shape and intercepts; no intercept is shared between the two.
    intercepts : Intercepts
        What b may be.
    n_features, n_columns : int
        Shape of W.
    """

    blocks: tuple[ScalarBlock, ...]
    rest: Samples | None
    intercepts: Intercepts
    n_features: int
    n_columns: int
    is_quadratic = False
    is_bounded = False
    is_smooth = False

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        return self.n_features, self.n_columns

    @property
    def magnitude(self) -> float:
        """Value at W = 0 and b = 0."""
        return self.value_at(np.zeros(self.shape), np.zeros(self.n_columns))

    @property
    def precision(self) -> float:
        """Unit of rounding of the coarsest features."""
        return self._squared.precision

    @cached_property
    def stack(self) -> Stack:
        """The blocks with kinks."""
        return Stack(self.blocks, self.n_features, self.n_columns)

    @cached_property
    def rows(self) -> Rows:
        """The labels of the blocks with kinks, one after the other."""
        columns = np.arange(self.n_columns, dtype=float)
        parts = [np.broadcast_to(b.design.spread(columns), b.shape).ravel() for b in self.blocks]
        return Rows(
            column=np.concatenate(parts).astype(np.intp),
            y=np.concatenate([block.y.ravel() for block in self.blocks]),
            weight=np.concatenate([block.weight.ravel() for block in self.blocks]),
            lower=self._slopes(lambda loss: loss.lower),
            upper=self._slopes(lambda loss: loss.upper),
            n_columns=self.n_columns,
        )

    def _slopes(self, side: Callable[[PiecewiseLinear], float]) -> Array:
        """Return a slope of the loss of every label."""
        pairs = [(block.loss, block.y.size) for block in self.blocks]
        known = [(loss, size) for loss, size in pairs if isinstance(loss, PiecewiseLinear)]
        return np.concatenate([np.full(size, side(loss)) for loss, size in known])

    @cached_property
    def owned(self) -> NDArray[np.bool_]:
        """Whether each column has losses with kinks."""
        owned = np.zeros(self.n_columns, dtype=bool)
        for block in self.blocks:
            owned[block.columns] = True
        return owned

    def split(self, flat: Array) -> list[Array]:
        """Return an array of labels as arrays of the shapes of the blocks."""
        ends = np.cumsum([block.y.size for block in self.blocks])[:-1]
        parts = zip(np.split(flat, ends), self.blocks, strict=True)
        return [part.reshape(block.shape) for part, block in parts]

    def forward(self, W: Array) -> Array:
        """Return the predictions of all labels without intercepts."""
        return np.concatenate([eta.ravel() for eta in self.stack.forward(W)])

    def adjoint(self, u: Array) -> Array:
        """Return the gradient in W of the derivatives u of the losses."""
        return self.stack.adjoint(self.split(self.rows.weight * u))

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at `W`; the intercepts of losses with kinks need no `start`."""
        plain = self.forward(W)
        b = best_levels(self.rows, plain, self.intercepts)
        return self.evaluation(W, plain, b, subgradient(self.rows, plain, b, self.intercepts))

    @cached_property
    def first_derivatives(self) -> Array:
        """Derivatives of the losses at W = 0 that make the best intercepts stationary."""
        plain = np.zeros(len(self.rows.y))
        b = best_levels(self.rows, plain, self.intercepts)
        return subgradient(self.rows, plain, b, self.intercepts)

    def evaluate_dual(self, W: Array, u: Array) -> Evaluation:
        """Evaluate at `W` with the gradient that derivatives near `u` give.

        Parameters
        ----------
        W : ndarray of shape (n_features, n_columns)
            Coefficients.
        u : ndarray of shape (n_labels,)
            Derivatives of the losses, within their bounds.

        Returns
        -------
        Evaluation
            The gradient and the conjugate belong to a dual point that is feasible in b.
        """
        plain = self.forward(W)
        b = best_levels(self.rows, plain, self.intercepts)
        owner = zero_sum_groups(self.rows, self.intercepts)
        return self.evaluation(W, plain, b, balanced(self.rows, u, owner))

    def evaluation(self, W: Array, plain: Array, b: Array, u: Array) -> Evaluation:
        """Join the values, intercepts and derivatives of both kinds of losses."""
        rest = None if self.rest is None else self.rest.evaluate(W)
        rows, joined = self.rows, b
        value = self._losses(plain, b)
        gradient = self.adjoint(u)
        if rest is not None:
            joined = np.where(self.owned, b, rest.intercept)
            value += rest.value - self.intercepts.penalty(rest.intercept)
            gradient = gradient + rest.gradient
        dual = float(np.sum(rows.weight * u * rows.y))
        sums = rows.total(rows.weight * u)

        def conjugate(c: float) -> float:
            own = c * dual + self.intercepts.conjugate(c * sums)
            return own if rest is None else own + rest.conjugate(c)

        return Evaluation(
            value=value + self.intercepts.penalty(joined),
            gradient=gradient,
            intercept=joined,
            conjugate=conjugate,
            hessian=np.zeros_like,
            preconditioner=_unchanged,
        )

    def _losses(self, plain: Array, b: Array) -> float:
        rows = self.rows
        above = plain + b[rows.column] - rows.y
        return float(np.sum(rows.weight * np.maximum(rows.lower * above, rows.upper * above)))

    def value_at(self, W: Array, b: Array) -> float:
        """Value at `W` and the intercepts `b`."""
        own = self._losses(self.forward(W), b)
        if self.rest is None:
            return own + self.intercepts.penalty(b)
        return own + self.rest.value_at(W, b)

    @cached_property
    def spread(self) -> float:
        """Mean distance of the labels with kinks from the best constants."""
        b = best_levels(self.rows, np.zeros(len(self.rows.y)), self.intercepts)
        total = float(self.rows.weight.sum())
        away = np.abs(self.rows.y - b[self.rows.column])
        return float(self.rows.weight @ away) / total if total > 0 else 0.0

    @cached_property
    def _squared(self) -> Samples:
        """The blocks with kinks under the squared loss, for the sizes of features."""
        blocks: tuple[Block, ...] = tuple(replace(b, loss=Squared()) for b in self.blocks)
        return Samples(blocks, self.intercepts, self.n_features, self.n_columns)

    def feature_scale(self) -> Array:
        """Square root of the largest typical curvature of each feature."""
        typical = _TYPICAL / self.spread if self.spread > 0 else 1.0
        own = np.asarray(np.sqrt(typical) * self._squared.feature_scale())
        return own if self.rest is None else np.maximum(own, self.rest.feature_scale())

    def lipschitz(self, scale: Array) -> float:
        """Return inf: gradients jump."""
        return float("inf")


def _unchanged(shift: float) -> LinearMap:
    return np.array
