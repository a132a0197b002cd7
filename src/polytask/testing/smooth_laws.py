"""The laws of values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.penalties import Quadratic, Smooth
from polytask.testing._points import PenaltyCase
from polytask.testing._tools import require, require_at_least, require_close, require_dtype

_STEP = 1e-5


def values(case: PenaltyCase) -> None:
    """Check that values are numbers >= 0, and convex where the capabilities say so."""
    subject: Any = case.subject
    for W in case.points:
        value = subject.value(W)
        require(isinstance(value, float), subject, "value returns a float")
        require_at_least(value, 0.0, subject, "value is at least 0")
        single = subject.value(W.astype(np.float32))
        require_close(single, value, subject, "value in float32 is near", rtol=1e-4)
        for V in case.points if case.convex else ():
            chord = 0.5 * (value + subject.value(V))
            require_at_least(chord, subject.value(0.5 * (W + V)), subject, "value is convex")


def gradients(case: PenaltyCase) -> None:
    """Compare the gradient with differences of the value, and its slope with the curvature."""
    subject: Any = case.subject
    if not isinstance(subject, Smooth):
        return
    for W in case.points:
        gradient = subject.gradient(W)
        require(gradient.shape == W.shape, subject, "the gradient has the shape of W")
        for _ in range(3):
            way = case.random()
            ahead, behind = subject.value(W + _STEP * way), subject.value(W - _STEP * way)
            law = "the gradient is the derivative of the value"
            slope, scale = (ahead - behind) / (2 * _STEP), 1 + abs(ahead)
            require_close(np.sum(gradient * way) / scale, slope / scale, subject, law, rtol=1e-6)
    single = subject.gradient(case.points[0].astype(np.float32))
    require_dtype(single, np.float32, subject, "gradient keeps float32")
    _curvature(case)


def _curvature(case: PenaltyCase) -> None:
    """Look for the largest curvature by power iteration; it must not exceed the bound."""
    subject: Any = case.subject
    origin = case.points[0]
    way = case.random()
    for _ in range(30):
        way = subject.gradient(origin + way) - subject.gradient(origin)
        size = np.linalg.norm(way)
        if size == 0:
            return
        way = way / size
    found = np.linalg.norm(subject.gradient(origin + way) - subject.gradient(origin))
    law = "curvature() bounds the curvature"
    require_at_least(subject.curvature(), found, subject, law, slack=1e-7)


def quadratics(case: PenaltyCase) -> None:
    """Check that the gradient is affine, and the diagonal that of the Hessian."""
    subject: Any = case.subject
    if not isinstance(subject, Quadratic):
        return
    origin = case.points[-1]
    for W in case.points:
        wanted = subject.gradient(W) - subject.gradient(origin)
        require_close(subject.apply(W), wanted, subject, "apply(W) is gradient(W) - gradient(0)")
    n_columns = origin.shape[1]
    diagonal = subject.diagonal(n_columns)
    require(diagonal.shape == (n_columns,), subject, "diagonal has an entry for each column")
    for column in range(n_columns):
        unit = np.zeros_like(origin)
        unit[0, column] = 1.0
        found = subject.apply(unit)[0, column]
        require_close(diagonal[column], found, subject, "diagonal is that of the Hessian")
