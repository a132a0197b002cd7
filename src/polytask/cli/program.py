"""The program ``polytask``: its commands, and how it ends."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import polytask
from polytask.cli import adapt, auto, compare, fit, inspect, path, predict, rerun, tune
from polytask.cli import console as _outcome
from polytask.cli.console import use_utf8

app = typer.Typer(
    name="polytask",
    help="Learn many related prediction problems together, and predict.",
    epilog="Exit status: 0 done, 2 the input or an option cannot be used, 1 a bug in polytask.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    add_completion=False,
)
app.command()(inspect.inspect)
app.command(help=compare.HELP, epilog=compare.EPILOG)(compare.compare)
app.command(help=rerun.HELP, epilog=rerun.EPILOG)(rerun.rerun)
app.command(help=fit.HELP, epilog=fit.EPILOG)(fit.fit)
app.command(help=auto.HELP, epilog=auto.EPILOG)(auto.auto)
app.command(help=tune.HELP, epilog=tune.EPILOG)(tune.tune)
app.command(help=path.HELP, epilog=path.EPILOG)(path.path)
app.command(help=adapt.HELP, epilog=adapt.EPILOG)(adapt.adapt)
app.command(help=predict.HELP, epilog=predict.EPILOG)(predict.predict)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of a bug; may stand anywhere."),
    ] = False,
) -> None:
    """Learn many related prediction problems together, and predict."""
    if version:
        typer.echo(f"polytask {polytask.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str or None, default=None
        The arguments after the name of the program; None takes those of the process.

    Returns
    -------
    int
        The exit status: 0; 2 if the input or an option cannot be used; 1 for a bug; 130 if
        interrupted.
    """
    use_utf8()
    # The collection of all modules at exit takes a second and frees what ends anyway.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get("POLYTASK_DEBUG", "") not in ("", "0")
    arguments = [word for word in arguments if word != "--debug"]
    command = typer.main.get_command(app)
    return _outcome.status_of(
        lambda: command.main(args=arguments, prog_name="polytask", standalone_mode=False),
        debug=debug,
    )
