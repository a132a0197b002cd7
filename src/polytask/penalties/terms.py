"""What single penalties share: a strength, parameters, and a shape that depends on neither."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self, final

import numpy as np

from polytask._checks import fraction, nonnegative, positive
from polytask._linalg import Array, frozen, rounding, simplex_levels
from polytask._registry import State
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage
from polytask.penalties.adapted import adapted, finite_limit
from polytask.penalties.base import (
    Columns,
    Conjugate,
    Mergeable,
    NullStrength,
    Penalty,
    Proximable,
    Valued,
    about,
)
from polytask.penalties.sums import Operators, unknown_parameter

DEFAULT_FRACTION = 0.1
DEFAULT_ALPHA = 1.0


Check = Callable[[Any, str, str], Any]


def checked_by(check: Check) -> Mapping[str, Check]:
    """Return the metadata of a field whose values go through `check`."""
    return {"check": check}


def optional(check: Check) -> Mapping[str, Check]:
    """Return the metadata of a field that may also be None."""
    return checked_by(lambda value, *names: None if value is None else check(value, *names))


ALPHA = optional(nonnegative)
FRACTION = optional(fraction)
RADIUS = optional(positive)


class Single(Operators):
    """A single penalty: leaf classes are frozen dataclasses with a field ``alpha``."""

    # The metadata of a field may hold the check of its values. A field named ``columns``
    # holds what `bind` gave and is no parameter.

    alpha: float | None
    # The largest norm allowed, in classes with this field; alpha is then 0 unless given.
    radius: float | None = None

    @property
    @abstractmethod
    def label(self) -> str:
        """The name under which users make the penalty."""

    @final
    def __post_init__(self) -> None:
        """Store what the checks of the fields return, arrays as read-only copies."""
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if check := item.metadata.get("check"):
                value = check(value, item.name, self.label)
            value = frozen(value) if isinstance(value, np.ndarray) else value
            object.__setattr__(self, item.name, value)
        relative = getattr(self, "fraction", None) is not None
        if self.radius is not None and self.alpha is None and not relative:
            object.__setattr__(self, "alpha", 0.0)
        self._check_together()

    def _check_together(self) -> None:
        """Check the fields against each other."""

    @property
    def null_point(self) -> Array | None:
        """None: a single penalty vanishes at W = 0."""
        return None

    @property
    def forbids(self) -> bool:
        """Whether the norm is bounded."""
        return self.radius is not None

    @cached_property
    def weight(self) -> float:
        """The strength as a number.

        Raises
        ------
        ParameterError
            If it is a fraction that is not resolved.
        """
        strength = self.strength
        if strength is None:
            raise ParameterError(about(self, "penalty.refusal.relative"))
        return strength

    @final
    def shifted(self, W0: Array) -> Penalty:
        """Return the penalty of W - W0, W0 of shape (n_features, n_columns)."""
        return adapted(self, by=W0)

    @final
    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in _fields(self) if name != "columns"}

    @final
    def replace(self, name: str, value: object) -> Penalty:
        """Return a copy with one parameter changed (alpha clears fraction, and the reverse)."""
        known = self.get_params()
        if name not in known:
            raise unknown_parameter(name, self.label, known)
        changes: dict[str, Any] = {name: value}
        rival = {"alpha": "fraction", "fraction": "alpha"}.get(name)
        if value is not None and rival in known:
            changes[rival] = None
        copy: Penalty = changed(self, **changes)
        return copy

    @final
    def to_state(self) -> State:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in _fields(self)}

    @classmethod
    @final
    def from_state(cls, state: State) -> Self:
        """Rebuild the penalty from :meth:`to_state`."""
        return cls(**state)

    @final
    def __repr__(self) -> str:
        """Show what was set."""
        defaults = _fields(self)
        shown = (
            f"{name}={_shown(value)}"
            for name, value in self.get_params().items()
            if isinstance(value, np.ndarray) or value != defaults[name]
        )
        return f"{self.label}({', '.join(shown)})"


def _shown(value: object) -> str:
    """Return the repr of a parameter, of an array its shape only."""
    return f"<array of shape {value.shape}>" if isinstance(value, np.ndarray) else repr(value)


def _fields(penalty: Any) -> dict[str, Any]:  # noqa: ANN401 - a frozen dataclass
    """Return the names of the fields with their defaults."""
    return {field.name: field.default for field in dataclasses.fields(penalty)}


def changed(penalty: Any, **changes: Any) -> Any:  # noqa: ANN401 - any frozen dataclass, and its fields
    """Return a copy of a frozen dataclass with some fields changed."""
    return dataclasses.replace(penalty, **changes)


def check_exclusive(
    one: float | None,
    other: float | None,
    owner: str,
    names: tuple[str, str] = ("alpha", "fraction"),
) -> None:
    """Refuse one parameter together with another."""
    if one is not None and other is not None:
        fields = {"owner": owner, "one": names[0], "other": names[1]}
        got = {"got": repr(one), "got2": repr(other)}
        raise ParameterError(LazyMessage("penalty.refusal.exclusive", fields | got))


class AbsoluteTerm(Single):
    """A penalty without a null strength; alpha is 1.0 unless given."""

    @final
    @property
    def strength(self) -> float:
        """The strength alpha."""
        return DEFAULT_ALPHA if self.alpha is None else self.alpha

    @final
    def with_strength(self, alpha: float) -> Penalty:
        """Return the penalty with another strength, a number >= 0."""
        copy: Penalty = changed(self, alpha=nonnegative(alpha, "strength", self.label))
        return copy

    @final
    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the penalty."""
        copy: Penalty = changed(
            self, alpha=self.strength * nonnegative(factor, "factor", "scaled")
        )
        return copy

    @final
    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty itself: nothing in it is relative to the data."""
        return self


class RelativeTerm(Single, NullStrength):
    """A penalty with a null strength, given as alpha or as a fraction of it."""

    # A leaf class also has a field ``fraction``; without either, the fraction is 0.1.

    fraction: float | None

    @final
    def _check_together(self) -> None:
        """Refuse alpha together with fraction."""
        check_exclusive(self.alpha, self.fraction, self.label)
        self._check_rest()

    def _check_rest(self) -> None:
        """Check what else belongs together."""

    @final
    @property
    def strength(self) -> float | None:
        """The strength alpha; None while it is a fraction that is not resolved."""
        return self.alpha

    @final
    @property
    def share(self) -> float:
        """The fraction of the null strength, for a penalty without alpha."""
        return DEFAULT_FRACTION if self.fraction is None else self.fraction

    @final
    def with_strength(self, alpha: float) -> Penalty:
        """Return the penalty with another strength, a number >= 0."""
        copy: Penalty = changed(
            self, alpha=nonnegative(alpha, "strength", self.label), fraction=None
        )
        return copy

    @final
    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the penalty; a fraction is multiplied likewise."""
        factor = nonnegative(factor, "factor", "scaled")
        if self.alpha is not None or factor == 0:
            return self.with_strength(factor * (self.alpha or 0.0))
        return self.replace("fraction", factor * self.share)

    @final
    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty with its fraction turned into a strength."""
        if self.alpha is not None:
            return self
        return self.with_strength(self.share * finite_limit(self, gradient))


class Unbound(Single):
    """A penalty that looks at rows, entries or the whole of W, whoever owns the columns."""

    @final
    def bind(self, columns: Columns) -> Self:
        """Return the penalty itself: it does not depend on tasks and classes."""
        return self


class NormTerm(Single, NullStrength, Conjugate, Mergeable):
    """A strength times a norm of W: all but the prox follows from the norm and its dual."""

    @abstractmethod
    def norm(self, W: Array) -> float:
        """Return the norm of W."""

    @abstractmethod
    def dual_norm(self, Z: Array) -> float:
        """Return the largest <Z, W> over all W of norm at most 1."""

    @final
    @property
    def is_norm(self) -> bool:
        """Whether no radius bounds the norm."""
        return self.radius is None

    @cached_property
    def capabilities(self) -> frozenset[type] | None:
        """All, or beside a radius a prox, a conjugate, and a null strength unless alpha is 0."""
        if self.radius is None:
            return None
        kinds = {Proximable, Conjugate}
        return frozenset(kinds | {NullStrength} if self.strength != 0 else kinds)

    @final
    def value(self, W: Array) -> float:
        """Return the strength times the norm of W; inf where the norm is beyond the radius."""
        size = self.norm(W)
        if self.radius is not None and size > self.radius * (1 + rounding(W)):
            return float("inf")
        return self.weight * size

    @final
    def allowed_share(self, W: Array) -> float:
        """Return the radius over the norm of W, at most 1."""
        return 1.0 if self.radius is None else min(1.0, self.radius / (self.norm(W) or 1.0))

    def lowered_by(self, sizes: Array, step: float) -> float:
        """Return by how much the prox lowers the sizes that the norm is the sum of."""
        # With a radius the sum of the sizes is projected as well: both lower all by one amount.
        amount = float(step) * self.weight
        if self.radius is None or 0 in sizes.shape:
            return amount
        return max(amount, float(simplex_levels(sizes[None, :], self.radius)[0]))

    @final
    def conjugate(self, Z: Array) -> float:
        """Return 0 if the dual norm of Z is at most the strength (up to rounding), else inf.

        With a radius: the radius times what the dual norm exceeds the strength by.
        """
        size, limit = self.dual_norm(Z), self.weight
        if self.radius is not None:
            return self.radius * max(size - limit, 0.0)
        return 0.0 if size <= limit * (1 + rounding(Z)) else float("inf")

    @final
    def feasible_scale(self, Z: Array) -> float:
        """Return the strength divided by the dual norm of Z; inf with a radius."""
        size, weight = self.dual_norm(Z), self.weight
        return weight / size if size > 0 and self.radius is None else float("inf")

    @final
    def scaled_conjugate(self, Z: Array) -> tuple[float, float]:
        """Return the largest c <= 1 with a finite conjugate at c Z, and the conjugate there."""
        # Without a radius it is 0 where it is finite, which needs no second dual norm.
        bounded = self.radius is not None
        return super().scaled_conjugate(Z) if bounded else (min(1.0, self.feasible_scale(Z)), 0.0)

    @final
    def null_strength(self, gradient: Array) -> float:
        """Return the dual norm of the gradient."""
        return self.dual_norm(gradient)

    @final
    def parts(self) -> tuple[Penalty, ...]:
        """Return the penalty itself."""
        return (self,)


def merged_alike(first: Single, second: Valued) -> Mergeable | None:
    """Return the sum of two penalties that differ by their strength only, None for others."""
    if not isinstance(second, Single) or first.with_strength(1.0) != second.with_strength(1.0):
        return None
    whole: Any = first.with_strength(first.weight + second.weight)
    return whole if isinstance(whole, Mergeable) else None


class Norm(RelativeTerm, NormTerm, Unbound):
    """alpha times a norm of W that does not depend on tasks and classes."""
