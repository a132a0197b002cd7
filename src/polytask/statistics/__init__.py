"""Sufficient statistics of tasks as an object: collected, added, subtracted, saved, fitted."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from polytask.statistics.schema import Schema
from polytask.statistics.task_statistics import TaskStatistics, collect

if TYPE_CHECKING:
    from polytask.statistics.fitting import fit_parts
    from polytask.statistics.parts import collect_parts

__all__ = ["Schema", "TaskStatistics", "collect", "collect_parts", "fit_parts"]

# What reads files brings pyarrow; a model that is loaded to predict does not need it.
_READERS = {"collect_parts": "parts", "fit_parts": "fitting"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a public name
    if name not in _READERS:
        raise AttributeError(f"module 'polytask.statistics' has no attribute {name!r}")
    return getattr(importlib.import_module(f"polytask.statistics.{_READERS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
