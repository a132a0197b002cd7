"""The work of ``polytask fit``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from polytask.cli import _fit_report as report
from polytask.cli._console import say, working
from polytask.cli._fit_data import Training, read_training
from polytask.cli._kinds import Demand, Problem, problem_of
from polytask.cli._models import Plan, check_choice, model_named
from polytask.cli._roles import Wanted
from polytask.cli._sources import MODEL_SUFFIX, Output, Source
from polytask.exceptions import IncompatibleError
from polytask.penalties.parse import parse


@dataclass(frozen=True)
class Choice:
    """What the user said about learning."""

    loss: str
    model: str
    penalty: str | None
    unseen_tasks: str
    folds: int
    seed: int
    jobs: int | None
    criterion: str | None = None

    def demand(self) -> Demand:
        """Return what the targets are to be: by ``--loss``, else by ``--model``."""
        problem = model_named(self.model).problem
        if self.loss != "auto" or problem in (None, Problem.MIXED):
            return Demand(self.loss, f"--loss {self.loss}")
        loss = "squared" if problem is Problem.REGRESSION else "classes"
        return Demand(loss, f"--model {self.model}")

    def plan(self, training: Training) -> Plan:
        """Return what the estimator is built from."""
        problem = problem_of(training.kinds)
        losses = {kind.name: kind.loss for kind in training.kinds}
        numbers = "squared" if self.loss == "auto" else self.loss
        loss = {Problem.REGRESSION: numbers, Problem.CLASSIFICATION: self.loss}.get(problem)
        return Plan(
            problem=problem,
            loss=losses if loss is None else loss,
            task_column=training.task_column,
            unseen_tasks=self.unseen_tasks,
            penalty=None if self.penalty is None else parse(self.penalty),
            folds=self.folds,
            seed=self.seed,
            jobs=self.jobs,
            criterion=self.criterion,
        )


def refuse_folds(
    criterion: str | None,
    *,
    folds: int | None = None,
    rule: str | None = None,
    group: str | None = None,
    time: str | None = None,
) -> None:
    """Refuse what only folds can answer where a criterion replaces them."""
    given = {"folds": folds, "rule": rule, "group": group, "time": time}
    for name, value in given.items():
        if value is not None and criterion is not None:
            raise IncompatibleError(
                f"--criterion {criterion} holds no rows out, so that --{name} {value} has no "
                "meaning: drop one of the two."
            )


def run_fit(
    source: Source, wanted: Wanted, choice: Choice, output: Output, drop_missing: bool
) -> None:
    """Read, fit, write the model and say what was done."""
    from polytask import save

    source.check("polytask fit")
    path = output.check(f"model{MODEL_SUFFIX}", source.data)
    training = read_training(source, wanted, choice.demand(), drop_missing)
    plan = choice.plan(training)
    check_choice(choice.model, plan)
    report.say_data(training)
    estimator = _fitted(model_named(choice.model).build(plan), training)
    save(estimator, path)
    report.say_model(estimator, training)
    say()
    report.say_next(path, source, wanted)


def _fitted(estimator: Any, training: Training) -> Any:  # noqa: ANN401 - any estimator
    with working(f"Fitting {type(estimator).__name__} ..."):
        return estimator.fit(training.X, training.y, sample_weight=training.weight)
