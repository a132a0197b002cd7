"""The work of ``polytask rerun``."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from typing import Any

import typer

from polytask._checks import nearest
from polytask.cli._command import checksum, files_of
from polytask.cli._compare_folder import LOCK, SCORES, TASKS, read_lock
from polytask.cli._console import note, say
from polytask.cli._outcome import DONE
from polytask.cli._same_tables import first_difference
from polytask.cli._sources import Source, Style, require_file
from polytask.exceptions import DataError

DIFFERENT = 3


def run_rerun(path: str, out: str | None, jobs: int | None) -> int:
    """Repeat a comparison in a new folder and compare the numbers."""
    require_file(path, f"the {LOCK} in it")
    lock = read_lock(path)
    command = lock["command"]
    if not command["complete"]:
        raise DataError(
            f"The comparison of {path} was stopped before its end, so its numbers depend on when: "
            f"finish it first. It was: {command['line']}"
        )
    old = os.path.dirname(path) or "."
    target = _new_folder(old, out)
    base = _base(old, command)
    _check_files(base, command)
    _note_versions(lock.get("versions"))
    status = _run(_options(base, command["options"], jobs), target)
    return status or _report(old, target)


def _new_folder(old: str, out: str | None) -> str:
    if out is not None:
        if os.path.exists(out) and (not os.path.isdir(out) or os.listdir(out)):
            raise DataError(f"{out} exists already: a rerun needs a new folder.")
        return out
    name = f"{os.path.abspath(old)}-rerun"
    free, count = name, 1
    while os.path.exists(free):
        count += 1
        free = f"{name}-{count}"
    return _like(old, free)


def _base(old: str, command: Mapping[str, Any]) -> str:
    """Return the folder that the paths of the data start from: where it was run, or here."""
    first = os.path.normpath(os.path.join(old, command["folder"]))
    for base in (first, os.curdir):
        if all(os.path.isfile(os.path.join(base, file)) for file in command["files"]):
            return base
    return first


def _like(example: str, path: str) -> str:
    """Return a path from here, unless the example is written from the root."""
    return path if os.path.isabs(example) else os.path.relpath(path)


def _check_files(base: str, command: Mapping[str, Any]) -> None:
    files: Mapping[str, str] = command["files"]
    pattern = _options(base, command["options"], None).get("file_per_task")
    now = [] if pattern is None else files_of(Source(None, pattern, Style()))
    added = {os.path.basename(file) for file in now} - {os.path.basename(file) for file in files}
    if added:
        raise DataError(f"{pattern} now means more files than were compared on: {min(added)}.")
    for name, digest in files.items():
        path = os.path.normpath(os.path.join(base, name))
        if not os.path.isfile(path):
            raise DataError(f"There is no file {path}, which was compared on.")
        if checksum(path) != digest:
            raise DataError(
                f"{path} is not what it was when it was compared on: its content has changed."
            )


def _note_versions(held: object) -> None:
    from polytask.io.model_file import versions

    before = held if isinstance(held, dict) else {}
    for name, version in versions().items():
        if before.get(name) != version:
            note(f"{name} was {before.get(name, 'unknown')} then and is {version} now.")


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

    app = typer.Typer(add_completion=False)
    app.command(name="compare")(compare)
    command = typer.main.get_command(app)
    known = {str(option.name) for option in command.params}
    for name in options:
        if name not in known:
            raise DataError(
                f"The lock has the option {name!r}, which compare does not know."
                f"{nearest(name, known)}"
            )
    status = command.main(
        args=["--out", out],
        prog_name="polytask compare",
        standalone_mode=False,
        default_map=dict(options),
    )
    return status if isinstance(status, int) else DONE


def _report(old: str, new: str) -> int:
    say()
    for name in (SCORES, TASKS):
        found = first_difference(os.path.join(old, name), os.path.join(new, name))
        if found:
            say(f"Not the same: {found}.")
            return DIFFERENT
    say(f"The same: every number of {SCORES} and {TASKS} is what it was.")
    return DONE
