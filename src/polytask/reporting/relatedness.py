"""The report on relatedness: tables, Markdown, and one web page."""

from __future__ import annotations

import math
from typing import Any

from polytask.charts import brackets
from polytask.messages import Translator, plain_number
from polytask.reporting.markdown import escaped, table_text
from polytask.reporting.page import CLOSE, OPEN, rendered
from polytask.reporting.tables import Cell, Column, Table, own
from polytask.task_relations import Relatedness
from polytask.task_relations import presenting as says
from polytask.task_relations.presenting import Drawn, drawn_map, task_names

# Rows of the table of tasks on a page.
ROWS = 1000


def task_table(result: Relatedness, speech: Translator) -> Table:
    """Return the tasks that say anything, the closest to the others first."""
    names = task_names([one.task for one in result.tasks])
    called = {id(one): name for one, name in zip(result.tasks, names, strict=True)}
    label = {one.task: name for one, name in zip(result.tasks, names, strict=True)}
    known = [result.tasks[place] for place in result.order]
    known.sort(key=lambda one: -one.closeness)
    rows = tuple(
        (
            own(called[id(one)]),
            Cell(f"{one.rows:,}", one.rows),
            _correlation(one.closeness, speech),
            own("" if one.nearest is None else label[one.nearest]),
            _correlation(one.similarity, speech),
            Cell("" if one.group is None else str(one.group + 1), one.group),
        )
        for one in known[:ROWS]
    )
    columns = (
        Column("task", speech("column.task")),
        Column("rows", speech("column.rows"), numeric=True),
        Column("closeness", speech("related.column.closeness"), numeric=True),
        Column("nearest", speech("related.column.nearest")),
        Column("similarity", speech("related.column.similarity"), numeric=True),
        Column("group", speech("related.column.group"), numeric=True),
    )
    return Table("tasks", speech("related.tasks.caption"), columns, rows)


def pair_table(result: Relatedness, speech: Translator) -> Table:
    """Return the extreme pairs of tasks, the most alike first."""
    pairs = (*result.most_alike, *reversed(result.least_alike))
    columns = (
        Column("first", speech("related.column.first")),
        Column("second", speech("related.column.second")),
        Column("similarity", speech("related.column.similarity"), numeric=True),
    )
    rows = tuple(
        (own(one.first), own(one.second), _correlation(one.similarity, speech)) for one in pairs
    )
    return Table("pairs", speech("related.map.table"), columns, rows)


def feature_table(result: Relatedness, speech: Translator) -> Table:
    """Return what the features do, the largest effect first."""
    columns = (
        Column("feature", speech("column.feature")),
        Column("mean", speech("related.column.mean"), numeric=True),
        Column("spread", speech("related.column.spread"), numeric=True),
        Column("kind", speech("related.column.kind")),
    )
    rows = tuple(
        (
            own(one.feature),
            Cell(plain_number(one.mean), one.mean),
            Cell(plain_number(one.spread), one.spread),
            Cell(speech(f"related.kind.{_kind(one.shared)}"), _kind(one.shared)),
        )
        for one in result.features
    )
    return Table("features", speech("related.features.caption"), columns, rows)


def _kind(shared: bool) -> str:
    return "shared" if shared else "varying"


def _correlation(value: float, speech: Translator) -> Cell:
    return Cell(speech.number(value, 2, signed=True), value)


def shares_of(result: Relatedness) -> list[tuple[str, float]]:
    """Return the shares by name; none if they are not known."""
    shares = result.shares
    if not math.isfinite(shares.common):
        return []
    return [(name, getattr(shares, name)) for name in ("common", "clustered", "own")]


def method(result: Relatedness, speech: Translator) -> list[str]:
    """Return how it was judged, in sentences."""
    if result.source != "data":
        return [speech(f"related.method.{result.source}")]
    if not result.p_values:
        return []
    fields: dict[str, str | int] = {"n": result.n_permutations, "seed": str(result.seed)}
    return [speech("related.method.null", fields)]


def p_lines(result: Relatedness, speech: Translator) -> list[str]:
    """Return the p-value of each aspect."""
    return [
        speech(
            "related.method.part",
            {
                "aspect": speech(f"related.aspect.{name}"),
                "p": says.p_words(p, result.n_permutations, speech),
            },
        )
        for name, p in result.p_values.items()
    ]


def map_notes(result: Relatedness, speech: Translator, cells: int) -> list[str]:
    """Return how the map is to be read."""
    n = len(result.order)
    suffix = "" if result.source == "data" else f"_{result.source}"
    said = [speech(f"related.map.note{suffix}")]
    if cells < n:
        said.append(speech("related.map.bins", {"n": n, "cells": cells}))
    if n < result.n_informative:
        said.append(speech("related.map.cut", {"n": result.n_informative, "k": n}))
    return said


def markdown(result: Relatedness, lang: str = "en") -> str:
    """Return the report as Markdown."""
    speech = Translator(lang, escaped)
    blocks = [
        f"# {speech('related.headline.' + says.headline(result))}",
        says.opening_words(result, speech),
        "\n".join(f"- {line}" for line in says.lines(result, speech)[1:]),
        *_shares(result, speech),
        *_map(result, speech),
        *_features(result, speech),
        *_method(result, speech),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _shares(result: Relatedness, speech: Translator) -> list[str]:
    found = shares_of(result)
    if not found:
        return []
    note = "related.shares.note_model" if result.source == "model" else "related.shares.note"
    lines = [
        f"- {speech(f'related.shares.{name}')}: {says.percent(share, speech)}"
        for name, share in found
    ]
    return [f"## {speech('related.section.shares')}", speech(note), "\n".join(lines)]


def _map(result: Relatedness, speech: Translator) -> list[str]:
    if len(result.order) < 2:
        return []
    return [
        f"## {speech('related.section.map')}",
        table_text(pair_table(result, speech)),
        f"## {speech('related.section.tasks')}",
        table_text(task_table(result, speech)),
    ]


def _features(result: Relatedness, speech: Translator) -> list[str]:
    if not result.features:
        return []
    model = result.source == "model"
    return [
        f"## {speech('related.section.features')}",
        speech("related.features.note_model" if model else "related.features.note"),
        table_text(feature_table(result, speech)),
    ]


def _method(result: Relatedness, speech: Translator) -> list[str]:
    said = method(result, speech)
    if not said:
        return []
    parts = [f"- {line}" for line in p_lines(result, speech)]
    return [f"## {speech('related.section.method')}", *said, "\n".join(parts)]


# Height of the tree, in cells.
_TREE = 4.0
# Which of the verdict's colours stands for which answer.
_TONES = {
    "yes": "share",
    "model": "share",
    "training": "share",
    "no": "unclear",
    "nothing": "unclear",
}


def page(result: Relatedness, lang: str = "en") -> str:
    """Return the report as HTML."""
    speech = Translator(lang)
    marked = Translator(lang, lambda name: f"{OPEN}{name}{CLOSE}")
    model, kind = result.source == "model", says.headline(result)
    drawn = drawn_map(result)
    context = {
        "tone": _TONES[kind],
        "headline": speech(f"related.headline.{kind}"),
        "facts": _facts(result, speech),
        "opening": says.opening_words(result, marked),
        "lines": says.lines(result, marked)[1:],
        "shares": [(n, s, says.percent(s, speech)) for n, s in shares_of(result)],
        "suffix": "_model" if model else "",
        "map": _map_related_page(drawn) if len(result.order) > 1 else None,
        "map_notes": map_notes(result, speech, len(drawn.names)),
        "pair_table": pair_table(result, speech),
        "task_table": task_table(result, speech),
        "feature_table": feature_table(result, speech),
        "method": method(result, speech),
        "p_lines": p_lines(result, speech),
    }
    return rendered("relatedness.html", context, lang)


def _facts(result: Relatedness, speech: Translator) -> list[str]:
    rows = sum(one.rows for one in result.tasks)
    counts = {"tasks": len(result.tasks), "rows": rows, "features": result.n_features}
    return [speech(f"count.{name}", {"n": n}) for name, n in counts.items() if n]


def _map_related_page(drawn: Drawn) -> dict[str, Any]:
    """Return the cells of the map, a side and a strength each, and the lines of the tree."""
    cells = [
        [("gain" if v > 0 else "lose", f"{min(abs(v), 1.0):.3f}") for v in row]
        for row in drawn.values.tolist()
    ]
    return {
        "names": drawn.names,
        "rows": list(zip(drawn.names, cells, strict=True)),
        "path": _path(drawn),
        "height": _TREE,
    }


def _path(drawn: Drawn) -> str:
    """Return the tree as a path, a unit wide per task, growing up from its leaves."""
    top = max((height for _, _, height, _ in drawn.tree), default=0.0) or 1.0

    def point(at: tuple[float, float]) -> str:
        return f"{at[0] + 0.5:.3f} {_TREE * (1.0 - 0.95 * at[1] / top):.3f}"

    return " ".join(f"M{' L'.join(map(point, bracket))}" for bracket in brackets(drawn.tree))
