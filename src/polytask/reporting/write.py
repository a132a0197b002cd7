"""Write a report in the form that the name of the file asks for."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from polytask.exceptions import DataError, ParameterError
from polytask.io import records
from polytask.io.atomic import write_whole
from polytask.messages import LazyMessage, Translator
from polytask.reporting.document import Document
from polytask.reporting.html import notebook, page
from polytask.reporting.text import markdown, terminal

_SUFFIXES = (".html", ".md", ".json")


class Report(ABC):
    """A result that can be reported: what it does follows from its document and its fields."""

    @abstractmethod
    def document(self, lang: str = "en") -> Document:
        """Return the whole report as a plain document, which the renderers of reports take.

        Parameters
        ----------
        lang : {"en", "zh"}, default="en"
            English or Chinese.

        Returns
        -------
        Document
        """

    def summary(self, lang: str = "en") -> str:
        """Return what comes first in the report, one line for each sentence.

        Parameters
        ----------
        lang : {"en", "zh"}, default="en"
            English or Chinese.

        Returns
        -------
        str
        """
        return terminal(self.document(lang))

    def to_html(self, path: str | os.PathLike[str], lang: str = "en") -> Path:
        """Write the report as one web page that needs no other file and no network.

        Parameters
        ----------
        path : path-like
            The file, which ends in ``.html``; what is there is replaced.
        lang : {"en", "zh"}, default="en"
            English or Chinese.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ParameterError
            If the name does not end in ``.html``.
        DataError
            If it cannot be written.
        """
        if Path(path).suffix.lower() != ".html":
            raise ParameterError(
                LazyMessage("report.refusal.html", {"path": repr(os.fspath(path))})
            )
        return write_report(self, path, lang)

    def to_json(self) -> str:
        """Return all fields as JSON text; data and models are no part of it."""
        return records.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild a result from :meth:`to_json`; it can do all but refit a model.

        Raises
        ------
        DataError
            If the text is something else, or of a newer version.
        """
        return records.from_json(text, cls)

    def __str__(self) -> str:
        """Return :meth:`summary`."""
        return self.summary()

    def _repr_html_(self) -> str:
        """Return what comes first and the table, for notebooks."""
        return notebook(self.document())


def write_report(result: Report, path: str | os.PathLike[str], lang: str = "en") -> Path:
    """Write what was found, for people or for programs.

    Parameters
    ----------
    result : Comparison, Relatedness or Monitoring
        What :func:`polytask.compare`, also interrupted, :func:`polytask.relatedness` or
        :func:`polytask.monitor` returned.
    path : path-like
        ``.html``: one page that needs no other file and no network. ``.md``: Markdown that
        reads well in a terminal. ``.json``: all numbers, for
        :meth:`from_json` of its class. Without a suffix: a folder, made if need be, that gets
        ``report.html``, ``report.md`` and ``report.json``. What is there is replaced.
    lang : {"en", "zh"}, default="en"
        English or Chinese; JSON is the same in both.

    Returns
    -------
    Path
        The file, or the folder.

    Raises
    ------
    ParameterError
        If the suffix or the language is none of these.
    DataError
        If it cannot be written; no file is left half written.
    """
    Translator(lang)
    target = Path(path)
    if target.is_dir() or not target.suffix:
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(
                LazyMessage("report.refusal.folder", {"path": target, "reason": reason})
            ) from error
        for suffix in _SUFFIXES:
            _write(result, target / f"report{suffix}", lang)
        return target
    if target.suffix.lower() not in _SUFFIXES:
        allowed = ", ".join(_SUFFIXES)
        raise ParameterError(
            LazyMessage(
                "report.refusal.suffix", {"allowed": allowed, "path": repr(os.fspath(path))}
            )
        )
    _write(result, target, lang)
    return target


def _write(result: Report, path: Path, lang: str) -> None:
    """Write one form of a report."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        text = result.to_json() + "\n"
    else:
        text = (page if suffix == ".html" else markdown)(result.document(lang))
    write_whole(path, text.encode("utf-8"))
