"""``polytask rerun``: repeat a comparison and say whether every number is the same."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from typing import Annotated, Any

from polytask._checks import nearest, of_system
from polytask._options import argument, option
from polytask.cli.console import DONE, note, say
from polytask.cli.files import RowSource, require_file
from polytask.cli.folder import LOCK, SCORES, TASKS, checksum, files_of, read_lock
from polytask.cli.options import Running, Vary, command
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

# What depends on the machine and on how busy it is.
COSTS = frozenset({"fit_seconds", "predict_seconds", "file_bytes"})

Rows = list[list[str]]


# What is said of the numbers, by an earlier version in other words.
_WORDS = frozenset({"kind", "group", "action"})


def first_difference(old: str, new: str) -> LazyMessage | str:
    """Say where two CSV files differ first, costs left out."""
    before, now = _read(old), _read(new)
    if before[0] != now[0]:
        return LazyMessage(
            "cli.what.other_columns", {"old": old, "before": [*before[0]], "now": [*now[0]]}
        )
    if len(before) != len(now):
        return LazyMessage(
            "cli.what.other_rows", {"old": old, "before": len(before) - 1, "now": len(now) - 1}
        )
    for first, second in zip(before[1:], now[1:], strict=True):
        for column, a, b in zip(before[0], first, second, strict=True):
            if a != b and column not in COSTS | _WORDS:
                return LazyMessage(
                    "cli.what.other_value",
                    {"column": column, "first": repr(first[0]), "a": a, "b": b},
                )
    return ""


def _read(path: str) -> Rows:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        raise DataError(of_system("read", path, error)) from None
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise DataError(LazyMessage("cli.refusal.no_table", {"path": path}))
    return rows


DIFFERENT = 3


@dataclass(frozen=True)
class RepeatedComparison:
    """The comparison to repeat."""

    PANEL = "help.panel.arguments"

    lock: str = argument("help.lock", "LOCK", default=MISSING)


EXAMPLES = f"""\
  polytask rerun exams/{LOCK}

  polytask rerun exams/{LOCK} --out again --jobs 2
"""


def rerun(
    comparison: RepeatedComparison,
    running: Annotated[
        Running,
        Vary(
            ("force", "json", "resume", "time_budget", "seed", "config"),
            {"out": option("help.rerun.out", metavar="DIR")},
        ),
    ],
) -> int:
    """Repeat a comparison in a new folder and compare the numbers."""
    from polytask.io.model_file import versions

    path = comparison.lock
    require_file(path, LazyMessage("cli.what.lock", {"lock": LOCK}))
    held = read_lock(path)
    before = held["command"]
    if not before["complete"]:
        raise DataError(
            LazyMessage("cli.refusal.stopped", {"path": path, "before": before["line"]})
        )
    old = os.path.dirname(path) or "."
    target = _new_folder(old, running.out)
    base = _base(old, before)
    _check_files(base, before)
    known = held.get("versions")
    known = known if isinstance(known, dict) else {}
    for name, version in versions().items():
        if known.get(name) != version:
            fields = {"package": name, "old": known.get(name, "?"), "new": version}
            note(LazyMessage("cli.note.version", fields))
    options = _options(base, before["options"], running.jobs)
    if running.lang != "en":
        options["lang"] = running.lang
    status = _run(options, target)
    if status != DONE:
        return status
    speech = replace(running, lang=options.get("lang", "en")).speech
    say()
    for name in (SCORES, TASKS):
        found = first_difference(os.path.join(old, name), os.path.join(target, name))
        if found:
            say(LazyMessage("cli.rerun.different", {"what": found}).text(speech))
            return DIFFERENT
    say(speech("cli.rerun.same", {"scores": SCORES, "tasks": TASKS}))
    return DONE


def _new_folder(old: str, out: str | None) -> str:
    if out is not None:
        if os.path.exists(out) and (not os.path.isdir(out) or os.listdir(out)):
            raise DataError(LazyMessage("cli.refusal.rerun_exists", {"path": out}))
        return out
    name = f"{os.path.abspath(old)}-rerun"
    free, count = name, 1
    while os.path.exists(free):
        count += 1
        free = f"{name}-{count}"
    return free if os.path.isabs(old) else os.path.relpath(free)


def _base(old: str, command: Mapping[str, Any]) -> str:
    """Return the folder that the paths of the data start from: where it was run, or here."""
    first = os.path.normpath(os.path.join(old, command["folder"]))
    for base in (first, os.curdir):
        if all(os.path.isfile(os.path.join(base, file)) for file in command["files"]):
            return base
    return first


def _check_files(base: str, command: Mapping[str, Any]) -> None:
    files: Mapping[str, str] = command["files"]
    options = _options(base, command["options"], None)
    source = RowSource(options.get("data"), options.get("file_per_task"))
    added = set(map(os.path.basename, files_of(source))) - set(map(os.path.basename, files))
    if added:
        raise DataError(
            LazyMessage("cli.refusal.more_files", {"pattern": source.name, "added": min(added)})
        )
    for name, digest in files.items():
        path = os.path.normpath(os.path.join(base, name))
        if not os.path.isfile(path):
            raise DataError(LazyMessage("cli.refusal.file_gone", {"path": path}))
        if checksum(path) != digest:
            raise DataError(LazyMessage("cli.refusal.file_changed", {"path": path}))


def _options(base: str, options: Mapping[str, Any], jobs: int | None) -> dict[str, Any]:
    # A time budget that did not run out then must not run out now.
    values = {name: value for name, value in options.items() if name != "time_budget"}
    for name, start in {"data": base, "file_per_task": glob.escape(base)}.items():
        if name in values:
            values[name] = os.path.normpath(os.path.join(start, values[name]))
    return values if jobs is None else values | {"jobs": jobs}


def _run(options: Mapping[str, Any], out: str) -> int:
    """Parse the options as those of a configuration file and run the command."""
    from polytask.cli.compare import compare

    made = command("compare", compare, "")
    known = {str(each.name) for each in made.params}
    for name in options:
        if name not in known:
            raise DataError(
                LazyMessage(
                    "cli.refusal.lock_option", {"name": repr(name), "hint": nearest(name, known)}
                )
            )
    status = made.main(
        args=["--out", out],
        prog_name="polytask compare",
        standalone_mode=False,
        default_map=dict(options),
    )
    return status if isinstance(status, int) else DONE
