"""A document as text: in a terminal, and as Markdown that also reads well as it is."""

from __future__ import annotations

import re
import unicodedata

from polytask.charts import width
from polytask.messages import CLOSE, OPEN, unmarked
from polytask.reporting.document import (
    Block,
    Bullets,
    Code,
    Document,
    Facts,
    Figure,
    Paragraph,
    Table,
)

_ACTIVE = re.compile(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w)|(?<!\w)#(?=\w))")
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_OWN = re.compile(f"{OPEN}(.*?){CLOSE}", re.DOTALL)


def terminal(document: Document) -> str:
    """Return what comes first in a document, a line for each sentence."""
    lines = [document.opening, *map(_line, document.lead)]
    lines += [*document.warnings, *document.closing]
    return unmarked("\n".join(line for line in lines if line))


def _line(block: Block) -> str:
    if isinstance(block, Paragraph):
        return block.text
    if isinstance(block, Code):
        return f"{block.title}\n" + "\n".join(f"  {line}" for line in block.text.splitlines())
    return "\n".join(block.items) if isinstance(block, Bullets) else ""


def terminal_table(table: Table) -> str:
    """Return a table for a terminal: the caption, and columns that stand below each other."""
    rows = [[column.title for column in table.columns]]
    rows += [[cell.text for cell in row] for row in table.rows]
    lines = (line.rstrip() for line in _aligned(table, rows, "  "))
    return unmarked("\n".join([table.caption, *lines]))


def markdown(document: Document) -> str:
    """Return a document as Markdown."""
    blocks = [f"# {_own(document.headline)}", _own(" · ".join(document.facts))]
    blocks += [_fenced(document.source, "sh")] if document.source else []
    blocks += [_block(block) for block in document.lead]
    blocks += [f"> **!** {_own(warning)}" for warning in document.warnings]
    for section in document.sections:
        blocks += [f"## {section.title}", *map(_block, section.blocks)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return f"**{_own(block.text)}**" if block.role == "lead" else _own(block.text)
        case Bullets():
            return "\n".join(f"- {_own(item)}" for item in block.items)
        case Facts():
            return "\n".join(f"- {name}: {_own(value)}" for name, value in block.items)
        case Table():
            return markdown_table(block)
        case Code():
            return f"{block.title}\n\n{_fenced(block.text, block.language)}"
        case Figure():
            return _own(block.caption)


def _fenced(text: str, language: str) -> str:
    """Return a block of code with a fence longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def markdown_table(table: Table) -> str:
    """Return a table of Markdown whose columns are also aligned in a terminal."""
    heads = [escaped(unmarked(column.title)) for column in table.columns]
    rows = [heads]
    for row in table.rows:
        rows.append([escaped(c.text) if c.own else _own(c.text) for c in row])
    widths = [max(3, *map(width, column)) for column in zip(*rows, strict=True)]
    ends = [":" if column.numeric else "-" for column in table.columns]
    rule = ["-" * (wide - 1) + end for wide, end in zip(widths, ends, strict=False)]
    head, *body = (f"| {line} |" for line in _aligned(table, rows, " | "))
    lines = (f"**{_own(table.caption)}**", "", head, f"| {' | '.join(rule)} |", *body)
    return "\n".join(lines)


def _aligned(table: Table, rows: list[list[str]], between: str) -> list[str]:
    """Return rows whose cells have the widths of their columns."""
    widths = [max(3, *map(width, column)) for column in zip(*rows, strict=True)]
    right = [column.numeric for column in table.columns]
    return [
        between.join(
            " " * (wide - width(cell)) + cell if is_right else cell + " " * (wide - width(cell))
            for cell, wide, is_right in zip(row, widths, right, strict=False)
        )
        for row in rows
    ]


def _own(sentence: str) -> str:
    return _OWN.sub(lambda found: escaped(found[1]), sentence)


def escaped(text: str) -> str:
    """Return a user's text so that Markdown shows it as it is."""
    plain = "".join(_MARKUP.get(c, c) for c in text)
    safe = _ACTIVE.sub(r"\\\1", plain)
    turned = any(unicodedata.bidirectional(c) in ("R", "AL") for c in text)
    return f"\u2068{safe}\u2069" if turned else safe
