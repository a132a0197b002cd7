"""What a solver needs to know of the data: value, gradient, curvature, conjugate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
LinearMap = Callable[[Array], Array]
Preconditioner = Callable[[float], LinearMap]
Derived = TypeVar("Derived")

_REMEMBERED = 64
# Matrices with a shift above this share of their trace are inverted safely ...
_STIFF = 1e-6
# ... and above this many times it they are as good as their diagonals.
_SLIGHT = 10.0
# Numbers that are worked on at a time.
_CHUNK = 2**18
# Matrices of at most so many entries in all are decomposed where a second shift is asked for.
_DECOMPOSED = 1 << 25
_IN_CACHE = 2**15
# Products of squares of features must stay finite.
_LARGEST = 1e75


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The data term at one W, with the intercepts at their optimum.

    Attributes
    ----------
    value : float
        ``f(W) = min over b`` of the weighted losses plus the penalty on b.
    gradient : ndarray of shape (n_features, n_columns)
        Gradient of ``f`` at W.
    intercept : ndarray of shape (n_columns,)
        The minimising b.
    conjugate : callable
        ``c -> f*(c * gradient)``, the Fenchel conjugate along the gradient, for c in [0, 1].
        With it any penalty whose conjugate is known gives a duality gap.
    hessian : callable
        ``V -> H V``, the product with the Hessian of ``f`` at W.
    preconditioner : callable
        ``shift -> (V -> approximately (H + shift I)^-1 V)``, positive definite for shift > 0.
    predictions : list of ndarray or None, default=None
        What every block of samples predicts at W and the intercepts.
    is_inverted : bool, default=False
        Whether the preconditioner is the inverse itself, up to rounding.
    """

    value: float
    gradient: Array
    intercept: Array
    conjugate: Callable[[float], float]
    hessian: LinearMap
    preconditioner: Preconditioner
    predictions: list[Array] | None = None
    is_inverted: bool = False


class Datafit(ABC):
    """The data term of the objective as a function of W alone.

    The intercepts are minimised out exactly at every evaluation, so a solver
    never sees them and a dual point is feasible in b by construction. A datafit does not
    change, so what depends on it alone is computed once.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Shape (n_features, n_columns) of W."""

    @property
    @abstractmethod
    def is_quadratic(self) -> bool:
        """Whether the Hessian is the same everywhere."""

    @property
    def is_bounded(self) -> bool:
        """Whether the curvature has a bound; else :meth:`lipschitz` is that of a typical point."""
        return True

    @property
    def is_smooth(self) -> bool:
        """Whether there is a gradient everywhere; else only a solver that needs none will do."""
        return True

    @property
    @abstractmethod
    def magnitude(self) -> float:
        """Value at W = 0 and b = 0: the size that rounding errors of values are relative to."""

    @property
    @abstractmethod
    def precision(self) -> float:
        """Unit of rounding in gradients: that of the dtype of the features."""

    @abstractmethod
    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at `W`; `start` is a guess of the intercepts."""

    @abstractmethod
    def value_at(self, W: Array, b: Array) -> float:
        """Value at `W` and the intercepts `b`, their penalty included; solvers do not need it."""

    @abstractmethod
    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each feature, shape (n_features,).

        Exactly 0 for a feature whose curvature is rounding.
        """

    @abstractmethod
    def lipschitz(self, scale: Array) -> float:
        """Largest curvature of ``U -> f(U / scale[:, None])``.

        An estimate from below, which may fall short by one or two per cent.
        """

    @final
    @cached_property
    def origin(self) -> Evaluation:
        """The evaluation at W = 0.

        Raises
        ------
        DataError
            If the numbers are so large that sums of their squares overflow.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            origin = self.evaluate(np.zeros(self.shape))
            largest = float(self.feature_scale().max(initial=0.0))
        finite = np.isfinite(origin.value) and np.isfinite(origin.gradient).all()
        if not finite or not largest < _LARGEST:
            raise too_large()
        return origin

    @final
    def known_lipschitz(self, scale: Array) -> float:
        """Return :meth:`lipschitz`, computed once for each `scale`."""
        key = scale.tobytes()
        if key not in self._lipschitz:
            if len(self._lipschitz) >= _REMEMBERED:
                self._lipschitz.clear()
            self._lipschitz[key] = self.lipschitz(scale)
        return self._lipschitz[key]

    @final
    def derived(self, make: Callable[[Datafit], Derived]) -> Derived:
        """Return what `make` computes from the datafit, computed once.

        Solvers keep here what depends on the data alone.

        Parameters
        ----------
        make : callable
            A function or class of one argument, the datafit.
        """
        if make not in self._derived:
            self._derived[make] = make(self)
        found: Derived = self._derived[make]
        return found

    @final
    @cached_property
    def _derived(self) -> dict[Any, Any]:
        return {}

    @final
    @cached_property
    def _lipschitz(self) -> dict[bytes, float]:
        return {}


def too_large() -> DataError:
    """Return the error for numbers whose squares overflow."""
    return DataError(LazyMessage("datafit.refusal.overflow"))


def diagonal_preconditioner(diagonal: Array) -> Preconditioner:
    """Precondition by a diagonal bound of the Hessian."""
    # Shapes: diagonal (n_features, n_columns).

    def prepare(shift: float) -> LinearMap:
        total = diagonal + shift
        total = np.where(total > 0, total, 1.0)
        return lambda V: V / total

    return prepare


def block_preconditioner(
    matrices: Array, weight: Array, means: Array | None = None
) -> Preconditioner:
    """Precondition by the exact inverse of one block of the Hessian per column."""
    # Shapes: matrices (n_columns or 1, n_features, n_features), weight (n_columns,), means
    # (n_columns, n_features).
    trace = np.trace(matrices, axis1=1, axis2=2)
    trace = trace if means is None else trace + np.einsum("ki,ki->k", means, means)
    top = float(np.max(weight * trace, initial=0.0))

    asked: set[float] = set()
    own = np.diagonal(matrices, axis1=1, axis2=2) + (0.0 if means is None else means**2)
    diagonal = (weight[:, None] * own).T

    @cache
    def spectral() -> Callable[[float], LinearMap]:
        return _spectral_preconditioner(_with_squares(matrices, means), weight)

    def prepare(shift: float) -> LinearMap:
        # What serves every shift costs as much as a few inverses, and twice their memory.
        again = matrices.size <= _DECOMPOSED and bool(asked - {shift})
        if len(matrices) == 1 or shift <= _STIFF * top or again:
            return spectral()(shift)
        asked.add(shift)
        if shift > _SLIGHT * top:
            return lambda V: V / (diagonal + shift)
        inverse = _shifted_inverses(matrices, weight, means, shift)
        return lambda V: times_each(inverse, V)

    return prepare


def _with_squares(matrices: Array, means: Array | None) -> Array:
    """Return matrices + m m'."""
    return matrices if means is None else matrices + means[:, :, None] * means[:, None, :]


def _shifted_inverses(matrices: Array, weight: Array, means: Array | None, shift: float) -> Array:
    """Return the inverses of weight (matrix + m m') + shift I, a few tasks at a time."""
    d = matrices.shape[1]
    inverse, step = np.empty_like(matrices), max(_CHUNK // max(d * d, 1), 1)
    for first in range(0, len(matrices), step):
        part = slice(first, first + step)
        own = _with_squares(matrices[part], None if means is None else means[part])
        inverse[part] = np.linalg.inv(weight[part, None, None] * own + shift * np.eye(d))
    return inverse


def _spectral_preconditioner(matrices: Array, weight: Array) -> Preconditioner:
    """Return the same for any shift, and for matrices that are nearly singular."""
    values, vectors = np.linalg.eigh(matrices)
    values = np.maximum(values, 0.0)
    turned = np.swapaxes(vectors, 1, 2)

    def prepare(shift: float) -> LinearMap:
        total = weight[:, None] * values + shift
        top = float(total.max(initial=0.0))
        floor = 10 * values.shape[1] * np.finfo(float).eps * top
        safe = top if top > 0 else 1.0
        inverse = (1.0 / np.where(total > floor, total, safe)).T
        return lambda V: times_each(vectors, inverse * times_each(turned, V))

    return prepare


def times_each(matrices: Array, V: Array) -> Array:
    """Multiply column k of `V` by matrix k, or all columns by the one matrix."""
    # Shapes: matrices (n_columns or 1, n_features, n_features), V (n_features, n_columns), result
    # (n_features, n_columns).
    if len(matrices) == 1:
        return np.asarray(matrices[0] @ V)
    return np.asarray((matrices @ V.T[:, :, None])[:, :, 0].T)


def rows_in_use(W: Array) -> NDArray[np.intp]:
    """Return the rows of W that are not zero."""
    # Sums of sizes, some rows at a time, take a third of the time of `any` along rows.
    step, ones = max(_IN_CACHE // max(W.shape[1], 1), 1), np.ones(W.shape[1])
    if len(W) <= step:
        return np.asarray(np.abs(W).dot(ones)).nonzero()[0]
    starts = range(0, len(W), step)
    sizes = [np.abs(W[first : first + step]).dot(ones) for first in starts]
    return np.flatnonzero(np.concatenate(sizes)) if sizes else np.zeros(0, dtype=np.intp)


def moments_times(second: Array, W: Array) -> Array:
    """Multiply column k of `W` by symmetric matrix k, or all columns by the one matrix."""
    # Shapes: second (n_columns or 1, n_features, n_features), W (n_features, n_columns), result
    # (n_features, n_columns).
    # As :func:`times_each`, but rows of W that are zero cost nothing where one matrix does.
    if len(second) == 1:
        rows = rows_in_use(W)
        if 2 * len(rows) < len(W):
            return np.asarray(second[0][rows].T @ W[rows])
    return times_each(second, W)
