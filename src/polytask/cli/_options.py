"""The options that several commands have in common."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from polytask.cli._config import use_config

READING, COLUMNS, LEARNING, RUNNING = (
    "Reading files",
    "Columns",
    "Learning",
    "Running",
)

Data = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="The table: .csv, .tsv, .txt (also .gz), .parquet, .arrow, .feather.",
    ),
]
Sep = Annotated[
    str | None,
    typer.Option(
        metavar="CHAR",
        rich_help_panel=READING,
        help="Separator of text files: a character, or comma, semicolon, tab, pipe "
        "(default: found from the first rows).",
    ),
]
Decimal = Annotated[
    str, typer.Option(metavar="CHAR", rich_help_panel=READING, help="Decimal mark: . or ,")
]
Encoding = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=READING,
        help="Encoding of text files (default: UTF-8, else UTF-16 by its mark, else GB18030).",
    ),
]
FilePerTask = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        rich_help_panel=READING,
        help="One file per task, such as 'folder/*.csv' (in quotes); the task is the name of "
        "the file without its suffix.",
    ),
]
Ids = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="COL",
        rich_help_panel=COLUMNS,
        help="A column that names the rows: never a feature, copied into predictions.",
    ),
]
Unseen = Annotated[
    Literal["error", "shared"] | None,
    typer.Option(
        rich_help_panel=LEARNING,
        help="Rows of tasks that were not in training: refuse them (error, the default), or "
        "predict them from what the tasks share.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.toml",
        is_eager=True,
        callback=use_config,
        rich_help_panel=RUNNING,
        help='Read options from a TOML file, such as: task = "school". What stands on the '
        "command line wins.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", rich_help_panel=RUNNING, help="Replace the file named by --out."),
]
