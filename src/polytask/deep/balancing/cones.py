"""Directions that harm no task: MGDA, UPGrad, PCGrad and CAGrad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from polytask._checks import nonnegative, positive_integer
from polytask._linalg import Array
from polytask._registry import saveable
from polytask.deep.balancing._cone import Cosines, nonnegative_minimum, solve_positive, solved
from polytask.deep.balancing.base import State, Weighed
from polytask.deep.balancing.simple import resumed, seeded
from polytask.exceptions import IncompatibleError


@saveable("deep.balancer.mgda")
@dataclass(frozen=True)
class MGDA:
    """The shortest vector in the convex hull of the gradients, times the number of tasks.

    The exact minimum-norm point, from one non-negative quadratic program. No task has a
    negative inner product with it. Tasks whose gradient is zero take no part and weigh 1:
    they would be the shortest vector, and stop all others. Losses may have any sign.

    References
    ----------
    Désidéri (2012), Multiple-gradient descent algorithm, theorem 2.2; Sener and Koltun (2018),
    Multi-task learning as multi-objective optimization, equation 3.
    """

    weighs_heads: ClassVar[bool] = False

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty state."""
        return State()

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return k times the weights of the shortest vector."""
        return solved(gramian, self._weights), state

    @staticmethod
    def _weights(cosines: Cosines) -> Array:
        """Solve ``min x' G x / 2 - sum x`` over x >= 0: the point sought, up to its length."""
        inverse = 1 / cosines.lengths
        scaled = inverse / inverse.max()
        x = nonnegative_minimum(cosines.ridged, scaled[None])[0] * scaled
        return len(x) * x / x.sum()


@saveable("deep.balancer.upgrad")
@dataclass(frozen=True)
class UPGrad:
    """The sum of the gradients, each made harmless to all tasks first.

    Every gradient is projected on the cone of directions that have no negative inner product
    with any gradient; T quadratic programs of size T, solved together. Without conflict all
    weights are 1. Losses may have any sign; tasks whose gradient is zero weigh 1.

    Parameters
    ----------
    max_tasks : int, default=200
        Largest number of tasks in a batch; the work grows with its fourth power.

    References
    ----------
    Quinton and Rey (2024), Jacobian descent for multi-objective optimization, section 3.
    """

    max_tasks: int = 200
    weighs_heads: ClassVar[bool] = False
    resolves_conflicts_only: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive_integer(self.max_tasks, "max_tasks", "UPGrad")

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty state."""
        return State()

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the weights of the sum of the projections."""
        if len(losses) > self.max_tasks:
            raise IncompatibleError(
                f"UPGrad solves a quadratic program for each of {len(losses)} tasks, more than "
                f"max_tasks={self.max_tasks}; MGDA or PCGrad cost less."
            )
        return solved(gramian, self._weights), state

    @staticmethod
    def _weights(cosines: Cosines) -> Array:
        """Add up ``e_i + x_i``, where ``x_i >= 0`` makes the norm of the direction smallest."""
        added = nonnegative_minimum(cosines.ridged, -cosines.matrix)
        return 1 + (cosines.lengths @ added) / cosines.lengths


@saveable("deep.balancer.pcgrad")
@dataclass(frozen=True)
class PCGrad:
    """The sum of the gradients, each without its parts against the others, one after another.

    All tasks are projected in one random order, drawn anew at each step: for one task it is
    as random as an order of its own. Losses may have any sign; tasks whose gradient is zero
    weigh 1.

    Parameters
    ----------
    seed : int, default=0
        Seed of the orders; the generator is part of the state.

    References
    ----------
    Yu, Kumar, Gupta, Levine, Hausman and Finn (2020), Gradient surgery for multi-task learning,
    algorithm 1.
    """

    seed: int = 0
    weighs_heads: ClassVar[bool] = False
    resolves_conflicts_only: ClassVar[bool] = True

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return the generator at its seed."""
        return State(common={"generator": seeded(self.seed)})

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the weights of the sum of what is left of the gradients."""
        generator = resumed(state)
        order = torch.randperm(len(losses), generator=generator).numpy()

        def weights(cosines: Cosines) -> Array:
            ranks = order[order < len(cosines.lengths)]
            return projected_in_order(cosines, ranks)

        after = State(common={"generator": generator.get_state()})
        return solved(gramian, weights), after


def projected_in_order(cosines: Cosines, order: Array) -> Array:
    """Return the weights of the sum of all gradients, each projected in the given order."""
    # Shapes: order (k,), result (k,).
    C, width = cosines.matrix[np.ix_(order, order)], 32
    k = len(C)
    added = np.zeros_like(C)
    for start in range(0, k, width):
        stop = min(start + width, k)
        products = C[:, start:stop] + added[:, :start] @ C[:start, start:stop]
        for j in range(start, stop):
            along = products[:, j - start] + added[:, start:j] @ C[start:j, j]
            added[:, j] = np.maximum(0.0, -along)
            added[j, j] = 0.0
    weights = np.empty(k)
    lengths = cosines.lengths[order]
    weights[order] = 1 + (lengths @ added) / lengths
    return weights


@saveable("deep.balancer.cagrad")
@dataclass(frozen=True)
class CAGrad:
    """The direction near the mean gradient that serves the worst task best.

    Among the vectors within ``c`` times the length of the mean gradient of it, the one whose
    smallest inner product with a gradient is largest; times the number of tasks. Losses may
    have any sign; tasks whose gradient is zero take no part and weigh 1. With one task the
    weight is 1 + c.

    Parameters
    ----------
    c : float, default=0.4
        Relative distance from the mean; 0 gives equal weights.

    References
    ----------
    Liu, Liu, Jin, Stone and Liu (2021), Conflict-averse gradient descent for multi-task learning,
    equation 3.
    """

    c: float = 0.4
    weighs_heads: ClassVar[bool] = False

    def __post_init__(self) -> None:
        nonnegative(self.c, "c", "CAGrad")

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty state."""
        return State()

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return k times the weights of the direction."""
        return solved(gramian, self._weights), state

    def _weights(self, cosines: Cosines) -> Array:
        """Raise the level that all inner products reach until the distance is used up."""
        k, lengths = len(cosines.lengths), cosines.lengths / cosines.lengths.max()
        A = cosines.ridged
        products = (cosines.matrix @ lengths) / k
        radius = self.c * np.sqrt(max(lengths @ products / k, 0.0))
        if radius <= 1e-12:
            return np.ones(k)
        lowest = float((products * lengths).min())
        highest = float((products * lengths).max()) + radius * lengths.max()
        x = _at_distance(A, products, 1 / lengths, radius, (lowest, highest), cosines.tolerance)
        return 1 + k * x / lengths


def _at_distance(
    A: Array,
    products: Array,
    slopes: Array,
    radius: float,
    levels: tuple[float, float],
    tolerance: float,
) -> Array:
    """Return the correction ``x >= 0`` to the level at which ``x' A x`` is ``radius ** 2``."""
    # For a level t the correction minimises ``x' A x / 2 - (t slopes - products)' x``. Its length
    # is a convex, increasing function of t, and the root of a quadratic as long as the same
    # entries are positive; so the exact step is taken for these, and halving is a fall-back.
    lowest, highest = levels
    level = highest
    x = np.ones_like(products)
    for _ in range(200):
        x = nonnegative_minimum(A, (level * slopes - products)[None], x[None] > 0)[0]
        square = float(x @ A @ x)
        if abs(square - radius**2) <= tolerance * radius**2:
            break
        if square > radius**2:
            highest = level
        else:
            lowest = level
        exact = _exact_level(A, x, slopes, radius, level)
        level = exact if lowest < exact < highest else (lowest + highest) / 2
    return x


def _exact_level(A: Array, x: Array, slopes: Array, radius: float, level: float) -> float:
    """Return the level at which the distance fits, were the same entries positive there."""
    at = np.flatnonzero(x > 0)
    if not len(at):
        return np.inf
    inner = A[np.ix_(at, at)]
    rate = solve_positive(inner, slopes[at])
    image = inner @ rate
    a, b, c = rate @ image, x[at] @ image, x[at] @ inner @ x[at] - radius**2
    return float(level + (np.sqrt(max(b * b - a * c, 0.0)) - b) / a)
