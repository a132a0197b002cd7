"""The command line: one file per command, each of which parses, calls and writes."""

from __future__ import annotations

from polytask.cli._main import main

__all__ = ["main"]
