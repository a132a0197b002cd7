"""What solvers ask of a penalty: one smooth part and one part with a prox."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from polytask._linalg import Array, inner, like
from polytask.exceptions import IncompatibleError
from polytask.penalties.base import (
    Conjugate,
    Nonconvex,
    Penalty,
    PerFeature,
    Proximable,
    RowSeparable,
    Smooth,
)
from polytask.penalties.rows import L2
from polytask.penalties.shifts import Shifted
from polytask.penalties.sums import Composed, Sum, add, merge, parts_of, same_point


@dataclass(frozen=True)
class Split:
    """The parts of a penalty, whose sum it is up to a constant.

    Parameters
    ----------
    smooth : Smooth or None
        The part that solvers take a gradient of.
    proximable : Proximable or None
        The part that solvers take a prox of.
    others : tuple of Proximable and Composed, default=()
        Parts that do not combine with it, each with a prox of its own; `separate` alone
        gives any.
    """

    smooth: Smooth | None
    proximable: Proximable | None
    others: tuple[Proximable | Composed, ...] = ()


class Prepared(ABC):
    """A function that solvers take for a penalty and that knows its parts."""

    @abstractmethod
    def split(self) -> Split:
        """Return the smooth and the proximable part."""


@dataclass(frozen=True)
class Ridge:
    """weight / 2 * ||W - centre||_F^2. Shapes: centre (n_features, n_columns)."""

    weight: float
    centre: Array | None

    def value(self, W: Array) -> float:
        """Return the value at W."""
        difference = W if self.centre is None else W - like(self.centre, W)
        return 0.5 * self.weight * inner(difference, difference)

    def pull(self, like_rows: Array, index: Array | slice) -> Array | float:
        """Return weight * centre for some rows; 0 without a centre."""
        return 0.0 if self.centre is None else self.weight * like(self.centre[index], like_rows)


@dataclass(frozen=True)
class Ridged(Proximable):
    """A penalty p plus a ridge: its prox and its conjugate take one prox of p."""

    # The sum p + b/2 ||W - c||^2 has the prox of p at (V + s b c) / (1 + s b) with the step
    # s / (1 + s b), and the conjugate, always finite, <Z, w> - p(w) - b/2 ||w - c||^2 at
    # w = prox of p at c + Z / b with the step 1 / b.

    penalty: Any
    ridge: Ridge

    def value(self, W: Array) -> float:
        """Return the value of the sum at W."""
        return float(self.penalty.value(W)) + self.ridge.value(W)


class _RidgedProx(Ridged):
    """The prox of a penalty plus a ridge."""

    def prox(self, W: Array, step: float) -> Array:
        """Return the prox of the penalty at a point nearer to the centre."""
        step = float(step)
        shrink = 1 + step * self.ridge.weight
        point = (W + step * self.ridge.pull(W, slice(None))) / shrink
        return self.penalty.prox(point, step / shrink)


class _RidgedRows(Ridged, RowSeparable):
    """The prox of rows of a penalty plus a ridge."""

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of the rows of the penalty at points nearer to the centre."""
        by_row = getattr(step, "ndim", 0) > 0
        steps: Array = like(step, rows) if by_row else float(step)
        shrink: Array = 1 + steps * self.ridge.weight
        column = shrink[:, None] if by_row else shrink
        pull = (steps[:, None] if by_row else steps) * self.ridge.pull(rows, index)
        return self.penalty.prox_rows((rows + pull) / column, index, steps / shrink)


class _RidgedConjugate(Ridged, Conjugate):
    """The conjugate of a convex penalty plus a ridge."""

    def conjugate(self, Z: Array) -> float:
        """Return the conjugate at Z, finite everywhere."""
        weight = self.ridge.weight
        W = self.penalty.prox((Z + self.ridge.pull(Z, slice(None))) / weight, 1 / weight)
        return inner(Z, W) - self.value(W)

    def feasible_scale(self, Z: Array) -> float:
        """Return inf: there is no limit."""
        return float("inf")


@final
class RidgedRows(_RidgedRows, _RidgedConjugate):
    """A row-separable penalty with a conjugate, plus a ridge."""


@final
class RidgedNorm(_RidgedProx, _RidgedConjugate):
    """A penalty with a conjugate, plus a ridge."""


@final
class RidgedProximable(_RidgedProx):
    """A penalty of which only the prox is known, plus a ridge."""


def ridged(penalty: Proximable, ridge: Ridge) -> Proximable:
    """Return the sum of a penalty and a ridge, with the capabilities of the penalty."""
    if ridge.weight == 0:
        return penalty
    if not isinstance(penalty, Conjugate):
        return RidgedProximable(penalty, ridge)
    return (RidgedRows if isinstance(penalty, RowSeparable) else RidgedNorm)(penalty, ridge)


def _ridge(penalty: Penalty) -> Ridge | None:
    """Return an L2 penalty, shifted or not, as a ridge; None for others."""
    plain = penalty.penalty if isinstance(penalty, Shifted) else penalty
    return Ridge(plain.weight, penalty.null_point) if isinstance(plain, L2) else None


def _one_ridge(members: Sequence[Penalty]) -> tuple[Penalty, list[Penalty]]:
    """Return the L2 members about the first centre as one, and the others."""
    same = [m for m in members if same_point(m.null_point, members[0].null_point)]
    whole = members[0].with_strength(sum(m.strength or 0.0 for m in same))
    return whole, [m for m in members if not any(m is other for other in same)]


def _forbids(member: Penalty) -> bool:
    """Tell whether a member matters even with a strength of 0."""
    plain = member.penalty if isinstance(member, Shifted) else member
    return isinstance(plain, PerFeature) and plain.forbids


def _refuse_nonconvex(terms: Sequence[Penalty]) -> None:
    """Refuse what the solvers of convex problems would answer with less than they claim."""
    for term in terms:
        plain = term.penalty if isinstance(term, Shifted) else term
        if isinstance(plain, Nonconvex):
            raise IncompatibleError(
                f"{term!r} is not convex: Reweighted() solves it in convex stages, and "
                "solver='auto' chooses it."
            )


def _one_prox(members: Sequence[Penalty]) -> Proximable:
    """Return the sum of non-smooth members as one with a prox, or refuse."""
    active = [m for m in members if m.strength != 0 or _forbids(m)] or list(members[:1])
    whole = merge(active)
    if not isinstance(whole, Proximable):
        names = " and ".join(repr(m) for m in active)
        raise IncompatibleError(
            f"{names} cannot be combined: no proximal operator of their sum is known. Use "
            "Splitting, which needs none, or solver='auto'."
        )
    return whole


def _joined(prox: Sequence[Penalty], ridges: list[Penalty], smooth: list[Penalty]) -> Split:
    """Return the split of sorted members."""
    proximable: Proximable | None = _one_prox(prox) if prox else None
    if ridges:
        whole, rest = _one_ridge(ridges)
        smooth = smooth + rest
        ridge = _ridge(whole)
        if proximable is None and isinstance(whole, Proximable):
            proximable = whole
        elif proximable is not None and ridge is not None:
            proximable = ridged(proximable, ridge)
    together: Any = add(smooth) if smooth else None
    return Split(smooth=together, proximable=proximable)


def decompose(penalty: Penalty) -> Split:
    """Take a penalty apart into a smooth part and a part with a prox.

    L2 terms go with the part that has a prox, which makes its conjugate finite
    everywhere; other smooth terms go to the smooth part. Non-smooth terms are merged
    where that is exact (L1 and L21, in any proportion).

    Parameters
    ----------
    penalty : Penalty
        A penalty without unresolved fractions.

    Returns
    -------
    Split
        The parts, None where there is nothing.

    Raises
    ------
    IncompatibleError
        If two non-smooth terms do not combine exactly, or a term has neither gradient
        nor prox, or one is not convex.
    ParameterError
        If a fraction is not resolved.
    """
    if isinstance(penalty, Prepared):
        return penalty.split()
    _refuse_nonconvex(penalty.members if isinstance(penalty, Sum) else (penalty,))
    if not isinstance(penalty, Sum) and isinstance(penalty, Proximable):
        return Split(smooth=None, proximable=penalty)
    prox, ridges, smooth = _sorted(penalty)
    for term in prox:
        if isinstance(term, Composed):
            raise IncompatibleError(
                f"{term!r} has neither a gradient nor a proximal operator of W. Use Splitting, "
                "or solver='auto'."
            )
        if not isinstance(term, Proximable):
            raise IncompatibleError(
                f"{term!r} has neither a gradient nor a proximal operator. Use solver='auto'."
            )
    return _joined(prox, ridges, smooth)


def _sorted(penalty: Penalty) -> tuple[list[Penalty], list[Penalty], list[Penalty]]:
    """Return the terms of a penalty: not smooth, ridges, and otherwise smooth."""
    members = penalty.members if isinstance(penalty, Sum) else (penalty,)
    terms = [part for member in members for part in parts_of(member)]
    ridges = [term for term in terms if _ridge(term) is not None]
    others = [term for term in terms if _ridge(term) is None]
    smooth: list[Penalty] = [term for term in others if isinstance(term, Smooth)]
    return [term for term in others if not isinstance(term, Smooth)], ridges, smooth


def separate(penalty: Penalty) -> Split:
    """Take a penalty apart into a smooth part and convex parts with a prox each."""
    # Like :func:`decompose`, but terms that do not combine exactly stay apart. Parts that are
    # separable over rows come first, so that `proximable` is the one that makes rows zero;
    # L2 terms go with it.
    if isinstance(penalty, Prepared):
        return penalty.split()
    if not isinstance(penalty, Sum) and isinstance(penalty, Conjugate):
        return Split(smooth=None, proximable=penalty)
    terms, ridges, smooth = _sorted(penalty)
    for term in terms:
        if not isinstance(term, Conjugate | Composed):
            raise IncompatibleError(f"{term!r} is not known to be convex with a prox.")
    composed = [term for term in terms if isinstance(term, Composed)]
    plain = [term for term in terms if not isinstance(term, Composed)]
    active = [term for term in plain if term.strength != 0 or _forbids(term)]
    whole = _merged_groups(active or plain[:1])
    whole.sort(key=lambda term: not isinstance(term, RowSeparable))
    joined = _joined(whole[:1], ridges, smooth)
    return Split(joined.smooth, joined.proximable, (*whole[1:], *composed))


def _merged_groups(terms: Sequence[Penalty]) -> list[Any]:
    """Return the terms, those whose sum has an exact prox as one."""
    groups: list[Any] = []
    for term in terms:
        for i, group in enumerate(groups):
            together = merge((group, term))
            if together is not None:
                groups[i] = together
                break
        else:
            groups.append(term)
    return groups
