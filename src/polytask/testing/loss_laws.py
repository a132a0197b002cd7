"""The laws of a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask.losses import Loss
from polytask.testing._tools import (
    back,
    moved,
    require,
    require_at_least,
    require_close,
    require_dtype,
    require_portable,
)

_N = 40
_CLASSES = 3
_STEP = 1e-5


@dataclass(frozen=True)
class _LossCase:
    """A loss with targets and predictors."""

    loss: Loss
    y: np.ndarray
    eta: np.ndarray
    other: np.ndarray

    @property
    def vector(self) -> bool:
        """Whether eta has several entries per sample."""
        return self.eta.ndim > self.y.ndim

    def pairing(self, u: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """Return <u, eta> per sample."""
        return np.asarray(np.sum(u * eta, axis=-1) if self.vector else u * eta)

    def directions(self) -> list[np.ndarray]:
        """Return the unit steps in eta."""
        if not self.vector:
            return [np.ones_like(self.eta)]
        k = self.eta.shape[-1]
        return [np.broadcast_to(row, self.eta.shape) for row in np.eye(k)]


def _gradient(case: _LossCase) -> None:
    """Compare the gradient with differences of the value."""
    loss, y = case.loss, case.y
    gradient = loss.gradient(y, case.eta)
    require(gradient.shape == case.eta.shape, loss, "the gradient has the shape of eta")
    for way in case.directions():
        ahead, behind = case.eta + _STEP * way, case.eta - _STEP * way
        slope = (loss.value(y, ahead) - loss.value(y, behind)) / (2 * _STEP)
        law = "the gradient is the derivative of the value"
        require_close(case.pairing(gradient, way), slope, loss, law, rtol=1e-6)


def _curvature(case: _LossCase) -> None:
    """Compare the curvature with differences of the gradient, and with its bound."""
    loss, y = case.loss, case.y
    curvature = loss.curvature(y, case.eta)
    for i, way in enumerate(case.directions()):
        ahead, behind = case.eta + _STEP * way, case.eta - _STEP * way
        slope = (loss.gradient(y, ahead) - loss.gradient(y, behind)) / (2 * _STEP)
        got = curvature[..., i] if case.vector else curvature
        require_close(got, slope, loss, "the curvature is the derivative of the gradient", 1e-6)
    largest = np.linalg.eigvalsh(curvature) if case.vector else curvature
    require_at_least(loss.curvature_bound, largest, loss, "curvature_bound bounds the curvature")


def _convexity(case: _LossCase) -> None:
    """Compare the value between two points with the chord."""
    loss, y = case.loss, case.y
    middle = loss.value(y, 0.5 * (case.eta + case.other))
    chord = 0.5 * (loss.value(y, case.eta) + loss.value(y, case.other))
    require_at_least(chord, middle, loss, "the value is convex in eta")


def _conjugate(case: _LossCase) -> None:
    """Check the equality and the inequality of Fenchel and Young."""
    loss, y = case.loss, case.y
    for scale in (1.0, 1e3 if np.isfinite(loss.curvature_bound) else 10.0):
        eta = scale * case.eta
        u = loss.gradient(y, eta)
        wanted = case.pairing(u, eta) - loss.value(y, eta)
        law = "at u = gradient(eta) the conjugate is u eta - value"
        require_close(loss.conjugate(y, u), wanted, loss, law, rtol=1e-9)
    inside, outside = loss.gradient(y, case.other), 5.0 * case.other
    for u in (inside, outside):
        for scale in (-1e3, -1.0, 0.0, 1.0, 1e3):
            for point in (case.eta, u):
                with np.errstate(over="ignore"):  # a loss without a bound may be infinite
                    below = case.pairing(u, scale * point) - loss.value(y, scale * point)
                law = "the conjugate is at least u eta - value for every eta"
                require_at_least(loss.conjugate(y, u), below, loss, law)


def _stability(case: _LossCase) -> None:
    """Require finite results far out, where the loss grows at most quadratically."""
    # A loss without a bound on its curvature may be infinite there, but never NaN.
    loss, y = case.loss, case.y
    if not np.isfinite(loss.curvature_bound):
        _honesty(case)
        return
    law = "value, gradient and curvature are finite, without overflow, at |eta| = {:g}"
    for size in (1e3, 1e6):
        eta = size * np.sign(case.eta)
        try:
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                results = (loss.value(y, eta), loss.gradient(y, eta), loss.curvature(y, eta))
        except FloatingPointError as error:
            raise AssertionError(f"{loss!r} breaks a law: {law.format(size)} ({error}).") from None
        finite = all(np.isfinite(result).all() for result in results)
        require(finite, loss, law.format(size))


def _honesty(case: _LossCase) -> None:
    """Require that what overflows is infinite and not NaN."""
    loss, y = case.loss, case.y
    eta = 1e3 * np.sign(case.eta)
    with np.errstate(over="ignore"):
        value, slope = loss.value(y, eta), loss.gradient(y, eta)
    law = "value and gradient are never NaN, and the value never -inf, at |eta| = 1000"
    require(not np.isnan(slope).any() and bool((value > -np.inf).all()), loss, law)


def _dtypes(case: _LossCase) -> None:
    """Require float32 out for float32 in, whatever the targets are."""
    eta = case.eta.astype(np.float32)
    u = case.loss.gradient(case.y, eta)
    results = {
        "value": case.loss.value(case.y, eta),
        "gradient": u,
        "curvature": case.loss.curvature(case.y, eta),
        "conjugate": case.loss.conjugate(case.y, u),
        "inverse_link": case.loss.inverse_link(eta),
    }
    for name, result in results.items():
        require_dtype(result, np.float32, case.loss, f"{name} keeps float32")
    finite = np.isfinite(results["conjugate"]).all()
    require(finite, case.loss, "the conjugate is finite at the gradient in float32 too")


def _shapes(case: _LossCase) -> None:
    """Require that samples may be arranged in any shape."""
    loss, shape = case.loss, (_N // 4, 4)
    tail = case.eta.shape[1:]
    y, eta = case.y.reshape(shape), case.eta.reshape(shape + tail)
    law = "samples may be arranged in an array of any shape"
    require_close(loss.value(y, eta).ravel(), loss.value(case.y, case.eta), loss, law)
    gradient = loss.gradient(case.y, case.eta)
    require_close(loss.gradient(y, eta).ravel(), gradient.ravel(), loss, law)


def _prediction(case: _LossCase) -> None:
    """Require probabilities of classifiers."""
    mean = case.loss.inverse_link(case.eta)
    require(mean.shape == case.eta.shape, case.loss, "inverse_link keeps the shape of eta")
    if case.loss.plain_model == "LinearRegression":
        law = "plain_model: LinearRegression predicts eta itself"
        require_close(mean, case.eta, case.loss, law)
    if not case.loss.is_classifier:
        return
    within = ((mean >= 0) & (mean <= 1)).all()
    require(within, case.loss, "inverse_link of a classifier lies in [0, 1]")
    if case.vector:
        sums = mean.sum(axis=-1)
        require_close(sums, np.ones_like(sums), case.loss, "probabilities sum to one")


def _portable(case: _LossCase) -> None:
    """Require that a loss can be compared, pickled and saved."""
    require(bool(case.loss.name), case.loss, "name is not empty")
    require_portable(case.loss)


def _namespace(case: _LossCase, xp: Any) -> None:  # noqa: ANN401 - a module
    """Compare the results in another array namespace with those of NumPy."""
    loss, law = case.loss, "another array namespace gives what NumPy gives"
    y, eta = moved(case.y, xp), moved(case.eta, xp)
    for name in ("value", "gradient", "curvature"):
        got = back(getattr(loss, name)(y, eta), loss, eta)
        require_close(got, getattr(loss, name)(case.y, case.eta), loss, law)
    u = loss.gradient(case.y, case.eta)
    got = back(loss.conjugate(y, moved(u, xp)), loss, eta)
    require_close(got, loss.conjugate(case.y, u), loss, law)


_LAWS: tuple[Callable[[_LossCase], None], ...] = (
    _gradient,
    _curvature,
    _convexity,
    _stability,
    _conjugate,
    _dtypes,
    _shapes,
    _prediction,
    _portable,
)


def _targets(loss: Loss, rng: np.random.Generator) -> np.ndarray:
    """Return targets that suit a loss: classes of a classifier, numbers otherwise."""
    if not loss.is_classifier:
        return _numbers(loss, rng)
    n_classes = _CLASSES if loss.n_outputs(_CLASSES) > 1 else 2
    return rng.integers(n_classes, size=_N).astype(np.float64)


def _numbers(loss: Loss, rng: np.random.Generator) -> np.ndarray:
    """Return numbers that a loss allows, with its edge at 0 among them."""
    normal = rng.normal(size=_N)
    for y in (normal, rng.poisson(2.0, size=_N).astype(np.float64), np.exp(normal)):
        if np.all(loss.allows(y)):
            return y
    law = f"allows {loss.allowed} only; give check_loss such targets as y"
    raise AssertionError(f"{loss!r} {law}.")


def check_loss(
    loss: Loss,
    *,
    y: np.ndarray | None = None,
    xp: Any = None,  # noqa: ANN401 - a module
    random_state: int = 0,
) -> None:
    """Check every law that a loss has to obey.

    Derivatives are compared with differences, the conjugate with the equality and the
    inequality of Fenchel and Young; convexity, the curvature bound, stability at
    predictors of size 1e6, float32, shapes, pickling and saving are checked.

    Parameters
    ----------
    loss : Loss
        The loss.
    y : array of shape (40,), default=None
        Targets that the loss allows; None: standard normal numbers, else counts, else
        positive numbers, whichever it allows first, or the classes of a classifier.
    xp : module, default=None
        An array-API namespace whose results must equal those of NumPy.
    random_state : int, default=0
        Seed of the random predictors.

    Raises
    ------
    AssertionError
        With a sentence that names the law that does not hold.
    """
    rng = np.random.default_rng(random_state)
    targets = _targets(loss, rng) if y is None else y
    n_outputs = loss.n_outputs(_CLASSES)
    shape = (len(targets), n_outputs) if n_outputs > 1 else (len(targets),)
    case = _LossCase(loss, targets, 2.0 * rng.normal(size=shape), 2.0 * rng.normal(size=shape))
    for law in _LAWS:
        law(case)
    if xp is not None:
        _namespace(case, xp)
