"""`check_datafit`: the laws of a data term with its intercepts minimised out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from polytask.datafits import Datafit
from polytask.testing._tools import require, require_at_least, require_close

Array = np.ndarray

_STEP = 1e-5
_FAINT = 1e-3
_SHORTFALL = 1.02  # which the documentation allows


@dataclass(frozen=True)
class _DatafitCase:
    """A datafit with points to try it at and directions to look in."""

    datafit: Datafit
    points: tuple[Array, ...]
    directions: tuple[Array, ...]


def _units(datafit: Datafit) -> Array:
    """Return sizes of coefficients, per feature, that move predictions by about one."""
    scale = datafit.feature_scale()
    require(scale.shape == datafit.shape[:1], datafit, "feature_scale has one entry per feature")
    require_at_least(scale, 0.0, datafit, "feature_scale is at least 0")
    return 1.0 / np.where(scale > 0, scale, max(float(scale.max(initial=0.0)), 1.0))


def _case(datafit: Datafit, random_state: int) -> _DatafitCase:
    rng = np.random.default_rng(random_state)
    unit = _units(datafit)[:, None]
    drawn = [unit * rng.normal(size=datafit.shape) for _ in range(7)]
    points = (np.zeros(datafit.shape), 0.5 * drawn[0], drawn[1], 3.0 * drawn[2])
    return _DatafitCase(datafit, points, tuple(drawn[3:]))


def _inner(A: Array, B: Array) -> float:
    return float(np.sum(A * B))


def _shapes(case: _DatafitCase) -> None:
    """Require the shapes and signs of what a datafit returns."""
    datafit = case.datafit
    for W in case.points:
        at = datafit.evaluate(W)
        require(at.gradient.shape == datafit.shape, datafit, "the gradient has the shape of W")
        law = "there is one intercept per column"
        require(at.intercept.shape == datafit.shape[1:], datafit, law)
        require(np.isfinite(at.value), datafit, "the value is finite")
    zero, b = np.zeros(datafit.shape), np.zeros(datafit.shape[1])
    law = "magnitude is the value at W = 0 and b = 0"
    require_close(datafit.magnitude, datafit.value_at(zero, b), datafit, law)
    require(0 < datafit.precision < 1e-2, datafit, "precision is a unit of rounding")


def _gradient(case: _DatafitCase) -> None:
    """Compare the gradient with differences of the profiled value."""
    datafit = case.datafit
    for W in case.points:
        at = datafit.evaluate(W)
        for D in case.directions:
            ahead, behind = (datafit.evaluate(W + s * _STEP * D).value for s in (1.0, -1.0))
            size = 1.0 + abs(at.value)
            slope = (ahead - behind) / (2 * _STEP)
            law = "the gradient is the derivative of the value with the best intercepts"
            require_close(_inner(at.gradient, D) / size, slope / size, datafit, law, rtol=1e-6)


def _convexity(case: _DatafitCase) -> None:
    """Compare the value between two points with the chord and the tangent."""
    datafit = case.datafit
    found = [datafit.evaluate(W) for W in case.points]
    for W, at in zip(case.points, found, strict=True):
        for V, there in zip(case.points, found, strict=True):
            middle = datafit.evaluate(0.5 * (W + V)).value
            chord = 0.5 * (at.value + there.value)
            require_at_least(chord, middle, datafit, "the value is convex")
            tangent = at.value + _inner(at.gradient, V - W)
            require_at_least(there.value, tangent, datafit, "tangents lie below the value")


def _intercepts(case: _DatafitCase) -> None:
    """Require that no allowed change of the intercepts lowers the value."""
    datafit = case.datafit
    found = [datafit.evaluate(W) for W in case.points]
    law = "the value is that of the intercepts returned"
    # The allowed intercepts form a linear space, so differences of answers stay in it.
    ways = [a.intercept - found[0].intercept for a in found] + [a.intercept for a in found]
    for W, at in zip(case.points, found, strict=True):
        require_close(datafit.value_at(W, at.intercept), at.value, datafit, law, rtol=1e-9)
        for way in ways:
            for size in (1e-4, 1e-2, 1.0):
                for step in (size * way, -size * way):
                    rival = datafit.value_at(W, at.intercept + step)
                    text = "no other allowed intercepts have a lower value"
                    require_at_least(rival, at.value, datafit, text, slack=1e-11)


def _conjugate(case: _DatafitCase) -> None:
    """Check the inequality and the equality of Fenchel and Young along the gradient."""
    datafit = case.datafit
    values = [datafit.evaluate(W).value for W in case.points]
    for W in case.points:
        at = datafit.evaluate(W)
        size = 1.0 + abs(at.value) + abs(_inner(at.gradient, W))
        law = "conjugate(1) is <gradient, W> - value"
        wanted = _inner(at.gradient, W) - at.value
        require_close(at.conjugate(1.0) / size, wanted / size, datafit, law, rtol=1e-9)
        for c in (0.0, 0.3, 0.8, 1.0):
            for V, value in zip(case.points, values, strict=True):
                below = c * _inner(at.gradient, V) - value
                text = "conjugate(c) >= c <gradient, V> - value(V) for every V"
                require_at_least(at.conjugate(c), below, datafit, text, slack=1e-9)


def _hessian(case: _DatafitCase) -> None:
    """Compare the Hessian with differences of the gradient; it is symmetric and >= 0."""
    datafit = case.datafit
    for W in case.points:
        at = datafit.evaluate(W)
        for D in case.directions:
            ahead, behind = (datafit.evaluate(W + s * _STEP * D).gradient for s in (1.0, -1.0))
            slope = (ahead - behind) / (2 * _STEP)
            # A change far below the gradients is a difference of their roundings.
            faint = _FAINT * float(np.abs(at.gradient).max(initial=0.0))
            size = max(float(np.abs(slope).max(initial=0.0)), faint) or 1.0
            law = "hessian(D) is the derivative of the gradient along D"
            require_close(at.hessian(D) / size, slope / size, datafit, law, rtol=1e-5)
            require_at_least(_inner(D, at.hessian(D)), 0.0, datafit, "the Hessian is >= 0")
            E = case.directions[0]
            one, two = _inner(E, at.hessian(D)), _inner(D, at.hessian(E))
            require_close(one, two, datafit, "the Hessian is symmetric", rtol=1e-9)


def _lipschitz(case: _DatafitCase) -> None:
    """Look for a direction in which the curvature exceeds its bound."""
    datafit = case.datafit
    for scale in (np.ones(datafit.shape[0]), 1.0 / _units(datafit)):
        bound = _SHORTFALL * datafit.lipschitz(scale)
        column = scale[:, None]
        law = "lipschitz(scale) bounds the curvature in scaled coefficients"
        for W in case.points if datafit.is_bounded else ():
            hessian = datafit.evaluate(W).hessian
            V = case.directions[0] * column
            for _ in range(30):
                V = V / (np.linalg.norm(V) or 1.0)
                V = hessian(V / column) / column
            seen = float(np.linalg.norm(V))
            require(seen <= bound, datafit, law, f"{seen:.6g} > {bound:.6g}")
        law = "known_lipschitz repeats lipschitz"
        require(datafit.known_lipschitz(scale) == datafit.lipschitz(scale), datafit, law)


def _feature_scale(case: _DatafitCase) -> None:
    """Compare feature_scale with the diagonal of the Hessian, if that has a bound."""
    datafit = case.datafit
    if not datafit.is_bounded:
        return
    bound = datafit.feature_scale() ** 2
    d, columns = datafit.shape
    entries = [(j, k) for j in range(d) for k in range(columns)][:200]
    for W in case.points:
        hessian = datafit.evaluate(W).hessian
        for j, k in entries:
            unit = np.zeros(datafit.shape)
            unit[j, k] = 1.0
            seen = hessian(unit)[j, k]
            law = "feature_scale squared bounds the diagonal of the Hessian"
            require(seen <= bound[j] * (1 + 1e-6) + 1e-12, datafit, law, f"{seen} > {bound[j]}")


def _preconditioner(case: _DatafitCase) -> None:
    """Require a symmetric and positive definite preconditioner."""
    datafit = case.datafit
    E = case.directions[0]
    for W in case.points:
        at = datafit.evaluate(W)
        for shift in (1e-3, 1.0):
            apply = at.preconditioner(shift)
            for D in case.directions:
                law = "the preconditioner is positive definite"
                require(_inner(D, apply(D)) > 0, datafit, law)
                one, two = _inner(E, apply(D)), _inner(D, apply(E))
                size = abs(one) + _inner(D, apply(D))
                law = "the preconditioner is symmetric"
                require_close(one / size, two / size, datafit, law, rtol=1e-8)


def _start(case: _DatafitCase) -> None:
    """Require that the guess of the intercepts does not matter."""
    datafit = case.datafit
    for W in case.points:
        first = datafit.evaluate(W)
        for guess in (5.0, -20.0):
            again = datafit.evaluate(W, first.intercept + guess)
            law = "the guess of the intercepts does not matter"
            require_close(again.value, first.value, datafit, law, rtol=1e-10)
            size = float(np.abs(first.gradient).max(initial=0.0)) or 1.0
            require_close(again.gradient / size, first.gradient / size, datafit, law, rtol=1e-8)


def _inputs(case: _DatafitCase) -> None:
    """Require that evaluating leaves the arguments as they are."""
    for W in case.points:
        copy, start = W.copy(), np.ones(case.datafit.shape[1])
        case.datafit.evaluate(copy, start).hessian(copy)
        same = np.array_equal(copy, W) and np.array_equal(start, np.ones_like(start))
        require(same, case.datafit, "evaluate does not write into its arguments")


def _quadratic(case: _DatafitCase) -> None:
    """Compare Hessians at different points with what is_quadratic says."""
    datafit = case.datafit
    D = case.directions[0]
    products = [datafit.evaluate(W).hessian(D) for W in case.points]
    size = float(np.abs(products[0]).max(initial=0.0)) or 1.0
    off = max(float(np.abs(p - products[0]).max(initial=0.0)) for p in products) / size
    if datafit.is_quadratic:
        law = "a quadratic has the same Hessian everywhere"
        require(off <= 1e-8, datafit, law, f"off by {off:.3g}")
    else:
        law = "is_quadratic is true where the Hessian is the same everywhere"
        require(off > 1e-12, datafit, law)


_LAWS: tuple[Callable[[_DatafitCase], None], ...] = (
    _inputs,
    _shapes,
    _gradient,
    _convexity,
    _start,
    _intercepts,
    _conjugate,
    _hessian,
    _lipschitz,
    _feature_scale,
    _preconditioner,
    _quadratic,
)


def check_datafit(datafit: Datafit, random_state: int = 0) -> None:
    """Check every law that a datafit has to obey.

    Gradients and Hessians are compared with differences, the conjugate with the equality
    and the inequality of Fenchel and Young, the intercepts with rival ones; convexity, the
    bounds of the curvature, the preconditioner and the independence of the guess of the
    intercepts are checked.

    Parameters
    ----------
    datafit : Datafit
        The datafit; small, for it is evaluated some hundred times.
    random_state : int, default=0
        Seed of the random points.

    Raises
    ------
    AssertionError
        With a sentence that names the law that does not hold.
    """
    case = _case(datafit, random_state)
    for law in _LAWS:
        law(case)
