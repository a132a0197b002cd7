"""Write a report in the form that the name of the file asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from polytask.comparison import Comparison
from polytask.exceptions import DataError, ParameterError
from polytask.io.atomic import write_whole
from polytask.messages import Translator
from polytask.reporting.markdown import markdown
from polytask.reporting.page import page
from polytask.reporting.relatedness import markdown as related_markdown
from polytask.reporting.relatedness import page as related_page
from polytask.task_relations import Relatedness

# Takes the result and the language, returns the text.
_Form = Callable[[Any, str], str]


def _json(result: Comparison | Relatedness, lang: str) -> str:
    return result.to_json() + "\n"


_SUFFIXES = (".html", ".md", ".json")
_FORMS: Mapping[type, Mapping[str, _Form]] = MappingProxyType(
    {
        Comparison: dict(zip(_SUFFIXES, (page, markdown, _json), strict=True)),
        Relatedness: dict(zip(_SUFFIXES, (related_page, related_markdown, _json), strict=True)),
    }
)


def write_report(
    result: Comparison | Relatedness, path: str | os.PathLike[str], lang: str = "en"
) -> Path:
    """Write what was found, for people or for programs.

    Parameters
    ----------
    result : Comparison or Relatedness
        What :func:`polytask.compare`, also interrupted, or :func:`polytask.relatedness`
        returned.
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
        _make_folder(target)
        for suffix in _SUFFIXES:
            _write(result, target / f"report{suffix}", lang)
        return target
    if target.suffix.lower() not in _SUFFIXES:
        allowed = ", ".join(_SUFFIXES)
        raise ParameterError(
            f"path of write_report must end in one of {allowed}, or be a folder; got "
            f"{os.fspath(path)!r}."
        )
    _write(result, target, lang)
    return target


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"Cannot make the folder {folder}: {error.strerror or error}.") from error


def _write(result: Comparison | Relatedness, path: Path, lang: str) -> None:
    content = _FORMS[type(result)][path.suffix.lower()](result, lang).encode("utf-8")

    def write(file: object) -> None:
        file.write(content)  # type: ignore[attr-defined]

    write_whole(path, write)
