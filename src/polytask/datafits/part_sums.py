"""What the losses of rows, their gradients and their curvatures sum to, part by part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from polytask.datafits.base import Array
from polytask.datafits.blocks import Block, ClassesBlock, Parts, ScalarBlock
from polytask.datafits.designs import Index, StackedClasses

# Curvatures below this share of the largest possible one are raised to it: a saturated row would
# ask for an infinite step.
_FLOOR = 1e-6
# Rows on a straight part of a loss have this share of the curvature of a parabola that touches it:
# with none a task of outliers has no Newton step, with all of it steps are short.
_STRAIGHT = 0.1
# Shares of a derivative at which conjugates are summed up; between them chords bound them.
SHARES = (1.0 - 1e-2, 1.0 - 1e-4, 1.0 - 1e-6)


@dataclass(frozen=True, eq=False)
class TaskGrams:
    """What the curvatures h of tasks with as many columns sum to: h (x) x x', h (x) x, and h."""

    # Shapes: table (n, K), second (n, K d, K d), or its diagonal (n, K d) where products of
    # features are not summed up, first (n, K d, K), total (n, K, K). Intercepts are found by
    # `own_first` and `own_total`, those of curvatures that nothing has raised.

    table: Index
    second: Array
    first: Array
    total: Array
    own_first: Array
    own_total: Array

    def __add__(self, other: TaskGrams) -> TaskGrams:
        """Return the sums over these rows and others."""
        return TaskGrams(
            self.table,
            self.second + other.second,
            self.first + other.first,
            self.total + other.total,
            self.own_first + other.own_first,
            self.own_total + other.own_total,
        )

    def flat(self, V: Array) -> Array:
        """Return the columns of V of each task below each other, (n, K d, 1)."""
        return V.T[self.table].reshape(len(self.table), -1, 1)

    def levels(self, own: bool) -> Parts:
        """Return the curvature of the intercepts, as :func:`newton_solver` takes it."""
        total = self.own_total if own else self.total
        if self.table.shape[1] == 1:
            return [(self.table[:, 0], total[:, 0, 0])]
        return list(zip(self.table, total, strict=True))

    def reduced(self, own_curvature: float) -> Array:
        """Return the curvature of the coefficients of every task, its intercepts minimised out."""
        if np.isinf(own_curvature):
            return self.second
        inverse = self._inverse(own_curvature)
        return np.asarray(self.second - self.first @ inverse @ np.swapaxes(self.first, 1, 2))

    def diagonals(self, own_curvature: float) -> tuple[Array, Array]:
        """Return the diagonal of :meth:`reduced`, and that with fixed intercepts, (n, K d)."""
        if self.second.ndim == 3:
            own, plain = (
                np.diagonal(m, axis1=1, axis2=2)
                for m in (self.reduced(own_curvature), self.second)
            )
            return own, plain
        if np.isinf(own_curvature):
            return self.second, self.second
        moved = self.first @ self._inverse(own_curvature)
        return self.second - np.sum(moved * self.first, axis=2), self.second

    def without_levels(self, V: Array, own_curvature: float) -> Array:
        """Return what minimising the intercepts out takes from the product with V."""
        out = np.zeros_like(V)
        if np.isfinite(own_curvature):
            level = np.swapaxes(self.first, 1, 2) @ self.flat(V)
            found = self.first @ (self._inverse(own_curvature) @ level)
            out[:, self.table] = np.moveaxis(found.reshape(*self.table.shape, -1), 2, 0)
        return out

    def _inverse(self, own_curvature: float) -> Array:
        total = self.total + own_curvature * np.eye(self.total.shape[1])
        return np.asarray(np.linalg.pinv(total, hermitian=True))


@dataclass(frozen=True, eq=False)
class LossSums:
    """What the losses of rows sum to at coefficients and intercepts.

    Attributes
    ----------
    value, square : float
        The losses, and the sum of squares that touches them at this point.
    gradient : ndarray of shape (n_features, n_columns)
        Of the losses, by coefficients.
    slope : ndarray of shape (n_columns,)
        By intercepts.
    conjugates : ndarray of shape (n_shares,)
        Conjugates of the losses at shares of their derivatives.
    grams, plain : tuple of TaskGrams
        Products of features with the second derivatives as weights, and with the weights alone.
    """

    # Shapes: gradient (n_features, n_columns), slope (n_columns,), conjugates (n_shares,): those
    # of the losses at shares of their derivatives. `square` is the value of the sum of squares
    # that touches the losses there, `plain` are the grams of the weights alone.

    value: float
    square: float
    gradient: Array
    slope: Array
    conjugates: Array
    grams: tuple[TaskGrams, ...]
    plain: tuple[TaskGrams, ...] = ()

    def __add__(self, other: LossSums) -> LossSums:
        """Return the sums over these rows and others."""
        return LossSums(
            self.value + other.value,
            self.square + other.square,
            self.gradient + other.gradient,
            self.slope + other.slope,
            self.conjugates + other.conjugates,
            tuple(a + b for a, b in zip(self.grams, other.grams, strict=True)),
            tuple(a + b for a, b in zip(self.plain, other.plain, strict=True)),
        )


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def loss_sums(
    blocks: Iterable[Block], W: Array, b: Array, plain: bool, products: bool = True
) -> LossSums:
    """Sum the losses of some rows.

    Parameters
    ----------
    blocks : iterable of Block
        The rows, one block per loss and number of columns of a task; the tasks of several
        columns in a design of stacked classes.
    W : ndarray of shape (n_features, n_columns)
        Coefficients.
    b : ndarray of shape (n_columns,)
        Intercepts.
    plain : bool
        Whether the grams of the weights are wanted.
    products : bool, default=True
        Whether grams hold products of features, or squares of features only.

    Returns
    -------
    LossSums
    """
    value = square = 0.0
    gradient, slope = np.zeros_like(W), np.zeros_like(b)
    conjugates = np.zeros(len(SHARES))
    grams: list[TaskGrams] = []
    weights: list[TaskGrams] = []
    for block in blocks:
        eta = block.design.forward(W) + block.design.spread(b)
        value += block.value(eta)
        u = block.slope(eta)
        gradient[:, block.columns] = block.design.adjoint(u)
        slope[block.columns] = block.design.collect(u)
        conjugates += [block.conjugate(eta, share) for share in SHARES]
        if isinstance(block, ScalarBlock):
            h, raw = _raised(block, eta, u)
            touched = np.divide(u * u, h, out=np.zeros_like(u), where=h > 0)
            made, own = _column_grams(block, h, raw, products), 0.5 * float(touched.sum())
        else:
            assert isinstance(block, ClassesBlock)
            made, own = _class_grams(block, eta, u, products)
        grams.append(made)
        square += own
        if plain:
            several = isinstance(block, ClassesBlock)
            ones = np.broadcast_to(block.weight[:, None] if several else block.weight, eta.shape)
            weights.append(_column_grams(block, ones, ones, products))
    sums = value, square, gradient, slope, conjugates
    return LossSums(*sums, tuple(grams), tuple(weights))


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def curved_sums(
    blocks: Iterable[Block], at: tuple[Array, Array] | None, V: Array, delta: Array
) -> Array:
    """Sum the change of the gradient of some rows with a change of coefficients and intercepts.

    Parameters
    ----------
    blocks : iterable of Block
        The rows.
    at : tuple of ndarray, or None
        Coefficients and intercepts at which losses have their curvature; None: they have 1.
    V : ndarray of shape (n_features, n_columns)
        The change of the coefficients.
    delta : ndarray of shape (n_columns,)
        The change of the intercepts.

    Returns
    -------
    ndarray of shape (n_features, n_columns)
    """
    out = np.zeros_like(V)
    for block in blocks:
        design = block.design
        change = design.forward(V) + design.spread(delta)
        several = isinstance(block, ClassesBlock)
        if at is None:
            moved = (block.weight[:, None] if several else block.weight) * change
        else:
            eta = design.forward(at[0]) + design.spread(at[1])
            if isinstance(block, ScalarBlock):
                moved = _raised(block, eta, block.slope(eta))[0] * change
            else:
                moved = block.hessian_product(eta)(change)
        out[:, block.columns] = design.adjoint(moved)
    return out


def _column_grams(block: Block, h: Array, own: Array, products: bool) -> TaskGrams:
    """Return the grams of every column by itself. Shapes: h, own like the predictions."""
    sums = [
        made
        for each in ([h] if own is h else [h, own])
        for made in (
            block.design.adjoint(each).T[:, :, None],
            block.design.collect(each)[:, None, None],
        )
    ]
    second = block.design.grams(h) if products else block.design.squares_adjoint(h).T
    return TaskGrams(block.columns[:, None], second, *sums[:2], *sums[-2:])


def _raised(block: ScalarBlock, eta: Array, u: Array) -> tuple[Array, Array]:
    """Return the curvatures as they are used, and as they are."""
    own = block.column_curvature(eta)
    h = np.maximum(own, _FLOOR * block.bound())
    if block.loss.has_linear_parts:
        away = np.abs(eta - block.y)
        touching = np.divide(np.abs(u), away, out=np.zeros_like(u), where=away > 0)
        h = np.maximum(h, _STRAIGHT * touching)
    return h, own


def _class_grams(
    block: ClassesBlock, eta: Array, u: Array, products: bool
) -> tuple[TaskGrams, float]:
    """Return the same for rows that have a prediction per class."""
    # The curvature diag(p) - p p' of a row times u / p is u, which sums to zero.
    curvature, design = block.curvature(eta), block.design
    assert isinstance(design, StackedClasses)
    (n, k), d, table = design.table.shape, design.features.n_features, design.table
    total = design.sum_tasks(curvature)
    p = block.weight[:, None] * block.loss.inverse_link(eta)
    square = np.divide(u * u, p, out=np.zeros_like(u), where=p > 0)
    if products:
        second, first = design.class_grams(curvature)
        second = second.reshape(n, k * d, k * d)
    else:
        # Shapes: adjoints (d, n k), the columns of a task beside each other.
        own = np.einsum("nkk->nk", curvature)
        second = design.squares_adjoint(own).T.reshape(n, k * d)
        sides = [design.adjoint(curvature[:, :, j]).T.reshape(n, k, d) for j in range(k)]
        first = np.stack(sides, axis=3)
    flat = second, first.reshape(n, k * d, k)
    return TaskGrams(table, *flat, total, flat[1], total), 0.5 * float(square.sum())
