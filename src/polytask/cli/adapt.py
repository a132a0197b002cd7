"""``polytask adapt``: a model for new tasks or a new domain."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from polytask.cli import _options as options
from polytask.cli._sources import Output, Source, Style

HELP = """Adapt a model to new tasks, or to a new domain, and write it as a new model.

New tasks are learned from their rows and what the model's tasks share; its own tasks are \
predicted as before. Without --target the new tasks have no rows to learn from yet.
"""

EPILOG = """[bold]Examples[/bold]

A new school:

  polytask adapt exams.polytask new.csv --target score --out more.polytask

Pupils of the same schools who are otherwise distributed:

  polytask adapt m.polytask new.csv --domain shift --source old.csv --target score --out b.polytask
"""


def adapt(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that fit has written.")],
    data: options.Data = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            rich_help_panel=options.COLUMNS,
            help="The column that names the task, for a model that was fitted on one file per "
            "task (others know their column).",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            rich_help_panel=options.COLUMNS,
            help="What is predicted; leave it out if the new rows have no target.",
        ),
    ] = None,
    weight: options.Weight = None,
    drop_missing_target: options.DropMissing = False,
    domain: Annotated[
        Literal["shift", "new"] | None,
        typer.Option(
            rich_help_panel=options.LEARNING,
            help="What may differ: shift (only how the features are distributed), new (also how "
            "the target depends on them). Falls back to what predicts best.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            rich_help_panel=options.LEARNING,
            help="The table that the model was fitted on: needed for --domain shift.",
        ),
    ] = None,
    method: Annotated[
        Literal["head", "unfreeze", "near-source", "adapters"] | None,
        typer.Option(
            rich_help_panel=options.LEARNING,
            help="What a network learns for a new task: head (the default: all layers stay), "
            "unfreeze (the last two layers, one after the other), near-source (all layers, held "
            "near what they are), adapters (additions of low rank).",
        ),
    ] = None,
    sep: options.Sep = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing_values: options.MissingValues = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL2", rich_help_panel=options.RUNNING, help="The model file to write."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", rich_help_panel=options.RUNNING, help="Print JSON.")
    ] = False,
    config: options.Config = None,
    force: options.Force = False,
) -> None:
    """Adapt a model to new tasks, or to a new domain."""
    from polytask.cli._adapt_run import Asked, run_adapt

    style = Style(sep, decimal, encoding, tuple(missing_values or ()))
    old = None if source is None else Source(source, None, style)
    asked = Asked(task, target, weight, drop_missing_target, domain, method)
    run_adapt(model, Source(data, None, style), old, asked, Output(out, force), json=json)
