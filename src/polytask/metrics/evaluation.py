"""Metrics of all tasks at once, and which of them to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polytask._checks import listed, nearest, sentence
from polytask.exceptions import ParameterError
from polytask.metrics.catalogue import METRICS, Metric
from polytask.metrics.held_out import HeldOut
from polytask.metrics.scores import TaskScores

OF_NUMBERS = ("r2_within", "rmse", "mae")
OF_CLASSES = ("accuracy", "majority", "auc", "log_loss", "calibration")
RARE = 0.2


@dataclass(frozen=True)
class Evaluation:
    """One metric of one model.

    Attributes
    ----------
    overall : float
        Over the rows of all tasks together where that has a meaning and no mean over tasks was
        asked for, else the mean over tasks; NaN if undefined.
    by_task : TaskScores
        One value per task, in the order of the parts; NaN where it is undefined, and for
        tasks whose kind of outcome the metric is not for. ``by_task.mean`` is the mean over
        the tasks that have one.
    undefined : int
        How many of the tasks that the metric is for have no score.
    """

    overall: float
    by_task: TaskScores
    undefined: int


def evaluate(
    parts: Sequence[HeldOut], names: Sequence[str], *, mean_over_tasks: bool = False
) -> dict[str, Evaluation]:
    """Score held-out predictions of one model by several metrics.

    The score of a regressor, ``model.score(X, y)``, is "d2".

    Parameters
    ----------
    parts : sequence of HeldOut
        One for each task.
    names : sequence of str
        Keys of :data:`METRICS`.
    mean_over_tasks : bool, default=False
        Whether the overall score is the mean over tasks: for the columns of a target matrix,
        which are different quantities.

    Returns
    -------
    dict of str to Evaluation
        By name, in the given order.

    Raises
    ------
    ParameterError
        If there is no metric of this name.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.metrics import HeldOut, evaluate
    >>> first = HeldOut(y=np.array([1.0, 3.0]), prediction=np.array([1.0, 2.0]), baseline=0.0)
    >>> second = HeldOut(y=np.array([5.0]), prediction=np.array([5.0]), baseline=0.0)
    >>> found = evaluate([first, second], ["d2", "r2_within"])
    >>> round(found["d2"].overall, 3), found["d2"].by_task.values
    (0.971, (0.9, 1.0))
    >>> found["r2_within"].overall, found["r2_within"].undefined
    (0.5, 1)
    """
    for name in names:
        if name not in METRICS:
            message = sentence("names", "evaluate", listed(METRICS), repr(name))
            raise ParameterError(message + nearest(name, METRICS))
    return {name: _evaluation(METRICS[name], parts, mean_over_tasks) for name in names}


def default_metrics(parts: Sequence[HeldOut]) -> tuple[str, ...]:
    """Return the names of the metrics to show for these outcomes.

    Accuracy never comes without the majority rate beside it; average precision joins where
    under 20% of the rows of two-class tasks are positive, the mean deviance where there are
    counts or amounts with a loss of their own.

    Parameters
    ----------
    parts : sequence of HeldOut
        One for each task.

    Returns
    -------
    tuple of str
        Keys of :data:`METRICS`, "d2" first.
    """
    labelled = [held for held in parts if held.classes is not None]
    numbers = OF_NUMBERS if len(labelled) < len(parts) else ()
    if any(held.loss is not None for held in parts):
        numbers = ("deviance", *numbers)
    classes: tuple[str, ...] = OF_CLASSES if labelled else ()
    if labelled and _positives_are_rare(labelled):
        after = OF_CLASSES.index("auc") + 1
        classes = (*OF_CLASSES[:after], "average_precision", *OF_CLASSES[after:])
    return ("d2", *numbers, *classes)


def _evaluation(metric: Metric, parts: Sequence[HeldOut], mean_over_tasks: bool) -> Evaluation:
    values = tuple(metric.by_task(held) for held in parts)
    own = [v for v, held in zip(values, parts, strict=True) if metric.fits(held)]
    by_task = TaskScores(values)
    overall = by_task.mean if mean_over_tasks else metric.overall(parts)
    return Evaluation(overall, by_task, int(np.isnan(own).sum()))


def _positives_are_rare(parts: Sequence[HeldOut]) -> bool:
    """Whether all tasks have two classes, and few rows of all together the second."""
    if any(np.size(held.baseline) > 2 for held in parts):
        return False
    rows = sum(held.total for held in parts)
    weights = [np.ones(len(held.y)) if held.weight is None else held.weight for held in parts]
    pairs = zip(parts, weights, strict=True)
    positives = sum(float(weight[held.y == 1].sum()) for held, weight in pairs)
    return positives < RARE * rows
