"""How intercepts and coefficients move each other, as degrees of freedom need it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.datafits import (
    Datafit,
    Intercepts,
    Samples,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    TaskStatistics,
    collect_shared,
    collect_stacked,
)
from polytask.datafits.base import Array, LinearMap
from polytask.datafits.stack import Stack
from polytask.exceptions import IncompatibleError

Index = NDArray[np.intp]

# Moments of rows are taken while they are no more than this many numbers.
_MOMENTS = 1e7


def intercept_degrees(datafit: Datafit, W: Array) -> Array:
    """Return the degrees of freedom of the intercepts, beside those of the coefficients."""
    # Shapes: W (n_features, n_columns), result (n_columns,).
    # With the curvature C of the losses in the intercepts and that of their pull K they are the
    # trace of ``(C + K)^-1 C``: one for a free intercept, one for those that are tied together.
    levels = _levels(with_moments(datafit, W), W)
    found = np.zeros(W.shape[1])
    for owned, curvature in levels.curvature:
        whole = np.diag(curvature) if curvature.ndim == 1 else curvature
        for k, column in enumerate(owned):
            right = np.zeros(W.shape[1])
            right[owned] = whole[:, k]
            found[column] = levels.solve(right)[column]
    return found


def with_moments(datafit: Datafit, W: Array) -> Datafit:
    """Return a data term from moments with the same Hessian at W; itself if there is none."""
    # Shapes: W (n_features, n_columns).
    # Rows with one prediction each curve as those of a squared loss with other weights do. Of the
    # moments those of the targets are left at zero: the value is another.
    if not isinstance(datafit, Samples):
        return datafit
    d, columns = datafit.shape
    blocks = [block for block in datafit.blocks if isinstance(block, ScalarBlock)]
    if len(blocks) < len(datafit.blocks) or columns * d * d > _MOMENTS:
        return datafit
    predictions = datafit.evaluate(W).predictions or []
    second, mean, scale = np.zeros((columns, d, d)), np.zeros((d, columns)), np.zeros(columns)
    for block, eta in zip(blocks, predictions, strict=True):
        own = _moments(block, block.column_curvature(eta))
        second[block.columns] = own.second
        mean[:, block.columns] = own.x_mean
        scale[block.columns] = own.scale
    nothing = np.zeros(columns)
    moments = TaskStatistics(second, np.zeros((d, columns)), nothing, mean, nothing, scale)
    return SquaredStatistics(moments, datafit.intercepts)


def _moments(block: ScalarBlock, weight: Array) -> TaskStatistics:
    scale = block.design.collect(weight)
    if isinstance(block.design, Shared):
        return collect_shared(block.design, np.zeros_like(weight), weight, scale)
    return collect_stacked(block.design, np.zeros_like(weight), weight, scale)


@dataclass(frozen=True, eq=False)
class _Levels:
    """How intercepts answer to coefficients: curvatures in both, at one W."""

    curvature: list[tuple[Index, Array]]
    solve: LinearMap
    mixed: LinearMap
    mixed_adjoint: LinearMap


def _levels(datafit: Datafit, W: Array) -> _Levels:
    if isinstance(datafit, SquaredStatistics):
        s = datafit.statistics
        return _Levels(
            [(np.arange(len(s.scale)), s.scale)],
            datafit.level_solver,
            lambda V: s.scale * np.einsum("ij,ij->j", s.x_mean, V),
            lambda u: s.x_mean * (s.scale * u),
        )
    if isinstance(datafit, Samples):
        return _of_samples(datafit, W)
    raise IncompatibleError("The data term does not tell how its intercepts are curved.")


def _of_samples(datafit: Samples, W: Array) -> _Levels:
    stack = Stack(datafit.blocks, *datafit.shape)
    eta = datafit.evaluate(W).predictions or []
    bends = [block.bend(e) for block, e in zip(datafit.blocks, eta, strict=True)]

    def bent(changes: list[Array]) -> list[Array]:
        return [bend(change) for bend, change in zip(bends, changes, strict=True)]

    def mixed_adjoint(u: Array) -> Array:
        spread = [np.broadcast_to(b.design.spread(u), b.shape) for b in datafit.blocks]
        return stack.adjoint(bent(spread))

    return _Levels(
        stack.intercept_curvature(eta),
        stack.intercept_solver(eta, datafit.intercepts),
        lambda V: stack.collect(bent(stack.forward(V))),
        mixed_adjoint,
    )


def data_hessian(datafit: Datafit, W: Array) -> LinearMap:
    """Return the Hessian of the data term without what the pull on intercepts adds to it."""
    whole = datafit.evaluate(W).hessian
    if not isinstance(datafit, SquaredStatistics | Samples) or not _is_pulled(datafit.intercepts):
        return whole
    levels, pull = _levels(datafit, W), _pull(datafit.intercepts, W.shape[1])

    def product(V: Array) -> Array:
        pulled = levels.solve(pull(levels.solve(levels.mixed(V))))
        return np.asarray(whole(V) - levels.mixed_adjoint(pulled))

    return product


def _is_pulled(intercepts: Intercepts) -> bool:
    return 0.0 < intercepts.held < np.inf


def hessian_matrices(datafit: Datafit, W: Array, free: Index) -> tuple[Array, Array]:
    """Return the Hessian of the data term for some coefficients, whole and as `data_hessian`."""
    # Shapes: W (n_features, n_columns), free (n_free,), whole, data (n_free, n_free).
    if not isinstance(datafit, SquaredStatistics):
        found = matrix_of(datafit.evaluate(W).hessian, free, W.shape)
        if not isinstance(datafit, Samples) or not _is_pulled(datafit.intercepts):
            return found, found
        return found, matrix_of(data_hessian(datafit, W), free, W.shape)
    levels, s = _levels(datafit, W), datafit.statistics
    row, column = np.divmod(free, W.shape[1])
    own = np.zeros((free.size, free.size))
    for k in np.unique(column):
        places = np.flatnonzero(column == k)
        second = s.second[k if len(s.second) > 1 else 0]
        own[np.ix_(places, places)] = s.scale[k] * second[np.ix_(row[places], row[places])]
    mean = s.x_mean[row, column]

    def with_levels(answer: LinearMap) -> Array:
        between = np.column_stack([answer(unit) for unit in np.eye(len(s.scale))])
        between = between[np.ix_(column, column)]
        return np.asarray(own + mean[:, None] * between * mean)

    def left(m: Array) -> Array:
        return np.asarray(s.scale * (m - levels.solve(s.scale * m)))

    whole = with_levels(left)
    if not _is_pulled(datafit.intercepts):
        return whole, whole
    pull = _pull(datafit.intercepts, len(s.scale))
    return whole, with_levels(
        lambda m: left(m) - s.scale * levels.solve(pull(levels.solve(s.scale * m)))
    )


def matrix_of(product: LinearMap, free: Index, shape: tuple[int, int]) -> Array:
    """Return the matrix of a linear map for some coefficients, found by its products."""
    # Shapes: free (n_free,), result (n_free, n_free).
    found = np.empty((free.size, free.size))
    for k, place in enumerate(free):
        unit = np.zeros(shape)
        unit.flat[place] = 1.0
        found[:, k] = product(unit).ravel()[free]
    return found


def _pull(intercepts: Intercepts, columns: int) -> LinearMap:
    """Return the curvature of the pull on intercepts."""
    at_rest = intercepts.gradient(np.zeros(columns))
    return lambda b: intercepts.gradient(b) - at_rest
