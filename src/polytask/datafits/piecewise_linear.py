"""The data term of nonsmooth losses, beside smooth ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array, Datafit, Evaluation, LinearMap
from polytask.datafits.blocks import Block, BlockStack, ScalarBlock
from polytask.datafits.intercepts import AnchoredIntercepts, Intercepts, PulledIntercepts
from polytask.datafits.piecewise_linear_intercepts import (
    PiecewiseLinearLabels,
    balanced,
    best_intercepts,
    subgradient,
    zero_sum_groups,
)
from polytask.datafits.samples import Samples
from polytask.losses import PiecewiseLinear, Squared

Index = NDArray[np.intp]

_STEPS = 60
_HALVINGS = 40
_ARMIJO = 1e-4
# Sums of derivatives below this share of what they are sums of are rounding.
_ROUNDING = 1e-13
# What is left of a gradient that should vanish is rounding below this share of that at W = 0.
_FITTED = 1e-9
# A system of so many equations is the largest that is solved.
_MOST = 400
# Labels that a linear program is solved for.
_MOST_LABELS = 50_000
# Added to the matrix of a system where too few derivatives are within their bounds.
_RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class _System:
    """The sums that have to vanish, of the labels of tasks that share an intercept, or of one."""

    # Shapes: labels (n,), factors (n, n_equations).

    labels: Index
    factors: Array
    columns: Index

    @property
    def too_large(self) -> bool:
        """Whether its matrix costs too much."""
        return bool(self.factors.shape[1] > _MOST)


@dataclass(frozen=True, eq=False)
class FreeFeatures:
    """Rows of W that no nonsmooth term of a penalty acts on.

    The dual point of a penalty has to be orthogonal to such features. Derivatives near a given
    point that are so, and within their bounds, are found by Newton's method on the dual of the
    projection, whose gradient is piecewise linear.

    Parameters
    ----------
    datafit : PiecewiseLinearSamples
        The data term.
    index : ndarray of int
        The rows of W.

    References
    ----------
    R. Koenker, "Quantile Regression" (2005), section 6.2, for the dual program.
    """

    datafit: PiecewiseLinearSamples
    index: Index

    @cached_property
    def _features(self) -> Array:
        """The free features of every label, of shape (n_labels, n_free)."""
        found = np.empty((len(self.datafit.rows.y), len(self.index)))
        for k, j in enumerate(self.index):
            unit = np.zeros(self.datafit.shape)
            unit[j] = 1.0
            found[:, k] = self.datafit.forward(unit)
        return found

    @cached_property
    def _systems(self) -> list[_System] | None:
        """The systems to solve; None if one is too large."""
        if len(self.index) > _MOST:
            return None
        found: list[_System] = []
        for system in self._made():
            if system.too_large:
                return None
            found.append(system)
        return found

    def _made(self) -> Iterator[_System]:
        rows = self.datafit.rows
        owner = zero_sum_groups(rows, self.datafit.intercepts)
        level = owner is not None
        group = rows.column if owner is None else owner
        order = np.argsort(group, kind="stable")
        order = order[rows.weight[order] > 0]
        for labels in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
            columns = np.unique(rows.column[labels])
            parts = [np.ones((len(labels), 1))] if level else []
            if len(columns) * len(self.index) <= _MOST:
                own = rows.column[labels][:, None] == columns
                spread = self._features[labels][:, :, None] * own[:, None, :]
                parts.append(spread.reshape(len(labels), -1))
            else:
                parts.append(np.empty((len(labels), _MOST + 1)))
            factors = np.concatenate(parts, axis=1) * rows.weight[labels][:, None]
            yield _System(labels, factors, columns)

    def evaluate(
        self, W: Array, u: Array, goal: Array, rest: Evaluation | None = None
    ) -> Evaluation | None:
        """Evaluate at W with the gradient that derivatives near u give.

        Parameters
        ----------
        W : ndarray of shape (n_features, n_columns)
            Coefficients.
        u : ndarray of shape (n_labels,)
            Derivatives of the losses, within their bounds.
        goal : ndarray of shape (n_free, n_columns)
            What the gradient has to be in these rows: minus that of smooth terms.
        rest : Evaluation or None, default=None
            Of the losses without kinks, with these rows fitted: its dual point counts.

        Returns
        -------
        Evaluation or None
            The gradient is `goal` there exactly: what rounding leaves counts in the conjugate.
            None where no such derivatives were found.
        """
        near = self.orthogonal(u, goal)
        if near is None:
            return None
        datafit = self.datafit
        plain = datafit.forward(W)
        b = best_intercepts(datafit.rows, plain, datafit.intercepts)
        at = datafit.evaluation(W, plain, b, near)
        signed = [(1.0, at)]
        if datafit.rest is not None and rest is not None:
            # Theirs takes the place of the dual point of the other losses.
            signed += [(-1.0, datafit.rest.evaluate(W)), (1.0, rest)]
        gradient = np.sum([sign * part.gradient for sign, part in signed], axis=0)
        lack = float(np.linalg.norm(gradient[self.index] - goal))
        if lack > _FITTED * float(np.linalg.norm(datafit.origin.gradient)):
            return None
        slack = lack * float(np.linalg.norm(W[self.index]))
        gradient[self.index] = goal

        def conjugate(c: float) -> float:
            return sum(sign * part.conjugate(c) for sign, part in signed) + slack

        return replace(at, gradient=gradient, conjugate=conjugate)

    def orthogonal(self, u: Array, goal: Array) -> Array | None:
        """Return derivatives near u whose sums with the free features are given.

        Parameters
        ----------
        u : ndarray of shape (n_labels,)
            Derivatives within their bounds.
        goal : ndarray of shape (n_free, n_columns)
            The sums.
        """
        if self._systems is None:
            return None
        found, rows = u.copy(), self.datafit.rows
        for system in self._systems:
            wanted = goal[:, system.columns].ravel()
            first = np.zeros(system.factors.shape[1] - len(wanted))
            part = _solved(system, rows, u, np.concatenate([first, wanted]))
            if part is None:
                return None
            found[system.labels] = part
        return found

    def null_gradient(self) -> Array | None:
        """Return the gradient where these features alone are fitted, zero in their rows.

        The derivatives are the answer of the dual linear program of every system. They are
        unique unless targets are tied, so that a null strength is then exact.

        Returns
        -------
        ndarray of shape (n_features, n_columns) or None
            None where intercepts are pulled or other losses are beside, which no linear program
            knows, or the program is too large.
        """
        pulled = isinstance(self.datafit.intercepts, PulledIntercepts | AnchoredIntercepts)
        if pulled or self.datafit.rest is not None:
            return None
        rows = self.datafit.rows
        if self._systems is None or len(rows.y) > _MOST_LABELS:
            return None
        u = np.zeros(len(rows.y))
        for system in self._systems:
            found = _program(system, rows)
            if found is None:
                return None
            u[system.labels] = found
        gradient = self.datafit.adjoint(u)
        gradient[self.index] = 0.0
        return gradient


def _program(system: _System, rows: PiecewiseLinearLabels) -> Array | None:
    """Return the derivatives of the dual program of one system, None if it was not solved."""
    from scipy.optimize import linprog

    own = system.labels
    found = linprog(
        rows.weight[own] * rows.y[own],
        A_eq=system.factors.T,
        b_eq=np.zeros(system.factors.shape[1]),
        bounds=list(zip(rows.lower[own].tolist(), rows.upper[own].tolist(), strict=True)),
        method="highs",
    )
    return np.asarray(found.x) if found.status == 0 else None


def _solved(system: _System, rows: PiecewiseLinearLabels, u: Array, goal: Array) -> Array | None:
    """Return derivatives near u within their bounds with given sums, None if none were found."""
    own = system.labels
    point, low, high = u[own], rows.lower[own], rows.upper[own]
    weight = rows.weight[own]
    size = np.linalg.norm(system.factors / np.sqrt(weight)[:, None], axis=0)
    size = np.where(size > 0, size, 1.0)
    factors, goal = system.factors / size, goal / size
    most = _ROUNDING * (np.abs(factors).sum(axis=0) + np.abs(goal))
    away = np.zeros(len(goal))
    moved, held, value = _moved(factors, weight, point, low, high, goal, away)
    for _ in range(_STEPS):
        lack = factors.T @ held - goal
        if np.all(np.abs(lack) <= most):
            return held
        inside = (moved > low) & (moved < high)
        active = factors[inside]
        matrix = active.T @ (active / weight[inside][:, None])
        step = np.linalg.solve(matrix + _RIDGE * np.eye(len(goal)), lack)
        descent, length = float(lack @ step), 1.0
        for _ in range(_HALVINGS):
            trial = away + length * step
            found = _moved(factors, weight, point, low, high, goal, trial)
            rounding = 1e-15 * abs(value)
            if found[2] <= value - _ARMIJO * length * descent + rounding:
                break
            length /= 2
        away, (moved, held, value) = trial, found
    return None


def _moved(
    factors: Array,
    weight: Array,
    point: Array,
    low: Array,
    high: Array,
    goal: Array,
    away: Array,
) -> tuple[Array, Array, float]:
    """Return the point moved along the sums, within its bounds, and what is minimised."""
    moved = point - factors @ away / weight
    held = np.clip(moved, low, high)
    value = float(weight @ (held * (moved - 0.5 * held))) + float(goal @ away)
    return moved, held, value


# The curvature of a mean loss is about this over the mean distance from the best constant.
_TYPICAL = 0.5


@dataclass(frozen=True, eq=False)
class PiecewiseLinearSamples(Datafit):
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
    def stack(self) -> BlockStack:
        """The blocks with kinks."""
        return BlockStack(self.blocks, self.n_features, self.n_columns)

    @cached_property
    def rows(self) -> PiecewiseLinearLabels:
        """The labels of the blocks with kinks, one after the other."""
        columns = np.arange(self.n_columns, dtype=float)
        parts = [np.broadcast_to(b.design.spread(columns), b.shape).ravel() for b in self.blocks]
        return PiecewiseLinearLabels(
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
        b = best_intercepts(self.rows, plain, self.intercepts)
        return self.evaluation(W, plain, b, subgradient(self.rows, plain, b, self.intercepts))

    @cached_property
    def first_derivatives(self) -> Array:
        """Derivatives of the losses at W = 0 that make the best intercepts stationary."""
        plain = np.zeros(len(self.rows.y))
        b = best_intercepts(self.rows, plain, self.intercepts)
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
        b = best_intercepts(self.rows, plain, self.intercepts)
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
        b = best_intercepts(self.rows, np.zeros(len(self.rows.y)), self.intercepts)
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
