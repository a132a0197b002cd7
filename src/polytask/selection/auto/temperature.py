"""Probabilities made bolder or more careful, as far as held-out rows ask for it.

Candidates are weighed by what they lose, and the log loss punishes a model that ranks well with
probabilities that are too careful, as those of a forest are, or too bold, as those of boosting
on few rows. One number per candidate mends either and leaves its ranking alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from polytask.selection.auto.mixing import LEAST_PROBABILITY, HeldRows, as_good

Array = NDArray[np.float64]

# Beyond it a model says nothing, or all that its ranking can say.
_HOTTEST = 20.0
# Of the logarithm of a temperature; the loss is flat around its least.
_PRECISION = 1e-4


def tempered(P: Array, temperature: float) -> Array:
    """Return probabilities in proportion to ``P ** (1 / temperature)``.

    Parameters
    ----------
    P : ndarray of shape (n, K)
        Probabilities; NaN for a class that the row cannot have. Those below 1e-6 count as 1e-6.
    temperature : float
        Positive: 1 leaves all as it is, below 1 is bolder, above 1 more careful.

    Returns
    -------
    ndarray of shape (n, K)
        Rows sum to 1; NaN stays.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017, eq. 9.
    """
    if temperature == 1.0:
        return P
    logs = np.log(np.maximum(P, LEAST_PROBABILITY)) / temperature
    shares = np.exp(logs - np.nanmax(logs, axis=1, keepdims=True))
    return np.asarray(shares / np.nansum(shares, axis=1, keepdims=True))


def best_temperature(P: Array, weight: Array) -> float:
    """Return the temperature of least log loss, between 1/20 and 20.

    The loss is convex in the inverse of the temperature. What was seen counts as one row in
    n + 2 less than certain, so that a model that was never wrong on few rows is not made certain.

    Parameters
    ----------
    P : ndarray of shape (n, K)
        Probabilities, those of the class that was seen in the first column; NaN for a class that
        the row cannot have.
    weight : ndarray of shape (n,)
        What the rows count.

    Returns
    -------
    float

    References
    ----------
    Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017; the
    doubt is that of Platt, "Probabilistic outputs for support vector machines", 1999, section
    2.2.
    """
    logs = np.log(np.maximum(P, LEAST_PROBABILITY))
    odds, possible = np.nan_to_num(logs - logs[:, :1]), ~np.isnan(P)
    others = np.maximum(possible.sum(axis=1) - 1, 1)
    doubt = 1.0 / (np.count_nonzero(weight) + 2)
    wanted = doubt * odds.sum(axis=1) / others

    def slope(boldness: float) -> float:
        shares = possible * np.exp(np.exp(boldness) * odds)
        said = np.sum(shares * odds, axis=1) / shares.sum(axis=1)
        return float(weight @ (said - wanted))

    end = float(np.log(_HOTTEST))
    if slope(-end) >= 0.0:
        return _HOTTEST
    if slope(end) <= 0.0:
        return 1.0 / _HOTTEST
    return float(np.exp(-brentq(slope, -end, end, xtol=_PRECISION)))


def calibrated(P: Array, held: HeldRows) -> tuple[Array, float]:
    """Return probabilities of the classes that were seen, and the temperature of a candidate.

    Parameters
    ----------
    P : ndarray of shape (N, K)
        What the candidate said of held-out rows, as in :func:`best_temperature`.
    held : HeldRows
        The rows.

    Returns
    -------
    values : ndarray of shape (N,)
        The rows of every fold at the temperature of the other folds.
    temperature : float
        That of all rows; 1 where no other has a smaller loss, by more than one standard error,
        on folds that it was not learned from.
    """
    given, folds = P[:, 0], np.unique(held.fold)
    values = given.copy()
    for fold in folds:
        out = held.fold == fold
        # What is learned from no rows is no temperature.
        known = 1.0 if out.all() else best_temperature(P[~out], held.weight[~out])
        values[out] = tempered(P[out], known)[:, 0]
    better = held.loss.losses(given, held.y) - held.loss.losses(values, held.y)
    if as_good(better, held):
        return given, 1.0
    return values, best_temperature(P, held.weight)
