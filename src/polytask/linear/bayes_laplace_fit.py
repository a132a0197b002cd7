"""Learn the prior and the posteriors of tasks of classes, counts, amounts and numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from polytask._checks import sentence
from polytask._estimator import Outcomes
from polytask._estimator.outcomes import coded
from polytask._estimator.scaling import (
    FeatureScaling,
    feature_scaling,
    refuse_huge,
    target_scaling,
    wide_enough,
)
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import label_weights, sum_by_task
from polytask._linalg import is_sparse
from polytask.bayes.blocks import RowSpace
from polytask.bayes.choose import Candidate
from polytask.bayes.label_losses import LabelLoss, LabelLosses
from polytask.bayes.laplace import LearnedLaplace, learn_laplace_priors
from polytask.bayes.laplace_parts import PartsLearner, Request, TaskSums, task_sums
from polytask.bayes.laplace_rows import Labelled, is_thin
from polytask.bayes.posterior import (
    LaplacePosterior,
    laplace_posterior,
    posterior_under,
    spanned,
)
from polytask.bayes.prior import Prior, Structure
from polytask.data import Form, TaskData
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.linear._bayes_rows import with_ones
from polytask.linear.bayes_laplace_tasks import LaplaceTasks, TaskUnits
from polytask.linear.bayes_settings import BayesSettings, Ended, is_wide, varying_columns
from polytask.linear.heavy_weights import weights_within_reach
from polytask.linear.in_parts import aligned, refuse_large
from polytask.losses import Logistic, LogLink, Multinomial
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Index = NDArray[np.intp]


# From so many features on their mean coefficients are shrunk by a learned normal prior.
MANY_FEATURES = 5


@dataclass(frozen=True, eq=False)
class LaplaceFit:
    """What was learned. Shapes: dispersions (kinds of labels,)."""

    posteriors: list[LaplacePosterior]
    scaling: FeatureScaling
    dispersions: Array
    structure: Structure | None
    candidates: tuple[Candidate, ...]
    ended: Ended

    @classmethod
    def of(
        cls,
        posteriors: list[LaplacePosterior],
        learned: Sequence[LearnedLaplace],
        candidates: tuple[Candidate, ...],
        scaling: FeatureScaling,
    ) -> LaplaceFit:
        """Return the fit of priors that were learned, one for each posterior."""
        return cls(
            posteriors=posteriors,
            scaling=scaling,
            dispersions=learned[0].beliefs.losses.dispersions_by_kind,
            structure=learned[0].model.structure,
            candidates=candidates,
            ended=Ended(
                log_likelihood=sum(found.log_evidence for found in learned),
                residual=max(found.residual for found in learned),
                converged=all(found.converged for found in learned),
                n_iter=max(found.n_iter for found in learned),
                seconds=sum(found.seconds for found in learned),
            ),
        )


@dataclass(frozen=True, eq=False)
class GivenPriors:
    """Priors from elsewhere, one for two classes, else one per class of the union."""

    priors: tuple[Prior, ...]
    scaling: FeatureScaling | None = None
    names: tuple[str, ...] | None = None
    union: NDArray[Any] | None = None

    def check(self, data: TaskData, outcomes: Outcomes, owner: str) -> None:
        """Raise IncompatibleError if they belong to other features or classes."""
        needed = 1 if outcomes.union is None or not _several(outcomes) else len(outcomes.union)
        if len(self.priors) != needed:
            fields = {"owner": owner, "n": len(self.priors), "needed": needed}
            raise IncompatibleError(LazyMessage("linear.refusal.n_priors", fields))
        for prior in self.priors:
            if prior.n_features != data.n_features or prior.noise is not None:
                kind = "classes" if prior.noise is None else "numbers"
                got = LazyMessage(f"got.prior_of_{kind}_with", {"n": prior.n_features})
                allowed = LazyMessage("allowed.prior_of_classes", {"n": data.n_features})
                raise IncompatibleError(sentence("prior", owner, allowed, got))
        if self.names is not None and data.feature_names not in (None, self.names):
            got = LazyMessage("got.prior_of", {"names": ", ".join(self.names[:5])})
            names = {"names": ", ".join((data.feature_names or ())[:5])}
            allowed = LazyMessage("allowed.of_features", names)
            raise IncompatibleError(sentence("prior", owner, allowed, got))
        if needed > 1 and self.union is not None:
            ours, theirs = np.asarray(outcomes.union).tolist(), self.union.tolist()
            if ours != theirs:
                allowed = LazyMessage("allowed.of_classes", {"names": str(ours)})
                got = LazyMessage("allowed.of_classes", {"names": str(theirs)})
                raise IncompatibleError(sentence("prior", owner, allowed, got))

    @property
    def own_scaling(self) -> FeatureScaling | None:
        """The scaling that the data must have; None if the priors can be moved to another."""
        fixed = any(prior.space is not None for prior in self.priors)
        return self.scaling if fixed else None

    def moved_to(self, scaling: FeatureScaling) -> list[Prior]:
        """Return the priors of the same coefficients in another scaling."""
        if self.scaling is None or self.own_scaling is not None:
            return list(self.priors)
        return [_moved(prior, self.scaling, scaling) for prior in self.priors]


def fit_laplace(
    data: TaskData,
    outcomes: Outcomes,
    settings: BayesSettings,
    problems_of: Callable[[LabelRows, Outcomes], list[Labelled]],
    given: GivenPriors | None,
    owner: str,
) -> LaplaceFit:
    """Learn from encoded data; each problem has a prior of its own."""
    refuse_huge(data, outcomes, owner)
    if given is not None:
        given.check(data, outcomes, owner)
    weight = label_weights(data, outcomes, None, owner)
    scaling = feature_scaling(data, weight, bool(settings.standardize), centre=True)
    if given is not None:
        scaling = given.own_scaling or scaling
    labels = label_rows(data, outcomes, scaling, owner)
    problems = problems_of(labels, outcomes)
    learner = _learner(data, outcomes, scaling, problems, problems_of, owner)
    if given is not None:
        with weights_within_reach(weight, owner):
            return _under_given(problems, given, scaling)
    varying = varying_columns(settings.varying, data, owner)
    space, n_features = None, None
    extent = data.n_features, labels.n_rows, float(labels.weight.sum())
    if learner is None and is_wide(*extent, varying, settings.fixed_structure):
        space, problems = spanned(problems)
        varying, n_features = tuple(range(space.width)), space.n_features
    with weights_within_reach(weight, owner):
        gaussian = settings.gaussian_mean(data.n_features >= MANY_FEATURES)
        learned, candidates = learn_laplace_priors(
            problems,
            settings.fixed_structure,
            varying,
            gaussian,
            settings.limits,
            n_features,
            learner,
        )
    pairs = zip(problems, learned, strict=True)
    posteriors = [posterior_of(problem, found, space) for problem, found in pairs]
    return LaplaceFit.of(posteriors, learned, candidates, scaling)


ProblemsOf = Callable[["LabelRows", Outcomes], list[Labelled]]


def _learner(
    data: TaskData,
    outcomes: Outcomes,
    scaling: FeatureScaling,
    problems: list[Labelled],
    problems_of: ProblemsOf,
    owner: str,
) -> PartsLearner | None:
    """Return what learns priors by passes over rows that are elsewhere; None for others."""
    if data.parts is None:
        return None
    lines, width = sum(own.n_tasks for own in problems), data.n_features + 1
    refuse_large(lines * float(width) ** 2, data.n_features, len(data.tasks), owner)
    # What is sent to where the parts are does not hold all of them.
    known = replace(data, parts=None)
    one, parts = _Pass(known.tasks, outcomes, scaling, problems_of, owner), data.parts

    def run(asked: Sequence[Request | None]) -> list[TaskSums | None]:
        return parts.summed(partial(one.sums, tuple(asked)), _together)

    return PartsLearner(run)


@dataclass(frozen=True, eq=False)
class _Pass:
    """What turns a part of the rows into sums for every problem that asks for some."""

    tasks: tuple[Hashable, ...]
    outcomes: Outcomes
    scaling: FeatureScaling
    problems_of: ProblemsOf
    owner: str

    def sums(self, asked: tuple[Request | None, ...], part: TaskData) -> list[TaskSums | None]:
        """Return the sums of a part."""
        data = aligned(part, self.tasks)
        outcomes = coded(data, self.outcomes, self.owner)
        problems = self.problems_of(label_rows(data, outcomes, self.scaling, self.owner), outcomes)
        pairs = zip(problems, asked, strict=True)
        return [None if at is None else task_sums(own, at) for own, at in pairs]


def _together(one: list[TaskSums | None], other: list[TaskSums | None]) -> list[TaskSums | None]:
    pairs = zip(one, other, strict=True)
    return [None if a is None or b is None else a + b for a, b in pairs]


def posterior_of(
    problem: Labelled, learned: LearnedLaplace, space: RowSpace | None = None
) -> LaplacePosterior:
    """Return the normal model of what was learned of a problem."""
    prior = Prior(
        mean=learned.mode.point.mean,
        covariance=learned.covariance,
        varying=np.array(learned.model.varying, dtype=np.intp),
        noise=None,
        mean_covariance=learned.mode.mean_covariance,
        space=space,
    )
    return laplace_posterior(learned.mode, learned.beliefs, prior, problem)


def against_the_rest(labels: LabelRows, outcomes: Outcomes) -> list[Labelled]:
    """Return a problem for two classes at most, else one for each class against the others."""
    # A task takes part in the problem of a class if it has that class and another one; its code
    # is -1 where it has no say.
    if not _several(outcomes):
        return [labels.against_rest(np.ones(len(outcomes.classes), dtype=np.intp))]
    assert outcomes.union is not None
    known = [[] if classes is None else classes.tolist() for classes in outcomes.classes]
    problems = []
    for label in outcomes.union.tolist():
        codes = [own.index(label) if len(own) > 1 and label in own else -1 for own in known]
        problems.append(labels.against_rest(np.array(codes, dtype=np.intp)))
    return problems


def _several(outcomes: Outcomes) -> bool:
    return isinstance(outcomes.losses[0], Multinomial)


def _under_given(
    problems: list[Labelled], given: GivenPriors, scaling: FeatureScaling
) -> LaplaceFit:
    priors = given.moved_to(scaling)
    pairs = [
        posterior_under(prior, problem) for prior, problem in zip(priors, problems, strict=True)
    ]
    return LaplaceFit(
        posteriors=[posterior for posterior, _ in pairs],
        scaling=scaling,
        dispersions=np.ones(1),
        structure=None,
        candidates=(),
        ended=Ended(sum(value for _, value in pairs), n_iter=1),
    )


def _moved(prior: Prior, old: FeatureScaling, new: FeatureScaling) -> Prior:
    """Express a prior of coefficients of one scaling in another."""
    turn = np.diag(np.concatenate([[1.0], new.scale / old.scale]))
    turn[0, 1:] = (new.mean - old.mean) / old.scale
    V = prior.varying
    own = turn[np.ix_(V, V)]
    S = prior.mean_covariance
    return Prior(
        mean=turn @ prior.mean,
        covariance=own @ prior.covariance @ own.T,
        varying=V,
        noise=None,
        mean_covariance=None if S is None else turn @ S @ turn.T,
    )


def given_priors(prior: Any, owner: str) -> GivenPriors | None:  # noqa: ANN401
    """Return the priors of what the user gave."""
    if prior is None:
        return None
    if isinstance(prior, Prior):
        return GivenPriors((prior,))
    tasks = getattr(prior, "_tasks", None) if isinstance(prior, BaseEstimator) else None
    if isinstance(tasks, LaplaceTasks):
        scaling = FeatureScaling(tasks.mean, tasks.scale, active=True)
        encoded = prior._schema.encoder is not None
        names = tuple(str(name) for name in prior.coef_feature_names_) if encoded else None
        priors = tuple(posterior.prior for posterior in tasks.posteriors)
        return GivenPriors(priors, scaling, names, tasks.union)
    if isinstance(prior, list | tuple) and prior and all(isinstance(p, Prior) for p in prior):
        return GivenPriors(tuple(prior))
    allowed = LazyMessage("allowed.priors", {"owner": owner})
    raise ParameterError(sentence("prior", owner, allowed, type(prior).__name__))


@dataclass(frozen=True, eq=False)
class LabelRows:
    """The labels of all tasks, sorted by task."""

    # Shapes: Z (n_rows, 1 + n_features), shift (1 + n_features,), rows (m,), y (m,), weight
    # (m,), task (m,).

    Z: Any
    shift: Array | None
    rows: Index
    y: Array
    weight: Array
    task: Index
    n_tasks: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.Z.shape[0])

    def against_rest(self, positive: Index) -> Labelled:
        """Return the problem of one class against the rest. Shapes: positive (n_tasks,)."""
        own = positive[self.task]
        used = np.flatnonzero(own >= 0)
        y = (self.y == own)[used].astype(np.float64)
        return self.lines(used, self.task[used], y, self.n_tasks)

    def lines(self, used: Index, line: Index, y: Array, n_lines: int) -> Labelled:
        """Return labels that each belong to a line of coefficients, sorted by line."""
        # Shapes: used, line, y (k,).
        counts = np.bincount(line, minlength=n_lines)
        return Labelled(
            Z=self.Z,
            y=y,
            weight=self.weight[used],
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
            rows=self.rows[used],
            shift=self.shift,
        )


@dataclass(frozen=True, eq=False)
class LinkedUnits:
    """Units of the linear predictors of tasks, and what their labels lose."""

    # Shapes: kind (n_tasks,), the position of the loss among `losses`.

    units: TaskUnits
    kind: Index
    losses: LabelLosses

    @classmethod
    def of(cls, data: TaskData, outcomes: Outcomes, weight: Array) -> LinkedUnits:
        """Scale numbers, and give counts and amounts the logarithm of their mean as level."""
        n = data.n_tasks
        scaling = target_scaling(data, outcomes, weight, "auto", centre=True)
        level = scaling.mean.copy()
        # Targets of a matrix, and tasks of several losses, have a level and a dispersion each.
        apart = data.form is Form.TARGETS or len(set(outcomes.losses)) > 1
        count = sum_by_task(weight, data)
        total = sum_by_task(weight * np.nan_to_num(outcomes.y), data)
        if not apart:
            total, count = np.full(n, total.sum()), np.full(n, count.sum())
        linked = np.array([isinstance(loss, LogLink) for loss in outcomes.losses]) & (total > 0)
        level[linked] = np.log(total[linked] / count[linked])
        kinds = [
            LabelLoss(
                Logistic() if loss.is_classifier else loss,
                float(own) if isinstance(loss, LogLink) else 0.0,
                None if loss.is_classifier else 1.0,
            )
            for loss, own in zip(outcomes.losses, level, strict=True)
        ]
        numbers = np.arange(n) if apart else np.zeros(n, dtype=np.intp)
        units = TaskUnits(level, scaling.scale, np.ones(n))
        return cls(units, numbers, LabelLosses(tuple(kinds if apart else kinds[:1])))

    def found(self, fit: LaplaceFit) -> TaskUnits:
        """Return the units with the dispersions that were learned."""
        known = np.array([kind.dispersion is not None for kind in self.losses.kinds])
        own = np.where(known, fit.dispersions, np.nan)
        return replace(self.units, dispersion=own[self.kind])

    def one_problem(self, labels: LabelRows, outcomes: Outcomes) -> list[Labelled]:
        """Return all labels as one problem: a line for each task, or each class of a task."""
        used, lines, ys = [], [], []
        bounds = np.searchsorted(labels.task, np.arange(labels.n_tasks + 1))
        n_lines = 0
        for t, (loss, width) in enumerate(zip(outcomes.losses, outcomes.n_outputs, strict=True)):
            own = np.arange(bounds[t], bounds[t + 1])
            y = labels.y[own]
            if loss.follows_units and not loss.is_classifier:
                y = (y - self.units.level[t]) / self.units.scale[t]
            for k in range(width):
                used.append(own)
                lines.append(np.full(len(own), n_lines))
                ys.append((y == k).astype(float) if isinstance(loss, Multinomial) else y)
                n_lines += 1
        chosen = np.concatenate(used)
        problem = labels.lines(chosen, np.concatenate(lines), np.concatenate(ys), n_lines)
        several = len(self.losses.kinds) > 1
        loss_of = self.kind[labels.task[chosen]] if several else None
        return [replace(problem, loss=loss_of, losses=self.losses)]


def label_rows(
    data: TaskData, outcomes: Outcomes, scaling: FeatureScaling, owner: str
) -> LabelRows:
    """Scale the rows and sort the labels by task."""
    X, mask = wide_enough(data.X), cell_mask(data)
    if mask is None and not is_sparse(X) and is_thin(X):
        X = sp.csr_array(X)
    Z, shift = with_ones(scaling.features(X, mask))
    weight = label_weights(data, outcomes, None, owner)
    if data.form is Form.TARGETS:
        task, rows = np.nonzero(weight.T > 0)
        y, weight = outcomes.y[rows, task], weight[rows, task]
    else:
        rows = np.flatnonzero(weight > 0)
        task, y, weight = data.row_tasks()[rows], outcomes.y[rows], weight[rows]
    return LabelRows(
        Z=Z,
        shift=shift,
        rows=rows.astype(np.intp),
        y=y,
        weight=weight,
        task=task.astype(np.intp),
        n_tasks=data.n_tasks,
    )
