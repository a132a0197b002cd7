"""The data card of a report: pairs of a name and what it is."""

from __future__ import annotations

import json
from typing import Any

from polytask._messages import Speech, plain_number
from polytask.analysis import Comparison
from polytask.analysis._parts import Setup
from polytask.analysis._plain import free_node
from polytask.analysis._sentences import metric_word


def data_card(result: Comparison, speech: Speech) -> list[tuple[str, str]]:
    """Return what was compared, on what, and how."""
    setup = result.setup
    splits = {"done": setup.n_splits, "planned": setup.planned}
    how = speech.word("splits", setup.splits)
    values = {
        "rows": _rows(setup, speech),
        "tasks": f"{setup.n_tasks:,}",
        "features": f"{setup.n_features:,}",
        "form": speech.word("form", setup.form),
        "problem": speech.word("problem", setup.problem),
        "metric": _metric(setup, speech),
        "splits": speech("card.n_splits", splits | {"how": how}),
        "rule": speech("card.rule_text"),
        "margin": f"{result.margin:.3g}",
        "weighted": speech("card.yes" if setup.weighted else "card.no"),
        "seed": str(setup.seed),
        "seconds": speech("card.time", {"value": plain_number(result.seconds)}),
    }
    return [(speech(f"card.{name}"), value) for name, value in values.items()]


def _rows(setup: Setup, speech: Speech) -> str:
    low, median, high = setup.rows_per_task
    if low == high:
        return speech("card.rows_equal", {"n": setup.n_rows, "each": low})
    spread: dict[str, str | int] = {"low": low, "high": high, "median": f"{median:,.6g}"}
    return speech("card.rows_per_task", spread | {"n": setup.n_rows})


def _metric(setup: Setup, speech: Speech) -> str:
    fields = {"metric": metric_word(setup, speech)}
    if setup.metric == "d2":
        classes = setup.problem == "classification"
        return speech("means.d2.classification" if classes else "means.d2", fields)
    return speech("means.more" if setup.greater_is_better else "means.less", fields)


def call_of(lock: dict[str, Any]) -> str:
    """Return the call or command that a lock holds, empty if it holds none."""
    command = lock.get("command", lock.get("call", ""))
    line = command.get("line", "") if isinstance(command, dict) else command
    return line if isinstance(line, str) else ""


def lock_text(lock: dict[str, Any]) -> str:
    """Return a lock as JSON that can be read."""
    return json.dumps(free_node(lock), ensure_ascii=False, indent=2)
