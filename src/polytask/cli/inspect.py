"""``polytask inspect``: what is in a table or a saved model, and whether its tasks are related."""

from __future__ import annotations

from typing import Annotated

import typer

from polytask.cli import _options as options
from polytask.cli._sources import Source, Style


def inspect(
    path: Annotated[
        str, typer.Argument(metavar="DATA|MODEL", help="A table, or a model that fit has written.")
    ],
    task: Annotated[
        str | None,
        typer.Option(
            metavar="COL", rich_help_panel=options.COLUMNS, help="The column that names the task."
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COL",
            rich_help_panel=options.COLUMNS,
            help="A target, by name or pattern: says whether it is a number or a class.",
        ),
    ] = None,
    related: Annotated[
        bool,
        typer.Option(
            "--related",
            rich_help_panel=options.COMPARING,
            help="Say whether the tasks are related, how much they share, and which are alike.",
        ),
    ] = False,
    drop: options.Drop = None,
    ids: options.Ids = None,
    drop_missing: options.DropMissing = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="REPORT",
            rich_help_panel=options.RUNNING,
            help="With --related: write a report there, .html, .md, .json, or a folder for all.",
        ),
    ] = None,
    force: options.Force = False,
    json: Annotated[
        bool, typer.Option("--json", rich_help_panel=options.RUNNING, help="Print JSON.")
    ] = False,
    sep: options.Sep = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing_values: options.MissingValues = None,
) -> None:
    """Say what is in a table or a saved model, and whether its tasks are related."""
    from polytask.cli._inspect_run import refuse_without_related, run_inspect
    from polytask.cli._related_run import Asked, run_related

    source = Source(path, None, Style(sep, decimal, encoding, tuple(missing_values or ())))
    targets = tuple(target or ())
    if related:
        asked = Asked(task, targets, tuple(drop or ()), tuple(ids or ()), drop_missing)
        run_related(source, asked, out, force=force, json=json)
        return
    refuse_without_related(drop=drop, ids=ids, drop_missing=drop_missing, out=out)
    run_inspect(source, task, targets, json)
