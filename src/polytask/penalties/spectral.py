"""Penalties on the singular values of W."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np
import scipy.linalg

from polytask._checks import positive, positive_integer
from polytask._linalg import (
    Array,
    clip,
    host,
    inner,
    largest,
    namespace,
    shrunk_values,
    singular_values,
    spectral_norm,
    thin_svd,
    total,
)
from polytask._registry import saveable
from polytask.penalties.base import Conjugate, Mergeable, Penalty, Valued
from polytask.penalties.terms import (
    ALPHA,
    FRACTION,
    RADIUS,
    AbsoluteTerm,
    Norm,
    Unbound,
    checked_by,
    merged_alike,
)

# So many matrices of so many entries are remembered.
_RECENT, _SMALL = 32, 5000


class _Recent:
    """A number of the last small matrices, which solvers and paths ask for more than once."""

    def __init__(self, compute: Callable[[Array], float]) -> None:
        self._compute = compute
        self._found: dict[tuple[tuple[int, ...], bytes], float] = {}

    def of(self, W: Array) -> float:
        """Return the number of a matrix."""
        if not _is_small(W):
            return self._compute(W)
        found = self._found.get((W.shape, W.tobytes()))
        if found is None:
            found = self._compute(W)
            self.keep(W, found)
        return found

    def keep(self, W: Array, found: float) -> None:
        """Remember the number of a matrix."""
        if not _is_small(W):
            return
        if len(self._found) >= _RECENT:
            self._found = {}
        self._found[W.shape, W.tobytes()] = found


def _is_small(W: Array) -> bool:
    return isinstance(W, np.ndarray) and W.dtype == np.float64 and W.size <= _SMALL


_NORMS = _Recent(lambda W: total(singular_values(W)))
_DUAL_NORMS = _Recent(spectral_norm)


@final
@saveable("penalty.trace_norm", "penalty.trace_ball")
@dataclass(frozen=True, eq=False, repr=False)
class TraceNorm(Norm):
    """alpha times the sum of singular values: the columns span few directions.

    With a radius, the sum is bounded as well, or instead: the constrained form.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1, and alpha is 0 with a radius.
    radius : float, default=None
        The largest sum of singular values, > 0; None for no limit. Multiples of the penalty, and
        paths of a search, keep it.

    References
    ----------
    .. [1] Cai, J.-F., Candès, E. J. and Shen, Z. (2010). A singular value thresholding
       algorithm for matrix completion. SIAM Journal on Optimization 20, 1956-1982,
       Theorem 2.1.
    """

    label = "TraceNorm"

    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)
    radius: float | None = field(default=None, kw_only=True, metadata=RADIUS)

    def norm(self, W: Array) -> float:
        """Return the sum of singular values."""
        return 0.0 if 0 in W.shape else _NORMS.of(W)

    def dual_norm(self, Z: Array) -> float:
        """Return the largest singular value."""
        return 0.0 if 0 in Z.shape else _DUAL_NORMS.of(Z)

    def prox(self, W: Array, step: float) -> Array:
        """Return W with every singular value lowered by one amount, stopping at zero."""
        if 0 in W.shape:
            return W
        if self.radius is None:
            short = shrunk_values(W, float(step) * self.weight)
            if short is not None:
                _NORMS.keep(*short)
                return short[0]
        left, values, right = thin_svd(W)
        lowered = clip(values - self.lowered_by(values, step), 0.0, None)
        return (left * lowered[None, :]) @ right

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with another TraceNorm."""
        return merged_alike(self, other)


# Relative error that squaring W may cause in the singular values that matter.
_EXACT = 1e-10


class Box(NamedTuple):
    """The eigenvalues that S may have, and the factor of the penalty."""

    low: float
    free: int
    factor: float


def water_level(values: Array, low: float, free: int) -> float:
    """Return v > 0 with sum of clip(s_i / v, low, 1 + low) = free + low * n."""
    # Shapes: values (n,).
    # Times v, the difference of the two sides is linear between the points at which an entry
    # meets a bound, and it changes its sign once.
    xp = namespace(values)
    n, high = values.shape[0], 1.0 + low
    top = total(values) / free
    ends = [xp.zeros_like(values[:1]), values / high, xp.zeros_like(values[:1]) + top]
    if low > 0:
        # No root lies beyond the top, where a quotient might overflow.
        ends.append(clip(values, None, low * top) / low)
    level = xp.sort(xp.concat(ends))
    # All levels at once: 2 n^2 numbers, where W itself has at least n^2.
    spread = xp.broadcast_to(values[None, :], (level.shape[0], n))
    clipped = clip(spread, low * level[:, None], high * level[:, None])
    excess = xp.sum(clipped, axis=1) - (free + low * n) * level
    left = int(xp.sum(xp.astype(excess >= 0, xp.int64))) - 1
    left = min(max(left, 0), level.shape[0] - 2)
    above, below = float(excess[left]), float(excess[left + 1])
    share = above / (above - below) if above > below else 0.0
    start, end = float(level[left]), float(level[left + 1])
    return start + min(max(share, 0.0), 1.0) * (end - start)


class SpectralBox(AbsoluteTerm, Unbound, Conjugate, Mergeable):
    """c/2 min over S of tr(W S^-1 W'), with S in a box of eigenvalues."""

    # The prox with the step s moves the box by g = s c: the minimum over W for a given S takes
    # t_i / (t_i + g) of every singular value, and leaves g/2 min sum s_i^2 / (t_i + g).

    @property
    @abstractmethod
    def _box(self) -> Box:
        """The numbers a, k and c."""

    @final
    def value(self, W: Array) -> float:
        """Return c/2 times the sum of s_i^2 / t_i."""
        if 0 in W.shape:
            return 0.0
        low, free, factor = self._box
        values = singular_values(W)
        level = _level(values, low, free)
        return 0.5 * factor * inner(values, _slopes(values, level, low))

    @final
    def prox(self, W: Array, step: float) -> Array:
        """Return W with every singular value s_i multiplied by t_i / (t_i + step * c)."""
        box = self._box
        amount = float(step) * box.factor
        if 0 in W.shape or amount == 0 or largest(W) == 0:
            return 1.0 * W
        if box.free >= min(W.shape):
            return W * ((1 + box.low) / (1 + box.low + amount))
        short = _from_squares(W, box, amount)
        if short is not None:
            return short
        left, values, right = thin_svd(W)
        level = _level(values, box.low + amount, box.free)
        values = values - amount * _slopes(values, level, box.low + amount)
        return (left * values[None, :]) @ right

    @final
    def conjugate(self, Z: Array) -> float:
        """Return (a ||Z||_F^2 + the sum of the k largest squared singular values) / (2 c)."""
        if 0 in Z.shape:
            return 0.0
        low, free, factor = self._box
        leading = singular_values(Z)[:free]
        square = low * inner(Z, Z) + inner(leading, leading)
        if factor == 0:
            return 0.0 if square == 0 else float("inf")
        return 0.5 * square / factor

    @final
    def feasible_scale(self, Z: Array) -> float:
        """Return inf; for alpha = 0 and Z other than 0, 0."""
        return float("inf") if self.weight > 0 or largest(Z) == 0 else 0.0

    @final
    def parts(self) -> tuple[Penalty, ...]:
        """Return the penalty itself."""
        return (self,)

    @final
    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with another one that differs in nothing but its strength."""
        return merged_alike(self, other)


def _level(values: Array, low: float, free: int) -> float:
    """Return the level for at most as many free directions as there are."""
    return water_level(values, low, min(free, values.shape[0]))


def _slopes(values: Array, level: float, low: float) -> Array:
    """Return s_i / t_i: the level, or what the bounds of t_i allow."""
    slopes = clip(values / (1.0 + low), level, None)
    return slopes if low == 0 else namespace(values).minimum(slopes, values / low)


def true_values(values: Array, W: Array) -> Array:
    """Return the singular values of W; those that only rounding tells from 0 are 0."""
    xp = namespace(W)
    least = float(xp.finfo(W.dtype).eps) * max(W.shape) * largest(values)
    return xp.where(values > least, values, xp.zeros_like(values))


def direction_weights(values: Array, low: float, free: int) -> Array:
    """Return t_i - a of every direction: in [0, 1], 0 for directions that W does not use."""
    level = _level(values, low, free)
    if level > 0:
        return clip(values / level - low, 0.0, 1.0)
    return namespace(values).astype(values > 0, values.dtype)


def _from_squares(W: Array, box: Box, amount: float) -> Array | None:
    """Return the prox from the eigenvectors of W'W, which is cheaper than from those of W."""
    # Eigenvalues of the squared matrix are exact to rounding of the largest one. Below the level
    # all are multiplied by one number, so that it does not matter there; None where it is
    # too coarse above, and for arrays other than NumPy's.
    if not isinstance(W, np.ndarray):
        return None
    tall = W.shape[0] >= W.shape[1]
    gram = W.T @ W if tall else W @ W.T
    square = float(np.trace(gram))
    if not np.isfinite(square):
        return None
    squares, vectors = scipy.linalg.eigh(gram, driver="evd", check_finite=False)
    values = np.sqrt(np.maximum(squares, 0.0))
    low = box.low + amount
    level = _level(values, low, box.free)
    if not np.finfo(W.dtype).eps * square <= _EXACT * (level * low) ** 2:
        return None
    gain = np.full_like(values, 1 - amount / low)
    above = values > level * low
    gain[above] = 1 - amount * _slopes(values[above], level, low) / values[above]
    mix = (vectors * gain) @ vectors.T
    return np.asarray(W @ mix if tall else mix @ W)


@final
@saveable("penalty.learned_covariance")
@dataclass(frozen=True, eq=False, repr=False)
class LearnedCovariance(SpectralBox):
    """alpha / 2 * (sum of singular values)^2: the covariance between tasks is learned.

    It is the smallest alpha / 2 * tr(W C^-1 W') over the covariances C between columns of
    trace 1, positive semi-definite [1]_ [2]_: a coupling whose matrix the data choose. The
    minimiser, see :meth:`covariance`, tells which tasks go together, and which against each
    other.

    For tasks whose relations are unknown and are to be shown. The coefficients are those of
    ``TraceNorm`` at another strength, the strength times the sum of singular values, so that
    W has a low rank and no finite strength makes all of it vanish. Not for tasks that vary
    around one model (``toward_mean``), nor for relations that are known (``coupling``).

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0; None means 1.0.

    References
    ----------
    .. [1] Argyriou, A., Evgeniou, T. and Pontil, M. (2008). Convex multi-task feature
       learning. Machine Learning 73, 243-272.
    .. [2] Zhang, Y. and Yeung, D.-Y. (2010). A convex formulation for learning task
       relationships in multi-task learning. UAI, 733-742.
    """

    label = "LearnedCovariance"

    alpha: float | None = field(default=None, metadata=ALPHA)

    @property
    def _box(self) -> Box:
        """S is the covariance: eigenvalues >= 0 of sum 1."""
        return Box(0.0, 1, self.weight)

    @staticmethod
    def covariance(W: Array) -> Array:
        """Return the covariance between columns that W has learned: (W'W)^(1/2) / its trace.

        Parameters
        ----------
        W : array of shape (n_features, n_columns)
            Coefficients, ``model.coef_.T`` of a fitted model.

        Returns
        -------
        array of shape (n_columns, n_columns)
            Symmetric, positive semi-definite, of trace 1; zeros for W = 0. Positive where two
            columns go the same way, negative where they go against each other.
        """
        _, values, right = thin_svd(W)
        trace = total(values)
        share = values / trace if trace > 0 else values
        return (right.T * share[None, :]) @ right


@final
@saveable("penalty.clustered")
@dataclass(frozen=True, eq=False, repr=False)
class Clustered(SpectralBox):
    """alpha * r (1 + r) * min over M of tr(W (r I + M)^-1 W'), r = ratio: groups of tasks.

    M is symmetric with eigenvalues in [0, 1] and the trace n_clusters: the convex relaxation of
    the assignment of columns to clusters [1]_ [2]_. Directions in which the centres of the
    clusters lie cost alpha * r, all others alpha * (1 + r), so that columns are pulled
    towards the centres without knowing which column is of which cluster. :meth:`clusters`
    reads them off the solution.

    For tasks that come in a few groups which are unknown beforehand. Not for known groups
    (``along_graph``), nor for tasks that vary around one centre (``toward_mean``). With
    n_clusters no less than the number of columns, or of features, it is
    ``L2(2 * alpha * ratio)``; with one cluster and a ratio near 0 it is near
    ``LearnedCovariance(2 * alpha * ratio)``. With several classes every column, a class of a
    task, is in a cluster by itself.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0; None means 1.0.
    ratio : float, default=0.1
        What the centres cost relative to the deviations from them, r / (1 + r), by r > 0.
    n_clusters : int, default=2
        The number of clusters, >= 1.

    References
    ----------
    .. [1] Jacob, L., Bach, F. and Vert, J.-P. (2008). Clustered multi-task learning: a
       convex formulation. NIPS 21.
    .. [2] Zhou, J., Chen, J. and Ye, J. (2011). Clustered multi-task learning via
       alternating structure optimization. NIPS 24.
    .. [3] McDonald, A., Pontil, M. and Stamos, D. (2016). New perspectives on k-support and
       cluster norms. JMLR 17, 1-38, for the conjugate.
    """

    label = "Clustered"

    alpha: float | None = field(default=None, metadata=ALPHA)
    ratio: float = field(default=0.1, metadata=checked_by(positive))
    n_clusters: int = field(default=2, metadata=checked_by(positive_integer))

    @property
    def _box(self) -> Box:
        """S is r I + M."""
        ratio = self.ratio
        return Box(ratio, self.n_clusters, 2 * self.weight * ratio * (1 + ratio))

    def membership(self, W: Array) -> Array:
        """Return M, the relaxed assignment at which the minimum is attained.

        Parameters
        ----------
        W : array of shape (n_features, n_columns)
            Coefficients, ``model.coef_.T`` of a fitted model.

        Returns
        -------
        array of shape (n_columns, n_columns)
            Symmetric, with eigenvalues in [0, 1] and the trace n_clusters, or the rank of W
            if that is less. Where clusters are clear, entry (s, t) is near one over the
            size of the cluster that s and t share, and near 0 if they share none.
        """
        if 0 in W.shape:
            return namespace(W).zeros_like(W.T @ W)
        _, values, right = thin_svd(W)
        weights = direction_weights(true_values(values, W), self.ratio, self.n_clusters)
        return (right.T * weights[None, :]) @ right

    def clusters(self, W: Array) -> np.ndarray:
        """Return the cluster of every column.

        The columns, projected on the n_clusters leading singular directions, are joined by
        Ward's method: always the two clusters whose union adds the least squared distance to
        the centres.

        Parameters
        ----------
        W : array of shape (n_features, n_columns)
            Coefficients, ``model.coef_.T`` of a fitted model.

        Returns
        -------
        ndarray of int of shape (n_columns,)
            Numbers from 0 in the order of the first column of each cluster; at most
            n_clusters of them.
        """
        from scipy.cluster.hierarchy import fcluster, ward

        _, values, right = thin_svd(W)
        points = host((values[:, None] * right)[: self.n_clusters].T)
        if len(points) <= self.n_clusters:
            found: np.ndarray = np.unique(points, axis=0, return_inverse=True)[1].reshape(-1)
        else:
            found = fcluster(ward(points), self.n_clusters, criterion="maxclust")
        _, first, number = np.unique(found, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[number]


@final
@saveable("penalty.alternating_structure")
@dataclass(frozen=True, eq=False, repr=False)
class AlternatingStructure(SpectralBox):
    """alpha * r (1 + r) * min over M of tr(W' (r I + M)^-1 W), r = ratio: a shared subspace.

    M, of shape (n_features, n_features), is symmetric with eigenvalues in [0, 1] and the trace
    n_dimensions: the convex relaxation [2]_ of the projection on a subspace of so many
    directions of the features, which all tasks share. With a basis Theta of it every task is
    ``w_t = u_t + Theta v_t`` [1]_, and costs ``alpha * (||u_t||^2 + r ||w_t||^2)``: what lies in
    the subspace costs alpha * r, what does not alpha * (1 + r). The data choose the subspace;
    :meth:`subspace` reads it off the solution.

    For many tasks that depend on a few common combinations of the features, and each a little
    on others: unlike ``TraceNorm`` it leaves the common combinations nearly unpenalised for a
    small ratio, and sets nothing to zero. Not for few tasks, nor to choose features. As a
    function of W it is ``Clustered`` with as many clusters as dimensions [3]_, whose M is
    between tasks and not between features; use the one whose M you want to read. With
    n_dimensions no less than the number of columns, or of features, it is
    ``L2(2 * alpha * ratio)``.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0; None means 1.0.
    ratio : float, default=0.1
        What the shared directions cost relative to the others, r / (1 + r), by r > 0.
    n_dimensions : int, default=2
        The number of shared directions, >= 1.

    References
    ----------
    .. [1] Ando, R. K. and Zhang, T. (2005). A framework for learning predictive structures
       from multiple tasks and unlabeled data. JMLR 6, 1817-1853.
    .. [2] Chen, J., Tang, L., Liu, J. and Ye, J. (2009). A convex formulation for learning
       shared structures from multiple tasks. ICML, 137-144.
    .. [3] Zhou, J., Chen, J. and Ye, J. (2011). Clustered multi-task learning via
       alternating structure optimization. NIPS 24.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.penalties import AlternatingStructure
    >>> W = np.outer([3.0, 4.0, 0.0], [1.0, -2.0, 0.5, 1.0])
    >>> np.abs(AlternatingStructure(n_dimensions=1).subspace(W)).round(3).tolist()
    [[0.6], [0.8], [0.0]]
    """

    label = "AlternatingStructure"

    alpha: float | None = field(default=None, metadata=ALPHA)
    ratio: float = field(default=0.1, metadata=checked_by(positive))
    n_dimensions: int = field(default=2, metadata=checked_by(positive_integer))

    @property
    def _box(self) -> Box:
        """S is r I + M; its eigenvalues beyond those of W cost nothing, wherever they are."""
        ratio = self.ratio
        return Box(ratio, self.n_dimensions, 2 * self.weight * ratio * (1 + ratio))

    def structure(self, W: Array) -> Array:
        """Return M, the relaxed projection at which the minimum is attained.

        Parameters
        ----------
        W : array of shape (n_features, n_columns)
            Coefficients, ``model.coef_.T`` of a fitted model.

        Returns
        -------
        array of shape (n_features, n_features)
            Symmetric, with eigenvalues in [0, 1] and the trace n_dimensions, or the rank of W
            if that is less. Where the shared subspace is clear, it is nearly the projection
            on it.
        """
        if 0 in W.shape:
            return namespace(W).zeros_like(W @ W.T)
        left, values, _ = thin_svd(W)
        weights = direction_weights(true_values(values, W), self.ratio, self.n_dimensions)
        return (left * weights[None, :]) @ left.T

    def subspace(self, W: Array) -> Array:
        """Return Theta, an orthonormal basis of the shared subspace.

        Parameters
        ----------
        W : array of shape (n_features, n_columns)
            Coefficients, ``model.coef_.T`` of a fitted model; with ``standardize=True``
            multiply its rows by ``model.feature_scale_`` for the units of the penalty.

        Returns
        -------
        array of shape (n_features, n)
            The eigenvectors of the n largest eigenvalues of M, which are the leading left
            singular vectors of W, n being n_dimensions or the rank of W if that is less.
            Signs are arbitrary; ``Theta.T @ W`` are the coordinates of the tasks.
        """
        if 0 in W.shape:
            return W[:, :0]
        left, values, _ = thin_svd(W)
        rank = int((true_values(values, W) > 0).sum())
        return left[:, : min(self.n_dimensions, rank)]
