"""``polytask statistics``: what a site hands over in place of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from polytask._options import option
from polytask.cli.columns import TargetTypeOverride, require
from polytask.cli.console import say, say_pair, say_whole
from polytask.cli.files import STATISTICS_SUFFIX, RowSource, refuse_lacking, writable
from polytask.cli.options import Running, Vary, command_line
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd

    from polytask.statistics import Schema

EXAMPLES = """\
  polytask statistics north.csv --schema study.json --out north.stats

  polytask statistics north.csv --schema study.json --task-name north --out north.stats
"""


@dataclass(frozen=True)
class Collecting:
    """What the user said about the rows of a site."""

    PANEL = "help.panel.sites"

    schema: str | None = option("help.schema_file", metavar="SCHEMA")
    task_name: str | None = option("help.task_name", metavar="NAME")
    folds: int | None = option("help.statistics.folds", metavar="N", least=2)
    drop_missing_target: bool = option("help.drop_missing_target", default=False)
    allow_leak: bool = option("help.allow_leak", default=False)


def statistics(
    collecting: Collecting,
    source: Annotated[RowSource, Vary(("file_per_task", "day_first"))],
    running: Annotated[
        Running,
        Vary(
            ("json", "resume", "time_budget", "jobs"),
            {"out": option("help.statistics.out", metavar="STATS")},
        ),
    ],
) -> None:
    """Read the rows of a site, collect, write and say what the file holds."""
    import numpy as np

    from polytask.statistics import Schema

    speech = running.speech
    example = f"site{STATISTICS_SUFFIX}"
    lacks = {"data": source.data is None, "schema": collecting.schema is None}
    refuse_lacking("statistics", lacks | {"out": running.out is None}, example)
    source.check("statistics")
    if collecting.schema is None:
        raise ParameterError(LazyMessage("cli.refusal.needs_schema"))
    inputs = (source.data, collecting.schema)
    path = writable(running.out, force=running.force, example=example, inputs=inputs)
    schema = Schema.load(collecting.schema)
    table = _site_rows(source, schema, collecting)
    fold = None
    if collecting.folds is not None:
        # Dealt within tasks, each of whose folds then has as many rows as the others or one less.
        codes, _ = table[schema.task_column].factorize()
        order = np.lexsort((np.random.default_rng(running.seed).permutation(len(table)), codes))
        fold = np.empty(len(table), dtype=int)
        fold[order] = np.arange(len(table)) % collecting.folds
    found = schema.collect(table, fold=fold, allow_leak=collecting.allow_leak)
    found.save(path)
    say_pair(speech("cli.label.rows"), f"{found.n_rows:,}")
    say_pair(speech("cli.label.tasks"), speech.listed([str(task) for task in found.tasks]))
    say_pair(speech("cli.label.features"), f"{found.n_features:,}")
    say()
    say(speech("cli.wrote", {"path": path}))
    say(speech("cli.statistics.holds", {"minimum": schema.minimum}))
    say(speech("cli.statistics.next"))
    say_whole(f"  {command_line('merge', path, 'OTHER.stats', '--out', 'all.stats')}")


def _site_rows(source: RowSource, schema: Schema, collecting: Collecting) -> pd.DataFrame:
    """Return the rows that have a target, with the column of tasks."""
    from polytask.cli.targets import TargetOptions, labelled_rows, target_of

    table, name = source.table(), collecting.task_name
    task, target, drop = schema.task_column, schema.target, collecting.drop_missing_target
    if name is None and task not in table.columns:
        raise DataError(
            LazyMessage("cli.refusal.site_task", {"source": source.name, "task": repr(task)})
        )
    if name is not None and task in table.columns:
        raise ParameterError(
            LazyMessage("cli.refusal.task_named", {"source": source.name, "task": repr(task)})
        )
    table = table if name is None else table.assign(**{task: name})
    require(target, list(table.columns), source.name)
    override = TargetTypeOverride.of_loss("squared")
    reading = TargetOptions(source.text.decimal, drop)
    table[target] = target_of(table[target], target, source.name, override, reading).column
    return labelled_rows(table, target, source.name, drop)
