"""Multi-task learning with the API of scikit-learn.

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
    from polytask.baselines import MissingBlocks, Pooled, SingleTask
    from polytask.comparison import Comparison, compare
    from polytask.data import TaskData
    from polytask.explanation import Explanation, explain
    from polytask.io import load, save
    from polytask.linear import (
        BayesianMultiTaskClassifier,
        BayesianMultiTaskModel,
        BayesianMultiTaskRegressor,
        MultiTaskClassifier,
        MultiTaskModel,
        MultiTaskRegressor,
    )
    from polytask.monitoring import Monitoring, monitor
    from polytask.reporting import write_report
    from polytask.selection import (
        MultiTaskClassifierCV,
        MultiTaskClassifierIC,
        MultiTaskModelCV,
        MultiTaskModelIC,
        MultiTaskRegressorCV,
        MultiTaskRegressorIC,
        calibrate,
    )
    from polytask.selection.auto import (
        AutoMultiTaskClassifier,
        AutoMultiTaskModel,
        AutoMultiTaskRegressor,
    )
    from polytask.task_relations import Relatedness, relatedness
    from polytask.transfer import Adaptation, adapt

__version__ = "0.1.0.dev0"

_HOMES = {
    "Adaptation": "transfer",
    "AutoMultiTaskClassifier": "selection.auto",
    "AutoMultiTaskModel": "selection.auto",
    "AutoMultiTaskRegressor": "selection.auto",
    "BayesianMultiTaskClassifier": "linear",
    "BayesianMultiTaskModel": "linear",
    "BayesianMultiTaskRegressor": "linear",
    "Comparison": "comparison",
    "Explanation": "explanation",
    "MissingBlocks": "baselines",
    "Monitoring": "monitoring",
    "MultiTaskClassifier": "linear",
    "MultiTaskClassifierCV": "selection",
    "MultiTaskClassifierIC": "selection",
    "MultiTaskModel": "linear",
    "MultiTaskModelCV": "selection",
    "MultiTaskModelIC": "selection",
    "MultiTaskRegressor": "linear",
    "MultiTaskRegressorCV": "selection",
    "MultiTaskRegressorIC": "selection",
    "Pooled": "baselines",
    "Relatedness": "task_relations",
    "SingleTask": "baselines",
    "TaskData": "data",
    "adapt": "transfer",
    "calibrate": "selection",
    "compare": "comparison",
    "explain": "explanation",
    "load": "io",
    "monitor": "monitoring",
    "relatedness": "task_relations",
    "save": "io",
    "write_report": "reporting",
}

__all__ = [
    "Adaptation",
    "AutoMultiTaskClassifier",
    "AutoMultiTaskModel",
    "AutoMultiTaskRegressor",
    "BayesianMultiTaskClassifier",
    "BayesianMultiTaskModel",
    "BayesianMultiTaskRegressor",
    "Comparison",
    "ConvergenceWarning",
    "DataError",
    "DataWarning",
    "Explanation",
    "IncompatibleError",
    "MissingBlocks",
    "Monitoring",
    "MultiTaskClassifier",
    "MultiTaskClassifierCV",
    "MultiTaskClassifierIC",
    "MultiTaskModel",
    "MultiTaskModelCV",
    "MultiTaskModelIC",
    "MultiTaskRegressor",
    "MultiTaskRegressorCV",
    "MultiTaskRegressorIC",
    "ParameterError",
    "PolytaskError",
    "Pooled",
    "Relatedness",
    "SingleTask",
    "TaskData",
    "__version__",
    "adapt",
    "calibrate",
    "compare",
    "explain",
    "load",
    "monitor",
    "relatedness",
    "save",
    "write_report",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    if name not in _HOMES:
        raise AttributeError(f"module 'polytask' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"polytask.{_HOMES[name]}"), name)
    return globals().setdefault(name, found)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
