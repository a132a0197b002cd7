"""From what `compare` is given to data, coded targets and facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from polytask._checks import listed, sentence
from polytask._estimator.groupings import READING_GROUPINGS
from polytask._estimator.outcomes import (
    Outcomes,
    class_tasks,
    classification,
    loss_object,
    mixed,
    regression,
)
from polytask._estimator.training import TaskColumns, check_task_column
from polytask.data import Form, TaskData
from polytask.data.labels import are_measured
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage

OWNER = "compare"


def read_problem(
    X: object,
    y: object,
    task: object,
    sample_weight: object,
    task_column: TaskColumns,
    *,
    least: int = 2,
) -> TaskData:
    """Read the three data forms, and refuse fewer tasks than are compared."""
    check_task_column(task_column, OWNER, groupings=True)
    data = READING_GROUPINGS.training(X, y, task, sample_weight, task_column, OWNER)
    if data.n_tasks < least:
        fields = {"owner": OWNER, "n": data.n_tasks}
        raise DataError(LazyMessage("estimator.refusal.one_task", fields))
    floats = data.form is Form.LONG and all(isinstance(task, float) for task in data.tasks)
    if floats and are_measured(np.array(data.tasks), data.task_rows()):
        fields = {"owner": OWNER, "n": data.n_tasks}
        raise DataError(LazyMessage("estimator.refusal.measured_task", fields))
    return data


def read_outcomes(data: TaskData, loss: object, owner: str = OWNER) -> tuple[str, Outcomes, Any]:
    """Tell what the targets are and code them."""
    if isinstance(loss, Mapping):
        return "mixed", mixed(data, loss, owner), dict(loss)
    if loss != "auto" and loss_object(loss, owner).is_classifier:
        return "classification", classification(data, loss, owner), loss
    if loss != "auto":
        return "regression", regression(data, loss, owner), loss
    kinds = class_tasks(data, owner)
    if all(kinds):
        return "classification", classification(data, "auto", owner), "auto"
    if not any(kinds):
        return "regression", regression(data, "squared", owner), "squared"
    outcomes = mixed(data, "auto", owner)
    # By name: what the rows of a training part look like must not decide anew.
    return "mixed", outcomes, dict(zip(data.tasks, outcomes.losses, strict=True))


def check_metric(name: object, names: Mapping[str, Any]) -> str:
    """Return the name of the verdict's metric."""
    if name is None:
        return "d2"
    if isinstance(name, str) and name in names:
        return name
    allowed = LazyMessage("allowed.none_or", {"allowed": listed(names)})
    raise ParameterError(sentence("metric", OWNER, allowed, repr(name)))
