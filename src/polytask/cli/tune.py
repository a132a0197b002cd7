"""``polytask tune``: search parameters of a penalty with Optuna, and write the best model."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from polytask.cli import _options as options
from polytask.cli._roles import Wanted
from polytask.cli._sources import Output, Source, Style

HELP = """Search strengths and other parameters of one penalty or a network; write the best model.

For more parameters than a grid can hold; for one strength per penalty polytask fit is faster. \
Needs Optuna: pip install 'polytask\\[search]'. An interrupted run goes on where it was. Tables \
come in the three forms of polytask fit.
"""

EPILOG = """[bold]Examples[/bold]

Both strengths of a sum, at most ten minutes:

  polytask tune exams.csv --task school --target score --time-budget 10m --out exams.polytask

A range and a list of one's own:

  polytask tune plant.csv --targets 'y_*' --penalty SparseGroup --range l1_ratio=0.05..0.95 \
--range fraction=0.001..1 --choice task_weight=size,equal --out plant.polytask

Learning rate, weight decay, width, dropout and sharing of a network:

  polytask tune exams.csv --task school --target score --model deep --trials 30 --out net.polytask
"""


def tune(
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
        Literal["multitask", "deep"],
        typer.Option(
            metavar="NAME",
            rich_help_panel=options.LEARNING,
            help="multitask: linear, with one penalty; deep: a network, which needs "
            "polytask\\[deep].",
        ),
    ] = "multitask",
    penalty: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            rich_help_panel=options.LEARNING,
            help="What the tasks share, such as 'SparseGroup' or 'dirty' (default: toward_mean + "
            "L2; of a network: none).",
        ),
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="NAME=LOW..HIGH",
            rich_help_panel=options.LEARNING,
            help="A number to search, such as p0.alpha=0.001..100: of the first member of a sum, "
            "by factors if HIGH is ten times LOW or more (default: every strength; of a network "
            "what matters most).",
        ),
    ] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option(
            "--choice",
            metavar="NAME=A,B",
            rich_help_panel=options.LEARNING,
            help="Values to choose among, such as task_weight=size,equal.",
        ),
    ] = None,
    time: options.Time = None,
    group: options.Group = None,
    unseen_tasks: options.Unseen = None,
    folds: Annotated[
        int, typer.Option(min=2, rich_help_panel=options.LEARNING, help="Folds of a trial.")
    ] = 5,
    trials: Annotated[
        int,
        typer.Option(metavar="N", min=1, rich_help_panel=options.LEARNING, help="Trials in all."),
    ] = 50,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune/--no-prune",
            rich_help_panel=options.LEARNING,
            help="Give a trial up after a fold at which it is below the median of those before.",
        ),
    ] = True,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            rich_help_panel=options.RUNNING,
            help="The model file to write; the table of trials beside it ends in .trials.csv.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=options.RUNNING,
            help="Keep the trials here, so that a later call with more --trials adds to them "
            "(default: beside the model until the search ends).",
        ),
    ] = None,
    time_budget: options.Budget = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, rich_help_panel=options.RUNNING, help="Seed of the trials and splits."
        ),
    ] = 0,
    config: options.Config = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            rich_help_panel=options.RUNNING,
            help="Replace the files that --out names.",
        ),
    ] = False,
) -> None:
    """Search parameters of one penalty or a network, and write the best model."""
    from polytask.cli._fit_run import Choice
    from polytask.cli._quantities import seconds
    from polytask.cli._tune_run import Search, run_tune

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
    if penalty is None and model == "multitask":
        penalty = "toward_mean + L2"
    choice = Choice(loss, model, penalty, unseen_tasks or "error", folds, seed, None)
    search = Search(
        ranges=tuple(ranges or ()),
        choices=tuple(choices or ()),
        trials=trials,
        prune=prune,
        budget=None if time_budget is None else seconds(time_budget),
        storage=storage,
    )
    source = Source(
        data, file_per_task, Style(sep, decimal, encoding, tuple(missing_values or ()))
    )
    run_tune(source, wanted, choice, search, Output(out, force), drop_missing_target)
