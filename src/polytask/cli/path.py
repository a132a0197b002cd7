"""``polytask path``: error and coefficients of a penalty against its strength."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from polytask._options import option
from polytask.cli.console import note, say, say_pair, say_table
from polytask.cli.files import Tables, writable
from polytask.cli.models import Learning
from polytask.cli.options import Running, Vary
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    from polytask.messages import Translator
    from polytask.selection import RegularizationPath

_PICTURES = (".png", ".svg")
_TABLE = ".csv"
# Lines of the table that is printed, the strengths that are marked among them.
_SHOWN = 10


@dataclass(frozen=True)
class Drawing:
    """What the user said about the path."""

    PANEL = "help.panel.path"

    rule: Literal["min", "one_se", "pareto"] | None = option(
        "help.rule",
        metavar="min|one_se|pareto",
    )
    strengths: int = option("help.strengths", default=50, least=2, metavar="N")
    lines: Literal["features", "entries"] = option(
        "help.lines",
        default="features",
        metavar="features|entries",
    )


EXAMPLES = """\
  polytask path exams.csv --task school --target score --out exams.png

  polytask path plant.csv --targets 'y_*' --penalty L21 --lines entries --rule one_se --out p.svg

  polytask path plant.csv --targets 'y_*' --penalty L21 --criterion ebic --out p.png
"""


def path(
    tables: Tables,
    learning: Annotated[
        Learning,
        Vary(("model", "unseen_tasks"), {"penalty": option("help.path.penalty", metavar="TEXT")}),
    ],
    drawing: Drawing,
    running: Annotated[
        Running,
        Vary(
            ("json", "resume", "time_budget"),
            {
                "out": option(
                    "help.path.out",
                    metavar="FIGURE",
                ),
                "force": option("help.path.force", default=False),
            },
        ),
    ],
) -> None:
    """Read, search, draw, write figure and table, and say what was chosen."""
    from polytask.cli.describe import say_data, scored, scores_beside
    from polytask.cli.training_data import read_training
    from polytask.selection import regularization_path

    speech, inputs = running.speech, (tables.source.data,)
    tables.check("path", running.out, "path.png")
    tables = learning.check_search(tables, drawing.rule)
    picture = writable(running.out, force=running.force, example="path.png", inputs=inputs)
    stem, suffix = os.path.splitext(picture)
    if suffix.lower() not in _PICTURES:
        raise ParameterError(
            LazyMessage(
                "cli.refusal.picture",
                {"suffixes": list(_PICTURES), "picture": repr(picture)},
            )
        )
    table = writable(stem + _TABLE, force=running.force, example="", inputs=inputs)
    training = read_training(tables, learning.override)
    estimator = learning.estimator(training, running).set_params(alphas=drawing.strengths)
    if learning.criterion is None:
        estimator.set_params(rule=drawing.rule or "min")
    say_data(training, speech)
    rows = {"X": training.X, "y": training.y, "sample_weight": training.weight}
    with running.waiting("cli.fitting", estimator):
        found = regularization_path(estimator.fit(**rows), **rows)
    found.write(picture, table, kind=drawing.lines, lang=running.lang)
    _say_path(found, drawing.strengths, speech)
    beside = scores_beside(estimator, training, learning, running)
    for pair in scored(estimator, speech, beside):
        say_pair(*pair)
    say()
    say(speech("cli.path.wrote", {"picture": picture, "table": table}))


def _say_path(path: RegularizationPath, asked: int, speech: Translator) -> None:
    from polytask.cli.describe import short

    say_pair(speech("cli.label.penalty"), short(path.penalty))
    with_folds, measure = path.scores.shape[1] > 1, path.measure.label.text(speech)
    is_loss = path.measure.name == "loss"
    places = {"best": path.best, "one_se": path.one_se, "chosen": path.chosen}
    names: dict[int, list[str]] = {}
    for name, place in places.items():
        if with_folds or name != "one_se":
            names.setdefault(place, []).append(speech(f"cli.path.{name}"))
    n = len(path.alphas)
    if n < asked:
        said = speech("cli.path.coarse", {"n": n, "all": asked})
        say_pair(speech("cli.label.strengths"), said)
    shown = sorted({*names, *range(0, n, max(n // _SHOWN, 1)), n - 1})
    columns = {
        speech("column.strength"): [f"{path.alphas[k]:.4g}" for k in shown],
        speech("cli.path.error") if is_loss else measure: [f"{path.value[k]:.4g}" for k in shown],
    }
    if path.df is not None:
        columns[speech("cli.path.df")] = [f"{path.df[k]:.1f}" for k in shown]
    elif with_folds:
        columns[speech("column.standard_error")] = [f"{path.standard_error[k]:.2g}" for k in shown]
    columns[speech("cli.path.features")] = [f"{path.kept[k]:,}" for k in shown]
    # Elsewhere the rank says no more than the features that are left.
    most = path.coef.shape[1]
    low = any(rank < min(kept, most) for rank, kept in zip(path.ranks, path.kept, strict=True))
    if low:
        columns[speech("cli.path.rank")] = [f"{path.ranks[k]:,}" for k in shown]
    columns[""] = [speech.listed(names.get(k, [])) for k in shown]
    rows = list(zip(*columns.values(), strict=True))
    say()
    title = speech(f"cli.path.title{'.error' if is_loss else ''}", {"measure": measure})
    title = speech.joined([title, speech("cli.path.title.rank") if low else ""])
    say_table(title, tuple(columns), rows, tuple(range(len(columns) - 1)))
    # The best strength has no neighbour on one side, which may be better.
    if n > 1 and path.best in (0, n - 1):
        end = "weakest" if path.best else "strongest" if path.kept[0] else "nothing"
        note(speech(f"cli.path.{end}"))
    if infinite := sum(map(math.isinf, path.value)):
        measure = measure[:1].upper() + measure[1:]
        note(speech("cli.path.infinite", {"measure": measure, "infinite": infinite, "n": n}))
