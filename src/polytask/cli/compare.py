"""``polytask compare``: say whether the tasks of a table should be learned together."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polytask.cli import options
from polytask.cli.columns import Wanted
from polytask.cli.console import (
    DONE,
    Interrupted,
    note,
    say,
    say_pair,
    say_whole,
)
from polytask.cli.files import Source, Style, command_of
from polytask.cli.fit import say_data
from polytask.cli.folder import MODEL, REPORTS, Folder, writer
from polytask.cli.models import check_models, require
from polytask.cli.options import Given, command_line
from polytask.cli.training_data import (
    Demand,
    Problem,
    TargetKind,
    Training,
    problem_of,
    read_training,
)
from polytask.exceptions import DataError, ParameterError, PolytaskError

if TYPE_CHECKING:
    from polytask.cli.training_data import Training
    from polytask.comparison import Comparison
    from polytask.selection.candidates import CandidateModel


@dataclass(frozen=True)
class Method:
    """How models are compared."""

    loss: str
    metric: str | None
    models: tuple[str, ...]
    unseen: bool
    quick: bool
    splits: int | None
    seed: int
    learning_curve: bool = False
    ablation: bool = False
    margin: float | None = None

    def demand(self) -> Demand:
        """Return what the targets are to be."""
        return Demand(self.loss, f"--loss {self.loss}")

    def losses(self, kinds: tuple[TargetKind, ...]) -> str | dict[str, str]:
        """Return the loss, or that of each target where they are of both kinds."""
        problem = problem_of(kinds)
        if problem is Problem.MIXED:
            return {kind.name: kind.loss for kind in kinds}
        if self.loss != "auto":
            return self.loss
        if problem is Problem.REGRESSION:
            return "squared"
        return "logistic" if all(kind.n_values <= 2 for kind in kinds) else "multinomial"


@dataclass(frozen=True)
class Request:
    """One comparison."""

    source: Source
    wanted: Wanted
    drop_missing: bool
    method: Method
    given: Given
    budget: float | None
    jobs: int
    lang: str
    resume: bool

    def check(self) -> None:
        """Refuse what needs no data to be refused."""
        from polytask.metrics import METRICS

        self.source.check("polytask compare")
        check_models(self.method.models)
        _check_rule(self.method.models)
        if self.method.metric is not None:
            require("--metric", self.method.metric, tuple(METRICS))
        margin = self.method.margin
        if margin is not None and not math.isfinite(margin):
            raise ParameterError(f"--margin must be a number >= 0; got {margin}.")
        self._check_splits()

    def _check_splits(self) -> None:
        wanted = self.wanted
        ways = {"--group": wanted.group, "--time": wanted.time, "--unseen": self.method.unseen}
        chosen = [option for option, value in ways.items() if value]
        if len(chosen) > 1:
            raise ParameterError(
                "Rows are held out in one way: choose one of --group, --time and --unseen; got "
                f"{' and '.join(chosen)}."
            )
        if self.method.unseen and wanted.task is None and self.source.pattern is None:
            raise ParameterError(
                "--unseen holds out all rows of a task: name the column of the tasks with --task. "
                "Where each target is a task, every row belongs to all of them."
            )


def _check_rule(names: tuple[str, ...]) -> None:
    """Refuse models among which the rule of the verdict has nothing to compare."""
    from polytask.selection.candidates import DEEP, DEFAULT, MODELS

    # All networks are of both sorts.
    if not names or {DEFAULT, DEEP} & set(names):
        return
    asked = [MODELS[name] for name in names]
    if any(_is_of_both_sorts(asked, family) for family in ("linear", DEEP)):
        return
    linear = [model for model in MODELS.values() if model.family == "linear"]
    sharing = [model.name for model in linear if model.kind == "shared"]
    plain = [model.name for model in linear if model.kind != "shared"]
    for sort, known in {"that shares": sharing, "that does not share": plain}.items():
        if not set(known) & set(names):
            raise ParameterError(
                f"The verdict compares a model that shares with one that does not: --models lacks "
                f"one {sort}, such as {', '.join(map(repr, known[:3]))}."
            )


def _is_of_both_sorts(models: Sequence[CandidateModel], family: str) -> bool:
    return len({model.kind == "shared" for model in models if model.family == family}) == 2


def say_understood(request: Request, training: Training) -> None:
    """Say on standard error what was understood of data and options."""
    say_data(training, error=True)
    wanted = request.wanted
    if training.group is not None:
        count = len(set(training.group.tolist()))
        say_pair("Held out", f"whole groups of {wanted.group!r}, of {count:,}", error=True)
    elif training.time is not None:
        first, last = training.time.min(), training.time.max()
        text = f"what comes next by {wanted.time!r}, from {_moment(first)} to {_moment(last)}"
        say_pair("Held out", text, error=True)
    elif request.method.unseen:
        say_pair("Held out", "whole tasks", error=True)


def _moment(value: object) -> str:
    text = str(value)
    # Dates come with the time of day down to parts of a second.
    return text.partition("T")[0] if text.endswith("T00:00:00.000000") else text


def say_answer(result: Comparison, lang: str) -> None:
    """Print what to do and why, and the leaderboard."""
    from polytask.reporting import terminal, terminal_table

    document = result.document(lang)
    for line in terminal(document).splitlines():
        say(line)
    if document.brief is not None and document.brief.rows:
        say()
        say_whole(terminal_table(document.brief))


def say_next(request: Request, folder: Folder, kept: list[str]) -> None:
    """Say where the report is, and print the command that predicts with the model."""
    say()
    say(f"Report: {folder.file(REPORTS[0])}")
    if not kept:
        return
    say("To predict (put a table of new rows in its place):")
    say_whole(f"  {predict_line(request, folder)}")


def predict_line(request: Request, folder: Folder) -> str:
    """Return the command that predicts the rows that were compared on."""
    source, wanted = request.source, request.wanted
    words = ["predict", folder.file(MODEL)]
    words += [source.data] if source.data is not None else ["--file-per-task", source.name]
    for name in wanted.ids:
        words += ["--id", name]
    target = folder.file("predictions.csv")
    words += [*source.style.arguments(), "--out", target]
    return command_line(*words, *(["--force"] if os.path.exists(target) else []))


def run_compare(request: Request, out: str | None, force: bool) -> int:
    """Read, compare, say the verdict and write the folder."""
    request.check()
    folder = Folder.named(out)
    training = read_training(
        request.source, request.wanted, request.method.demand(), request.drop_missing
    )
    _check_tasks(training)
    command = command_of(request.given, request.source, folder.path)
    give_back = folder.claim(command, resume=request.resume, force=force)
    try:
        say_understood(request, training)
        result = _compared(request, training, folder)
        result.lock["command"] = command.content(complete=result.complete)
        say_answer(result, request.lang)
        _write(request, result, folder)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Interrupted: finished fits are kept in {folder.path}, and the same command goes on "
            "from them."
        ) from None
    except PolytaskError:
        give_back()
        raise
    return DONE


def _check_tasks(training: Training) -> None:
    if len(training.sizes) < 2:
        raise DataError(
            f"There is one task only, {next(iter(training.sizes))!r}: a comparison needs two "
            "tasks or more."
        )


def _compared(request: Request, training: Training, folder: Folder) -> Comparison:
    from polytask import compare

    method = request.method
    result = compare(
        training.X,
        training.y,
        sample_weight=training.weight,
        task_column=training.task_column,
        loss=method.losses(training.kinds),
        models=list(method.models) or "default",
        cv=method.splits,
        metric=method.metric,
        margin=method.margin,
        groups=training.group,
        time=training.time,
        unseen=method.unseen,
        quick=method.quick,
        time_budget=request.budget,
        n_jobs=request.jobs,
        random_state=method.seed,
        journal=folder.journal,
        verbose=True,
        learning_curve=method.learning_curve,
        ablation=method.ablation,
        allow_leak=request.wanted.allow_leak,
    )
    return dataclasses.replace(result, diagnostics=(*training.notes, *result.diagnostics))


def _write(request: Request, result: Comparison, folder: Folder) -> None:
    interrupted = result.stopped == "interrupt"
    if not interrupted:
        result.lock["command"]["predict"] = predict_line(request, folder)
    kept: list[str] = []
    folder.fill(writer(result, request.lang, with_model=not interrupted, kept=kept))
    done = f"{result.setup.n_splits} of {result.setup.planned} splits"
    if interrupted:
        raise Interrupted(
            f"Interrupted: {folder.path} holds the report of {done}, and the same command goes on "
            "from there."
        )
    if result.stopped:
        note(
            f"The time budget ran out: the report is of {done}. The same command goes on from "
            "there, without --time-budget to the end."
        )
    say_next(request, folder, kept)


HELP = """Compare separate, pooled and multi-task models, and say whether sharing helps.

Writes a report, tables, the recommended model and a lock with which polytask rerun repeats it. \
Tables come in the three forms of polytask fit.
"""

EPILOG = """[bold]Examples[/bold]

A first look, with few models:

  polytask compare exams.csv --task school --target score --out exams --quick

No patient on both sides of a split:

  polytask compare visits.csv --task ward --target ill --group patient --out visits

How much of the gain is left with more rows, and what each term of the penalty adds:

  polytask compare exams.csv --task school --target score --out exams --learning-curve --ablation

Networks beside linear models and trees:

  polytask compare exams.csv --task school --target score --models deep --out exams

From the past to the future, at most half an hour:

  polytask compare plant.csv --targets 'y_*' --time day --time-budget 30m --out plant
"""

Metric = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=options.COMPARING,
        help="What the verdict is about (default: d2, the explained share of the loss; for "
        "numbers R2).",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=options.COMPARING,
        help="A model to try, such as 'pooled + intercepts'; give it once per model (default: "
        "all that fit the data but networks). 'deep' stands for networks, alone for all and "
        "networks; they need polytask\\[deep].",
    ),
]
UnseenTasks = Annotated[
    bool,
    typer.Option(
        "--unseen",
        rich_help_panel=options.COMPARING,
        help="Hold out whole tasks: how well is a new task served?",
    ),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        rich_help_panel=options.COMPARING,
        help="A first look: few models, one of which shares.",
    ),
]
Splits = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        rich_help_panel=options.COMPARING,
        help="How many folds (default: 5).",
    ),
]
Margin = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        min=0,
        rich_help_panel=options.COMPARING,
        help="A difference in the metric that is too small to matter (default: a tenth of the "
        "score without sharing, from 0.001 to 0.01; of a loss a hundredth).",
    ),
]
LearningCurve = Annotated[
    bool,
    typer.Option(
        "--learning-curve",
        rich_help_panel=options.COMPARING,
        help="Also fit the chosen models on fewer rows: how does the gain depend on rows per "
        "task?",
    ),
]
Ablation = Annotated[
    bool,
    typer.Option(
        "--ablation",
        rich_help_panel=options.COMPARING,
        help="Also try the penalty without each of its terms: what does each add?",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        rich_help_panel=options.RUNNING,
        help="Take over the fits that an interrupted run of the same comparison has finished.",
    ),
]


def compare(
    context: typer.Context,
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
    loss: options.Loss = "auto",
    metric: Metric = None,
    models: Models = None,
    time: options.Time = None,
    group: options.Group = None,
    unseen: UnseenTasks = False,
    margin: Margin = None,
    splits: Splits = None,
    quick: Quick = False,
    learning_curve: LearningCurve = False,
    ablation: Ablation = False,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", rich_help_panel=options.RUNNING, help="The folder to write."),
    ] = None,
    time_budget: options.Budget = None,
    jobs: options.Jobs = None,
    seed: Annotated[
        int,
        typer.Option(min=0, rich_help_panel=options.RUNNING, help="Seed of splits and models."),
    ] = 0,
    lang: Annotated[
        Literal["en", "zh"],
        typer.Option(
            metavar="en|zh",
            rich_help_panel=options.RUNNING,
            help="The language of verdict and report.",
        ),
    ] = "en",
    resume: Resume = True,
    config: options.Config = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            rich_help_panel=options.RUNNING,
            help="Replace another comparison in the folder named by --out.",
        ),
    ] = False,
) -> int:
    """Compare separate, pooled and multi-task models, and say whether sharing helps."""
    from polytask.cli.options import given_options, processes, seconds

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
    request = Request(
        source=Source(
            data, file_per_task, Style(sep, decimal, encoding, tuple(missing_values or ()))
        ),
        wanted=wanted,
        drop_missing=drop_missing_target,
        method=Method(
            loss,
            metric,
            tuple(models or ()),
            unseen,
            quick,
            splits,
            seed,
            learning_curve,
            ablation,
            margin,
        ),
        given=given_options(context),
        budget=None if time_budget is None else seconds(time_budget),
        jobs=processes(jobs),
        lang=lang,
        resume=resume,
    )
    return run_compare(request, out, force)
