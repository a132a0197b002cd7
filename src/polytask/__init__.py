"""Multi-task learning behind one scikit-learn face.

Related prediction problems learned together: linear models with penalties that carry
knowledge from task to task, certified solvers, and an honest comparison with separate and
pooled models. Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from polytask.exceptions import (
    ConvergenceWarning,
    DataError,
    DataWarning,
    IncompatibleError,
    ParameterError,
    PolytaskError,
)

if TYPE_CHECKING:
    from polytask.analysis import Comparison, compare
    from polytask.baselines import Pooled, SingleTask
    from polytask.data import TaskData
    from polytask.linear import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor
    from polytask.persistence import load, save
    from polytask.report import write_report
    from polytask.selection import (
        MultiTaskClassifierCV,
        MultiTaskModelCV,
        MultiTaskRegressorCV,
    )

__version__ = "0.1.0.dev0"

_HOMES = {
    "Comparison": "analysis",
    "MultiTaskClassifier": "linear",
    "MultiTaskClassifierCV": "selection",
    "MultiTaskModel": "linear",
    "MultiTaskModelCV": "selection",
    "MultiTaskRegressor": "linear",
    "MultiTaskRegressorCV": "selection",
    "Pooled": "baselines",
    "SingleTask": "baselines",
    "TaskData": "data",
    "compare": "analysis",
    "load": "persistence",
    "save": "persistence",
    "write_report": "report",
}

__all__ = [
    "Comparison",
    "ConvergenceWarning",
    "DataError",
    "DataWarning",
    "IncompatibleError",
    "MultiTaskClassifier",
    "MultiTaskClassifierCV",
    "MultiTaskModel",
    "MultiTaskModelCV",
    "MultiTaskRegressor",
    "MultiTaskRegressorCV",
    "ParameterError",
    "PolytaskError",
    "Pooled",
    "SingleTask",
    "TaskData",
    "__version__",
    "compare",
    "load",
    "save",
    "write_report",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    if name not in _HOMES:
        raise AttributeError(f"module 'polytask' has no attribute {name!r}")
    return getattr(importlib.import_module(f"polytask.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
