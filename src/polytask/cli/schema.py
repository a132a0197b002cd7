"""``polytask schema``: what sites agree on before they collect statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from polytask._options import option
from polytask.cli.columns import NO_SPLITTING, ColumnOptions, TargetTypeOverride
from polytask.cli.console import say, say_pair, say_whole
from polytask.cli.files import RowSource, Tables, writable
from polytask.cli.options import Running, Vary, command_line
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage

EXAMPLES = """\
  polytask schema example.csv --task hospital --target days --out study.json
"""


@dataclass(frozen=True)
class Agreed:
    """What the agreement says beside the columns."""

    PANEL = "help.panel.sites"

    minimum: int = option("help.minimum", default=10, metavar="N", least=2)


def schema(
    columns: Annotated[ColumnOptions, Vary(("ids", "weight", "targets", "date_features"))],
    agreed: Agreed,
    source: Annotated[RowSource, Vary(("file_per_task", "day_first"))],
    running: Annotated[
        Running,
        Vary(
            ("json", "resume", "time_budget", "jobs", "seed"),
            {"out": option("help.schema.out", metavar="SCHEMA")},
        ),
    ],
) -> None:
    """Read a table and write what its columns are."""
    from polytask.cli.training_data import read_training
    from polytask.statistics import Schema

    speech, tables = running.speech, Tables(columns, NO_SPLITTING, source)
    tables.check("schema", running.out, "study.json")
    path = writable(running.out, force=running.force, example="study.json", inputs=(source.data,))
    if columns.task is None:
        raise ParameterError(LazyMessage("cli.refusal.schema_needs_task"))
    read = read_training(tables, TargetTypeOverride.of_loss("squared"))
    target = read.kinds[0].name
    made = Schema.of(
        read.X.assign(**{target: read.y}), target=target, task_column=columns.task,
        minimum=agreed.minimum,
    )  # fmt: skip
    made.save(path)
    for column in made.encoder.report_.columns:
        shown = LazyMessage("cli.schema.levels", {"levels": list(column.levels)})
        kind = shown if column.levels else LazyMessage(f"cli.schema.{column.kind}")
        say_pair(column.name, kind.text(speech))
    say()
    say(speech("cli.wrote", {"path": path}))
    say(speech("cli.schema.next"))
    words = ("SITE.csv", "--schema", path, "--out", "SITE.stats")
    say_whole(f"  {command_line('statistics', *words)}")
