"""Priors of coefficients, their covariance structures, and the posterior of every task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from polytask._checks import got_shape, nonnegative, positive_integer, sentence
from polytask._registry import saveable
from polytask.bayes.blocks import RowSpace, opened_rows, opened_square
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A first guess keeps every variance above this share of the largest one.
_SMALLEST_SHARE = 1e-6


class Structure(ABC):
    """A family of covariances of q coefficients; the first is the intercept.

    Attributes
    ----------
    independent : bool
        Whether all its covariances are diagonal, so that no more than the diagonal of a
        derivative is needed.
    """

    independent: ClassVar[bool] = False

    @abstractmethod
    def n_parameters(self, q: int) -> int:
        """Return the length of the parameter vector, which is the number of free parameters."""

    @abstractmethod
    def start(self, second: Array) -> Array:
        """Return the parameters of the member nearest to a covariance.

        For the structures without a low rank part this is the M step of an EM algorithm when
        `second` is the mean of the tasks' posterior second moments.

        Parameters
        ----------
        second : ndarray of shape (q, q)
            Symmetric, positive semidefinite.

        Returns
        -------
        ndarray of shape (n_parameters(q),)
        """

    @abstractmethod
    def factor(self, params: Array, q: int) -> Array:
        """Return L of shape (q, r) whose L L' is the covariance."""

    @abstractmethod
    def pull_back(self, params: Array, q: int, gradient: Array) -> Array:
        """Return the gradient with respect to the parameters.

        Parameters
        ----------
        params : ndarray of shape (n_parameters(q),)
            Where.
        q : int
            Number of coefficients.
        gradient : ndarray of shape (q, q)
            Symmetric: the derivative with respect to the covariance, every entry counted as
            independent of its mirror image, so that a change dC of the covariance changes the
            function by ``sum(gradient * dC)``.

        Returns
        -------
        ndarray of shape (n_parameters(q),)
        """

    @abstractmethod
    def curvature(self, weights: Array) -> Array:
        """Return how strongly each parameter bends the likelihood, for an optimiser's steps.

        Parameters
        ----------
        weights : ndarray of shape (q,)
            The same for the coefficients.

        Returns
        -------
        ndarray of shape (n_parameters(q),)
            Sum of the weights of the rows of the factor that the parameter is in.
        """

    def log_prior(self, params: Array, q: int) -> tuple[float, Array]:
        """Return the log density of a prior on the covariance, and its gradient.

        It is added to the log-likelihood that is maximised. Zero unless the structure shrinks.
        """
        return 0.0, np.zeros(self.n_parameters(q))

    def price(self, q: int, n: float) -> float:
        """Return what a log-likelihood must gain for its parameters to be worth it.

        Half the log of the number of rows `n` for each, as the Bayesian information criterion
        of mixed models is commonly computed (Schwarz 1978; Pinheiro and Bates 2000, section
        2.4.1). The number of tasks instead of rows is a little better where tasks are many, and
        ruinous where they are few (``benchmarks/learned_prior_price.py``), which is where a
        covariance is least certain.
        """
        return 0.5 * self.n_parameters(q) * float(np.log(max(n, 2.0)))

    def covariance(self, params: Array, q: int) -> Array:
        """Return the covariance, shape (q, q)."""
        factor = self.factor(params, q)
        return np.asarray(factor @ factor.T)


class _Independent(Structure, ABC):
    """Independent coefficients, some of which have the same variance."""

    independent: ClassVar[bool] = True

    @abstractmethod
    def _groups(self, q: int) -> NDArray[np.intp]:
        """Return the number of the variance of the first coefficients; the others do not vary."""

    def n_parameters(self, q: int) -> int:
        """Return the number of variances."""
        return int(self._groups(q)[-1]) + 1

    def start(self, second: Array) -> Array:
        """Return the standard deviations."""
        groups = self._groups(len(second))
        total = np.bincount(groups, _positive_diagonal(second)[: len(groups)])
        return np.asarray(np.sqrt(total / np.bincount(groups)))

    def factor(self, params: Array, q: int) -> Array:
        """Return a diagonal matrix without the columns of what does not vary."""
        deviations = params[self._groups(q)]
        found = np.zeros((q, len(deviations)))
        np.fill_diagonal(found, deviations)
        return found

    def pull_back(self, params: Array, q: int, gradient: Array) -> Array:
        """Return the gradient with respect to the standard deviations."""
        groups = self._groups(q)
        return 2.0 * params * np.bincount(groups, np.diagonal(gradient)[: len(groups)])

    def curvature(self, weights: Array) -> Array:
        """Return the sums of the weights of those of one variance."""
        groups = self._groups(len(weights))
        return np.asarray(np.bincount(groups, weights[: len(groups)]), dtype=np.float64)


@saveable("bayes.structure.none")
@dataclass(frozen=True)
class NoVariation(_Independent):
    """Only the intercept varies between tasks: pooled coefficients with shrunk intercepts."""

    def _groups(self, q: int) -> NDArray[np.intp]:
        return np.zeros(1, dtype=np.intp)

    def start(self, second: Array) -> Array:
        """Return the standard deviation of the intercept, which may be zero."""
        return np.asarray(np.sqrt(np.maximum(second[:1, 0], 0.0)))


@saveable("bayes.structure.scalar")
@dataclass(frozen=True)
class Scalar(_Independent):
    """Independent coefficients: the intercept has one variance, all features another."""

    def _groups(self, q: int) -> NDArray[np.intp]:
        return np.minimum(np.arange(q), 1)


@saveable("bayes.structure.diagonal")
@dataclass(frozen=True)
class Diagonal(_Independent):
    """Independent coefficients, each with its own variance: some features vary, others not."""

    def _groups(self, q: int) -> NDArray[np.intp]:
        return np.arange(q)


@saveable("bayes.structure.low_rank")
@dataclass(frozen=True)
class LowRank(Structure):
    """A few directions in which tasks differ together, and a variance of each coefficient.

    The covariance is ``F F' + diag(s^2)``: factor analysis of the tasks' coefficients. F is
    zero above its diagonal, which fixes the rotation that F F' leaves open.

    Parameters
    ----------
    rank : int, default=1
        Columns of F; no more than q are used.
    """

    rank: int = 1

    def __post_init__(self) -> None:
        """Check the rank."""
        positive_integer(self.rank, "rank", type(self).__name__)

    def n_parameters(self, q: int) -> int:
        """Return q for s, and the entries of F that may differ from zero."""
        return q + len(self._entries(q)[0])

    def start(self, second: Array) -> Array:
        """Return principal directions above the mean level, and what they leave."""
        q = len(second)
        variances = _positive_diagonal(second)
        scale = np.sqrt(variances)
        values, vectors = np.linalg.eigh(second / np.multiply.outer(scale, scale))
        rank = min(self.rank, q)
        rest = max(float(values[: q - rank].mean()), 0.0) if q > rank else 0.0
        lengths = np.sqrt(np.maximum(values[::-1][:rank] - rest, _SMALLEST_SHARE))
        F = scale[:, None] * vectors[:, ::-1][:, :rank] * lengths
        left = np.maximum(variances - np.sum(F**2, axis=1), 1e-2 * variances)
        # F Q is lower triangular for the Q of F' = Q R.
        upper: Array = np.linalg.qr(F.T).R
        return np.concatenate([np.sqrt(left), upper.T[self._entries(q)]])

    def factor(self, params: Array, q: int) -> Array:
        """Return ``[diag(s), F]``, shape (q, q + rank)."""
        return np.column_stack([np.diag(params[:q]), self._directions(params, q)])

    def pull_back(self, params: Array, q: int, gradient: Array) -> Array:
        """Return the gradient with respect to s and F."""
        own = 2.0 * params[:q] * np.diagonal(gradient)
        shared = 2.0 * gradient @ self._directions(params, q)
        return np.concatenate([own, shared[self._entries(q)]])

    def curvature(self, weights: Array) -> Array:
        """Return the weights of the rows of s and of F."""
        return np.concatenate([weights, weights[self._entries(len(weights))[0]]])

    def _entries(self, q: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return np.tril_indices(q, 0, min(self.rank, q))

    def _directions(self, params: Array, q: int) -> Array:
        F = np.zeros((q, min(self.rank, q)))
        F[self._entries(q)] = params[q:]
        return F


@saveable("bayes.structure.full")
@dataclass(frozen=True)
class Full(Structure):
    """Any covariance, by its Cholesky factor.

    Parameters
    ----------
    shrinkage : float, default=0.0
        Pull of the correlations to zero: the prior density of the correlation matrix R is
        proportional to ``|R|^shrinkage``. It acts as about twice as many further tasks with
        uncorrelated coefficients would.

    References
    ----------
    Lewandowski, D., Kurowicka, D. and Joe, H. (2009). Generating random correlation matrices
    based on vines and extended onion method. Journal of Multivariate Analysis 100, 1989-2001
    (the density, with eta = 1 + shrinkage).
    """

    shrinkage: float = 0.0

    def __post_init__(self) -> None:
        """Check the shrinkage."""
        nonnegative(self.shrinkage, "shrinkage", type(self).__name__)

    def n_parameters(self, q: int) -> int:
        """Return the entries of a triangle."""
        return q * (q + 1) // 2

    def start(self, second: Array) -> Array:
        """Return the Cholesky factor."""
        q = len(second)
        floor = np.diag(_positive_diagonal(second)) * 1e-4
        return np.asarray(np.linalg.cholesky(second + floor)[np.tril_indices(q)])

    def factor(self, params: Array, q: int) -> Array:
        """Return a lower triangle, shape (q, q)."""
        L = np.zeros((q, q))
        L[np.tril_indices(q)] = params
        return L

    def pull_back(self, params: Array, q: int, gradient: Array) -> Array:
        """Return the gradient with respect to the Cholesky factor."""
        return np.asarray(2.0 * (gradient @ self.factor(params, q))[np.tril_indices(q)])

    def curvature(self, weights: Array) -> Array:
        """Return the weights of the rows."""
        return np.asarray(weights[np.tril_indices(len(weights))[0]])

    def price(self, q: int, n: float) -> float:
        """Return the price; a correlation that is pulled to zero costs less.

        By Laplace's approximation with its prior, which is about normal with variance
        1 / (2 shrinkage).
        """
        if self.shrinkage == 0.0:
            return super().price(q, n)
        correlations = q * (q - 1) / 2 * np.log1p(n / (2.0 * self.shrinkage))
        return float(0.5 * (q * np.log(max(n, 2.0)) + correlations))

    def log_prior(self, params: Array, q: int) -> tuple[float, Array]:
        """Return ``shrinkage * log|R|`` up to a constant; R has the factor of unit rows of L."""
        if self.shrinkage == 0.0:
            return 0.0, np.zeros(len(params))
        L = self.factor(params, q)
        own, squares = np.diagonal(L), np.sum(L**2, axis=1)
        # A row of zeros has no correlation to speak of.
        own = np.where(own == 0.0, np.finfo(float).tiny ** 0.25, own)
        squares = np.maximum(squares, own**2)
        value = float(np.sum(np.log(own**2 / squares)))
        slope = np.diag(2.0 / own) - 2.0 * L / squares[:, None]
        return self.shrinkage * value, self.shrinkage * slope[np.tril_indices(q)]


def _positive_diagonal(second: Array) -> Array:
    """Return the variances, none so small that an optimiser starting there would see no slope."""
    variances = np.maximum(np.diagonal(second), 0.0)
    largest = float(variances.max(initial=0.0))
    return np.asarray(np.maximum(variances, _SMALLEST_SHARE * (largest if largest > 0 else 1.0)))


@saveable("bayes.model")
@dataclass(frozen=True)
class Model:
    """What is to be learned."""

    structure: Structure
    varying: tuple[int, ...]
    restricted: bool = True
    gaussian_mean: bool = False
    task_noise: float | None = None

    def shrunk(self, p: int) -> Mask:
        """Return a mask of the mean coefficients that have a learned prior, shape (p,)."""
        mask = np.full(p, self.gaussian_mean)
        mask[0] = False
        return mask

    def integrated(self, p: int) -> Mask:
        """Return a mask of the mean coefficients that are integrated out, shape (p,)."""
        return self.shrunk(p) | self.restricted


@saveable("bayes.prior")
@dataclass(frozen=True, eq=False)
class Prior:
    """What is known about the coefficients of a task before its rows are seen.

    In the units in which it was learned, scaled features with a column of ones in front:
    the coefficients of a task are ``mean``, and on top of it, for the columns in ``varying``,
    a normal deviation with mean 0 and ``covariance``.

    With more features than rows the columns are not those of the features but the coordinates of
    `space`: one for the intercept, one for each direction that the rows span, and one that stands
    for all others; ``lifted`` returns coefficients of the features.

    Attributes
    ----------
    mean : ndarray of shape (p,)
        Mean coefficients; the first is the intercept.
    covariance : ndarray of shape (q, q)
        Covariance of the deviations.
    varying : ndarray of int of shape (q,)
        Which of the p columns vary between tasks; the first is 0, the intercept.
    noise : ndarray of shape (n_tasks,) or float, or None
        Variance of the noise, per task or of all; None for classes.
    mean_covariance : ndarray of shape (p, p) or None
        How uncertain the mean is; None if it counts as known.
    space : RowSpace or None
        The coordinates; None means the features.
    """

    mean: Array
    covariance: Array
    varying: NDArray[np.intp]
    noise: Array | float | None
    mean_covariance: Array | None = None
    space: RowSpace | None = None

    def __post_init__(self) -> None:
        """Check that the shapes agree."""
        p, q = len(self.mean), len(self.varying)
        for name, size in (("covariance", q), ("mean_covariance", p)):
            given = getattr(self, name)
            if given is not None and np.shape(given) != (size, size):
                allowed = LazyMessage("allowed.of_shape", {"shape": (size, size)})
                raise DataError(sentence(name, "Prior", allowed, got_shape(np.shape(given))))
        if q == 0 or self.varying[0] != 0 or np.any((self.varying < 0) | (self.varying >= p)):
            allowed = LazyMessage("allowed.varying_columns", {"most": p})
            raise DataError(sentence("varying", "Prior", allowed, repr(list(self.varying))))
        if self.space is not None and (p, q) != (self.space.width, self.space.width):
            allowed = LazyMessage("allowed.varying_as_space", {"n": self.space.width})
            got = LazyMessage("got.of_which_vary", {"n": p, "varying": q})
            raise DataError(sentence("mean", "Prior", allowed, got))

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.mean) - 1 if self.space is None else self.space.n_features

    def coordinates(self, Z: Array) -> Array:
        """Return rows of shape (n, 1 + n_features) in the columns of the prior, (n, p)."""
        return Z if self.space is None else self.space.coordinates(Z)

    def lifted(self, W: Array) -> Array:
        """Return coefficients (k, p) as those of the features, shape (k, 1 + n_features)."""
        return W if self.space is None else self.space.lifted(W)

    def lowered(self, W: Array) -> Array:
        """Return coefficients of the features that the rows determine in the columns (k, p)."""
        return W if self.space is None else self.space.lowered(W)

    def opened(self, Z: Array) -> Prior:
        """Return the same prior in coordinates that hold further rows, for them to be learned.

        Parameters
        ----------
        Z : ndarray of shape (n, 1 + n_features)
            Scaled rows with ones in front.

        Returns
        -------
        Prior
            Its first columns but the last are those of this one.
        """
        if self.space is None or not len(Z):
            return self
        space = self.space.extended(Z[:, 1:])
        more = space.width - self.space.width
        if not more:
            return self
        S = self.mean_covariance
        return replace(
            self,
            mean=opened_rows(self.mean, more),
            covariance=opened_square(self.covariance, more),
            varying=np.arange(space.width, dtype=np.intp),
            mean_covariance=None if S is None else opened_square(S, more),
            space=space,
        )

    @property
    def spread(self) -> Array:
        """Covariance of a new task's coefficients in all p columns, shape (p, p)."""
        p = len(self.mean)
        full = np.zeros((p, p)) if self.mean_covariance is None else self.mean_covariance.copy()
        full[np.ix_(self.varying, self.varying)] += self.covariance
        return full


# Directions with less than this share of the largest variance do not vary.
_NO_VARIANCE = 1e-14


def factor_of(covariance: Array) -> Array:
    """Return a factor of a covariance, without the directions that do not vary."""
    own = np.diagonal(covariance)
    if np.count_nonzero(covariance) == np.count_nonzero(own):
        kept = own > _NO_VARIANCE * float(own.max(initial=0.0))
        factor = np.diag(np.sqrt(np.maximum(own, 0.0)))[:, kept]
        return factor if kept.any() else np.zeros((len(own), 1))
    values, vectors = np.linalg.eigh(covariance)
    largest = float(values.max(initial=0.0))
    kept = values > _NO_VARIANCE * largest if largest > 0 else np.zeros(len(values), dtype=bool)
    if not kept.any():
        return np.zeros((len(values), 1))
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))
