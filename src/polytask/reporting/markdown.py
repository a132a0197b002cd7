"""The report as Markdown that also reads well as it is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from polytask.comparison import Comparison
from polytask.comparison import sentences as says
from polytask.messages import Translator, clean
from polytask.reporting import extras as _extras
from polytask.reporting import tables as _card
from polytask.reporting import tables as _tables
from polytask.reporting.tables import Cell, Table

# Columns of coefficients that fit a screen.
_COLUMNS = 8
_ACTIVE = re.compile(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w)|(?<!\w)#(?=\w))")
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_RIGHT_TO_LEFT = frozenset({"R", "AL"})


def markdown(result: Comparison, lang: str = "en") -> str:
    """Return the report as Markdown."""
    speech = Translator(lang, escaped)
    blocks = [
        f"# {says.headline(result, speech)}",
        _tables.capital(says.detail(result, speech)),
        says.groups(result, speech),
        *(f"> **!** {warning}" for warning in says.warnings(result, speech)),
        *_advice(result, speech),
        says.related(result, speech),
        *_models(result, speech),
        *_tasks(result, speech),
        *_sharing(result, speech),
        *_rest(result, speech),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def escaped(text: str) -> str:
    """Return a user's text so that Markdown shows it as it is."""
    plain = "".join(_MARKUP.get(c, c) for c in text)
    safe = _ACTIVE.sub(r"\\\1", plain)
    turned = any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in text)
    return f"\u2068{safe}\u2069" if turned else safe


def _advice(result: Comparison, speech: Translator) -> list[str]:
    actions = [f"- {action}" for action in says.actions(result, speech)]
    use = says.recommendation(result, speech)
    if not use and not actions:
        return []
    lines = [f"**{use}**" if use else "", says.luck(result, speech), "\n".join(actions)]
    return [f"## {speech('section.do')}", *(line for line in lines if line)]


def _models(result: Comparison, speech: Translator) -> list[str]:
    blocks = [f"## {speech('section.models')}"]
    if not result.models:
        return [*blocks, speech("models.none")]
    tables = (
        _tables.score_table(result, speech),
        _tables.metric_table(result, speech),
        _tables.cost_table(result, speech),
    )
    undefined = any(row.undefined for row in result.models)
    return [
        *blocks,
        *(table_text(table) for table in tables if table is not None),
        speech("models.undefined_note") if undefined else "",
        says.trees(result, speech),
        says.networks(result, speech),
        speech("page.words"),
    ]


def _tasks(result: Comparison, speech: Translator) -> list[str]:
    if not result.tasks:
        return [f"## {speech('section.tasks')}", speech("tasks.none")]
    metric = says.metric_word(result.setup, speech)
    return [
        f"## {speech('section.tasks')}",
        speech("tasks.note", {"metric": metric}),
        table_text(_tables.task_table(result, speech)),
    ]


def _sharing(result: Comparison, speech: Translator) -> list[str]:
    blocks, two = [], _tables.two_by_two_table(result, speech)
    if two is not None:
        blocks += [
            f"## {speech('section.two')}",
            says.two_by_two(result, speech),
            speech("two.note"),
            table_text(two),
        ]
    found = result.coefficients
    if found is not None:
        shown = {"rows": len(found.features), "columns": min(len(found.columns), _COLUMNS)}
        counts = {"all_rows": found.n_features, "all_columns": found.n_columns}
        blocks += [
            f"## {speech('section.features')}",
            speech("features.note", {"model": speech.name(found.model)}) if found.model else "",
            speech("features.cut", shown | counts),
            table_text(_tables.coefficient_table(found, _COLUMNS, speech)),
        ]
    for title, said, tables in _extras.blocks(result, speech):
        blocks += [f"## {title}", *said, *map(table_text, tables)]
    return blocks


def _rest(result: Comparison, speech: Translator) -> list[str]:
    card = [f"- {name}: {value}" for name, value in _card.data_card(result, speech)]
    notes = [f"- {text}" for text in says.notes(result, speech)] or [speech("notes.none")]
    call = _card.call_of(result.lock)
    return [
        f"## {speech('section.card')}",
        "\n".join(card),
        f"## {speech('section.warnings')}",
        "\n".join(notes),
        f"## {speech('section.repeat')}",
        _fenced(clean(call), "sh") if call else "",
        _fenced(_card.lock_text(result.lock), "json"),
    ]


def _fenced(text: str, kind: str) -> str:
    """Return a block of code with a fence longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{kind}\n{text}\n{fence}"


def table_text(table: Table) -> str:
    """Return a table whose columns are also aligned in a terminal."""
    heads = [escaped(column.title) for column in table.columns]
    body = [[_shown(cell) for cell in row] for row in table.rows]
    widths = [max(map(_width, column)) for column in zip(heads, *body, strict=True)]
    right = [column.numeric for column in table.columns]
    rule = [
        "-" * (max(w, 3) - 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)
    ]
    lines = [_line(cells, widths, right) for cells in (heads, rule, *body)]
    return "\n".join([f"**{_tables.capital(table.caption)}**", "", *lines])


def _shown(cell: Cell) -> str:
    return escaped(cell.text) if cell.own else cell.text


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        " " * gap + cell if is_right else cell + " " * gap
        for cell, width, is_right in zip(cells, widths, right, strict=True)
        for gap in (max(width, 3) - _width(cell),)
    ]
    return f"| {' | '.join(padded)} |"


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    hidden = sum(unicodedata.category(c) in ("Mn", "Cf") for c in text)
    return len(text) + wide - hidden
