"""From labels to numbers: the loss of every task, its classes, and coded targets."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest, sentence
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.losses import LOSSES, Logistic, Loss, Multinomial, Squared

Labels = NDArray[Any]
LossLike = str | Loss


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Targets as numbers.

    Attributes
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_tasks)
        Numbers, or positions in the task's classes; NaN where a label is missing.
    losses : tuple of Loss
        The loss of each task.
    classes : tuple of ndarray or None
        The classes of each task, None for regression.
    union : ndarray or None
        The sorted union of all classes; None if no task has classes, or if the targets
        have classes of kinds that cannot be compared.
    """

    y: NDArray[np.float64]
    losses: tuple[Loss, ...]
    classes: tuple[Labels | None, ...]
    union: Labels | None

    @property
    def n_outputs(self) -> tuple[int, ...]:
        """Number of columns of W that each task owns."""
        pairs = zip(self.losses, self.classes, strict=True)
        return tuple(loss.n_outputs(0 if c is None else len(c)) for loss, c in pairs)


def loss_object(loss: object, owner: str) -> Loss:
    """Return the loss of a name, or the loss itself.

    Raises
    ------
    ParameterError
        If there is no such loss.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]()
    names = ", ".join(repr(name) for name in LOSSES)
    allowed = f"one of {names}, or a loss from polytask.losses"
    hint = nearest(loss, LOSSES) if isinstance(loss, str) else ""
    raise ParameterError(sentence("loss", owner, allowed, repr(loss)) + hint)


def regression(data: TaskData, loss: object, owner: str) -> Outcomes:
    """Read numeric targets for one loss."""
    chosen = loss_object(loss, owner)
    if chosen.is_classifier:
        raise IncompatibleError(
            f"loss of {owner} must be a loss of numbers; got {chosen.name!r}, which is for "
            "classes: use MultiTaskClassifier."
        )
    n = data.n_tasks
    return Outcomes(_numbers(data.y, owner), (chosen,) * n, (None,) * n, None)


def classification(data: TaskData, loss: object, owner: str) -> Outcomes:
    """Read class labels; ``loss="auto"`` chooses between two classes and several."""
    columns = _columns(data)
    found = [_distinct(column, owner) for column in columns]
    union = _union(found)
    _refuse_single_class(found, union, data, owner)
    pooled = data.form is not Form.TARGETS
    most = len(union) if pooled and union is not None else max(len(c) for c in found)
    chosen = _class_loss(loss, most, owner)
    classes = tuple(_task_classes(c, union, chosen, pooled) for c in found)
    codes = [_codes(column, c) for column, c in zip(columns, classes, strict=True)]
    n = data.n_tasks
    return Outcomes(_joined(codes, data), (chosen,) * n, classes, union)


def mixed(data: TaskData, loss: object, owner: str) -> Outcomes:
    """Read targets whose tasks have losses of their own."""
    chosen = _losses_by_task(data, loss, owner)
    columns = _columns(data)
    parts, classes, final = [], [], []
    for label, column, own in zip(data.tasks, columns, chosen, strict=True):
        if own is None or own.is_classifier:
            found = _distinct(column, f"{owner} (task {label!r})")
            exact = own or (Logistic() if len(found) <= 2 else Multinomial())
            if isinstance(exact, Logistic) and len(found) > 2:
                raise IncompatibleError(_too_many(exact, len(found), f"{owner}, task {label!r}"))
            parts.append(_codes(column, found))
            classes.append(found)
            final.append(exact)
        else:
            parts.append(_numbers(column, f"{owner}, task {label!r}"))
            classes.append(None)
            final.append(own)
    present = [c for c in classes if c is not None]
    return Outcomes(_joined(parts, data), tuple(final), tuple(classes), _union(present))


def looks_like_classes(values: Labels) -> bool:
    """Say whether targets are classes: not numbers, or numbers with two distinct values."""
    if values.dtype.kind in "biuf":
        seen = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        return values.dtype.kind == "b" or len(np.unique(seen)) == 2
    seen = values[_observed(values)]
    kinds = {type(value) for value in seen.tolist()}
    numeric = kinds <= {int, float}
    return not numeric or len(set(seen.tolist())) == 2


def _losses_by_task(data: TaskData, loss: object, owner: str) -> list[Loss | None]:
    """Return the loss of each task; None stands for classes still to be counted."""
    if isinstance(loss, Mapping):
        unknown = [label for label in loss if label not in set(data.tasks)]
        if unknown:
            known = ", ".join(repr(label) for label in data.tasks[:5])
            hint = nearest(unknown[0], data.tasks)
            allowed = f"a mapping of the tasks ({known}, ...)"
            raise ParameterError(sentence("loss", owner, allowed, repr(unknown[0])) + hint)
        lacking = [label for label in data.tasks if label not in loss]
        if lacking:
            raise ParameterError(
                sentence("loss", owner, "given for every task", f"none for {lacking[0]!r}")
            )
        return [_own_loss(loss[label], owner) for label in data.tasks]
    if loss != "auto":
        return [_own_loss(loss, owner)] * data.n_tasks
    if data.form is Form.TARGETS:
        kinds = [looks_like_classes(column) for column in _columns(data)]
    else:
        kinds = [looks_like_classes(np.asarray(data.y))] * data.n_tasks
    return [None if classes else Squared() for classes in kinds]


def _own_loss(loss: object, owner: str) -> Loss:
    return loss_object(loss, owner)


def _columns(data: TaskData) -> list[Labels]:
    """Return the labels of each task; in the targets form with their gaps."""
    y = np.asarray(data.y)
    if data.form is Form.TARGETS:
        return [y[:, t] for t in range(data.n_tasks)]
    return [y[data.task_slice(t)] for t in range(data.n_tasks)]


def _joined(columns: list[NDArray[np.float64]], data: TaskData) -> NDArray[np.float64]:
    if data.form is Form.TARGETS:
        return np.column_stack(columns)
    return np.concatenate(columns)


def _observed(values: Labels) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return ~np.isnan(values)
    if values.dtype.kind == "O":
        return np.array([value is not None and value == value for value in values], dtype=bool)
    return np.ones(len(values), dtype=bool)


def _distinct(values: Labels, owner: str) -> Labels:
    seen = values[_observed(values)]
    if seen.dtype.kind == "f":
        if np.any(seen != np.floor(seen)):
            raise DataError(
                f"Unknown label type: continuous. y of {owner} must hold class labels; got "
                "numbers with fractions. Use a regressor for numbers."
            )
        if seen.dtype != values.dtype or np.any(~_observed(values)):
            seen = seen.astype(np.int64)
    try:
        return np.unique(seen)
    except TypeError:
        return np.array(sorted(set(seen.tolist()), key=lambda v: (str(type(v)), v)), dtype=object)


def _union(found: list[Labels]) -> Labels | None:
    if not found:
        return None
    try:
        return np.unique(np.concatenate(found))
    except TypeError:
        return None


def _refuse_single_class(
    found: list[Labels], union: Labels | None, data: TaskData, owner: str
) -> None:
    if union is not None and len(union) < 2:
        raise DataError(
            f"y of {owner} must hold at least two classes; got one class only: "
            f"{union.tolist() if len(union) else 'no label at all'}."
        )
    if data.form is Form.TARGETS:
        for label, classes in zip(data.tasks, found, strict=True):
            if len(classes) == 0:
                raise DataError(f"y of {owner} must hold a label; task {label!r} has none.")


def _class_loss(loss: object, most: int, owner: str) -> Loss:
    if isinstance(loss, str) and loss == "auto":
        return Logistic() if most <= 2 else Multinomial()
    chosen = loss_object(loss, owner)
    if not chosen.is_classifier:
        raise IncompatibleError(
            f"loss of {owner} must be a loss of classes; got {chosen.name!r}, which is for "
            "numbers: use MultiTaskRegressor."
        )
    if isinstance(chosen, Logistic) and most > 2:
        raise IncompatibleError(_too_many(chosen, most, owner))
    return chosen


def _too_many(loss: Loss, most: int, owner: str) -> str:
    return (
        f"loss={loss.name!r} of {owner} is for two classes; y has {most}. "
        "Use loss='multinomial' or 'auto'."
    )


def _task_classes(
    found: Labels, union: Labels | None, loss: Loss, pooled: bool
) -> Labels:
    """A task of two classes at most takes the order of the union where there is one."""
    if isinstance(loss, Logistic) and union is not None and (pooled or len(found) < 2):
        return union if len(union) <= 2 else found
    return found


def _codes(values: Labels, classes: Labels) -> NDArray[np.float64]:
    codes = np.full(len(values), np.nan)
    seen = _observed(values)
    if classes.dtype.kind == "O":
        position: dict[Hashable, int] = {label: k for k, label in enumerate(classes.tolist())}
        codes[seen] = [position[label] for label in values[seen].tolist()]
    else:
        codes[seen] = np.searchsorted(classes, values[seen].astype(classes.dtype))
    return codes


def _numbers(y: Any, owner: str) -> NDArray[np.float64]:  # noqa: ANN401 - any array of labels
    array = np.asarray(y)
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        bad = next(v for v in array.ravel().tolist() if not _is_number(v))
        raise DataError(
            sentence("y", owner, "numbers", repr(bad)) + " For labels use MultiTaskClassifier."
        ) from None


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value is None
    return True
