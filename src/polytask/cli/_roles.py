"""What each column of a table is: task, target, identifier, weight or feature."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from polytask._checks import nearest
from polytask.exceptions import DataError, ParameterError

# A task, a group or a time may name the rows as well.
_MAY_NAME_ROWS = {(option, "--id") for option in ("--task", "--group", "--time")}


@dataclass(frozen=True)
class Wanted:
    """What the user said about the columns."""

    task: str | None = None
    weight: str | None = None
    group: str | None = None
    time: str | None = None
    targets: tuple[str, ...] = ()
    target_patterns: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    allow_leak: bool = False


@dataclass(frozen=True)
class Roles:
    """What each column is."""

    task: str | None
    weight: str | None
    targets: tuple[str, ...]
    ids: tuple[str, ...]
    features: tuple[str, ...]


def roles_of(wanted: Wanted, columns: Sequence[str], source: str) -> Roles:
    """Find out what each column of a table is."""
    single = [name for name in (wanted.task, wanted.weight) if name is not None]
    splitting = [name for name in (wanted.group, wanted.time) if name is not None]
    for name in (*single, *splitting, *wanted.targets):
        require(name, columns, source)
    targets = _distinct((*wanted.targets, *matching(wanted.target_patterns, columns, source)))
    ids = matching(wanted.ids, columns, source)
    _refuse_two_roles(wanted, targets, ids)
    taken = {*single, *targets, *ids}
    drop = set(matching(wanted.drop, columns, source))
    named = matching(wanted.features, columns, source, refused=taken)
    # What rows are held out by may be learned from too, but only if it is asked for.
    others = (name for name in columns if name not in splitting)
    features = tuple(name for name in named or others if name not in taken | drop)
    if not features:
        raise DataError(
            f"{source} has no column left to learn from: its columns are "
            f"{', '.join(map(repr, columns[:10]))}."
        )
    return Roles(wanted.task, wanted.weight, targets, ids, features)


def require(name: str, columns: Sequence[str], source: str) -> None:
    """Refuse the name of a column that is not there."""
    if name in columns:
        return
    shown = ", ".join(map(repr, columns[:10])) + (", ..." if len(columns) > 10 else "")
    raise DataError(
        f"{source} has no column {name!r}.{nearest(name, columns)} Its columns are {shown}."
    )


def matching(
    patterns: Sequence[str],
    columns: Sequence[str],
    source: str,
    refused: Iterable[str] = (),
) -> tuple[str, ...]:
    """Return the columns that names, patterns or lists with commas stand for, in table order."""
    found: set[str] = set()
    for pattern in _split(patterns, columns):
        if pattern in columns:
            if pattern in set(refused):
                raise ParameterError(
                    f"Column {pattern!r} cannot be a feature: it is the task, a target, an "
                    "identifier or the weight."
                )
            found.add(pattern)
            continue
        hits = fnmatch.filter(columns, pattern) if any(c in pattern for c in "*?[") else []
        if not hits and any(c in pattern for c in "*?["):
            raise DataError(f"{source} has no column that matches {pattern!r}.")
        if not hits:
            require(pattern, columns, source)
        found.update(hits)
    return tuple(name for name in columns if name in found)


def _split(patterns: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Split at commas, unless a column is called so."""
    words: list[str] = []
    for pattern in patterns:
        whole = pattern in columns or "," not in pattern
        words.extend([pattern] if whole else [word.strip() for word in pattern.split(",")])
    return [word for word in words if word]


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _refuse_two_roles(wanted: Wanted, targets: tuple[str, ...], ids: tuple[str, ...]) -> None:
    if wanted.group is not None and wanted.group == wanted.task:
        raise ParameterError(
            f"Column {wanted.group!r} is given as --task and as --group: to hold out whole tasks, "
            "say --unseen instead of --group."
        )
    roles: dict[str, list[str | None]] = {
        "--task": [wanted.task],
        "--target": [*targets],
        "--weight": [wanted.weight],
        "--group": [wanted.group],
        "--time": [wanted.time],
        "--id": [*ids],
    }
    seen: dict[str, str] = {}
    for option, names in roles.items():
        for name in names:
            if name is None:
                continue
            if name in seen and (seen[name], option) not in _MAY_NAME_ROWS:
                raise ParameterError(f"Column {name!r} is given as {seen[name]} and as {option}.")
            seen.setdefault(name, option)
