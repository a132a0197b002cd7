"""How many parameters a penalised fit is worth: the divergence of its predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, LinAlgWarning, solve
from scipy.sparse.linalg import LinearOperator, gmres

from polytask.datafits import (
    Datafit,
    Intercepts,
    Samples,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    TaskMoments,
    collect_shared,
    collect_stacked,
)
from polytask.datafits.base import Array, LinearMap
from polytask.datafits.blocks import BlockStack
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage
from polytask.penalties import Penalty, Proximable, RowSeparable, Smooth
from polytask.solvers._conjugate_gradients import conjugate_gradients
from polytask.solvers._free_rows import hessian_of
from polytask.solvers.objective import Objective, with_smooth

Index = NDArray[np.intp]

# Moments of rows are taken while they are no more than this many numbers.
_MOMENTS = 1e7


def intercept_degrees(datafit: Datafit, W: Array) -> Array:
    """Return the degrees of freedom of the intercepts, beside those of the coefficients."""
    # Shapes: W (n_features, n_columns), result (n_columns,).
    # With the curvature C of the losses in the intercepts and that of their pull K they are the
    # trace of ``(C + K)^-1 C``: one for a free intercept, one for those that are tied together.
    response = _intercept_response(with_moments(datafit, W), W)
    found = np.zeros(W.shape[1])
    for owned, curvature in response.curvature:
        whole = np.diag(curvature) if curvature.ndim == 1 else curvature
        for k, column in enumerate(owned):
            right = np.zeros(W.shape[1])
            right[owned] = whole[:, k]
            found[column] = response.solve(right)[column]
    return found


def with_moments(datafit: Datafit, W: Array) -> Datafit:
    """Return a data term from moments with the same Hessian at W; itself if there is none."""
    # Shapes: W (n_features, n_columns).
    # Rows with one prediction each curve as those of a squared loss with other weights do. Of the
    # moments those of the targets are left at zero: the value is another.
    if not isinstance(datafit, Samples):
        return datafit
    d, columns = datafit.shape
    blocks = [block for block in datafit.blocks if isinstance(block, ScalarBlock)]
    if len(blocks) < len(datafit.blocks) or columns * d * d > _MOMENTS:
        return datafit
    predictions = datafit.evaluate(W).predictions or []
    second, mean, scale = np.zeros((columns, d, d)), np.zeros((d, columns)), np.zeros(columns)
    for block, eta in zip(blocks, predictions, strict=True):
        own = _moments(block, block.column_curvature(eta))
        second[block.columns] = own.second
        mean[:, block.columns] = own.x_mean
        scale[block.columns] = own.scale
    nothing = np.zeros(columns)
    moments = TaskMoments(second, np.zeros((d, columns)), nothing, mean, nothing, scale)
    return SquaredStatistics(moments, datafit.intercepts)


def _moments(block: ScalarBlock, weight: Array) -> TaskMoments:
    scale = block.design.collect(weight)
    if isinstance(block.design, Shared):
        return collect_shared(block.design, np.zeros_like(weight), weight, scale)
    return collect_stacked(block.design, np.zeros_like(weight), weight, scale)


@dataclass(frozen=True, eq=False)
class _InterceptResponse:
    """How intercepts answer to coefficients: curvatures in both, at one W."""

    curvature: list[tuple[Index, Array]]
    solve: LinearMap
    mixed: LinearMap
    mixed_adjoint: LinearMap


def _intercept_response(datafit: Datafit, W: Array) -> _InterceptResponse:
    if isinstance(datafit, SquaredStatistics):
        s = datafit.statistics
        return _InterceptResponse(
            [(np.arange(len(s.scale)), s.scale)],
            datafit.level_solver,
            lambda V: s.scale * np.einsum("ij,ij->j", s.x_mean, V),
            lambda u: s.x_mean * (s.scale * u),
        )
    if isinstance(datafit, Samples):
        return _of_samples(datafit, W)
    raise IncompatibleError(LazyMessage("solver.refusal.intercepts_unknown"))


def _of_samples(datafit: Samples, W: Array) -> _InterceptResponse:
    stack = BlockStack(datafit.blocks, *datafit.shape)
    eta = datafit.evaluate(W).predictions or []
    curvatures = [block.hessian_product(e) for block, e in zip(datafit.blocks, eta, strict=True)]

    def bent(changes: list[Array]) -> list[Array]:
        return [product_of(change) for product_of, change in zip(curvatures, changes, strict=True)]

    def mixed_adjoint(u: Array) -> Array:
        spread = [np.broadcast_to(b.design.spread(u), b.shape) for b in datafit.blocks]
        return stack.adjoint(bent(spread))

    return _InterceptResponse(
        stack.intercept_curvature(eta),
        stack.intercept_solver(eta, datafit.intercepts),
        lambda V: stack.collect(bent(stack.forward(V))),
        mixed_adjoint,
    )


def data_hessian(datafit: Datafit, W: Array) -> LinearMap:
    """Return the Hessian of the data term without what the pull on intercepts adds to it."""
    whole = datafit.evaluate(W).hessian
    if not isinstance(datafit, SquaredStatistics | Samples) or not _is_pulled(datafit.intercepts):
        return whole
    response, pull = _intercept_response(datafit, W), _pull(datafit.intercepts, W.shape[1])

    def product(V: Array) -> Array:
        pulled = response.solve(pull(response.solve(response.mixed(V))))
        return np.asarray(whole(V) - response.mixed_adjoint(pulled))

    return product


def _is_pulled(intercepts: Intercepts) -> bool:
    return 0.0 < intercepts.own_curvature < np.inf


def hessian_matrices(datafit: Datafit, W: Array, free: Index) -> tuple[Array, Array]:
    """Return the Hessian of the data term for some coefficients, whole and as `data_hessian`."""
    # Shapes: W (n_features, n_columns), free (n_free,), whole, data (n_free, n_free).
    if not isinstance(datafit, SquaredStatistics):
        found = matrix_of(datafit.evaluate(W).hessian, free, W.shape)
        if not isinstance(datafit, Samples) or not _is_pulled(datafit.intercepts):
            return found, found
        return found, matrix_of(data_hessian(datafit, W), free, W.shape)
    response, s = _intercept_response(datafit, W), datafit.statistics
    row, column = np.divmod(free, W.shape[1])
    own = np.zeros((free.size, free.size))
    for k in np.unique(column):
        places = np.flatnonzero(column == k)
        second = s.second[k if len(s.second) > 1 else 0]
        own[np.ix_(places, places)] = s.scale[k] * second[np.ix_(row[places], row[places])]
    mean = s.x_mean[row, column]

    def with_intercepts(answer: LinearMap) -> Array:
        between = np.column_stack([answer(unit) for unit in np.eye(len(s.scale))])
        between = between[np.ix_(column, column)]
        return np.asarray(own + mean[:, None] * between * mean)

    def left(m: Array) -> Array:
        return np.asarray(s.scale * (m - response.solve(s.scale * m)))

    whole = with_intercepts(left)
    if not _is_pulled(datafit.intercepts):
        return whole, whole
    pull = _pull(datafit.intercepts, len(s.scale))
    return whole, with_intercepts(
        lambda m: left(m) - s.scale * response.solve(pull(response.solve(s.scale * m)))
    )


def matrix_of(product: LinearMap, free: Index, shape: tuple[int, int]) -> Array:
    """Return the matrix of a linear map for some coefficients, found by its products."""
    # Shapes: free (n_free,), result (n_free, n_free).
    found = np.empty((free.size, free.size))
    for k, place in enumerate(free):
        unit = np.zeros(shape)
        unit.flat[place] = 1.0
        found[:, k] = product(unit).ravel()[free]
    return found


def _pull(intercepts: Intercepts, columns: int) -> LinearMap:
    """Return the curvature of the pull on intercepts."""
    at_rest = intercepts.gradient(np.zeros(columns))
    return lambda b: intercepts.gradient(b) - at_rest


# Up to so many coefficients the trace is exact.
_DENSE = 2500
_PROBES = 128
_MOST_CYCLES = 400
# Steps between the starts of the iterative solver.
_RESTART = 60
_ACCURACY = 1e-8
# Relative size of the steps along which a prox is differentiated.
_STEP = 1e-6


@dataclass(frozen=True)
class Effort:
    """How carefully degrees of freedom are counted."""

    dense: int
    probes: tuple[int, int]
    spread: float
    cycles: int
    accuracy: float
    # Of penalties that are smooth: their probes take less time.
    dense_smooth: int


def degrees_of_freedom(datafit: Datafit, penalty: Penalty, W: Array) -> float:
    """Return the degrees of freedom of the coefficients at the optimum.

    W is the fixed point of W = prox(W - s grad f(W)), for any step s. With the derivative J of the
    prox and the Hessian H of the smooth part, of which H_0 belongs to the data, a change of the
    targets that changes the gradient by -H_0 V changes W by X with
    (I - J (I - s H)) X = s J H_0 V; the divergence of the predictions is the trace of V -> X.
    For the squared loss this is Stein's unbiased count, for others the usual local one. Of H_0 the
    pull on intercepts is no part. Intercepts add
    :func:`polytask.solvers.degrees.intercept_degrees`; free ones one each.

    Parameters
    ----------
    datafit : Datafit
        The data term.
    penalty : Penalty
        Bound and resolved; convex, with a prox where it is not smooth.
    W : ndarray of shape (n_features, n_columns)
        The minimiser of the sum, to a small tolerance.

    Returns
    -------
    float
        Between 0 and the number of coefficients. Exact up to 2,500 coefficients that are not
        held at zero row by row, the mean over 128 fixed random probes beyond.

    Raises
    ------
    IncompatibleError
        If the penalty has no single prox, or the loss no curvature.

    References
    ----------
    Stein, "Estimation of the mean of a multivariate normal distribution", Annals of Statistics
    9, 1981; Vaiter, Deledalle, Peyré, Fadili, Dossal, "The degrees of freedom of partly smooth
    regularizers", Annals of the Institute of Statistical Mathematics 69, 2017.
    """
    careful = Effort(_DENSE, (_PROBES, _PROBES), 0.0, _MOST_CYCLES, _ACCURACY, _DENSE)
    return float(column_degrees(datafit, penalty, W, careful).sum())


def column_degrees(datafit: Datafit, penalty: Penalty, W: Array, effort: Effort) -> Array:
    """Return the degrees of freedom of the coefficients of every column."""
    # Shapes: W (n_features, n_columns), result (n_columns,).
    # That of a column is the sum of the derivatives of the predictions of its task, each in its
    # own target; where tied or pulled intercepts couple the data of tasks, the split between
    # columns is close. The sum is that of :func:`degrees_of_freedom`.
    if not datafit.is_smooth:
        raise IncompatibleError(LazyMessage("solver.refusal.degrees_unknown"))
    objective = Objective(datafit, penalty)
    local = with_moments(datafit, W)
    data, at = data_hessian(local, W), local.evaluate(W)
    # A ridge has a prox too, but what is smooth as a whole has a preconditioner.
    smooth = penalty if isinstance(penalty, Smooth) else objective.smooth
    at = at if smooth is None else with_smooth(at, smooth, W)
    if objective.nonsmooth is None or isinstance(penalty, Smooth):
        free = np.arange(W.size)
        hessians = partial(_hessians, local, smooth, W, free)
        about = at.preconditioner(0.0)
        return _Inner(at.hessian, data, free, W.shape, hessians, about).by_column(effort)
    step = 1.0 / _curvature(objective, datafit)
    point = W - step * objective.evaluate(W, None).gradient
    free = np.arange(W.size)
    if isinstance(objective.nonsmooth, RowSeparable):
        # Rows that are zero stay so whatever others do a little.
        used = objective.nonsmooth.prox(point, step).any(axis=1, keepdims=True)
        free = np.flatnonzero(np.broadcast_to(used, W.shape))
    derivative = _derivative(objective.nonsmooth, point, step)

    def system(V: Array) -> Array:
        return np.asarray(V - derivative(V - step * at.hessian(V)))

    def right(V: Array) -> Array:
        return np.asarray(derivative(step * data(V)))

    def matrices() -> tuple[Array, Array]:
        whole, own = _hessians(local, objective.smooth, W, free)
        times = _derivative_times(objective.nonsmooth, derivative, free, W.shape)
        over = step * times(own)
        left = over if own is whole else step * times(whole)
        unit = np.eye(free.size)
        return unit - times(unit) + left, over

    return _Inner(system, right, free, W.shape, matrices).by_column(effort)


def _curvature(objective: Objective, datafit: Datafit) -> float:
    smooth = objective.smooth.curvature() if isinstance(objective.smooth, Smooth) else 0.0
    bound = datafit.known_lipschitz(np.ones(datafit.shape[0])) + smooth
    return bound if bound > 0.0 else 1.0


def _derivative(nonsmooth: Proximable | None, point: Array, step: float) -> LinearMap:
    """Return the derivative of the prox at a point, by central differences."""
    if nonsmooth is None:
        return lambda V: V
    size = _STEP * max(float(np.abs(point).max(initial=0.0)), np.finfo(float).tiny)

    def apply(V: Array) -> Array:
        largest = float(np.abs(V).max(initial=0.0))
        if largest == 0.0:
            return np.zeros_like(V)
        h = size / largest
        ahead, behind = nonsmooth.prox(point + h * V, step), nonsmooth.prox(point - h * V, step)
        return np.asarray((ahead - behind) / (2.0 * h))

    return apply


def _hessians(
    datafit: Datafit, smooth: Smooth | None, W: Array, free: Index
) -> tuple[Array, Array]:
    """Return the matrices of the Hessian of the smooth part and of that of the data in it."""
    whole, data = hessian_matrices(datafit, W, free)
    if smooth is None:
        return whole, data
    return whole + matrix_of(hessian_of(smooth), free, W.shape), data


def _derivative_times(
    nonsmooth: Proximable | None, derivative: LinearMap, free: Index, shape: tuple[int, int]
) -> LinearMap:
    """Return what multiplies matrices of n_free rows by the derivative of a prox."""
    # That of rows by themselves is made of a block for each row, and all rows are moved at once.
    if not isinstance(nonsmooth, RowSeparable):
        matrix = matrix_of(derivative, free, shape)
        return lambda A: matrix @ A
    columns = shape[1]
    moved = [derivative(np.broadcast_to(unit, shape)) for unit in np.eye(columns)]
    blocks = np.stack(moved, axis=2)[free[::columns] // columns]
    return lambda A: np.matmul(blocks, A.reshape(-1, columns, A.shape[1])).reshape(A.shape)


@dataclass(frozen=True, eq=False)
class _Inner:
    """The diagonal of system^-1 right for some coefficients."""

    system: LinearMap
    right: LinearMap
    free: Index
    shape: tuple[int, int]
    matrices: Callable[[], tuple[Array, Array]]
    preconditioner: LinearMap | None = None

    def by_column(self, effort: Effort) -> Array:
        """Return the sums of the diagonal over each column of W."""
        most = effort.dense if self.preconditioner is None else effort.dense_smooth
        exact = self.free.size <= most
        diagonal = self._exact() if exact else self._probed(effort)
        found = np.zeros(self.shape[1])
        np.add.at(found, self.free % self.shape[1], diagonal)
        return found

    def _exact(self) -> Array:
        """Return the diagonal from both matrices."""
        if not self.free.size:
            return np.zeros(0)
        left, over = self.matrices()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", LinAlgWarning)
                return np.asarray(np.diagonal(solve(left, over, check_finite=False)))
        except (LinAlgError, LinAlgWarning):
            # Directions in which nothing holds W have no part in the data either.
            return np.asarray(np.diagonal(np.linalg.lstsq(left, over, rcond=None)[0]))

    def _on_free(self, of: LinearMap, v: Array) -> Array:
        V = np.zeros(self.shape)
        V.flat[self.free] = v.ravel()
        return np.asarray(of(V).ravel()[self.free])

    def _probed(self, effort: Effort) -> Array:
        """Return the mean of v * system^-1 right v over random signs v (Hutchinson's estimate)."""
        rng = np.random.default_rng(0)
        total, done = np.zeros(self.free.size), 0
        while done < effort.probes[1]:
            # The variance of a probe is at most twice the trace: no eigenvalue is above one.
            enough = effort.spread**2 * float(total.sum()) >= 2.0
            if done >= effort.probes[0] and enough:
                break
            v = rng.choice([-1.0, 1.0], size=self.free.size)
            total += v * self._solved(self._on_free(self.right, v), effort)
            done += 1
        return total / done

    def _solved(self, right: Array, effort: Effort) -> Array:
        size = self.free.size
        operator = LinearOperator((size, size), matvec=partial(self._on_free, self.system))
        if self.preconditioner is None:
            found, _ = gmres(
                operator, right, rtol=effort.accuracy, restart=_RESTART, maxiter=effort.cycles
            )
            return np.asarray(found)
        product, about = (
            partial(self._on_free, self.system),
            partial(self._on_free, self.preconditioner),
        )
        most = _RESTART * effort.cycles
        return conjugate_gradients(product, right, about, effort.accuracy, most, even=True)[0]
