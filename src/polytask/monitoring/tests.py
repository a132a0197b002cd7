"""Tests of new rows against training rows: exact for shares, by ranks for numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats
from numpy.typing import NDArray

Array = NDArray[np.float64]
_SYMMETRIC = 1e-3


class Moments(NamedTuple):
    """A sum over new rows beyond what is expected, its variance and third central moment."""

    excess: Array
    variance: Array
    third: Array

    def summed(self) -> Moments:
        """Return those of the sum over tasks, the first axis."""
        return Moments(*(np.nansum(part, axis=0) for part in self))

    def p_values(self, *, two_sided: bool = True, step: float = 0.0) -> Array:
        """Return the p-values of a Pearson III law of these moments; NaN without a variance.

        Sums that lie on a lattice are taken half a `step` nearer to what is expected.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            sd = np.sqrt(np.where(self.variance > 0, self.variance, np.nan))
            skew = self.third / sd**3
            above = _tail((self.excess - step / 2) / sd, skew)
            if not two_sided:
                return above
            below = _tail((-self.excess - step / 2) / sd, -skew)
        return np.asarray(np.minimum(2 * np.minimum(above, below), 1.0))


def _tail(z: Array, skew: Array) -> Array:
    """Return the probability of at least z, of mean 0, variance 1 and this skewness."""
    shape = 4.0 / np.maximum(np.abs(skew), _SYMMETRIC) ** 2
    at = np.maximum(shape + np.where(skew < 0, -z, z) * np.sqrt(shape), 0.0)
    upper, lower = scipy.special.gammaincc(shape, at), scipy.special.gammainc(shape, at)
    normal = scipy.stats.norm.sf(z)
    return np.asarray(
        np.where(np.abs(skew) < _SYMMETRIC, normal, np.where(skew < 0, lower, upper))
    )


def cell_counts(n: Array, below: Array, above: Array) -> Array:
    """Return how many values lie between and on numbers, of counts below and above each.

    Shapes: n (...), below, above (..., K), result (..., 2 K + 1).
    """
    # Values that are at least, or more than, each of the numbers: nested, so sorting orders them.
    passed = np.concatenate([n[..., None] - below, above], axis=-1)
    passed = -np.sort(-passed, axis=-1)
    whole = np.concatenate([n[..., None], passed, np.zeros_like(passed[..., :1])], axis=-1)
    return np.asarray(-np.diff(whole, axis=-1), dtype=float)


def rank_moments(train: Array, new: Array, *, spread: bool = False) -> Moments:
    """Return the rank sum of Wilcoxon, or of Mood for the spread, of values in ordered cells.

    Shapes: train, new (..., cells), results (...). Cells 1, 3, 5, ... hold equal values; in the
    others, between the numbers that are cells, the order is not known. Ranks are divided by the
    number of rows + 1. The law is that of choosing the new rows among all at random.
    """
    both = train + new
    total = both.sum(axis=-1, keepdims=True) + 1
    middle = (np.cumsum(both, axis=-1) - (both - 1) / 2) / total - 0.5
    # Means over the ranks of a cell of the second and fourth power about 0, and about the middle.
    width = (both**2 - 1) / 12 / total**2
    square = middle**2 + width
    fourth = middle**4 + 6 * middle**2 * width + width * (3 * both**2 - 7) / 20 / total**2
    scores, within = (square, fourth - square**2) if spread else (middle, width)
    # The numbers are training values, so that values between them are less mixed than others:
    # what is lost by not knowing their order is no part of the variance.
    gaps = np.arange(both.shape[-1]) % 2 == 0
    return score_moments(scores, train, new, np.where(gaps & (both > 0), within, 0.0))


def score_moments(scores: Array, train: Array, new: Array, within: Array | float = 0.0) -> Moments:
    """Return the sum of scores over the new rows, of variances `within`. Shapes: (..., cells)."""
    both, n, m = train + new, train.sum(axis=-1), new.sum(axis=-1)
    total = n + m
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (both * scores).sum(axis=-1) / total
        away = scores - mean[..., None]
        second = (both * (away**2 + within)).sum(axis=-1) / total
        third = (both * away**3).sum(axis=-1) / total
        second = np.where(second > 1e-12, second, 0.0)
        # Without replacement.
        variance = n * m / (total - 1) * second
        skewed = n * m * (n - m) / ((total - 1) * np.maximum(total - 2, 1)) * third
        known = (n > 0) & (m > 0) & (variance > 0)
        excess = (new * scores).sum(axis=-1) - m * mean
    parts = (np.where(known, part, np.nan) for part in (excess, variance, skewed))
    return Moments(*parts)


def share_p_values(
    hits: Array, n: Array, new_hits: Array, m: Array, *, two_sided: bool = True
) -> Array:
    """Return exact p-values (Fisher) of equal shares; one-sided of more among the new rows.

    Shapes: all (...). NaN where nothing can differ.
    """
    law = scipy.stats.hypergeom(n + m, hits + new_hits, m)
    above = law.sf(new_hits - 1)
    p = np.minimum(2 * np.minimum(above, law.cdf(new_hits)), 1.0) if two_sided else above
    both = hits + new_hits
    return np.asarray(np.where((n > 0) & (m > 0) & (both > 0) & (both < n + m), p, np.nan))


def mean_p_values(
    mean: Array, variance: Array, n: Array, new_mean: Array, new_variance: Array, m: Array
) -> Array:
    """Return p-values of equal means (Welch), of means and unbiased variances. Shapes: (...)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = variance / n, new_variance / m
        free = (one + two) ** 2 / (one**2 / (n - 1) + two**2 / (m - 1))
        p = 2 * scipy.stats.t.sf(np.abs(new_mean - mean) / np.sqrt(one + two), free)
    return np.asarray(np.where((n > 1) & (m > 1), p, np.nan))
