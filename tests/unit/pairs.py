"""Cases in place of products: every value occurs, and not every combination."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def in_turn(*axes: Collection[Any]) -> list[tuple[Any, ...]]:
    """Return as many cases as the longest axis has values; shorter ones begin again."""
    values = [list(axis) for axis in axes]
    return [tuple(axis[k % len(axis)] for axis in values) for k in range(max(map(len, values)))]
