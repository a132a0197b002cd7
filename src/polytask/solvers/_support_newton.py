"""Newton's method on the support of a working set, where sweeps over its rows are slow.

On rows that are not zero the penalties are smooth, so that coupled features, which sweeps move
past each other little by little, can be moved together. What Newton's method does not see, rows
that enter the support, is left to the sweeps in between.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lapack

from polytask.datafits.base import Array, LinearMap
from polytask.solvers._block_data import DenseEngine, Engine, GramEngine, Index
from polytask.solvers._conjugate_gradients import conjugate_gradients
from polytask.solvers._separate_terms import RowTerms

# Sweeps before the first attempt, and at least between two.
_FIRST = 100
_LEAST = 5
# A factorisation costs as much as this share of (rows / columns) sweeps.
_PRICE = 0.1
_LARGEST = 2500
# Conjugate gradients solve the system to this share of its right side, in so many steps.
_ACCURACY = 1e-2
_MOST_STEPS = 50
# Added to the diagonal of the preconditioner, relative to its largest entry.
_SHIFT = 1e-12
_LENGTHS = (1.0, 0.5, 0.2, 0.04)


class NewtonSteps:
    """When Newton's method is worth its price, and the points that it proposes."""

    def __init__(self, engine: Engine, terms: RowTerms | None, early: bool) -> None:
        self.engine = engine
        self.terms = terms
        self.successes = 0
        self._next = _LEAST if early else _FIRST
        self._wait = _LEAST

    def due(self, sweeps: int) -> bool:
        """Say whether to try after so many sweeps."""
        if self.terms is None or sweeps < self._next:
            return False
        return isinstance(self.engine, GramEngine | DenseEngine) and self._size <= _LARGEST

    @property
    def _size(self) -> int:
        """Order of the matrices to factorise."""
        return int(np.count_nonzero(self.engine.W.any(axis=1)))

    @property
    def working(self) -> bool:
        """Whether the last attempt was a success, so that few sweeps are needed in between."""
        return self.successes > 0 and self._wait == _LEAST

    def points(self) -> Iterator[list[Array]]:
        """Yield states of the engine along the step of Newton's method, the longest first."""
        if self.terms is None:
            return
        support = _Support(self.engine, self.terms)
        step = support.step()
        if step is not None:
            yield from (support.state(length * step) for length in _LENGTHS)

    def learn(self, sweeps: int, better: bool) -> None:
        """Wait longer after an attempt that was worth less than the sweeps before it."""
        self.successes += better
        self._wait = _LEAST if better else 4 * self._wait
        price = _PRICE * self._size / self.engine.W.shape[1]
        self._next = sweeps + max(self._wait, int(price))


class _Form(ABC):
    """Inner products of the features of some rows, as they are kept."""

    @abstractmethod
    def times(self, V: Array) -> Array:
        """Return the inner products times V, for the rows of the support."""

    @abstractmethod
    def inverse(self, factor: float, diagonal: Array) -> Array:
        """Return the inverse of factor * inner products + diag(diagonal)."""

    @abstractmethod
    def state(self, W: Array, change: Array, mean_residual: Array) -> list[Array]:
        """Return the state of the engine at W, after a change of the support."""
        # `mean_residual` is what the change adds to the pull on the misfit of the means.


class _GramForm(_Form):
    """The inner products themselves."""

    def __init__(self, engine: GramEngine, index: Index) -> None:
        self.engine, self.index = engine, index
        self.gram = engine.gram[:, index]
        self.own = self.gram if len(index) == len(engine.W) else self.gram[index]

    def times(self, V: Array) -> Array:
        """Return the inner products times V."""
        return np.asarray(self.own @ V)

    def inverse(self, factor: float, diagonal: Array) -> Array:
        """Return the inverse from a Cholesky factorisation."""
        return _inverse(factor * self.own, diagonal)

    def state(self, W: Array, change: Array, mean_residual: Array) -> list[Array]:
        """Return W and minus the gradient."""
        rows = self.engine.rows
        slope = self.engine.slope() - (self.gram @ change) * rows.scale
        return [
            W,
            slope + np.multiply.outer(rows.mean, mean_residual) if mean_residual.size else slope,
        ]


class _DenseForm(_Form):
    """The features, fewer entries each than there are rows of W."""

    def __init__(self, engine: DenseEngine, index: Index) -> None:
        self.engine, self.index = engine, index
        self.columns = engine.columns[index]

    def times(self, V: Array) -> Array:
        """Return the inner products times V."""
        return np.asarray(self.columns @ (self.columns.T @ V))

    def inverse(self, factor: float, diagonal: Array) -> Array:
        """Return the inverse, through a matrix of the rows of the data if they are fewer."""
        rows, n = self.columns.shape
        if rows <= n or not diagonal.all():
            return _inverse(factor * (self.columns @ self.columns.T), diagonal)
        shrink = 1.0 / diagonal
        scaled = shrink[:, None] * self.columns
        middle = _inverse(factor * (self.columns.T @ scaled), np.ones(n))
        found = (scaled @ middle) @ scaled.T
        found *= -factor
        np.einsum("ii->i", found)[...] += shrink
        return found

    def state(self, W: Array, change: Array, mean_residual: Array) -> list[Array]:
        """Return W, the residuals and the pull."""
        residual, old = self.engine.parts
        return [
            W,
            residual - self.columns.T @ change,
            old + mean_residual if mean_residual.size else old,
        ]


def _inverse(matrix: Array, diagonal: Array) -> Array:
    """Return the inverse of a new matrix, which is taken over, plus a diagonal."""
    own = np.einsum("ii->i", matrix)
    own += diagonal
    own += _SHIFT * float(own.max(initial=0.0))
    # Of the transpose in Fortran order, which is the matrix itself, the lower half is used.
    factor, failed = lapack.dpotrf(matrix.T, lower=True, overwrite_a=True)
    if failed:
        raise LinAlgError("The matrix is not positive definite.")
    half, _ = lapack.dpotri(factor, lower=True, overwrite_c=True)
    below = np.tril(half)
    return np.asarray(below + np.tril(half, -1).T)


class _Support:
    """The objective to second order around the rows of a working set that are not zero."""

    def __init__(self, engine: Engine, terms: RowTerms) -> None:
        self.engine, self.terms = engine, terms
        self.index = np.flatnonzero(engine.W.any(axis=1))
        self.W = engine.W[self.index]
        self.mean = engine.rows.mean[self.index]
        norms = np.sqrt(np.einsum("ij,ij->i", self.W, self.W))[:, None]
        self.unit, self.norm_curvature = self.W / norms, terms.group / norms
        self.form = _form(engine, self.index)
        # On the kink of an entry at zero there is no curvature: it stays there.
        self.free = (self.W != 0.0) | (terms.entry == 0.0)

    def _pull(self, V: Array) -> Array:
        """Return what moving the support by V takes off the pull on the misfit of the means."""
        pull = self.engine.rows.pull
        return np.asarray((self.mean @ V) @ pull) if pull.size else np.zeros(0)

    def _hessian(self, V: Array) -> Array:
        along = np.einsum("ij,ij->i", self.unit, V)[:, None]
        product = self.form.times(V) * self.engine.rows.scale
        product += self.norm_curvature * (V - self.unit * along) + self.terms.ridge * V
        pulled = self._pull(V)
        if pulled.size:
            product += np.multiply.outer(self.mean, pulled)
        return np.where(self.free, product, 0.0)

    def _slope(self) -> Array:
        """Return minus the gradient of the objective."""
        own = self.terms.ridge * self.W + self.terms.group * self.unit
        slope = self.engine.slope()[self.index] - own - self.terms.entry * np.sign(self.W)
        return np.where(self.free, slope, 0.0)

    def step(self) -> Array | None:
        """Return the step, by conjugate gradients; None where there is none."""
        try:
            solve = self._inverse()
        except LinAlgError:
            return None
        step, _ = conjugate_gradients(
            self._hessian,
            self._slope(),
            lambda V: np.where(self.free, solve(V), 0.0),
            _ACCURACY,
            _MOST_STEPS,
        )
        return step if np.isfinite(step).all() and step.any() else None

    def _inverse(self) -> LinearMap:
        """Return the inverse of the Hessian for columns of equal weight and whole rows."""
        # The Hessian is P - U D U', with P a matrix for all columns, D = diag(norm_curvature) and
        # U the directions of the rows: its inverse is that of P and, with the formula of Sherman,
        # Morrison and Woodbury, that of 1 / D less the entrywise product of P^-1 and U U'.
        norm_curvature, unit = self.norm_curvature[:, 0], self.unit
        scale = float(self.engine.rows.scale.mean())
        inner = self.form.inverse(scale, norm_curvature + self.terms.ridge)
        if self.terms.group == 0.0:
            return lambda V: np.asarray(inner @ V)
        left = inner * -(unit @ unit.T)
        np.einsum("ii->i", left)[...] += (1.0 + _SHIFT) / norm_curvature
        factor = cho_factor(left, lower=True, overwrite_a=True, check_finite=False)

        def solve(V: Array) -> Array:
            first = inner @ V
            along = cho_solve(factor, np.einsum("ij,ij->i", unit, first), check_finite=False)
            return np.asarray(first + inner @ (along[:, None] * unit))

        return solve

    def state(self, step: Array) -> list[Array]:
        """Return the state of the engine after a step that ends where it meets zero."""
        new = self.W + step
        if self.terms.entry > 0:
            new = np.where(new * self.W > 0, new, 0.0)
        new[np.einsum("ij,ij->i", new, self.W) <= 0] = 0.0
        W = self.engine.W.copy()
        W[self.index] = new
        change = new - self.W
        return self.form.state(W, change, -self._pull(change))


def _form(engine: Engine, index: Index) -> _Form:
    if isinstance(engine, GramEngine):
        return _GramForm(engine, index)
    if isinstance(engine, DenseEngine):
        return _DenseForm(engine, index)
    raise TypeError(f"{type(engine).__name__} has no form for Newton's method.")
