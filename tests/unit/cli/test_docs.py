"""The page of the command line names the options that there are, and all of them."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from polytask.cli.program import app

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def _flags() -> set[str]:
    group = get_command(app())
    commands = [group, *(group.get_command(None, name) for name in group.list_commands(None))]
    options = [option for command in commands for option in command.params]
    return {flag for option in options for flag in (*option.opts, *option.secondary_opts)}


def test_page_names_the_options_that_there_are():
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE.read_text(encoding="utf-8")))
    known = {flag for flag in _flags() if flag.startswith("--")}
    assert named - known <= {"--help"}
    assert known - named <= {"--version", "--debug"}
