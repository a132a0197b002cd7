"""Preconditioned conjugate gradients on arrays of any shape."""

from __future__ import annotations

import numpy as np

from polytask.datafits.base import Array, LinearMap


def conjugate_gradients(
    product: LinearMap,
    right: Array,
    precondition: LinearMap,
    accuracy: float,
    most: int,
    flat: float = 0.0,
    even: bool = False,
) -> tuple[Array, int]:
    """Solve ``product(x) = right`` up to a share of the right side; return x and the products."""
    # The product has to be symmetric and positive semi-definite. A direction whose curvature is
    # not above `flat` ends the search: it is rounding, or the floor of a flat problem. Shares are
    # of energies, to which directions of little curvature hardly add, or `even` over directions.
    x, residual = np.zeros_like(right), right
    scaled = precondition(residual)
    direction, energy = scaled, float(np.vdot(residual, scaled))
    left = first = float(np.vdot(scaled, scaled)) if even else energy
    count = 0
    while left > first * accuracy**2 and count < most:
        image = product(direction)
        count += 1
        curvature = float(np.vdot(direction, image))
        if not curvature > flat * float(np.vdot(direction, direction)):
            break
        length = energy / curvature
        x = x + length * direction
        residual = residual - length * image
        scaled = precondition(residual)
        before, energy = energy, float(np.vdot(residual, scaled))
        left = float(np.vdot(scaled, scaled)) if even else energy
        direction = scaled + energy / before * direction
    return x, count
