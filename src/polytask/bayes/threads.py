"""A function of many blocks on several cores, its answers in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# Fewer items are not worth starting threads for.
_FEW = 8
_MOST_THREADS = 4


def in_order(function: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Answer]:
    """Yield the answers for the items, a few at a time so that few are held at once."""
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    if len(items) < _FEW or threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(items), threads):
            yield from pool.map(function, items[start : start + threads])
