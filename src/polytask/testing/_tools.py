"""What the laws are written with."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from polytask._linalg import Array, host
from polytask._registry import Saveable


def require(holds: object, subject: object, law: str, detail: str = "") -> None:
    """Raise AssertionError with a sentence if a law does not hold."""
    if not holds:
        suffix = f" ({detail})" if detail else ""
        raise AssertionError(f"{subject!r} breaks a law: {law}{suffix}.")


def require_close(
    got: Array | float, wanted: Array | float, subject: object, law: str, rtol: float = 1e-7
) -> None:
    """Raise AssertionError unless two results agree, relative to the larger one."""
    a, b = np.asarray(got, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    require(a.shape == b.shape, subject, law, f"shape {a.shape}, wanted {b.shape}")
    same_infinities = np.array_equal(np.isfinite(a), np.isfinite(b))
    require(same_infinities, subject, law, "finite and infinite entries differ")
    finite = np.isfinite(a)
    size = 1.0 + np.abs(b[finite]).max(initial=0.0)
    error = np.abs(a[finite] - b[finite]).max(initial=0.0)
    require(error <= rtol * size, subject, law, f"off by {error:.3g} at a size of {size:.3g}")


def require_at_least(
    got: Array | float, bound: Array | float, subject: object, law: str, slack: float = 1e-9
) -> None:
    """Raise AssertionError unless ``got >= bound`` everywhere, up to relative rounding."""
    a, b = np.asarray(got, dtype=np.float64), np.asarray(bound, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        missing = np.where(a == b, 0.0, b - a - slack * (1.0 + np.abs(b)))
    worst = float(np.max(missing, initial=-np.inf))
    require(worst <= 0, subject, law, f"short by {worst:.3g}")


def require_dtype(result: Array, dtype: Any, subject: object, law: str) -> None:  # noqa: ANN401 - a dtype of any namespace
    """Raise AssertionError unless a result has the dtype."""
    require(result.dtype == dtype, subject, law, f"got {result.dtype}")


def require_portable(subject: Any) -> None:  # noqa: ANN401 - any object under test
    """Require that an object survives pickling and its own state, and can be compared."""
    require(bool(repr(subject)), subject, "repr is not empty")
    copy = pickle.loads(pickle.dumps(subject))
    require(copy == subject, subject, "a pickled copy is equal")
    require(hash(copy) == hash(subject), subject, "equal objects have equal hashes")
    require(isinstance(subject, Saveable), subject, "it has to_state and from_state")
    again = type(subject).from_state(subject.to_state())
    require(again == subject, subject, "from_state undoes to_state")


def moved(values: np.ndarray, xp: Any) -> Array:  # noqa: ANN401 - a module
    """Return a NumPy array in another namespace."""
    return xp.asarray(values.copy())


def back(values: Array, subject: object, reference: Array) -> np.ndarray:
    """Return a result of another namespace as NumPy, requiring that it never left it."""
    law = "arrays of another namespace stay there"
    require(type(values) is type(reference), subject, law, f"got {type(values).__name__}")
    return host(values)
