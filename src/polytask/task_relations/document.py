"""Relatedness as a plain document, a data frame and a chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask import charts
from polytask.exceptions import DataError
from polytask.messages import LazyMessage, Translator, distinct_names, marked, plain_number
from polytask.reporting import (
    Block,
    Bullets,
    Cell,
    Column,
    Document,
    Facts,
    Figure,
    Paragraph,
    Section,
    Table,
    own,
)
from polytask.task_relations import sentences as says
from polytask.task_relations.records import RelatednessFindings

if TYPE_CHECKING:
    import pandas as pd

    from polytask.charts import Axes

# Rows of the table of tasks on a page, those that are open from the start, cells of a map.
_ROWS, _OPEN_ROWS, _CELLS = 1000, 30, 60
# Which of the verdict's colours stands for which answer.
_TONES = {"yes": "share", "model": "share", "training": "share"}


def document(result: RelatednessFindings, lang: str) -> Document:
    """Return the report on relatedness."""
    say = Translator(lang, marked)
    kind = says.kind_of(result)
    headline = say(f"related.headline.{kind}")
    said = (says.aspects(result, say), says.groups(result, say))
    more = [*said, *says.pairs(result, say), *says.features(result, say)]
    listed = tuple(line for line in (*more, *says.notes(result, say)) if line)
    mapped = len(result.order) > 1
    sections: tuple[tuple[str, list[Block]], ...] = (
        ("shares", _shares(result, say)),
        ("map", [map_figure(result, say), pair_table(result, say)] if mapped else []),
        ("tasks", [task_table(result, say)] if mapped else []),
        ("features", _features(result, say)),
        ("method", _method(result, say)),
    )
    rows = sum(one.rows for one in result.tasks)
    counts = {"tasks": len(result.tasks), "rows": rows, "features": result.n_features}
    return Document(
        lang=lang,
        title=say("related.title", {"headline": headline}),
        headline=headline,
        tone=_TONES.get(kind, "unclear"),
        facts=tuple(say(f"count.{name}", {"n": n}) for name, n in counts.items() if n),
        lead=(
            Paragraph(says.opening(result, say), "lead"),
            *([Bullets(listed)] if listed else []),
        ),
        warnings=(),
        brief=task_table(result, say),
        sections=tuple(
            Section(key, say(f"related.section.{key}"), tuple(blocks))
            for key, blocks in sections
            if blocks
        ),
    )


def _shares(result: RelatednessFindings, say: Translator) -> list[Block]:
    shares = result.shares
    if not math.isfinite(shares.common):
        return []
    names = ("common", "clustered", "own")
    note = "related.shares.note_model" if result.source == "model" else "related.shares.note"
    items = ((say(f"related.shares.{n}"), says.percent(getattr(shares, n), say)) for n in names)
    return [Paragraph(say(note), "soft"), Facts(tuple(items))]


def _features(result: RelatednessFindings, say: Translator) -> list[Block]:
    if not result.features:
        return []
    model = result.source == "model"
    note = say("related.features.note_model" if model else "related.features.note")
    return [Paragraph(note, "soft"), feature_table(result, say)]


def _method(result: RelatednessFindings, say: Translator) -> list[Block]:
    """Return how it was judged, and the p-value of each aspect."""
    if result.source != "data":
        return [Paragraph(say(f"related.method.{result.source}"))]
    if not result.p_values:
        return []
    fields: dict[str, str | int] = {"n": result.n_permutations, "seed": str(result.seed)}
    parts = []
    for name, p in result.p_values.items():
        words = says.p_words(p, result.n_permutations, say)
        aspect = say(f"related.aspect.{name}")
        parts.append(say("related.method.part", {"aspect": aspect, "p": words}))
    return [Paragraph(say("related.method.null", fields)), Bullets(tuple(parts))]


def _correlation(value: float, say: Translator) -> Cell:
    return Cell(say.number(value, 2, signed=True), value)


def _columns(say: Translator, heads: dict[str, str]) -> tuple[Column, ...]:
    """Return columns by name, with the keys of their heads; those of numbers begin with "#"."""
    return tuple(
        Column(name, say(key.removeprefix("#")), numeric=key.startswith("#"))
        for name, key in heads.items()
    )


def task_table(result: RelatednessFindings, say: Translator) -> Table:
    """Return the tasks that say anything, the closest to the others first."""
    names = distinct_names([one.task for one in result.tasks])
    label = {one.task: name for one, name in zip(result.tasks, names, strict=True)}
    known = [(result.tasks[place], names[place]) for place in result.order]
    known.sort(key=lambda pair: -pair[0].closeness)
    rows = tuple(
        (
            own(name),
            Cell(f"{one.rows:,}", one.rows),
            _correlation(one.closeness, say),
            own("" if one.nearest is None else label[one.nearest]),
            _correlation(one.similarity, say),
            Cell("" if one.group is None else str(one.group + 1), one.group),
        )
        for one, name in known[:_ROWS]
    )
    heads = {
        "task": "column.task",
        "rows": "#column.rows",
        "closeness": "#related.column.closeness",
        "nearest": "related.column.nearest",
        "similarity": "#related.column.similarity",
        "group": "#related.column.group",
    }
    folded = len(rows) > _OPEN_ROWS
    return Table("tasks", say("related.tasks.caption"), _columns(say, heads), rows, folded)


def pair_table(result: RelatednessFindings, say: Translator) -> Table:
    """Return the extreme pairs of tasks, the most alike first."""
    heads = {
        "first": "related.column.first",
        "second": "related.column.second",
        "similarity": "#related.column.similarity",
    }
    rows = tuple(
        (own(one.first), own(one.second), _correlation(one.similarity, say))
        for one in (*result.most_alike, *reversed(result.least_alike))
    )
    return Table("pairs", say("related.map.table"), _columns(say, heads), rows)


def feature_table(result: RelatednessFindings, say: Translator) -> Table:
    """Return what the features do, the largest effect first."""
    heads = {
        "feature": "column.feature",
        "mean": "#related.column.mean",
        "spread": "#related.column.spread",
        "kind": "related.column.kind",
    }
    rows = []
    for one in result.features:
        kind = "shared" if one.shared else "varying"
        cells = (
            Cell(plain_number(one.mean), one.mean),
            Cell(plain_number(one.spread), one.spread),
        )
        rows.append((own(one.feature), *cells, Cell(say(f"related.kind.{kind}"), kind)))
    caption = say("related.features.caption")
    return Table("features", caption, _columns(say, heads), tuple(rows))


@dataclass(frozen=True, eq=False)
class Drawn:
    """A map that fits on a picture. Shapes: values (k, k)."""

    values: NDArray[np.float64]
    names: tuple[str, ...]
    tree: tuple[tuple[int, int, float, int], ...]
    binned: bool


def drawn_map(result: RelatednessFindings) -> Drawn:
    """Return the map of a result, many tasks as runs of neighbours."""
    names = distinct_names([result.tasks[place].task for place in result.order])
    matrix, n = result.matrix, len(result.order)
    if n <= _CELLS:
        return Drawn(matrix, tuple(names), result.tree, binned=False)
    ends = np.linspace(0, n, _CELLS + 1).astype(int)
    starts, sizes = ends[:-1], np.diff(ends)
    # The correlation of a task with itself says nothing about its run.
    off = matrix - np.eye(n)
    sums = np.add.reduceat(np.add.reduceat(off, starts, axis=0), starts, axis=1)
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    means = np.divide(sums, pairs, out=np.ones_like(sums), where=pairs > 0)
    return Drawn(means, tuple(names[k] for k in starts), (), binned=True)


def map_figure(result: RelatednessFindings, say: Translator) -> Figure:
    """Return the map of the tasks, its tree above it."""
    if not result.order:
        raise DataError(LazyMessage("related.refusal.no_map"))
    drawn, n = drawn_map(result), len(result.order)
    suffix = "" if result.source == "data" else f"_{result.source}"
    notes = [say(f"related.map.note{suffix}")]
    if drawn.binned:
        notes.append(say("related.map.bins", {"n": n, "cells": len(drawn.names)}))
    if n < result.n_informative:
        notes.append(say("related.map.cut", {"n": result.n_informative, "k": n}))

    def draw(ax: Axes) -> None:
        charts.figures.task_map(ax, drawn.values, drawn.names, drawn.tree)

    side = 1.2 + 0.16 * max(len(drawn.names), 12)
    return Figure("map-chart", say("related.section.map"), say("related.map.chart"), draw,
                  say.joined(notes), width=side + 1.6, height=side)  # fmt: skip


def task_frame(result: RelatednessFindings) -> pd.DataFrame:
    """Return one row per task, as in the data."""
    import pandas as pd

    tasks = result.tasks
    return pd.DataFrame(
        {
            "task": _labels([one.task for one in tasks]),
            "rows": np.array([one.rows for one in tasks], dtype=int),
            "closeness": np.array([one.closeness for one in tasks], dtype=float),
            "nearest": _labels([one.nearest for one in tasks]),
            "similarity": np.array([one.similarity for one in tasks], dtype=float),
            "group": pd.array([one.group for one in tasks], dtype="Int64"),
        }
    )


def _labels(values: Sequence[object]) -> pd.Series[Any]:
    import pandas as pd

    out = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # one by one: a tuple is one label
        out[place] = value
    return pd.Series(out, dtype=object)
