"""The report as one web page that needs no other file and no network."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from polytask import charts
from polytask.comparison import Comparison
from polytask.comparison import sentences as says
from polytask.comparison.presenting import ends, task_names
from polytask.comparison.records import Coefficients, Interval, TaskGain
from polytask.messages import Translator, clean
from polytask.reporting import extras as _extras
from polytask.reporting import tables as _card
from polytask.reporting import tables as _tables
from polytask.reporting.drawing import Chart, Line, chart, dressed

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


# Around names of users within sentences. No cleaned text holds them.
OPEN, CLOSE = "\x02", "\x03"
# Tables of tasks up to this length are open from the start.
_OPEN_ROWS = 30
# Columns of the heat map.
_COLUMNS = 60
_GROUPS = ("gain", "unclear", "lose")


def page(result: Comparison, lang: str = "en") -> str:
    """Return the report as HTML."""
    marked = Translator(lang, lambda name: f"{OPEN}{name}{CLOSE}")
    context = {
        **_words(result, marked),
        **_pictures(result, Translator(lang)),
        **_numbers(result, Translator(lang)),
        **_extras.context(result, Translator(lang), marked),
    }
    return rendered("report.html", context, lang)


def rendered(template: str, context: Mapping[str, Any], lang: str) -> str:
    """Return a page from its template."""
    script = _source("sort.js")
    common = {
        "say": Translator(lang),
        "style": _markup(_source("style.css")),
        "script": _markup(script),
        # Only this script may run, whatever a string of the user holds.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return _environment().get_template(template).render(common | dict(context))


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("polytask.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(capital=_tables.capital, named=_named)
    return environment


@functools.cache
def _source(name: str) -> str:
    text = files("polytask.reporting").joinpath("templates", name).read_text(encoding="utf-8")
    return text.strip()


def _markup(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)


def _named(sentence: str) -> Markup:
    """Escape a sentence and set names of users apart, so that they keep their direction."""
    from markupsafe import Markup, escape

    text = str(escape(sentence))
    return Markup(text.replace(OPEN, '<bdi class="own">').replace(CLOSE, "</bdi>"))


def _words(result: Comparison, speech: Translator) -> dict[str, Any]:
    """Return what the page says in sentences."""
    setup = result.setup
    counts = (("tasks", setup.n_tasks), ("rows", setup.n_rows), ("features", setup.n_features),
              ("splits", setup.n_splits), ("models", len(result.models)))  # fmt: skip
    return {
        "tone": result.verdict.replace(" ", "-") if math.isfinite(result.gain.mean) else "none",
        "headline": says.headline(result, speech),
        "detail": says.detail(result, speech),
        "related": says.related(result, speech),
        "facts": [speech(f"count.{name}", {"n": n}) for name, n in counts],
        "groups": says.groups(result, speech),
        "use": says.recommendation(result, speech),
        "luck": says.luck(result, speech),
        "trees": says.trees(result, speech),
        "networks": says.networks(result, speech),
        "actions": says.actions(result, speech),
        "warnings": says.warnings(result, speech),
        "two_sentence": says.two_by_two(result, speech),
        "notes": says.notes(result, speech),
        "metric": says.metric_word(setup, speech),
        "features_note": ""
        if result.coefficients is None or not result.coefficients.model
        else speech("features.note", {"model": speech.name(result.coefficients.model)}),
    }


def _pictures(result: Comparison, speech: Translator) -> dict[str, Any]:
    """Return the charts."""
    differences = _differences(result, speech)
    two = _two_differences(result, speech)
    shown = [task for task in result.tasks if math.isfinite(task.gain)]
    drawn = ends(len(result.tasks))
    cut = len(drawn) < len(result.tasks)
    return {
        "why_chart": chart(_own_lines(differences, speech), around_zero=True),
        "model_chart": _model_chart(result, speech),
        "task_chart": _task_chart(result, drawn, speech),
        "task_cut": len(drawn) // 2 if cut else 0,
        "n_between": len(result.tasks) - len(drawn),
        "n_tasks": len(result.tasks),
        "group_counts": _group_counts(result.tasks),
        "size_svg": _size_svg(shown, speech) if len(shown) > 1 else None,
        "two_chart": chart(_own_lines(two, speech), around_zero=True) if two else None,
        "heat": None if result.coefficients is None else _heat(result.coefficients),
    }


def _differences(result: Comparison, speech: Translator) -> list[tuple[str, Interval]]:
    found = {
        "sharing": result.gain,
        "pooling": result.pooling_gain,
        "trees": result.trees_gain,
        "networks": result.networks_gain,
        "networks_sharing": result.networks_sharing,
    }
    return [
        (speech(f"why.{name}"), gain)
        for name, gain in found.items()
        if gain is not None and math.isfinite(gain.mean)
    ]


def _two_differences(result: Comparison, speech: Translator) -> list[tuple[str, Interval]]:
    table = result.two_by_two
    if table is None:
        return []
    return [
        (speech("two.shrinkage"), table.shrinkage_gain),
        (speech("two.sharing"), table.sharing_gain),
    ]


def _own_lines(named: Sequence[tuple[str, Interval]], speech: Translator) -> list[Line]:
    return [
        Line(name, gain, _group_of(gain), says.interval_words(gain, speech), own=False)
        for name, gain in named
    ]


def _group_of(gain: Interval) -> str:
    return "gain" if gain.above else "lose" if gain.below else "unclear"


def _model_chart(result: Comparison, speech: Translator) -> Chart:
    cells = [row[1].text for row in _tables.score_table(result, speech).rows]
    lines = [
        Line(
            clean(row.name),
            row.score,
            "gain" if row.name == result.recommended else "unclear",
            text,
            marked=row.name == result.recommended,
        )
        for row, text in zip(result.models, cells, strict=True)
    ]
    return chart(lines, around_zero=False)


def _task_chart(result: Comparison, drawn: Sequence[int], speech: Translator) -> Chart:
    tasks, names = [result.tasks[k] for k in drawn], task_names(result)
    intervals = [Interval(task.gain, task.low, task.high) for task in tasks]
    places = _tables.common_places(intervals)
    lines = [
        Line(names[k], interval, task.group, speech.number(task.gain, places, signed=True))
        for k, task, interval in zip(drawn, tasks, intervals, strict=True)
    ]
    return chart(lines, around_zero=True)


def _group_counts(tasks: Sequence[TaskGain]) -> list[tuple[str, int]]:
    return [(group, sum(task.group == group for task in tasks)) for group in _GROUPS]


def _size_svg(tasks: Sequence[TaskGain], speech: Translator) -> Markup:
    """Draw the gains against rows; the words of the axes are on the page, not in the drawing."""

    def draw(ax: Any) -> None:  # noqa: ANN401 - Axes
        charts.gain_against_size(
            ax,
            [task.rows for task in tasks],
            [task.gain for task in tasks],
            [task.low for task in tasks],
            [task.high for task in tasks],
            [task.group for task in tasks],
            labels=("", ""),
        )

    drawing = charts.svg(draw, 5.2, 3.4)
    return dressed(drawing, "size", speech("section.size"), speech("size.desc"))


def _heat(found: Coefficients) -> dict[str, Any]:
    """Return the cells of the heat map: a name, and per cell a side and a strength."""
    values = [row[:_COLUMNS] for row in found.values]
    sizes = [abs(v) for row in values for v in row if math.isfinite(v)]
    largest = max(sizes, default=0.0)

    def cell(value: float) -> tuple[str, str]:
        if not math.isfinite(value):
            return "none", "1"
        strength = abs(value) / largest if largest else 0.0
        return ("gain" if value > 0 else "lose"), f"{strength:.3f}"

    names = [clean(str(name)) for name in found.features]
    return {
        "columns": [clean(str(name)) for name in found.columns[:_COLUMNS]],
        "rows": [(name, [cell(v) for v in row]) for name, row in zip(names, values, strict=True)],
        "largest": largest,
        "counts": {
            "rows": len(found.features),
            "all_rows": found.n_features,
            "columns": min(len(found.columns), _COLUMNS),
            "all_columns": found.n_columns,
        },
    }


def _numbers(result: Comparison, speech: Translator) -> dict[str, Any]:
    """Return the tables, the data card and the lock."""
    metric = says.metric_word(result.setup, speech)
    two = _two_differences(result, speech)
    found = result.coefficients
    return {
        "why_table": _tables.difference_table(
            _differences(result, speech), speech("why.caption", {"metric": metric}), speech
        ),
        "score_table": _tables.score_table(result, speech),
        "metric_table": _tables.metric_table(result, speech),
        "cost_table": _tables.cost_table(result, speech),
        "any_undefined": any(row.undefined for row in result.models),
        "task_table": _tables.task_table(result, speech),
        "tasks_open": len(result.tasks) <= _OPEN_ROWS,
        "two_table": _tables.two_by_two_table(result, speech),
        "two_gains": _tables.difference_table(
            two, speech("two.gains", {"metric": metric}), speech
        ),
        "heat_table": None
        if found is None
        else _tables.coefficient_table(found, _COLUMNS, speech),
        "card": _card.data_card(result, speech),
        "call": _card.call_of(result.lock),
        "lock": _card.lock_text(result.lock),
    }
