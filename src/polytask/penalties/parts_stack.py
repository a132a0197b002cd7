"""Parts as one matrix: U_1 on top of U_2 and so on, so that ordinary solvers can move them.

The penalty of the stack is the sum of those of its blocks of rows. Where every block is
penalised by rows, so is the stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, final

import numpy as np

from polytask._linalg import Array
from polytask.exceptions import IncompatibleError
from polytask.penalties.base import (
    Conjugate,
    Nonconvex,
    NullStrength,
    Penalty,
    Proximable,
    Quadratic,
    RowSeparable,
    about,
    capabilities_of,
)
from polytask.penalties.decomposition import Split, SplitPenalty, decompose
from polytask.penalties.parts import Parts


@final
class Blocks(Quadratic, RowSeparable, Conjugate):
    """A function of a stack that is a sum over its blocks of rows; a block may have no term."""

    def __init__(self, terms: Sequence[Any], height: int) -> None:
        self.terms = tuple(terms)
        self.height = height

    @cached_property
    def capabilities(self) -> frozenset[type]:
        """What all blocks can do; a block without a term can do anything."""
        able = [capabilities_of(term) for term in self.terms if term is not None]
        if not able:
            return frozenset({Proximable, RowSeparable, Conjugate})
        return frozenset.intersection(*able)

    def _pairs(self, W: Array) -> list[tuple[Any, Array]]:
        blocks = np.reshape(W, (len(self.terms), self.height, W.shape[-1]))
        return list(zip(self.terms, blocks, strict=True))

    def value(self, W: Array) -> float:
        """Return the sum of the values of the blocks."""
        return sum(float(term.value(part)) for term, part in self._pairs(W) if term is not None)

    def gradient(self, W: Array) -> Array:
        """Return the gradients of the blocks, one on top of the other."""
        return np.concatenate(
            [0.0 * part if term is None else term.gradient(part) for term, part in self._pairs(W)]
        )

    def curvature(self) -> float:
        """Return the largest curvature of a block."""
        return max(float(term.curvature()) for term in self.terms if term is not None)

    def apply(self, W: Array) -> Array:
        """Return the Hessians of the blocks applied to them."""
        return np.concatenate(
            [0.0 * part if term is None else term.apply(part) for term, part in self._pairs(W)]
        )

    def diagonal(self, n_columns: int) -> np.ndarray:
        """Return the largest diagonal of a block, of shape (n_columns,)."""
        found = [term.diagonal(n_columns) for term in self.terms if term is not None]
        return np.asarray(np.max(found, axis=0))

    def conjugate(self, Z: Array) -> float:
        """Return the sum of the conjugates of the blocks."""
        # A block without a term is free, so its slope must be 0.
        return sum(
            (float("inf") if part.any() else 0.0) if term is None else float(term.conjugate(part))
            for term, part in self._pairs(Z)
        )

    def feasible_scale(self, Z: Array) -> float:
        """Return the smallest of those of the blocks."""
        return min(
            (float("inf") if not part.any() else 0.0)
            if term is None
            else float(term.feasible_scale(part))
            for term, part in self._pairs(Z)
        )

    def prox(self, W: Array, step: float) -> Array:
        """Return the prox of every block."""
        return np.concatenate(
            [part if term is None else term.prox(part, step) for term, part in self._pairs(W)]
        )

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of rows of the stack."""
        count = len(self.terms)
        positions = np.arange(count * self.height)[index]
        steps = np.broadcast_to(step, len(rows))
        found = 1.0 * rows
        for k, term in enumerate(self.terms):
            own = slice(k * self.height, (k + 1) * self.height)
            # All rows of a block lie together; a selection of them may not.
            whole = len(rows) == count * self.height
            chosen: Any = own if whole else positions // self.height == k
            if term is not None:
                local = positions[chosen] - k * self.height
                found[chosen] = term.prox_rows(rows[chosen], local, steps[chosen])
        return found


@final
class Stack(NullStrength, SplitPenalty):
    """The penalty of a stack of parts, as solvers ask for it."""

    def __init__(self, parts: Parts, height: int) -> None:
        self.parts = parts
        self.height = height
        splits = [_split(member) for member in parts.members]
        smooth = [split.smooth for split in splits]
        smooth_blocks = (
            Blocks(smooth, height) if any(term is not None for term in smooth) else None
        )
        self._found = Split(smooth_blocks, Blocks([split.proximable for split in splits], height))

    @property
    def capabilities(self) -> frozenset[type]:
        """A null strength, if the parts have one."""
        return capabilities_of(self.parts) & {NullStrength}

    @property
    def strength(self) -> float | None:
        """The strength of the parts."""
        return self.parts.strength

    @property
    def null_point(self) -> Array | None:
        """The null points of the members, None if all are zero."""
        points = [member.null_point for member in self.parts.members]
        given = next((point for point in points if point is not None), None)
        if given is None:
            return None
        return np.concatenate([0.0 * given if point is None else point for point in points])

    def value(self, W: Array) -> float:
        """Return the sum of the values of the blocks."""
        return Blocks(self.parts.members, self.height).value(W)

    def split(self) -> Split:
        """Return the smooth and the proximable part."""
        return self._found

    def null_strength(self, gradient: Array) -> float:
        """Return that of the parts; every block of the gradient is the same."""
        return self.parts.null_strength(gradient[: self.height])


def stacked(parts: Parts, height: int) -> Any:  # noqa: ANN401 - stands for a Penalty in solvers
    """Return the penalty of the parts of a matrix with `height` rows, stacked."""
    return Stack(parts, height)


def _split(member: Penalty) -> Split:
    """Return the split of a member, which has to be convex."""
    found = None if isinstance(member, Nonconvex) else decompose(member)
    if found is None or not isinstance(found.proximable, Conjugate | None):
        raise IncompatibleError(about(member, "penalty.refusal.part"))
    return found
