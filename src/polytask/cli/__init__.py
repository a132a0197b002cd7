"""The command line: one file per command, each of which parses, calls and writes."""

from __future__ import annotations

from polytask.cli.program import main

__all__ = ["main"]
