"""The report of a comparison, or of relatedness: a web page, Markdown, or JSON."""

from polytask.reporting.write import write_report

__all__ = ["write_report"]
