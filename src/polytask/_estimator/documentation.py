"""Docstrings of estimators that have most of their parameters in common, written once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_HEADING = re.compile(r"\n\n(\w+)\n-+\n")
# Sections of entries such as ``name : type``, and the order of all.
_ENTRIES = ("Parameters", "Attributes")
_ORDER = (*_ENTRIES, "Raises", "Notes", "References", "Examples")


def documented(base: type) -> Callable[[type[T]], type[T]]:
    """Write what a base says of its parameters and attributes into the docstring of a class.

    An entry of the class itself replaces that of the base; parameters that the class lacks are
    left out; the text of other sections follows that of the base.

    Parameters
    ----------
    base : type
        The class with the common sections.

    Returns
    -------
    callable
        A decorator of classes.
    """

    def write(cls: type[T]) -> type[T]:
        if cls.__doc__ is None or base.__doc__ is None:  # as under python -OO
            return cls
        intro, sections = _sections(cls.__doc__)
        shared = _sections(base.__doc__)[1]
        for title in _ENTRIES:
            entries = _named(shared.get(title, "")) | _named(sections.get(title, ""))
            if title == "Parameters":
                entries = {name: entries[name] for name in inspect.signature(cls).parameters}
            shared[title], sections[title] = "\n".join(entries.values()), ""
        parts = [intro]
        for title in _ORDER:
            text = "\n\n".join(filter(None, (shared.get(title), sections.get(title))))
            parts += [f"{title}\n{'-' * len(title)}\n{text}"] if text else []
        cls.__doc__ = "\n\n".join(parts)
        return cls

    return write


def _sections(docstring: str) -> tuple[str, dict[str, str]]:
    intro, *parts = _HEADING.split(inspect.cleandoc(docstring))
    return intro, dict(zip(parts[::2], parts[1::2], strict=True))


def _named(text: str) -> dict[str, str]:
    entries = re.split(r"\n(?=\S)", text) if text else []
    return {entry.partition(" :")[0].partition("\n")[0]: entry for entry in entries}
