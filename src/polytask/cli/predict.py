"""``polytask predict``: apply a model to a table."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Annotated

from polytask._options import argument, option
from polytask.cli.columns import Copied
from polytask.cli.console import note, say
from polytask.cli.files import RowSource, require_file, writable
from polytask.cli.options import Running, Vary
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

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
    source.check("predict")
    target = writable(
        running.out, force=running.force, example="predictions.csv", inputs=(path, source.data)
    )
    if not target.lower().endswith(TABLE_SUFFIXES):
        raise DataError(
            LazyMessage("refusal.write.suffix", {"path": target, "names": [*TABLE_SUFFIXES]})
        )
    require_file(path, LazyMessage("cli.what.fitted_model"))
    from polytask import load
    from polytask.cli import predicted
    from polytask.cli.describe import named
    from polytask.data.readers import write_table

    model = load(path)
    if copied.unseen_tasks is not None:
        model.unseen_tasks = copied.unseen_tasks
    if copied.interval is not None:
        predicted.require_intervals(model)
    rows = predicted.read_rows(model, source, copied)
    table = predicted.prediction_table(model, rows, copied.interval)
    write_table(table, target)
    speech = running.speech
    met = rows.met(model)
    for message in (*met.dates, *met.messages):
        note(message)
    strangers = rows.unseen(model)
    if strangers:
        names = set(strangers)
        count = sum(label in names for label in rows.task or ())
        fields: dict[str, str | int] = {"rows": speech("count.rows", {"n": count})}
        fields |= {"n": len(strangers), "names": named([str(s) for s in strangers])}
        note(speech("cli.predict.unseen", fields))
    say(speech("cli.predict.wrote", {"n": rows.n_rows, "path": target}))
