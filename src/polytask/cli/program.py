"""The program ``polytask``: its commands, each imported when it is called."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

import polytask
from polytask._checks import nearest
from polytask._options import option
from polytask.cli.console import status_of, use_utf8
from polytask.cli.options import command, flattened
from polytask.cli.usage import Speaking, asked_language, refused
from polytask.messages import LazyMessage, spoken

# The panel of each command, in the order of --help.
COMMANDS = {
    "inspect": "first",
    "compare": "first",
    "fit": "learn",
    "auto": "learn",
    "tune": "learn",
    "path": "learn",
    "models": "learn",
    "predict": "use",
    "explain": "use",
    "monitor": "use",
    "export": "use",
    "adapt": "use",
    "rerun": "use",
    "schema": "sites",
    "statistics": "sites",
    "merge": "sites",
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
        if self.listing:
            say = spoken()
            panel = say(f"help.panel.{COMMANDS[cmd_name]}")
            return TyperCommand(cmd_name, help=say(f"help.{cmd_name}"), rich_help_panel=panel)
        module = importlib.import_module(f"polytask.cli.{cmd_name}")
        return command(cmd_name, getattr(module, cmd_name), module.EXAMPLES)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Return the command that is asked for, or name the nearest."""
        if args and args[0] not in COMMANDS:
            known = LazyMessage("usage.commands", {"names": list(COMMANDS)})
            elsewhere = LazyMessage("usage.relatedness") if args[0] == "relatedness" else ""
            hint = elsewhere or nearest(args[0], COMMANDS) or known
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


@dataclass(frozen=True)
class Root:
    """What may be said before the name of a command."""

    PANEL = "help.panel.options"

    version: bool = option("help.version", default=False)
    debug: bool = option("help.debug", default=False)
    lang: Literal["en", "zh"] | None = option("help.lang", metavar="en|zh")


def _root(context: typer.Context, root: Root) -> None:
    if root.lang is not None:
        context.default_map = {name: {"lang": root.lang} for name in COMMANDS}
    if root.version:
        typer.echo(f"polytask {polytask.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


_EXAMPLES = """\
  polytask inspect exams.csv

  polytask compare exams.csv --task school --target score --out exams --quick
"""


def app() -> typer.Typer:
    """Return the program in the language that is spoken."""
    say = spoken()
    made = typer.Typer(
        name="polytask",
        cls=Commands,
        help=say("help"),
        epilog=f"[bold]{say('help.examples')}[/bold]\n\n{_EXAMPLES}\n{say('help.exit')}",
        context_settings={"help_option_names": ["-h", "--help"]},
        options_metavar=say("help.options"),
        subcommand_metavar=say("help.command"),
        rich_markup_mode="rich",
        add_completion=False,
    )
    made.callback(invoke_without_command=True)(flattened(_root))
    return made


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
    # The language is that of this run, and not of what the process does next.
    return copy_context().run(
        status_of,
        lambda: typer.main.get_command(app()).main(arguments, "polytask", standalone_mode=False),
        arguments,
        lang=asked_language(arguments),
        debug=debug,
    )
