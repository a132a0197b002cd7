"""``polytask monitor``: whether new rows are still those that a model was fitted for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polytask._options import option
from polytask.cli.columns import Copied, require
from polytask.cli.console import say, say_whole
from polytask.cli.files import RowSource, require_file, writable
from polytask.cli.folder import checksums
from polytask.cli.options import ExplicitOptions, Running, Vary
from polytask.cli.predict import Saved
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Checked:
    """What the user said about the checks."""

    PANEL = "help.panel.monitoring"

    target: str | None = option("help.monitor.target", metavar="COL")
    rate: float = option("help.monitor.rate", default=0.05, metavar="SHARE")
    level: float = option("help.monitor.level", default=0.9, metavar="LEVEL")


EXAMPLES = """\
  polytask monitor exams.polytask new.csv

  polytask monitor exams.polytask new.csv --target score --out monitor.html
"""


def monitor(
    context: typer.Context,
    saved: Saved,
    source: Annotated[RowSource, Vary(("file_per_task",))],
    columns: Annotated[Copied, Vary(("ids", "keep", "unseen_tasks", "interval"))],
    checked: Checked,
    running: Annotated[
        Running,
        Vary(
            ("resume", "time_budget", "jobs", "seed"),
            {"out": option("help.monitor.out", metavar="FILE")},
        ),
    ],
) -> int:
    """Load, read, check, write and say what to do; return the exit status."""
    source.check("monitor")
    target = running.out
    if target is not None:
        writable(target, force=running.force, example="", inputs=(saved.model, source.data))
    require_file(saved.model, LazyMessage("cli.what.fitted_model"))
    from polytask import load, write_report
    from polytask import monitor as monitored
    from polytask.cli import predicted
    from polytask.reporting import terminal_table

    model = load(saved.model)
    unseen, model.unseen_tasks = model.unseen_tasks, "shared"
    table = source.table(set(model.feature_names_in_).__contains__)
    rows = predicted.rows_of(model, table, source, columns)
    model.unseen_tasks = unseen
    if checked.target is None and not isinstance(rows.X, dict):
        used = [*rows.X.columns, rows.task_name, *rows.others]
        predicted.note_unused("cli.note.monitor_unused", table, used, model, source)
    y = _targets(model, table, checked.target, source)
    found = monitored(model, rows.X, y, rows.asked, rate=checked.rate, level=checked.level)
    line = ExplicitOptions.of(context).line("monitor", target)
    command = {"line": line, "model": saved.model, "files": checksums(source)}
    found = replace(found, lock={**found.lock, "command": command})
    if target is not None:
        write_report(found, target, running.lang)
    if running.json:
        say_whole(found.to_json())
        return found.status
    say(found.summary(running.lang))
    brief = found.document(running.lang).brief
    if brief is not None:
        say()
        say(terminal_table(brief))
        for text in found.columns_said(running.speech):
            say(text)
    if target is not None:
        say(running.speech("cli.wrote", {"path": target}))
    return found.status


def _targets(model: Any, table: pd.DataFrame, name: str | None, source: RowSource) -> Any:  # noqa: ANN401
    """Return the targets with their gaps, None if there is none."""
    from polytask.cli.predicted import is_targets
    from polytask.cli.targets import TargetOptions, target_of, type_of_model

    if is_targets(model):
        names = [str(label) for label in model.tasks_]
        known = [one for one in names if one in table.columns]
        return table.reindex(columns=names) if known else None
    if name is None:
        return None
    require(name, list(table.columns), source.name)
    options = TargetOptions(source.text.decimal, drop_missing=True)
    return target_of(table[name], name, source.name, type_of_model(model), options).column
