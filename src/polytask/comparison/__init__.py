"""Comparison of separate, pooled and multi-task models; `options` alone imports nothing heavy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.comparison.api import compare
    from polytask.comparison.result import Comparison

__all__ = ["Comparison", "compare"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a public name
    if name not in __all__:
        raise AttributeError(f"module 'polytask.comparison' has no attribute {name!r}")
    return getattr(importlib.import_module("polytask.comparison.api"), name)
