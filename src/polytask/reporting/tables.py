"""The tables of a report: exact values with the words that show them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from polytask.comparison import Comparison
from polytask.comparison.presenting import further_metrics, task_names
from polytask.comparison.records import Coefficients, Interval, ModelRow, Setup, TaskGain
from polytask.comparison.sentences import metric_word, more_data
from polytask.io.records import free_node
from polytask.messages import Translator, clean, decimals, plain_number


def data_card(result: Comparison, speech: Translator) -> list[tuple[str, str]]:
    """Return what was compared, on what, and how."""
    setup = result.setup
    splits = {"done": setup.n_splits, "planned": setup.planned}
    how = speech.word("splits", setup.splits)
    values = {
        "rows": _rows(setup, speech),
        "tasks": f"{setup.n_tasks:,}",
        "features": f"{setup.n_features:,}",
        "form": speech.word("form", setup.form),
        "problem": speech.word("problem", setup.problem),
        "metric": _metric(setup, speech),
        "splits": speech("card.n_splits", splits | {"how": how}),
        "rule": speech("card.rule_text"),
        "margin": f"{result.margin:.3g}",
        "weighted": speech("card.yes" if setup.weighted else "card.no"),
        "seed": str(setup.seed),
        "seconds": speech("card.time", {"value": plain_number(result.seconds)}),
    }
    return [(speech(f"card.{name}"), value) for name, value in values.items()]


def _rows(setup: Setup, speech: Translator) -> str:
    low, median, high = setup.rows_per_task
    if low == high:
        return speech("card.rows_equal", {"n": setup.n_rows, "each": low})
    spread: dict[str, str | int] = {"low": low, "high": high, "median": f"{median:,.6g}"}
    return speech("card.rows_per_task", spread | {"n": setup.n_rows})


def _metric(setup: Setup, speech: Translator) -> str:
    fields = {"metric": metric_word(setup, speech)}
    if setup.metric == "d2":
        classes = setup.problem == "classification"
        return speech("means.d2.classification" if classes else "means.d2", fields)
    return speech("means.more" if setup.greater_is_better else "means.less", fields)


def call_of(lock: dict[str, Any]) -> str:
    """Return the call or command that a lock holds, empty if it holds none."""
    command = lock.get("command", lock.get("call", ""))
    line = command.get("line", "") if isinstance(command, dict) else command
    return line if isinstance(line, str) else ""


def lock_text(lock: dict[str, Any]) -> str:
    """Return a lock as JSON that can be read."""
    return json.dumps(free_node(lock), ensure_ascii=False, indent=2)


Value = float | int | str | None


@dataclass(frozen=True)
class Column:
    """A column: what it is called in :meth:`Comparison.to_frame`, and in words."""

    name: str
    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the exact value behind it; `own` marks a string of the user."""

    text: str
    value: Value = None
    own: bool = False

    @property
    def exact(self) -> str:
        """The value in full precision, empty if there is none."""
        return "" if self.value is None else str(self.value)


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows."""

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def own(label: object) -> Cell:
    """Return the cell of a name that the user chose."""
    text = clean(str(label))
    return Cell(text, text, own=True)


def capital(text: str) -> str:
    """Return a text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


def metric_title(name: str, speech: Translator) -> str:
    """Return a metric's name for the head of a column."""
    return speech.word("short", name)


def common_places(intervals: Iterable[Interval]) -> int:
    """Return the digits that the widest interval leaves."""
    listed = list(intervals)
    return decimals([(i.high - i.low) / 2 for i in listed], [i.mean for i in listed])


def _float_cells(
    values: Sequence[float], speech: Translator, *, signed: bool = False
) -> list[Cell]:
    """Return numbers without intervals, all with the same digits after the point."""
    places = decimals((), values)
    return [Cell(speech.number(v, places, signed=signed), float(v)) for v in values]


def _measure(value: float, speech: Translator) -> Cell:
    """Return a cost, with three digits whatever its size."""
    text = plain_number(value) if math.isfinite(value) else speech("number.missing")
    return Cell(text, float(value))


def _count(value: int | None, speech: Translator) -> Cell:
    return Cell(speech("number.missing") if value is None else f"{value:,}", value)


def _interval_cells(
    interval: Interval, places: int, speech: Translator, *, signed: bool
) -> tuple[Cell, ...]:
    return tuple(Cell(speech.number(v, places, signed=signed), float(v)) for v in interval)


def _columns(
    speech: Translator, names: Sequence[str], numeric: Iterable[str]
) -> tuple[Column, ...]:
    kept = set(numeric)
    return tuple(Column(name, speech(f"column.{name}"), name in kept) for name in names)


def score_table(result: Comparison, speech: Translator) -> Table:
    """Return the leaderboard: the verdict's metric of every model, best first."""
    numeric = ("score", "low", "high", "picked")
    places = common_places(row.score for row in result.models)
    rows = tuple(
        (
            own(row.name),
            *_interval_cells(row.score, places, speech, signed=False),
            Cell(f"{row.picked:,}", row.picked),
            Cell(speech.word("kind", row.kind), row.kind),
            Cell(speech.word("family", row.family), row.family),
        )
        for row in result.models
    )
    caption = speech("models.scores", {"metric": metric_word(result.setup, speech)})
    return Table(
        "scores", caption, _columns(speech, ("model", *numeric, "kind", "family"), numeric), rows
    )


def metric_table(result: Comparison, speech: Translator) -> Table | None:
    """Return the further metrics of every model; None if there are none."""
    names = further_metrics(result)
    if not names:
        return None
    columns = [_metric_cells(result.models, name, speech) for name in names]
    rows = tuple(
        (own(row.name), *(column[i] for column in columns)) for i, row in enumerate(result.models)
    )
    heads = [Column(name, metric_title(name, speech), numeric=True) for name in names]
    head = Column("model", speech("column.model"))
    return Table("metrics", speech("models.metrics"), (head, *heads), rows)


def _metric_cells(models: Sequence[ModelRow], name: str, speech: Translator) -> list[Cell]:
    cells = _float_cells([row.metrics.get(name, float("nan")) for row in models], speech)
    return [
        _with_undefined(cell, row.undefined.get(name, 0), speech)
        for cell, row in zip(cells, models, strict=True)
    ]


def _with_undefined(cell: Cell, n: int, speech: Translator) -> Cell:
    if not n:
        return cell
    return Cell(speech("models.undefined", {"value": cell.text, "n": n}), cell.value)


def cost_table(result: Comparison, speech: Translator) -> Table:
    """Return what the models cost: time, parameters, bytes."""
    names = ("fit_seconds", "predict_seconds", "nonzero", "file_bytes")
    rows = tuple(
        (
            own(row.name),
            _measure(row.fit_seconds, speech),
            _measure(row.predict_seconds, speech),
            _count(row.nonzero, speech),
            Cell(_bytes(row.file_bytes, speech), row.file_bytes),
        )
        for row in result.models
    )
    return Table("costs", speech("models.costs"), _columns(speech, ("model", *names), names), rows)


def _bytes(size: int | None, speech: Translator) -> str:
    if size is None:
        return speech("number.missing")
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{plain_number(size / factor)} {unit}"
    return f"{size} B"


def task_table(result: Comparison, speech: Translator) -> Table:
    """Return the gain of every task, largest first."""
    tasks = result.tasks
    places = common_places(Interval(task.gain, task.low, task.high) for task in tasks)
    names = ("task", "rows", "gain", "low", "high", "group", "action", "more_rows", "raw")
    numeric = ("rows", "gain", "low", "high", "more_rows", "raw")
    caption = speech("tasks.caption", {"metric": metric_word(result.setup, speech)})
    named = zip(task_names(result), tasks, strict=True)
    rows = tuple(_task_row(name, task, places, result.setup, speech) for name, task in named)
    return Table("tasks", caption, _columns(speech, names, numeric), rows)


def _task_row(
    name: str, task: TaskGain, places: int, setup: Setup, speech: Translator
) -> tuple[Cell, ...]:
    more = task.more_rows
    # Where rows come in time, nobody can collect so many at once.
    words = f"{more:,}" if more else ""
    if more and setup.times:
        words = more_data(more / task.rows, more, setup, speech)
    return (
        own(name),
        _count(task.rows, speech),
        *_interval_cells(Interval(task.gain, task.low, task.high), places, speech, signed=True),
        Cell(speech.word("group", task.group), task.group),
        Cell(speech.word("verb", task.action), task.action),
        Cell(words, more),
        Cell(speech.number(task.raw, places, signed=True), float(task.raw)),
    )


def difference_table(
    lines: Sequence[tuple[str, Interval]],
    caption: str,
    speech: Translator,
    key: str = "differences",
) -> Table:
    """Return named differences with their intervals."""
    places = common_places(interval for _, interval in lines)
    names = ("difference", "gain", "low", "high")
    rows = tuple(
        (Cell(name, name), *_interval_cells(interval, places, speech, signed=True))
        for name, interval in lines
    )
    return Table(key, caption, _columns(speech, names, names[1:]), rows)


def two_by_two_table(result: Comparison, speech: Translator) -> Table | None:
    """Return the scores with and without penalty, separate and joint; None if not known."""
    found = result.two_by_two
    if found is None:
        return None
    places = common_places(
        (found.separate_none, found.separate_tuned, found.joint_none, found.joint_tuned)
    )

    def row(name: str, none: Interval, tuned: Interval) -> tuple[Cell, ...]:
        label = speech(f"two.rows.{name}")
        show = interval_shower(places, speech)
        return Cell(label, label), show(none), show(tuned)

    columns = (
        Column("", ""),
        Column("none", speech("two.none"), numeric=True),
        Column("tuned", speech("two.tuned"), numeric=True),
    )
    rows = (
        row("separate", found.separate_none, found.separate_tuned),
        row("joint", found.joint_none, found.joint_tuned),
    )
    caption = speech("two.caption", {"metric": metric_word(result.setup, speech)})
    return Table("two", caption, columns, rows)


def interval_shower(
    places: int, speech: Translator, *, signed: bool = False
) -> Callable[[Interval], Cell]:
    """Return what makes cells of means with their intervals."""

    def show(interval: Interval) -> Cell:
        mean = speech.number(interval.mean, places, signed=signed)
        if not math.isfinite(interval.high - interval.low):
            return Cell(mean, interval.mean)
        ends = {name: speech.number(getattr(interval, name), places) for name in ("low", "high")}
        return Cell(speech("number.interval", {"mean": mean, **ends}), interval.mean)

    return show


def coefficient_table(found: Coefficients, n_columns: int, speech: Translator) -> Table:
    """Return the first columns of the coefficients on the heat map."""
    columns = [
        Column(f"column{j}", clean(str(name)), numeric=True)
        for j, name in enumerate(found.columns[:n_columns])
    ]
    places = decimals((), [v for row in found.values for v in row])
    rows = tuple(
        (
            own(name),
            *(Cell(speech.number(v, places, signed=True), float(v)) for v in values[:n_columns]),
        )
        for name, values in zip(found.features, found.values, strict=True)
    )
    head = Column("feature", speech("column.feature"))
    return Table("coefficients", speech("features.caption"), (head, *columns), rows)
