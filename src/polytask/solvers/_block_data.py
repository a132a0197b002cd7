"""What block descent needs of a data term, and its sweeps over a working set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask.datafits import (
    Datafit,
    Features,
    Intercepts,
    NoIntercepts,
    Samples,
    ScalarBlock,
    Shared,
    SquaredStatistics,
)
from polytask.datafits.base import Array
from polytask.losses import Squared
from polytask.penalties import RowKernel

Index = NDArray[np.intp]

# Squares about the mean below this share of the squared mean are rounding ...
_ROUNDING = 1e-26
# ... and as a difference of squares they have too few digits below this one.
_LOST = 1e-6
# Features whose squares are summed again at once.
_AT_ONCE = 256


class SharedData(ABC):
    """Squared loss of several columns on one design, the intercepts minimised out."""

    # The Hessian of the data term is ``gram x diag(scale) + mean mean' x pull``, where the Gram
    # matrix is that of features centred as the intercepts allow.

    scale: Array
    mean: Array
    pull: Array

    @property
    @abstractmethod
    def n_rows(self) -> float:
        """What an update of predictions costs, per column; inf where there are none."""

    @property
    @abstractmethod
    def entries(self) -> float:
        """Numbers that the data hold."""

    @property
    @abstractmethod
    def own(self) -> Array:
        """The diagonal of the Gram matrix, exactly 0 where it is rounding, (n_features,)."""

    @abstractmethod
    def columns(self, index: Index) -> Any:  # noqa: ANN401 - what `gram` takes
        """Return some features, centred, one per row."""

    @abstractmethod
    def gram(self, some: Any, others: Any) -> Array:  # noqa: ANN401 - from `columns`
        """Return the inner products of some features with others."""

    @abstractmethod
    def joined(self, some: Any, others: Any) -> Any:  # noqa: ANN401 - from `columns`
        """Return features one after the other."""

    @cached_property
    def curvature(self) -> Array:
        """Largest curvature of each row of W, shape (n_features,)."""
        top = float(np.max(self.scale, initial=0.0))
        curvature = top * self.own
        if self.pull.size:
            curvature = curvature + float(np.linalg.eigvalsh(self.pull)[-1]) * self.mean**2
        return curvature


def misfit_curvature(intercepts: Intercepts, scale: Array) -> Array:
    """Return the curvature that is left in the misfit of the means, empty if there is none."""
    if intercepts.centres:
        return np.zeros((0, 0))
    moved = [intercepts.solve(scale, scale * unit) for unit in np.eye(len(scale))]
    matrix = np.diag(scale) - scale[:, None] * np.stack(moved, axis=1)
    return np.asarray((matrix + matrix.T) / 2)


@dataclass(frozen=True, eq=False)
class MomentData(SharedData):
    """From a matrix of second moments."""

    datafit: SquaredStatistics
    n_rows = float("inf")

    @property
    def entries(self) -> float:
        """Size of the matrix."""
        return float(self.second.size)

    @cached_property
    def scale(self) -> Array:  # type: ignore[override]
        """Weight of each column."""
        return np.ascontiguousarray(self.datafit.statistics.scale)

    @cached_property
    def mean(self) -> Array:  # type: ignore[override]
        """Feature means."""
        return np.ascontiguousarray(self.datafit.statistics.x_mean[:, 0])

    @cached_property
    def pull(self) -> Array:  # type: ignore[override]
        """See the class."""
        return misfit_curvature(self.datafit.intercepts, self.scale)

    @cached_property
    def second(self) -> Array:
        """The moments."""
        return np.ascontiguousarray(self.datafit.statistics.second[0])

    @cached_property
    def own(self) -> Array:
        """The diagonal of the Gram matrix."""
        return np.where(self.datafit.feature_scale() > 0, np.diagonal(self.second), 0.0)

    def columns(self, index: Index) -> Any:  # noqa: ANN401
        """Return the index: the products of features are known."""
        return index

    def gram(self, some: Any, others: Any) -> Array:  # noqa: ANN401
        """Return a part of the matrix."""
        # Twice as fast as both at once.
        return np.asarray(self.second.take(some, axis=0).take(others, axis=1))

    def joined(self, some: Any, others: Any) -> Any:  # noqa: ANN401
        """Return both indices."""
        return np.concatenate([some, others])


@dataclass(frozen=True, eq=False)
class SampleData(SharedData):
    """From rows of features and targets."""

    # Shapes: y (n_rows, n_columns), share (n_rows,), scale (n_columns,).

    features: Features
    y: Array
    share: Array
    scale: Array
    datafit: Samples

    @property
    def intercepts(self) -> Intercepts:
        """What b may be."""
        return self.datafit.intercepts

    @property
    def entries(self) -> float:
        """Size of the design."""
        return float(np.prod(self.features.matrix.shape))

    @cached_property
    def root(self) -> Array:
        """Square roots of the weights of the rows."""
        return np.sqrt(self.share)

    @cached_property
    def has_intercepts(self) -> bool:
        """Whether there is anything that centres features."""
        return not isinstance(self.intercepts, NoIntercepts)

    @cached_property
    def pull(self) -> Array:  # type: ignore[override]
        """See the class."""
        return (
            misfit_curvature(self.intercepts, self.scale)
            if self.has_intercepts
            else np.zeros((0, 0))
        )

    @cached_property
    def mean(self) -> Array:  # type: ignore[override]
        """Weighted feature means, with the offset taken off."""
        return self.features.adjoint(self.share)

    @cached_property
    def raw_mean(self) -> Array:
        """Weighted means of the matrix as stored."""
        offset = self.features.offset
        return self.mean if offset is None else self.mean + offset

    @cached_property
    def centre(self) -> Array:
        """What is subtracted from every row of the matrix."""
        if self.has_intercepts:
            return self.raw_mean
        offset = self.features.offset
        return np.zeros(self.features.n_features) if offset is None else offset

    @cached_property
    def own(self) -> Array:
        """The diagonal of the Gram matrix."""
        if self.intercepts.centres or not self.has_intercepts:
            top = float(np.max(self.scale, initial=0.0))
            found = np.asarray(self.datafit.feature_scale() ** 2 / top)
        else:
            found = self.features.squares_adjoint(self.share) - self.mean**2
        if not self.has_intercepts:
            return found
        # What is left of a square beside a much larger mean has lost its digits.
        lost = np.flatnonzero(found <= _LOST * self.mean**2)
        for start in range(0, len(lost), _AT_ONCE):
            part = lost[start : start + _AT_ONCE]
            found[part] = self.spread(part)
        rounding = max(_ROUNDING, (10.0 * self.datafit.precision) ** 2)
        return np.where(found <= rounding * self.mean**2, 0.0, found)

    @abstractmethod
    def spread(self, index: Index) -> Array:
        """Return the weighted mean squares about the centres, summed without cancellation."""

    @cached_property
    def targets(self) -> Array:
        """Targets times the square roots of the weights, centred as the features are."""
        y = self.y - self.share @ self.y if self.has_intercepts else self.y
        return np.ascontiguousarray(self.root[:, None] * y)

    @cached_property
    def y_mean(self) -> Array:
        """Weighted target means."""
        return np.asarray(self.share @ self.y)

    def mean_residual(self, W: Array, index: Index) -> Array:
        """Return the pull on the misfit of the means, shape (1, n_columns) or (1, 0)."""
        if not self.pull.size:
            return np.zeros((1, 0))
        misfit = self.y_mean - self.mean[index] @ W
        b = self.intercepts.solve(
            self.scale,
            self.scale * misfit - self.intercepts.gradient(np.zeros_like(misfit)),
        )
        return np.asarray(self.scale * (misfit - b))[None, :]


class DenseData(SampleData):
    """From a dense design."""

    @property
    def n_rows(self) -> float:
        """Number of rows."""
        return float(len(self.share))

    def columns(self, index: Index) -> Any:  # noqa: ANN401
        """Return the features, one per row."""
        part = np.array(self.features.matrix[:, index].T, dtype=float, order="C")
        part -= self.centre[index, None]
        part *= self.root
        return part

    def spread(self, index: Index) -> Array:
        """Return the weighted mean squares about the centres."""
        part = self.columns(index)
        return np.asarray(np.einsum("ij,ij->i", part, part))

    def gram(self, some: Any, others: Any) -> Array:  # noqa: ANN401
        """Return the inner products."""
        return np.asarray(some @ others.T)

    def joined(self, some: Any, others: Any) -> Any:  # noqa: ANN401
        """Return both."""
        return np.concatenate([some, others])


class SparseData(SampleData):
    """From a sparse design; features stay sparse, the centres apart."""

    @property
    def n_rows(self) -> float:
        """Mean number of stored entries of a feature."""
        return float(self.features.matrix.nnz / max(self.features.matrix.shape[1], 1) + 2)

    def columns(self, index: Index) -> Any:  # noqa: ANN401
        """Return (features, one per row; their means; their centres)."""
        chosen = sp.csr_array(self.features.turned[index], dtype=float)
        chosen.data = chosen.data * self.root[chosen.indices]
        return chosen, self.raw_mean[index], self.centre[index]

    def spread(self, index: Index) -> Array:
        """Return the weighted mean squares about the centres: stored entries, then zeros."""
        away = sp.csr_array(self.features.turned[index], dtype=float)
        stored = away.copy()
        stored.data = np.ones_like(away.data)
        centre = self.centre[index]
        away.data = (away.data - np.repeat(centre, np.diff(away.indptr))) ** 2
        absent = np.maximum(1.0 - np.asarray(stored @ self.share), 0.0)
        return np.asarray(away @ self.share) + absent * centre**2

    def gram(self, some: Any, others: Any) -> Array:  # noqa: ANN401
        """Return the inner products of the centred features."""
        (A, a, p), (B, b, q) = some, others
        plain = np.asarray((A @ B.T).toarray())
        outer = np.multiply.outer
        return np.asarray(plain - outer(p, b) - outer(a, q) + outer(p, q))

    def joined(self, some: Any, others: Any) -> Any:  # noqa: ANN401
        """Return both."""
        rows = sp.csr_array(sp.vstack([some[0], others[0]], format="csr"))
        pairs = zip(some[1:], others[1:], strict=True)
        return rows, *(np.concatenate(pair) for pair in pairs)


def shared_data(datafit: Datafit) -> SharedData | None:
    """Return the data of a datafit with squared loss and one design, None for others."""
    if isinstance(datafit, SquaredStatistics):
        return MomentData(datafit) if len(datafit.statistics.second) == 1 else None
    if not isinstance(datafit, Samples) or len(datafit.blocks) != 1:
        return None
    block = datafit.blocks[0]
    if not isinstance(block, ScalarBlock) or not isinstance(block.loss, Squared):
        return None
    design = block.design
    in_order = np.array_equal(block.columns, np.arange(datafit.n_columns))
    if not isinstance(design, Shared) or not in_order:
        return None
    return _sample_data(datafit, block, design.features)


def _sample_data(datafit: Samples, block: ScalarBlock, features: Features) -> SharedData | None:
    """Return the data if every row has one weight, up to a factor per column."""
    weight = block.weight
    scale = np.asarray(weight.sum(axis=0))
    total = float(weight.sum())
    if weight.ndim != 2 or not total > 0:
        return None
    if np.all(weight == weight[:, :1]):
        share = weight[:, 0] / weight[:, 0].sum()
    else:
        share = weight.sum(axis=1) / total
        if not np.allclose(weight, np.multiply.outer(share, scale), rtol=1e-13, atol=0.0):
            return None
    kind = SparseData if sp.issparse(features.matrix) else DenseData
    return kind(features, block.y, share, scale, datafit)


# Rows updated one after the other before what they change is passed on by one product.
_BLOCK = 48


@dataclass(frozen=True, eq=False)
class QuadraticTerms:
    """Quadratic terms beside the data and the penalty of rows."""

    # Shapes: coupling (n_columns, n_columns).

    ridge: float
    coupling: Array

    @cached_property
    def spectral_bound(self) -> float:
        """Largest eigenvalue of the coupling."""
        return float(np.linalg.eigvalsh(self.coupling)[-1]) if self.coupling.size else 0.0

    def gradient(self, W: Array) -> Array | float:
        """Return W A, 0.0 without a coupling."""
        return np.asarray(W @ self.coupling) if self.coupling.size else 0.0


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of W in a working set, and the prox of one."""

    # Shapes: curvature, mean (n_rows,), scale (n_columns,), pull (n_columns, n_columns).

    curvature: Array
    mean: Array
    scale: Array
    pull: Array
    quadratic: QuadraticTerms
    kernel: RowKernel

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the compiled sweeps take last."""
        common = self.curvature, self.scale, self.mean, self.pull
        quadratic, kernel = self.quadratic, self.kernel
        further = quadratic.ridge, quadratic.coupling, quadratic.spectral_bound
        return *common, *further, kernel.limits.arrays, kernel.parameters, kernel.prox


class Engine(ABC):
    """Coefficients of a working set, and arrays that are affine functions of them."""

    # Shapes: W (n_rows, n_columns).

    rows: Rows
    W: Array
    parts: list[Array]

    @abstractmethod
    def sweep(self, times: int = 1) -> float:
        """Minimise over each row in turn, so many times."""

    @abstractmethod
    def slope(self) -> Array:
        """Return minus the gradient of the data term, of the shape of W."""

    @abstractmethod
    def change(self, before: list[Array]) -> float:
        """Return by how much the data term has grown since W and the parts were `before`."""

    def smooth_slope(self) -> Array:
        """Return minus the gradient of the data term and of the coupling, of the shape of W."""
        return np.asarray(self.slope() - self.rows.quadratic.gradient(self.W))

    def smooth_change(self, before: list[Array]) -> float:
        """Return by how much the data term and the coupling have grown."""
        pushed = self.rows.quadratic.gradient(before[0] + self.W)
        coupled = 0.5 * float(np.sum(pushed * (self.W - before[0])))
        return self.change(before) + coupled

    def state(self) -> list[Array]:
        """Return copies of W and of the parts."""
        return [part.copy() for part in (self.W, *self.parts)]

    def set_state(self, state: list[Array]) -> None:
        """Put W and the parts back."""
        for part, value in zip((self.W, *self.parts), state, strict=True):
            part[...] = value


class GramEngine(Engine):
    """Keeps the gradient of the working set up to date by the inner products of its features."""

    # Shapes: gram (n_rows, n_rows), W, slope (n_rows, n_columns).

    def __init__(self, gram: Array, rows: Rows, W: Array, slope: Array) -> None:
        self.gram, self.rows = gram, rows
        self.W, self.parts = W, [slope]

    def sweep(self, times: int = 1) -> float:
        """Minimise over each row in turn, so many times."""
        from polytask.solvers._kernels import sweep_gram

        found = sweep_gram(self.gram, self.parts[0], self.W, *self.rows.arguments, _BLOCK, times)
        return float(found)

    def slope(self) -> Array:
        """Return minus the gradient."""
        return self.parts[0]

    def change(self, before: list[Array]) -> float:
        """Return by how much the data term has grown."""
        # Its slope is affine, so the mean of both ends is exact.
        mean_slope = 0.5 * (before[1] + self.parts[0])
        return float(np.vdot(mean_slope, before[0] - self.W))


class DenseEngine(Engine):
    """Keeps the residuals up to date; the cost of a row does not grow with the working set."""

    # Shapes: columns (n_rows, n), W (n_rows, n_columns).

    def __init__(
        self, data: DenseData, columns: Array, rows: Rows, index: Index, W: Array
    ) -> None:
        self.columns, self.rows = columns, rows
        self.W = W
        self.parts = [data.targets - columns.T @ W, data.mean_residual(W, index)]

    @cached_property
    def _grams(self) -> Array:
        """Inner products of the features of each block."""
        starts = range(0, len(self.W), _BLOCK)
        grams = np.zeros((len(starts), _BLOCK, _BLOCK))
        for gram, start in zip(grams, starts, strict=True):
            part = self.columns[start : start + _BLOCK]
            gram[: len(part), : len(part)] = part @ part.T
        return grams

    def sweep(self, times: int = 1) -> float:
        """Minimise over each row in turn, so many times."""
        from polytask.solvers._kernels_dense import sweep_dense

        changed = self.columns, self._grams, *self.parts, self.W
        return _repeated(lambda: float(sweep_dense(*changed, *self.rows.arguments)), times)

    def change(self, before: list[Array]) -> float:
        """Return by how much the data term has grown."""
        old, now = before[1:], self.parts
        squares = (now[0] - old[0]) * (now[0] + old[0])
        pulled = 0.0
        if now[1].size:
            misfit = self.rows.mean @ (before[0] - self.W)
            pulled = float(misfit @ (now[1] + old[1])[0])
        return 0.5 * (float(squares.sum(axis=0) @ self.rows.scale) + pulled)

    def slope(self) -> Array:
        """Return minus the gradient."""
        residual, mean_residual = self.parts
        slope = self.rows.scale * (self.columns @ residual)
        if mean_residual.size:
            slope += np.multiply.outer(self.rows.mean, mean_residual[0])
        return np.asarray(slope)


class SparseEngine(Engine):
    """Keeps the residuals of a sparse design up to date. Shapes: W (n_rows, n_columns)."""

    def __init__(
        self,
        data: SparseData,
        columns: Any,  # noqa: ANN401
        rows: Rows,
        index: Index,
        W: Array,
    ) -> None:
        self.stored, self.first, self.centre = columns
        self.rows = rows
        self.W = W
        residual = np.ascontiguousarray(data.targets - self.stored.T @ W)
        shift, level = self.centre @ W, data.root @ residual
        self.parts = [residual, shift[None, :], level[None, :], data.mean_residual(W, index)]
        starts = self.stored.indptr.astype(np.int32, copy=False)
        positions = self.stored.indices.astype(np.int32, copy=False)
        self.entries = starts, positions, self.stored.data

    def sweep(self, times: int = 1) -> float:
        """Minimise over each row in turn, so many times."""
        from polytask.solvers._kernels_sparse import sweep_sparse

        changed = *self.entries, self.first, self.centre, *self.parts, self.W
        return _repeated(lambda: float(sweep_sparse(*changed, *self.rows.arguments)), times)

    def change(self, before: list[Array]) -> float:
        """Return by how much the data term has grown."""
        (old, old_shift, old_level, old_mean_residual), (now, shift, level, mean_residual) = (
            before[1:],
            self.parts,
        )
        squares = ((now - old) * (now + old)).sum(axis=0)
        # |A + r s'|^2 with |r| = 1, column by column.
        squares += 2 * (level * shift - old_level * old_shift)[0]
        squares += ((shift - old_shift) * (shift + old_shift))[0]
        pulled = 0.0
        if mean_residual.size:
            misfit = self.rows.mean @ (before[0] - self.W)
            pulled = float(misfit @ (mean_residual + old_mean_residual)[0])
        return 0.5 * (float(squares @ self.rows.scale) + pulled)

    def slope(self) -> Array:
        """Return minus the gradient."""
        residual, shift, level, mean_residual = self.parts
        slope = self.stored @ residual + np.multiply.outer(self.first, shift[0])
        slope -= np.multiply.outer(self.centre, level[0] + shift[0])
        slope *= self.rows.scale
        if mean_residual.size:
            slope += np.multiply.outer(self.rows.mean, mean_residual[0])
        return np.asarray(slope)


def _repeated(sweep: Callable[[], float], times: int) -> float:
    """Sweep so many times, or until nothing moves; return what the last sweep did."""
    moved = 0.0
    for _ in range(times):
        moved = sweep()
        if moved == 0.0:
            break
    return moved


def residual_engine(
    data: SharedData,
    columns: Any,  # noqa: ANN401 - what `data.columns` returns
    rows: Rows,
    index: Index,
    W: Array,
) -> Engine:
    """Return the engine that keeps residuals. Shapes: W (n_rows, n_columns)."""
    if isinstance(data, DenseData):
        return DenseEngine(data, columns, rows, index, W)
    if isinstance(data, SparseData):
        return SparseEngine(data, columns, rows, index, W)
    raise TypeError(f"{type(data).__name__} has no residuals.")


def selected(data: SharedData, columns: Any, positions: Index) -> Any:  # noqa: ANN401
    """Return some of the features that `data.columns` returned."""
    if isinstance(data, SampleData) and isinstance(columns, tuple):
        return tuple(part[positions] for part in columns)
    return columns[positions]
