"""Write a report in the form that the name of the file asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from polytask._messages import Speech
from polytask.analysis import Comparison
from polytask.analysis._plain import to_json
from polytask.data._atomic import write_whole
from polytask.exceptions import DataError, ParameterError
from polytask.report._markdown import markdown
from polytask.report._page import page

# Takes the comparison and the language, returns the text.
_FORMS: Mapping[str, Callable[[Comparison, str], str]] = MappingProxyType(
    {
        ".html": page,
        ".md": markdown,
        ".json": lambda result, lang: to_json(result) + "\n",
    }
)


def write_report(result: Comparison, path: str | os.PathLike[str], lang: str = "en") -> Path:
    """Write what a comparison found, for people or for programs.

    Parameters
    ----------
    result : Comparison
        What :func:`polytask.compare` returned, also of an interrupted run.
    path : path-like
        ``.html``: one page that needs no other file and no network. ``.md``: Markdown that
        reads well in a terminal. ``.json``: all numbers, for
        :meth:`Comparison.from_json`. Without a suffix: a folder, made if need be, that gets
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
    Speech(lang)
    target = Path(path)
    if target.is_dir() or not target.suffix:
        _make_folder(target)
        for suffix in _FORMS:
            _write(result, target / f"report{suffix}", lang)
        return target
    if target.suffix.lower() not in _FORMS:
        allowed = ", ".join(_FORMS)
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


def _write(result: Comparison, path: Path, lang: str) -> None:
    content = _FORMS[path.suffix.lower()](result, lang).encode("utf-8")

    def write(file: object) -> None:
        file.write(content)  # type: ignore[attr-defined]

    write_whole(path, write)
