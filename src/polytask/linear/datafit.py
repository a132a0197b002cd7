"""From rows, losses, weights and intercepts, or moments, to a datafit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator import Outcomes
from polytask._estimator.outcomes import Layout
from polytask._estimator.scaling import (
    FAR,
    MOMENT_SCALES,
    FeatureScaling,
    TargetScaling,
    far_from_zero,
    feature_scaling,
    refuse_huge,
    safe_limit,
    scaling_of,
    target_scaling,
    unscaled_targets,
    wide_enough,
)
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import count_labels, label_weights, sum_by_task
from polytask._linalg import is_sparse, largest
from polytask.data import Form, TaskData
from polytask.datafits import (
    Block,
    ClassesBlock,
    Counted,
    Datafit,
    Features,
    Intercepts,
    MomentSquares,
    NoIntercepts,
    PulledIntercepts,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    SquareRootDatafit,
    Stacked,
    StackedClasses,
    TaskMoments,
    TiedIntercepts,
    Units,
    collect_shared,
    collect_stacked,
    in_units,
    on_rows,
    weights_of,
)
from polytask.exceptions import DataError
from polytask.losses import Huber, LogLink, Loss, Multinomial, Squared
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Groups = NDArray[np.intp]

# The modes that pull: to the mean of the tasks, or to what a source knows.
PULLED = ("auto", "toward_mean")
# The modes that make up for any shift of the features: one that tasks share does not, where
# their coefficients differ.
FREE = ("task",)
# So many deltas away sums of the Huber loss lose the rows that are near.
_FAR = 1e12


def effective_mode(mode: str | None, kappa: float) -> str | None:
    """Return the mode, where a pull of strength 0 is none."""
    return "task" if mode in PULLED and kappa == 0 else mode


def intercept_groups(
    mode: str | None, outcomes: Outcomes, labels: Sequence[Hashable | None], form: Form
) -> Groups:
    """Return the group within which the intercept of each column is tied or pulled."""
    # Shapes: result (n_columns,).
    if mode in ("task", None):
        return np.arange(len(labels), dtype=np.intp)
    one_quantity = form is not Form.TARGETS and len({loss.name for loss in outcomes.losses}) == 1
    keys: list[Hashable] = []
    for loss, classes, width in zip(
        outcomes.losses, outcomes.classes, outcomes.n_outputs, strict=True
    ):
        for label in labels[len(keys) : len(keys) + width]:
            alone = mode == "auto" and classes is None and not one_quantity
            keys.append(len(keys) if alone else (loss.name, label))
    numbers = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.intp)


def make_intercepts(mode: str | None, groups: Groups, kappa: float) -> Intercepts:
    """Return what the intercepts of `mode` may be; `kappa` is the strength of a pull."""
    if mode is None:
        return NoIntercepts()
    if mode in ("task", "shared"):
        return TiedIntercepts(groups)
    return PulledIntercepts(groups, kappa)


def free_shifts(outcomes: Outcomes, slices: Sequence[slice], groups: Groups) -> tuple[Groups, ...]:
    """Return the sets of columns whose intercepts can move together at no cost."""
    # Shapes: groups (n_columns,).
    # The probabilities of several classes do not change when all their intercepts grow by
    # the same number. Tasks that share a group can only move together.
    sets: list[tuple[set[int], list[int]]] = []
    for loss, part in zip(outcomes.losses, slices, strict=True):
        if not isinstance(loss, Multinomial):
            continue
        touched = set(groups[part].tolist())
        columns = list(range(part.start, part.stop))
        linked = [entry for entry in sets if entry[0] & touched]
        sets = [entry for entry in sets if not entry[0] & touched]
        for others, held in linked:
            touched |= others
            columns = held + columns
        sets.append((touched, columns))
    return tuple(np.array(columns, dtype=np.intp) for _, columns in sets if columns)


def refuse_unbounded(
    data: TaskData,
    outcomes: Outcomes,
    weight: Array,
    slices: Sequence[slice],
    groups: Groups,
    owner: str,
) -> None:
    """Refuse free intercepts that see one class, or zeros only: their best value is infinite."""
    # Shapes: groups (n_columns,).
    _refuse_zeros(data, outcomes, weight, slices, groups, owner)
    seen: dict[int, set[float]] = {}
    first: dict[int, int] = {}
    for t, (loss, part) in enumerate(zip(outcomes.losses, slices, strict=True)):
        if not loss.is_classifier or isinstance(loss, Multinomial):
            continue
        rows = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(t)
        codes = np.unique(outcomes.y[rows][weight[rows] > 0])
        group = int(groups[part.start])
        seen.setdefault(group, set()).update(codes.tolist())
        first.setdefault(group, t)
    for group, codes_seen in seen.items():
        if len(codes_seen) == 1:
            t = first[group]
            classes = outcomes.classes[t]
            label = codes_seen if classes is None else classes[int(min(codes_seen))]
            fields = {"task": repr(data.tasks[t]), "owner": owner, "label": str(label)}
            raise DataError(LazyMessage("linear.refusal.one_class", fields))


def _refuse_zeros(
    data: TaskData,
    outcomes: Outcomes,
    weight: Array,
    slices: Sequence[slice],
    groups: Groups,
    owner: str,
) -> None:
    """Refuse intercepts of counts all of which are zero."""
    members: dict[int, list[int]] = {}
    positive: set[int] = set()
    for t, (loss, part) in enumerate(zip(outcomes.losses, slices, strict=True)):
        if not isinstance(loss, LogLink):
            continue
        rows = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(t)
        seen = weight[rows] > 0
        group = int(groups[part.start])
        if seen.any():
            members.setdefault(group, []).append(t)
        if np.any(loss.multiple(outcomes.y[rows][seen]) > 0):
            positive.add(group)
    for group, tasks in members.items():
        if group not in positive:
            fields = {"task": repr(data.tasks[tasks[0]]), "owner": owner, "count": str(len(tasks))}
            key = "only_zeros" if len(tasks) == 1 else "all_zeros"
            raise DataError(LazyMessage(f"linear.refusal.{key}", fields))


# Statistics are used while their matrices stay below this many numbers ...
_STATISTICS_ENTRIES = 3e7
# ... and a product with them costs no more than this many passes over the rows.
_STATISTICS_PASSES = 2
# Tasks of several classes are joined in one block while they have fewer rows on average.
_SMALL_TASK = 1000


def without_gaps(y: Array, outcomes: Outcomes, data: TaskData) -> Array:
    """Return targets with a number that the loss allows where a label is missing."""
    # Shapes: y (n_rows,).
    filled = np.nan_to_num(y)
    for t, loss in enumerate(outcomes.losses):
        if not loss.is_classifier and not loss.allows(np.zeros(1)).all():
            own = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(t)
            filled[own] = np.where(np.isnan(y[own]), 1.0, filled[own])
    return filled


def suits_statistics(data: TaskData, outcomes: Outcomes, labels: float) -> bool:
    """Say whether squared residuals are cheaper from sufficient statistics than from rows."""
    d, columns = data.n_features, data.n_tasks
    cheap = columns * d <= _STATISTICS_PASSES * labels
    small = columns * d * d <= _STATISTICS_ENTRIES
    alike = all(isinstance(loss, Squared) for loss in outcomes.losses) or outcomes.all_roots
    return bool(cheap and small and alike)


def on_moments(found: TaskMoments, square_root: bool, intercepts: Intercepts) -> Datafit:
    """Return the squared loss, or its roots, from sufficient statistics."""
    if square_root:
        return SquareRootDatafit(MomentSquares(found), None, intercepts)
    return SquaredStatistics(found, intercepts)


@dataclass(frozen=True, eq=False)
class RowParts:
    """Everything that a datafit on rows is made of. Shapes: scale, counts (n_tasks,)."""

    data: TaskData
    outcomes: Outcomes
    layout: Layout
    rows: Features
    y: Array
    weight: Array
    scale: Array
    counts: Array

    def samples(self, intercepts: Intercepts) -> Datafit:
        """Return the data term on samples."""
        shape = self.data.n_features, self.layout.columns.n_columns
        return on_rows(tuple(self.blocks()), intercepts, *shape)

    def statistics(self) -> TaskMoments:
        """Return the moments of the rows, which hold numbers."""
        columns = np.arange(self.data.n_tasks)
        if self.data.form is Form.TARGETS:
            shared = Shared(self.rows, columns)
            return collect_shared(shared, self.y, self.weight, self.scale)
        stacked = Stacked(self.rows, np.asarray(self.data.offsets), columns)
        return collect_stacked(stacked, self.y, self.weight, self.scale)

    def blocks(self, joint: bool = False) -> list[Block]:
        """Return one block per scalar loss, and those of several classes."""
        # `joint`: whether these depend on nothing but losses, classes and the form.
        by_loss: dict[Loss, list[int]] = {}
        for t, loss in enumerate(self.outcomes.losses):
            by_loss.setdefault(loss, []).append(t)
        blocks: list[Block] = []
        for loss, tasks in by_loss.items():
            if isinstance(loss, Multinomial):
                # A task without rows has no classes, hence no columns.
                held = [t for t in tasks if self.outcomes.n_outputs[t]]
                blocks += self._classes_blocks(loss, held, joint)
            else:
                blocks.append(self._scalar_block(loss, np.array(tasks, dtype=np.intp)))
        return blocks

    def _factor(self) -> Array:
        """Weight of one label of each task in the objective, per unit of its own weight."""
        n = self.counts
        return np.divide(self.scale, n, out=np.zeros_like(n), where=n > 0)

    def _scalar_block(self, loss: Loss, tasks: NDArray[np.intp]) -> ScalarBlock:
        columns = np.array([self.layout.slices[t].start for t in tasks], dtype=np.intp)
        factor = self._factor()
        if self.data.form is Form.TARGETS:
            weight = self.weight[:, tasks] * factor[tasks]
            return ScalarBlock(Shared(self.rows, columns), loss, self.y[:, tasks], weight)
        part, offsets = self._rows_of(tasks)
        counts = np.diff(offsets)
        weight = self.weight[part] * np.repeat(factor[tasks], counts)
        design = Stacked(self.rows.rows(part), offsets, columns)
        return ScalarBlock(design, loss, self.y[part], weight)

    def _rows_of(self, tasks: NDArray[np.intp]) -> tuple[Any, NDArray[np.intp]]:
        offsets = np.asarray(self.data.offsets)
        if len(tasks) == self.data.n_tasks:
            return slice(None), offsets
        parts = [np.arange(offsets[t], offsets[t + 1]) for t in tasks]
        ends = np.cumsum([0, *[len(p) for p in parts]])
        return np.concatenate(parts), ends.astype(np.intp)

    def _classes_blocks(self, loss: Loss, tasks: list[int], joint: bool) -> list[ClassesBlock]:
        """Return a block per task, small tasks with as many classes in one."""
        by_size: dict[int, list[int]] = {}
        for t in tasks:
            by_size.setdefault(self.outcomes.n_outputs[t], []).append(t)
        blocks: list[ClassesBlock] = []
        for same in by_size.values():
            if joint and self.data.form is Form.TARGETS:
                blocks += [self._stacked_classes(loss, t) for t in same]
            elif joint or self._few_rows(same):
                blocks.append(self._joint_classes(loss, np.array(same, dtype=np.intp)))
            else:
                blocks += [self._classes_block(loss, t) for t in same]
        return blocks

    def _few_rows(self, tasks: list[int]) -> bool:
        if self.data.form is Form.TARGETS or len(tasks) < 2:
            return False
        counts = np.diff(np.asarray(self.data.offsets))[tasks]
        return bool(counts.sum() < _SMALL_TASK * len(tasks))

    def _joint_classes(self, loss: Loss, tasks: NDArray[np.intp]) -> ClassesBlock:
        owned = [self.layout.slices[t] for t in tasks]
        table = np.array([np.arange(part.start, part.stop) for part in owned], dtype=np.intp)
        part, offsets = self._rows_of(tasks)
        weight = self.weight[part] * np.repeat(self._factor()[tasks], np.diff(offsets))
        design = StackedClasses(self.rows.rows(part), offsets, table)
        return ClassesBlock(design, loss, self.y[part], weight)

    def _stacked_classes(self, loss: Loss, t: int) -> ClassesBlock:
        """Return the block of one target as one of several tasks with rows of their own."""
        one = self._classes_block(loss, t)
        offsets, table = np.array([0, len(one.weight)], dtype=np.intp), one.columns[None]
        return replace(one, design=StackedClasses(one.design.features, offsets, table))

    def _classes_block(self, loss: Loss, t: int) -> ClassesBlock:
        owned = self.layout.slices[t]
        columns = np.arange(owned.start, owned.stop)
        factor = self._factor()[t]
        if self.data.form is Form.TARGETS:
            seen = np.flatnonzero(self.weight[:, t] > 0)
            rows, y, weight = self.rows.rows(seen), self.y[seen, t], self.weight[seen, t]
        else:
            part = self.data.task_slice(t)
            rows, y, weight = self.rows.rows(part), self.y[part], self.weight[part]
        return ClassesBlock(Shared(rows, columns), loss, y, weight * factor)


@dataclass(frozen=True, eq=False)
class Scaled:
    """What turns a data term into that of one problem. Shapes: scale (n_tasks,)."""

    layout: Layout
    features: FeatureScaling
    targets: TargetScaling
    scale: Array
    intercepts: Intercepts


@dataclass(frozen=True, eq=False)
class RowTerm:
    """The data term of rows, for any loss."""

    data: TaskData
    outcomes: Outcomes
    weight: Array
    owner: str

    @property
    def counts(self) -> Array:
        """Sums of the weights of the labels of each task."""
        return sum_by_task(self.weight, self.data)

    def far(self) -> bool:
        """Say whether the mean of some dense feature dwarfs what it varies by."""
        return far_from_zero(self.data)

    def features(self, standardize: bool, centre: bool, level: bool) -> FeatureScaling:
        """Return the scaling of the features; see :func:`feature_scaling`."""
        return feature_scaling(self.data, self.weight, standardize, centre, level)

    def targets(self, choice: str | None, centre: bool) -> TargetScaling:
        """Return the scaling of the targets; see :func:`target_scaling`."""
        return target_scaling(self.data, self.outcomes, self.weight, choice, centre)

    def refuse_unbounded(self, layout: Layout, groups: Groups) -> None:
        """Refuse free intercepts without a finite optimum."""
        given = self.data, self.outcomes, self.weight
        refuse_unbounded(*given, layout.slices, groups, self.owner)

    def _parts(self, scaled: Scaled) -> RowParts:
        y = scaled.targets.apply(self.outcomes.y, self.data)
        y = without_gaps(y, self.outcomes, self.data)
        self._refuse_far(y)
        rows = scaled.features.features(wide_enough(self.data.X), cell_mask(self.data))
        given = self.data, self.outcomes, scaled.layout, rows, y, self.weight
        return RowParts(*given, scaled.scale, self.counts)

    def _refuse_far(self, y: Array) -> None:
        """Refuse targets beside which the bend of the Huber loss has no digits."""
        for t, loss in enumerate(self.outcomes.losses):
            if not isinstance(loss, Huber):
                continue
            targets = self.data.form is Form.TARGETS
            found = largest(y[:, t] if targets else y[self.data.task_slice(t)])
            if found > _FAR * loss.delta:
                fields = {"limit": f"{_FAR * loss.delta:.0e}", "delta": f"{loss.delta:g}"}
                allowed = LazyMessage("allowed.near_delta", fields)
                raise DataError(sentence("y", self.owner, allowed, format(found, ".3g")))

    def datafit(self, scaled: Scaled) -> tuple[Datafit, Callable[[], Datafit] | None]:
        """Return the datafit, and what makes it on samples if it is not."""
        parts = self._parts(scaled)
        samples = partial(parts.samples, scaled.intercepts)
        # The choice is the same in every form.
        if not suits_statistics(self.data, self.outcomes, count_labels(self.weight)):
            return samples(), None
        return on_moments(parts.statistics(), self.outcomes.all_roots, scaled.intercepts), samples

    def samples(self, scaled: Scaled) -> Datafit:
        """Return the datafit on samples."""
        return self._parts(scaled).samples(scaled.intercepts)


@dataclass(frozen=True, eq=False)
class MomentTerm:
    """The data term of squared residuals from moments: no choice looks at the rows again."""

    moments: Counted
    data: TaskData
    rows: Callable[[], RowTerm]
    square_root: bool

    @property
    def counts(self) -> Array:
        """Sums of the weights of the labels of each task."""
        return self.moments.counts

    def far(self) -> bool:
        """Say whether the mean of some dense feature dwarfs what it varies by."""
        return far_apart(self.moments, self.data)

    def features(self, standardize: bool, centre: bool, level: bool) -> FeatureScaling:
        """Return the scaling of the features."""
        if not standardize and not level:
            d = self.data.n_features
            return FeatureScaling(np.zeros(d), np.ones(d), active=False)
        m = self.moments
        return scaling_of(*pooled_moments(m.statistics, m.counts), standardize, centre)

    def targets(self, choice: str | None, centre: bool) -> TargetScaling:
        """Return the scaling of the targets, which are all numbers."""
        if choice is None:
            return unscaled_targets(self.data.n_tasks)
        if choice == "auto":
            choice = "task" if self.data.form is Form.TARGETS else "common"
        s = self.moments.statistics
        return MOMENT_SCALES[choice](s.y_mean, s.spread, self.counts, centre)

    def refuse_unbounded(self, layout: Layout, groups: Groups) -> None:
        """Do nothing: numbers leave every intercept finite."""

    def datafit(self, scaled: Scaled) -> tuple[Datafit, Callable[[], Datafit] | None]:
        """Return the datafit, and what makes it on samples."""
        found = scaled_moments(self.moments, scaled.features, scaled.targets, scaled.scale)
        return on_moments(found, self.square_root, scaled.intercepts), partial(
            self._samples, scaled
        )

    def _samples(self, scaled: Scaled) -> Datafit:
        return self.rows().samples(scaled)


Term = RowTerm | MomentTerm


def term_of(data: TaskData, outcomes: Outcomes, class_weight: object, owner: str) -> Term:
    """Return the data term of some rows."""
    weight = label_weights(data, outcomes, class_weight, owner)
    if collectable(data, outcomes, weight):
        return moment_term(collect(data, outcomes.y, weight), data, outcomes, owner)
    refuse_huge(data, outcomes, owner)
    return RowTerm(data, outcomes, weight, owner)


def moment_term(moments: Counted, data: TaskData, outcomes: Outcomes, owner: str) -> MomentTerm:
    """Return the data term of rows whose moments are known."""
    if not within_reach(moments, data):
        refuse_huge(data, outcomes, owner)
    rows = partial(row_term, data, outcomes, owner)
    return MomentTerm(moments, data, rows, outcomes.all_roots)


def row_term(data: TaskData, outcomes: Outcomes, owner: str) -> RowTerm:
    """Return the data term of rows of numbers, which no class weighs."""
    return RowTerm(data, outcomes, label_weights(data, outcomes, None, owner), owner)


Index = NDArray[np.intp]


def scaled_moments(
    moments: Counted, features: FeatureScaling, targets: TargetScaling, scale: Array
) -> TaskMoments:
    """Return the moments of scaled features and targets. Shapes: scale (n_tasks,)."""
    units = Units(features.mean, features.scale, targets.mean, targets.scale)
    return in_units(moments.statistics, units, np.where(moments.counts > 0, scale, 0.0))


def pooled_moments(s: TaskMoments, counts: Array) -> tuple[Array, Array]:
    """Return mean and variance of each feature over all tasks."""
    # Shapes: counts (n_tasks,), mean, variance (n_features,).
    share = counts / max(float(counts.sum()), np.finfo(float).tiny)
    mean = s.x_mean @ share
    own = np.diagonal(s.second, axis1=1, axis2=2).T
    within = own @ (share if own.shape[1] == len(share) else np.ones(1))
    return mean, within + ((s.x_mean - mean[:, None]) ** 2) @ share


def collectable(data: TaskData, outcomes: Outcomes, weight: Array) -> bool:
    """Say whether moments of rows as they are do for the squared loss, and are cheaper."""
    return cell_mask(data) is None and suits_statistics(data, outcomes, count_labels(weight))


def collect(data: TaskData, y: Array, weight: Array, rows: Index | None = None) -> Counted:
    """Collect the moments of some rows. Shapes: y, weight (n_rows,)."""
    features, ones = Features(data.X), np.ones(data.n_tasks)
    columns = np.arange(data.n_tasks)
    if data.form is Form.TARGETS:
        complete = not weight.strides[1]
        Y = y if complete else np.where(np.isnan(y), 0.0, y)
        found = collect_shared(Shared(features, columns), Y, weight, ones, rows)
        chosen = weight if rows is None else weights_of(weight, rows)
        return Counted(found, sum_by_task(chosen, data), count_labels(chosen))
    offsets = np.asarray(data.offsets)
    if rows is not None:
        offsets = np.searchsorted(rows, offsets).astype(np.intp)
        features, y, weight = features.rows(rows), y[rows], weight[rows]
    stacked = Stacked(features, offsets, columns)
    counts = stacked.collect(weight)
    found = collect_stacked(stacked, y, weight, ones)
    return Counted(found, counts, count_labels(weight))


def within_reach(moments: Counted, data: TaskData) -> bool:
    """Say whether the moments prove that no value is too large to be squared and summed."""
    s = moments.statistics
    lightest = 1.0 if data.sample_weight is None else float(data.sample_weight.min())
    # A mean of squares is at least the square of each row, times its share.
    rows = float(moments.counts.max(initial=0.0)) / max(lightest, np.finfo(float).tiny)
    with np.errstate(over="ignore", invalid="ignore"):
        own = np.diagonal(s.second, axis1=1, axis2=2)
        x_largest = np.sqrt(rows * (own.max(initial=0.0) + _largest_square(s.x_mean)))
        y_largest = np.sqrt(rows * (s.spread.max(initial=0.0) + _largest_square(s.y_mean)))
    kind = data.X.data.dtype if is_sparse(data.X) else data.X.dtype
    return bool(x_largest <= safe_limit(kind) and y_largest <= safe_limit(np.dtype(float)))


def _largest_square(values: Array) -> float:
    """Return the square of the largest number, NaN if there is one, without a copy of them."""
    return float(np.square(np.maximum(values.max(initial=0.0), -values.min(initial=0.0))))


def far_apart(moments: Counted, data: TaskData) -> bool:
    """Say whether the mean of some dense feature dwarfs what it varies by."""
    if is_sparse(data.X) or data.present is not None:
        return False
    mean, variance = pooled_moments(moments.statistics, moments.counts)
    return bool(np.any((variance > 0) & (mean**2 > FAR**2 * variance)))
