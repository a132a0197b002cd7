"""``polytask path``: error and coefficients of a penalty against its strength."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from polytask.cli import _options as options
from polytask.cli._roles import Wanted
from polytask.cli._sources import Output, Source, Style

HELP = """Draw error and coefficients of a penalty against its strength.

Writes a picture, held-out error above the coefficients, with the chosen strength and that of one \
standard error marked, and a table with the same numbers beside it. With --criterion it is the \
criterion of all rows in the place of the error. Tables come in the three forms of polytask fit.
"""

EPILOG = """[bold]Examples[/bold]

The path of the penalty that a search chooses; writes exams.png and exams.csv:

  polytask path exams.csv --task school --target score --out exams.png

Of one penalty, every coefficient on its own, the simplest model within one standard error:

  polytask path plant.csv --targets 'y_*' --penalty L21 --lines entries --rule one_se --out p.svg

Without folds, by a criterion that finds the few columns that matter:

  polytask path plant.csv --targets 'y_*' --penalty L21 --criterion ebic --out p.png
"""


def path(
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
    penalty: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            rich_help_panel=options.LEARNING,
            help="What the tasks share, such as 'L21 + L2(0.1)' (default: the best of the usual "
            "ones).",
        ),
    ] = None,
    criterion: options.Criterion = None,
    rule: Annotated[
        Literal["min", "one_se", "pareto"] | None,
        typer.Option(
            rich_help_panel=options.LEARNING,
            show_default="min",
            help="Which strength: of the smallest error, the strongest within one standard error "
            "of it, or the knee between few coefficients and a small error.",
        ),
    ] = None,
    strengths: Annotated[
        int,
        typer.Option(
            metavar="N", min=2, rich_help_panel=options.LEARNING, help="Strengths to try."
        ),
    ] = 50,
    time: options.Time = None,
    group: options.Group = None,
    folds: options.Folds = None,
    lines: Annotated[
        Literal["features", "entries"],
        typer.Option(
            rich_help_panel=options.RUNNING,
            help="One line for all coefficients of a feature, or one for each coefficient.",
        ),
    ] = "features",
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PICTURE",
            rich_help_panel=options.RUNNING,
            help="The picture to write, .png or .svg; the table has the same name with .csv.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, rich_help_panel=options.RUNNING, help="Seed of the splits.")
    ] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=options.RUNNING, help="Processes to use."),
    ] = None,
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
    """Draw error and coefficients of a penalty against its strength."""
    from polytask.cli._fit_run import Choice, refuse_folds
    from polytask.cli._path_run import Drawing, run_path

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
    source = Source(
        data, file_per_task, Style(sep, decimal, encoding, tuple(missing_values or ()))
    )
    refuse_folds(criterion, folds=folds, rule=rule, group=group, time=time)
    n_folds = options.FOLDS if folds is None else folds
    choice = Choice(loss, "search", penalty, "error", n_folds, seed, jobs, criterion)
    drawing = Drawing(rule or "min", strengths, lines)
    run_path(source, wanted, choice, drawing, Output(out, force), drop_missing_target)
