"""One task pulled to known coefficients, in closed form, by Newton, or for nonsmooth losses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._linalg import is_sparse
from polytask.exceptions import ConvergenceWarning
from polytask.losses import LogLink, Loss, PiecewiseLinear, Squared, SquareRoot
from polytask.messages import LazyMessage
from polytask.transfer._chance import SURE, SUREST, beats, difference

Array = NDArray[np.float64]

# Directions whose length is below this share of the longest are rounding.
_ROUNDING = 3e-7
_STEPS = 100
# Of a search with kinks: its tolerance, a value near enough to 0 as a share of that at 0, a gap
# that is worth a warning, steps in a row that bring nothing, and the share of the way to the walls
# of the box that a step goes at most.
_TOL, _FAINT, _CLOSE, _PATIENCE, _SHORT = 1e-9, 1e-5, 1e-4, 10, 0.995


@dataclass(frozen=True, eq=False)
class QuadraticPull:
    """A pull of coefficients and of the level at the mean of the features."""

    # Shapes: mean (n_features,), strength (n_features,).

    mean: Array
    strength: Array
    level: float


@dataclass(frozen=True, eq=False)
class Basis:
    """Predictions and coefficients as functions of r coordinates."""

    # Shapes: Z (n_rows, r), back (n_features + 1, r), mean (n_features,).
    # With u the coordinates, predictions change by ``Z u`` and the pull is ``||u||^2 / 2``.

    Z: Array
    back: Array
    mean: Array

    def changes(self, u: Array) -> tuple[Array, Array]:
        """Return the changes of coefficients and intercepts."""
        # Shapes: u (r, n_columns), coef (n_columns, n_features), intercept (n_columns,).
        moved = self.back @ u
        return moved[:-1].T, moved[-1] - self.mean @ moved[:-1]


def basis_of(X: Any, pull: QuadraticPull) -> Basis:  # noqa: ANN401 - ndarray or CSR
    """Return the basis of some rows. Shapes: X (n_rows, n_features)."""
    strength = np.append(pull.strength, pull.level)
    free = np.isfinite(strength)
    # What is not held at all is held by a trace, so that one row cannot throw it anywhere.
    least = np.where(free, strength, 0.0).max(initial=0.0) * 1e-9 or 1.0
    give = np.where(free, 1.0 / np.sqrt(np.maximum(np.where(free, strength, 1.0), least)), 0.0)
    # Either Z or `back` is as large as the rows themselves, so that sparse ones may be dense here.
    rows = np.asarray(X.toarray() if is_sparse(X) else X, dtype=np.float64)
    scaled = np.column_stack([rows - pull.mean, np.ones(len(rows))]) * give
    left, values, right = np.linalg.svd(scaled, full_matrices=False)
    kept = values > _ROUNDING * values.max(initial=0.0)
    return Basis(left[:, kept] * values[kept], give[:, None] * right[kept].T, pull.mean)


def least_piecewise_linear(
    Z: Array, offset: Array, lower: Array, upper: Array, strength: float
) -> Array:
    """Return the u with the least ``sum max(lower r, upper r) + strength ||u||^2 / 2``."""
    # Shapes: Z (n_rows, r), offset, lower, upper (n_rows,), with ``r = offset + Z u``.
    # The dual asks for a slope of each row between ``lower`` and ``upper``: a quadratic program
    # with a box, solved by a primal-dual interior point method that predicts and corrects, until
    # value and bound agree to nine digits, or many steps in a row improve neither, as rounding
    # has it near the answer.
    best, bound, idle = np.zeros(Z.shape[1]), -np.inf, 0
    scale = least = float(np.maximum(lower * offset, upper * offset).sum())
    # Distances of the slopes to both walls of the box, and their forces: slopes of 0 are inside,
    # and forces are known that balance.
    spare = np.abs(offset).mean() + np.finfo(float).tiny
    forces = np.maximum([-offset, offset], 0.0) + spare
    inside = np.vstack([-lower, upper, forces])
    for _ in range(_STEPS):
        if least - bound <= _TOL * max(least, _FAINT * scale) or idle > _PATIENCE:
            break
        slope = _slope(inside, lower, upper)
        inside = _improved(inside, Z, (Z @ (Z.T @ slope)) / strength - offset, strength)
        slope = _slope(inside, lower, upper)
        u = -(Z.T @ slope) / strength
        r, square = offset + Z @ u, 0.5 * strength * float(u @ u)
        value = float(np.maximum(lower * r, upper * r).sum()) + square
        low = float(slope @ offset) - square
        # Numbers that overflowed are neither.
        idle = 0 if value < least or low > bound else idle + 1
        best, least = (u, value) if value < least else (best, least)
        bound = low if low > bound else bound
    if least - bound > _CLOSE * scale:
        message = LazyMessage("warn.kink", {"value": f"{(least - bound) / scale:.1g}"})
        warnings.warn(ConvergenceWarning(message), stacklevel=2)
    return best


def _slope(inside: Array, lower: Array, upper: Array) -> Array:
    up, down = inside[:2]
    return np.asarray(np.where(up < down, lower + up, upper - down))


def _improved(inside: Array, Z: Array, pull: Array, strength: float) -> Array:
    """Return distances and forces after one step: predicted, then corrected."""
    up, down, below, above = inside
    # Solves with ``Z Z' / strength + diag(root^2)``. Near the answer `root` is next to nothing for
    # some rows and without end for others: by an orthogonal basis, for products of the columns
    # would lose half of the digits.
    root = np.sqrt(below / up + above / down)
    ridge = np.sqrt(strength) * np.eye(Z.shape[1])
    q = np.linalg.qr(np.vstack([Z / root[:, None], ridge]))[0][: len(root)]
    mean = _mean_product(inside)
    first = _moves(inside, q, root, pull, np.zeros((2, len(root))))
    aim = (_mean_product(_after(inside, first, 1.0)) / mean) ** 3 * mean
    return _after(inside, _moves(inside, q, root, pull, aim - first[:2] * first[2:]), _SHORT)


def _moves(inside: Array, q: Array, root: Array, pull: Array, products: Array) -> Array:
    """Return the moves that bring the products of distances and forces to given values."""
    up, down, below, above = inside
    near, far = products
    right = (near / up - far / down - pull) / root
    d = (right - q @ (q.T @ right)) / root
    return np.array([d, -d, (near - below * d) / up - below, (far + above * d) / down - above])


def _after(inside: Array, moves: Array, share: float) -> Array:
    """Return distances and forces after a step that takes none of them below 0."""
    shrinks = moves < 0
    longest = float((-inside[shrinks] / moves[shrinks]).min(initial=np.inf))
    return np.asarray(inside + min(1.0, share * longest) * moves)


def _mean_product(inside: Array) -> float:
    return float((inside[:2] * inside[2:]).sum()) / inside[:2].size


# Below so many rows candidates are not told apart.
FEW = 5
_FOLDS = 5
# Of Newton's method: what a step has to promise, relative to the losses, and the shortest step.
_SETTLED, _LEAST = 1e-12, 1e-6
# Less than this share of a row that is left to its residual is rounding.
_ALONE = 1e-10


@dataclass(frozen=True, eq=False)
class TaskRows:
    """The labelled rows of one task."""

    # Shapes: X (n_rows, n_features), y (n_rows,), weight (n_rows,).

    X: Any
    y: Array
    weight: Array
    loss: Loss

    def part(self, index: NDArray[np.intp]) -> TaskRows:
        """Return some of the rows."""
        return TaskRows(self.X[index], self.y[index], self.weight[index], self.loss)

    @property
    def of_one_class(self) -> bool:
        """Whether all targets are of one class; never for numbers."""
        return self.loss.is_classifier and len(np.unique(self.y)) < 2

    def losses(self, eta: Array) -> Array:
        """Return the loss of every row for predictors of shape (n_rows, n_columns)."""
        return np.asarray(self.loss.value(self.y, _shaped(eta, self.loss)))

    def folds(self, count: int) -> list[NDArray[np.intp]]:
        """Deal the rows into folds, each class spread evenly over them."""
        order = np.argsort(self.y, kind="stable") if self.loss.is_classifier else slice(None)
        dealt = np.arange(len(self.y))[order]
        return [np.sort(dealt[k::count]) for k in range(min(count, len(dealt)))]


@dataclass(frozen=True, eq=False)
class Line:
    """Coefficients of shape (n_columns, n_features) and intercepts of shape (n_columns,)."""

    coef: Array
    intercept: Array

    def eta(self, X: Any) -> Array:  # noqa: ANN401 - ndarray or CSR
        """Return the predictors of some rows, of shape (n_rows, n_columns)."""
        return np.asarray(X @ self.coef.T) + self.intercept


@dataclass(frozen=True, eq=False)
class Grid:
    """Strengths to try, relative to the pull; the first is taken where rows are few."""

    strengths: tuple[float, ...]
    levels: tuple[float, ...] = (1.0,)
    fewest: int = 5
    many: int = 5


# The pull of the model, unless the rows speak clearly for another.
KNOWN = Grid((1.0, 0.01, 0.03, 0.1, 0.3, 3.0, 10.0, 30.0, 100.0, np.inf), many=20)
# In a new domain much less may be known.
WIDER = Grid(
    (1.0, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 3.0, 10.0, 30.0, 100.0, np.inf), levels=(1.0, 0.01)
)


@dataclass(frozen=True, eq=False)
class Pulled:
    """A task that was learned. Shapes: held_out (n_rows,)."""

    line: Line
    held_out: Array
    strength: float


def learn(rows: TaskRows, start: Line, pull: QuadraticPull, grid: Grid) -> Pulled:
    """Learn one task from its rows and a pull to known coefficients."""
    if not len(rows.y):
        return Pulled(start, np.zeros(0), np.inf)
    # Rows of one class are predicted the better the less holds the level, without end.
    few = len(rows.y) < grid.fewest or rows.of_one_class
    levels = grid.levels[:1] if few else grid.levels
    tried = grid.strengths[:1] if few else grid.strengths
    eta = start.eta(rows.X)
    solvers = [_solver(rows, eta, replace(pull, level=pull.level * share)) for share in levels]
    held_out = np.stack([solver.held_out(m) for solver in solvers for m in tried])
    sure = SURE if len(rows.y) >= grid.many else SUREST
    best = _clearly_best(held_out, rows.weight, tried * len(levels), sure)
    solver, strength = solvers[best // len(tried)], tried[best % len(tried)]
    coef, intercept = solver.basis.changes(solver.coordinates(strength))
    line = Line(start.coef + coef, start.intercept + intercept)
    return Pulled(line, held_out[best], strength)


def log_evidence(rows: TaskRows, start: Line, pull: QuadraticPull) -> float:
    """Return the log marginal likelihood of rows under a pull, up to a constant."""
    # The pull is a normal prior. Losses in a unit are the logarithms of densities at their most
    # likely scale: normal for the squared loss, which is exact; for others Laplace's
    # approximation.
    return _solver(rows, start.eta(rows.X), pull).log_evidence()


def _solver(rows: TaskRows, eta: Array, pull: QuadraticPull) -> _Ridge | _ByFolds:
    """Return what solves for every strength of a pull."""
    basis = basis_of(rows.X, pull)
    return (_Ridge if isinstance(rows.loss, Squared | SquareRoot) else _ByFolds)(rows, basis, eta)


def _clearly_best(
    held_out: Array, weight: Array, strengths: tuple[float, ...], sure: float
) -> int:
    """Return the strength to take, as its position; the first is that of the model."""
    # Another one is taken if the best beats the first beyond chance: that nearest to the first
    # which is within a standard error of the best.
    best = int(np.argmin(held_out @ weight))
    if best == 0 or not beats(held_out[best], held_out[0], weight, sure):
        return 0
    finite = np.isfinite(strengths)
    far = np.where(finite, np.abs(np.log(np.where(finite, strengths, 1.0))), np.inf)
    for k in np.argsort(far, kind="stable").tolist():
        mean, error = difference(held_out[k], held_out[best], weight)
        alike = (strengths[k] > 1.0) == (strengths[best] > 1.0)
        if alike and k != 0 and mean <= error:
            return int(k)
    return best


class _Ridge:
    """Squared loss: everything from one singular value decomposition."""

    def __init__(self, rows: TaskRows, basis: Basis, eta: Array) -> None:
        self.basis = basis
        self._root = np.sqrt(rows.weight)
        self._misfit = rows.y - eta[:, 0]
        self._left, self._values, turned = np.linalg.svd(
            self._root[:, None] * basis.Z, full_matrices=False
        )
        self._right = turned.T
        self._own = self._left.T @ (self._root * self._misfit)

    def held_out(self, strength: float) -> Array:
        """Return half the squared error of each row when it is left out."""
        if np.isinf(strength) or len(self._misfit) < 2:
            return np.asarray(0.5 * self._misfit**2)
        kept = self._values**2 / (self._values**2 + strength)
        left = self._root * self._misfit - self._left @ (kept * self._own)
        room = 1.0 - (self._left**2) @ kept
        # Without a row that alone decides a direction, nothing has moved along it.
        alone = room <= _ALONE
        misfit = left / (self._root * np.where(alone, 1.0, room))
        return np.asarray(0.5 * np.where(alone, self._misfit, misfit) ** 2)

    def log_evidence(self) -> float:
        """Return the log marginal likelihood with the noise at its best."""
        rest = max(float(np.sum((self._root * self._misfit) ** 2) - self._own @ self._own), 0.0)
        square = rest + float(self._own**2 @ (1.0 / (1.0 + self._values**2)))
        n = float(np.sum(self._root**2))
        fit = n * np.log(max(square / n, np.finfo(float).tiny))
        return -0.5 * float(fit + np.sum(np.log1p(self._values**2)))

    def coordinates(self, strength: float) -> Array:
        """Return the coordinates of the answer, of shape (r, 1)."""
        if np.isinf(strength):
            return np.zeros((len(self._right), 1))
        shrunk = self._values / (self._values**2 + strength)
        return np.asarray((self._right @ (shrunk * self._own))[:, None])


class _ByFolds:
    """Any other loss: solved in the coordinates of the basis, cross-validated."""

    def __init__(self, rows: TaskRows, basis: Basis, eta: Array) -> None:
        self._rows, self.basis, self._eta = rows, basis, eta
        self._folds = rows.folds(min(_FOLDS, len(rows.y)))

    def held_out(self, strength: float) -> Array:
        """Return the loss of each row under the model of the other folds."""
        losses = self._rows.losses(self._eta)
        if np.isinf(strength) or len(losses) < 2:
            return losses
        every = np.arange(len(losses))
        for fold in self._folds:
            u = self._solve(np.setdiff1d(every, fold), strength)
            eta = self._eta[fold] + self.basis.Z[fold] @ u
            losses[fold] = self._rows.part(fold).losses(eta)
        return losses

    def log_evidence(self) -> float:
        """Return the log marginal likelihood in Laplace's approximation."""
        u, loss = self.coordinates(1.0), self._rows.loss
        fit = _Penalised(self._rows, self.basis.Z, self._eta, 1.0)
        value, n = fit.value(u), float(self._rows.weight.sum())
        scale = max(value / n, np.finfo(float).tiny)
        if isinstance(loss, PiecewiseLinear):
            # An asymmetric Laplace density has a curvature on average, though no row has.
            curvature = -loss.lower * loss.upper / scale
            hessian = fit.hessian_of(np.full((len(self._eta), 1, 1), curvature))
            fits = n * np.log(scale)
        else:
            hessian = fit.hessian(u)
            # The noise of numbers in a unit, or of amounts, has a free factor.
            units = loss.follows_units and not loss.is_classifier
            free = loss.has_dispersion if isinstance(loss, LogLink) else units
            fits = 0.5 * n * np.log(2.0 * scale) if free else value
        return float(-fits - 0.5 * np.linalg.slogdet(hessian).logabsdet)

    def coordinates(self, strength: float) -> Array:
        """Return the coordinates of the answer, of shape (r, n_columns)."""
        if np.isinf(strength):
            return np.zeros((self.basis.Z.shape[1], self._eta.shape[1]))
        return self._solve(np.arange(len(self._eta)), strength)

    def _solve(self, index: NDArray[np.intp], strength: float) -> Array:
        part = self._rows.part(index)
        fit = _Penalised(part, self.basis.Z[index], self._eta[index], strength)
        if isinstance(part.loss, PiecewiseLinear):
            return fit.least_piecewise_linear(part.loss)
        return fit.least_smooth()


@dataclass(frozen=True, eq=False)
class _Penalised:
    """The losses of some rows plus a ridge penalty, as a function of coordinates."""

    rows: TaskRows
    Z: Array
    eta: Array
    strength: float

    def value(self, u: Array) -> float:
        """Return the value at coordinates of shape (r, n_columns)."""
        losses = self.rows.losses(self.eta + self.Z @ u)
        return float(self.rows.weight @ losses) + 0.5 * self.strength * float((u**2).sum())

    def least_piecewise_linear(self, loss: PiecewiseLinear) -> Array:
        """Return the coordinates of the least value of a loss with a kink."""
        offset, weight = self.eta[:, 0] - self.rows.y, self.rows.weight
        slopes = loss.lower * weight, loss.upper * weight
        return least_piecewise_linear(self.Z, offset, *slopes, self.strength)[:, None]

    def least_smooth(self) -> Array:
        """Return them by Newton's method, every step halved until the value falls."""
        u = np.zeros((self.Z.shape[1], self.eta.shape[1]))
        value, slope, step = self.at(u)
        first = abs(value)
        for _ in range(_STEPS):
            promise = float((slope * step).sum())
            # Relative to the losses, whatever their unit.
            if promise <= _SETTLED * max(first, abs(value)):
                break
            length = 1.0
            while (
                self.value(u - length * step) > value - 0.1 * length * promise and length > _LEAST
            ):
                length /= 2
            u = u - length * step
            value, slope, step = self.at(u)
        return u

    def at(self, u: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Newton step."""
        rows, width = self.rows, u.shape[1]
        at = _shaped(self.eta + self.Z @ u, rows.loss)
        slopes = np.asarray(rows.loss.gradient(rows.y, at)).reshape(-1, width)
        gradient = self.Z.T @ (rows.weight[:, None] * slopes) + self.strength * u
        step = np.linalg.solve(self.hessian(u), gradient.ravel()).reshape(u.shape)
        return self.value(u), gradient, step

    def hessian(self, u: Array) -> Array:
        """Return the second derivatives, of shape (u.size, u.size)."""
        width = u.shape[1]
        at = _shaped(self.eta + self.Z @ u, self.rows.loss)
        curved = np.asarray(self.rows.loss.curvature(self.rows.y, at))
        return self.hessian_of(curved.reshape(-1, width, width))

    def hessian_of(self, curved: Array) -> Array:
        """Return the second derivatives for curvatures of rows, of shape (n_rows, k, k)."""
        size, width = self.Z.shape[1], curved.shape[1]
        hessian = np.empty((size, width, size, width))
        for k, c in np.ndindex(width, width):
            weight = self.rows.weight * curved[:, k, c]
            hessian[:, k, :, c] = self.Z.T @ (weight[:, None] * self.Z)
        whole = size * width
        return np.asarray(hessian.reshape(whole, whole) + self.strength * np.eye(whole))


def _shaped(eta: Array, loss: Loss) -> Array:
    """Return predictors as the loss takes them: without a last axis if it has one output."""
    return eta[:, 0] if loss.n_outputs(2) == 1 else eta


# Factors of the variance of a level that are weighed against each other.
FACTORS: Array = 10.0 ** np.arange(-1.0, 3.1, 0.5)


def factor_shares(log_evidence: Array) -> Array:
    """Return the posterior probabilities of the factors under a Cauchy prior of the level."""
    # Shapes: log_evidence (..., n_factors).
    # The density of the log of the factor: 1 over the factor has a gamma distribution.
    weight = log_evidence - 0.5 * np.log(FACTORS) - 0.5 / FACTORS
    share = np.exp(weight - weight.max())
    return np.asarray(share / share.sum())


def level_factor(log_evidence: Callable[[float], float]) -> float:
    """Return the factor on the variance of the level for the rows of a new domain."""
    # The level of another domain may be one that no task had: instead of a normal it gets a
    # Cauchy prior of the same scale, which leaves levels near those known where they are and lets
    # go of one far off [1]_. That is a mixture of normal ones over the factor of the variance, and
    # what the new rows make of the mixture is the factor that is used.
    share = factor_shares(np.array([log_evidence(factor) for factor in FACTORS.tolist()]))
    return float(np.exp(share @ np.log(FACTORS)))
