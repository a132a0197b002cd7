"""The folder of a comparison: whose it is, and how it is filled."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from polytask._checks import of_system
from polytask.cli.console import note
from polytask.cli.files import RowSource
from polytask.cli.options import ExplicitOptions, Running
from polytask.comparison.options import MAY_CHANGE
from polytask.exceptions import DataError, ParameterError, PolytaskError
from polytask.messages import LazyMessage, Translator

if TYPE_CHECKING:
    from polytask.comparison import Comparison


# What may differ between two runs of one comparison: the numbers do not depend on it. Files are
# told apart by their content.
_FREE = MAY_CHANGE | {"jobs", "lang", "quiet", "time_budget", "data", "file_per_task"}


@dataclass(frozen=True)
class SavedCommand:
    """A comparison as it was asked for."""

    given: ExplicitOptions
    files: Mapping[str, str]
    folder: str
    out: str

    def content(self, *, complete: bool) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "line": self.given.line("compare", self.out),
            "options": dict(self.given.values),
            "folder": self.folder,
            "files": dict(self.files),
            "complete": complete,
        }

    @staticmethod
    def is_content(value: object) -> TypeGuard[dict[str, Any]]:
        """Tell whether a JSON value looks like :meth:`content`."""
        if not isinstance(value, dict):
            return False
        kinds = {"line": str, "options": dict, "folder": str, "files": dict, "complete": bool}
        return all(isinstance(value.get(name), kind) for name, kind in kinds.items())

    @classmethod
    def of(cls, given: ExplicitOptions, source: RowSource, out: str) -> SavedCommand:
        """Return the command that reads some files and writes a folder."""
        here = os.getcwd()
        # Two drives of Windows have no path between them.
        with suppress(ValueError):
            here = os.path.relpath(here, os.path.abspath(out)).replace(os.sep, "/")
        return cls(given, checksums(source), here, out)


def files_of(source: RowSource) -> list[str]:
    """Return the files of a source, sorted."""
    from polytask.data.file_parts import files_in

    if source.data is not None:
        return files_in(source.data) if os.path.isdir(source.data) else [source.data]
    pattern = str(source.file_per_task)
    found = [pattern] if os.path.isfile(pattern) else glob.glob(pattern, recursive=True)
    return sorted(file for file in found if os.path.isfile(file))


def checksum(path: str) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(source: RowSource) -> dict[str, str]:
    """Return the files of a source with their SHA-256."""
    return {path: checksum(path) for path in files_of(source)}


def difference(held: Mapping[str, Any], command: SavedCommand) -> LazyMessage | str:
    """Say in what a command differs from one that was run before."""
    before, now = held["options"], dict(command.given.values)
    for name in (*now, *before):
        if name not in _FREE and before.get(name) != now.get(name):
            values = [before.get(name), now.get(name)]
            shown = [
                LazyMessage("cli.what.not_given") if value is None else repr(value)
                for value in values
            ]
            return LazyMessage(
                "cli.what.other_option", {"option": name, "there": shown[0], "here": shown[1]}
            )
    if _contents(held["files"]) != _contents(command.files):
        return LazyMessage("cli.what.other_data", {"names": [*held["files"]]})
    return ""


def _contents(files: Mapping[str, str]) -> list[tuple[str, str]]:
    # Files of two folders in one may have the same name.
    return sorted((os.path.basename(path), digest) for path, digest in files.items())


def writer(
    result: Comparison, running: Running, *, with_model: bool, kept: list[str]
) -> Callable[[Path], None]:
    """Return what writes the files of a comparison into a folder."""

    def write(folder: Path) -> None:
        from polytask import write_report
        from polytask.comparison.actions import action_words
        from polytask.comparison.tables import group_word
        from polytask.data.readers import write_table

        with running.waiting("cli.compare.writing"):
            for name in REPORTS:
                write_report(result, folder / name, lang=running.lang)
        # The words of the report, in the language of programs.
        say = Translator("en")
        scores, tasks = result.to_frame(), result.task_gains
        scores["kind"] = [say.word("kind", kind) for kind in scores["kind"]]
        tasks["group"] = [group_word(task, result, say) for task in result.tasks]
        tasks["action"] = [action_words(action, result, say) for action in tasks["action"]]
        for name, table in {SCORES: scores, TASKS: tasks}.items():
            write_table(table, str(folder / name))
        if with_model and result.recommended:
            kept.extend(_keep_model(result, folder, running))
        write_json(folder / LOCK, result.lock)

    return write


def _keep_model(result: Comparison, folder: Path, running: Running) -> list[str]:
    from polytask import save

    try:
        with running.waiting("cli.compare.fitting"):
            model: Any = result.best_model()
        save(model, folder / MODEL)
        model.card().write(folder / CARD)
    except PolytaskError as error:
        fields = {"name": repr(result.recommended), "reason": str(error)}
        note(running.speech("cli.compare.not_kept", fields))
        return []
    return [MODEL]


REPORTS = ("report.html", "report.md", "report.json")
SCORES, TASKS, LOCK, JOURNAL = "scores.csv", "tasks.csv", "run.lock.json", "journal"
# The journal of what is replaced, until there is something in its place.
ASIDE = "journal.old"
_PART = ".part-"
MODEL = os.path.join("model", "model.polytask")
CARD = os.path.join("model", "card")
# The lock comes last: it says that the others are there.
FILES = (*REPORTS, SCORES, TASKS, MODEL, f"{CARD}.md", f"{CARD}.json", LOCK)


@dataclass(frozen=True)
class Folder:
    """Where a comparison is kept."""

    path: str

    @classmethod
    def named(cls, path: str | None) -> Folder:
        """Return the folder that ``--out`` names, if it can be one."""
        if path is None:
            raise ParameterError(LazyMessage("cli.refusal.needs_folder"))
        above = os.path.dirname(os.path.abspath(path))
        if os.path.exists(path) and not os.path.isdir(path):
            raise DataError(LazyMessage("cli.refusal.write.into_file", {"path": path}))
        if not os.path.isdir(above):
            raise DataError(
                LazyMessage("cli.refusal.make.no_folder", {"path": path, "above": above})
            )
        return cls(path)

    def file(self, name: str) -> str:
        """Return the path of one of its files."""
        return os.path.join(self.path, name)

    @property
    def journal(self) -> str:
        """The file of finished fits."""
        return self.file(JOURNAL)

    def claim(self, command: SavedCommand, *, resume: bool, force: bool) -> Callable[[], None]:
        """Make the folder that of a command, before any work is done."""
        other = self._other(command)
        if other and not force:
            raise DataError(
                LazyMessage("cli.refusal.folder_taken", {"path": self.path, "other": other})
            )
        lock = Path(self.file(LOCK))
        held = lock.read_bytes() if lock.exists() else None
        new = not os.path.isdir(self.path)
        if new:
            try:
                os.mkdir(self.path)
            except OSError as error:
                raise DataError(
                    LazyMessage(
                        "cli.refusal.make.system",
                        {"path": self.path, "reason": str(error.strerror or error)},
                    )
                ) from error
        if other or not resume:
            self._set_fits_aside()
        if other or held is None:
            write_json(lock, {"command": command.content(complete=False)})
        return lambda: self._leave(new, held)

    def _leave(self, new: bool, held: bytes | None) -> None:
        lock, aside = Path(self.file(LOCK)), Path(self.file(ASIDE))
        if os.path.exists(self.journal):
            # Fits were finished: the same command goes on from them.
            return
        rest = (*FILES[: FILES.index(LOCK)], ASIDE)
        if held is None or not any(os.path.exists(self.file(name)) for name in rest):
            # There is nothing, or nothing any more, that it would stand for.
            lock.unlink(missing_ok=True)
        else:
            _write_file(lock, held)
        if aside.exists():
            os.replace(aside, self.journal)
        if new:
            os.rmdir(self.path)

    def _other(self, command: SavedCommand) -> LazyMessage | str:
        """Say what is in the folder that is not of this command; empty if nothing."""
        if os.path.exists(self.file(LOCK)):
            held = read_lock(self.file(LOCK))
            different = difference(held["command"], command)
            fields = {"different": different}
            return LazyMessage("cli.what.other_comparison", fields) if different else ""
        names = (*FILES, JOURNAL, ASIDE)
        mine = [name for name in names if os.path.exists(self.file(name))]
        return LazyMessage("cli.what.unknown_comparison", {"mine": mine[0]}) if mine else ""

    def _set_fits_aside(self) -> None:
        """Begin without the finished fits, unless another run is adding to them."""
        from polytask.io import move_journal

        if os.path.exists(self.journal):
            move_journal(self.journal, self.file(ASIDE), owner="compare")

    def fill(self, write: Callable[[Path], None]) -> None:
        """Put all files in place after the last one is written."""
        try:
            for left in Path(self.path).glob(f"{_PART}*"):
                # Of a run that was killed while it wrote.
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(prefix=_PART, dir=self.path) as made:
                staged = Path(made)
                (staged / "model").mkdir()
                write(staged)
                self._place(staged)
        except OSError as error:
            raise DataError(
                LazyMessage(
                    "refusal.write.system",
                    {"path": self.path, "reason": str(error.strerror or error)},
                )
            ) from error

    def _place(self, staged: Path) -> None:
        Path(self.file("model")).mkdir(exist_ok=True)
        for name in FILES:
            if (staged / name).exists():
                os.replace(staged / name, self.file(name))
            else:
                Path(self.file(name)).unlink(missing_ok=True)
        Path(self.file(ASIDE)).unlink(missing_ok=True)
        if not os.listdir(self.file("model")):
            os.rmdir(self.file("model"))


def _write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, whole or not at all."""
    from polytask.io.atomic import write_whole

    write_whole(path, content)


def write_json(path: str | os.PathLike[str], content: object) -> None:
    """Write a JSON file, whole or not at all."""
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    _write_file(path, text.encode("utf-8", "backslashreplace"))


def read_lock(path: str) -> Mapping[str, Any]:
    """Return the content of ``run.lock.json``."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(of_system("read", path, error)) from None
    except ValueError:
        raise DataError(LazyMessage("cli.refusal.no_lock", {"path": path})) from None
    if not isinstance(content, dict) or not SavedCommand.is_content(content.get("command")):
        raise DataError(LazyMessage("cli.refusal.no_lock", {"path": path}))
    options = content["command"]["options"]
    if isinstance(options.get("task"), str):
        # As versions wrote it that took one column of tasks.
        options["task"] = [options["task"]]
    return content
