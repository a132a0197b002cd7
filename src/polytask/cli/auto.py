"""``polytask auto``: learn all tasks of a table without a choice of model."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from polytask._progress import duration
from polytask.cli import fit as report
from polytask.cli import options
from polytask.cli.columns import Wanted, check_one_way, folds_of
from polytask.cli.console import digits, say, say_pair, say_table
from polytask.cli.files import MODEL_SUFFIX, Output, Source, Style, removed_if_refused
from polytask.cli.models import check_models
from polytask.cli.training_data import Demand, Problem, Training, problem_of, read_training
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
    with removed_if_refused(journal):
        estimator.fit(training.X, training.y, sample_weight=training.weight)
    # The journal, and groups or times in the splitter, are nothing that the model has to know.
    kept = {"journal": None, "cv": choice.folds, "time_budget": choice.budget}
    save(estimator.set_params(**kept), path)
    if not estimator.stopped_:
        journal.unlink(missing_ok=True)
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


HELP = """Learn all tasks of a table by the best combination of models, and write it.

Separate, pooled and sharing models and trees are tried on the same folds; what they predict for \
rows that they had not seen decides. An interrupted run goes on where it was. Tables come in the \
three forms of polytask fit.
"""

EPILOG = """[bold]Examples[/bold]

Everything that suits the data, at most ten minutes:

  polytask auto exams.csv --task school --target score --time-budget 10m --out exams.polytask

No patient on both sides of a fold:

  polytask auto visits.csv --task ward --target ill --group patient --out visits.polytask
"""


def auto(
    data: options.Data = None,
    task: options.Task = None,
    target: options.Target = None,
    targets: options.Targets = None,
    features: options.Features = None,
    drop: options.Drop = None,
    ids: options.Ids = None,
    weight: options.Weight = None,
    drop_missing_target: options.DropMissing = False,
    allow_leak: options.AllowLeak = False,
    file_per_task: options.FilePerTask = None,
    sep: options.Sep = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing_values: options.MissingValues = None,
    classes: Annotated[
        bool | None,
        typer.Option(
            "--classes/--numbers",
            rich_help_panel=options.LEARNING,
            help="What the targets are (default: by their values).",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=options.LEARNING,
            help="A model to try, such as 'learned prior'; give it once per model (default: all "
            "that suit the data but networks). 'deep' stands for networks, alone for all and "
            "networks; they need polytask\\[deep].",
        ),
    ] = None,
    time: options.Time = None,
    group: options.Group = None,
    unseen_tasks: options.Unseen = None,
    folds: Annotated[
        int, typer.Option(min=2, rich_help_panel=options.LEARNING, help="Folds.")
    ] = 5,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", rich_help_panel=options.RUNNING, help="The model file to write."
        ),
    ] = None,
    time_budget: options.Budget = None,
    seed: Annotated[
        int, typer.Option(min=0, rich_help_panel=options.RUNNING, help="Seed of the models.")
    ] = 0,
    jobs: options.Jobs = None,
    lang: Annotated[
        Literal["en", "zh"],
        typer.Option(
            metavar="en|zh",
            rich_help_panel=options.RUNNING,
            help="The language of the explanation.",
        ),
    ] = "en",
    config: options.Config = None,
    force: options.Force = False,
) -> None:
    """Learn all tasks of a table by the best combination of models, and write it."""
    from polytask.cli.options import processes, seconds

    wanted = Wanted(
        task=task,
        weight=weight,
        group=group,
        time=time,
        targets=tuple(target or ()),
        target_patterns=tuple(targets or ()),
        features=tuple(features or ()),
        drop=tuple(drop or ()),
        ids=tuple(ids or ()),
        allow_leak=allow_leak,
    )
    choice = Choice(
        loss="auto" if classes is None else ("classes" if classes else "squared"),
        models=tuple(models or ()),
        unseen_tasks=unseen_tasks or "error",
        folds=folds,
        budget=None if time_budget is None else seconds(time_budget),
        seed=seed,
        jobs=processes(jobs),
        lang=lang,
    )
    source = Source(
        data, file_per_task, Style(sep, decimal, encoding, tuple(missing_values or ()))
    )
    run_auto(source, wanted, choice, Output(out, force), drop_missing_target)
