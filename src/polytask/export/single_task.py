"""to_sklearn: one task as a model of scikit-learn."""

from __future__ import annotations

from typing import Any

from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage


def to_sklearn(model: Any, task: Any) -> Any:  # noqa: ANN401 - estimators and a label
    """Return one task of a model as a plain fitted scikit-learn model.

    Parameters
    ----------
    model : fitted estimator
        A linear model, :class:`~polytask.SingleTask`, or :class:`~polytask.Pooled` without a
        task effect; their method ``to_sklearn`` says what it returns.
    task : label
        One of its ``tasks_``.

    Returns
    -------
    estimator or Pipeline
        With the encoder in front if the model was fitted on a table.

    Raises
    ------
    DataError
        If there is no such task.
    IncompatibleError
        If no model of scikit-learn predicts as this one does.
    """
    if not hasattr(model, "to_sklearn"):
        fields = {"kind": type(model).__name__}
        raise IncompatibleError(LazyMessage("export.refusal.sklearn", fields))
    return model.to_sklearn(task)
