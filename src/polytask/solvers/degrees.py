"""How many parameters a penalised fit is worth: the divergence of its predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, gmres

from polytask.datafits import Datafit
from polytask.datafits.base import Array, LinearMap
from polytask.exceptions import IncompatibleError
from polytask.penalties import Penalty, Proximable, RowSeparable, Smooth
from polytask.solvers.objective import Objective

Index = NDArray[np.intp]

# Up to so many coefficients the trace is exact.
_DENSE = 2500
_PROBES = 128
_MOST_CYCLES = 400
_ACCURACY = 1e-8
# Relative size of the steps along which a prox is differentiated.
_STEP = 1e-6


def degrees_of_freedom(datafit: Datafit, penalty: Penalty, W: Array) -> float:
    """Return the degrees of freedom of the coefficients at the optimum.

    W is the fixed point of W = prox(W - s grad f(W)), for any step s. With the derivative J of the
    prox and the Hessian H of the smooth part, of which H_0 belongs to the data, a change of the
    targets that changes the gradient by -H_0 V changes W by X with
    (I - J (I - s H)) X = s J H_0 V; the divergence of the predictions is the trace of V -> X.
    For the squared loss this is Stein's unbiased count, for others the usual local one. Free
    intercepts add one each.

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
    if not datafit.is_smooth:
        raise IncompatibleError("The loss has no curvature: degrees of freedom are not known.")
    objective = Objective(datafit, penalty)
    at = objective.smooth(W, None)
    data = datafit.evaluate(W).hessian
    step = 1.0 / _curvature(objective, datafit)
    point = W - step * at.gradient
    held = _held(objective.rough, point, step)
    derivative = _derivative(objective.rough, point, step)

    def system(V: Array) -> Array:
        return np.asarray(V - derivative(V - step * at.hessian(V)))

    def right(V: Array) -> Array:
        return np.asarray(derivative(step * data(V)))

    free = np.flatnonzero(~held.ravel())
    if free.size <= _DENSE:
        return _exact(system, right, free, W.shape)
    return _probed(system, right, free, W.shape)


def _curvature(objective: Objective, datafit: Datafit) -> float:
    smooth = objective.curved.curvature() if isinstance(objective.curved, Smooth) else 0.0
    bound = datafit.known_lipschitz(np.ones(datafit.shape[0])) + smooth
    return bound if bound > 0.0 else 1.0


def _held(rough: Proximable | None, point: Array, step: float) -> NDArray[np.bool_]:
    """Say which coefficients stay at zero whatever others do a little."""
    if not isinstance(rough, RowSeparable):
        return np.zeros(point.shape, dtype=bool)
    used = np.asarray(rough.prox(point, step)).any(axis=1, keepdims=True)
    return np.broadcast_to(used == 0, point.shape)


def _derivative(rough: Proximable | None, point: Array, step: float) -> LinearMap:
    """Return the derivative of the prox at a point, by central differences."""
    if rough is None:
        return lambda V: V
    size = _STEP * max(float(np.abs(point).max(initial=0.0)), np.finfo(float).tiny)

    def apply(V: Array) -> Array:
        largest = float(np.abs(V).max(initial=0.0))
        if largest == 0.0:
            return np.zeros_like(V)
        h = size / largest
        ahead, behind = rough.prox(point + h * V, step), rough.prox(point - h * V, step)
        return np.asarray((ahead - behind) / (2.0 * h))

    return apply


def _exact(system: LinearMap, right: LinearMap, free: Index, shape: tuple[int, int]) -> float:
    """Return the trace of system^-1 right over the coefficients in `free`, from both matrices."""
    if not free.size:
        return 0.0
    left, over = (_matrix(of, free, shape) for of in (system, right))
    # Directions in which nothing holds W have no part in the data either.
    return float(np.trace(np.linalg.lstsq(left, over, rcond=None)[0]))


def _matrix(of: LinearMap, free: Index, shape: tuple[int, int]) -> Array:
    out = np.empty((free.size, free.size))
    for k, place in enumerate(free):
        unit = np.zeros(shape)
        unit.flat[place] = 1.0
        out[:, k] = of(unit).ravel()[free]
    return out


def _probed(system: LinearMap, right: LinearMap, free: Index, shape: tuple[int, int]) -> float:
    """Return the mean of v' system^-1 right v over random signs v (Hutchinson's estimate)."""
    rng = np.random.default_rng(0)

    def spread(v: Array) -> Array:
        V = np.zeros(shape)
        V.flat[free] = v.ravel()
        return V

    def on_free(of: LinearMap) -> Callable[[Array], Array]:
        return lambda v: of(spread(v)).ravel()[free]

    operator = LinearOperator((free.size, free.size), matvec=on_free(system), dtype=np.float64)
    total = 0.0
    for _ in range(_PROBES):
        v = rng.choice([-1.0, 1.0], size=free.size)
        found = gmres(
            operator, on_free(right)(v), rtol=_ACCURACY, restart=60, maxiter=_MOST_CYCLES
        )[0]
        total += float(v @ found)
    return total / _PROBES
