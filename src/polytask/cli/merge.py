"""``polytask merge``: the statistics of several sites together."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Annotated

from polytask._options import argument, option
from polytask.cli.console import note, say, say_pair, say_whole
from polytask.cli.files import STATISTICS_SUFFIX, require_file, writable
from polytask.cli.options import Running, Vary, command_line
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    from polytask.statistics import TaskStatistics

EXAMPLES = """\
  polytask merge north.stats south.stats --out all.stats
"""


@dataclass(frozen=True)
class Merged:
    """The files to put together."""

    PANEL = "help.panel.sites"

    files: tuple[str, ...] = argument("help.merge.files", "STATS...", default=())
    allow_leak: bool = option("help.allow_leak", default=False)


def merge(
    merged: Merged,
    running: Annotated[
        Running,
        Vary(
            ("json", "resume", "time_budget", "jobs", "seed"),
            {"out": option("help.statistics.out", metavar="STATS")},
        ),
    ],
) -> None:
    """Read, compare what the files say of themselves, add, write and say what was done."""
    from polytask.statistics import TaskStatistics
    from polytask.statistics.leaks import leak_warnings

    speech = running.speech
    if len(merged.files) < 2:
        raise ParameterError(LazyMessage("cli.refusal.merge_two", {"n": len(merged.files)}))
    example = f"all{STATISTICS_SUFFIX}"
    path = writable(running.out, force=running.force, example=example, inputs=merged.files)
    parts: dict[str, TaskStatistics] = {}
    for file in merged.files:
        require_file(file, LazyMessage("cli.what.statistics"))
        if file in parts:
            raise ParameterError(LazyMessage("cli.refusal.merge_twice", {"file": file}))
        parts[file] = TaskStatistics.load(file)
    _refuse_unlike(parts)
    found = sum(parts.values())
    assert isinstance(found, TaskStatistics)
    for doubt in leak_warnings(found, path, allow_leak=merged.allow_leak):
        warnings.warn(DataWarning(doubt), stacklevel=2)
    found.save(path)
    counts = Counter(task for part in parts.values() for task in part.tasks)
    shared = [repr(task) for task, n in counts.items() if n > 1]
    if shared and found.task_column is not None:
        note(LazyMessage("cli.note.merged_tasks", {"n": len(shared), "names": shared[:10]}))
    say_pair(speech("cli.label.rows"), f"{found.n_rows:,}")
    say_pair(speech("cli.label.tasks"), f"{len(found.tasks):,}")
    say()
    say(speech("cli.wrote", {"path": path}))
    say(speech("cli.merge.next"))
    say_whole(f"  {command_line('fit', path, '--out', 'model.polytask')}")


def _refuse_unlike(parts: Mapping[str, TaskStatistics]) -> None:
    """Refuse files of other features, and files of the same rows."""
    import numpy as np

    for (one, first), (other, second) in combinations(parts.items(), 2):
        names = first.feature_names or (), second.feature_names or ()
        for lacking, has, more in ((other, one, names), (one, other, names[::-1])):
            extra = [name for name in more[0] if name not in more[1]]
            if extra:
                fields = {"has": has, "lacking": lacking, "name": repr(extra[0])}
                raise IncompatibleError(LazyMessage("cli.refusal.merge_features", fields))
        twins = {cell.key: cell for cell in second.cells} if first.tasks == second.tasks else {}
        if any(
            cell.key in twins and np.array_equal(cell.second, twins[cell.key].second)
            and np.array_equal(cell.mean, twins[cell.key].mean)
            for cell in first.cells
        ):  # fmt: skip
            fields = {"one": one, "other": other}
            raise DataError(LazyMessage("cli.refusal.merge_same", fields))
