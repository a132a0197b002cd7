"""From labels to numbers: loss, classes and coded targets of every task, and its columns of W."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import listed, nearest, sentence
from polytask._estimator.places import counted, row_message
from polytask.data import Form, TaskData
from polytask.data.target_kinds import python_words, read_target
from polytask.data.text_hints import odd_ones
from polytask.data.written_numbers import parse_number
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.losses import LOSSES, Logistic, Loss, Multinomial, Squared
from polytask.losses.parse import parse as parse_loss
from polytask.messages import LazyMessage, Text
from polytask.penalties import Columns

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
        sizes = [0 if c is None else len(c) for c in self.classes]
        pairs = list(zip(self.losses, sizes, strict=True))
        known = {pair: pair[0].n_outputs(pair[1]) for pair in dict.fromkeys(pairs)}
        return tuple(known[pair] for pair in pairs)

    @cached_property
    def all_roots(self) -> bool:
        """Whether every task counts by the root of its mean square."""
        return bool(self.losses) and all(loss.takes_root for loss in set(self.losses))


@dataclass(frozen=True, eq=False)
class Layout:
    """Which columns of W each task owns."""

    columns: Columns
    slices: tuple[slice, ...]


def make_layout(tasks: tuple[Hashable, ...], outcomes: Outcomes) -> Layout:
    """Lay out one column per task, or one per task and class."""
    ends = np.cumsum(outcomes.n_outputs)
    pairs = zip(ends, outcomes.n_outputs, strict=True)
    slices = tuple(slice(int(end - k), int(end)) for end, k in pairs)
    owners: list[Hashable] = []
    labels: list[Hashable | None] = []
    for task, part, loss, classes in zip(
        tasks, slices, outcomes.losses, outcomes.classes, strict=True
    ):
        owners += [task] * (part.stop - part.start)
        several = isinstance(loss, Multinomial) and classes is not None
        labels += classes.tolist() if several else [None]  # type: ignore[union-attr]
    return Layout(Columns(tuple(owners), tuple(labels)), slices)


def loss_object(loss: object, owner: str) -> Loss:
    """Return the loss of a name, or the loss itself."""
    if isinstance(loss, Loss):
        return loss
    named = parse_loss(loss, LOSSES) if isinstance(loss, str) else None
    if named is not None:
        return named
    allowed = LazyMessage("allowed.loss", {"options": listed(LOSSES)})
    hint = nearest(loss, LOSSES) if isinstance(loss, str) else ""
    raise ParameterError(sentence("loss", owner, allowed, repr(loss)) + hint)


def regression(data: TaskData, loss: object, owner: str) -> Outcomes:
    """Read numeric targets for one loss."""
    chosen = loss_object(loss, owner)
    if chosen.is_classifier:
        fields = {"owner": owner, "got": repr(chosen.name)}
        raise IncompatibleError(LazyMessage("estimator.refusal.loss_of_classes", fields))
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
        allowed = LazyMessage("allowed.some_labels")
        raise DataError(sentence("y", owner, allowed, LazyMessage("got.none")))
    _refuse_single_class(found, union, data, owner)
    pooled = data.form is not Form.TARGETS
    most = len(union) if pooled else max(len(c) for c in found)
    chosen = _class_loss(loss, most, owner)
    classes = tuple(_task_classes(c, union, chosen, pooled) for c in found)
    codes = [_codes(column, c) for column, c in zip(columns, classes, strict=True)]
    n = data.n_tasks
    return Outcomes(_joined(codes, data), (chosen,) * n, classes, union)


def coded(data: TaskData, known: Outcomes, owner: str) -> Outcomes:
    """Read the targets of a part of some data, of which the losses and classes are known."""
    columns = _columns(data)
    parts = [
        numbers_of(column, owner, data.order) if own is None else _codes(column, own)
        for column, own in zip(columns, known.classes, strict=True)
    ]
    y = _joined(parts, data)
    refuse_forbidden(y, known.losses, data, owner)
    return replace(known, y=y)


def mixed(data: TaskData, loss: object, owner: str) -> Outcomes:
    """Read targets whose tasks have losses of their own."""
    columns = _columns(data)
    chosen = _losses_by_task(data, loss, owner)
    found = [
        None if own is not None and not own.is_classifier else _distinct(column, at)
        for at, column, own in zip(_owners(data, owner), columns, chosen, strict=True)
    ]
    pooled = data.form is not Form.TARGETS
    losses = _counted_losses(chosen, found, pooled, data, owner)
    pair = _union([c for c, own in zip(found, losses, strict=True) if own.of_two_classes])
    classes = tuple(
        None if seen is None else _task_classes(seen, pair, own, pooled)
        for seen, own in zip(found, losses, strict=True)
    )
    parts = [
        numbers_of(column, at) if own is None else _codes(column, own)
        for at, column, own in zip(_owners(data, owner), columns, classes, strict=True)
    ]
    y = _joined(parts, data)
    refuse_forbidden(y, losses, data, owner)
    return Outcomes(y, losses, classes, _union(classes))


def _owners(data: TaskData, owner: str) -> list[LazyMessage]:
    """Say of every task that it is one of what learns."""
    return [
        LazyMessage("place.task_of", {"owner": owner, "task": repr(label)}) for label in data.tasks
    ]


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
    for at, own, seen in zip(_owners(data, owner), chosen, found, strict=True):
        n_seen = 0 if seen is None else len(seen)
        if own is None:
            most = len(together) if pooled and together is not None else n_seen
            own = Logistic() if most <= 2 else Multinomial()  # noqa: PLW2901
        if own.of_two_classes and n_seen > 2:
            raise IncompatibleError(_too_many(own, n_seen, at))
        losses.append(own)
    return tuple(losses)


def class_tasks(data: TaskData, owner: str) -> list[bool]:
    """Say for every task whether it has classes; the tasks of a column are judged together."""
    columns, owners = _columns(data), _owners(data, owner)
    if data.form is Form.TARGETS:
        return [
            _has_classes(column, data, at, 0) for column, at in zip(columns, owners, strict=True)
        ]
    numeric = []
    for column in columns:
        plain = column.dtype.kind in "iuf"
        kinds: set[type] = set() if plain else set(map(type, column[_observed(column)].tolist()))
        real = bool not in kinds and all(issubclass(k, numbers.Real) for k in kinds)
        numeric.append(plain or (bool(kinds) and real))
    if not any(numeric):
        return [_has_classes(np.asarray(data.y), data, owner, 0)] * data.n_tasks
    rows = [column for column, is_numeric in zip(columns, numeric, strict=True) if is_numeric]
    together = _has_classes(np.concatenate(rows), data, owner, 0)
    found = []
    for t, (at, column, is_numeric) in enumerate(zip(owners, columns, numeric, strict=True)):
        # A task without rows is of the kind of all.
        values, start = np.asarray(data.y), 0
        if len(column):
            values, start = column, data.task_slice(t).start
        found.append(together if is_numeric else _has_classes(values, data, at, start))
    return found


def _has_classes(values: Labels, data: TaskData, owner: Text, start: int) -> bool:
    """Say whether targets are classes; `start` is the row of the data that they begin with."""
    gaps = data.form is Form.TARGETS
    name = LazyMessage("what.targets_of", {"owner": owner})
    words = python_words(name, lambda row: row_message(data, start + row), gaps=gaps)
    found = read_target(values, words)
    if found.written:
        fields = {"what": name, "how": found.written, "numbers": words.numbers}
        fields |= {"classes": words.classes}
        raise DataError(LazyMessage("estimator.refusal.written", fields))
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
        known = ", ".join(repr(label) for label in tasks[:5]) + ", ..." * (len(tasks) > 5)
        allowed = LazyMessage("allowed.mapping_of", {"names": known})
        raise ParameterError(
            sentence("loss", owner, allowed, repr(unknown[0])) + nearest(unknown[0], tasks)
        )
    lacking = [label for label in tasks if label not in loss]
    if lacking:
        allowed = LazyMessage("allowed.every_task")
        got = LazyMessage("got.none_for", {"lacking": repr(lacking[0])})
        raise ParameterError(sentence("loss", owner, allowed, got))


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


def _distinct(values: Labels, owner: Text) -> Labels:
    seen = values[_observed(values)]
    if seen.dtype.kind == "f":
        if np.any(seen != np.floor(seen)):
            raise DataError(LazyMessage("estimator.refusal.continuous", {"owner": owner}))
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
        got = str(union.tolist()) if len(union) else LazyMessage("got.no_label_at_all")
        fields = {"owner": owner, "got": got}
        raise DataError(LazyMessage("estimator.refusal.one_class", fields))
    if data.form is Form.TARGETS:
        for label, classes in zip(data.tasks, found, strict=True):
            if len(classes) == 0:
                fields = {"owner": owner, "task": repr(label)}
                raise DataError(LazyMessage("estimator.refusal.no_label", fields))


def _class_loss(loss: object, most: int, owner: str) -> Loss:
    if isinstance(loss, str) and loss == "auto":
        return Logistic() if most <= 2 else Multinomial()
    chosen = loss_object(loss, owner)
    if not chosen.is_classifier:
        fields = {"owner": owner, "got": repr(chosen.name)}
        raise IncompatibleError(LazyMessage("estimator.refusal.loss_of_numbers", fields))
    if chosen.of_two_classes and most > 2:
        raise IncompatibleError(_too_many(chosen, most, owner))
    return chosen


def _too_many(loss: Loss, most: int, owner: Text) -> LazyMessage:
    fields = {"loss": repr(loss.name), "owner": owner, "n": most}
    return LazyMessage("estimator.refusal.two_classes", fields)


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


def codes_of(values: Labels, classes: Labels, owner: Text) -> NDArray[np.float64]:
    """Return labels as their places among the classes of a model, refusing any other."""
    position = {label: k for k, label in enumerate(np.asarray(classes).tolist())}
    given = np.asarray(values).tolist()
    unknown = [label for label in given if label not in position]
    if unknown:
        allowed = LazyMessage("allowed.known_classes", {"names": ", ".join(map(repr, position))})
        told = sentence("y", owner, allowed, repr(unknown[0]))
        raise DataError(told + nearest(unknown[0], list(position)))
    return np.array([position[label] for label in given], dtype=float)


def numbers_of(
    y: Any,  # noqa: ANN401 - any array of labels
    owner: Text,
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
        where = "" if rows is None else counted(LazyMessage("place.row", {"row": str(rows[row])}))
        model = str(owner if isinstance(owner, str) else owner.fields["owner"])
        twin = model.replace("Regressor", "Classifier")
        twin = "MultiTaskClassifier" if twin == model else twin
        told = sentence("y", owner, LazyMessage("allowed.numbers"), repr(cells[first]), where)
        told += LazyMessage("hint.classifier", {"name": twin})
        if any(parse_number(str(cells[first]), mark) for mark in (".", ",")):
            told += LazyMessage("hint.read_numbers")
        raise DataError(told)
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
            got = f"{float(own[bad[0]])!r}"
            fields = {"allowed": loss.allowed, "loss": repr(loss.name)}
            allowed = LazyMessage("allowed.for_loss", fields)
            start = 0 if data.form is Form.TARGETS else data.task_slice(t).start
            place = counted(row_message(data, start + int(bad[0])))
            of_task = {"n": len(bad), "task": repr(label), "place": place}
            where = LazyMessage("place.first_of_task", of_task)
            raise DataError(sentence("y", owner, allowed, got, where))


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, numbers.Real | decimal.Decimal)
