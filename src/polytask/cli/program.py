"""The program ``polytask``: its commands, each imported when it is called."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

import polytask
from polytask._checks import nearest
from polytask.cli.console import status_of, use_utf8
from polytask.cli.options import command
from polytask.cli.usage import Speaking, asked_language, refused
from polytask.messages import LazyMessage

_FIRST, _LEARN, _USE = "First steps", "Learn a model", "Use a model"
# Name, panel and what the command does, in the order of --help.
COMMANDS = {
    "inspect": (_FIRST, "Show what a table or a saved model contains."),
    "compare": (_FIRST, "Find out whether the tasks should share one model, and how."),
    "fit": (_LEARN, "Fit one kind of model and save it."),
    "auto": (_LEARN, "Fit the combination of models that predicts best, and save it."),
    "tune": (_LEARN, "Search several parameters of one model with Optuna, and save the best."),
    "path": (_LEARN, "Plot error and coefficients against the strength of a penalty."),
    "predict": (_USE, "Predict the rows of a table with a saved model."),
    "adapt": (_USE, "Extend a saved model to new tasks or to a new domain."),
    "rerun": (_USE, "Repeat a comparison and check that every number is the same."),
}


class Commands(Speaking, TyperGroup):
    """The commands by name; only ``--help`` does without importing them."""

    listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - a context of typer
        """Return all names."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Return one command."""
        if cmd_name not in COMMANDS:
            return None
        panel, summary = COMMANDS[cmd_name]
        if self.listing:
            return TyperCommand(cmd_name, help=summary, rich_help_panel=panel)
        module = importlib.import_module(f"polytask.cli.{cmd_name}")
        details, epilog = getattr(module, "DETAILS", ""), getattr(module, "EPILOG", "")
        return command(cmd_name, getattr(module, cmd_name), summary, details, epilog)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Return the command that is asked for, or name the nearest."""
        if args and args[0] not in COMMANDS:
            known = LazyMessage("usage.commands", {"names": list(COMMANDS)})
            hint = nearest(args[0], COMMANDS) or known
            fields = {"name": repr(args[0]), "hint": hint}
            raise refused(LazyMessage("usage.no_command", fields), ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """List the commands by their summaries."""
        self.listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self.listing = False


app = typer.Typer(
    name="polytask",
    cls=Commands,
    help="Learn many related prediction problems (tasks) together.",
    epilog="[bold]Examples[/bold]\n\n"
    "  polytask inspect exams.csv\n\n"
    "  polytask compare exams.csv --task school --target score --out exams --quick\n\n"
    "Exit status: 0 success, 2 an input or option cannot be used, 1 a bug in polytask.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback where polytask has a bug."),
    ] = False,
    lang: Annotated[
        Literal["en", "zh"] | None,
        typer.Option(metavar="en|zh", help="Language: English or Chinese."),
    ] = None,
) -> None:
    if lang is not None:
        context.default_map = {name: {"lang": lang} for name in COMMANDS}
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
        interrupted; 141 if what it prints goes into a pipe that was closed.
    """
    use_utf8()
    # The collection of all modules at exit takes a second and frees what ends anyway.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get("POLYTASK_DEBUG", "") not in ("", "0")
    arguments = [word for word in arguments if word != "--debug"]
    program = typer.main.get_command(app)
    return status_of(
        lambda: program.main(args=arguments, prog_name="polytask", standalone_mode=False),
        arguments,
        lang=asked_language(arguments),
        debug=debug,
    )
