"""``polytask inspect``: what is in a table or a saved model; nothing is fitted."""

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
    json: Annotated[
        bool, typer.Option("--json", rich_help_panel=options.RUNNING, help="Print JSON.")
    ] = False,
    sep: options.Sep = None,
    decimal: options.Decimal = ".",
    encoding: options.Encoding = None,
) -> None:
    """Say what is in a table or a saved model; nothing is fitted."""
    from polytask.cli._inspect_run import run_inspect

    source = Source(path, None, Style(sep, decimal, encoding))
    run_inspect(source, task, tuple(target or ()), json)
