"""The work of ``polytask auto``."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask._progress import duration
from polytask.cli import _fit_report as report
from polytask.cli._console import digits, say, say_pair, say_table
from polytask.cli._fit_data import Training, read_training
from polytask.cli._kinds import Demand, Problem, problem_of
from polytask.cli._leftovers import removed_if_refused
from polytask.cli._model_names import check_models
from polytask.cli._roles import Wanted
from polytask.cli._sources import MODEL_SUFFIX, Output, Source
from polytask.cli._splitting import check_one_way, folds_of
from polytask.exceptions import IncompatibleError, TimeBudgetError

if TYPE_CHECKING:
    import os

# Where an interrupted run left off, beside the model that it was to write.
_JOURNAL = ".journal"


@dataclass(frozen=True)
class Choice:
    """What the user said about learning."""

    loss: str
    models: tuple[str, ...]
    unseen_tasks: str
    folds: int
    budget: float | None
    seed: int
    jobs: int
    lang: str

    def check(self) -> None:
        """Refuse an unknown model before anything is read."""
        check_models(self.models)


def run_auto(
    source: Source, wanted: Wanted, choice: Choice, output: Output, drop_missing: bool
) -> None:
    """Read, choose, write the model and say what was chosen."""
    from polytask import save

    started = time.monotonic()
    source.check("polytask auto")
    choice.check()
    check_one_way(wanted)
    path = output.check(f"model{MODEL_SUFFIX}", source.data)
    option = "--classes" if choice.loss == "classes" else "--numbers"
    demand = Demand(choice.loss, option, for_classes="--classes")
    training = read_training(source, wanted, demand, drop_missing)
    report.say_data(training)
    journal = Path(f"{path}{_JOURNAL}")
    estimator = _estimator(training, choice, journal)
    if choice.budget is not None:
        left = choice.budget - (time.monotonic() - started)
        if left <= 0:
            raise TimeBudgetError(
                f"Reading {source.name} took all of --time-budget, {duration(choice.budget)}: "
                "give more time or fewer rows."
            )
        estimator.set_params(time_budget=left)
    lock = Path(f"{journal}.lock")
    with removed_if_refused(journal, lock):
        estimator.fit(training.X, training.y, sample_weight=training.weight)
    # The journal, and groups or times in the splitter, are nothing that the model has to know.
    kept = {"journal": None, "cv": choice.folds, "time_budget": choice.budget}
    save(estimator.set_params(**kept), path)
    if not estimator.stopped_:
        for spent in (journal, lock):
            spent.unlink(missing_ok=True)
    _say_choice(estimator, choice.lang)
    if estimator.stopped_:
        say("The same command with --force and more time goes on from what was tried.")
    say()
    report.say_next(path, source, wanted)


def _estimator(training: Training, choice: Choice, journal: os.PathLike[str]) -> Any:  # noqa: ANN401
    from polytask import AutoMultiTaskClassifier, AutoMultiTaskRegressor

    classes: dict[Problem, Any] = {
        Problem.REGRESSION: AutoMultiTaskRegressor,
        Problem.CLASSIFICATION: AutoMultiTaskClassifier,
    }
    problem = problem_of(training.kinds)
    if problem not in classes:
        raise IncompatibleError(
            "polytask auto is for targets of one kind, numbers or classes; these are of both. "
            "Learn them one kind at a time, or with polytask fit."
        )
    return classes[problem](
        list(choice.models) or "default",
        cv=folds_of(training, choice.folds, choice.seed),
        time_budget=choice.budget,
        journal=journal,
        task_column=training.task_column,
        unseen_tasks=choice.unseen_tasks,
        n_jobs=choice.jobs,
        random_state=choice.seed,
        verbose=True,
    )


def _say_choice(estimator: Any, lang: str) -> None:  # noqa: ANN401 - an automatic estimator
    board = estimator.leaderboard()
    rows = [
        (row.model, digits(row.score), f"{row.weight:.0%}", f"{row.seconds:.1f}")
        for row in board.itertuples()
        if not math.isnan(row.score)
    ]
    say()
    # The candidates are compared by their losses, also where the score is the accuracy.
    classes = hasattr(estimator, "classes_")
    score = "share of the log loss explained" if classes else report.score_name(estimator)
    say_table("Rows held out", ("model", score, "weight", "seconds"), rows, (1, 2, 3))
    for row in board.itertuples():
        if math.isnan(row.score):
            say_pair("Left out", f"{row.model}: {row.note}")
    say()
    say(estimator.explain(lang))
