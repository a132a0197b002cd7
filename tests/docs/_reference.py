"""Minimise formulas of other programs directly: sums of smooth terms, each written out by hand.

The penalties below are not smooth everywhere, but where no coefficient, row or singular value
vanishes, as at the minima of the tests, they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize, root
from scipy.special import expit

Array = np.ndarray
# (W, b) -> value, gradient in W, gradient in b
Term = Callable[[Array, Array], tuple[float, Array, Array]]
Rows = list[tuple[Array, Array]]


def squared(rows: Rows, factors: list[float]) -> Term:
    """Return the sum over tasks of factor_t * ||y_t - X_t w_t - b_t||^2."""

    def term(W, b):
        residuals = [X @ W[:, t] + b[t] - y for t, (X, y) in enumerate(rows)]
        parts = list(zip(factors, rows, residuals, strict=True))
        value = sum(c * r @ r for c, _, r in parts)
        gradient = np.column_stack([2 * c * X.T @ r for c, (X, _), r in parts])
        return value, gradient, np.array([2 * c * r.sum() for c, _, r in parts])

    return term


def logistic(rows: Rows, factors: list[float]) -> Term:
    """Return the sum over tasks of factor_t * sum of log(1 + exp(-s f)), y in {0, 1}."""

    def term(W, b):
        value, columns, slopes = 0.0, [], []
        for t, (c, (X, y)) in enumerate(zip(factors, rows, strict=True)):
            sign = 2 * y - 1
            margin = sign * (X @ W[:, t] + b[t])
            value += c * np.logaddexp(0, -margin).sum()
            slope = -c * sign * expit(-margin)
            columns.append(X.T @ slope)
            slopes.append(slope.sum())
        return value, np.column_stack(columns), np.array(slopes)

    return term


def _of_coefficients(value: Callable[[Array], float], gradient: Callable[[Array], Array]) -> Term:
    return lambda W, b: (value(W), gradient(W), np.zeros_like(b))


def l1(c: float) -> Term:
    """Return c * sum |W|."""
    return _of_coefficients(lambda W: c * np.abs(W).sum(), lambda W: c * np.sign(W))


def l21(c: float) -> Term:
    """Return c * sum over rows of their norms."""

    def norms(W):
        return np.sqrt((W**2).sum(axis=1, keepdims=True))

    return _of_coefficients(lambda W: c * norms(W).sum(), lambda W: c * W / norms(W))


def trace(c: float) -> Term:
    """Return c * sum of singular values."""

    def gradient(W):
        left, _, right = np.linalg.svd(W, full_matrices=False)
        return c * left @ right

    return _of_coefficients(lambda W: c * np.linalg.svd(W, compute_uv=False).sum(), gradient)


def square(c: float, R: Array | None = None) -> Term:
    """Return c * ||W R||_F^2, R the identity if None."""

    def product(W):
        return W if R is None else W @ R @ R.T

    return _of_coefficients(lambda W: c * (W * product(W)).sum(), lambda W: 2 * c * product(W))


def clustered(c: float, eta: float, k: int) -> Term:
    """Return c * eta * (1 + eta) * min over M of tr(W (eta I + M)^-1 W'), M in [0, I], tr M = k.

    The best M shares the eigenvectors of W'W; its eigenvalues come from a root.
    """
    factor = c * eta * (1 + eta)

    def solved(W):
        _, values, right = np.linalg.svd(W, full_matrices=False)

        def inside(log_level):
            return np.clip(values / np.exp(log_level) - eta, 0.0, 1.0)

        weights = inside(brentq(lambda x: inside(x).sum() - k, -40.0, 40.0, xtol=1e-15))
        return W @ (right.T / (eta + weights)) @ right

    return _of_coefficients(
        lambda W: factor * (W * solved(W)).sum(), lambda W: 2 * factor * solved(W)
    )


def shared_subspace(c: float, eta: float, k: int) -> Term:
    """Return c * eta * (1 + eta) * min over M of tr(W' (eta I + M)^-1 W): the same of W'."""
    between_tasks = clustered(c, eta, k)

    def term(W, b):
        value, gradient, _ = between_tasks(W.T, b)
        return value, gradient.T, np.zeros_like(b)

    return term


def minimum(terms: list[Term], d: int, T: int, intercept: bool = True) -> tuple[Array, Array]:
    """Minimise a sum of terms.

    Returns
    -------
    tuple of ndarray
        Coefficients of shape (T, d) and intercepts of shape (T,).
    """
    # Tasks that differ a little, so that no singular value is zero at the start.
    x = 1.0 + 0.1 * np.random.default_rng(0).standard_normal(d * T + (T if intercept else 0))

    def total(x: Array) -> tuple[float, Array]:
        W = x[: d * T].reshape(d, T)
        b = x[d * T :] if intercept else np.zeros(T)
        parts = [term(W, b) for term in terms]
        slopes = sum(part[2] for part in parts) if intercept else np.zeros(0)
        gradient: Any = sum(part[1] for part in parts)
        return float(sum(part[0] for part in parts)), np.concatenate([gradient.ravel(), slopes])

    rough = minimize(total, x, jac=True, method="BFGS")
    exact = root(lambda x: total(x)[1], rough.x, method="hybr", options={"xtol": 1e-13})
    value, gradient = total(exact.x)
    # A minimum, and not some other point: the slope is gone, and nothing became worse.
    assert np.abs(gradient).max() < 1e-8
    assert value <= rough.fun + 1e-9
    W = exact.x[: d * T].reshape(d, T)
    assert np.abs(W).min() > 1e-4  # what vanishes would not be smooth
    return W.T, exact.x[d * T :] if intercept else np.zeros(T)
