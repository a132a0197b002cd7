"""``polytask predict``: apply a model to a table."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from polytask._options import argument, option
from polytask.cli.columns import Copied
from polytask.cli.console import note, say
from polytask.cli.files import RowSource, refuse_lacking, require_file, writable
from polytask.cli.options import Cluster, Running, Vary
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    from polytask.cli.predicted import Met
    from polytask.messages import Translator

TABLE_SUFFIXES = (
    ".csv",
    ".tsv",
    ".csv.gz",
    ".tsv.gz",
    ".parquet",
    ".pq",
    ".arrow",
    ".feather",
    ".ipc",
)


@dataclass(frozen=True)
class Saved:
    """The saved model."""

    PANEL = "help.panel.arguments"

    model: str = argument("help.predict.model", "MODEL", default=MISSING)


EXAMPLES = """\
  polytask predict exams.polytask new.csv --out predictions.csv

  polytask predict exams.polytask new.csv --id pupil --unseen-tasks shared --out predictions.csv
"""


def predict(
    saved: Saved,
    source: RowSource,
    copied: Copied,
    cluster: Annotated[
        Cluster, Vary(changed={"dask": option("help.predict.dask", metavar="ADDRESS")})
    ],
    running: Annotated[
        Running,
        Vary(
            ("json", "resume", "time_budget", "jobs", "seed"),
            {
                "out": option(
                    "help.predict.out",
                    metavar="FILE",
                )
            },
        ),
    ],
) -> None:
    """Load, read, predict, write and say what was met."""
    path = saved.model
    example, no_data = "predictions.csv", source.data is None and source.file_per_task is None
    refuse_lacking("predict", {"data": no_data, "out": running.out is None}, example)
    source.check("predict")
    inputs = (path, source.data)
    target = writable(running.out, force=running.force, example=example, inputs=inputs)
    if not target.lower().endswith(TABLE_SUFFIXES):
        raise DataError(
            LazyMessage("refusal.write.suffix", {"path": target, "names": [*TABLE_SUFFIXES]})
        )
    require_file(path, LazyMessage("cli.what.fitted_model"))
    from polytask import load
    from polytask.cli import predicted
    from polytask.cli.in_parts import write_in_parts
    from polytask.data.readers import write_table

    model = load(path)
    if copied.unseen_tasks is not None:
        model.unseen_tasks = copied.unseen_tasks
    if copied.interval is not None:
        predicted.require_intervals(model, path)
    if source.too_large or cluster.dask:
        found = write_in_parts(model, source, copied, running, target, cluster.dask)
    else:
        rows = predicted.read_rows(model, source, copied)
        table = predicted.prediction_table(model, rows, copied.interval)
        found = predicted.Met.of(model, rows, table, ends=copied.interval is not None)
        for which, n in found.no_interval.items():
            if n == len(table):
                raise IncompatibleError(predicted.no_interval(model, n, which))
        write_table(table, target)
    _note_what_was_met(found, model, running.speech)
    say(running.speech("cli.predict.wrote", {"n": found.report.n_rows, "path": target}))


def _note_what_was_met(found: Met, model: Any, speech: Translator) -> None:  # noqa: ANN401
    """Say what deserves a look in the rows and in their predictions."""
    from polytask.cli.describe import named
    from polytask.cli.predicted import never_negative, no_interval

    for which, n in found.no_interval.items():
        note(no_interval(model, n, which))
    for message in (*found.report.dates, *found.report.messages):
        note(message)
    if found.strangers:
        count, names = sum(found.strangers.values()), [str(name) for name in found.strangers]
        fields: dict[str, str | int] = {"rows": speech("count.rows", {"n": count})}
        fields |= {"n": len(names), "names": named(names)}
        note(speech("cli.predict.unseen", fields))
    for name, strange in found.levels.items():
        if strange:
            fields = {"rows": speech("count.rows", {"n": sum(strange.values())})}
            fields |= {"n": len(strange), "grouping": name}
            fields["names"] = named([str(label) for label in strange])
            mixed = "_mixed" if hasattr(model, "members_") else ""
            note(speech(f"cli.predict.unseen_levels{mixed}", fields))
    if found.below_zero:
        seen = sum(never_negative(model).values())
        fields = {"n": found.below_zero, "total": found.report.n_rows, "seen": f"{seen:,}"}
        note(speech("cli.predict.below_zero", fields))
