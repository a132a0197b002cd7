"""Compiled proximal operators of one row, for solvers that visit rows one by one.

Importing this module imports numba, so penalties import it inside their methods.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import sqrt
from typing import Any

import numpy as np
from numba import cfunc, njit, types

from polytask.penalties.base import NO_LIMITS, RowLimits

# Sums may be reordered, so that they fill vector registers.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
# (row, step, parameters): the row becomes its prox, in place.
ROW_PROX = types.void(types.float64[::1], types.float64, types.float64[::1])
# The arrays of `RowLimits`.
LIMITS = types.Tuple(  # type: ignore[no-untyped-call]
    (types.float64[::1], types.float64[:, ::1], types.float64[:, ::1])
)


class RowProx:
    """A compiled prox that compiled functions take as an argument."""

    # It carries its type, which numba would otherwise work out again at every call.

    _numba_type_ = types.FunctionType(ROW_PROX)

    def __init__(self, callback: Any) -> None:  # noqa: ANN401
        self.callback = callback

    @property
    def cache_hits(self) -> int:
        """How often the machine code came from disk: 0 or 1."""
        hits: int = self.callback.cache_hits
        return hits

    def __wrapper_address__(self) -> int:
        """Return the address of the machine code, for numba."""
        address: int = self.callback.address
        return address

    def signature(self) -> Any:  # noqa: ANN401
        """Return the signature, for numba."""
        return ROW_PROX


def compiled(signature: Any) -> Callable[[Callable[..., Any]], Any]:  # noqa: ANN401 - of numba
    """Compile a function for one signature, without the interpreter lock."""
    # The machine code is kept on disk: beside the source, or in the user's cache folder (or
    # that of ``NUMBA_CACHE_DIR``) where the source cannot be written to. Where neither can, the
    # function is compiled anew in every process.
    return _kept_on_disk(njit, signature, nogil=True)


def part_of_compiled(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - a dispatcher of numba
    """Let compiled functions call this one; it becomes a part of each."""
    return njit(**_OPTIONS)(function)


def row_prox(function: Callable[..., Any]) -> RowProx:
    """Compile the prox of a row: a module-level function ``(row, step, parameters)``."""
    # The row, a float64 array, becomes its prox in place. The machine code is kept on disk as by
    # :func:`compiled`.
    return RowProx(_kept_on_disk(cfunc, ROW_PROX)(function))


def _kept_on_disk(
    compiler: Any,  # noqa: ANN401 - a decorator of numba
    signature: Any,  # noqa: ANN401
    **options: bool,
) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:  # noqa: ANN401
        given = {**_OPTIONS, **options}
        try:
            return compiler(signature, cache=True, **given)(function)
        except (RuntimeError, OSError, ImportError):
            # There is no place for it, or what is there belongs to a module of another name.
            return compiler(signature, **given)(function)

    return decorate


@row_prox
def shrink_row(row: Any, step: float, parameters: Any) -> None:  # noqa: ANN401 - arrays of numba
    """Threshold the entries, shorten the row, then divide it."""
    # The prox of ``a ||w||_1 + b ||w||_2 + c/2 ||w||_2^2`` with parameters (a, b, c).
    amount = step * parameters[0]
    square = 0.0
    for t in range(row.size):
        value = row[t]
        # Exactly zero inside the interval.
        value -= min(max(value, -amount), amount)
        row[t] = value
        square += value * value
    length = sqrt(square)
    amount = step * parameters[1]
    factor = 0.0
    if length > amount:
        factor = (1.0 - amount / length) / (1.0 + step * parameters[2])
    for t in range(row.size):
        row[t] *= factor


@part_of_compiled
def soften(row: Any, amount: float) -> None:  # noqa: ANN401
    """Move every entry of a row towards zero; exactly zero within the amount."""
    if amount > 0.0:
        for t in range(row.size):
            row[t] -= min(max(row[t], -amount), amount)


@part_of_compiled
def shorten(row: Any, amount: float) -> None:  # noqa: ANN401
    """Shorten a row by an amount in Euclidean norm, stopping at zero."""
    if amount > 0.0:
        square = 0.0
        for t in range(row.size):
            square += row[t] * row[t]
        length = sqrt(square)
        factor = 1.0 - amount / length if length > amount else 0.0
        for t in range(row.size):
            row[t] *= factor


@part_of_compiled
def limited_prox(row: Any, j: int, step: float, limits: Any, kernel: Any) -> None:  # noqa: ANN401
    """Replace row j by its prox; `limits` are the arrays of :class:`RowLimits`."""
    weight, lower, upper = limits
    parameters, prox = kernel
    bounded = lower.shape[0] > 0
    k = j if lower.shape[0] > 1 else 0
    if bounded:
        for t in range(row.size):
            u = t if lower.shape[1] > 1 else 0
            if (row[t] < 0.0 and lower[k, u] == 0.0) or (row[t] > 0.0 and upper[k, u] == 0.0):
                row[t] = 0.0
    factor = weight[j] if weight.size > 0 else 1.0
    if factor == np.inf:
        row[:] = 0.0
    elif factor > 0.0:
        prox(row, step * factor, parameters)
    if bounded:
        for t in range(row.size):
            u = t if lower.shape[1] > 1 else 0
            row[t] = min(max(row[t], lower[k, u]), upper[k, u])


def apply_rows(
    rows: Any,  # noqa: ANN401
    step: Any,  # noqa: ANN401
    parameters: Any,  # noqa: ANN401
    prox: Any,  # noqa: ANN401
    limits: RowLimits = NO_LIMITS,
) -> None:
    """Replace every row of a float64 array by its prox."""
    # Shapes: rows (n_rows, n_columns), step (n_rows,).
    steps = np.full(len(rows), step, dtype=np.float64)
    _looped()(rows, steps, limits.arrays, parameters, prox)


@cache
def _looped() -> Any:  # noqa: ANN401 - a dispatcher of numba
    function = types.FunctionType(ROW_PROX)
    steps = types.float64[::1]
    signature = types.void(types.float64[:, ::1], steps, LIMITS, types.float64[::1], function)

    def loop(rows: Any, steps: Any, limits: Any, parameters: Any, prox: Any) -> None:  # noqa: ANN401
        for j in range(rows.shape[0]):
            limited_prox(rows[j], j, steps[j], limits, (parameters, prox))

    return njit(signature)(loop)
