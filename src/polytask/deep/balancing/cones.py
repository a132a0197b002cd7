"""Directions that harm no task: MGDA, UPGrad, PCGrad and CAGrad."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from polytask._checks import nonnegative, positive_integer
from polytask._linalg import Array
from polytask._registry import saveable
from polytask.deep.balancing.base import State, Stateless, Weighed, resumed, seeded
from polytask.exceptions import ConvergenceWarning, IncompatibleError
from polytask.messages import LazyMessage

# Gradients smaller than the largest by this factor count as zero; the squares are compared.
NEGLIGIBLE = 1e-14**2
# Of the unit diagonal; keeps the programs strictly convex where gradients depend on each other.
RIDGE = 1e-10
# Gramians of more tasks stay in single precision where they came in it.
LARGEST_IN_DOUBLE = 256
# Block exchanges that may fail to improve before single ones take over.
PATIENCE = 3
# Steps towards a first guess: each costs a small part of a linear system.
GUESSING = 12


@dataclass(frozen=True)
class Cosines:
    """The Gramian of gradients that are not zero, split into directions and lengths."""

    # Shapes: matrix (k, k), lengths (k,).

    matrix: Array
    lengths: Array
    precision: float

    @property
    def ridged(self) -> Array:
        """The matrix, positive definite also where the Gramian is not, for rounding or rank."""
        k = len(self.lengths)
        ridge = max(RIDGE, 4 * k * self.precision)
        A: Array = self.matrix.copy()
        A[np.diag_indices(k)] += ridge
        return A

    @property
    def tolerance(self) -> float:
        """To what relative error a problem can be solved, at most 1e-9."""
        return max(1e-9, 32 * float(np.finfo(self.matrix.dtype).eps))


def solve_positive(A: Array, b: Array) -> Array:
    """Solve ``A x = b`` for a positive definite A, by Cholesky."""
    factor = scipy.linalg.cho_factor(A, check_finite=False)
    return scipy.linalg.cho_solve(factor, b, check_finite=False)


def solved(gramian: Tensor, rule: Callable[[Cosines], Array]) -> Tensor:
    """Apply a rule for weights to the tasks whose gradient is not zero; the others weigh 1."""
    # Shapes: gramian (k, k), result (k,).
    single = gramian.dtype == torch.float32 and len(gramian) > LARGEST_IN_DOUBLE
    G = gramian.detach().cpu().to(torch.float32 if single else torch.float64).numpy()
    squares = np.diagonal(G)
    alive = squares > NEGLIGIBLE * squares.max(initial=0.0)
    weights = np.ones(len(G))
    if alive.any():
        lengths = np.sqrt(squares[alive])
        inner = G if alive.all() else G[np.ix_(alive, alive)]
        matrix = inner / (lengths[:, None] * lengths)
        precision = float(torch.finfo(gramian.dtype).eps)
        weights[alive] = rule(Cosines((matrix + matrix.T) / 2, lengths, precision))
    return torch.from_numpy(weights).to(gramian)


class GramianRule(Stateless, ABC):
    """A balancer of gradients that is a formula of their Gramian, for those that are not zero."""

    weighs_heads: ClassVar[bool] = False

    @abstractmethod
    def _weights(self, cosines: Cosines) -> Array:
        """Return the weights of the tasks whose gradient is not zero, (k,)."""

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the weights; tasks whose gradient is zero weigh 1."""
        return solved(gramian, self._weights), state


def nonnegative_minimum(A: Array, B: Array, free: Array | None = None) -> Array:
    """Minimise ``x' A x / 2 - b' x`` over ``x >= 0`` for every row b of B."""
    # Shapes: A (k, k), B (m, k), free (m, k), result (m, k).
    # Block principal pivoting: a guess of the positive entries gives x by one linear system;
    # entries that contradict the guess change sides, all at once as long as that helps, else
    # the last of them only, which ends for every positive definite A.
    m, k = B.shape
    free = _guess(A, B) if free is None else free.copy()
    X = _given_free(A, B, free)
    slack = X @ A - B
    fewest, patience = np.full(m, k + 1), np.full(m, PATIENCE)
    for _ in range(20 * k + 100):
        size = np.abs(B).max(axis=1, initial=0.0) + k * np.abs(X).max(axis=1, initial=0.0)
        slip = 64 * np.finfo(A.dtype).eps * size[:, None]
        wrong = np.where(free, X, slack) < -slip
        count = wrong.sum(axis=1)
        open_rows = np.flatnonzero(count)
        if not len(open_rows):
            return np.maximum(X, 0.0)
        better = count < fewest
        fewest, patience = np.where(better, count, fewest), np.where(better, PATIENCE, patience)
        single = open_rows[~better[open_rows] & (patience[open_rows] <= 0)]
        patience = np.where(better, patience, patience - 1)
        # Of these the last entry only.
        last = k - 1 - np.argmax(wrong[single, ::-1], axis=1)
        wrong[single] = np.arange(k) == last[:, None]
        free ^= wrong
        X[open_rows] = _given_free(A, B[open_rows], free[open_rows])
        slack[open_rows] = X[open_rows] @ A - B[open_rows]
    message = LazyMessage("warn.cone_weights", {"programs": int(m), "tasks": int(k)})
    warnings.warn(ConvergenceWarning(message), stacklevel=2)
    return np.maximum(X, 0.0)


def _guess(A: Array, B: Array) -> Array:
    """Return where accelerated projected gradients are positive after a few steps."""
    step = 1 / np.abs(A).sum(axis=1).max()
    X = np.maximum(0.0, step * B)
    ahead, weight = X, 1.0
    for _ in range(GUESSING):
        after = np.maximum(0.0, ahead - step * (ahead @ A - B))
        next_weight = (1 + (1 + 4 * weight**2) ** 0.5) / 2
        ahead = after + (weight - 1) / next_weight * (after - X)
        X, weight = after, next_weight
    free: Array = X > 0
    return free


def _given_free(A: Array, B: Array, free: Array) -> Array:
    """Return the minimisers whose entries outside `free` are zero."""
    # All rows are solved together, each with as many unknowns as the row that has most; where it
    # has fewer, the others are bound to zero by a one on the diagonal.
    X = np.zeros_like(B)
    width = int(free.sum(axis=1).max(initial=0))
    if len(B) == 1:
        at = np.flatnonzero(free[0])
        if len(at):
            X[0, at] = solve_positive(A[np.ix_(at, at)], B[0, at])
        return X
    k = len(A)
    padded = np.eye(k + width)
    padded[:k, :k] = A
    at = np.argsort(~free, axis=1, kind="stable")[:, :width]
    used = np.take_along_axis(free, at, axis=1)
    taken = np.where(used, at, k + np.arange(width))
    systems = padded.ravel().take(taken[:, :, None] * (k + width) + taken[:, None, :])
    known = np.where(used, np.take_along_axis(B, at, axis=1), 0.0)
    np.put_along_axis(X, at, np.linalg.solve(systems, known[..., None])[..., 0], axis=1)
    return X


@saveable("deep.balancer.mgda")
@dataclass(frozen=True)
class MGDA(GramianRule):
    """The shortest vector in the convex hull of the gradients, times the number of tasks.

    The exact minimum-norm point, from one non-negative quadratic program. No task has a
    negative inner product with it. Tasks whose gradient is zero take no part and weigh 1:
    they would be the shortest vector, and stop all others. Losses may have any sign.

    References
    ----------
    Désidéri (2012), Multiple-gradient descent algorithm, theorem 2.2; Sener and Koltun (2018),
    Multi-task learning as multi-objective optimization, equation 3.
    """

    def _weights(self, cosines: Cosines) -> Array:
        """Solve ``min x' G x / 2 - sum x`` over x >= 0: the point sought, up to its length."""
        inverse = 1 / cosines.lengths
        scaled = inverse / inverse.max()
        x = nonnegative_minimum(cosines.ridged, scaled[None])[0] * scaled
        return len(x) * x / x.sum()


@saveable("deep.balancer.upgrad")
@dataclass(frozen=True)
class UPGrad(GramianRule):
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
    resolves_conflicts_only: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive_integer(self.max_tasks, "max_tasks", "UPGrad")

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the weights of the sum of the projections."""
        if len(losses) > self.max_tasks:
            fields = {"tasks": len(losses), "most": str(self.max_tasks)}
            raise IncompatibleError(LazyMessage("deep.refusal.programs", fields))
        return super().weigh_gradients(losses, gramian, state)

    def _weights(self, cosines: Cosines) -> Array:
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
class CAGrad(GramianRule):
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

    def __post_init__(self) -> None:
        nonnegative(self.c, "c", "CAGrad")

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
