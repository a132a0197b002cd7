"""One task pulled to known coefficients: in closed form, by Newton's method, or as a program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.losses import LogLink, Loss, PiecewiseLinear, Squared, SquareRoot
from polytask.transfer._basis import Basis, Quadratic, basis_of
from polytask.transfer._chance import SURE, SUREST, beats, difference
from polytask.transfer._kinked_rows import Kinked

Array = NDArray[np.float64]

# Below so many rows candidates are not told apart.
FEW = 5
_FOLDS = 5
_STEPS = 100
_SETTLED = 1e-12
_SHORT = 1e-6
# Less than this share of a row that is left to its residual is rounding.
_ALONE = 1e-10
_ENOUGH = 0.1


@dataclass(frozen=True, eq=False)
class Rows:
    """The labelled rows of one task."""

    # Shapes: X (n_rows, n_features), y (n_rows,), weight (n_rows,).

    X: Any
    y: Array
    weight: Array
    loss: Loss

    def part(self, index: NDArray[np.intp]) -> Rows:
        """Return some of the rows."""
        return Rows(self.X[index], self.y[index], self.weight[index], self.loss)

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


def learn(rows: Rows, start: Line, pull: Quadratic, grid: Grid) -> Pulled:
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


def log_evidence(rows: Rows, start: Line, pull: Quadratic) -> float:
    """Return the log marginal likelihood of rows under a pull, up to a constant."""
    # The pull is a normal prior. Losses in a unit are the logarithms of densities at their most
    # likely scale: normal for the squared loss, which is exact; for others Laplace's
    # approximation.
    return _solver(rows, start.eta(rows.X), pull).log_evidence()


def _solver(rows: Rows, eta: Array, pull: Quadratic) -> _Ridge | _ByFolds:
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

    def __init__(self, rows: Rows, basis: Basis, eta: Array) -> None:
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

    def __init__(self, rows: Rows, basis: Basis, eta: Array) -> None:
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
            eta = self._eta[fold] + self.basis.rows(fold) @ u
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
            fits = 0.5 * n * np.log(2.0 * scale) if _has_scale(loss) else value
        return float(-fits - 0.5 * np.linalg.slogdet(hessian).logabsdet)

    def coordinates(self, strength: float) -> Array:
        """Return the coordinates of the answer, of shape (r, n_columns)."""
        if np.isinf(strength):
            return np.zeros((self.basis.Z.shape[1], self._eta.shape[1]))
        return self._solve(np.arange(len(self._eta)), strength)

    def _solve(self, index: NDArray[np.intp], strength: float) -> Array:
        part = self._rows.part(index)
        fit = _Penalised(part, self.basis.rows(index), self._eta[index], strength)
        if isinstance(part.loss, PiecewiseLinear):
            return fit.least_kinked(part.loss)
        return fit.least_smooth()


@dataclass(frozen=True, eq=False)
class _Penalised:
    """The losses of some rows plus a ridge penalty, as a function of coordinates."""

    rows: Rows
    Z: Array
    eta: Array
    strength: float

    def value(self, u: Array) -> float:
        """Return the value at coordinates of shape (r, n_columns)."""
        losses = self.rows.losses(self.eta + self.Z @ u)
        return float(self.rows.weight @ losses) + 0.5 * self.strength * float((u**2).sum())

    def least_kinked(self, loss: PiecewiseLinear) -> Array:
        """Return the coordinates of the least value of a loss with a kink."""
        weight = self.rows.weight
        offset = self.eta[:, 0] - self.rows.y
        rows = Kinked(self.Z, offset, loss.lower * weight, loss.upper * weight, self.strength)
        return rows.solve()[:, None]

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
                self.value(u - length * step) > value - 0.1 * length * promise and length > _SHORT
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


def _has_scale(loss: Loss) -> bool:
    """Say whether the noise of a loss has a free factor: numbers in a unit, or amounts."""
    if isinstance(loss, LogLink):
        return loss.has_dispersion
    return loss.follows_units and not loss.is_classifier


def _shaped(eta: Array, loss: Loss) -> Array:
    """Return predictors as the loss takes them: without a last axis if it has one output."""
    return eta[:, 0] if loss.n_outputs(2) == 1 else eta
