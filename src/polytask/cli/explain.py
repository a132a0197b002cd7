"""``polytask explain``: what every column contributes to every prediction."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from polytask._options import option
from polytask.cli.columns import Copied
from polytask.cli.console import note, say, say_json, say_table
from polytask.cli.files import RowSource, require_file, writable
from polytask.cli.options import Running, Vary
from polytask.cli.predict import TABLE_SUFFIXES, Saved
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd

    from polytask.explanation import Explanation
    from polytask.messages import Translator

_PICTURES = (".png", ".svg")
# Columns of the table that is printed.
_SHOWN = 20


@dataclass(frozen=True)
class Explaining:
    """What the user said about the contributions."""

    PANEL = "help.panel.explaining"

    label: str | None = option("help.explain.label", metavar="CLASS")
    background: str | None = option("help.explain.background", metavar="DATA")
    permutations: int = option("help.explain.permutations", default=64, least=2, metavar="N")


EXAMPLES = """\
  polytask explain exams.polytask new.csv --out contributions.csv

  polytask explain exams.polytask new.csv --background exams.csv --out contributions.png
"""


def explain(
    saved: Saved,
    source: RowSource,
    copied: Annotated[Copied, Vary(("interval",))],
    explaining: Explaining,
    running: Annotated[
        Running,
        Vary(
            ("resume", "time_budget", "jobs"),
            {"out": option("help.explain.out", metavar="FILE")},
        ),
    ],
) -> None:
    """Load, read, explain, write and say what matters, in common and to the tasks apart."""
    source.check("explain")
    inputs = (saved.model, source.data, explaining.background)
    target = running.out
    if target is not None:
        writable(target, force=running.force, example="", inputs=inputs)
        if not target.lower().endswith((*TABLE_SUFFIXES, *_PICTURES)):
            names = [*TABLE_SUFFIXES, *_PICTURES]
            fields = {"path": target, "names": names}
            raise DataError(LazyMessage("refusal.write.suffix", fields))
    require_file(saved.model, LazyMessage("cli.what.fitted_model"))
    from polytask import explain as explained
    from polytask import load
    from polytask.cli import predicted

    model = load(saved.model)
    if copied.unseen_tasks is not None:
        model.unseen_tasks = copied.unseen_tasks
    rows = predicted.read_rows(model, source, copied)
    background: Any = None
    if explaining.background is not None:
        others = RowSource(explaining.background, None, source.text)
        table = others.table(set(model.feature_names_in_).__contains__)
        background = predicted.needed_columns(table, model, others)
    with running.waiting("cli.explaining", model):
        found = explained(
            model, rows.X, rows.asked, label=_label(model, explaining.label),
            background=background, n_permutations=explaining.permutations,
            random_state=running.seed,
        )  # fmt: skip
    if target is not None:
        _write(found, rows.beside, target, running.lang)
    if running.json:
        say_json(_document(found))
    else:
        _say(found, running.speech)
        if target is not None:
            say(running.speech("cli.explain.wrote", {"path": target}))


def _label(model: Any, given: str | None) -> Any:  # noqa: ANN401 - a class of any type
    """Return the class of a model that is written like this."""
    known = getattr(model, "classes_", None)
    parts = known if isinstance(known, list) else [known]
    classes = [label for part in parts if part is not None for label in part.tolist()]
    return next((label for label in classes if str(label) == given), given)


def _write(found: Explanation, beside: pd.DataFrame, target: str, lang: str) -> None:
    """Write a table of all rows, or a picture of the columns."""
    import pandas as pd

    from polytask import charts
    from polytask.data.readers import write_table
    from polytask.io.atomic import write_whole

    suffix = os.path.splitext(target.lower())[1]
    if suffix in _PICTURES:
        height = 1.2 + 0.32 * min(found.common.shape[1], 30)
        content = charts.image(
            lambda panels: found.plot(panels[0], lang=lang), 6.5, height, 1, suffix[1:]
        )
        write_whole(target, content)
        return
    table = found.frame().reset_index(drop=True)
    # Of several targets the rows stand below each other.
    copies = len(table) // max(len(beside), 1)
    kept = pd.concat([beside] * copies, ignore_index=True) if len(beside.columns) else beside[:0]
    twice = [str(name) for name in kept.columns if name in table.columns]
    if twice:
        raise DataError(LazyMessage("cli.refusal.two_columns", {"twice": repr(twice[0])}))
    write_table(pd.concat([kept, table], axis=1) if len(kept.columns) else table, target)


def _document(found: Explanation) -> dict[str, Any]:
    """Return what is printed with --json."""
    summary = found.summary().reset_index().astype(object)
    summary = summary.where(summary.notna(), None)
    return {
        "rows": len(found.common),
        "output": sorted(set(found.output.tolist())),
        "methods": list(found.methods),
        "columns": summary.to_dict("records"),
    }


def _say(found: Explanation, speech: Translator) -> None:
    """Print how much every column matters."""
    summary = found.summary()
    outputs = [speech(f"explanation.output.{name}") for name in sorted({*found.output.tolist()})]
    rows = speech("count.rows", {"n": len(found.common)})
    fields = {"rows": rows, "output": speech.listed(outputs)}
    names = ("column", "contribution", "common", "own")
    header = [speech(f"cli.explain.{name}") for name in names]
    sizes = zip(summary.index, summary.to_numpy(dtype=float), strict=True)
    cells = [[str(name), *(f"{value:.4g}" for value in own)] for name, own in sizes]
    say_table(speech("cli.explain.title", fields), header, cells[:_SHOWN], (1, 2, 3))
    if len(cells) > _SHOWN:
        note(speech("cli.explain.more", {"n": len(cells) - _SHOWN}))
    if found.standard_error is not None:
        largest = float(found.standard_error.mean().max())
        note(speech("cli.explain.sampled", {"error": f"{largest:.2g}"}))
