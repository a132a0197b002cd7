"""Reports: plain documents in; text, Markdown, web pages and parts of notebooks out."""

from polytask.reporting.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Column,
    Document,
    Facts,
    Figure,
    Paragraph,
    Section,
    Table,
    own,
)
from polytask.reporting.html import notebook, page
from polytask.reporting.text import markdown, terminal, terminal_table
from polytask.reporting.write import Report, write_report

__all__ = [
    "Block",
    "Bullets",
    "Cell",
    "Code",
    "Column",
    "Document",
    "Facts",
    "Figure",
    "Paragraph",
    "Report",
    "Section",
    "Table",
    "markdown",
    "notebook",
    "own",
    "page",
    "terminal",
    "terminal_table",
    "write_report",
]
