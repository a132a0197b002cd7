"""What :func:`polytask.monitor` returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polytask.messages import Translator, distinct_names, marked, plain_number
from polytask.monitoring.records import Gain, NewLevels, Shift, TaskState
from polytask.reporting import (
    Block,
    Bullets,
    Cell,
    Column,
    Document,
    Paragraph,
    Report,
    Section,
    Table,
    own,
)
from polytask.reporting.origin import call_of, command_of, origin_facts

if TYPE_CHECKING:
    import pandas as pd

NOTHING, FOUND, REFIT, INCONCLUSIVE = 0, 3, 4, 5
_HEADLINES = {NOTHING: "nothing", REFIT: "refit", INCONCLUSIVE: "inconclusive"}
# Of intervals, unless several checks share the rate.
_USUAL = 0.95 + 1e-9
# Names in a sentence, rows of a table on a page.
_NAMED, _ROWS = 5, 500
# What is most urgent stands first.
_ORDER = ("refit", "adapt", "fit", "label", "watch", "too_few", "none")


@dataclass(frozen=True, repr=False)
class Monitoring(Report):
    """The answer of :func:`polytask.monitor`.

    Attributes
    ----------
    model : str
        The class of the model.
    rate, level : float
        As given.
    n_rows : int
        The new rows.
    tasks : tuple of TaskState
        Every task that has new rows.
    shifts : tuple of Shift
        Columns that are distributed otherwise than in training, beyond chance.
    new_levels : tuple of NewLevels
        Levels that were not in training. They are facts that do not change `status`: a rare
        level is new now and then.
    gains : tuple of Gain
        Whether the model still predicts better than what the new rows alone tell of a task;
        empty where no known task has five targets.
    refit_all : bool
        Whether the errors of all tasks together have grown beyond chance.
    unchecked : tuple of {"columns", "spread", "later_tasks", "errors", "targets"}
        What could not be checked, as the model keeps too little of its training rows, or as no
        target was given.
    conclusive : bool
        Whether a change could have been found at all.
    lock : dict
        The day, and the command with its files where ``polytask monitor`` made it.
    """

    model: str
    rate: float
    level: float
    n_rows: int
    tasks: tuple[TaskState, ...]
    shifts: tuple[Shift, ...]
    new_levels: tuple[NewLevels, ...]
    gains: tuple[Gain, ...]
    refit_all: bool
    unchecked: tuple[str, ...]
    conclusive: bool
    lock: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The exit status of ``polytask monitor``.

        0: no change was found; 3: the rows have changed or there are new tasks; 4: the model or a
        task should be refitted; 5: inconclusive, as no change could have been found. That a rival
        predicts better is no change, as it may always have; it is 4 only where the mean of the
        task does and the model keeps no errors to compare with.
        """
        worse = any(gain.high < 0 for gain in self.gains if gain.rival == "mean")
        worse = worse and "errors" in self.unchecked
        if self.refit_all or worse or self._acted("refit"):
            return REFIT
        if self.shifts or self._strangers():
            return FOUND
        return NOTHING if self.conclusive else INCONCLUSIVE

    def _acted(self, action: str) -> list[TaskState]:
        return [one for one in self.tasks if one.action == action]

    def _strangers(self) -> list[TaskState]:
        return [*self._acted("adapt"), *self._acted("fit")]

    def _headline(self) -> str:
        """Return the key of the headline."""
        if self.status != FOUND:
            return _HEADLINES[self.status]
        new = bool(self._strangers())
        return ("changed_and_new" if new else "changed") if self.shifts else "new_tasks"

    def tasks_frame(self) -> pd.DataFrame:
        """Return a row per task, with the fields of :class:`TaskState` as columns."""
        import pandas as pd

        return pd.DataFrame(
            [vars(one) for one in self.tasks], columns=[*TaskState.__annotations__]
        )

    def shifts_frame(self) -> pd.DataFrame:
        """Return a row per shift, with the fields of :class:`Shift` as columns."""
        import pandas as pd

        return pd.DataFrame([vars(one) for one in self.shifts], columns=[*Shift.__annotations__])

    def document(self, lang: str = "en") -> Document:
        """Return the whole report as a plain document, as :class:`polytask.reporting.Report`."""
        say = Translator(lang, marked)
        headline = say(f"monitor.headline.{self._headline()}")
        steps, notes = tuple(self._steps(say)), tuple(self._notes(say))
        fields = {"rate": f"{self.rate:.0%}", "level": f"{self.level:.0%}"}
        tasks = self._task_table(say)
        tables: dict[str, list[Block]] = {
            "tasks": [tasks, *(Paragraph(text, "soft") for text in self.columns_said(say))],
            "shifts": [self._shift_table(say)] if self.shifts else [],
            "method": [Paragraph(say("monitor.method", fields))],
        }
        return Document(
            lang=lang,
            title=say("monitor.title", {"headline": headline}),
            headline=headline,
            tone="none",
            facts=self._facts(say),
            lead=tuple(Bullets(said) for said in (steps, notes) if said),
            warnings=(),
            opening=headline,
            brief=tasks,
            sections=tuple(
                Section(key, say(f"monitor.section.{key}"), tuple(blocks))
                for key, blocks in tables.items() if blocks
            ),
            source=call_of(self.lock),
        )  # fmt: skip

    def _facts(self, say: Translator) -> tuple[str, ...]:
        """Return what was checked, by which model, and when."""
        files, date = origin_facts(self.lock, "monitor.fact.date", say)
        model = str(command_of(self.lock).get("model", self.model)).rpartition("/")[2]
        counts = {"tasks": len(self.tasks), "rows": self.n_rows}
        told = (say(f"count.{name}", {"n": n}) for name, n in counts.items())
        return (*files, say("monitor.fact.model", {"name": say.name(model)}), *told, *date)

    def _steps(self, say: Translator) -> list[str]:
        """Say what to do first."""
        said = []
        if self.refit_all:
            said.append(say("monitor.step.refit_all"))
        said += [
            say(f"monitor.step.worse_{gain.rival}", _of_gain(gain, say))
            for gain in self.gains if gain.high < 0
        ]  # fmt: skip
        for action in ("refit", "adapt", "fit", "label"):
            told = self._acted(action)
            if told:
                said.append(_counted(f"monitor.step.{action}", [one.task for one in told], say))
        if "targets" in self.unchecked and self.shifts and not self._acted("label"):
            said.append(say("monitor.step.label_all"))
        return said

    def _notes(self, say: Translator) -> list[str]:
        """Say what else was found, and what could not be checked."""
        said = []
        every = [one.column for one in self.shifts if one.task is None]
        if every:
            said.append(_counted("monitor.note.all", every, say))
        alone = [one for one in self.shifts if one.task is not None]
        if alone:
            said.append(_counted("monitor.note.alone", [one.task for one in alone], say))
        for gain in self.gains:
            if gain.high >= 0:
                key = f"{'better' if gain.low > 0 else 'unclear'}_{gain.rival}"
                key += "_worse" if gain.gain < 0 else ""
                said.append(say(f"monitor.note.{key}", _of_gain(gain, say)))
        if self.gains and self.gains[0].level > _USUAL:
            of_all = {"level": self.gains[0].level, "rate": self.rate}
            shares = {name: f"{100 * value:.3g}%" for name, value in of_all.items()}
            said.append(say("monitor.note.level", shares))
        if not self.gains and "targets" not in self.unchecked:
            said.append(say("monitor.note.no_gain"))
        for one in self.new_levels:
            names = say.listed(map(say.name, one.levels))
            column = say.name(one.column)
            fields: dict[str, str | int] = {"column": column, "n": one.rows, "levels": names}
            said.append(say("monitor.note.levels", fields))
        outside = sum(one.outside for one in self.tasks)
        if outside:
            said.append(say("monitor.note.outside", {"n": outside}))
        few = self._acted("too_few")
        if few:
            said.append(say("monitor.note.too_few", {"n": len(few)}))
        return [*said, *(say(f"monitor.unchecked.{name}") for name in self.unchecked)]

    def columns_said(self, say: Translator) -> list[str]:
        """Say what the columns of the table of tasks hold, and what its words ask for."""
        growth = [_number(one.growth, say) for one in self.tasks if math.isfinite(one.growth)]
        told = {
            "errors": any(math.isfinite(one.error) for one in self.tasks),
            "same_growth": len(growth) > 1 and len({*growth}) == 1,
            "watch": bool(self._acted("watch")),
        }
        return [say(f"monitor.tasks.{name}") for name, is_told in told.items() if is_told]

    def _task_table(self, say: Translator) -> Table:
        names = distinct_names([one.task for one in self.tasks])
        pairs = sorted(zip(self.tasks, names, strict=True),
                       key=lambda pair: (_ORDER.index(pair[0].action), pair[1]))  # fmt: skip
        moved: dict[object, list[str]] = {}
        for shift in self.shifts:
            moved.setdefault(shift.task, []).append(shift.column)
        heads = ("rows", "labelled", "error", "usual_error", "growth", "coverage")
        columns = [
            Column("task", say("column.task")),
            Column("action", say("monitor.column.action")),
        ]
        columns += [Column(name, say(f"monitor.column.{name}"), numeric=True) for name in heads]
        columns.append(Column("shifts", say("monitor.column.shifts")))
        rows = []
        for one, name in pairs[:_ROWS]:
            numbers = [
                Cell(_number(getattr(one, head), say), getattr(one, head)) for head in heads
            ]
            columns_moved = list(dict.fromkeys(moved.get(one.task, [])))[:_NAMED]
            shown = own(say.listed(columns_moved)) if columns_moved else Cell("")
            rows.append((own(name), Cell(say(f"monitor.action.{one.action}"), one.action),
                         *numbers, shown))  # fmt: skip
        return Table("tasks", say("monitor.tasks.caption"), tuple(columns), tuple(rows))

    def _shift_table(self, say: Translator) -> Table:
        heads = {"task": False, "column": False, "kind": False}
        heads |= dict.fromkeys(("before", "after", "chance", "p_value"), True)
        columns = tuple(Column(name, say(f"monitor.column.{name}"), numeric=numeric)
                        for name, numeric in heads.items())  # fmt: skip
        rows = tuple(
            (own(say("monitor.all_tasks") if one.task is None else one.task),
             own(one.column), Cell(say(f"monitor.kind.{one.kind}"), one.kind),
             *(Cell(_number(getattr(one, n), say), getattr(one, n))
               for n in ("before", "after", "chance", "p_value")))
            for one in self.shifts[:_ROWS]
        )  # fmt: skip
        return Table("shifts", say("monitor.shifts.caption"), columns, rows)


def _number(value: float, say: Translator) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return plain_number(value) if abs(value) < float("inf") else say("number.missing")


def _counted(key: str, names: Sequence[object], say: Translator) -> str:
    """Return a sentence about some names, the first of them named."""
    told = [say.task(name) for name in dict.fromkeys(names)]
    listed, more = say.listed(told[:_NAMED]), len(told) - _NAMED
    listed = say("list.more", {"names": listed, "n": more}) if more > 0 else listed
    return say(key, {"n": len(told), "names": listed})


def _of_gain(gain: Gain, say: Translator) -> dict[str, str | int]:
    """Return by how much less, or more, the model errs as fields of a sentence."""
    ends = (
        (gain.gain, gain.low, gain.high) if gain.high >= 0 else (-gain.gain, -gain.high, -gain.low)
    )
    said = {n: f"{100 * v:.1f}" for n, v in zip(("gain", "low", "high"), ends, strict=True)}
    ends = -gain.gain, -gain.high, -gain.low
    said |= {n: f"{100 * v:+.1f}" for n, v in zip(("change", "least", "most"), ends, strict=True)}
    level = f"{100 * gain.level:.3g}%"
    said["size"] = f"{abs(100 * gain.gain):.1f}"
    return {**said, "level": level, "rows": say("count.rows", {"n": gain.rows})}
