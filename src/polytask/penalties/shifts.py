"""The penalty of W - W0: transfer towards known coefficients.

A shifted penalty is of the class that has the capabilities of what it shifts.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np

from polytask._linalg import Array, frozen, host, inner, like
from polytask._registry import State, saveable
from polytask.exceptions import IncompatibleError
from polytask.penalties.base import (
    Columns,
    Conjugate,
    Mergeable,
    Nonconvex,
    NullStrength,
    Penalty,
    Proximable,
    Quadratic,
    RowSeparable,
    Smooth,
    Valued,
)
from polytask.penalties.sums import Composed, Operators, merge, same_point


@dataclass(frozen=True, eq=False, repr=False)
class Shifted(Operators):
    """A penalty of W - W0, made by ``shifted``; ``isinstance(p, Shifted)`` recognises any.

    Its parameters are those of the penalty that it shifts.

    Parameters
    ----------
    penalty : Penalty
        The penalty of the difference.
    by : array of shape (n_features, n_columns)
        W0, the point that the penalty pulls to.
    """

    penalty: Any  # a Penalty with the capabilities of the leaf class: see `shift`
    by: Array

    def __post_init__(self) -> None:
        """Keep a copy of the point."""
        object.__setattr__(self, "by", frozen(self.by))

    @classmethod
    @abstractmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""

    @property
    def strength(self) -> float | None:
        """The strength of the penalty."""
        strength: float | None = self.penalty.strength
        return strength

    @property
    def null_point(self) -> Array:
        """The point W0."""
        return self.by

    def value(self, W: Array) -> float:
        """Return the penalty at W - W0."""
        return float(self.penalty.value(W - like(self.by, W)))

    def with_strength(self, alpha: float) -> Penalty:
        """Return the shifted penalty with another strength."""
        return shift(self.penalty.with_strength(alpha), self.by)

    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the shifted penalty."""
        return shift(self.penalty.scaled(factor), self.by)

    def shifted(self, W0: Array) -> Penalty:
        """Return the penalty shifted further, to W0 plus the present point."""
        return shift(self.penalty, self.by + like(W0, self.by))

    def bind(self, columns: Columns) -> Penalty:
        """Return a bound copy."""
        return shift(self.penalty.bind(columns), self.by)

    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty resolved on the gradient of the data term at W0."""
        return shift(self.penalty.resolved(gradient), self.by)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the penalty."""
        params: dict[str, Any] = self.penalty.get_params(deep)
        return params

    def replace(self, name: str, value: object) -> Penalty:
        """Return a copy with one parameter of the penalty changed."""
        return shift(self.penalty.replace(name, value), self.by)

    def to_state(self) -> State:
        """Return the penalty and the point."""
        return {"penalty": self.penalty, "by": host(self.by)}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the shifted penalty from :meth:`to_state`."""
        return cls(state["penalty"], state["by"])

    def __repr__(self) -> str:
        """Show the penalty and the shape of the point."""
        return f"{self.penalty!r}.shifted(<array of shape {tuple(self.by.shape)}>)"


class _Gradient(Shifted, Smooth):
    """The gradient of a shifted penalty."""

    def gradient(self, W: Array) -> Array:
        """Return the gradient of the penalty at W - W0."""
        return self.penalty.gradient(W - like(self.by, W))

    def curvature(self) -> float:
        """Return the curvature of the penalty: a shift does not change it."""
        return float(self.penalty.curvature())


class _Hessian(_Gradient, Quadratic):
    """The constant Hessian of a shifted penalty."""

    def apply(self, W: Array) -> Array:
        """Return the Hessian applied to W: a shift does not change it."""
        return self.penalty.apply(W)

    def diagonal(self, n_columns: int) -> np.ndarray:
        """Return the diagonal of the Hessian, of shape (n_columns,)."""
        return np.asarray(self.penalty.diagonal(n_columns))


class _Prox(Shifted, Proximable):
    """The prox of a shifted penalty."""

    def prox(self, W: Array, step: float) -> Array:
        """Return W0 plus the prox of the penalty at W - W0."""
        point = like(self.by, W)
        return point + self.penalty.prox(W - point, step)


class _Rows(Shifted, RowSeparable):
    """The prox of rows of a shifted penalty."""

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows of W0 plus the prox of the rows less those of W0."""
        point = like(self.by[index], rows)
        return point + self.penalty.prox_rows(rows - point, index, step)


class _Conjugate(Shifted, Conjugate):
    """The conjugate of a shifted penalty."""

    def conjugate(self, Z: Array) -> float:
        """Return the conjugate of the penalty at Z plus <Z, W0>."""
        return float(self.penalty.conjugate(Z)) + inner(Z, like(self.by, Z))

    def feasible_scale(self, Z: Array) -> float:
        """Return that of the penalty: a shift does not change the domain."""
        return float(self.penalty.feasible_scale(Z))


class _Norm(_Conjugate, NullStrength, Mergeable):
    """What shifted norms share."""

    def null_strength(self, gradient: Array) -> float:
        """Return the strength at which W = W0 is optimal, from the gradient there."""
        return float(self.penalty.null_strength(gradient))

    def parts(self) -> tuple[Penalty, ...]:
        """Return the shifted parts of the penalty."""
        if not isinstance(self.penalty, Mergeable):
            return (self,)
        return tuple(shift(part, self.by) for part in self.penalty.parts())

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the shifted sum if the other is shifted to the same point."""
        if not isinstance(other, Shifted) or not isinstance(self.penalty, Mergeable):
            return None
        if not same_point(self.by, other.by):
            return None
        plain: Any = merge((self.penalty, other.penalty))
        whole: Any = plain if plain is None else shift(plain, self.by)
        return whole if isinstance(whole, Mergeable) else None


@final
@saveable("penalty.shifted.rows")
class ShiftedRows(_Rows, _Norm):
    """A shifted penalty of rows with a conjugate and a null strength."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, RowSeparable) and ShiftedNorm.fits(penalty)


@final
@saveable("penalty.shifted.norm")
class ShiftedNorm(_Prox, _Norm):
    """A shifted penalty with a prox, a conjugate and a null strength."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, Conjugate) and isinstance(penalty, NullStrength)


@final
@saveable("penalty.shifted.conjugate")
class ShiftedConjugate(_Prox, _Conjugate):
    """A shifted penalty with a prox and a conjugate, without a null strength."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, Conjugate)


@final
@saveable("penalty.shifted.ridge")
class ShiftedRidge(_Hessian, _Rows, _Conjugate):
    """A shifted quadratic penalty of rows with a conjugate."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        able = isinstance(penalty, Quadratic) and isinstance(penalty, RowSeparable)
        return able and isinstance(penalty, Conjugate)


@final
@saveable("penalty.shifted.concave")
class ShiftedConcave(Shifted, NullStrength, Nonconvex):
    """A shifted penalty that is not convex."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, Nonconvex) and isinstance(penalty, NullStrength)

    def null_strength(self, gradient: Array) -> float:
        """Return the strength at which W = W0 is stationary, from the gradient there."""
        return float(self.penalty.null_strength(gradient))

    def majorised(self, W: Array) -> Penalty:
        """Return the shifted majoriser."""
        return shift(self.penalty.majorised(W - like(self.by, W)), self.by)


@final
@saveable("penalty.shifted.quadratic")
class ShiftedQuadratic(_Hessian):
    """A shifted quadratic penalty."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, Quadratic)


@final
@saveable("penalty.shifted.smooth")
class ShiftedSmooth(_Gradient):
    """A shifted smooth penalty."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, Smooth)


@final
@saveable("penalty.shifted.composed")
class ShiftedComposed(Shifted, Composed):
    """A shifted norm of a linear map."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, Composed)

    def forward(self, W: Array) -> Array:
        """Return the map of W: the shift is in the conjugate."""
        return self.penalty.forward(W)

    def adjoint(self, U: Array) -> Array:
        """Return the transpose of the map at U."""
        return self.penalty.adjoint(U)

    def norm_bound(self) -> float:
        """Return that of the penalty: a shift does not change it."""
        return float(self.penalty.norm_bound())

    def _there(self, U: Array) -> Array:
        """Return the map of W0."""
        return self.penalty.forward(like(self.by, U))

    def dual_prox(self, U: Array, step: float) -> Array:
        """Return that of the penalty at U less step times the map of W0."""
        return self.penalty.dual_prox(U - float(step) * self._there(U), step)

    def dual_value(self, U: Array) -> float:
        """Return that of the penalty plus <U, A W0>."""
        return float(self.penalty.dual_value(U)) + inner(U, self._there(U))

    def settled(self, W: Array, moved: Array) -> Array:
        """Return W0 plus the settled difference."""
        point = like(self.by, W)
        return point + self.penalty.settled(W - point, moved - self._there(moved))


@final
@saveable("penalty.shifted.proximable")
class ShiftedProximable(_Prox):
    """A shifted penalty of which only the prox is known."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, Proximable)


# The most capable class first.
_LEAVES: tuple[type[Shifted], ...] = (
    ShiftedConcave,
    ShiftedRidge,
    ShiftedRows,
    ShiftedNorm,
    ShiftedConjugate,
    ShiftedQuadratic,
    ShiftedSmooth,
    ShiftedComposed,
    ShiftedProximable,
)


def shift(penalty: Penalty, by: Array) -> Penalty:
    """Return the penalty of W - `by`, of the most capable class that fits."""
    for leaf in _LEAVES:
        if leaf.fits(penalty):
            return leaf(penalty, by)
    raise IncompatibleError(f"{penalty!r} cannot be shifted: it has neither gradient nor prox.")
