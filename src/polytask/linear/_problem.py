"""The one place where data, losses, intercepts and scaling become a datafit."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nonnegative, one_of
from polytask._estimator import Outcomes
from polytask._estimator.training import cell_mask
from polytask.data import Form, TaskData
from polytask.datafits import (
    AnchoredIntercepts,
    Block,
    ClassesBlock,
    Datafit,
    Features,
    Intercepts,
    Samples,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    Stacked,
    StackedClasses,
    collect_shared,
    collect_stacked,
)
from polytask.linear._intercepts import (
    PULLED,
    effective_mode,
    free_shifts,
    intercept_groups,
    make_intercepts,
    refuse_unbounded,
)
from polytask.linear._scaling import (
    FeatureScaling,
    TargetScaling,
    feature_scaling,
    refuse_huge,
    scaled_by_task,
    scaled_in_common,
    scaled_point,
    unscaled_targets,
    wide_enough,
)
from polytask.linear._source import Source
from polytask.linear._weights import label_weights, sum_by_task, task_scales
from polytask.losses import Loss, Multinomial, Squared
from polytask.penalties import Columns, Penalty

Array = NDArray[np.float64]

# Statistics are used while their matrices stay below this many numbers ...
_STATISTICS_ENTRIES = 3e7
# ... and a product with them costs no more than this many passes over the rows.
_STATISTICS_PASSES = 2
# Tasks of several classes are joined in one block while they have fewer rows on average.
_SMALL_TASK = 1000

INTERCEPT_MODES = ("auto", "task", "toward_mean", "shared", None)
TARGET_SCALES = {"task": scaled_by_task, "common": scaled_in_common}


@dataclass(frozen=True)
class Settings:
    """What the user chose about the data term; see `MultiTaskRegressor`."""

    task_weight: Any = "size"
    intercept: str | None = "task"
    intercept_strength: float = 1.0
    standardize: bool = False
    scale_targets: str | None = None
    class_weight: Any = None
    source: Source | None = None

    def check(self, owner: str) -> None:
        """Raise ParameterError unless every choice exists."""
        one_of(self.intercept, "intercept", owner, INTERCEPT_MODES)
        one_of(self.scale_targets, "scale_targets", owner, ("task", "common", "auto", None))
        one_of(self.standardize, "standardize", owner, (True, False))
        nonnegative(self.intercept_strength, "intercept_strength", owner)
        if isinstance(self.task_weight, str):
            one_of(self.task_weight, "task_weight", owner, ("size", "equal"))


@dataclass(frozen=True, eq=False)
class Layout:
    """Which columns of W each task owns.

    Attributes
    ----------
    columns : Columns
        Task and class of every column.
    slices : tuple of slice
        The columns of each task.
    """

    columns: Columns
    slices: tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Problem:
    """A datafit, and the way from its solution back to original units.

    Attributes
    ----------
    datafit : Datafit
        The data term.
    layout : Layout
        Tasks and classes of the columns.
    features : FeatureScaling
        Scaling of the features.
    targets : TargetScaling
        Scaling of the targets.
    present : ndarray of bool of shape (n_columns, n_features) or None
        Which features each column's task has.
    counts : ndarray of shape (n_tasks,)
        Sum of the label weights of each task.
    shifts : tuple of ndarray of int
        Columns whose intercepts can move together at no cost; their mean is set to 0.
    intercepts : Intercepts
        What the intercepts may be.
    centre : ndarray of shape (n_features, n_columns) or None
        Scaled coefficients that the penalty pulls to; None for 0.
    """

    datafit: Datafit
    layout: Layout
    features: FeatureScaling
    targets: TargetScaling
    present: NDArray[np.bool_] | None
    counts: Array
    intercepts: Intercepts
    shifts: tuple[NDArray[np.intp], ...] = ()
    centre: Array | None = None

    def bound(self, penalty: Penalty) -> Penalty:
        """Return a penalty that knows the columns and the point it pulls to."""
        bound = penalty.bind(self.layout.columns)
        return bound if self.centre is None else bound.shifted(self.centre)

    def original_units(self, W: Array, intercept: Array) -> tuple[Array, Array]:
        """Return coefficients (n_columns, n_features) and intercepts in original units."""
        coef, b = self.features.restore(W, intercept, self.present)
        widths = [part.stop - part.start for part in self.layout.slices]
        owners = np.repeat(np.arange(len(widths)), widths)
        scale, mean = self.targets.scale[owners], self.targets.mean[owners]
        b = b * scale + mean
        for columns in self.shifts:
            b[columns] -= b[columns].mean()
        return (coef * scale).T, b


def build_problem(data: TaskData, outcomes: Outcomes, settings: Settings, owner: str) -> Problem:
    """Join data, losses, intercepts and scaling.

    Parameters
    ----------
    data : TaskData
        Encoded training data.
    outcomes : Outcomes
        Their targets as numbers.
    settings : Settings
        The user's choices.
    owner : str
        The estimator, for messages.

    Returns
    -------
    Problem

    Raises
    ------
    DataError
        If a task has one class and a free intercept, which has no finite optimum.
    """
    refuse_huge(data, outcomes, owner)
    layout = make_layout(data.tasks, outcomes)
    weight = label_weights(data, outcomes, settings.class_weight, owner)
    counts = sum_by_task(weight, data)
    scale = task_scales(settings.task_weight, counts, data.tasks, owner)
    centre = settings.intercept is not None
    targets = _target_scaling(data, outcomes, weight, settings.scale_targets, centre)
    y = np.nan_to_num(targets.apply(outcomes.y, data))
    mean_n = float(np.mean(counts[counts > 0])) if np.any(counts > 0) else 1.0
    kappa = settings.intercept_strength / mean_n
    mode = effective_mode(settings.intercept, kappa)
    groups = intercept_groups(mode, outcomes, layout.columns.classes, data.form)
    known = settings.source
    # Where features have their zero must not decide what a pull does.
    level = mode == "auto" and (known is not None or len(np.unique(groups)) < len(groups))
    features = feature_scaling(data, weight, settings.standardize, centre, level)
    rows = features.features(wide_enough(data.X), cell_mask(data))
    owners = np.repeat(np.arange(data.n_tasks), outcomes.n_outputs)
    present = None if data.present is None else data.present[owners]
    intercepts = make_intercepts(mode, groups, kappa)
    shifts = free_shifts(outcomes, layout.slices, groups) if centre else ()
    point = None
    if known is not None:
        there = known.point(data, outcomes, owner)
        point, anchor = scaled_point(there, features, targets, owners, present)
        if mode in PULLED:
            intercepts, shifts = AnchoredIntercepts(anchor, kappa), ()
    if centre and not isinstance(intercepts, AnchoredIntercepts):
        refuse_unbounded(data, outcomes, weight, layout.slices, groups, owner)
    parts = _Parts(data, outcomes, layout, rows, y, weight, scale, counts)
    datafit = parts.datafit(intercepts)
    return Problem(datafit, layout, features, targets, present, counts, intercepts, shifts, point)


def held_out_value(
    problem: Problem,
    data: TaskData,
    outcomes: Outcomes,
    weight: Array,
    W: Array,
    intercept: Array,
) -> float:
    """Return the weighted sum of losses of other rows, in the scaling of a problem.

    Parameters
    ----------
    problem : Problem
        Of the training rows.
    data : TaskData
        Other rows of the same tasks, encoded.
    outcomes : Outcomes
        Their targets, coded as those of the training rows.
    weight : ndarray
        Weights of the labels, shaped as the targets.
    W, intercept : ndarray
        In the scaling of the problem.

    Returns
    -------
    float
    """
    y = np.nan_to_num(problem.targets.apply(outcomes.y, data))
    rows = problem.features.features(data.X, cell_mask(data))
    ones = np.ones(data.n_tasks)
    parts = _Parts(data, outcomes, problem.layout, rows, y, weight, ones, ones)
    return sum(
        block.value(block.design.forward(W) + block.design.spread(intercept))
        for block in parts.blocks()
    )


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


def _target_scaling(
    data: TaskData, outcomes: Outcomes, weight: Array, choice: str | None, centre: bool
) -> TargetScaling:
    numeric = np.array([classes is None for classes in outcomes.classes])
    mixed = numeric.any() and not numeric.all()
    if choice == "auto":
        choice = "task" if data.form is Form.TARGETS or mixed else "common"
    if choice is None or not numeric.any():
        return unscaled_targets(data.n_tasks)
    scaling = TARGET_SCALES[choice](outcomes.y, weight, data, centre)
    return TargetScaling(
        np.where(numeric, scaling.mean, 0.0), np.where(numeric, scaling.scale, 1.0)
    )


@dataclass(frozen=True, eq=False)
class _Parts:
    """Everything a datafit is made of."""

    data: TaskData
    outcomes: Outcomes
    layout: Layout
    rows: Features
    y: Array
    weight: Array
    scale: Array
    counts: Array

    def datafit(self, intercepts: Intercepts) -> Datafit:
        """Choose statistics or samples by cost; the choice is the same in every form."""
        d, columns = self.data.n_features, self.layout.columns.n_columns
        labels = float(np.count_nonzero(self.weight > 0))
        cheap = columns * d <= _STATISTICS_PASSES * labels
        small = columns * d * d <= _STATISTICS_ENTRIES
        if cheap and small and all(isinstance(loss, Squared) for loss in self.outcomes.losses):
            return SquaredStatistics(self._statistics(), intercepts)
        return Samples(tuple(self.blocks()), intercepts, d, columns)

    def _statistics(self) -> Any:  # noqa: ANN401 - TaskStatistics
        columns = np.arange(self.data.n_tasks)
        if self.data.form is Form.TARGETS:
            shared = Shared(self.rows, columns)
            return collect_shared(shared, self.y, self.weight, self.scale)
        stacked = Stacked(self.rows, np.asarray(self.data.offsets), columns)
        return collect_stacked(stacked, self.y, self.weight, self.scale)

    def blocks(self) -> list[Block]:
        """Return one block per scalar loss, and those of several classes."""
        by_loss: dict[Loss, list[int]] = {}
        for t, loss in enumerate(self.outcomes.losses):
            by_loss.setdefault(loss, []).append(t)
        blocks: list[Block] = []
        for loss, tasks in by_loss.items():
            if isinstance(loss, Multinomial):
                # A task without rows has no classes, hence no columns.
                held = [t for t in tasks if self.outcomes.n_outputs[t]]
                blocks += self._classes_blocks(loss, held)
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

    def _classes_blocks(self, loss: Loss, tasks: list[int]) -> list[ClassesBlock]:
        """Return a block per task, small tasks with as many classes in one."""
        by_size: dict[int, list[int]] = {}
        for t in tasks:
            by_size.setdefault(self.outcomes.n_outputs[t], []).append(t)
        blocks: list[ClassesBlock] = []
        for same in by_size.values():
            if self._few_rows(same):
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
