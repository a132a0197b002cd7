"""Small numerics shared by the layers above; NumPy and every array-API namespace."""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg
import scipy.sparse

# A NumPy array, a torch tensor or another array-API array: no common static type exists.
Array: TypeAlias = Any


def namespace(*arrays: Array) -> Any:  # noqa: ANN401 - a module, which has no useful static type
    """Return the array-API namespace common to the arrays."""
    # Solvers ask thousands of times a second, nearly always for NumPy.
    if all(type(array) is np.ndarray for array in arrays):
        return _numpy_namespace()
    from array_api_compat import array_namespace

    return array_namespace(*arrays)


@functools.cache
def _numpy_namespace() -> Any:  # noqa: ANN401 - a module
    import array_api_compat.numpy

    return array_api_compat.numpy


def is_sparse(X: object) -> bool:
    """Say whether X is a sparse matrix or array of SciPy."""
    return bool(scipy.sparse.issparse(X))


def elementary(values: Array) -> Any:  # noqa: ANN401 - a module
    """Return the namespace with exp, log, where, abs, sum and max; NumPy itself for its arrays.

    What prediction needs, without importing more.
    """
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


def thin_svd(W: Array) -> tuple[Array, Array, Array]:
    """Return U, s and V' of the thin singular value decomposition.

    The fast driver (divide and conquer) fails on rare finite matrices; the slow one,
    on the host, then takes over.
    """
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


def frozen(values: Array) -> Array:
    """Return a copy that cannot be written to, where the namespace knows such a thing."""
    if not isinstance(values, np.ndarray):
        return values
    copy = values.copy()
    copy.flags.writeable = False
    return copy
