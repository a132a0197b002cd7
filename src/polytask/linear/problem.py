"""The one place where data, losses, intercepts and scaling become a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nonnegative, one_of
from polytask._estimator import Outcomes
from polytask._estimator.outcomes import Layout, make_layout
from polytask._estimator.scaling import FeatureScaling, TargetScaling, scaled_point
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import label_weights, task_scales
from polytask.data import TaskData
from polytask.datafits import AnchoredIntercepts, Datafit, Intercepts, SquareRootDatafit
from polytask.exceptions import IncompatibleError
from polytask.linear.datafit import (
    FREE,
    PULLED,
    RowParts,
    RowTerm,
    Scaled,
    Term,
    effective_mode,
    free_shifts,
    intercept_groups,
    make_intercepts,
    term_of,
    without_gaps,
)
from polytask.linear.in_parts import PartsTerm
from polytask.linear.prediction import LinearTasks
from polytask.linear.source import Source
from polytask.messages import LazyMessage
from polytask.penalties import Penalty
from polytask.penalties.base import FeatureSpace
from polytask.solvers import Solution

_ATTRIBUTE = "noise_"


def keep_noise(estimator: Any, problem: Problem, solution: Solution) -> None:  # noqa: ANN401
    """Set the root mean square that is left of every task as an attribute of an estimator."""
    if hasattr(estimator, _ATTRIBUTE):
        delattr(estimator, _ATTRIBUTE)
    datafit = problem.datafit
    if not isinstance(datafit, SquareRootDatafit):
        return
    found = np.where(datafit.owned, datafit.noise(solution.W, solution.intercept), np.nan)
    slices = problem.layout.slices
    # Tasks of numbers have one column; of the others every column is NaN, or there is none.
    own = [float(found[part].sum()) if part.stop > part.start else np.nan for part in slices]
    estimator.noise_ = np.array(own) * problem.targets.scale


Array = NDArray[np.float64]

INTERCEPT_MODES = ("auto", "task", "toward_mean", "shared", None)


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
class Problem:
    """A datafit, and the way from its solution back to original units."""

    # Shapes: present (n_columns, n_features), counts (n_tasks,), centre (n_features, n_columns).

    datafit: Datafit
    layout: Layout
    features: FeatureScaling
    targets: TargetScaling
    present: NDArray[np.bool_] | None
    counts: Array
    intercepts: Intercepts
    shifts: tuple[NDArray[np.intp], ...] = ()
    centre: Array | None = None
    samples: Callable[[], Datafit] | None = None
    names: tuple[str, ...] | None = None

    def bound(self, penalty: Penalty) -> Penalty:
        """Return a penalty that knows the columns, the features and the point it pulls to."""
        return self.bound_further(penalty.bind(self.layout.columns))

    def bound_further(self, penalty: Penalty) -> Penalty:
        """Return a penalty that knows the columns with the features and the point it pulls to."""
        bound = penalty.bind_features(self._space)
        if self.centre is None:
            return bound
        if bound.binds_signs:
            fields = {"penalty": repr(penalty)}
            raise IncompatibleError(LazyMessage("linear.refusal.bounds_of_transfer", fields))
        return bound.shifted(self.centre)

    @cached_property
    def _space(self) -> FeatureSpace:
        unit = np.divide.outer(self.features.scale, self.targets.scale[self._owners])
        return FeatureSpace(self.datafit.shape[0], self.names, unit)

    @cached_property
    def _owners(self) -> NDArray[np.intp]:
        """The task of every column."""
        widths = [part.stop - part.start for part in self.layout.slices]
        return np.repeat(np.arange(len(widths)), widths)

    def original_units(self, W: Array, intercept: Array) -> tuple[Array, Array]:
        """Return coefficients (n_columns, n_features) and intercepts in original units."""
        coef, b = self.features.restore(W, intercept, self.present)
        owners = self._owners
        scale, mean = self.targets.scale[owners], self.targets.mean[owners]
        b = b * scale + mean
        for columns in self.shifts:
            b[columns] -= b[columns].mean()
        return (coef * scale).T, b

    def served(self, W: Array, intercept: Array) -> tuple[Array, Array]:
        """Return coefficients with those that unseen tasks get in tasks without rows."""
        # What was fitted without a row is the penalty's word alone, and no prediction uses it:
        # such a task has the mean of the others, weighted by their rows, in original units.
        idle = self.counts == 0
        if not idle.any() or idle.all():
            return W, intercept
        owners, labels = self._owners, np.array(self.layout.columns.classes, dtype=object)
        scale, mean = self.targets.scale[owners], self.targets.mean[owners]
        coef, b = self.features.restore(W, intercept, self.present)
        coef, b = coef * scale, b * scale + mean
        W, intercept = W.copy(), intercept.copy()
        for column in np.flatnonzero(idle[owners]):
            share = self.counts[owners] * (labels == labels[column])
            if not share.any():
                continue
            share = share / share.sum()
            own = coef @ share if self.present is None else self.present[column] * (coef @ share)
            W[:, column] = self.features.scale * own / scale[column]
            level = b @ share + self.features.mean @ own
            intercept[column] = (level - mean[column]) / scale[column]
        return W, intercept


def parts_term(
    data: TaskData, outcomes: Outcomes, settings: Settings, owner: str, gradients: bool
) -> PartsTerm:
    """Return the data term of rows that are read in parts."""
    assert data.parts is not None
    weight = label_weights(data, outcomes, settings.class_weight, owner)
    # What is sent to where the parts are does not hold all of them.
    rows = RowTerm(replace(data, parts=None), outcomes, weight, owner)
    return PartsTerm(rows, data.parts, gradients)


def build_problem(
    data: TaskData,
    outcomes: Outcomes,
    settings: Settings,
    owner: str,
    term: Term | PartsTerm | None = None,
) -> Problem:
    """Join data, losses, intercepts and scaling."""
    layout = make_layout(data.tasks, outcomes)
    term = term_of(data, outcomes, settings.class_weight, owner) if term is None else term
    counts = term.counts
    scale = task_scales(settings.task_weight, counts, data.tasks, owner)
    centre = settings.intercept is not None
    targets = term.targets(settings.scale_targets, centre)
    mean_n = float(np.mean(counts[counts > 0])) if np.any(counts > 0) else 1.0
    kappa = settings.intercept_strength / (mean_n * _size(term, outcomes, settings))
    mode = effective_mode(settings.intercept, kappa)
    groups = intercept_groups(mode, outcomes, layout.columns.classes, data.form)
    known = settings.source
    # Where features have their zero must not decide what a pull does.
    level = mode == "auto" and (known is not None or len(np.unique(groups)) < len(groups))
    level = level or (mode in FREE and term.far())
    features = term.features(settings.standardize, centre, level)
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
        term.refuse_unbounded(layout, groups)
    datafit, samples = term.datafit(Scaled(layout, features, targets, scale, intercepts))
    built = layout, features, targets, present, counts, intercepts, shifts, point, samples
    return Problem(datafit, *built, data.feature_names)


def _size(term: Term | PartsTerm, outcomes: Outcomes, settings: Settings) -> float:
    """Return the divisor of the intercepts' pull: the size of unscaled targets."""
    # Roots of mean squares grow with their targets and the square of a pull with their square, so
    # that units would decide what it does.
    if settings.scale_targets is not None or not outcomes.all_roots:
        return 1.0
    return float(np.max(term.targets("common", True).scale))


def held_out(
    problem: Problem, data: TaskData, outcomes: Outcomes, weight: Array
) -> Callable[[Array, Array], float]:
    """Return the weighted sum of losses of other rows, in the scaling of a problem."""
    y = without_gaps(problem.targets.apply(outcomes.y, data), outcomes, data)
    rows = problem.features.features(data.X, cell_mask(data))
    ones = np.ones(data.n_tasks)
    blocks = RowParts(data, outcomes, problem.layout, rows, y, weight, ones, ones).blocks()

    def value(W: Array, intercept: Array) -> float:
        # An exponential may overflow on rows that were not fitted: that loss is infinite.
        with np.errstate(over="ignore"):
            return sum(
                block.value(block.design.forward(W) + block.design.spread(intercept))
                for block in blocks
            )

    return value


def tasks_of(
    problem: Problem, outcomes: Outcomes, coef: NDArray[Any], intercept: NDArray[Any]
) -> LinearTasks:
    """Return what predicts the tasks of a problem with coefficients in original units."""
    return LinearTasks(
        coef=coef,
        intercept=intercept,
        slices=problem.layout.slices,
        losses=outcomes.losses,
        classes=outcomes.classes,
        labels=problem.layout.columns.classes,
        counts=problem.counts,
        union=outcomes.union,
    )
