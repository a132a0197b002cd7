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
from polytask.deep.adapting import (
    ChangesLayers,
    DescentStart,
    FineTuneResult,
    Method,
    descend,
    method_of,
)
from polytask.deep.prediction import AddedTask, DeepTasks
from polytask.losses import Loss, Multinomial, Squared, SquareRoot
from polytask.transfer._candidates import alone, choose, held_out, refuse_known_tasks
from polytask.transfer._chance import SURE, beats
from polytask.transfer._extend import added_card, indexed
from polytask.transfer._pulled import (
    FEW,
    KNOWN,
    WIDER,
    Grid,
    Line,
    QuadraticPull,
    TaskRows,
    learn,
    level_factor,
    log_evidence,
)
from polytask.transfer._report import Adaptation, CandidateLosses, report_of
from polytask.transfer._rows import OWNER, NewRows, NewTask

Array = NDArray[np.float64]

# The covariance of heads is that of so many more heads that differ alike in all directions: it
# does what shrinkage does where tasks are few, and nothing where they are many.
_BORROWED = 4.0
# Below so many rows a target of its own units takes those of the known tasks.
_FEW = 5


@dataclass(frozen=True)
class TargetUnits:
    """What numbers of a target are divided by, after the mean is taken off."""

    mean: float
    scale: float


@dataclass(frozen=True, eq=False)
class Head:
    """A head that was learned. Shapes: u (r, n_columns)."""

    line: Line
    u: Array
    ridge: float
    strength: float


@dataclass(frozen=True, eq=False)
class HeadPrior:
    """Heads are ``mean + root u`` with u standard normal, the intercept last."""

    # Shapes: mean (n_columns, width + 1), root (width + 1, r).

    mean: Array
    root: Array
    noise: float

    def learned(self, H: Array, rows: TaskRows, grid: Grid) -> Head:
        """Return the head that the rows of a task ask for, exactly. Shapes: H (n_rows, width)."""
        found = learn(self._read(H, rows), self._start, self._held, grid)
        r, strength = self.root.shape[1], found.strength
        u = np.zeros((r, len(self.mean))) if np.isinf(strength) else found.line.coef[:, :r].T
        whole = self.mean + (self.root @ u).T
        ridge = self.noise * (strength if np.isfinite(strength) else 1.0)
        return Head(Line(whole[:, :-1], whole[:, -1]), u, ridge, strength)

    def loosened(self, H: Array, rows: TaskRows) -> HeadPrior:
        """Return the prior for a new domain, whose level may be further off than any known."""
        spread = float(np.mean(np.square(_extended(H) @ self.root).sum(axis=1)))
        if spread <= 0.0:
            return self

        def wider(factor: float) -> HeadPrior:
            level = np.zeros((len(self.root), 1))
            level[-1] = np.sqrt(factor * spread)
            return HeadPrior(self.mean, np.hstack([self.root, level]), self.noise)

        def evidence(factor: float) -> float:
            prior = wider(factor)
            return log_evidence(prior._read(H, rows), prior._start, prior._held)

        return wider(level_factor(evidence))

    def _read(self, H: Array, rows: TaskRows) -> TaskRows:
        """Return the rows in coordinates of the prior, and what the mean heads predict."""
        E = _extended(H)
        Z = np.column_stack([E @ self.root, E @ self.mean.T])
        return TaskRows(Z, rows.y, rows.weight, rows.loss)

    @property
    def _start(self) -> Line:
        k = len(self.mean)
        return Line(np.hstack([np.zeros((k, self.root.shape[1])), np.eye(k)]), np.zeros(k))

    @property
    def _held(self) -> QuadraticPull:
        r, k = self.root.shape[1], len(self.mean)
        # What the mean heads predict is held fast.
        strength = np.append(np.full(r, self.noise), np.full(k, np.inf))
        return QuadraticPull(np.zeros(r + k), strength, np.inf)


def _extended(H: Array) -> Array:
    return np.column_stack([np.asarray(H, dtype=np.float64), np.ones(len(H))])


def head_prior(model: Any, tasks: DeepTasks) -> HeadPrior:  # noqa: ANN401 - a deep estimator
    """Return what the heads of a trained network say about another one."""
    coef, intercept = tasks.mean_head()
    mean = np.column_stack([coef, intercept]).astype(np.float64)
    covariance = _covariance(tasks, mean)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return HeadPrior(mean, root[:, values > 0.0], _noise(model, tasks.loss_of(-1)))


def _covariance(tasks: DeepTasks, mean: Array) -> Array:
    """Return the covariance of heads about the mean head of their class."""
    heads = np.column_stack(tasks.heads())
    owners = np.repeat(np.arange(tasks.n_trained), tasks.plan.widths)
    # The row of the mean head that each class belongs to.
    several = tasks.union is not None and any(label is not None for label in tasks.labels)
    labels = np.asarray(tasks.union).tolist() if several else [None]
    place = {label: k for k, label in enumerate(labels)}
    known = tasks.counts[owners] > 0
    away = (heads - mean[[place[label] for label in tasks.labels]])[known]
    free = len(away) - len(mean)
    if free < 1:
        # One task: another one may differ from it by as much as its head is large.
        away, free = mean, len(mean)
    squares = away.T @ away
    alike = np.full(len(squares), np.trace(squares[:-1, :-1]) / max(len(squares) - 1, 1))
    alike[-1] = squares[-1, -1]
    share = _BORROWED / (free + _BORROWED)
    whole: Array = ((1.0 - share) * squares + share * np.diag(alike)) / free
    return whole


def _noise(model: Any, loss: Loss) -> float:  # noqa: ANN401 - a deep estimator
    """Return the variance of a label, from the losses of the epoch that was kept."""
    if not loss.follows_units:
        return 1.0
    history = model.history_
    by_epoch = history.training if history.held_out is None else history.held_out
    losses = by_epoch[model.solution_.best_epoch - 1]
    mean = float(np.mean(losses[np.isfinite(losses)]))
    if isinstance(loss, SquareRoot):
        mean = 0.5 * mean**2
    # Half a squared error; of other losses of numbers the scale at which they are a likelihood.
    scale = 2.0 * mean if isinstance(loss, Squared | SquareRoot) else mean
    return max(scale, np.finfo(np.float64).tiny)


def units_of(tasks: DeepTasks, rows: TaskRows) -> TargetUnits:
    """Return the units of the target of a new task."""
    # Those of the known tasks where they have one unit in common; else its own mean and standard
    # deviation, or with few rows the mean units of the tasks.
    means, scales = tasks.target_mean, tasks.target_scale
    if np.ptp(means) == 0.0 and np.ptp(scales) == 0.0:
        return TargetUnits(float(means[0]), float(scales[0]))
    if len(rows.y) >= _FEW:
        level = float(np.average(rows.y, weights=rows.weight))
        spread = float(np.sqrt(np.average((rows.y - level) ** 2, weights=rows.weight)))
        if spread > 0.0:
            return TargetUnits(level, spread)
    weights = tasks.counts if tasks.counts.any() else None
    return TargetUnits(
        float(np.average(means, weights=weights)), float(np.average(scales, weights=weights))
    )


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
class _AdaptedNetwork:
    """A trained network, what its heads say, and how another task is to be learned."""

    # ``far`` says whether the level of a task may be further off than those known.

    tasks: DeepTasks
    prior: HeadPrior
    method: Method
    far: bool = False

    def adapted(self, task: NewTask, rows: TaskRows) -> _Learned:
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

    def unchanged(self, task: NewTask, rows: TaskRows) -> _Learned:
        """Return a task that is predicted with what the others share."""
        return _Learned(self._with_line(Line(*self.tasks.shared), rows), np.inf)

    def alone(self, task: NewTask, rows: TaskRows) -> _Learned:
        """Learn a linear model of the features from the rows alone."""
        shape = (len(self.prior.mean), self.tasks.plan.n_features)
        like = Line(np.zeros(shape), np.zeros(shape[0]))
        found = alone(rows, like, np.asarray(self.tasks.feature_scale, dtype=np.float64))
        line = self._with_line(found.line, rows)
        return _Learned(replace(line, own=replace(line.own, reads_features=True)), 0.0)

    def _head(self, rows: TaskRows, units: TargetUnits) -> tuple[HeadPrior, Head]:
        H, scaled = self._features(rows), self._scaled(rows, units)
        prior = self.prior.loosened(H, scaled) if self.far else self.prior
        return prior, prior.learned(H, scaled, _WIDER if self.far else KNOWN)

    def _features(self, rows: TaskRows) -> Array:
        return np.asarray(self.tasks.features(rows.X, -1), dtype=np.float64)

    def _steps(self, method: ChangesLayers, rows: TaskRows) -> tuple[int, Array]:
        """Return how many steps predict rows left out significantly better than none."""
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
        rows: TaskRows,
        units: TargetUnits,
        *,
        watched: Any = None,  # noqa: ANN401 - dense or sparse
        steps: int | None = None,
    ) -> FineTuneResult:
        start = DescentStart(prior.mean, prior.root, head.u, head.ridge)
        scaled = self._scaled(rows, units)
        given = rows.X, scaled.y, rows.weight
        return descend(self.tasks, method, start, given, scaled.loss, watched=watched, steps=steps)

    def _scaled(self, rows: TaskRows, units: TargetUnits) -> TaskRows:
        """Return rows with targets, and the loss, in the units of training."""
        y = (rows.y - units.mean) / units.scale
        return replace(rows, y=y, loss=self.tasks.loss_of(-1))

    def _predictor(self, rows: TaskRows, units: TargetUnits, line: Line) -> _Predictor:
        """Return the predictor of a head in the units of training."""
        level = line.intercept * units.scale + units.mean
        return self._with_line(Line(line.coef * units.scale, level), rows)

    def _with_line(self, line: Line, rows: TaskRows) -> _Predictor:
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


def deep_tasks(model: Any, given: NewRows, method: object) -> Any:  # noqa: ANN401 - an estimator
    """Return a network with new tasks, each held at what the heads of the known ones say."""
    work = _work(model, method)
    found = [work.adapted(entry, entry.rows) for entry in given.tasks]
    trial = None
    if given.n_rows:
        after = [
            held_out(replace(given, tasks=(entry,)), work.adapted)
            if own.left_out is None
            else own.left_out
            for entry, own in zip(given.tasks, found, strict=True)
        ]
        losses = {"adapted": np.concatenate(after), "source": _losses(given, work)}
        trial = CandidateLosses(losses, given.weight)
    return _reported(model, given, found, report_of(given, trial, None), work.method)


def deep_domain(
    model: Any,  # noqa: ANN401 - an estimator
    given: NewRows,
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


def _work(model: Any, method: object) -> _AdaptedNetwork:  # noqa: ANN401
    tasks: DeepTasks = model._tasks
    return _AdaptedNetwork(tasks, head_prior(model, tasks), method_of(method, OWNER))


def _losses(given: NewRows, work: _AdaptedNetwork) -> Array:
    """Return the loss of every row under what the known tasks share."""
    parts = [
        entry.rows.losses(work.unchanged(entry, entry.rows).line.eta(entry.rows.X))
        for entry in given.tasks
        if len(entry.rows.y)
    ]
    return np.concatenate(parts)


def _reported(
    model: Any,  # noqa: ANN401
    given: NewRows,
    found: Sequence[_Learned],
    report: Adaptation,
    method: Method,
) -> Any:  # noqa: ANN401
    """Return the model with the tasks that were learned, and the report."""
    new = _with_new_tasks(model, given, [learned.line.own for learned in found])
    steps = tuple(learned.steps for learned in found)
    new.adaptation_ = replace(
        report,
        strengths=tuple(learned.strength for learned in found),
        steps=steps if isinstance(method, ChangesLayers) else (),
    )
    return new


def _with_new_tasks(model: Any, given: NewRows, fresh: Sequence[AddedTask]) -> Any:  # noqa: ANN401
    """Return a copy of a model that has other tasks too."""
    new = copy.copy(model)
    new._forget_held_out()
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
