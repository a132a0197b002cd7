"""The data term before it is scaled: from rows, or from their moments where these will do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.layout import Layout
from polytask._estimator.scaling import (
    MOMENT_SCALES,
    FeatureScaling,
    TargetScaling,
    far_from_zero,
    feature_scaling,
    refuse_huge,
    scaling_of,
    target_scaling,
    unscaled_targets,
    wide_enough,
)
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import label_weights, sum_by_task
from polytask.data import Form, TaskData
from polytask.datafits import Datafit, Intercepts
from polytask.linear._intercepts import refuse_unbounded
from polytask.linear._moments import Moments, collect, collectable, far_apart, within_reach
from polytask.linear._parts import RowParts, all_roots, on_moments, without_gaps

Array = NDArray[np.float64]
Groups = NDArray[np.intp]


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
        rows = scaled.features.features(wide_enough(self.data.X), cell_mask(self.data))
        given = self.data, self.outcomes, scaled.layout, rows, y, self.weight
        return RowParts(*given, scaled.scale, self.counts)

    def datafit(self, scaled: Scaled) -> tuple[Datafit, Callable[[], Datafit] | None]:
        """Return the datafit, and what makes it on samples if it is not."""
        parts = self._parts(scaled)
        samples = partial(parts.samples, scaled.intercepts) if parts.suit_statistics else None
        return parts.datafit(scaled.intercepts), samples

    def samples(self, scaled: Scaled) -> Datafit:
        """Return the datafit on samples."""
        return self._parts(scaled).samples(scaled.intercepts)


@dataclass(frozen=True, eq=False)
class MomentTerm:
    """The data term of squared residuals from moments: no choice looks at the rows again."""

    moments: Moments
    data: TaskData
    rows: Callable[[], RowTerm]
    rooted: bool

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
        return scaling_of(*self.moments.feature_moments(), standardize, centre)

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
        found = self.moments.scaled(scaled.features, scaled.targets, scaled.scale)
        return on_moments(found, self.rooted, scaled.intercepts), partial(self._samples, scaled)

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


def moment_term(moments: Moments, data: TaskData, outcomes: Outcomes, owner: str) -> MomentTerm:
    """Return the data term of rows whose moments are known."""
    if not within_reach(moments, data):
        refuse_huge(data, outcomes, owner)
    rows = partial(row_term, data, outcomes, owner)
    return MomentTerm(moments, data, rows, all_roots(outcomes))


def row_term(data: TaskData, outcomes: Outcomes, owner: str) -> RowTerm:
    """Return the data term of rows of numbers, which no class weighs."""
    return RowTerm(data, outcomes, label_weights(data, outcomes, None, owner), owner)
