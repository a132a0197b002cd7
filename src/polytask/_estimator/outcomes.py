"""From labels to numbers: the loss of every task, its classes, and coded targets."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest, sentence
from polytask._estimator.places import row_message
from polytask.data import Form, TaskData
from polytask.data.target_kinds import python_words, read_target
from polytask.data.text_hints import odd_ones
from polytask.data.written_numbers import parse_number
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.losses import LOSSES, Logistic, Loss, Multinomial, Squared
from polytask.losses.parse import parse as parse_loss

Labels = NDArray[Any]
# Above it not every whole number is a float.
_EXACT_INTEGERS = 2.0**53


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Targets as numbers. Shapes: y (n_rows,)."""

    y: NDArray[np.float64]
    losses: tuple[Loss, ...]
    classes: tuple[Labels | None, ...]
    union: Labels | None

    @cached_property
    def n_outputs(self) -> tuple[int, ...]:
        """Number of columns of W that each task owns."""
        pairs = zip(self.losses, self.classes, strict=True)
        return tuple(loss.n_outputs(0 if c is None else len(c)) for loss, c in pairs)


def loss_object(loss: object, owner: str) -> Loss:
    """Return the loss of a name, or the loss itself."""
    if isinstance(loss, Loss):
        return loss
    named = parse_loss(loss, LOSSES) if isinstance(loss, str) else None
    if named is not None:
        return named
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
    y = numbers_of(data.y, owner, data.order)
    refuse_forbidden(y, (chosen,) * n, data, owner)
    return Outcomes(y, (chosen,) * n, (None,) * n, None)


def classification(data: TaskData, loss: object, owner: str) -> Outcomes:
    """Read class labels; ``loss="auto"`` chooses between two classes and several."""
    columns = _columns(data)
    found = [_distinct(column, owner) for column in columns]
    union = _union(found)
    if union is None:
        raise DataError(sentence("y", owner, "the labels of a task or more", "none"))
    _refuse_single_class(found, union, data, owner)
    pooled = data.form is not Form.TARGETS
    most = len(union) if pooled else max(len(c) for c in found)
    chosen = _class_loss(loss, most, owner)
    classes = tuple(_task_classes(c, union, chosen, pooled) for c in found)
    codes = [_codes(column, c) for column, c in zip(columns, classes, strict=True)]
    n = data.n_tasks
    return Outcomes(_joined(codes, data), (chosen,) * n, classes, union)


def mixed(data: TaskData, loss: object, owner: str) -> Outcomes:
    """Read targets whose tasks have losses of their own."""
    columns = _columns(data)
    chosen = _losses_by_task(data, loss, owner)
    found = [
        None if own is not None and not own.is_classifier else _distinct(column, f"{owner}, {at}")
        for at, column, own in zip(_names(data), columns, chosen, strict=True)
    ]
    pooled = data.form is not Form.TARGETS
    losses = _counted_losses(chosen, found, pooled, data, owner)
    pair = _union([c for c, own in zip(found, losses, strict=True) if own.of_two_classes])
    classes = tuple(
        None if seen is None else _task_classes(seen, pair, own, pooled)
        for seen, own in zip(found, losses, strict=True)
    )
    parts = [
        numbers_of(column, f"{owner}, {at}") if own is None else _codes(column, own)
        for at, column, own in zip(_names(data), columns, classes, strict=True)
    ]
    y = _joined(parts, data)
    refuse_forbidden(y, losses, data, owner)
    return Outcomes(y, losses, classes, _union(classes))


def _names(data: TaskData) -> list[str]:
    return [f"task {label!r}" for label in data.tasks]


def _counted_losses(
    chosen: list[Loss | None],
    found: list[Labels | None],
    pooled: bool,
    data: TaskData,
    owner: str,
) -> tuple[Loss, ...]:
    """Choose between two classes and several where the user left it open."""
    free = [c for c, own in zip(found, chosen, strict=True) if own is None]
    together = _union(free)
    losses: list[Loss] = []
    for label, own, seen in zip(data.tasks, chosen, found, strict=True):
        n_seen = 0 if seen is None else len(seen)
        if own is None:
            most = len(together) if pooled and together is not None else n_seen
            own = Logistic() if most <= 2 else Multinomial()  # noqa: PLW2901
        if own.of_two_classes and n_seen > 2:
            raise IncompatibleError(_too_many(own, n_seen, f"{owner}, task {label!r}"))
        losses.append(own)
    return tuple(losses)


def class_tasks(data: TaskData, owner: str) -> list[bool]:
    """Say for every task whether it has classes; the tasks of a column are judged together."""
    columns = _columns(data)
    if data.form is Form.TARGETS:
        names = _names(data)
        return [
            _has_classes(columns[t], data, f"{owner}, {names[t]}", 0) for t in range(len(columns))
        ]
    numeric = []
    for column in columns:
        plain = column.dtype.kind in "iuf"
        kinds: set[type] = set() if plain else set(map(type, column[_observed(column)].tolist()))
        numeric.append(bool not in kinds and all(issubclass(k, numbers.Real) for k in kinds))
    if not any(numeric):
        return [_has_classes(np.asarray(data.y), data, owner, 0)] * data.n_tasks
    rows = [column for column, is_numeric in zip(columns, numeric, strict=True) if is_numeric]
    together = _has_classes(np.concatenate(rows), data, owner, 0)
    return [
        together
        if is_numeric
        else _has_classes(column, data, f"{owner}, task {label!r}", data.task_slice(t).start)
        for t, (label, column, is_numeric) in enumerate(
            zip(data.tasks, columns, numeric, strict=True)
        )
    ]


def _has_classes(values: Labels, data: TaskData, owner: str, start: int) -> bool:
    """Say whether targets are classes; `start` is the row of the data that they begin with."""
    gaps = data.form is Form.TARGETS
    words = python_words(f"y of {owner}", lambda row: row_message(data, start + row), gaps=gaps)
    found = read_target(values, words)
    if found.written:
        raise DataError(
            f"{words.name} holds numbers written {found.written}: {words.numbers}, or say "
            f"{words.classes} if they are classes."
        )
    return found.is_class


def _losses_by_task(data: TaskData, loss: object, owner: str) -> list[Loss | None]:
    """Return the loss of each task; None stands for classes still to be counted."""
    if isinstance(loss, Mapping):
        _check_loss_names(loss, data.tasks, owner)
        return [loss_object(loss[label], owner) for label in data.tasks]
    if not (isinstance(loss, str) and loss == "auto"):
        return [loss_object(loss, owner)] * data.n_tasks
    return [None if classes else Squared() for classes in class_tasks(data, owner)]


def _check_loss_names(
    loss: Mapping[Hashable, object], tasks: tuple[Hashable, ...], owner: str
) -> None:
    unknown = [label for label in loss if label not in set(tasks)]
    if unknown:
        known = ", ".join(repr(label) for label in tasks[:5])
        allowed = f"a mapping of the tasks ({known}{', ...' if len(tasks) > 5 else ''})"
        raise ParameterError(
            sentence("loss", owner, allowed, repr(unknown[0])) + nearest(unknown[0], tasks)
        )
    lacking = [label for label in tasks if label not in loss]
    if lacking:
        raise ParameterError(
            sentence("loss", owner, "given for every task", f"none for {lacking[0]!r}")
        )


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
        # Labels with gaps are whole numbers that had to be stored as floats.
        if len(seen) < len(values) and np.all(np.abs(seen) < _EXACT_INTEGERS):
            seen = seen.astype(np.int64)
    return _sorted_set(seen)


def _union(found: Sequence[Labels | None]) -> Labels | None:
    """Return the sorted union of the classes of some tasks; None stands for numbers."""
    given = [classes for classes in found if classes is not None]
    if not given:
        return None
    # Text and numbers side by side would all become text.
    if len({classes.dtype.kind in "US" for classes in given}) > 1:
        given = [classes.astype(object) for classes in given]
    return _sorted_set(np.concatenate(given))


def _sorted_set(values: Labels) -> Labels:
    try:
        return np.unique(values)
    except TypeError:
        # Kinds that cannot be compared stand in the order of their names.
        labels = sorted(set(values.tolist()), key=lambda v: (type(v).__name__, v))
        out = np.empty(len(labels), dtype=object)
        out[:] = labels
        return out


def _refuse_single_class(found: list[Labels], union: Labels, data: TaskData, owner: str) -> None:
    if len(union) < 2:
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
    if chosen.of_two_classes and most > 2:
        raise IncompatibleError(_too_many(chosen, most, owner))
    return chosen


def _too_many(loss: Loss, most: int, owner: str) -> str:
    return (
        f"loss={loss.name!r} of {owner} is for two classes; y has {most}. "
        "Use loss='multinomial' or 'auto'."
    )


def _task_classes(found: Labels, union: Labels | None, loss: Loss, pooled: bool) -> Labels:
    """Return the classes of a task; two at most take the order of the union if there is one."""
    if loss.of_two_classes and union is not None and (pooled or len(found) < 2):
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


def numbers_of(
    y: Any,  # noqa: ANN401 - any array of labels
    owner: str,
    rows: NDArray[np.intp] | None = None,
) -> NDArray[np.float64]:
    array = np.asarray(y)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64, copy=False)
    cells = array.ravel().tolist()
    # Text that reads like a number is refused too: nobody knows whether it is a label.
    bad = [k for k, value in enumerate(cells) if not _is_number(value)]
    if bad:
        # Where all is text, what does not even read like a number is the culprit.
        texts = [str(cells[k]) for k in bad]
        first = min((bad[k] for k in odd_ones(texts)), default=bad[0])
        row = first // (array.size // max(len(array), 1))
        where = "" if rows is None else f"row {int(rows[row])}, counting from 0"
        twin = owner.replace("Regressor", "Classifier")
        advice = f" For labels use {twin if twin != owner else 'MultiTaskClassifier'}."
        if any(parse_number(str(cells[first]), mark) for mark in (".", ",")):
            advice += " Text such as this is read as numbers by polytask.data.read_numbers."
        raise DataError(sentence("y", owner, "numbers", repr(cells[first]), where) + advice)
    return array.astype(np.float64)


def refuse_forbidden(y: Labels, losses: Sequence[Loss], data: TaskData, owner: str) -> None:
    """Refuse targets for which the loss of their task is not defined. Shapes: y (n_rows,)."""
    for t, (label, loss) in enumerate(zip(data.tasks, losses, strict=True)):
        if loss.is_classifier or loss.follows_units:
            continue
        own = y[:, t] if data.form is Form.TARGETS else y[data.task_slice(t)]
        own = numbers_of(own, owner)
        bad = np.flatnonzero(~np.isnan(own) & ~np.asarray(loss.allows(own), dtype=bool))
        if len(bad):
            rows = f"{len(bad)} such rows" if len(bad) > 1 else "1 such row"
            got = f"{float(own[bad[0]])!r}"
            where = f"the first of {rows} of task {label!r}"
            allowed = f"{loss.allowed} for loss={loss.name!r}"
            raise DataError(sentence("y", owner, allowed, got, where))


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, numbers.Real | decimal.Decimal)
