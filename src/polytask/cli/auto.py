"""``polytask auto``: learn all tasks of a table without a choice of model."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from polytask.cli import _options as options
from polytask.cli._roles import Wanted
from polytask.cli._sources import Output, Source, Style

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
    from polytask.cli._auto_run import Choice, run_auto
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
