"""Weights of labels and of tasks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest, nonnegative, one_of, sentence
from polytask._estimator.outcomes import Outcomes
from polytask.data import Form, TaskData
from polytask.data.missing import surely_finite
from polytask.datafits import column_sums, spread_out
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage

Array = NDArray[np.float64]


def label_weights(data: TaskData, outcomes: Outcomes, class_weight: object, owner: str) -> Array:
    """Return the weight of every label, 0 where it is missing, shaped as the targets."""
    base = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
    wide = data.form is Form.TARGETS
    weight = base.astype(float, copy=False)
    if wide and surely_finite(outcomes.y):
        weight = spread_out(base, outcomes.y.shape[1])
    elif wide:
        weight = base[:, None] * ~np.isnan(outcomes.y)
    if class_weight is None:
        return weight
    check_class_weight(class_weight, outcomes, owner)
    weight = weight.copy()
    for t, classes in enumerate(outcomes.classes):
        if classes is None:
            continue
        part: Any = (slice(None), t) if wide else data.task_slice(t)
        codes = np.nan_to_num(outcomes.y[part]).astype(np.intp)
        totals = np.bincount(codes, weight[part], minlength=len(classes)).astype(float)
        weight[part] *= class_factors(class_weight, totals, classes)[codes]
    if not weight.any():
        allowed = LazyMessage("allowed.some_class_weight")
        raise ParameterError(sentence("class_weight", owner, allowed, repr(class_weight)))
    return weight


def count_labels(weight: Array) -> float:
    """Return the number of labels that have a weight."""
    if weight.ndim == 2 and not weight.strides[1]:
        return float(np.count_nonzero(weight[:, 0] > 0) * weight.shape[1])
    return float(np.count_nonzero(weight > 0))


def check_class_weight(class_weight: object, outcomes: Outcomes, owner: str) -> None:
    """Refuse weights of classes that are not to be read, or of classes that no task has."""
    if isinstance(class_weight, str):
        one_of(class_weight, "class_weight", owner, ("balanced",))
        return
    if not isinstance(class_weight, Mapping):
        allowed = LazyMessage("allowed.class_weight")
        raise ParameterError(sentence("class_weight", owner, allowed, repr(class_weight)))
    known = {label for c in outcomes.classes if c is not None for label in c.tolist()}
    for label, value in class_weight.items():
        nonnegative(value, f"class_weight[{label!r}]", owner)
        if label not in known:
            allowed = LazyMessage("allowed.mapping_of_classes")
            told = sentence("class_weight", owner, allowed, repr(label))
            raise ParameterError(told + nearest(label, known))


def class_factors(class_weight: Any, totals: Array, classes: Any) -> Array:  # noqa: ANN401
    """Return what multiplies the weights of each class of a task, (n_classes,), as `totals`."""
    if isinstance(class_weight, Mapping):
        return np.array([float(class_weight.get(label, 1.0)) for label in classes.tolist()])
    # Balanced within the task, as scikit-learn balances one problem.
    present = totals > 0
    factors = np.zeros(len(classes))
    factors[present] = totals.sum() / (present.sum() * totals[present])
    return factors


def task_scales(
    task_weight: Any,  # noqa: ANN401
    counts: Array,
    tasks: tuple[Hashable, ...],
    owner: str,
) -> Array:
    """Return s_t, the weight of each task in the objective."""
    if isinstance(task_weight, str) and task_weight == "equal":
        return np.ones(len(counts))
    if isinstance(task_weight, str):
        return np.asarray(counts / np.mean(counts[counts > 0]))
    if isinstance(task_weight, Mapping):
        lacking = [t for t in tasks if t not in task_weight]
        if lacking:
            got = LazyMessage("got.none_for", {"lacking": repr(lacking[0])})
            raise ParameterError(
                sentence("task_weight", owner, LazyMessage("allowed.every_task"), got)
            )
        unknown = [t for t in task_weight if t not in set(tasks)]
        if unknown:
            known = ", ".join(repr(label) for label in tasks[:5]) + ", ..." * (len(tasks) > 5)
            mapping = LazyMessage("allowed.mapping_of", {"names": known})
            told = sentence("task_weight", owner, mapping, repr(unknown[0]))
            raise ParameterError(told + nearest(unknown[0], tasks))
        task_weight = [task_weight[t] for t in tasks]
    allowed = LazyMessage("allowed.task_weight", {"n": len(counts)})
    try:
        given = np.asarray(task_weight, dtype=float)
    except (TypeError, ValueError):
        raise ParameterError(sentence("task_weight", owner, allowed, repr(task_weight))) from None
    wrong = given.shape != counts.shape or not np.all(np.isfinite(given)) or np.any(given < 0)
    if wrong or not np.any(given > 0):
        raise ParameterError(sentence("task_weight", owner, allowed, repr(task_weight)))
    return given


def sum_by_task(weight: Array, data: TaskData) -> Array:
    """Sum label weights over each task, shape (n_tasks,)."""
    if data.form is Form.TARGETS:
        return column_sums(weight)
    return np.bincount(data.row_tasks(), weight, minlength=data.n_tasks).astype(float)
