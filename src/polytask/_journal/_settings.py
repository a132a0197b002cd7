"""Whether a journal belongs to this run: the entry of its header that differs, in a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from polytask._journal._encoding import to_text
from polytask.exceptions import DataError

_NAMED = 3
_WIDTH = 60


def check_same(held: object, wanted: object, path: str | os.PathLike[str], owner: str) -> None:
    """Raise :class:`DataError` unless the header of a file is that of this run."""
    there, here = dict(_leaves(held)), dict(_leaves(wanted))
    names = [name for name in here | there if there.get(name) != here.get(name)]
    if not names:
        return
    first, *others = names
    old, new = _shown(there.get(first), here.get(first))
    raise DataError(
        f"{owner} cannot resume from {os.fspath(path)}: its entry {first!r} {old}, and this run's "
        f"{new}{_also(others)}; choose another place (--out), or delete the file to start again."
    )


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the text of every entry that is no dictionary, or an empty one."""
    if isinstance(value, Mapping) and (value or not name):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, to_text(value, name)


def _also(names: list[str]) -> str:
    if not names:
        return ""
    listed = ", ".join(repr(name) for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f" (also different: {listed}{f' and {more} more' if more > 0 else ''})"


def _shown(old: str | None, new: str | None) -> tuple[str, str]:
    """Say what two entries are, long ones around the first letter that differs."""
    skipped = 0
    if old is not None and new is not None and max(len(old), len(new)) > _WIDTH:
        pairs = enumerate(zip(old, new, strict=False))
        same = next((at for at, (a, b) in pairs if a != b), min(len(old), len(new)))
        skipped = max(same - _WIDTH // 3, 0)
    return _excerpt(old, skipped), _excerpt(new, skipped)


def _excerpt(text: str | None, skipped: int) -> str:
    if text is None:
        return "is missing"
    before = "..." if skipped else ""
    after = "..." if len(text) > skipped + _WIDTH else ""
    return f"is {before}{text[skipped : skipped + _WIDTH]}{after}"
