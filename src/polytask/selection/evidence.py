"""The marginal likelihood of quadratic penalties, in closed form from moments.

A quadratic penalty is minus the logarithm of a normal prior. With the noise precision lambda,
``lambda F`` is minus the log of likelihood times prior, and the integral over all coefficients
and intercepts is known: with N labels, m directions that the prior leaves free and the minimum
F* of the objective, lambda = (N - m) / (2 F*) maximises it, and twice its logarithm is

    (N - m) (log((N - m) / (4 pi F*)) - 1) + log |P|+ - log |H + P| + sum_t n_t log a_t

with the Hessians H of the data term and P of the penalty, |P|+ the product of the eigenvalues
that are not zero, and a_t the weight of a label of task t in the objective. With free directions
this is the restricted likelihood of mixed models.

References
----------
MacKay, D. (1992). Bayesian interpolation. Neural Computation 4, 415-447.
Harville, D. (1974). Bayesian inference for variance components using only error contrasts.
Biometrika 61, 383-385.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.datafits import (
    AnchoredIntercepts,
    Intercepts,
    NoIntercepts,
    PulledIntercepts,
    SquaredStatistics,
    TaskMoments,
    TiedIntercepts,
)
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage
from polytask.penalties import Penalty, Quadratic

Array = NDArray[np.float64]

# Matrices up to this size are factorised whole.
_LARGEST = 3000
# Eigenvalues below this share of the largest are zero.
_ZERO = 1e-10
# Relative to the largest, and for each row of a matrix, what an eigenvalue of zero may come to.
_EPSILON = 20 * np.finfo(float).eps


@dataclass(frozen=True)
class Volume:
    """Logarithms of determinants, and how many directions the prior leaves free."""

    posterior: float
    prior: float
    free: int

    def __add__(self, other: Volume) -> Volume:
        """Add what belongs to other directions."""
        return Volume(
            self.posterior + other.posterior, self.prior + other.prior, self.free + other.free
        )


@dataclass(frozen=True)
class MarginalLikelihood:
    """The marginal likelihood at its best noise."""

    log: float
    noise: float
    free: int


def evidence(
    datafit: SquaredStatistics, penalty: Penalty, objective: float, counts: Array
) -> MarginalLikelihood:
    """Return the marginal likelihood of a strength. Shapes: counts (n_tasks,)."""
    if not isinstance(penalty, Quadratic):
        fields = {"penalty": repr(penalty)}
        raise IncompatibleError(LazyMessage("selection.refusal.no_prior", fields))
    scale = datafit.statistics.scale
    seen = (counts > 0) & (scale > 0)
    volume = _intercepts(datafit.intercepts, scale) + _coefficients(datafit, penalty)
    labels = float(counts[seen].sum())
    left = labels - volume.free
    if left <= 0 or not objective > 0:
        fields = {"free": str(volume.free), "labels": format(labels, "g")}
        raise DataError(LazyMessage("selection.refusal.no_residuals", fields))
    weights = float(counts[seen] @ np.log(scale[seen] / counts[seen]))
    precision = left / (2.0 * objective)
    twice = left * (np.log(precision / (2.0 * np.pi)) - 1.0)
    twice += volume.prior - volume.posterior + weights
    return MarginalLikelihood(0.5 * float(twice), 1.0 / precision, volume.free)


@singledispatch
def _intercepts(intercepts: Intercepts, scale: Array) -> Volume:
    """Return the volumes of the intercepts."""
    fields = {"kind": type(intercepts).__name__}
    raise IncompatibleError(LazyMessage("selection.refusal.evidence_unknown", fields))


@_intercepts.register
def _(intercepts: NoIntercepts, scale: Array) -> Volume:
    return Volume(0.0, 0.0, 0)


@_intercepts.register
def _(intercepts: TiedIntercepts, scale: Array) -> Volume:
    total = np.bincount(intercepts.groups, scale)
    total = total[total > 0]
    return Volume(float(np.log(total).sum()), 0.0, len(total))


@_intercepts.register
def _(intercepts: PulledIntercepts, scale: Array) -> Volume:
    posterior, prior, free = 0.0, 0.0, 0
    for group in np.unique(intercepts.groups):
        own = scale[intercepts.groups == group]
        if not own.any():
            continue
        pull = intercepts.strength if len(own) > 1 else 0.0
        # diag(scale + pull) less pull / size in every entry.
        share = float(np.mean(own / (own + pull)))
        posterior += float(np.log(own + pull).sum()) + np.log(share)
        # The flat prior is one of their mean, as that of a tied intercept is, and a direction of
        # length one moves the mean by the root of their number.
        posterior += float(np.log(len(own)))
        prior += (len(own) - 1) * float(np.log(intercepts.strength))
        free += 1
    return Volume(posterior, prior, free)


@_intercepts.register
def _(intercepts: AnchoredIntercepts, scale: Array) -> Volume:
    strength = intercepts.strength
    prior = len(scale) * float(np.log(strength))
    return Volume(float(np.log(scale + strength).sum()), prior, 0)


def _coefficients(datafit: SquaredStatistics, penalty: Quadratic) -> Volume:
    matrices = _matrices(penalty, datafit.shape)
    values = np.linalg.eigvalsh(matrices)
    top = float(values.max(initial=0.0))
    kept = values > _ZERO * top
    # All rows have one matrix unless features have weights.
    times = datafit.shape[0] // len(matrices)
    prior = times * float(np.log(values[kept]).sum())
    free = times * int(np.count_nonzero(~kept))
    return Volume(_log_determinant(datafit, matrices), prior, free)


def _matrices(penalty: Quadratic, shape: tuple[int, int]) -> Array:
    """Return the Hessian of the penalty, one for every row of W or one for all."""
    d, columns = shape
    out = np.empty((d, columns, columns))
    for k in range(columns):
        unit = np.zeros(shape)
        unit[:, k] = 1.0
        out[:, k] = penalty.apply(unit)
    return out[:1] if np.all(out == out[:1]) else out


def _log_determinant(datafit: SquaredStatistics, matrices: Array) -> float:
    """Return the log determinant of the Hessian of the objective in the coefficients."""
    s = datafit.statistics
    even = np.ptp(s.scale) <= 1e-12 * s.scale.max(initial=0.0)
    if even and datafit.intercepts.centres and len(s.second) == len(matrices) == 1:
        return _kronecker(s, matrices[0])
    low = _low_rank(matrices) if len(matrices) == 1 else None
    if low is not None:
        return _by_tasks(datafit, *low)
    return _whole(datafit, matrices)


def _kronecker(s: TaskMoments, matrix: Array) -> float:
    """Return it for one design, all labels seen and free intercepts: eigenvalues add."""
    data = s.scale[0] * np.linalg.eigvalsh(s.second[0])
    prior = np.linalg.eigvalsh(matrix)
    # What is rounding in one of them must not pass for what the other is without.
    data[data <= _rounding(data)] = 0.0
    prior[prior <= _ZERO * prior.max(initial=0.0)] = 0.0
    return _log_sum(np.add.outer(data, prior).ravel(), 0.0)


def _log_sum(values: NDArray[Any], rounding: float) -> float:
    if not np.all(values > rounding):
        raise _undefined()
    return float(np.log(values).sum())


def _rounding(values: NDArray[Any]) -> float:
    """Return what zero comes to among the eigenvalues or pivots of a matrix, of this diagonal."""
    return _EPSILON * len(values) * float(values.max(initial=0.0))


def _undefined() -> IncompatibleError:
    return IncompatibleError(LazyMessage("selection.refusal.evidence_undefined"))


def _low_rank(matrices: Array) -> tuple[float, Array] | None:
    """Return c and U of the matrix c I - U U', if U is narrow; None otherwise."""
    values, vectors = np.linalg.eigh(matrices[0])
    top = float(values[-1])
    lacking = top - values
    used = lacking > _ZERO * top
    if 3 * np.count_nonzero(used) > len(values):
        return None
    return top, vectors[:, used] * np.sqrt(lacking[used])


def _by_tasks(datafit: SquaredStatistics, top: float, U: Array) -> float:
    """Return it from one factor per task, and one of what joins them."""
    s = datafit.statistics
    d, columns = datafit.shape
    joined = _joining(datafit)
    size = d * U.shape[1] + joined.shape[1]
    _refuse_large(size)
    inner = np.eye(size)
    total = 0.0
    for t in range(columns):
        own = _task_matrix(datafit, t) + top * np.eye(d)
        factor = np.linalg.cholesky(own)
        total += 2.0 * float(np.log(np.diagonal(factor)).sum())
        right = np.hstack([np.kron(U[t], np.eye(d)), np.outer(s.x_mean[:, t], joined[t])])
        half = np.linalg.solve(factor, right)
        inner -= half.T @ half
    return total + _log_sum(np.linalg.eigvalsh(inner), _rounding(np.ones(size)))


def _task_matrix(datafit: SquaredStatistics, t: int) -> Array:
    s = datafit.statistics
    own = s.second[t if len(s.second) > 1 else 0]
    if not datafit.intercepts.centres:
        own = own + np.outer(s.x_mean[:, t], s.x_mean[:, t])
    return np.asarray(s.scale[t] * own)


def _joining(datafit: SquaredStatistics) -> Array:
    """Return B of shape (n_columns, k): intercepts take x_t x_u' (B B')_tu off the Hessian."""
    intercepts, scale = datafit.intercepts, datafit.statistics.scale
    columns = len(scale)
    if intercepts.centres or isinstance(intercepts, NoIntercepts):
        return np.zeros((columns, 0))
    solved = np.array([intercepts.solve(scale, scale * row) for row in np.eye(columns)])
    product = scale * solved
    values, vectors = np.linalg.eigh(0.5 * (product + product.T))
    used = values > _ZERO * values.max(initial=0.0)
    return np.asarray(vectors[:, used] * np.sqrt(values[used]))


def _whole(datafit: SquaredStatistics, matrices: Array) -> float:
    """Return it from the whole matrix."""
    d, columns = datafit.shape
    _refuse_large(d * columns)
    H = np.zeros((columns, d, columns, d))
    joined = _joining(datafit)
    means = datafit.statistics.x_mean
    taken = np.einsum("it,tk,uk,ju->tiuj", means, joined, joined, means)
    for t in range(columns):
        H[t, :, t] = _task_matrix(datafit, t)
    by_row = np.broadcast_to(matrices, (d, columns, columns))
    for j in range(d):
        H[:, j, :, j] += by_row[j]
    whole = (H - taken).reshape(d * columns, d * columns)
    try:
        pivots = np.square(np.diagonal(np.linalg.cholesky(whole)))
    except np.linalg.LinAlgError:
        raise _undefined() from None
    return _log_sum(pivots, _rounding(np.diagonal(whole)))


def _refuse_large(size: int) -> None:
    if size > _LARGEST:
        fields = {"size": size, "most": _LARGEST}
        raise IncompatibleError(LazyMessage("selection.refusal.evidence_large", fields))
