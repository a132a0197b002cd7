"""Classes, counts and amounts of rows of several groupings: the fit, and what it predicts."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.groupings import GroupedRows
from polytask._estimator.predictors import labels_from
from polytask._estimator.scaling import FeatureScaling, feature_scaling, refuse_huge
from polytask._estimator.weights import label_weights, sum_by_task
from polytask._registry import saveable
from polytask.bayes.choose import Candidate
from polytask.bayes.crossed import CrossedRows
from polytask.bayes.crossed_laplace import (
    GroupedLabels,
    LaplaceLearned,
    LaplaceSearch,
    latent_shares,
)
from polytask.bayes.crossed_left import LARGEST_DENSE
from polytask.bayes.crossed_prior import ByGrouping
from polytask.bayes.laplace_rows import Labelled
from polytask.bayes.prior import NoVariation, Prior
from polytask.data import TaskData
from polytask.data.labels import Groupings
from polytask.exceptions import IncompatibleError
from polytask.linear.bayes_groupings import GroupedTasks
from polytask.linear.bayes_laplace_fit import (
    MANY_FEATURES,
    LabelRows,
    LinkedUnits,
    label_rows,
)
from polytask.linear.bayes_laplace_tasks import (
    TaskFrame,
    TaskUnits,
    class_probabilities,
    expected_predictors,
    linear_of,
)
from polytask.linear.bayes_settings import BayesSettings, Ended, varying_columns
from polytask.linear.heavy_weights import weights_within_reach
from polytask.linear.prediction import LinearTasks
from polytask.losses import Gamma, Loss, Multinomial, Poisson
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Labels = NDArray[Any]
# What makes problems of labels, and the units of their predictors, None for classes.
Problems = tuple[Callable[[LabelRows, Outcomes], list[Labelled]], LinkedUnits | None]


@saveable("linear.grouped_label_tasks")
@dataclass(frozen=True, eq=False)
class GroupedLabelTasks:
    """Posteriors of the levels of several groupings: one, or one for each of several classes."""

    # The coefficients of `linear` are those of the levels of the first grouping. Whatever its
    # task, a row is predicted by the levels that it knows of itself.

    linear: LinearTasks
    posteriors: tuple[GroupedTasks, ...]
    units: TaskUnits

    @property
    def loss(self) -> Loss:
        """The loss of all tasks."""
        return self.linear.losses[0]

    @property
    def classes(self) -> tuple[Labels | None, ...]:
        """The classes of each task, which are those of all."""
        return self.linear.classes

    @property
    def union(self) -> Labels | None:
        """The classes of all tasks, None for numbers."""
        return self.linear.union

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task."""
        return self.loss

    def classes_of(self, task: int) -> Labels | None:
        """Return the classes of a task, None for numbers."""
        return self.union

    def modes(self, rows: GroupedRows, task: int = 0) -> Array:
        """Return the linear predictors at the mode, shape (n, 1) or (n, n_classes)."""
        return np.column_stack([one.predictors(rows) for one in self.posteriors])

    def variances(self, rows: GroupedRows, task: int = 0) -> Array:
        """Return the posterior variances of the linear predictors, shaped as them."""
        return np.column_stack([one.variances(rows) for one in self.posteriors])

    def eta(self, rows: GroupedRows, task: int = 0) -> Array:
        """Return the predictors of the expected targets, shaped as the linear predictors."""
        return expected_predictors(self.modes(rows), self.variances(rows), self.loss)

    def labels(self, rows: GroupedRows) -> Labels:
        """Return the most probable classes or the expected numbers, shape (n,)."""
        return labels_from(self.eta(rows), self.union, self.loss)

    def probabilities(self, rows: GroupedRows) -> Array:
        """Return class probabilities, shape (n, n_classes)."""
        return class_probabilities(self.eta(rows), self.loss)

    def decisions(self, rows: GroupedRows) -> Array:
        """Return the log odds of the second class, (n,), or of each class, (n, n_classes)."""
        eta = self.eta(rows)
        return eta if isinstance(self.loss, Multinomial) else eta[:, 0]

    def effects_by_name(self) -> dict[Hashable, Array]:
        """Return deviations in original units, (levels, p), with a last axis of classes."""
        found = [one.effects_by_name() for one in self.posteriors]
        if len(found) == 1:
            return found[0]
        return {name: np.stack([own[name] for own in found], axis=2) for name in found[0]}

    def priors(self) -> dict[Hashable, Prior | list[Prior]]:
        """Return the prior of the levels of every grouping, of several classes one for each."""
        found = [one.priors() for one in self.posteriors]
        return {
            name: found[0][name] if len(found) == 1 else [own[name] for own in found]
            for name in found[0]
        }


@dataclass(frozen=True, eq=False)
class GroupedLabelFit:
    """What was learned."""

    tasks: GroupedLabelTasks
    structure: ByGrouping
    candidates: tuple[Candidate, ...]
    ended: Ended
    shares: dict[Hashable, tuple[float, ...]]


def fit_grouped_labels(
    data: TaskData,
    outcomes: Outcomes,
    settings: BayesSettings,
    problems: Problems,
    owner: str,
) -> GroupedLabelFit:
    """Learn the prior of every grouping; each problem has its own."""
    assert data.groupings is not None
    varying = np.array(varying_columns(settings.varying, data, owner), dtype=np.intp)
    if isinstance(settings.fixed_structure, NoVariation):
        varying = varying[:1]
    size = 1 if settings.fixed_structure is None else len(varying)
    _refuse_unsuited(outcomes, data.groupings, size, owner)
    refuse_huge(data, outcomes, owner)
    weight = label_weights(data, outcomes, None, owner)
    scaling = feature_scaling(data, weight, bool(settings.standardize), centre=True)
    problems_of, linked = problems
    labels = label_rows(data, outcomes, scaling, owner)
    given = [_grouped(own, data.groupings, varying) for own in problems_of(labels, outcomes)]
    gaussian = settings.gaussian_mean(data.n_features >= MANY_FEATURES)
    search = LaplaceSearch(gaussian, *settings.limits)
    with weights_within_reach(weight, owner):
        if settings.fixed_structure is None:
            learned, candidates = search.choose(given)
        else:
            every = (settings.fixed_structure,) * len(data.groupings.names)
            learned, candidates = search.learn(given, ByGrouping(every)), ()
    units = TaskUnits(np.zeros(data.n_tasks), np.ones(data.n_tasks), np.full(data.n_tasks, np.nan))
    if linked is not None:
        known = learned.each[0].losses.kinds[0].dispersion
        own = np.full(data.n_tasks, np.nan if known is None else known)
        units = replace(linked.units, dispersion=own)
    shares = {}
    if len(given) == 1:
        noise = _latent_noise(outcomes.losses[0], units)
        plain = [
            own.of_columns(varying[:1]) if learned.structure.is_plain else own for own in given
        ]
        found = latent_shares(learned.each[0], learned.structure, plain[0], noise).tolist()
        pairs = zip(data.groupings.names, found, strict=True)
        shares = {name: tuple(own) for name, own in pairs}
    return GroupedLabelFit(
        tasks=_tasks(data, outcomes, learned, varying, scaling, units, sum_by_task(weight, data)),
        structure=learned.structure,
        candidates=candidates,
        ended=Ended(
            log_likelihood=learned.value,
            residual=max(own.residual for own in learned.each),
            converged=all(own.converged for own in learned.each),
            n_iter=max(own.n_iter for own in learned.each),
            seconds=sum(own.seconds for own in learned.each),
        ),
        shares=shares,
    )


def _tasks(
    data: TaskData,
    outcomes: Outcomes,
    learned: LaplaceLearned,
    varying: NDArray[np.intp],
    scaling: FeatureScaling,
    units: TaskUnits,
    counts: Array,
) -> GroupedLabelTasks:
    """Join posteriors, scaling and units into what predicts."""
    assert data.groupings is not None
    precision = "float32" if data.X.dtype == np.float32 else "float64"
    posteriors = tuple(
        GroupedTasks(
            names=data.groupings.names,
            sums=own.mode.sums,
            covariances=own.mode.equations.covariances,
            noise=1.0,
            effects=own.mode.effects,
            beta=own.mode.here.beta,
            varying=varying[: own.mode.sums.q],
            mean=scaling.mean,
            scale=scaling.scale,
            target_mean=float(units.level[0]),
            target_scale=float(units.scale[0]),
            counts=counts,
            precision=precision,
            mean_precision=own.mode.precision,
        )
        for own in learned.each
    )
    lines = [one.beta + one.deviations()[0] for one in posteriors]
    frame = TaskFrame(data.tasks, data.present, np.dtype(precision))
    linear = linear_of(frame, outcomes, lines, scaling, counts, units)
    return GroupedLabelTasks(linear, posteriors, units)


def _grouped(labelled: Labelled, held: Groupings, varying: NDArray[np.intp]) -> GroupedLabels:
    """Return labels with the levels of their rows."""
    assert labelled.rows is not None
    Z = labelled.take(np.arange(len(labelled.y)))
    levels = tuple(map(len, held.labels))
    return GroupedLabels(labelled, CrossedRows(Z, held.codes[labelled.rows], levels, varying))


def of_all_classes(data: TaskData, outcomes: Outcomes) -> Outcomes:
    """Return outcomes in which every task has all classes: its rows have other levels, too."""
    union = outcomes.union
    if union is None:
        return outcomes
    place = {label: k for k, label in enumerate(union.tolist())}
    y = outcomes.y.copy()
    for t, classes in enumerate(outcomes.classes):
        part = data.task_slice(t)
        table = np.array([place[label] for label in np.asarray(classes).tolist()], dtype=float)
        y[part] = table[y[part].astype(np.intp)]
    return replace(outcomes, y=y, classes=(union,) * data.n_tasks)


def _latent_noise(loss: Loss, units: TaskUnits) -> float:
    """Return the variance of a label of weight 1 on the scale of the linear predictors."""
    # Nakagawa, Johnson and Schielzeth (2017), J. R. Soc. Interface 14: the logistic distribution,
    # and the trigamma function for labels whose logarithms the model describes.
    if loss.is_classifier:
        return float(np.pi**2 / 3.0)
    dispersion = float(units.dispersion[0])
    if isinstance(loss, Poisson):
        return float(scipy.special.polygamma(1, np.exp(units.level[0]) / dispersion))
    return (
        float(scipy.special.polygamma(1, 1.0 / dispersion))
        if isinstance(loss, Gamma)
        else dispersion
    )


def _refuse_unsuited(outcomes: Outcomes, held: Groupings, size: int, owner: str) -> None:
    """Refuse losses of several kinds, and more effects than are solved for together."""
    # Those of the grouping with the most levels are eliminated.
    levels = [len(labels) for labels in held.labels]
    names = sorted({loss.name for loss in outcomes.losses})
    if len(names) > 1:
        fields = {"owner": owner, "names": names}
        raise IncompatibleError(LazyMessage("linear.refusal.groupings_losses", fields))
    if (n := size * (sum(levels) - max(levels))) > LARGEST_DENSE:
        sizes = {"owner": owner, "n": n, "most": LARGEST_DENSE}
        raise IncompatibleError(LazyMessage("linear.refusal.groupings_many", sizes))
