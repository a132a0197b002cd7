"""What penalties with a weight for every feature share."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from polytask._checks import number, sentence
from polytask._linalg import Array, host, largest, like, namespace, rounding, row_norms
from polytask._registry import State
from polytask.exceptions import ParameterError
from polytask.penalties.base import (
    NullStrength,
    Penalty,
    RowKernel,
    RowLimits,
)
from polytask.penalties.features import FeatureSpace
from polytask.penalties.row_values import row_values
from polytask.penalties.row_wrapper import RowWrapper
from polytask.penalties.rowwise import L2, per_row
from polytask.penalties.terms import finite_limit

# Weights in the order of the features, or by feature.
Weights = np.ndarray | tuple[tuple[Hashable, float], ...]

_ALLOWED = "a number >= 0 for every feature (0: not penalised, inf: excluded)"
_OWNER = "weighted"


def _checked_weight(value: object) -> float:
    if value == float("inf"):
        return float("inf")
    weight = number(value, "feature_weights", _OWNER, _ALLOWED)
    if weight < 0:
        raise ParameterError(sentence("feature_weights", _OWNER, _ALLOWED, repr(value)))
    return weight


def checked_weights(weights: object) -> Weights:
    """Return weights as a read-only array or as pairs, or raise."""
    if isinstance(weights, Mapping):
        return tuple((key, _checked_weight(value)) for key, value in weights.items())
    if isinstance(weights, tuple) and all(isinstance(w, tuple) for w in weights) and weights:
        return checked_weights(dict(weights))
    try:
        found = np.array(weights, dtype=float)
    except (TypeError, ValueError):
        raise ParameterError(
            sentence("feature_weights", _OWNER, _ALLOWED, repr(weights))
        ) from None
    if found.ndim != 1 or not found.size or not bool(np.all(found >= 0)):
        raise ParameterError(sentence("feature_weights", _OWNER, _ALLOWED, repr(weights)))
    found.flags.writeable = False
    return found


def kernel_of(penalty: Any) -> RowKernel:  # noqa: ANN401 - L2, or any with a row kernel
    """Return the compiled prox of one row."""
    if not isinstance(penalty, L2):
        kernel: RowKernel = penalty.row_kernel()
        return kernel
    from polytask.penalties.row_kernels import shrink_row

    return RowKernel(shrink_row, np.array([0.0, 0.0, penalty.weight]))


@dataclass(frozen=True, eq=False, repr=False)
class Weighted(RowWrapper):
    """A sum over features of weight times penalty of the row, made by :func:`weighted`."""

    # Shapes: weights (n_features,).
    # ``isinstance(p, Weighted)`` recognises any. Its parameters are those of the penalty, and
    # ``feature_weights``.

    penalty: Any  # a Penalty with the capabilities of the leaf class: see `_leaf`
    weights: Weights

    binds_signs = False

    @property
    def forbids(self) -> bool:
        """Whether features are excluded."""
        weights = self.weights
        values = weights if isinstance(weights, np.ndarray) else [w for _, w in weights]
        return bool(np.isinf(np.asarray(values, dtype=float)).any())

    def like_this(self, penalty: Penalty) -> Penalty:
        """Return another penalty of the same kind with the same weights."""
        return type(self)(penalty, self.weights)

    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty with its fraction turned into a strength."""
        if self.penalty.strength is not None:
            return self
        if isinstance(self, NullStrength):
            finite_limit(self, gradient)
        return self.like_this(self.penalty.resolved(self.divided(gradient)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the penalty, and the weights as `feature_weights`."""
        params: dict[str, Any] = self.penalty.get_params(deep)
        given = self.weights if isinstance(self.weights, np.ndarray) else dict(self.weights)
        return params | {"feature_weights": given}

    def replace(self, name: str, value: object) -> Penalty:
        """Return a copy with one parameter changed."""
        if name == "feature_weights":
            return type(self)(self.penalty, checked_weights(value))
        return self.like_this(self.penalty.replace(name, value))

    def to_state(self) -> State:
        """Return the penalty and the weights."""
        if isinstance(self.weights, np.ndarray):
            return {"penalty": self.penalty, "weights": self.weights}
        names, values = zip(*self.weights, strict=True) if self.weights else ((), ())
        return {"penalty": self.penalty, "features": list(names), "weights": list(values)}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the penalty from :meth:`to_state`."""
        if "features" in state:
            pairs = tuple(zip(state["features"], state["weights"], strict=True))
            return cls(state["penalty"], pairs)
        return cls(state["penalty"], checked_weights(state["weights"]))

    def __repr__(self) -> str:
        """Show the penalty, and the weights as they were given."""
        if isinstance(self.weights, np.ndarray):
            return f"weighted({self.penalty!r}, <array of shape {self.weights.shape}>)"
        return f"weighted({self.penalty!r}, {dict(self.weights)!r})"

    def bind_features(self, space: FeatureSpace) -> Penalty:
        """Return a copy with the weights in the order of the features."""
        if isinstance(self.weights, np.ndarray):
            self.own(space.n_features)
            return self
        found = np.ones(space.n_features)
        for feature, weight in self.weights:
            found[space.positions(feature, "feature_weights", _OWNER)] = weight
        return type(self)(self.penalty, checked_weights(found))

    def own(self, n_rows: int) -> np.ndarray:
        """Return the weights of W with so many rows; none for none."""
        if not isinstance(self.weights, np.ndarray):
            raise ParameterError(
                f"{self!r} names features; call bind_features first, as fitting does."
            )
        if n_rows not in (0, len(self.weights)):
            allowed = f"one for each feature ({n_rows})"
            raise ParameterError(
                sentence("feature_weights", _OWNER, allowed, f"{len(self.weights)}")
            )
        return self.weights[:n_rows]

    @property
    def unpenalised(self) -> np.ndarray:
        """The rows of weight 0."""
        known = isinstance(self.weights, np.ndarray)
        return np.flatnonzero(self.weights == 0) if known else np.zeros(0, dtype=np.intp)

    def of_rows(self, index: Array) -> Any:  # noqa: ANN401
        """Return the penalty of some rows of W alone."""
        return type(self)(self.penalty, self.own(len(self.weights))[index])

    def value(self, W: Array) -> float:
        """Return the weighted sum of the values of the rows."""
        xp, weight = namespace(W), like(self.own(W.shape[0]), W)
        excluded = xp.isinf(weight)
        if bool(xp.any(excluded & (row_norms(W) > 0))):
            return float("inf")
        finite = xp.where(excluded, xp.zeros_like(weight), weight)
        return float(xp.sum(finite * row_values(self.penalty, W)))

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of some rows, each with its own multiple of the step."""
        if 0 in rows.shape:
            return rows
        xp = namespace(rows)
        weight = like(self.own(len(self.weights))[_on_host(index)], rows)
        excluded, free = xp.isinf(weight), weight == 0
        usual = xp.where(excluded | free, xp.ones_like(weight), weight)
        moved = self.penalty.prox_rows(rows, index, per_row(step, rows) * usual)
        kept = xp.where(free[:, None], rows, moved)
        return xp.where(excluded[:, None], xp.zeros_like(rows), kept)

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row, with the weights as limits."""
        kernel = kernel_of(self.penalty)
        weight = np.array(self.own(len(self.weights)))
        return RowKernel(
            kernel.prox, kernel.parameters, RowLimits(weight, *kernel.limits.arrays[1:])
        )

    def divided(self, Z: Array) -> Array:
        """Return Z with every row divided by its weight; 0 in rows of weight 0 and inf."""
        xp, weight = namespace(Z), like(self.own(Z.shape[0]), Z)
        usual = (weight > 0) & ~xp.isinf(weight)
        safe = xp.where(usual, weight, xp.ones_like(weight))
        return xp.where(usual[:, None], Z / safe[:, None], xp.zeros_like(Z))

    def is_orthogonal(self, Z: Array) -> bool:
        """Tell whether Z vanishes, up to rounding, in the rows of weight 0."""
        xp, weight = namespace(Z), like(self.own(Z.shape[0]), Z)
        free = xp.where((weight == 0)[:, None], Z, xp.zeros_like(Z))
        return largest(free) <= rounding(Z) * largest(Z)


def _on_host(index: Array | slice) -> Any:  # noqa: ANN401
    return index if isinstance(index, slice | np.ndarray) else host(index)
