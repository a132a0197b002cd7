"""Sums and multiples of penalties."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Self, final

import numpy as np

from polytask._checks import listed, nearest, nonnegative, sentence
from polytask._linalg import Array, host
from polytask._registry import State, saveable
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage
from polytask.penalties.base import (
    NO_ROWS,
    Columns,
    Composed,
    FeatureSpace,
    Mergeable,
    NullStrength,
    Penalty,
    Quadratic,
    Smooth,
    about,
)

_SUM = LazyMessage("what.sum_of_penalties")
PENALTY = LazyMessage("allowed.a_penalty")


class Operators(Penalty):
    """The operations that every penalty has for nothing."""

    # A NumPy number times a penalty is left to the penalty.
    __array_ufunc__ = None

    @final
    def __add__(self, other: Penalty) -> Penalty:
        """Return the sum of two penalties."""
        return add((self, other))

    @final
    def __mul__(self, factor: float) -> Penalty:
        """Return `factor` times the penalty."""
        return self.scaled(factor)

    __rmul__ = __mul__

    @final
    def __eq__(self, other: object) -> bool:
        """Tell whether the other penalty is of the same class with equal states."""
        if type(self) is not type(other):
            return NotImplemented
        return _same(self.to_state(), other.to_state())

    @final
    def __hash__(self) -> int:
        """Hash what is hashed cheaply: the class and the strength."""
        return hash((type(self), self.strength))


def _same(a: object, b: object) -> bool:
    """Compare states, which may hold arrays."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(np.asarray(a), np.asarray(b))
    return bool(a == b)


def same_point(a: Array | None, b: Array | None) -> bool:
    """Tell whether two null points (None: zero) are one."""
    if a is None or b is None:
        return a is b
    return a is b or np.array_equal(host(a), host(b))


def parts_of(penalty: Penalty) -> tuple[Penalty, ...]:
    """Return the simplest penalties whose sum a member is."""
    return penalty.parts() if isinstance(penalty, Mergeable) else (penalty,)


def merge(members: Iterable[Any]) -> Any:  # noqa: ANN401 - a Penalty with the members' capabilities
    """Return the sum of non-smooth penalties as one with a prox, None if there is none."""
    return reduce(_together, members)


def _together(first: Any, second: Any) -> Any:  # noqa: ANN401
    """Return the sum of two as one with a prox, which either may know how to make."""
    for one, other in ((first, second), (second, first)):
        if isinstance(one, Mergeable) and isinstance(other, Penalty):
            whole = one.merged(other)
            if whole is not None:
                return whole
    return None


class Joined(Operators):
    """Penalties as members of one."""

    members: Sequence[Penalty]

    @cached_property
    def reference(self) -> Penalty:
        """The member whose strength stands for that of the whole."""
        return next((m for m in self.members if isinstance(m, NullStrength)), self.members[0])

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the members as p0, p1, ..., and with `deep` their parameters."""
        params: dict[str, Any] = {}
        for i, member in enumerate(self.members):
            params[f"p{i}"] = member
            nested = member.get_params(deep=True) if deep else {}
            params |= {f"p{i}__{name}": value for name, value in nested.items()}
        return params

    def replace(self, name: str, value: object) -> Penalty:
        """Return a copy with the member ``p0``, or its parameter ``p0__alpha``, changed."""
        head, _, rest = name.partition("__")
        names = [f"p{i}" for i in range(len(self.members))]
        if head not in names:
            raise unknown_parameter(name, repr(self), self.get_params())
        i = names.index(head)
        changed = self.members[i].replace(rest, value) if rest else value
        if not isinstance(changed, Penalty):
            raise ParameterError(sentence(name, repr(self), PENALTY, repr(value)))
        return self.of([*self.members[:i], changed, *self.members[i + 1 :]])

    def without_terms(self) -> Mapping[str, Penalty]:
        """Return what is left without each member, by the name of its class."""
        names = [repr(member).partition("(")[0] for member in self.members]
        found = {}
        for k, name in enumerate(names):
            rest = [*self.members[:k], *self.members[k + 1 :]]
            shown = name if names.count(name) == 1 else f"{name} ({k + 1})"
            found[shown] = rest[0] if len(rest) == 1 else self.of(rest)
        return found

    @abstractmethod
    def of(self, members: Iterable[Penalty]) -> Penalty:
        """Return the same of other members."""

    def scaled(self, factor: float) -> Penalty:
        """Return the whole with every member multiplied by `factor` (>= 0)."""
        return self.of(member.scaled(factor) for member in self.members)

    def bind(self, columns: Columns) -> Penalty:
        """Return a copy with every member bound."""
        return self._of_bound([member.bind(columns) for member in self.members])

    def bind_features(self, space: FeatureSpace) -> Penalty:
        """Return a copy with every member bound."""
        return self._of_bound([member.bind_features(space) for member in self.members])

    def _of_bound(self, bound: list[Penalty]) -> Penalty:
        """Return the same of bound members; itself where binding changes none."""
        same = all(one is other for one, other in zip(bound, self.members, strict=True))
        return self if same else self.of(bound)

    def to_state(self) -> State:
        """Return the members by name."""
        return {"members": list(self.members)}


class Summed(Joined):
    """Members whose values add up."""

    @property
    def strength(self) -> float | None:
        """The strength of the reference member."""
        return self.reference.strength

    @property
    def null_point(self) -> Array | None:
        """The null point of the reference member."""
        return self.reference.null_point

    @property
    def by_feature(self) -> bool:
        """Whether a member has parameters for single features."""
        return any(member.by_feature for member in self.members)

    @property
    def binds_signs(self) -> bool:
        """Whether a member has bounds."""
        return any(member.binds_signs for member in self.members)

    @property
    def unpenalised(self) -> np.ndarray:
        """The rows that no member with a kink at zero acts on."""
        nonsmooth = [member for member in self.members if not isinstance(member, Smooth)]
        found = [set(member.unpenalised.tolist()) for member in nonsmooth]
        return np.array(sorted(set.intersection(*found)), dtype=np.intp) if found else NO_ROWS

    def value(self, W: Array) -> float:
        """Return the sum of the values at W."""
        return sum(member.value(W) for member in self.members)

    def of(self, members: Iterable[Penalty]) -> Penalty:
        """Return the sum of other members."""
        return add(members)

    def with_strength(self, alpha: float) -> Penalty:
        """Return the sum with all members multiplied so that the reference has `alpha`."""
        present = self.strength
        if not present:
            raise ParameterError(about(self.reference, "penalty.refusal.no_strength"))
        return self.scaled(nonnegative(alpha, "strength", _SUM) / present)

    def shifted(self, W0: Array) -> Penalty:
        """Return the sum with every member shifted, a penalty of W - W0."""
        return add(member.shifted(W0) for member in self.members)

    def at_curvature(self, curvature: float, gradient: Array) -> Penalty:
        """Return the sum of its members at this curvature."""
        if not self._is_open():
            return self
        return add(member.at_curvature(curvature, gradient) for member in self.members)

    def resolved(self, gradient: Array) -> Penalty:
        """Return the sum with each member resolved on its own null strength."""
        if not self._is_open():
            return self
        return add(member.resolved(gradient) for member in self.members)

    def _is_open(self) -> bool:
        """Whether a member is a fraction; those that vanish at different points are refused."""
        open_members = [m for m in self.members if m.strength is None]
        if any(not same_point(m.null_point, self.null_point) for m in open_members):
            raise ParameterError(about(self, "penalty.refusal.vanish_apart"))
        return bool(open_members)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the sum from :meth:`to_state`."""
        return cls(tuple(state["members"]))  # type: ignore[call-arg]

    def __repr__(self) -> str:
        """Show the sum as it is written."""
        return " + ".join(repr(member) for member in self.members)


@final
@saveable("penalty.sum", "penalty.sum.null", "penalty.sum.quadratic", "penalty.sum.smooth")
@dataclass(frozen=True, eq=False, repr=False)
class Sum(Summed, Quadratic, NullStrength):
    """A sum of penalties, made by ``+``.

    Its members are the parameters p0, p1, .... Its strength is that of the *reference*:
    the first member with a null strength, or else the first member. ``with_strength``
    multiplies every member by one factor so that the reference has the wanted strength;
    ``null_strength`` is on the same scale: the strength of the reference at which W = 0
    becomes optimal while all members keep their present proportions.

    Parameters
    ----------
    members : tuple of Penalty
        The summands, none of them a sum.
    """

    members: tuple[Any, ...]

    def __post_init__(self) -> None:
        """Store a tuple."""
        object.__setattr__(self, "members", tuple(self.members))

    @cached_property
    def capabilities(self) -> frozenset[type]:
        """Gradients if all members have them, else perhaps a null strength."""
        for kinds in ((Smooth, Quadratic), (Smooth,)):
            if all(isinstance(member, kinds[-1]) for member in self.members):
                return frozenset(kinds)
        return frozenset({NullStrength} if _vanishes(self.members) else ())

    def emptying_strength(self, gradient: Array) -> float:
        """Return a strength of the reference at which every coefficient vanishes.

        It is that at which one member alone makes them vanish: an upper bound of the smallest.

        Parameters
        ----------
        gradient : array of shape (n_features, n_columns)
            Gradient of the data term at the null point of all members.

        Returns
        -------
        float
            The strength; inf if no member tells one.
        """
        if any(not same_point(m.null_point, self.null_point) for m in self.members):
            return float("inf")
        limiting: list[Any] = [m for m in self.members if isinstance(m, NullStrength)]
        limiting = [m for m in limiting if m.strength]
        factors = [m.null_strength(gradient) / (m.strength or 1.0) for m in limiting]
        return float(min(factors, default=float("inf")) * (self.strength or float("inf")))

    def null_strength(self, gradient: Array) -> float:
        """Return the strength of the reference at which every coefficient vanishes."""
        limiting: list[Any] = [m for m in self.members if isinstance(m, NullStrength)]
        if len(limiting) == 1:
            return float(limiting[0].null_strength(gradient))
        whole = merge(p for m in limiting for p in parts_of(m) if isinstance(p, NullStrength))
        if whole is None or not whole.strength or not self.strength:
            raise ParameterError(about(self, "penalty.refusal.null_strength"))
        return float(whole.null_strength(gradient) * self.strength / whole.strength)

    def gradient(self, W: Array) -> Array:
        """Return the sum of the gradients at W."""
        return reduce(lambda a, b: a + b, (m.gradient(W) for m in self.members))

    def curvature(self) -> float:
        """Return the sum of the curvatures, a bound on that of the sum."""
        return float(sum(member.curvature() for member in self.members))

    def apply(self, W: Array) -> Array:
        """Return the sum of the Hessians applied to W."""
        return reduce(lambda a, b: a + b, (member.apply(W) for member in self.members))

    def diagonal(self, n_columns: int) -> np.ndarray:
        """Return the sum of the diagonals, of shape (n_columns,)."""
        return np.asarray(sum(member.diagonal(n_columns) for member in self.members))


def _vanishes(members: tuple[Penalty, ...]) -> bool:
    """Tell whether a sum has a null strength that can be computed."""
    limiting = [m for m in members if isinstance(m, NullStrength)]
    one_point = all(same_point(m.null_point, members[0].null_point) for m in members)
    if not limiting or not one_point or any(isinstance(m, Composed) for m in members):
        return False
    # Whether members merge is a matter of their classes, so any strength will do.
    able = (m.with_strength(1.0) if isinstance(m, Mergeable) else m for m in limiting)
    unit = [p for m in able for p in parts_of(m)]
    return merge(p for p in unit if isinstance(p, NullStrength)) is not None


def add(members: Iterable[Any]) -> Penalty:
    """Return the sum of penalties, flat; of one, itself."""
    flat: tuple[Any, ...] = tuple(
        term
        for member in members
        for term in (member.members if isinstance(member, Sum) else (member,))
    )
    if other := [member for member in flat if not isinstance(member, Penalty)]:
        member = LazyMessage("what.member")
        raise ParameterError(sentence(member, _SUM, PENALTY, repr(other[0])))
    whole: Penalty = flat[0] if len(flat) == 1 else Sum(flat)
    return whole


def unknown_parameter(name: str, owner: str, known: Iterable[str]) -> ParameterError:
    """Return the error for a parameter that a penalty does not have."""
    parameter = LazyMessage("what.parameter_name")
    return ParameterError(
        sentence(parameter, owner, listed(known), repr(name)) + nearest(name, known)
    )
