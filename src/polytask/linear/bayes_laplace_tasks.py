"""Tasks predicted with the posterior of each, and further rows of classes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest, sentence
from polytask._estimator import Outcomes, Query
from polytask._estimator.outcomes import make_layout
from polytask._estimator.predictors import labels_from
from polytask._estimator.query import InputSchema, read_query
from polytask._estimator.scaling import FeatureScaling, refuse_huge_values
from polytask._estimator.scored import scored_data
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.bayes.laplace_rows import Labelled
from polytask.bayes.posterior import LaplacePosterior
from polytask.data import Form, LabelIndex, TaskData
from polytask.exceptions import DataError
from polytask.linear._bayes_rows import column_presence, numbers_of, presence, with_ones
from polytask.linear._export import plain_model
from polytask.linear.adapted_coefficients import AdaptedCoefficients, line_given
from polytask.linear.heavy_weights import refuse_heavy
from polytask.linear.prediction import LinearTasks, finite_product, refuse_overflow
from polytask.losses import Logistic, LogLink, Loss, Multinomial
from polytask.messages import LazyMessage, Text

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Labels = NDArray[Any]


_LOSS = Logistic()
# Rows whose variances are worked out at a time.
_PIECE = 4096


@saveable("linear.task_units")
@dataclass(frozen=True, eq=False)
class TaskUnits:
    """Units of the linear predictors, ``level + scale z'w``, and dispersions, NaN of classes."""

    # Shapes: level, scale, dispersion (n_tasks,).

    level: Array
    scale: Array
    dispersion: Array


@saveable("linear.bayes_class_tasks")
@dataclass(frozen=True, eq=False)
class LaplaceTasks:
    """Posteriors of the tasks, with the scaling in which they were learned."""

    # Shapes: mean, scale (n_features,), present (n_tasks, n_features).
    # One posterior has a line for each column of `linear`; where every class has one, its lines
    # are the tasks.

    linear: LinearTasks
    posteriors: list[LaplacePosterior]
    mean: Array
    scale: Array
    present: NDArray[np.bool_] | None
    given: tuple[AdaptedCoefficients, ...] = ()
    units: TaskUnits | None = None

    @property
    def slices(self) -> tuple[slice, ...]:
        """The columns of each task."""
        return self.linear.slices

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The loss of each task, which says whether it has one column or one per class."""
        return self.linear.losses

    @property
    def union(self) -> Labels | None:
        """The union of the classes."""
        return self.linear.union

    def classes_of(self, task: int) -> Labels | None:
        """Return the classes of a task; an unseen one has the union."""
        return self.linear.classes_of(task)

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task; an unseen one has that of all."""
        return self.linear.loss_of(task)

    def eta(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the predictors of the expected targets, shape (n_rows, columns of the task)."""
        loss = self.loss_of(task)
        numbers = not loss.is_classifier and not isinstance(loss, LogLink)
        variances: Any = 0.0 if numbers else self.variances(X, task)
        return expected_predictors(self.modes(X, task), variances, loss)

    def modes(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the linear predictors at the mode, shaped as those of :meth:`eta`."""
        coef, intercept = self.parameters(task)
        return np.asarray(finite_product(X, coef) + intercept, dtype=np.float64)

    def probabilities(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return class probabilities, shape (n_rows, classes of the task)."""
        classes = self.classes_of(task)
        if classes is not None and len(classes) == 1:
            return np.ones((X.shape[0], 1))
        return class_probabilities(self.eta(X, task), self.loss_of(task))

    def labels_of(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        """Return the most probable classes, shape (n_rows,)."""
        classes = self.classes_of(task)
        if classes is not None and len(classes) == 1:
            return np.repeat(classes, X.shape[0])
        return labels_from(self.eta(X, task), classes, self.loss_of(task))

    def variances(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the posterior variances of the linear predictors, shaped as them."""
        scale = 1.0 if self.units is None else float(self.units.scale[max(task, 0)])
        columns = self.columns_of(task)
        found = np.empty((X.shape[0], len(columns)))
        for start in range(0, len(found), _PIECE):
            part = slice(start, start + _PIECE)
            Z = self.scaled(X[part], task)
            for k in range(len(columns)):
                found[part, k] = scale**2 * self._variance(Z, task, k)
        return found

    def _variance(self, Z: Array, task: int, k: int) -> Array:
        known = self._posterior_of(task, k)
        if known is None:
            return np.zeros(len(Z))
        posterior, line = known
        return posterior.variance(posterior.prior.coordinates(Z), line)

    def covariance(self, task: int, k: int) -> Array:
        """Return the posterior covariance of a column of a task, in the columns of the prior."""
        known = self._posterior_of(task, k)
        if known is None:
            width = len(self.posteriors[0].prior.mean)
            return np.zeros((width, width))
        posterior, line = known
        return posterior.covariance(line)

    def _posterior_of(self, task: int, k: int) -> tuple[LaplacePosterior, int] | None:
        """Return the posterior of a column of a task and its line; None if it counts as known."""
        given = line_given(self.given, task)
        if given is not None and not given.unseen:
            return None
        alone = len(self.posteriors) == 1
        posterior = self.posteriors[self.problems_of(task)[k]]
        line = -1 if given is not None or self._borrows(task) else task
        if alone and line >= 0:
            line = self.slices[task].start + k
        return posterior, line

    @property
    def several(self) -> bool:
        """Whether there is one posterior per class."""
        return isinstance(self.losses[0], Multinomial)

    def columns_of(self, task: int) -> tuple[Hashable | None, ...]:
        """Return the class of every column of a task."""
        if not isinstance(self.loss_of(task), Multinomial):
            return (None,)
        if self._borrows(task):
            assert self.union is not None
            return tuple(self.union.tolist())
        return self.linear.labels[self.slices[task]]

    def problems_of(self, task: int) -> list[int]:
        """Return the position of the posterior of every column of a task."""
        alone = len(self.posteriors) == 1
        return [0 if alone else self._number(label) for label in self.columns_of(task)]

    def _number(self, label: Hashable | None) -> int:
        if label is None or self.union is None:
            return 0
        return list(self.union.tolist()).index(label)

    def _borrows(self, task: int) -> bool:
        return task < 0 or self.slices[task].start == self.slices[task].stop

    def parameters(self, task: int) -> tuple[Array, Array]:
        """Return coefficients and intercepts of a task; one without its own has the prior mean."""
        if task < 0:
            self.linear.refuse_unlike()
        if not self._borrows(task):
            columns = self.slices[task]
            return self.linear.coef[columns], self.linear.intercept[columns]
        lines = self.prior_lines()[self.problems_of(task)]
        return lines[:, 1:], lines[:, 0]

    def prior_lines(self) -> Array:
        """Return the prior means in original units, the intercept first, a line for each prior."""
        priors = [posterior.prior for posterior in self.posteriors]
        means = np.concatenate([prior.lifted(prior.mean[None]) for prior in priors]).T
        units = self.units
        level, scale = (0.0, 1.0) if units is None else (units.level[0], units.scale[0])
        scaling = FeatureScaling(self.mean, self.scale, active=True)
        coef, intercept = scaling.restore(scale * means[1:], scale * means[0], None)
        return np.column_stack([intercept + level, coef.T])

    def scaled(
        self,
        X: Any,  # noqa: ANN401 - dense or sparse
        task: int,
        present: NDArray[np.bool_] | None = None,
    ) -> Array:
        """Return scaled dense rows with ones in front; features that a task lacks are 0."""
        if self.present is not None and task >= 0:
            present = self.present[task]
        exists = None if present is None else np.broadcast_to(present, X.shape)
        scaling = FeatureScaling(self.mean, self.scale, active=True)
        with np.errstate(over="ignore"):
            features = scaling.features(X.astype(np.float64), None if is_sparse(X) else exists)
        Z, shift = with_ones(features)
        dense = Z.toarray() if is_sparse(Z) else Z
        return refuse_overflow(np.asarray(dense if shift is None else dense - shift))


def expected_predictors(modes: Array, variances: Array, loss: Loss) -> Array:
    """Return the predictors of expected targets, for predictors with these modes and variances."""
    # A linear predictor is normal under the posterior, with variance v. The expectation of its
    # exponential has the predictor ``eta + v / 2``; that of its logistic function has, to a good
    # approximation, ``eta / sqrt(1 + pi v / 8)``: the log odds of each class.
    if loss.is_classifier:
        return np.asarray(modes / np.sqrt(1.0 + np.pi / 8.0 * variances))
    return np.asarray(modes + 0.5 * variances) if isinstance(loss, LogLink) else modes


def class_probabilities(eta: Array, loss: Loss) -> Array:
    """Return probabilities of log odds, of each of several classes against the others."""
    # Shapes: eta (n, 1) or (n, n_classes), result (n, n_classes).
    positive = np.asarray(_LOSS.inverse_link(eta))
    if isinstance(loss, Multinomial):
        return np.asarray(positive / positive.sum(axis=1, keepdims=True))
    return np.column_stack([1.0 - positive[:, 0], positive[:, 0]])


@dataclass(frozen=True, eq=False)
class TaskFrame:
    """The tasks of a model. Shapes: present (n_tasks, n_features)."""

    tasks: tuple[Hashable, ...]
    present: NDArray[np.bool_] | None
    precision: np.dtype[Any]


def tasks_of(
    frame: TaskFrame,
    outcomes: Outcomes,
    posteriors: list[LaplacePosterior],
    scaling: FeatureScaling,
    counts: Array,
    units: TaskUnits | None = None,
) -> LaplaceTasks:
    """Join posteriors, classes and scaling into what predicts. Shapes: counts (n_tasks,)."""
    lifted = [posterior.prior.lifted(posterior.coef) for posterior in posteriors]
    linear = linear_of(frame, outcomes, lifted, scaling, counts, units)
    mean, scale = scaling.mean, scaling.scale
    return LaplaceTasks(linear, posteriors, mean, scale, frame.present, units=units)


def linear_of(
    frame: TaskFrame,
    outcomes: Outcomes,
    lines: list[Array],
    scaling: FeatureScaling,
    counts: Array,
    units: TaskUnits | None,
) -> LinearTasks:
    """Return coefficients in original units, of lines of each class or of all columns."""
    # Shapes: lines (n_tasks or columns, 1 + n_features) each, scaled; counts (n_tasks,).
    layout = make_layout(frame.tasks, outcomes)
    widths = [part.stop - part.start for part in layout.slices]
    W = np.zeros((len(scaling.scale) + 1, len(layout.columns.tasks)))
    order = [] if outcomes.union is None else outcomes.union.tolist()
    alone = len(lines) == 1
    for t, part in enumerate(layout.slices):
        for column in range(part.start, part.stop):
            number = 0 if alone else order.index(layout.columns.classes[column])
            W[:, column] = lines[number][column if alone else t]
    present = None if frame.present is None else np.repeat(frame.present, widths, axis=0)
    level: Any = 0.0
    if units is not None:
        level, scale = (np.repeat(own, widths) for own in (units.level, units.scale))
        W *= scale
    coef, intercept = scaling.restore(W[1:], W[0] + level, present)
    return LinearTasks(
        coef=coef.T.astype(frame.precision),
        intercept=intercept.astype(frame.precision),
        slices=layout.slices,
        losses=outcomes.losses,
        classes=outcomes.classes,
        labels=layout.columns.classes,
        counts=counts,
        union=outcomes.union,
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """The further rows of one task."""

    # Shapes: Z (n, p), y (n,), weight (n,).

    label: Hashable
    position: int
    Z: Array
    y: Labels
    weight: Array


def updated_state(
    schema: InputSchema, tasks: LaplaceTasks, given: tuple[Any, Any, Any, Any], classes: object
) -> tuple[InputSchema, LaplaceTasks]:
    """Return what a fitted classifier knows after further rows."""
    check_classes(classes, tasks, schema.owner)
    raw = scored_data(schema, *given)
    query = read_query(schema, raw, None, "shared")
    refuse_huge_values(query.data.X, "X", schema.owner)
    if raw.sample_weight is not None:
        refuse_heavy(raw.sample_weight, schema.owner)
    numbers, labels = numbers_of(schema, raw, query)
    present = presence(tasks.present, query, numbers, (len(tasks.slices), len(labels)))
    rows = _rows(tasks, raw, query, (numbers, labels))
    sets = _class_sets(tasks, rows, schema.owner)
    columns = column_presence(schema, raw, numbers, len(labels))
    new = replace(schema, index=LabelIndex(labels), present=columns)
    return new, _updated_tasks(tasks, rows, sets, (labels, present))


def check_classes(classes: object, tasks: LaplaceTasks, owner: str) -> None:
    """Refuse classes that the model does not know; None is none."""
    if classes is not None:
        _check_classes(np.asarray(classes).tolist(), tasks, owner)


def _check_classes(given: list[Any], tasks: LaplaceTasks, owner: Text) -> None:
    known = [] if tasks.union is None else tasks.union.tolist()
    strangers = [label for label in given if label not in known]
    if strangers:
        names = {"names": ", ".join(map(repr, known[:5]))}
        allowed = LazyMessage("allowed.classes_of_model", names)
        told = sentence("classes", owner, allowed, repr(strangers[0]))
        raise DataError(told + nearest(strangers[0], known))


def _rows(
    tasks: LaplaceTasks, raw: TaskData, query: Query, found: tuple[Index, tuple[Hashable, ...]]
) -> list[_Rows]:
    """Return the rows of every task that has some; known tasks without are left out."""
    numbers, labels = found
    rows: list[_Rows] = []
    for k, position in enumerate(numbers.tolist()):
        part: Any
        if raw.form is Form.TARGETS:
            part, y = np.flatnonzero(raw.labelled()[:, k]), np.asarray(raw.y)[:, k]
        else:
            part, y = raw.task_slice(k), np.asarray(raw.y)
        truth, known = y[part], position < len(tasks.slices)
        if known and not len(truth):
            continue
        # Known tasks have the features that they had.
        present = None if known or query.data.present is None else query.data.present[k]
        weight = np.ones(len(truth)) if raw.sample_weight is None else raw.sample_weight[part]
        Z = tasks.scaled(query.data.X[part], position if known else -1, present)
        rows.append(_Rows(labels[position], position, Z, truth, weight))
    return rows


def _class_sets(tasks: LaplaceTasks, rows: list[_Rows], owner: str) -> list[Labels | None]:
    """Return the classes of every task, known and new; refuse classes that cannot be learned."""
    sets: list[Labels | None] = list(tasks.linear.classes)
    union = np.asarray(tasks.union)
    order = union.tolist()
    for part in sorted(rows, key=lambda r: r.position):
        seen = set(part.y.tolist())
        at = {"owner": f"{owner}.partial_fit", "task": repr(part.label)}
        _check_classes(sorted(seen, key=repr), tasks, LazyMessage("place.task_of", at))
        held = sets[part.position] if part.position < len(sets) else None
        if held is None or len(held) == 0:
            own = np.array([label in seen for label in order], dtype=bool)
            fresh = union[own] if tasks.several else union
            if part.position < len(sets):
                sets[part.position] = fresh
            else:
                sets.append(fresh)
        elif not seen <= set(held.tolist()):
            strange = next(label for label in seen if label not in set(held.tolist()))
            fields = {"task": repr(part.label), "owner": owner}
            fields |= {"classes": str(held.tolist()), "got": repr(strange)}
            raise DataError(LazyMessage("linear.refusal.further_class", fields))
    return sets


def _updated_tasks(
    tasks: LaplaceTasks,
    rows: list[_Rows],
    sets: list[Labels | None],
    frame: tuple[tuple[Hashable, ...], NDArray[np.bool_] | None],
) -> LaplaceTasks:
    labels, present = frame
    n_known = len(tasks.slices)
    numbers = [None] if not tasks.several else np.asarray(tasks.union).tolist()
    posteriors = []
    for posterior, label in zip(tasks.posteriors, numbers, strict=True):
        used = [r for r in rows if r.position >= n_known or _takes_part(label, sets[r.position])]
        used.sort(key=lambda r: r.position)
        parts = [_problem_rows(r, label, sets[r.position]) for r in used]
        offsets = np.cumsum([0, *[len(y) for _, y, _ in parts]]).astype(np.intp)
        width = posterior.prior.n_features + 1
        labelled = Labelled(
            Z=np.concatenate([np.zeros((0, width)), *[Z for Z, _, _ in parts]]),
            y=np.concatenate([np.zeros(0), *[y for _, y, _ in parts]]),
            weight=np.concatenate([np.zeros(0), *[w for _, _, w in parts]]),
            offsets=offsets,
        )
        positions = np.array([r.position for r in used], dtype=np.intp)
        posteriors.append(posterior.updated(labelled, positions))
    counts = np.concatenate([tasks.linear.counts, np.zeros(len(labels) - n_known)])
    for part in rows:
        counts[part.position] += part.weight.sum()
    loss = tasks.losses[0]
    outcomes = Outcomes(np.zeros(0), (loss,) * len(labels), tuple(sets), tasks.union)
    scaling = FeatureScaling(tasks.mean, tasks.scale, active=True)
    every = TaskFrame(labels, present, tasks.linear.coef.dtype)
    return tasks_of(every, outcomes, posteriors, scaling, counts)


def _takes_part(label: Hashable | None, classes: Labels | None) -> bool:
    if label is None:
        return True
    return classes is not None and len(classes) > 1 and label in classes.tolist()


def _problem_rows(
    rows: _Rows, label: Hashable | None, classes: Labels | None
) -> tuple[Array, Array, Array]:
    """Return rows, 0 or 1, and weights for the problem of a class; none if it has no say."""
    if not _takes_part(label, classes):
        return rows.Z[:0], np.zeros(0), np.zeros(0)
    known = [] if classes is None else classes.tolist()
    positive = label if label is not None else known[-1]
    y = np.array([entry == positive for entry in rows.y.tolist()], dtype=np.float64)
    return rows.Z, y, rows.weight


def plain_task(linear: LinearTasks, task: int, features: NDArray[np.intp] | None) -> Any:  # noqa: ANN401
    """Return a fitted scikit-learn model with the coefficients of one task."""
    columns, classes = linear.slices[task], linear.classes[task]
    width = columns.stop - columns.start
    if width < 3 or classes is None:
        return plain_model(linear, task, features)
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import LabelBinarizer

    members = []
    for column in range(columns.start, columns.stop):
        member = LogisticRegression()
        coef = linear.coef[column : column + 1]
        member.coef_ = coef.copy() if features is None else coef[:, features]
        member.intercept_ = linear.intercept[column : column + 1].copy()
        member.classes_, member.n_iter_ = np.array([0, 1]), np.array([0], dtype=np.int32)
        member.n_features_in_ = member.coef_.shape[1]
        members.append(member)
    model = OneVsRestClassifier(LogisticRegression())
    model.estimators_ = members
    model.label_binarizer_ = LabelBinarizer(sparse_output=True).fit(classes)
    model.n_features_in_ = members[0].n_features_in_
    if not hasattr(model, "classes_"):  # a property in older versions
        model.classes_ = classes
    return model
