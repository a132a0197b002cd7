"""The data term of rows that are read in parts, a pass for every evaluation."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from polytask._checks import sentence
from polytask._estimator import Outcomes
from polytask._estimator.feature_moments import dense_moments
from polytask._estimator.outcomes import Layout, coded
from polytask._estimator.scaling import (
    FAR,
    FeatureScaling,
    TargetScaling,
    unscaled_targets,
    wide_enough,
)
from polytask._estimator.weights import label_weights
from polytask.data import Form, TaskData
from polytask.data.taskdata import EncodedParts
from polytask.datafits import (
    Block,
    Datafit,
    InParts,
    LossSums,
    PassStack,
    curved_sums,
    loss_sums,
)
from polytask.exceptions import DataError, IncompatibleError
from polytask.linear.datafit import Array, Groups, RowParts, RowTerm, Scaled, without_gaps
from polytask.messages import LazyMessage

# More numbers than these (2.4 GB) are refused.
_MOST = 3e8


@dataclass(frozen=True, eq=False)
class PartsTerm:
    """The data term of rows in parts; `rows` stand for them where counts and means do."""

    rows: RowTerm
    parts: EncodedParts
    # Whether a pass sums up gradients alone, for a solver that asks for no more.
    gradients: bool = False

    @property
    def counts(self) -> Array:
        """Sums of the weights of the labels of each task."""
        return self.rows.counts

    def far(self) -> bool:
        """Say whether the mean of some feature dwarfs what it varies by."""
        data, weight = self.rows.data, self.rows.weight
        own = weight if weight.ndim == 1 else weight.sum(axis=1)
        mean, variance = dense_moments(np.asarray(data.X), own, None)
        return bool(np.any((variance > 0) & (mean**2 > FAR**2 * variance)))

    def features(self, standardize: bool, centre: bool, level: bool) -> FeatureScaling:
        """Return the scaling of the features."""
        return self.rows.features(standardize, centre, level)

    def targets(self, choice: str | None, centre: bool) -> TargetScaling:
        """Return targets as they are: how they spread is not known."""
        if choice is not None:
            allowed = LazyMessage("allowed.none_in_parts")
            raise IncompatibleError(
                sentence("scale_targets", self.rows.owner, allowed, repr(choice))
            )
        return unscaled_targets(self.rows.data.n_tasks)

    def refuse_unbounded(self, layout: Layout, groups: Groups) -> None:
        """Refuse free intercepts without a finite optimum."""
        self.rows.refuse_unbounded(layout, groups)

    def datafit(self, scaled: Scaled) -> tuple[Datafit, None]:
        """Return the datafit."""
        rows = self.rows
        d, losses = rows.data.n_features, rows.outcomes.losses
        sizes = np.array(rows.outcomes.n_outputs)
        if not self.gradients:
            entries = float(np.sum((sizes * d) ** 2.0))
            refuse_large(entries, d, len(losses), rows.owner, "large_curvature")
        bound = np.repeat([loss.curvature_bound for loss in losses], sizes)
        one = _Part(rows, scaled, self.counts, _class_factors(rows))

        def run(W: Array, b: Array, plain: bool) -> LossSums:
            sums = partial(one.sums, W, b, plain, not self.gradients)
            found: LossSums = self.parts.summed(sums, operator.add)
            return found

        def times(at: tuple[Array, Array] | None, V: Array, delta: Array) -> Array:
            found: Array = self.parts.summed(partial(one.changes, at, V, delta), operator.add)
            return found

        # Without coefficients the rows of a class are alike, and counts matter by their mean.
        start = rows.samples(scaled).evaluate(np.zeros((d, len(bound)))).intercept
        stack = PassStack(run, d, start, bound, times if self.gradients else None)
        return InParts(stack, scaled.intercepts, losses), None


def refuse_large(
    entries: float, d: int, n_tasks: int, owner: str, key: str = "large_newton"
) -> None:
    """Refuse curvatures of so many entries, of tasks of d features."""
    if entries > _MOST:
        fields = {"owner": owner, "features": str(d), "tasks": str(n_tasks)}
        fields |= {"numbers": f"{entries:.2g}", "most": f"{_MOST:.2g}"}
        raise DataError(LazyMessage(f"statistics.refusal.{key}", fields))


def _class_factors(rows: RowTerm) -> list[Array] | None:
    """Return what the weight of each class of each task is multiplied by; None for 1."""
    plain = label_weights(rows.data, rows.outcomes, None, rows.owner)
    if np.array_equal(plain, rows.weight):
        return None
    found = []
    for t, classes in enumerate(rows.outcomes.classes):
        own = (slice(None), t) if rows.data.form is Form.TARGETS else rows.data.task_slice(t)
        y, factors = rows.outcomes.y[own], np.ones(0 if classes is None else len(classes))
        seen = plain[own] > 0
        factors[y[seen].astype(np.intp)] = rows.weight[own][seen] / plain[own][seen]
        found.append(factors)
    return found


@dataclass(frozen=True, eq=False)
class _Part:
    """What turns a part of the rows into sums."""

    # Shapes: counts (n_tasks,).

    rows: RowTerm
    scaled: Scaled
    counts: Array
    factors: list[Array] | None

    def sums(self, W: Array, b: Array, plain: bool, products: bool, part: TaskData) -> LossSums:
        """Return the sums of the losses of a part."""
        return loss_sums(self._blocks(part), W, b, plain, products)

    def changes(
        self, at: tuple[Array, Array] | None, V: Array, delta: Array, part: TaskData
    ) -> Array:
        """Return the change of the gradient of a part."""
        return curved_sums(self._blocks(part), at, V, delta)

    def _blocks(self, part: TaskData) -> list[Block]:
        data, scaled = aligned(part, self.rows.data.tasks), self.scaled
        outcomes = coded(data, self.rows.outcomes, self.rows.owner)
        weight = label_weights(data, outcomes, None, self.rows.owner)
        if self.factors is not None:
            weight = self._weighed(data, outcomes, weight)
        X = scaled.features.features(wide_enough(data.X), None)
        y = without_gaps(outcomes.y, outcomes, data)
        given = data, outcomes, scaled.layout, X, y, weight, scaled.scale, self.counts
        return RowParts(*given).blocks(joint=True)

    def _weighed(self, data: TaskData, outcomes: Outcomes, weight: Array) -> Array:
        weight, codes = weight.copy(), np.nan_to_num(outcomes.y).astype(np.intp)
        for t, factors in enumerate(self.factors or ()):
            own = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(t)
            weight[own] *= factors[codes[own]]
        return weight


def aligned(part: TaskData, tasks: tuple[object, ...]) -> TaskData:
    """Return a part of some data with all tasks of these, in their order."""
    if part.tasks == tasks:
        return part
    place = {label: t for t, label in enumerate(tasks)}
    own = np.array([place[label] for label in part.tasks], dtype=np.intp)
    if part.form is Form.TARGETS:
        given = np.asarray(part.y)
        kind = object if given.dtype == object else float
        y = np.full((part.n_rows, len(tasks)), np.nan, kind)
        y[:, own] = given
        return replace(part, y=y, tasks=tasks)
    codes = own[part.row_tasks()]
    order = np.argsort(codes, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(tasks)))])
    weight = None if part.sample_weight is None else part.sample_weight[order]
    return replace(
        part,
        X=part.X[order],
        y=np.asarray(part.y)[order],
        tasks=tasks,
        offsets=offsets.astype(np.intp),
        sample_weight=weight,
        order=part.order[order],
    )
