"""How far the covariance of the noise is pulled to a diagonal: what residuals say."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.special

from polytask.bayes.blocks import Array
from polytask.bayes.correlated import JointRows
from polytask.bayes.correlated_marginal import JointMarginal, NoisePull, Point

# The pull is never weaker or stronger than so many rows.
_WEAKEST, _STRONGEST = 2.0, 1e4
# With fewer degrees of freedom the residuals of separate fits say little about correlation.
_ENOUGH = 10.0
_GRID = 60
_RANK = 1e-10


def noise_pull(rows: JointRows, variances: Array) -> NoisePull | None:
    """Return the pull of the noise's covariance to a diagonal, as separate fits see it."""
    # Shapes: variances (T,).
    # The residuals of separate least squares have a covariance with a Wishart distribution, its
    # mean an inverse Wishart distribution around a diagonal. Integrated out, what is left says
    # how many rows the diagonal is worth; the part that only concerns the variances is divided
    # out. Tasks with uncorrelated noise give many rows, tasks with strong correlation few.
    if rows.n_tasks < 2:
        return NoisePull(_WEAKEST, variances)
    correlation, freedom = residual_correlation(rows)
    if freedom < _ENOUGH:
        return None
    return NoisePull(best_rows(correlation, freedom), variances)


def first_pull(rows: JointRows, variances: Array) -> NoisePull:
    """Return a pull to begin with where separate fits say nothing: as one row for each task."""
    return NoisePull(max(float(rows.n_tasks), _WEAKEST), variances)


def refined_pull(marginal: JointMarginal, point: Point) -> NoisePull:
    """Return the pull as the residuals of a joint fit see it."""
    rows, found = marginal.rows, marginal.evaluate(point)
    errors = marginal.errors(point, found)
    root = np.sqrt(np.diagonal(errors))
    correlation = errors / np.multiply.outer(root, root)
    own = marginal.reduce(point).own_covariances()
    Z = rows.X[:, marginal.varying]
    seen = rows.labelled[rows.pattern]
    spread = np.stack([np.sum((Z @ C) * Z, axis=1) for C in own], axis=1)
    used = np.sum(spread * seen, axis=0) / np.diagonal(point.noise)
    freedom = _freedom(rows, used)
    if freedom <= 0.0:
        return marginal.pull
    strength = best_rows(correlation, freedom)
    return NoisePull(strength, marginal.pull.variances)


def residual_correlation(rows: JointRows) -> tuple[Array, float]:
    """Return the correlations of residuals of separate fits, and their degrees of freedom."""
    # Shapes: correlation (T, T).
    seen = rows.labelled[rows.pattern]
    residual = np.zeros_like(rows.Y)
    rank = np.zeros(rows.n_tasks)
    for t in range(rows.n_tasks):
        part = seen[:, t]
        W, _, rank[t], _ = scipy.linalg.lstsq(rows.X[part], rows.Y[part, t], cond=_RANK)
        residual[part, t] = rows.Y[part, t] - rows.X[part] @ W
    # Squares of the first task's residuals over the rows that it has in common with the second.
    squares = (residual**2).T @ seen
    scale = np.sqrt(squares * squares.T)
    products = residual.T @ residual
    r = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    np.fill_diagonal(r, 1.0)
    return _nearest(r), _freedom(rows, rank)


def _freedom(rows: JointRows, used: Array) -> float:
    """Return the mean degrees of freedom of pairs of tasks that have common rows."""
    # Where only a part of a task's rows are in common, so are those that were used up.
    common = rows.together
    share = used / np.maximum(np.diagonal(common), np.finfo(float).tiny)
    freedom = np.maximum(common * (1.0 - 0.5 * (share[:, None] + share)), 0.0)
    pairs = (common > 0) & ~np.eye(rows.n_tasks, dtype=bool)
    return float(freedom[pairs].mean()) if pairs.any() else 0.0


def best_rows(correlation: Array, freedom: float) -> float:
    """Return how many rows the diagonal is worth. Shapes: correlation (T, T)."""
    values = np.maximum(np.linalg.eigvalsh(correlation), 0.0)
    logs = np.linspace(np.log(_WEAKEST), np.log(_STRONGEST), _GRID)
    found = np.array([_log_ratio(np.exp(log), values, freedom) for log in logs])
    k = int(np.argmax(found))
    if k in (0, _GRID - 1):
        return float(np.exp(logs[k]))
    refined = scipy.optimize.minimize_scalar(
        lambda log: -_log_ratio(np.exp(log), values, freedom),
        bounds=(logs[k - 1], logs[k + 1]),
        method="bounded",
    )
    return float(np.exp(refined.x))


def _log_ratio(m: float, values: Array, f: float) -> float:
    """Return the log density of the squares of residuals over that of each task's alone."""
    T = len(values)
    joint = _log_density(m + T + 1.0, f, T) + T * 0.5 * (m + T + 1.0) * np.log(m)
    joint -= 0.5 * (m + T + 1.0 + f) * float(np.log(m + f * values).sum())
    alone = _log_density(m + 2.0, f, 1) + 0.5 * (m + 2.0) * np.log(m)
    alone -= 0.5 * (m + 2.0 + f) * np.log(m + f)
    return float(joint - T * alone)


def _log_density(nu: float, f: float, T: int) -> float:
    return float(
        scipy.special.multigammaln(0.5 * (nu + f), T) - scipy.special.multigammaln(0.5 * nu, T)
    )


def _nearest(correlation: Array) -> Array:
    """Return a correlation matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(0.5 * (correlation + correlation.T))
    if values[0] >= 0:
        return correlation
    mended = (vectors * np.maximum(values, 0.0)) @ vectors.T
    root = np.sqrt(np.diagonal(mended))
    return np.asarray(mended / np.multiply.outer(root, root))
