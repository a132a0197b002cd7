"""New tasks and new domains of networks; the one place here that needs PyTorch."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data import Form, TaskData
from polytask.deep.adapting import ChangesLayers, FineTuneResult, Method, Start, descend, method_of
from polytask.deep.prediction import AddedTask, DeepTasks
from polytask.losses import Multinomial
from polytask.transfer._candidates import alone, held_out
from polytask.transfer._chance import SURE, beats
from polytask.transfer._choice import choose, refuse_known_tasks
from polytask.transfer._deep_heads import Head, HeadPrior, Units, head_prior, units_of
from polytask.transfer._extend import added_card, indexed
from polytask.transfer._pulled import FEW, KNOWN, WIDER, Line, Rows
from polytask.transfer._report import Adaptation, Trial, report_of
from polytask.transfer._rows import OWNER, Given, NewTask

Array = NDArray[np.float64]
_FOLDS = 5
_WIDER = replace(WIDER, levels=(1.0,))


@dataclass(frozen=True, eq=False)
class _Predictor:
    """A task of a network before it is part of the model."""

    tasks: DeepTasks
    own: AddedTask

    def eta(self, X: Any) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the predictors of encoded rows, (n_rows, n_columns)."""
        whole = replace(self.tasks, added=(self.own,))
        return np.asarray(whole.eta(X, whole.n_trained), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Learned:
    """A task that was learned: how it predicts, how strongly it was held, steps of its layers."""

    # ``left_out`` is the loss of each row when its fold was left out, by which the steps were
    # chosen; None where there was nothing to choose.

    line: _Predictor
    strength: float
    steps: int = 0
    left_out: Array | None = None


@dataclass(frozen=True, eq=False)
class _Work:
    """A trained network, what its heads say, and how another task is to be learned."""

    # ``far`` says whether the level of a task may be further off than those known.

    tasks: DeepTasks
    prior: HeadPrior
    method: Method
    far: bool = False

    def adapted(self, task: NewTask, rows: Rows) -> _Learned:
        """Learn from some rows and what is known."""
        if not len(rows.y):
            return self.unchanged(task, rows)
        units = units_of(self.tasks, rows)
        prior, head = self._head(rows, units)
        plain = _Learned(self._predictor(rows, units, head.line), head.strength)
        method = self.method
        if not isinstance(method, ChangesLayers) or len(rows.y) < FEW or rows.of_one_class:
            return plain
        steps, left_out = self._steps(method, rows)
        if not steps:
            return replace(plain, left_out=left_out)
        course = self._descent(method, prior, head, rows, units, steps=steps)
        line = Line(course.head[:, :-1], course.head[:, -1])
        layers, additions = course.change.kept()
        changed = self._predictor(rows, units, line)
        own = replace(changed.own, layers=layers, additions=additions)
        return _Learned(replace(changed, own=own), head.strength, steps, left_out)

    def unchanged(self, task: NewTask, rows: Rows) -> _Learned:
        """Return a task that is predicted with what the others share."""
        return _Learned(self._with_line(Line(*self.tasks.shared), rows), np.inf)

    def alone(self, task: NewTask, rows: Rows) -> _Learned:
        """Learn a linear model of the features from the rows alone."""
        shape = (len(self.prior.mean), self.tasks.plan.n_features)
        like = Line(np.zeros(shape), np.zeros(shape[0]))
        found = alone(rows, like, np.asarray(self.tasks.feature_scale, dtype=np.float64))
        line = self._with_line(found.line, rows)
        return _Learned(replace(line, own=replace(line.own, reads_features=True)), 0.0)

    def _head(self, rows: Rows, units: Units) -> tuple[HeadPrior, Head]:
        H, scaled = self._features(rows), self._scaled(rows, units)
        prior = self.prior.loosened(H, scaled) if self.far else self.prior
        return prior, prior.learned(H, scaled, _WIDER if self.far else KNOWN)

    def _features(self, rows: Rows) -> Array:
        return np.asarray(self.tasks.features(rows.X, -1), dtype=np.float64)

    def _steps(self, method: ChangesLayers, rows: Rows) -> tuple[int, Array]:
        """Return how many steps predict rows left out better than none, beyond noise."""
        # The losses of the rows left out with so many steps come along.
        every = np.arange(len(rows.y))
        found: list[tuple[NDArray[np.intp], Array]] = []
        looks: tuple[int, ...] = ()
        for fold in rows.folds(_FOLDS):
            part, left = rows.part(np.setdiff1d(every, fold)), rows.part(fold)
            units = units_of(self.tasks, part)
            prior, head = self._head(part, units)
            course = self._descent(method, prior, head, part, units, watched=left.X)
            etas = course.seen * units.scale + units.mean
            looks = course.looks
            found.append((fold, np.array([left.losses(eta) for eta in etas])))
        order = np.argsort(np.concatenate([fold for fold, _ in found]))
        losses = np.concatenate([values for _, values in found], axis=1)[:, order]
        best = int(np.argmin(losses @ rows.weight))
        clear = beats(losses[best], losses[0], rows.weight, SURE)
        return looks[best if clear else 0], losses[best if clear else 0]

    def _descent(
        self,
        method: ChangesLayers,
        prior: HeadPrior,
        head: Head,
        rows: Rows,
        units: Units,
        *,
        watched: Any = None,  # noqa: ANN401 - dense or sparse
        steps: int | None = None,
    ) -> FineTuneResult:
        start = Start(prior.mean, prior.root, head.u, head.ridge)
        scaled = self._scaled(rows, units)
        given = rows.X, scaled.y, rows.weight
        return descend(self.tasks, method, start, given, scaled.loss, watched=watched, steps=steps)

    def _scaled(self, rows: Rows, units: Units) -> Rows:
        """Return rows with targets, and the loss, in the units of training."""
        y = (rows.y - units.mean) / units.scale
        return replace(rows, y=y, loss=self.tasks.loss_of(-1))

    def _predictor(self, rows: Rows, units: Units, line: Line) -> _Predictor:
        """Return the predictor of a head in the units of training."""
        level = line.intercept * units.scale + units.mean
        return self._with_line(Line(line.coef * units.scale, level), rows)

    def _with_line(self, line: Line, rows: Rows) -> _Predictor:
        classes = self.tasks.classes_of(-1)
        several = isinstance(rows.loss, Multinomial)
        own = AddedTask(
            loss=self.tasks.loss_of(-1),
            classes=classes,
            labels=tuple(np.asarray(classes).tolist()) if several else (None,),
            coef=np.asarray(line.coef, dtype=np.float64),
            intercept=np.asarray(line.intercept, dtype=np.float64),
        )
        return _Predictor(self.tasks, own)


def deep_tasks(model: Any, given: Given, method: object) -> Any:  # noqa: ANN401 - an estimator
    """Return a network with new tasks, each held at what the heads of the known ones say."""
    work = _work(model, method)
    found = [work.adapted(entry, entry.rows) for entry in given.tasks]
    trial = None
    if given.n_rows:
        after = [
            _left_out(given, entry, own, work)
            for entry, own in zip(given.tasks, found, strict=True)
        ]
        losses = {"adapted": np.concatenate(after), "source": _losses(given, work)}
        trial = Trial(losses, given.weight)
    return _reported(model, given, found, report_of(given, trial, None), work.method)


def _left_out(given: Given, task: NewTask, learned: _Learned, work: _Work) -> Array:
    """Return the loss of each row of a task when it is left out."""
    if learned.left_out is not None:
        return learned.left_out
    return held_out(replace(given, tasks=(task,)), work.adapted)


def deep_domain(
    model: Any,  # noqa: ANN401 - an estimator
    given: Given,
    source: TaskData | None,
    method: object,
) -> Any:  # noqa: ANN401
    """Return the best that can be made of a network and the rows of a new domain."""
    refuse_known_tasks(model, given)
    work = replace(_work(model, method), far=True)
    losses = {
        "adapted": held_out(given, work.adapted),
        "source": _losses(given, work),
        "target": held_out(given, work.alone),
    }
    report, pooled = choose(model, given, losses, source)
    if pooled is not None:
        return pooled
    learners = {"adapted": work.adapted, "source": work.unchanged, "target": work.alone}
    learner = learners[report.chosen]
    found = [learner(entry, entry.rows) for entry in given.tasks]
    return _reported(model, given, found, report, work.method)


def _work(model: Any, method: object) -> _Work:  # noqa: ANN401
    tasks: DeepTasks = model._tasks
    return _Work(tasks, head_prior(model, tasks), method_of(method, OWNER))


def _losses(given: Given, work: _Work) -> Array:
    """Return the loss of every row under what the known tasks share."""
    parts = [
        entry.rows.losses(work.unchanged(entry, entry.rows).line.eta(entry.rows.X))
        for entry in given.tasks
        if len(entry.rows.y)
    ]
    return np.concatenate(parts)


def _reported(
    model: Any,  # noqa: ANN401
    given: Given,
    found: Sequence[_Learned],
    report: Adaptation,
    method: Method,
) -> Any:  # noqa: ANN401
    """Return the model with the tasks that were learned, and the report."""
    new = _extended(model, given, [learned.line.own for learned in found])
    steps = tuple(learned.steps for learned in found)
    new.adaptation_ = replace(
        report,
        strengths=tuple(learned.strength for learned in found),
        steps=steps if isinstance(method, ChangesLayers) else (),
    )
    return new


def _extended(model: Any, given: Given, fresh: Sequence[AddedTask]) -> Any:  # noqa: ANN401
    """Return a copy of a model that has other tasks too."""
    new = copy.copy(model)
    old: DeepTasks = model._tasks
    new._tasks = tasks = dataclasses.replace(old, added=(*old.added, *fresh))
    indexed(new, model, given.tasks)
    labels = new._schema.index.labels[-len(fresh) :]
    columns = [(t, c) for t, own in zip(labels, fresh, strict=True) for c in own.labels]
    new.columns_ = (*model.columns_, *columns)
    rows = np.array([entry.rows.weight.sum() for entry in given.tasks])
    new.task_weight_sums_ = np.append(model.task_weight_sums_, rows)
    if hasattr(model, "task_classes_"):
        added = {t: own.classes for t, own in zip(labels, fresh, strict=True)}
        new.task_classes_ = {**model.task_classes_, **added}
        if model._schema.form is Form.TARGETS:
            new.classes_ = [tasks.classes_of(t) for t in range(len(tasks.slices))]
    new.data_card_ = added_card(model.data_card_, given)
    return new
