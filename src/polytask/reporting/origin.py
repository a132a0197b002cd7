"""Where a report comes from, as the lock of a result holds it: its files, and its call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask.messages import Translator, clean


def command_of(lock: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the command of a lock, empty if it holds none."""
    found = lock.get("command")
    return found if isinstance(found, dict) else {}


def call_of(lock: Mapping[str, Any]) -> str:
    """Return the call or command that a lock holds, empty if it holds none."""
    line = command_of(lock).get("line", lock.get("call", ""))
    return clean(line) if line and isinstance(line, str) else ""


def origin_facts(
    lock: Mapping[str, Any], date: str, say: Translator
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the facts that name files, and the one of the day, said by the key `date`."""
    files = ", ".join(name.rpartition("/")[2] for name in command_of(lock).get("files", {}))
    dated = [say(date, {"date": str(lock["date"])})] if "date" in lock else []
    return ((say.name(files),) if files else ()), tuple(dated)
