"""Second moments of rows with one weight each, in one pass over them.

Rows are worked on a few at a time, while they lie in the processor's cache, and not copied
unless they must be weighted, converted or brought near zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.linalg.blas import dgemm, dsyrk

from polytask.datafits.base import Array
from polytask.datafits.designs import Features, Index

# Numbers that are worked on at a time, and the fewest rows that are.
_CHUNK = 2**17
_FEWEST_ROWS = 256
# A centred square below this share of the plain one has lost half its digits.
_LOST = 1e-8
# Below this one a second pass, about the means, is worth its time.
_NEAR = 1e-4
# Features whose mean is beyond so many standard deviations are shifted before they are squared.
_FAR = 5.0
# Rows that tell about how far features are from zero.
_LOOKED_AT = 64


@dataclass(frozen=True, eq=False)
class Sums:
    """Moments of features and targets about their means."""

    # Shapes: second (n_features, n_features), cross (n_features, n_columns), spread (n_columns,),
    # x_mean (n_features,), y_mean (n_columns,).

    second: Array
    cross: Array
    spread: Array
    x_mean: Array
    y_mean: Array


def weighted_sums(features: Features, Y: Array, share: Array, rows: Index | None = None) -> Sums:
    """Return the moments of some rows."""
    # Shapes: Y (n_rows, n_columns), share (n_chosen,), rows (n_chosen,).
    if sp.issparse(features.matrix):
        chosen = features if rows is None else features.rows(rows)
        found = _sparse_sums(chosen, Y if rows is None else Y[rows], share)
        if found is not None:
            return found
    found, lost = _dense_sums(features, Y, share, rows, _first_centre(features, Y, rows))
    if lost:
        # About their means nothing is lost to features that were far from them.
        found, _ = _dense_sums(features, Y, share, rows, (found.x_mean, found.y_mean))
    return found


_Centre = tuple[Array | None, Array | None]


def _first_centre(features: Features, Y: Array, rows: Index | None) -> _Centre:
    """Return what to subtract from features and from targets, as the first rows tell."""
    few = slice(0, _LOOKED_AT) if rows is None else rows[:_LOOKED_AT]
    if not len(Y[few]):
        return None, None
    return _near(_dense(features, few)), _near(Y[few])


def _near(values: Array) -> Array | None:
    """Return a point near the values, None if zero will do; constants are met exactly."""
    away = values - values[0]
    mean = away.mean(axis=0)
    far = np.abs(values[0] + mean) > _FAR * away.std(axis=0)
    return values[0] + mean if far.any() else None


class _Totals:
    """Sums of products of rows that have been weighted and shifted."""

    def __init__(self, d: int, columns: int) -> None:
        # The products are added in place by BLAS, which fills one triangle of the first.
        self.upper = np.zeros((d, d), order="F")
        self.rest = np.zeros((d, d))
        self.cross = np.zeros((d, columns), order="F")
        self.spread = np.zeros(columns)
        self.x_sum = np.zeros(d)
        self.y_sum = np.zeros(columns)

    def add(self, X: Array, Y: Array, root: Array) -> None:
        """Add rows, each multiplied by its `root` already."""
        if X.flags.c_contiguous:
            self.upper = dsyrk(1.0, X.T, beta=1.0, c=self.upper, overwrite_c=1)
        else:
            self.rest += X.T @ X
        if X.flags.c_contiguous and Y.flags.c_contiguous and Y.size:
            settings = {"beta": 1.0, "trans_b": 1, "overwrite_c": 1}
            self.cross = dgemm(1.0, X.T, Y.T, c=self.cross, **settings)
        else:
            self.cross += (Y.T @ X).T
        self.x_sum += root @ X
        self.y_sum += root @ Y
        self.spread += np.einsum("ij,ij->j", Y, Y)

    def second(self) -> Array:
        """Return the sum of products of features."""
        lower = np.triu(self.upper, 1).T
        return np.ascontiguousarray(self.upper + lower + self.rest)


def _dense_sums(
    features: Features, Y: Array, share: Array, rows: Index | None, centre: _Centre
) -> tuple[Sums, bool]:
    """Return the moments from one pass, and whether digits were lost far from the centre."""
    x_centre, y_centre = centre
    d, columns = features.n_features, Y.shape[1]
    alike = bool(len(share)) and bool(np.all(share == share[0]))
    totals = _Totals(d, columns)
    for part in _parts(len(share), d):
        index = part if rows is None else rows[part]
        X = _shifted(_dense(features, index), x_centre, features.matrix)
        away = Y[index] if y_centre is None else Y[index] - y_centre
        root = np.ones(len(X)) if alike else np.sqrt(share[part])
        if not alike:
            X, away = X * root[:, None], away * root[:, None]
        totals.add(X, away, root)
    factor = float(share[0]) if alike else 1.0
    x_sum, y_sum = factor * totals.x_sum, factor * totals.y_sum
    second, spread = factor * totals.second(), factor * totals.spread
    lost = bool(np.any(np.diagonal(second) - x_sum**2 < _NEAR * np.diagonal(second)))
    lost = lost or bool(np.any(spread - y_sum**2 < _NEAR * spread))
    second -= np.multiply.outer(x_sum, x_sum)
    found = Sums(
        second=second,
        cross=np.ascontiguousarray(factor * totals.cross - np.multiply.outer(x_sum, y_sum)),
        spread=np.maximum(spread - y_sum**2, 0.0),
        x_mean=x_sum if x_centre is None else x_centre + x_sum,
        y_mean=y_sum if y_centre is None else y_centre + y_sum,
    )
    return found, lost


def _shifted(X: Array, centre: Array | None, matrix: object) -> Array:
    """Subtract the centre, in place if X is not a part of the matrix."""
    if centre is None:
        return X
    if isinstance(matrix, np.ndarray) and np.may_share_memory(X, matrix):
        return X - centre
    X -= centre
    return X


def _sparse_sums(features: Features, Y: Array, share: Array) -> Sums | None:
    """Return the same from sparse products; None where cancellation would cost digits."""
    wide = Features(features.matrix.astype(float, copy=False), features.offset)
    x_mean, y_mean = wide.adjoint(share), share @ Y
    second = wide.second_moment(share, x_mean)
    about = x_mean if features.offset is None else x_mean + features.offset
    if not np.all(np.diagonal(second) >= _LOST * about**2):
        return None
    away = Y - y_mean
    residual = share[:, None] * away
    residual -= share[:, None] * residual.sum(axis=0)
    spread = np.einsum("ij,ij->j", residual, away)
    return Sums(second, wide.adjoint(residual), spread, x_mean, y_mean)


def _parts(n: int, d: int) -> Iterator[slice]:
    """Yield rows, a bounded number at a time."""
    step = max(_CHUNK // max(d, 1), _FEWEST_ROWS)
    yield from (slice(first, min(first + step, n)) for first in range(0, n, step))


def _dense(features: Features, part: slice | Index) -> Array:
    """Return some rows in float64: a view where they are so already."""
    rows = features.rows(part)
    sparse = bool(sp.issparse(rows.matrix))
    plain = np.asarray(rows.matrix.toarray() if sparse else rows.matrix, dtype=float)
    return plain if rows.offset is None else plain - rows.offset
