"""Ridge-penalised logistic regression of two classes on few dense rows, along a path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

_STEPS = 100
_HALVINGS = 30
# Largest entry of the gradient, relative to that at zero coefficients.
_ACCURACY = 1e-9
_RIDGE = 1e-12


def logistic_path(
    X: Array, y: Array, weight: Array, strengths: Sequence[float], *, intercept: bool
) -> Iterator[tuple[Array, float]]:
    """Yield coefficients and intercept for inverse strengths C, each from the one before.

    Minimises C sum_i s_i log(1 + exp(-y_i f_i)) + |w|^2 / 2 with f = X w + b by Newton steps. The
    minimum lies in the space of the rows, so that X is turned to no more columns than it has
    rows.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Features.
    y : ndarray of shape (n,)
        -1 or 1, both of them.
    weight : ndarray of shape (n,)
        Row weights s.
    strengths : sequence of float
        The values of C, smallest first.
    intercept : bool
        Whether b is free; else it is 0.

    Yields
    ------
    coef : ndarray of shape (d,)
    intercept : float
    """
    basis = None
    if X.shape[0] < X.shape[1]:
        basis, corner = scipy.linalg.qr(X.T, mode="economic")
        X = np.ascontiguousarray(corner.T)
    Z: Array = np.column_stack([X, np.ones(len(X))]) if intercept else X
    penalty = np.ones(Z.shape[1])
    penalty[X.shape[1] :] = 0.0
    w = np.zeros(Z.shape[1])
    for C in strengths:
        w = _minimised(Z, y, C * weight, penalty, w)
        coef = w[: X.shape[1]]
        level = float(w[-1]) if intercept else 0.0
        yield (coef if basis is None else basis @ coef), level


def _minimised(Z: Array, y: Array, weight: Array, penalty: Array, w: Array) -> Array:
    goal = _ACCURACY * float(np.max(np.abs(Z.T @ (0.5 * weight)), initial=0.0))
    f = Z @ w
    value = _value(f, y, weight, penalty, w)
    for _ in range(_STEPS):
        share = expit(-y * f)
        gradient = penalty * w - Z.T @ (weight * y * share)
        if np.max(np.abs(gradient)) <= goal:
            break
        curvature = weight * share * (1.0 - share)
        H = (Z.T * curvature) @ Z
        H[np.diag_indices_from(H)] += penalty + _RIDGE * max(float(np.trace(H)), 1.0)
        step = scipy.linalg.solve(H, -gradient, assume_a="pos", check_finite=False)
        moved = Z @ step
        for _ in range(_HALVINGS):
            trial = _value(f + moved, y, weight, penalty, w + step)
            if trial <= value:
                break
            step, moved = 0.5 * step, 0.5 * moved
        else:
            break
        w, f, value = w + step, f + moved, trial
    return w


def _value(f: Array, y: Array, weight: Array, penalty: Array, w: Array) -> float:
    return float(weight @ np.logaddexp(0.0, -y * f) + 0.5 * (penalty * w) @ w)
