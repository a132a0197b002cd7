"""Proximal gradient methods: with momentum and restarts, or with extrapolated steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.penalties import Conjugate, Parts, Penalty, RowSeparable, decompose
from polytask.solvers.base import Certificate, Solution, Solver, Status, refuse_kinks
from polytask.solvers.objective import Objective

Point = Sequence[Array]

# Added to the inner products of the steps, relative to their trace.
_RIDGE = 1e-12


def cancelling(products: Array) -> Array | None:
    """Return the weights, of sum 1, whose combination of steps is shortest."""
    # Shapes: products (n_steps, n_steps), result (n_steps,).
    size, count = float(np.trace(products)), len(products)
    if not 0 < size < np.inf:
        return None
    try:
        weights = np.linalg.solve(products + _RIDGE * size * np.eye(count), np.ones(count))
    except np.linalg.LinAlgError:
        return None
    total = float(weights.sum())
    return np.asarray(weights / total) if np.isfinite(total) and total != 0 else None


def combined(points: Sequence[Point]) -> list[Array] | None:
    """Combine iterates so that their steps cancel."""
    steps = np.stack([(b[0] - a[0]).ravel() for a, b in pairwise(points)])
    weights = cancelling(steps @ steps.T)
    if weights is None:
        return None
    return [_weighted(weights, parts) for parts in zip(*points[1:], strict=True)]


def _weighted(weights: Array, arrays: Point) -> Array:
    total = weights[0] * arrays[0]
    for weight, array in zip(weights[1:], arrays[1:], strict=True):
        total += weight * array
    return np.asarray(total)


@dataclass
class Extrapolation:
    """Collects iterates and combines them after every few."""

    depth: int = 5
    points: list[Point] = field(default_factory=list)

    def add(self, point: Point) -> list[Array] | None:
        """Remember an iterate; return an extrapolated one after every `depth` steps."""
        self.points.append(point)
        if len(self.points) <= self.depth:
            return None
        found = combined(self.points)
        self.points.clear()
        return found


_CHECK_EVERY = 10
_PATIENCE = 100
_GROWTH = 1.05
# Where the curvature has no bound: a step is shortened to half of it, up to so many times, and
# the next may be longer where the curvature seen is below a share of the one in use.
_HALVINGS = 100
_SLACK, _SHRINK = 0.7, 0.9
# Values that differ by less, relative to them, are compared by their gradients.
_SAME = 1e-10
_SMALLEST_SCALE = 1e-100


@saveable("solver.accelerated_gradient")
@dataclass(frozen=True)
class AcceleratedGradient(Solver):
    """Accelerated proximal gradient (FISTA) for any penalty with a proximal operator.

    Momentum restarts when it points uphill. Penalties on rows take one step length per
    feature, which makes the iterations independent of the features' scales. The curvature
    seen along the way is compared with the bound in use at every iteration and raises it
    where the bound was too low. Where there is no bound (losses with an exponential) every
    step is shortened until the quadratic model lies above the data term where it leads, which
    costs one more evaluation per iteration.

    References
    ----------
    A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear
    inverse problems", SIAM Journal on Imaging Sciences 2 (2009), section 4.
    B. O'Donoghue and E. Candès, "Adaptive restart for accelerated gradient schemes",
    Foundations of Computational Mathematics 15 (2015), gradient scheme.
    """

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        if not datafit.is_smooth:
            return refuse_kinks(datafit)
        try:
            decompose(penalty)
        except IncompatibleError as error:
            return str(error)
        return ""

    def solve(
        self,
        datafit: Datafit,
        penalty: Penalty,
        *,
        tol: float = 1e-6,
        max_iter: int = 10000,
        start: Solution | None = None,
    ) -> Solution:
        """Minimise; see :meth:`Solver.solve`."""
        refusal = self.accepts(datafit, penalty)
        if refusal:
            raise IncompatibleError(refusal)
        # Overflow is found in the values and said in a sentence.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = Objective(datafit, penalty)
            if objective.settled:
                return objective.rest()
            return _Run(objective, start).loop(tol, max_iter)


def carried_on(
    found: Solution, datafit: Datafit, penalty: Penalty, tol: float, max_iter: int
) -> Solution:
    """Go on where another solver stalled, with a method that moves all rows at once."""
    if found.status is not Status.STALLED:
        return found
    left = max(max_iter - found.n_iter, 1)
    other = AcceleratedGradient().solve(datafit, penalty, tol=tol, max_iter=left, start=found)
    nearer = other.certificate.relative < found.certificate.relative
    return replace(
        other if other.status.ok or nearer else found,
        n_iter=found.n_iter + other.n_iter,
        seconds=found.seconds + other.seconds,
    )


def row_scales(objective: Objective) -> Array:
    """Return square roots of the features' own curvatures, relative to the largest."""
    # Shapes: result (n_features,).
    d = objective.datafit.shape[0]
    if objective.rough is not None and not isinstance(objective.rough, RowSeparable):
        return np.ones(d)
    curved = objective.curved
    extra = 0.0 if curved is None else curved.curvature()
    scale = np.sqrt(objective.datafit.feature_scale() ** 2 + extra)
    top = float(scale.max(initial=0.0))
    if top <= 0:
        return np.ones(d)
    # A feature without curvature is constant: its gradient is rounding, and the shortest step
    # keeps it so.
    return np.asarray(np.where(scale > 0, np.maximum(scale / top, _SMALLEST_SCALE), 1.0))


@dataclass
class _State:
    """The iterate, the extrapolated point, the momentum, and the last point evaluated."""

    Z: Array
    V: Array
    t: float = 1.0
    last: tuple[Array, Array] | None = None


@dataclass(frozen=True, eq=False)
class _Answer:
    """An iterate with its evaluation, its value and its certificate."""

    W: Array
    at: Evaluation
    value: float
    certificate: Certificate


class _Run:
    """One minimisation."""

    def __init__(self, objective: Objective, start: Solution | None) -> None:
        self.objective = objective
        self.scale = row_scales(objective)
        self.bound = max(self._curvature(), np.finfo(float).tiny)
        self.zero = objective.null
        self.zero_residual = self._zero_residual()
        self.noise = self._noise()
        first = objective.first(start)
        self.state = _State(first, first)
        self.intercept = objective.zero.intercept if start is None else start.intercept

    def _curvature(self) -> float:
        data = self.objective.datafit.known_lipschitz(self.scale)
        if self.objective.curved is None:
            return data
        return data + self.objective.curved.curvature() / float(np.min(self.scale) ** 2)

    def _noise(self) -> float:
        """Size of rounding errors of gradients in scaled coordinates."""
        gradient = self.objective.zero.gradient / self.scale[:, None]
        return 100.0 * self.objective.datafit.precision * float(np.linalg.norm(gradient))

    def _zero_residual(self) -> float:
        found = self._residual(self.zero, self.objective.zero.gradient)
        return self.objective.first_residual(found, self.bound)

    def _prox(self, W: Array, gradient: Array) -> Array:
        rough = self.objective.rough
        steps = 1.0 / (self.bound * self.scale**2)
        moved = W - steps[:, None] * gradient
        if rough is None:
            return moved
        if isinstance(rough, RowSeparable):
            return np.asarray(rough.prox_rows(moved, slice(None), steps))
        return np.asarray(rough.prox(moved, float(steps[0]) if steps.size else 1.0))

    def _residual(self, W: Array, gradient: Array) -> float:
        move = (W - self._prox(W, gradient)) * self.scale[:, None]
        return float(np.linalg.norm(move)) * self.bound

    def _answer(self) -> _Answer:
        Z = self.state.Z
        W, at = self.objective.fitted(Z, self.objective.smooth(Z, self.intercept))
        self.intercept = at.intercept
        residual = self._residual(W, at.gradient)
        certificate = self.objective.certificate(W, at, residual, self.zero_residual)
        return _Answer(W, at, self.objective.value(W, at), certificate)

    def loop(self, tol: float, max_iter: int) -> Solution:
        """Iterate until the certificate is below the tolerance, or nothing moves any more."""
        best = self._answer()
        lowest, n_iter, idle = best.value, 0, 0
        while best.certificate.relative > tol and n_iter < max_iter and idle < _PATIENCE:
            for _ in range(min(_CHECK_EVERY, max_iter - n_iter)):
                self._advance()
                n_iter += 1
            found = self._answer()
            nearer = found.certificate.relative < 0.999 * best.certificate.relative
            lower = found.value < lowest - 1e-14 * self.objective.reference
            idle = 0 if nearer or lower else idle + 1
            lowest = min(lowest, found.value)
            if found.certificate.relative < best.certificate.relative:
                best = found
        status = Status.MAX_ITER if n_iter >= max_iter else Status.STALLED
        if best.certificate.relative <= tol:
            status = Status.CONVERGED
        return self.objective.finish(best.W, best.at, best.certificate, status, n_iter)

    def _advance(self) -> None:
        state = self.state
        at = self.objective.smooth(state.V, self.intercept)
        if not np.isfinite(at.value):
            # Momentum led to where the losses overflow: go on from the last step.
            state.V, state.t = state.Z, 1.0
            at = self.objective.smooth(state.V, None)
        self.intercept = at.intercept
        if self.objective.datafit.is_bounded:
            self._watch_curvature(state.V, at.gradient)
            Z = self._prox(state.V, at.gradient)
        else:
            Z = self._backtracked(state.V, at)
        weight = self.scale[:, None] ** 2
        if float(np.sum((state.V - Z) * (Z - state.Z) * weight)) > 0:
            state.t = 1.0
        t = (1.0 + np.sqrt(1.0 + 4.0 * state.t**2)) / 2.0
        state.V = Z + (state.t - 1.0) / t * (Z - state.Z)
        state.Z, state.t = Z, t

    def _backtracked(self, V: Array, at: Evaluation) -> Array:
        """Return the step that is short enough for its model to lie above the data term."""
        for k in range(_HALVINGS):
            Z = self._prox(V, at.gradient)
            new = self.objective.smooth(Z, at.intercept)
            move = Z - V
            length = float(np.sum((move * self.scale[:, None]) ** 2))
            seen = float(np.sum(move * (new.gradient - at.gradient)))
            rise = new.value - at.value - float(np.sum(move * at.gradient))
            if abs(new.value - at.value) <= _SAME * abs(at.value):
                # Twice what values would say, had they the digits.
                rise = 0.5 * seen
            if rise <= 0.5 * self.bound * length + self.noise * np.sqrt(length):
                if k == 0 and seen < _SLACK * self.bound * length:
                    self._use(max(_SHRINK * self.bound, _GROWTH * seen / length))
                return Z
            self._use(2.0 * self.bound)
        return V

    def _use(self, bound: float) -> None:
        """Use another bound of the curvature from now on."""
        self.bound = bound
        self.zero_residual = self._zero_residual()

    def _watch_curvature(self, V: Array, gradient: Array) -> None:
        """Raise the bound where the curvature between two points exceeds it."""
        last, self.state.last = self.state.last, (V, gradient)
        if last is None:
            return
        move = V - last[0]
        length = float(np.linalg.norm(move * self.scale[:, None]))
        seen = float(np.sum(move * (gradient - last[1])))
        # Between points that are close, what differs in their gradients is rounding.
        if seen - self.noise * length > _GROWTH * self.bound * length**2:
            self.state.t = 1.0
            self._use(_GROWTH * seen / length**2)


# Steps are this many times 1 / curvature: below 2 the plain iteration still contracts.
_LONG = 1.7
# Lanczos may fall short of the largest curvature by as much.
_SHORTFALL = 1.02
_MEMORY = 10
# A certificate is asked for when the residual promises it and has fallen, or after so many steps.
_NEAR = 1.5
_FALLEN = 0.9
_MOST_BETWEEN = 15
# An extrapolated step may raise the residual by so much before it is taken back.
_WORSE = 2.0
_MOST_CHECKS_IDLE = 10


@saveable("solver.extrapolated_gradient")
@dataclass(frozen=True)
class ExtrapolatedGradient(Solver):
    """Proximal gradient whose fixed-point iteration is extrapolated (Anderson acceleration).

    For the squared loss and penalties that a prox treats as a whole, for example on singular
    values: once the rank has settled the iteration is nearly linear, and combining its last
    steps takes about half as many as momentum does. A step that raises the residual is
    replaced by a plain one, which never does. Parts of rows take one step length per feature.

    References
    ----------
    V. Mai and M. Johansson, "Anderson acceleration of proximal gradient methods", ICML
    (2020), algorithm 2.
    """

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        try:
            split = decompose(penalty)
        except IncompatibleError as error:
            return str(error)
        rough = split.proximable
        rows = isinstance(rough, RowSeparable) and not isinstance(rough, Parts)
        whole = isinstance(rough, Conjugate) and not rows
        if not whole or not datafit.is_quadratic or not penalty.strength:
            return (
                "ExtrapolatedGradient needs the squared loss and a convex penalty that is not a "
                "sum over rows, unless of parts, and has a strength > 0; got "
                f"{penalty!r}. Use AcceleratedGradient, or solver='auto'."
            )
        return ""

    def solve(
        self,
        datafit: Datafit,
        penalty: Penalty,
        *,
        tol: float = 1e-6,
        max_iter: int = 10000,
        start: Solution | None = None,
    ) -> Solution:
        """Minimise; see :meth:`Solver.solve`."""
        refusal = self.accepts(datafit, penalty)
        if refusal:
            raise IncompatibleError(refusal)
        # Overflow is found in the values and said in a sentence.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = Objective(datafit, penalty)
            if objective.settled:
                return objective.rest()
            found = _ExtrapolatedRun(objective).loop(tol, max_iter, start)
        return carried_on(found, datafit, penalty, tol, max_iter)


class Memory:
    """The last points that the plain step gave, and how far each had moved."""

    def __init__(self, size: int) -> None:
        self.points = np.zeros((_MEMORY, size))
        self.moves = np.zeros((_MEMORY, size))
        self.gram = np.zeros((_MEMORY, _MEMORY))
        self.count = 0

    def add(self, point: Array, move: Array) -> None:
        """Remember a step in place of the oldest."""
        k = self.count % _MEMORY
        self.points[k], self.moves[k] = point.ravel(), move.ravel()
        self.count += 1
        held = self.held
        self.gram[k, :held] = self.gram[:held, k] = self.moves[:held] @ self.moves[k]

    @property
    def held(self) -> int:
        """Number of steps remembered."""
        return min(self.count, _MEMORY)

    def combined(self) -> Array | None:
        """Return the affine combination of points whose moves nearly cancel."""
        if self.held < 2:
            return None
        weights = cancelling(self.gram[: self.held, : self.held])
        return None if weights is None else np.asarray(weights @ self.points[: self.held])

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0


@dataclass(frozen=True, eq=False)
class _Step:
    """A point, its prox with the evaluation there, and the point that a plain step gives."""

    point: Array
    W: Array
    at: Evaluation
    plain: Array
    scale: Array

    @property
    def move(self) -> Array:
        """How a plain step moves the point, in scaled coordinates."""
        return (self.plain - self.point) * self.scale

    @property
    def residual(self) -> float:
        """How far a plain step moves the point."""
        return float(np.linalg.norm(self.move))


@dataclass(frozen=True, eq=False)
class _ExtrapolatedAnswer:
    """An iterate with its certificate."""

    W: Array
    at: Evaluation
    certificate: Certificate


class _ExtrapolatedRun:
    """One minimisation."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        scale = row_scales(objective)
        self.scale = scale[:, None]
        bound = objective.datafit.known_lipschitz(scale) * _SHORTFALL
        if objective.curved is not None:
            bound += objective.curved.curvature() / float(np.min(scale) ** 2)
        self.bound = max(bound, float(np.finfo(float).tiny))
        zero = np.zeros(objective.datafit.shape)
        first = self._residual(zero, objective.zero.gradient)
        self.first = objective.first_residual(first, self.bound)

    def _prox(self, point: Array, step: float) -> Array:
        rough = self.objective.rough
        if isinstance(rough, RowSeparable):
            steps = step / self.scale[:, 0] ** 2
            return np.asarray(rough.prox_rows(point, slice(None), steps))
        return point if rough is None else np.asarray(rough.prox(point, step))

    def _moved(self, W: Array, gradient: Array, step: float) -> Array:
        return np.asarray(W - step / self.scale**2 * gradient)

    def _residual(self, W: Array, gradient: Array) -> float:
        moved = self._prox(self._moved(W, gradient, 1.0 / self.bound), 1.0 / self.bound)
        return float(np.linalg.norm((W - moved) * self.scale)) * self.bound

    def _answer(self, W: Array, at: Evaluation, residual: float) -> _ExtrapolatedAnswer:
        return _ExtrapolatedAnswer(W, at, self.objective.certificate(W, at, residual, self.first))

    def _step(self, point: Array, intercept: Array | None) -> _Step:
        step = _LONG / self.bound
        W = self._prox(point, step)
        at = self.objective.smooth(W, intercept)
        return _Step(point, W, at, self._moved(W, at.gradient, step), self.scale)

    def _begin(self, W: Array, at: Evaluation) -> _Step:
        plain = self._moved(W, at.gradient, _LONG / self.bound)
        return _Step(W, W, at, plain, self.scale)

    def loop(self, tol: float, max_iter: int, start: Solution | None) -> Solution:
        """Iterate until the certificate is below the tolerance, or nothing moves any more."""
        W, at = self.objective.null.copy(), self.objective.zero
        if start is not None:
            W, at = start.W.copy(), self.objective.smooth(start.W, start.intercept)
        best = self._answer(W, at, self._residual(W, at.gradient))
        memory, n_iter, idle, lowest = Memory(W.size), 0, 0, np.inf
        now = self._begin(W, at)
        while best.certificate.relative > tol and n_iter < max_iter and idle < _MOST_CHECKS_IDLE:
            most = min(_MOST_BETWEEN, max_iter - n_iter)
            share = min(_NEAR * tol / best.certificate.relative, _FALLEN)
            now, taken = self._run(now, memory, share, most)
            n_iter += taken
            found = self._answer(now.W, now.at, now.residual * self.bound / _LONG)
            if found.certificate.relative < 0.999 * best.certificate.relative:
                best, idle = found, 0
                continue
            # Where the certificate rests, the objective may still fall; its value costs extra.
            value = self.objective.value(now.W, now.at)
            lower = value < lowest - 1e-14 * self.objective.reference
            lowest, idle = min(value, lowest), 0 if lower else idle + 1
        status = Status.MAX_ITER if n_iter >= max_iter else Status.STALLED
        if best.certificate.relative <= tol:
            status = Status.CONVERGED
        best = self._answer(best.W, best.at, self._residual(best.W, best.at.gradient))
        return self.objective.finish(best.W, best.at, best.certificate, status, n_iter)

    def _run(self, now: _Step, memory: Memory, share: float, most: int) -> tuple[_Step, int]:
        """Step until the residual has fallen to a share; a certificate costs as much as a step."""
        first = now.residual
        for k in range(1, most + 1):
            now = self._advance(now, memory)
            if now.residual <= share * first:
                return now, k
        return now, most

    def _advance(self, now: _Step, memory: Memory) -> _Step:
        memory.add(now.plain * self.scale, now.move)
        jump = memory.combined()
        if jump is not None:
            new = self._step(jump.reshape(now.W.shape) / self.scale, now.at.intercept)
            if new.residual <= _WORSE * now.residual:
                return new
            memory.clear()
        new = self._step(now.plain, now.at.intercept)
        if new.residual > now.residual * (1 + 1e-6):
            # A plain step never does that unless the curvature was underestimated.
            memory.clear()
            self.bound *= 1.1
        return new
