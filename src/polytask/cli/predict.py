"""``polytask predict``: apply a model to a table."""

from __future__ import annotations

from typing import Annotated

import typer

from polytask.cli import _options as options
from polytask.cli._sources import Output, Source, Style

HELP = """Predict the rows of a table, in their order.

Writes the identifiers, the task, the prediction (one column per target where each target is a \
task), the probability of each class, and a note for rows that deserve a look: an unseen task, a \
new level, missing cells.
"""

EPILOG = """[bold]Example[/bold]

  polytask predict exams.polytask new.csv --id pupil --out predictions.csv
"""


def predict(
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
    ids: options.Ids = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLS",
            rich_help_panel=options.COLUMNS,
            help="Columns to copy beside the predictions: a,b,c or patterns.",
        ),
    ] = None,
    file_per_task: options.FilePerTask = None,
    sep: options.Sep = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing_values: options.MissingValues = None,
    unseen_tasks: options.Unseen = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=options.RUNNING,
            help="The table to write: .csv, .tsv, .parquet, .arrow; suffixes .csv.gz, .tsv.gz.",
        ),
    ] = None,
    config: options.Config = None,
    force: options.Force = False,
) -> None:
    """Predict the rows of a table, in their order."""
    from polytask.cli._predict_run import Copied, run_predict

    source = Source(
        data, file_per_task, Style(sep, decimal, encoding, tuple(missing_values or ()))
    )
    copied = Copied(task, tuple(ids or ()), tuple(keep or ()))
    run_predict(model, source, copied, Output(out, force), unseen_tasks)
