"""``polytask fit``: learn all tasks of a table and write the model."""

from __future__ import annotations

from typing import Annotated

import typer

from polytask.cli import _options as options
from polytask.cli._roles import Wanted
from polytask.cli._sources import Output, Source, Style

HELP = """Learn all tasks of a table and write the model.

Tables come in three forms: one row per observation (--task and one --target), one column per \
task (several --target), or one file per task (--file-per-task).
"""

EPILOG = """[bold]Examples[/bold]

One row per observation, with a column that names its task:

  polytask fit exams.csv --task school --target score --out exams.polytask

One column per task:

  polytask fit plant.csv --targets 'y_*' --id batch --out plant.polytask

One file per task:

  polytask fit --file-per-task 'wards/*.csv' --target ill --out wards.polytask
"""


def fit(
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
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=options.LEARNING,
            help="search (penalty and strength by cross-validation), multitask (one penalty), "
            "learned (a prior learned from the tasks), single (each task alone), "
            "pooled, pooled-intercept, pooled-category, deep (a network that all tasks share; "
            "needs polytask\\[deep]).",
        ),
    ] = "search",
    penalty: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            rich_help_panel=options.LEARNING,
            help="What the tasks share, such as 'L21(0.5) + L2'; a search finds its strength.",
        ),
    ] = None,
    criterion: options.Criterion = None,
    unseen_tasks: options.Unseen = None,
    folds: options.Folds = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", rich_help_panel=options.RUNNING, help="The model file to write."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(rich_help_panel=options.RUNNING, help="Seed of the splits.")
    ] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=options.RUNNING, help="Processes to use."),
    ] = None,
    config: options.Config = None,
    force: options.Force = False,
) -> None:
    """Learn all tasks of a table and write the model."""
    from polytask.cli._fit_run import Choice, refuse_folds, run_fit

    wanted = Wanted(
        task=task,
        weight=weight,
        targets=tuple(target or ()),
        target_patterns=tuple(targets or ()),
        features=tuple(features or ()),
        drop=tuple(drop or ()),
        ids=tuple(ids or ()),
        allow_leak=allow_leak,
    )
    source = Source(
        data, file_per_task, Style(sep, decimal, encoding, tuple(missing_values or ()))
    )
    unseen = unseen_tasks or "error"
    refuse_folds(criterion, folds=folds)
    n_folds = options.FOLDS if folds is None else folds
    choice = Choice(loss, model, penalty, unseen, n_folds, seed, jobs, criterion)
    run_fit(source, wanted, choice, Output(out, force), drop_missing_target)
