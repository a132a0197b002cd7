"""The tables and words that the forms of a report on relatedness have in common."""

from __future__ import annotations

import math

from polytask._messages import Speech, plain_number
from polytask.analysis import Relatedness
from polytask.analysis import _related_sentences as says
from polytask.analysis._related_presenting import task_names
from polytask.report._tables import Cell, Column, Table, own

# Rows of the table of tasks on a page.
ROWS = 1000


def task_table(result: Relatedness, speech: Speech) -> Table:
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


def pair_table(result: Relatedness, speech: Speech) -> Table:
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


def feature_table(result: Relatedness, speech: Speech) -> Table:
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


def _correlation(value: float, speech: Speech) -> Cell:
    return Cell(speech.number(value, 2, signed=True), value)


def shares_of(result: Relatedness) -> list[tuple[str, float]]:
    """Return the shares by name; none if they are not known."""
    shares = result.shares
    if not math.isfinite(shares.common):
        return []
    return [(name, getattr(shares, name)) for name in ("common", "clustered", "own")]


def method(result: Relatedness, speech: Speech) -> list[str]:
    """Return how it was judged, in sentences."""
    if result.source != "data":
        return [speech(f"related.method.{result.source}")]
    if not result.p_values:
        return []
    fields: dict[str, str | int] = {"n": result.n_permutations, "seed": str(result.seed)}
    return [speech("related.method.null", fields)]


def p_lines(result: Relatedness, speech: Speech) -> list[str]:
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


def map_notes(result: Relatedness, speech: Speech, cells: int) -> list[str]:
    """Return how the map is to be read."""
    n = len(result.order)
    suffix = "" if result.source == "data" else f"_{result.source}"
    said = [speech(f"related.map.note{suffix}")]
    if cells < n:
        said.append(speech("related.map.bins", {"n": n, "cells": cells}))
    if n < result.n_telling:
        said.append(speech("related.map.cut", {"n": result.n_telling, "k": n}))
    return said
