"""Where an axis begins and ends, so that a few numbers far off do not squeeze the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

# A point this many times farther from the middle than the others would squeeze them.
_FAR = 6.0
_MARGIN = 0.04


def axis_limits(
    mean: Sequence[float], low: Sequence[float], high: Sequence[float], *, around_zero: bool
) -> tuple[float, float]:
    """Return the ends of an axis for means with intervals."""
    found = [triple for triple in zip(mean, low, high, strict=True) if math.isfinite(triple[0])]
    if not found:
        return -1.0, 1.0
    kept = _near(found)
    points = [m for m, _, _ in kept] + [0.0] * around_zero
    seen = [(a, b) for _, a, b in kept if math.isfinite(b - a)]
    first, last = min(points), max(points)
    usual = median(b - a for a, b in seen) if seen else 0.0
    reach = max(last - first, 1.5 * usual)
    first, last = (
        max(min([first, *(a for a, _ in seen)]), first - reach),
        min(max([last, *(b for _, b in seen)]), last + reach),
    )
    spread = last - first or abs(last) or 1.0
    # The smallest numbers have no part.
    margin = _MARGIN * spread or 1.0
    return first - margin, last + margin


def _near(found: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Leave out points that are much farther from the median than those before them."""
    middle = median(m for m, _, _ in found)
    ordered = sorted(found, key=lambda triple: abs(triple[0] - middle))
    half = (len(ordered) + 1) // 2 + 1
    for place in range(half, len(ordered)):
        before, here = (abs(ordered[k][0] - middle) for k in (place - 1, place))
        if here > _FAR * before > 0:
            return ordered[:place]
    return ordered
