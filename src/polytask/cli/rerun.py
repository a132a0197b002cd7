"""``polytask rerun``: repeat a comparison and say whether every number is the same."""

from __future__ import annotations

from typing import Annotated

import typer

from polytask.cli import _options as options

HELP = """Repeat a comparison and say whether every number is the same.

Reads the lock that polytask compare has written: options, checksums of the data, seed and \
versions. Costs (seconds, bytes) are not compared.
"""

EPILOG = """[bold]Example[/bold]

  polytask rerun exams/run.lock.json

Exit status: 0 every number is the same, 3 one is not, 2 it cannot be repeated (other data).
"""


def rerun(
    lock: Annotated[
        str,
        typer.Argument(metavar="LOCK", help="The run.lock.json in the folder of a comparison."),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=options.RUNNING,
            help="The new folder to write (default: the old name with -rerun).",
        ),
    ] = None,
    jobs: options.Jobs = None,
) -> int:
    """Repeat a comparison and say whether every number is the same."""
    from polytask.cli._rerun_run import run_rerun

    return run_rerun(lock, out, jobs)
