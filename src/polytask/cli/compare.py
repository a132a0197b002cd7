"""``polytask compare``: say whether the tasks of a table should be learned together."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from polytask.cli import _options as options
from polytask.cli._roles import Wanted
from polytask.cli._sources import Source, Style

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
    from polytask.cli._compare_request import Method, Request
    from polytask.cli._compare_run import run_compare
    from polytask.cli._given import given_options
    from polytask.cli._quantities import processes, seconds

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
