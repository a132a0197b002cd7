"""The score of every estimator: against what a constant learned on the training rows predicts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.outcomes import numbers_of, refuse_forbidden
from polytask._estimator.outputs import RowsFunction
from polytask._estimator.predictors import labels_from, probabilities_from
from polytask._estimator.query import Query
from polytask._registry import State, fields_of, saveable
from polytask.data import Form, TaskData
from polytask.data.missing import surely_finite
from polytask.exceptions import DataError
from polytask.losses import LogLink, Loss
from polytask.messages import LazyMessage
from polytask.metrics.evaluation import Evaluation, evaluate
from polytask.metrics.held_out import HeldOut
from polytask.metrics.scores import TaskScores, accuracy, best_constant, scores_by_task
from polytask.metrics.summaries import LossSums

Array = NDArray[np.float64]
Labels = NDArray[Any]
Weights = Array | None


class LossTasks(Protocol):
    """What predicts the rows of one task by a loss."""

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task."""
        ...

    def classes_of(self, task: int) -> Labels | None:
        """Return the classes of a task, None for numbers."""
        ...

    def eta(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        """Return the predictors, shape (n_rows, columns of the task)."""
        ...


class LabelledTask(NamedTuple):
    """The labelled rows of a task: its number in the model, its rows, labels and weights."""

    task: int
    rows: Any
    y: Labels
    weight: Weights


def labelled_rows(data: TaskData, codes: NDArray[np.intp] | None = None) -> list[LabelledTask]:
    """Return the labelled rows of every task."""
    truth, weight = np.asarray(data.y), data.sample_weight
    if data.form is Form.TARGETS and surely_finite(truth):
        return [LabelledTask(t, slice(None), y, weight) for t, y in enumerate(truth.T)]
    if data.form is Form.TARGETS:
        return [
            LabelledTask(t, seen, truth[seen, t], None if weight is None else weight[seen])
            for t, seen in enumerate(data.labelled().T)
        ]
    known = np.arange(data.n_tasks) if codes is None else np.asarray(codes)
    slices = [data.task_slice(k) for k in range(data.n_tasks)]
    return [
        LabelledTask(int(code), rows, truth[rows], None if weight is None else weight[rows])
        for code, rows in zip(known, slices, strict=True)
        if rows.stop > rows.start
    ]


def judged_by(loss: Loss) -> Loss | None:
    """Return the loss that numbers predicted by a loss are judged by; None: squared errors."""
    # Huber's and the square root of the squared loss are ways to fit a mean, and where the first
    # one turns depends on how targets were scaled.
    return loss if loss.judges_predictions else None


@saveable("estimator.baseline")
@dataclass(frozen=True, eq=False)
class ConstantBaseline:
    """What a constant learned on the training rows predicts: what `score` compares with."""

    constants: tuple[float | dict[Hashable, float], ...]
    weights: tuple[float, ...]

    def to_state(self) -> State:
        """Return the fields by name."""
        return fields_of(self)

    @classmethod
    def from_state(cls, state: State) -> ConstantBaseline:
        """Rebuild the object from :meth:`to_state`."""
        return cls(**state)

    def of_task(self, task: int) -> float | dict[Hashable, float]:
        """Return the constant of a task; -1 is an unseen one."""
        return self.constants[0 if len(self.constants) == 1 else task]

    def weighted(self, factor: float) -> ConstantBaseline:
        """Return the same constants with all weights times a factor."""
        return ConstantBaseline(self.constants, tuple(factor * n for n in self.weights))

    def extended(self, other: ConstantBaseline) -> ConstantBaseline:
        """Return the constants of further tasks behind these."""
        return ConstantBaseline(self.constants + other.constants, self.weights + other.weights)

    def merged(self, other: ConstantBaseline) -> ConstantBaseline:
        """Return the means of the rows of both, for numbers; the other one may know more tasks."""
        more = len(other.constants) - len(self.constants)
        constants, weights = (*self.constants, *[np.nan] * more), (*self.weights, *[0.0] * more)
        pairs = zip(constants, weights, other.constants, other.weights, strict=True)
        # A target without labels has no mean yet.
        means = [
            b if not n else a if not m else float(np.average(np.array([a, b]), weights=[n, m]))
            for a, n, b, m in pairs
        ]
        total = [a + b for a, b in zip(weights, other.weights, strict=True)]
        return ConstantBaseline(tuple(means), tuple(total))


class TaskLosses(NamedTuple):
    """Sums over the rows of a task: their unit, the weights, and the losses."""

    unit: tuple[str, Loss | None] | None
    total: float
    losses: LossSums

    @classmethod
    def of(cls, held: HeldOut) -> TaskLosses:
        """Return those of held-out rows."""
        return cls(held.unit, held.total, LossSums.of(held))

    def joined(self, other: TaskLosses) -> TaskLosses:
        """Return the sums of these rows and others of the task."""
        total = self.total + other.total
        return TaskLosses(self.unit, total, self.losses.joined(other.losses))


@dataclass(frozen=True, eq=False)
class ScoreSums:
    """What the score of rows needs of them, so that rows can be somewhere else."""

    by_task: Mapping[Hashable, TaskLosses]
    mean_over_tasks: bool

    def joined(self, other: ScoreSums) -> ScoreSums:
        """Return the sums of these rows and others."""
        found = dict(self.by_task)
        for label, own in other.by_task.items():
            found[label] = found[label].joined(own) if label in found else own
        return ScoreSums(found, self.mean_over_tasks)

    @property
    def score(self) -> float:
        """What `score` of an estimator returns."""
        own = [task for task in self.by_task.values() if task.total > 0]
        if self.mean_over_tasks or len({task.unit for task in own}) > 1:
            return TaskScores(tuple(task.losses.explained for task in own)).mean
        return reduce(TaskLosses.joined, own).losses.explained if own else float("nan")


# Whether targets are classes, and the loss that predicted numbers are judged by.
_Unit = tuple[bool, Loss | None]


def _unit(known: LossTasks | None, task: int) -> _Unit:
    if known is None:
        return False, None
    classes = known.classes_of(task) is not None
    return classes, None if classes else judged_by(known.loss_of(task))


def _constant(
    unit: _Unit, parts: Sequence[LabelledTask], owner: str
) -> tuple[float | dict[Hashable, float], float]:
    """Return what predicts labels best without features, and the sum of their weights."""
    weights = [np.ones(len(p.y)) if p.weight is None else p.weight for p in parts]
    weight = np.concatenate([np.empty(0), *weights])
    total, (is_class, loss) = float(weight.sum()), unit
    if is_class:
        shares: dict[Hashable, float] = {}
        for part, own in zip(parts, weights, strict=True):
            labels = part.y.tolist()
            for label in dict.fromkeys(labels):
                seen = np.array([one == label for one in labels])
                shares[label] = shares.get(label, 0.0) + float(own[seen].sum()) / total
        return shares, total
    if not total > 0:
        return float("nan"), 0.0
    y = np.concatenate([numbers_of(part.y, owner) for part in parts])
    if loss is None or isinstance(loss, LogLink):
        return float(weight @ y) / total, total
    return best_constant(loss, y, weight), total


@dataclass(frozen=True, eq=False)
class Scoring:
    """Scores rows by what a model predicts."""

    predict: RowsFunction
    known: LossTasks | None
    n_tasks: int
    targets: bool
    owner: str

    @cached_property
    def _units(self) -> list[_Unit]:
        return [_unit(self.known, t) for t in range(self.n_tasks)]

    def baseline(self, parts: Sequence[LabelledTask]) -> ConstantBaseline:
        """Learn what a constant predicts, on the rows of all tasks where these are alike."""
        units = self._units
        if not self.targets and len(set(units)) == 1:
            groups = [(units[0], list(parts))]
        else:
            groups = [(unit, [p for p in parts if p.task == t]) for t, unit in enumerate(units)]
        found = [_constant(unit, own, self.owner) for unit, own in groups]
        return ConstantBaseline(tuple(c for c, _ in found), tuple(weight for _, weight in found))

    def baseline_of(self, data: TaskData) -> ConstantBaseline:
        """Learn what a constant predicts, on the rows of some data."""
        y, weight = np.asarray(data.y), data.sample_weight
        units = set(self._units)
        means = not any(
            is_class or not (loss is None or isinstance(loss, LogLink)) for is_class, loss in units
        )
        if not (data.form is Form.TARGETS and means and y.dtype.kind == "f" and surely_finite(y)):
            return self.baseline(labelled_rows(data))
        # One product reads the targets once, where a sum of each column would read them T times.
        weight = np.ones(len(y)) if weight is None else weight
        total = float(weight.sum())
        constants = (weight @ y / total) if total > 0 else np.full(self.n_tasks, np.nan)
        return ConstantBaseline(tuple(constants.tolist()), (total,) * self.n_tasks)

    def explained(
        self, data: TaskData, query: Query, baseline: ConstantBaseline | None
    ) -> Evaluation:
        """Return the share of the loss of a constant that is explained: "d2" of the metrics."""
        held = self._held(data, query, labelled_rows(data, query.codes), baseline)
        return evaluate(held, ["d2"], mean_over_tasks=self.targets)["d2"]

    def sums(self, data: TaskData, query: Query, baseline: ConstantBaseline | None) -> ScoreSums:
        """Return what the score of these rows needs; without a baseline that is the accuracy."""
        parts = labelled_rows(data, query.codes)
        labels = [
            label for label, n in zip(data.tasks, data.task_rows(), strict=True)
            if n or data.form is Form.TARGETS
        ]  # fmt: skip
        if baseline is None:
            found = map(_misses, parts, self._natural(parts, query))
        else:
            found = map(TaskLosses.of, self._held(data, query, parts, baseline))
        return ScoreSums(dict(zip(labels, found, strict=True)), self.targets)

    def _held(
        self,
        data: TaskData,
        query: Query,
        parts: list[LabelledTask],
        baseline: ConstantBaseline | None,
    ) -> list[HeldOut]:
        """Return the labelled rows of every task beside what is predicted."""
        if self.known is not None:
            codes = range(data.n_tasks) if query.codes is None else query.codes.tolist()
            losses = [self.known.loss_of(t) for t in codes]
            refuse_forbidden(np.asarray(data.y), losses, data, self.owner)
        baseline = self.baseline(parts) if baseline is None else baseline
        found: Sequence[Labels | None] = [None] * len(parts)
        # Numbers beside classes are predicted task by task: beside text they are no array.
        if self.known is None or not any(_unit(self.known, p.task)[0] for p in parts):
            found = self._natural(parts, query)
        return [
            self.held_out(part, query.data.X, baseline, own)
            for part, own in zip(parts, found, strict=True)
        ]

    def accuracy(self, data: TaskData, query: Query) -> Evaluation:
        """Return the share of rows of which the class is predicted right."""
        parts = labelled_rows(data, query.codes)
        found = zip(parts, self._natural(parts, query), strict=True)
        by_task = scores_by_task(((part.y, own, part.weight) for part, own in found), accuracy)
        overall = by_task.mean
        if not self.targets and parts:
            weights = [len(p.y) if p.weight is None else p.weight.sum() for p in parts]
            overall = float(np.average(by_task.values, weights=weights))
        return Evaluation(overall, by_task, by_task.undefined)

    def _natural(self, parts: Sequence[LabelledTask], query: Query) -> list[Labels]:
        X = query.data.X
        if query.codes is None:
            return [
                self.predict(X[p.rows], np.full(len(p.y), p.task)) if len(p.y) else p.y
                for p in parts
            ]
        found = self.predict(X, query.row_tasks())
        return [found[part.rows] for part in parts]

    def held_out(
        self,
        part: LabelledTask,
        X: Any,  # noqa: ANN401 - dense or sparse
        baseline: ConstantBaseline,
        predicted: Labels | None = None,
    ) -> HeldOut:
        """Return rows of a task beside what is predicted; None: by the loss of the task."""
        known, t = self.known, part.task
        constant = baseline.of_task(t)
        classes = None if known is None else known.classes_of(t)
        loss = None if known is None or classes is not None else judged_by(known.loss_of(t))
        if known is not None and classes is not None and isinstance(constant, dict):
            table = probabilities_from(known.eta(X[part.rows], t), classes, known.loss_of(t))
            labels = classes.tolist()
            return HeldOut(
                y=_codes(part.y, labels, self.owner),
                prediction=np.argmax(table, axis=1),
                baseline=np.array([constant.get(label, 0.0) for label in labels]),
                probabilities=table,
                classes=classes,
                weight=part.weight,
            )
        if predicted is None and known is not None:
            predicted = labels_from(known.eta(X[part.rows], t), None, known.loss_of(t))
        return HeldOut(
            y=numbers_of(part.y, self.owner),
            prediction=np.asarray(predicted),
            baseline=cast("float", constant),
            loss=loss,
            weight=part.weight,
        )


def _misses(part: LabelledTask, predicted: Labels) -> TaskLosses:
    """Return the weight of the rows of a task whose class is predicted wrong, and of all."""
    weight = np.ones(len(part.y)) if part.weight is None else part.weight
    total, missed = float(weight.sum()), np.asarray(part.y) != np.asarray(predicted)
    return TaskLosses(None, total, LossSums(float(weight @ missed), total, 0.0))


def _codes(labels: Labels, classes: list[Hashable], owner: str) -> NDArray[np.intp]:
    position = {label: k for k, label in enumerate(classes)}
    unknown = [label for label in labels.tolist() if label not in position]
    if unknown:
        fields = {"owner": owner, "classes": str(classes), "got": repr(unknown[0])}
        raise DataError(LazyMessage("estimator.refusal.unknown_class", fields))
    return np.array([position[label] for label in labels.tolist()], dtype=np.intp)
