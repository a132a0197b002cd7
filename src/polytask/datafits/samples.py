"""The data term on samples, for any loss: values, curvature, local quadratics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from polytask.datafits.base import (
    Array,
    Datafit,
    Evaluation,
    LinearMap,
    Preconditioner,
    block_preconditioner,
    diagonal_preconditioner,
    times_each,
)
from polytask.datafits.blocks import (
    Block,
    BlockStack,
    ClassesBlock,
    Predictions,
    Profile,
    ScalarBlock,
)
from polytask.datafits.designs import Features, Index, Shared, StackedClasses
from polytask.datafits.intercepts import Intercepts
from polytask.datafits.lanczos import largest_of_columns
from polytask.datafits.moments import TaskMoments, collect_shared, collect_stacked
from polytask.datafits.statistics import SquaredStatistics
from polytask.losses import Huber, Squared

# A centred square below this share of the plain one is rounding.
_ROUNDING = 1e-13
# Exact blocks of the Hessian are formed while they cost no more operations than this.
_EXACT_COST = 1e8
_FEW_FEATURES = 32
# The same for the coefficients of a task that has a column per class.
_FEW_OF_CLASSES = 64


@dataclass(frozen=True, eq=False)
class CurvatureMoments:
    """What the second derivatives h of the predictions of each column sum to."""

    # Shapes: second (n_columns, n_features, n_features), first (n_features, n_columns), total
    # (n_columns,).

    second: Array
    first: Array
    total: Array

    def blocks(self, own_curvature: float) -> Array:
        """Return the Hessian of every column by itself, its intercept minimised out."""
        mean = _ratio(self.first, self.total + own_curvature)
        return np.asarray(self.second - np.einsum("ik,jk->kij", self.first, mean))

    def product(self, solve: LinearMap) -> LinearMap:
        """Return products with the Hessian, `solve` being Newton's step of the intercepts."""

        def product(V: Array) -> Array:
            delta = solve(np.einsum("ij,ij->j", self.first, V))
            return np.asarray(times_each(self.second, V) - self.first * delta)

        return product


@dataclass(frozen=True, eq=False)
class Curvature:
    """The curvature of a datafit on samples once the intercepts are minimised out."""

    # An intercept of its own takes the mean of each column away; one that is held by a
    # curvature k takes away ``total / (total + k)`` of it, where `total` is the curvature of
    # the losses in that intercept.

    stack: BlockStack
    own_curvature: float

    @cached_property
    def diagonal(self) -> Array:
        """Upper bound of the diagonal of the Hessian, shape of W; rounding becomes 0."""
        D = np.zeros(self.stack.shape)
        for block, h in zip(self.stack.blocks, self.stack.bounds, strict=True):
            D[:, block.columns] = self._own(block, h)
        return D

    @cached_property
    def largest(self) -> Array:
        """Largest entry of each row of the diagonal."""
        top = np.zeros(self.stack.shape[0])
        for block, h in zip(self.stack.blocks, self.stack.bounds, strict=True):
            alike = isinstance(block.design, Shared) and h.ndim == 2 and np.all(h == h[:, :1])
            own = self._own(block, h[:, :1] if alike else h)
            top = np.maximum(top, np.max(own, axis=1, initial=0.0))
        return top

    def _own(self, block: Block, h: Array) -> Array:
        """Diagonal of some columns of a block, `h` being the curvature of their losses."""
        plain = block.design.squares_adjoint(h)
        centred = plain - self._mean_part(block, h)
        # Overflow (NaN) must not pass for rounding.
        return np.where(centred <= _ROUNDING * plain, 0.0, centred)

    def _mean_part(self, block: Block, h: Array) -> Array:
        if np.isinf(self.own_curvature):
            return np.zeros((self.stack.shape[0], 1))
        total = block.design.collect(h) + self.own_curvature
        design = block.design
        adjoint = design.weights_adjoint if isinstance(design, Shared) else design.adjoint
        return _ratio(adjoint(h) ** 2, total)

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients: exact if cheap."""
        if self._affordable:
            matrices = self._moments(self.stack.bounds).blocks(self.own_curvature)
            matrices = matrices / np.multiply.outer(scale, scale)
            return float(np.linalg.eigvalsh(matrices).max(initial=0.0))
        column = scale[:, None]
        return largest_of_columns(lambda V: self._product(V / column) / column, self.stack.shape)

    def _product(self, V: Array) -> Array:
        """Multiply by the bound of the Hessian, column by column."""
        out = np.zeros(self.stack.shape)
        for block, h in zip(self.stack.blocks, self.stack.bounds, strict=True):
            change = block.design.forward(V)
            total = block.design.collect(h) + self.own_curvature
            mean = np.zeros(self.stack.n_columns)
            mean[block.columns] = _ratio(block.design.collect(h * change), total)
            change = change - block.design.spread(mean)
            out[:, block.columns] = block.design.adjoint(h * change)
        return out

    @property
    def _affordable(self) -> bool:
        d, columns = self.stack.shape
        labels = sum(h.size for h in self.stack.bounds)
        return self.stack.dense and max(labels * d**2, columns * d**3) <= _EXACT_COST

    def at(self, eta: Predictions) -> CurvatureMoments | None:
        """Return the moments at `eta`, None where they cost too much."""
        if not self._affordable:
            return None
        pairs = zip(self.stack.blocks, eta, strict=True)
        return self._moments([block.column_curvature(e) for block, e in pairs])

    @property
    def in_few_numbers(self) -> bool:
        """Whether moments cost about as much as a few products with the Hessian on the rows."""
        # Every prediction has one column then, so that the moments are all there is.
        few = self.stack.shape[0] <= _FEW_FEATURES
        return few and all(isinstance(block, ScalarBlock) for block in self.stack.blocks)

    def preconditioner(self, moments: CurvatureMoments | None) -> Preconditioner:
        """Return the blocks of the Hessian inverted, or its diagonal bound."""
        if moments is None:
            return diagonal_preconditioner(self.diagonal)
        H = moments.blocks(self.own_curvature)
        return block_preconditioner(H, np.ones(len(H)))

    def _moments(self, curvatures: Predictions) -> CurvatureMoments:
        """Return the moments for the curvatures of predictions."""
        d, columns = self.stack.shape
        second, first = np.zeros((columns, d, d)), np.zeros((d, columns))
        total = np.zeros(columns)
        for block, h in zip(self.stack.blocks, curvatures, strict=True):
            second[block.columns] = block.design.grams(h)
            first[:, block.columns] = block.design.adjoint(h)
            total[block.columns] = block.design.collect(h)
        return CurvatureMoments(second, first, total)


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


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
    def _stack(self) -> BlockStack:
        return BlockStack(self.blocks, self.n_features, self.n_columns)

    @cached_property
    def _profile(self) -> Profile:
        return Profile(self._stack, self.intercepts)

    @cached_property
    def _curvature(self) -> Curvature:
        return Curvature(self._stack, self.intercepts.own_curvature)

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

    def _preconditioner(self, moments: Callable[[], CurvatureMoments | None]) -> Preconditioner:
        @cache
        def prepared() -> Preconditioner:
            return self._curvature.preconditioner(moments())

        def prepare(shift: float) -> LinearMap:
            return prepared()(shift)

        return prepare

    def _hessian(
        self, eta: Predictions, moments: Callable[[], CurvatureMoments | None]
    ) -> LinearMap:
        @cache
        def made() -> LinearMap:
            if self._has_few_classes:
                return self._by_task(eta)
            found = moments() if self._curvature.in_few_numbers else None
            if found is None:
                return self._on_rows(eta)
            return found.product(self._stack.intercept_solver(eta, self.intercepts))

        def product(V: Array) -> Array:
            return made()(V)

        return product

    @cached_property
    def _has_few_classes(self) -> bool:
        """Whether the Hessian of each task costs about as much as some products on the rows."""
        return self._stack.dense and all(
            isinstance(block.design, StackedClasses)
            and block.design.table.shape[1] * self.n_features <= _FEW_OF_CLASSES
            for block in self.blocks
        )

    def _by_task(self, eta: Predictions) -> LinearMap:
        """Return products with the Hessian of each task, which has a column per class."""
        solve, parts = self._stack.intercept_solver(eta, self.intercepts), []
        for block, e in zip(self.blocks, eta, strict=True):
            design: Any = block.design
            second, first = design.class_grams(block.curvature(e))  # type: ignore[attr-defined]
            size = second.shape[1] * second.shape[2]
            square, tall = second.reshape(-1, size, size), first.reshape(len(first), size, -1)
            parts.append((design.table, square, tall, np.swapaxes(tall, 1, 2)))

        def product(V: Array) -> Array:
            moved, out = np.zeros(self.n_columns), np.empty(self.shape)
            flat = [V.T[table].reshape(len(table), -1, 1) for table, *_ in parts]
            for (table, _, _, wide), own in zip(parts, flat, strict=True):
                moved[table] = (wide @ own)[:, :, 0]
            delta = solve(moved)
            for (table, square, tall, _), own in zip(parts, flat, strict=True):
                found = square @ own - tall @ delta[table][:, :, None]
                out[:, table] = np.moveaxis(found.reshape(*table.shape, -1), 2, 0)
            return out

        return product

    def _on_rows(self, eta: Predictions) -> LinearMap:
        """Return products with the Hessian that go over the rows."""
        stack = self._stack

        @cache
        def parts() -> tuple[list[Callable[[Array], Array]], LinearMap]:
            products = [
                block.hessian_product(e) for block, e in zip(self.blocks, eta, strict=True)
            ]
            return products, stack.intercept_solver(eta, self.intercepts)

        def product(V: Array) -> Array:
            products, solve = parts()
            changes = stack.forward(V)
            pushed = [product_of(c) for product_of, c in zip(products, changes, strict=True)]
            delta = solve(stack.collect(pushed))
            moved = stack.shift(changes, -delta)
            return stack.adjoint(
                [product_of(c) for product_of, c in zip(products, moved, strict=True)]
            )

        return product


def narrowed(samples: Samples, used: Index) -> Samples:
    """Return the data term of some features, the coefficients of the others being zero.

    Parameters
    ----------
    samples : Samples
        Of all features.
    used : ndarray of int
        Which features.

    Returns
    -------
    Samples
    """
    known: dict[int, Features] = {}
    blocks = tuple(_narrowed(block, used, known) for block in samples.blocks)
    return Samples(blocks, samples.intercepts, len(used), samples.n_columns)


def _narrowed(block: Block, used: Index, known: dict[int, Features]) -> Block:
    if not isinstance(block, ScalarBlock | ClassesBlock):
        raise TypeError(f"a {type(block).__name__} is made of something else than features")
    whole = block.design.features
    if id(whole) not in known:
        known[id(whole)] = _columns(whole, used)
    design = replace(block.design, features=known[id(whole)])
    return replace(block, design=design)  # type: ignore[arg-type]


def _columns(features: Features, used: Index) -> Features:
    offset = None if features.offset is None else features.offset[used]
    if sp.issparse(features.matrix):
        # The transpose by features is at hand wherever a solver has worked with it.
        return Features(sp.csr_array(features.turned[used].T.tocsr()), offset)
    return Features(np.asarray(features.matrix)[:, used], offset)


# Curvatures below this share of the largest possible one are raised to it: a saturated row
# would ask for an infinite working target. The gradient of the quadratic stays exact.
_FLOOR = 1e-6


def local_quadratic(datafit: Samples, W: Array, b: Array) -> SquaredStatistics:
    """Return the quadratic with the value (up to a constant), gradient and curvature at (W, b)."""
    # Shapes: W (n_features, n_columns), b (n_columns,).
    parts = [(block.columns, _block(block, W, b)) for block in _scalar(datafit)]
    if len(parts) == 1 and np.array_equal(parts[0][0], np.arange(datafit.n_columns)):
        return SquaredStatistics(parts[0][1], datafit.intercepts)
    return SquaredStatistics(_scattered(parts, datafit.shape), datafit.intercepts)


def has_local_quadratic(datafit: Samples) -> bool:
    """Say whether every block has one prediction per row and task, and curvature."""
    return all(
        isinstance(block, ScalarBlock) and not block.loss.has_linear_parts
        for block in datafit.blocks
    )


def majorant(datafit: Samples, W: Array, b: Array) -> Samples | None:
    """Return a weighted squared loss that majorises a data term and touches it at (W, b)."""
    # Shapes: W (n_features, n_columns), b (n_columns,).
    blocks = _scalar(datafit)
    known = all(isinstance(block.loss, Huber | Squared) for block in blocks)
    if not known or len(blocks) < len(datafit.blocks):
        return None
    return replace(datafit, blocks=tuple(_squared(block, W, b) for block in blocks))


def _squared(block: ScalarBlock, W: Array, b: Array) -> ScalarBlock:
    if not isinstance(block.loss, Huber):
        return block
    away = np.abs(block.design.forward(W) + block.design.spread(b) - block.y)
    weight = block.weight * np.minimum(1.0, block.loss.delta / np.maximum(away, block.loss.delta))
    return replace(block, loss=Squared(), weight=weight)


def _scalar(datafit: Samples) -> list[ScalarBlock]:
    return [block for block in datafit.blocks if isinstance(block, ScalarBlock)]


def _block(block: ScalarBlock, W: Array, b: Array) -> TaskMoments:
    eta = block.design.forward(W) + block.design.spread(b)
    h = np.maximum(block.column_curvature(eta), _FLOOR * block.bound())
    slope = block.slope(eta)
    target = eta - np.divide(slope, h, out=np.zeros_like(slope), where=h > 0)
    scale = block.design.collect(h)
    if isinstance(block.design, Shared):
        return collect_shared(block.design, target, h, scale)
    return collect_stacked(block.design, target, h, scale)


def _scattered(parts: list[tuple[np.ndarray, TaskMoments]], shape: tuple[int, int]) -> TaskMoments:
    d, n_columns = shape
    whole = TaskMoments(
        second=np.zeros((n_columns, d, d)),
        cross=np.zeros((d, n_columns)),
        spread=np.zeros(n_columns),
        x_mean=np.zeros((d, n_columns)),
        y_mean=np.zeros(n_columns),
        scale=np.zeros(n_columns),
    )
    for columns, part in parts:
        whole.second[columns] = part.second
        whole.cross[:, columns] = part.cross
        whole.x_mean[:, columns] = part.x_mean
        whole.spread[columns] = part.spread
        whole.y_mean[columns] = part.y_mean
        whole.scale[columns] = part.scale
    return whole
