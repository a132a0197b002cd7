"""New tasks and new domains of models with a learned prior."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator.training import Collected
from polytask.data import TaskData
from polytask.exceptions import DataError
from polytask.linear.heavy_weights import refuse_heavy
from polytask.linear.prediction import LinearTasks
from polytask.messages import LazyMessage
from polytask.transfer._candidates import alone, choose, held_out, refuse_known_tasks
from polytask.transfer._extend import (
    CoefficientCovariance,
    LearnedTask,
    collected_card,
    replaced,
    with_card,
)
from polytask.transfer._learned_prior import (
    Width,
    has_learned_prior,
    left_out,
    prior_variances,
    widened,
    width_of,
    with_lines_before,
    with_rows,
)
from polytask.transfer._pulled import Line, Pulled, TaskRows
from polytask.transfer._refit import natural_losses
from polytask.transfer._relation import averaged, can_average
from polytask.transfer._report import CandidateLosses, report_of, report_of_statistics
from polytask.transfer._rows import OWNER, NewRows, NewTask, linear_model

__all__ = ["has_learned_prior", "learned_domain", "learned_statistics", "learned_tasks"]

Array = NDArray[np.float64]
_FOLDS = 5
# Of coefficients of scaled features: less changes no prediction that anyone could see.
_NO_VARIANCE = 1e-6
# Student's t has no variance with less than two degrees of freedom.
_LEAST_FREEDOM = 3.0


def learned_tasks(model: Any, given: NewRows) -> Any:  # noqa: ANN401 - an estimator
    """Return a model with new tasks, the prior held: their exact posterior."""
    adapted = with_card(with_rows(model, given), given)
    trial = None
    if given.n_rows and not hasattr(model, "classes_"):
        after = np.concatenate(left_out(model, given.tasks))
        before = [entry.rows.losses(_typical(model).eta(entry.rows.X)) for entry in given.tasks]
        trial = CandidateLosses({"adapted": after, "source": np.concatenate(before)}, given.weight)
    strengths = tuple(1.0 if len(entry.rows.y) else np.inf for entry in given.tasks)
    report = report_of(given, trial, None)
    adapted.adaptation_ = replace(report, strengths=strengths, fixed=_is_fixed(model))
    return adapted


def learned_statistics(model: Any, found: Collected) -> Any:  # noqa: ANN401 - an estimator
    """Return a model with the tasks of statistics: their exact posterior, as of their rows."""
    adapted = copy.copy(model).partial_fit(found)
    adapted.data_card_ = collected_card(model.data_card_, found)
    strengths = (1.0,) * len(found.tasks)
    adapted.adaptation_ = report_of_statistics(found, strengths, fixed=_is_fixed(model))
    return adapted


def _is_fixed(model: Any) -> bool:  # noqa: ANN401
    """Say whether the prior lets rows change nothing."""
    variances = prior_variances(model)
    return all(values.max(initial=0.0) <= _NO_VARIANCE for values in variances)


def learned_domain(model: Any, given: NewRows, source: TaskData | None) -> Any:  # noqa: ANN401
    """Return the best that can be made of a learned prior and the rows of a new domain."""
    refuse_heavy(given.weight, OWNER)
    refuse_known_tasks(model, given)
    if given.raw is None:
        raise DataError(sentence("X_new", OWNER, LazyMessage("allowed.labelled_rows"), "None"))
    work = _Domain(model, given, given.raw)
    losses = {"adapted": work.held_out(), "source": natural_losses(model, work.raw, given.losses)}
    untried: dict[str, str] = {}
    parts = [entry.rows for entry in given.tasks]
    if parts[0].loss.is_classifier and len(np.unique(np.concatenate([r.y for r in parts]))) < 2:
        untried["target"] = str(LazyMessage("adapt.one_class"))
    elif not getattr(model._tasks, "several", False):
        # Several classes are one against the others here: no line of one model says that.
        losses["target"] = held_out(given, work.alone)
    report, pooled = choose(model, given, losses, source, untried)
    if pooled is not None:
        return pooled
    adapted, strength = work.fitted(report.chosen, losses[report.chosen])
    adapted.adaptation_ = replace(report, strengths=(strength,) * len(given.tasks))
    return adapted


def _typical(model: Any) -> Line:  # noqa: ANN401
    """Return the coefficients of a task without rows, from the prior mean."""
    tasks = model._tasks
    coef, intercept = tasks.typical() if hasattr(tasks, "typical") else tasks.parameters(-1)
    return Line(np.atleast_2d(coef).astype(float), np.atleast_1d(intercept).astype(float))


@dataclass(frozen=True, eq=False)
class _Domain:
    """A model with a learned prior, and the rows of a new domain."""

    model: Any
    given: NewRows
    raw: TaskData

    def adapted(self, index: NDArray[np.intp]) -> tuple[Any, Width]:
        """Return the model after some of the rows, and how much its prior was widened."""
        every = [self._part(k, index) for k in range(len(self.given.tasks))]
        parts = [rows for rows in every if len(rows.y)]
        width = width_of(self.model, parts)
        new = with_rows(widened(self.model, width), self.given, index)
        if can_average(self.model) and parts:
            places = linear_size(self.model) + np.flatnonzero([len(rows.y) for rows in every])
            new = averaged(new, self.model, parts, places, width)
        return with_lines_before(new, self.model), width

    def held_out(self) -> Array:
        """Return the loss of each row when its fold is left out."""
        losses, every = np.full(self.raw.n_rows, np.nan), np.arange(self.raw.n_rows)
        for fold in self.given.folds(_FOLDS):
            model, _ = self.adapted(np.setdiff1d(every, fold))
            losses[fold] = natural_losses(model, self.raw.rows(fold), self.given.losses)
        return losses

    def alone(self, task: NewTask, rows: TaskRows) -> Pulled:
        """Learn from the rows alone."""
        return alone(rows, _typical(self.model), np.asarray(self.model._tasks.scale))

    def fitted(self, chosen: str, losses: Array) -> tuple[Any, float]:
        """Return the model of a candidate, and how strongly its new tasks are held."""
        # Shapes: losses (n_rows,).
        every = np.arange(self.given.n_rows)
        if chosen == "adapted":
            model, width = self.adapted(every)
            return with_card(model, self.given), 1.0 / width[0]
        model = with_card(with_rows(self.model, self.given), self.given)
        lines = {"source": self._unchanged, "target": self._alone_line}[chosen]
        learned = [
            LearnedTask(replace(entry, position=k), lines(entry))
            for k, entry in enumerate(self.given.tasks, linear_size(self.model))
        ]
        spread = CoefficientCovariance(self._deviations(losses), unseen=chosen == "source")
        return replaced(model, learned, spread), np.inf if chosen == "source" else 0.0

    def _deviations(self, losses: Array) -> tuple[float | None, ...]:
        """Return the standard deviation of a new target of every task; None for classes."""
        if hasattr(self.model, "classes_"):
            return (None,) * len(self.given.tasks)
        sizes = np.cumsum([0, *[len(task.rows.y) for task in self.given.tasks]])
        weight = self.given.weight
        found = []
        for first, last in itertools.pairwise(sizes.tolist()):
            own = np.arange(first, last)
            # A single row could not be left out: the others say what can be said.
            own = own if np.isfinite(losses[own]).any() else np.arange(len(losses))
            found.append(deviation_of(losses[own], weight[own]))
        return tuple(found)

    def _unchanged(self, task: NewTask) -> Line:
        return _typical(self.model)

    def _alone_line(self, task: NewTask) -> Line:
        return self.alone(task, task.rows).line

    def _part(self, k: int, index: NDArray[np.intp]) -> TaskRows:
        sizes = np.cumsum([0, *[len(task.rows.y) for task in self.given.tasks]])
        own = index[(index >= sizes[k]) & (index < sizes[k + 1])] - sizes[k]
        return self.given.tasks[k].rows.part(own)


def deviation_of(losses: Array, weight: Array) -> float:
    """Return the standard deviation of a new target from half squared errors of some rows."""
    # Shapes: losses (n_rows,), weight (n_rows,).
    # That of Student's t distribution with as many degrees of freedom as there are rows, so that
    # few rows do not promise more than they can know.
    seen = np.isfinite(losses)
    share = weight[seen] / weight[seen].sum()
    freedom = max(1.0 / float(share @ share), _LEAST_FREEDOM)
    return float(np.sqrt(2.0 * (losses[seen] @ share) * freedom / (freedom - 2.0)))


def linear_size(model: Any) -> int:  # noqa: ANN401
    """Return the number of tasks."""
    linear: LinearTasks = linear_model(model)
    return len(linear.slices)
