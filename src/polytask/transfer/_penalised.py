"""Adaptation of penalised linear models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.training import Collected, refuse_other_features
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, IncompatibleError
from polytask.linear.base import LinearEstimator
from polytask.linear.pull import Pull
from polytask.losses import Squared, SquareRoot
from polytask.messages import LazyMessage
from polytask.penalties import Penalty
from polytask.transfer._candidates import Learner, alone, choose, held_out
from polytask.transfer._extend import LearnedTask, added_card, collected_card, extended
from polytask.transfer._pulled import (
    KNOWN,
    WIDER,
    Grid,
    Line,
    Pulled,
    QuadraticPull,
    TaskRows,
    learn,
    level_factor,
    log_evidence,
)
from polytask.transfer._report import CandidateLosses, report_of, report_of_statistics
from polytask.transfer._rows import OWNER, NewRows, NewTask, loss_of_new

Array = NDArray[np.float64]

# Which other strength predicts better is told by rows that are left out.
_AS_ITS_OWN = Grid((1.0,))


@dataclass(frozen=True, eq=False)
class Known:
    """What a penalised model knows about another task."""

    model: LinearEstimator
    pull: Pull

    def line(self, task: NewTask) -> Line:
        """Return what is predicted without rows: the task's own coefficients, or the mean."""
        coef, intercept = self.model._linear_model().parameters(task.position)
        return Line(coef.astype(float), intercept.astype(float))

    def learned(self, task: NewTask, rows: TaskRows, grid: Grid = KNOWN) -> Pulled:
        """Return a task learned from some rows and what is known."""
        held = QuadraticPull(self.pull.mean, self.pull.strength, self.pull.level)
        return learn(rows, self.line(task), held, grid)

    def loosened(self, task: NewTask, rows: TaskRows) -> Pulled:
        """Return a task of a new domain, whose level may be further off than those known."""
        if not (len(rows.y) and 0.0 < self.pull.level < np.inf):
            return self.learned(task, rows, WIDER)
        start, pull = self.line(task), self.pull

        def evidence(factor: float) -> float:
            held = QuadraticPull(pull.mean, pull.strength, pull.level / factor)
            return log_evidence(rows, start, held)

        looser = replace(pull, level=pull.level / level_factor(evidence))
        return Known(self.model, looser).learned(task, rows, WIDER)

    def candidates(self) -> dict[str, Learner]:
        """Return what may be made of the rows of a new domain."""
        return {
            "adapted": self.loosened,
            "source": lambda task, rows: Pulled(self.line(task), np.zeros(len(rows.y)), np.inf),
            "target": lambda task, rows: alone(rows, self.line(task), self.pull.scale),
        }


def pulled_tasks(model: LinearEstimator, given: NewRows) -> Any:  # noqa: ANN401 - as the model
    """Return a model with new tasks, each pulled to the mean of the known ones."""
    known = _known(model)
    found = [known.learned(entry, entry.rows) for entry in given.tasks]
    pairs = list(zip(given.tasks, found, strict=True))
    card = added_card(model.data_card_, given)
    adapted = extended(model, card, [LearnedTask(entry, pulled.line) for entry, pulled in pairs])
    trial = None
    if given.n_rows:
        before = [entry.rows.losses(known.line(entry).eta(entry.rows.X)) for entry in given.tasks]
        after = [pulled.held_out for pulled in found]
        losses = {"adapted": np.concatenate(after), "source": np.concatenate(before)}
        trial = CandidateLosses(losses, given.weight)
    strengths = tuple(pulled.strength for pulled in found)
    adapted.adaptation_ = replace(report_of(given, trial, None), strengths=strengths)
    return adapted


def pulled_statistics(model: LinearEstimator, found: Collected) -> Any:  # noqa: ANN401
    """Return a model with the tasks of statistics, held as the model holds its own."""
    known, owner = _known(model), type(model).__name__
    loss = loss_of_new(model)
    if not isinstance(loss, Squared | SquareRoot):
        fields = {"kind": f"{owner}(loss={model.loss!r})", "domain": "None"}
        raise IncompatibleError(LazyMessage("transfer.refusal.statistics", fields))
    refuse_other_features(found, model.encoder_, len(model.coef_feature_names_), OWNER)
    data = found.to_task_data()
    if data.form is Form.TARGETS:
        raise DataError(LazyMessage("transfer.refusal.targets"))
    y, weight = np.asarray(data.y), np.asarray(data.sample_weight)
    learned, strengths = [], []
    for t, label in enumerate(found.tasks):
        part = data.task_slice(t)
        rows = TaskRows(data.X[part], y[part], weight[part], loss)
        entry = NewTask(label, -1, rows)
        pulled = known.learned(entry, rows, _AS_ITS_OWN)
        learned.append(LearnedTask(entry, pulled.line))
        strengths.append(pulled.strength)
    adapted = extended(model, collected_card(model.data_card_, found), learned)
    untried = {"strengths": str(LazyMessage("adapt.strengths"))}
    adapted.adaptation_ = report_of_statistics(found, tuple(strengths), untried=untried)
    return adapted


def pulled_domain(model: LinearEstimator, given: NewRows, source: TaskData | None) -> Any:  # noqa: ANN401
    """Return the best that can be made of a model and the rows of a new domain."""
    known = _known(model)
    candidates = known.candidates()
    losses = {name: held_out(given, learner) for name, learner in candidates.items()}
    report, pooled = choose(model, given, losses, source)
    if pooled is not None:
        return pooled
    found = [(entry, candidates[report.chosen](entry, entry.rows)) for entry in given.tasks]
    card = added_card(model.data_card_, given)
    adapted = extended(model, card, [LearnedTask(entry, pulled.line) for entry, pulled in found])
    adapted.adaptation_ = replace(report, strengths=tuple(pulled.strength for _, pulled in found))
    return adapted


def _known(model: LinearEstimator) -> Known:
    pull = getattr(model, "_pull", None)
    if pull is None:
        fields = {"kind": type(model).__name__}
        raise IncompatibleError(LazyMessage("transfer.refusal.before_adapt", fields))
    penalty = getattr(model, "best_penalty_", getattr(model, "penalty", None))
    if isinstance(penalty, Penalty) and penalty.binds_signs:
        fields = {"kind": type(model).__name__, "penalty": repr(penalty)}
        raise IncompatibleError(LazyMessage("transfer.refusal.bounds", fields))
    return Known(model, pull)
