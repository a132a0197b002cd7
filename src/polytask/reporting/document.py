"""A plain document: what a result says, before it becomes text, Markdown or a page.

Sentences hold names of users between the marks of :func:`polytask.messages.marked`; renderers
set these apart in the way of their medium.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from polytask.messages import clean

Value = float | int | str | None


@dataclass(frozen=True)
class Paragraph:
    """A sentence or some; `role` "lead" stands out, "soft" stands back, "steps" are code."""

    text: str
    role: str = ""


@dataclass(frozen=True)
class Bullets:
    """Sentences of equal rank."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Names with values."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Code:
    """Code or data to be copied; folded where it is long."""

    text: str
    language: str
    title: str
    folded: bool = False


@dataclass(frozen=True)
class Column:
    """A column: what it is called in the data frame of the result, and in words."""

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


def own(label: object) -> Cell:
    """Return the cell of a name that the user chose."""
    text = clean(str(label))
    return Cell(text, text, own=True)


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows; where it is folded, `label` is what is shown."""

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False
    label: str = ""


@dataclass(frozen=True, eq=False)
class Figure:
    """A chart: what draws it on matplotlib Axes, and its size in inches.

    `marks` says what its shapes and colours mean, where the drawing is shown.
    """

    key: str
    title: str
    description: str
    draw: Callable[[Any], object]
    caption: str = ""
    width: float = 5.0
    height: float = 3.2
    marks: str = ""


Block = Paragraph | Bullets | Facts | Code | Table | Figure


@dataclass(frozen=True, eq=False)
class Section:
    """Blocks under a title; a section without blocks is left out."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, eq=False)
class Document:
    """What a result says: what comes first, warnings, and sections.

    `facts` and `source`, a command, say what was looked at; `tone` chooses the colour of the
    headline. A terminal shows `opening`, where there is one, `lead`, `warnings` and `closing`,
    which stands in a section of a page; `brief` is a table for terminals and notebooks.
    """

    lang: str
    title: str
    headline: str
    tone: str
    facts: tuple[str, ...]
    lead: tuple[Block, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    closing: tuple[str, ...] = ()
    opening: str = ""
    brief: Table | None = None
    source: str = ""

    def table(self, key: str) -> Table | None:
        """Return the table of a key, None where there is none."""
        found = (block for section in self.sections for block in section.blocks)
        return next((b for b in found if isinstance(b, Table) and b.key == key), None)
