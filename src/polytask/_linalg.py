"""Small numerics shared by the layers above; NumPy and every array-API namespace."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.linalg
import scipy.sparse

# A NumPy array, a torch tensor or another array-API array: no common static type exists.
Array: TypeAlias = Any

# Share of a threshold to which singular values near it must be known.
_EXACT = 1e-10


def namespace(*arrays: Array) -> Any:  # noqa: ANN401 - a module, which has no useful static type
    """Return the array-API namespace common to the arrays."""
    # Solvers ask thousands of times a second, nearly always for NumPy.
    if len(arrays) == 1 and type(arrays[0]) in _namespaces:
        return _namespaces[type(arrays[0])]
    from array_api_compat import array_namespace

    found = array_namespace(*arrays)
    if len(arrays) == 1:
        _namespaces[type(arrays[0])] = found
    return found


# By type: training loops ask in every step.
_namespaces: dict[type, Any] = {}


def is_sparse(X: object) -> bool:
    """Say whether X is a sparse matrix or array of SciPy."""
    return bool(scipy.sparse.issparse(X))


def elementary(values: Array) -> Any:  # noqa: ANN401 - a module
    """Return the namespace with exp, log, where, abs, sum and max; NumPy itself for its arrays."""
    # What prediction needs, without importing more.
    return np if isinstance(values, np.ndarray | np.generic) else namespace(values)


def _device(reference: Array) -> Any:  # noqa: ANN401 - as the namespace names devices
    if isinstance(reference, np.ndarray | np.generic):
        return "cpu"
    from array_api_compat import device

    return device(reference)


def like(values: Array, reference: Array) -> Array:
    """Return `values` in the namespace, dtype and device of `reference`."""
    xp = namespace(reference)
    if isinstance(values, np.ndarray) and not isinstance(reference, np.ndarray):
        values = values.copy()  # torch warns about arrays that cannot be written to
    return xp.asarray(values, dtype=reference.dtype, device=_device(reference))


def counting(n: int, reference: Array) -> Array:
    """Return 0, ..., n - 1 in the namespace, dtype and device of `reference`."""
    xp = namespace(reference)
    return xp.arange(n, dtype=reference.dtype, device=_device(reference))


def identity(n: int, reference: Array) -> Array:
    """Return the identity matrix in the namespace, dtype and device of `reference`."""
    xp = namespace(reference)
    return xp.eye(n, dtype=reference.dtype, device=_device(reference))


def index_like(index: Array, reference: Array) -> Array:
    """Return an integer index in the namespace and on the device of `reference`."""
    xp = namespace(reference)
    return xp.asarray(index, dtype=xp.int64, device=_device(reference))


def host(values: Array) -> np.ndarray:
    """Return a copy of an array of any namespace as a NumPy array."""
    if isinstance(values, np.ndarray):
        return values.copy()
    from array_api_compat import is_cupy_array, is_torch_array, to_device

    if is_torch_array(values):
        values = values.detach()
    if is_torch_array(values) or is_cupy_array(values):
        values = to_device(values, "cpu")
    return np.asarray(values).copy()


def rounding(values: Array) -> float:
    """Return the relative excess that rounding alone explains in the dtype of `values`."""
    return 1e3 * float(namespace(values).finfo(values.dtype).eps)


def largest(values: Array) -> float:
    """Return the largest absolute value, 0 for an array without elements."""
    if 0 in values.shape:
        return 0.0
    xp = namespace(values)
    return float(xp.max(xp.abs(values)))


def total(values: Array) -> float:
    """Return the sum of all elements."""
    return float(namespace(values).sum(values))


def inner(A: Array, B: Array) -> float:
    """Return the sum of the elementwise product of two arrays of one shape."""
    return total(A * B)


def row_norms(W: Array) -> Array:
    """Return the Euclidean norm of each row."""
    if isinstance(W, np.ndarray):
        return np.sqrt(np.einsum("ij,ij->i", W, W))  # without an array of squares
    xp = namespace(W)
    return xp.sqrt(xp.sum(W * W, axis=1))


def clip(values: Array, low: Array | None, high: Array | None) -> Array:
    """Return the values moved into the interval [low, high]; None is no limit."""
    if isinstance(values, np.ndarray):
        return np.clip(values, low, high)  # the compatible function copies several times
    return namespace(values).clip(values, low, high)


def soft_threshold(W: Array, amount: Array) -> Array:
    """Move every element towards zero by `amount`, stopping at zero."""
    # The difference is exactly zero inside the interval, without a sign or a product.
    return W - clip(W, -amount, amount)


def shrink_rows(W: Array, amount: Array) -> Array:
    """Shorten every row by `amount` in Euclidean norm, stopping at zero."""
    xp = namespace(W)
    norms = row_norms(W)
    one, zero = xp.ones_like(norms), xp.zeros_like(norms)
    gain = xp.where(norms > amount, norms - amount, zero) / xp.where(norms > 0, norms, one)
    return W * gain[:, None]


def simplex_levels(rows: Array, radius: float | Array) -> Array:
    """Return for each row the level above which its absolute entries add up to the radius."""
    # With the entries in descending order, what the first k of them exceed a level by adds up
    # to the radius at (sum of k - radius) / k. This is largest at the k that the level leaves.
    xp = namespace(rows)
    sums = xp.cumulative_sum(xp.sort(xp.abs(rows), axis=1, descending=True), axis=1)
    counts = 1 + counting(rows.shape[1], rows)
    levels = xp.max((sums - per_entry(radius)) / counts, axis=1)
    return clip(levels, 0.0, None)


def per_row(step: float | Array, rows: Array) -> Array:
    """Return a step as a float, or as one value for each row, in the dtype of `rows`."""
    # A NumPy scalar would turn float32 rows into float64.
    if getattr(step, "ndim", 0) == 0:
        return float(step)
    fits = type(step) is type(rows) is np.ndarray and step.dtype == rows.dtype
    return step if fits else like(step, rows)


def per_entry(amount: Array) -> Array:
    """Return a float as it is, one value per row as a column."""
    return amount if isinstance(amount, float) else amount[:, None]


def thin_svd(W: Array) -> tuple[Array, Array, Array]:
    """Return U, s and V' of the thin singular value decomposition."""
    # The fast driver (divide and conquer) fails on rare finite matrices; the slow one,
    # on the host, then takes over.
    xp = namespace(W)
    try:
        return tuple(xp.linalg.svd(W, full_matrices=False))
    except (np.linalg.LinAlgError, RuntimeError):
        parts = scipy.linalg.svd(host(W), full_matrices=False, lapack_driver="gesvd")
        return like(parts[0], W), like(parts[1], W), like(parts[2], W)


def singular_values(W: Array) -> Array:
    """Return the singular values in descending order, with the same fallback."""
    xp = namespace(W)
    try:
        return xp.linalg.svdvals(W)
    except (np.linalg.LinAlgError, RuntimeError):
        values = scipy.linalg.svd(host(W), compute_uv=False, lapack_driver="gesvd")
        return like(values, W)


def _short_gram(W: Array) -> Array:
    """Return the smaller of W'W and WW' of a NumPy matrix."""
    return W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T


def spectral_norm(W: Array) -> float:
    """Return the largest singular value; that of the squared matrix is as exact, and cheaper."""
    if not isinstance(W, np.ndarray):
        return largest(singular_values(W))
    top = largest(W)
    if not 0 < top < np.inf:
        return top
    scaled = W / top
    return top * float(np.sqrt(max(_largest_eigenvalue(_short_gram(scaled)), 0.0)))


# Up to this size all eigenvalues take less time than the call for the largest one.
_SMALL = 50


def _largest_eigenvalue(matrix: Array) -> float:
    """Return the largest eigenvalue of a symmetric NumPy matrix."""
    last = len(matrix) - 1
    if last < _SMALL:
        return float(np.linalg.eigvalsh(matrix)[-1])
    try:
        values = scipy.linalg.eigvalsh(matrix, subset_by_index=[last, last], check_finite=False)
    except np.linalg.LinAlgError:
        # The driver for some eigenvalues fails on some multiples of the identity.
        values = np.linalg.eigvalsh(matrix)
    return float(values[-1])


def shrunk_values(W: Array, amount: float) -> tuple[Array, float] | None:
    """Return W with every singular value lowered by `amount`, and their sum, from W'W."""
    # Eigenvalues of the squared matrix are exact to rounding of the largest one. None where
    # that is too coarse for singular values near `amount`, and for arrays other than NumPy's.
    if not isinstance(W, np.ndarray) or not amount > 0:
        return None
    gram = _short_gram(W)
    square = float(np.trace(gram))
    # Squares below these bounds have lost digits, or all of them.
    precision = np.finfo(W.dtype)
    exact = float(np.sqrt(precision.eps / _EXACT * square)) <= amount
    if not exact or square < precision.tiny / precision.eps:
        return None
    values, vectors = np.linalg.eigh(gram)
    roots = np.sqrt(np.maximum(values, 0.0))
    kept = roots > amount
    basis, gain = vectors[:, kept], (roots[kept] - amount) / roots[kept]
    size = float((roots[kept] - amount).sum())
    if W.shape[0] >= W.shape[1]:
        return (W @ (basis * gain)) @ basis.T, size
    return basis @ ((basis * gain).T @ W), size


def frozen(values: Array) -> Array:
    """Return a copy that cannot be written to, where the namespace knows such a thing."""
    if not isinstance(values, np.ndarray):
        return values
    copy = values.copy()
    copy.flags.writeable = False
    return copy
