"""What is learned from, as the user asked for it: tables, and what their targets are to be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from polytask._checks import nearest
from polytask.cli.columns import ColumnOptions, Splitting
from polytask.cli.files import Source
from polytask.exceptions import ParameterError

if TYPE_CHECKING:
    from polytask.losses import Loss

AUTO, CLASSES = "auto", "classes"


@dataclass(frozen=True)
class TargetTypeOverride:
    """What the targets are to be: by a loss, "auto" or "classes", and the option that says so."""

    loss: str
    option: str
    for_classes: str = "--loss multinomial"

    @classmethod
    def of_loss(cls, loss: str) -> TargetTypeOverride:
        """Return what the option ``--loss`` says."""
        return cls(loss, f"--loss {loss}")

    @cached_property
    def known(self) -> Loss | None:
        """The loss itself; None for "auto" and "classes"."""
        from polytask.losses import LOSSES
        from polytask.losses.parse import parse

        if self.loss in (AUTO, CLASSES):
            return None
        found = parse(self.loss, LOSSES)
        if found is None:
            known = (AUTO, *LOSSES)
            raise ParameterError(
                f"--loss must be one of {', '.join(known)}; got {self.loss!r}."
                f"{nearest(self.loss, known)}"
            )
        return found

    @property
    def wanted(self) -> Literal["auto", "numbers", "classes"]:
        """What the targets are to be."""
        if self.loss == AUTO:
            return "auto"
        return "classes" if self.known is None or self.known.is_classifier else "numbers"


@dataclass(frozen=True)
class Tables:
    """The rows to learn from, as the user asked for them."""

    columns: ColumnOptions
    splitting: Splitting
    source: Source

    def check(self, command: str) -> None:
        """Refuse what needs no data to be refused."""
        self.source.check(command)
        if not (self.columns.target or self.columns.targets):
            raise ParameterError(
                f"polytask {command} needs a target: --target COL, several of them, or --targets "
                f"'y_*'. polytask inspect {self.source.name} shows the columns."
            )
        self.splitting.check()

    def check_unseen(self, unseen: bool) -> None:
        """Refuse to hold out whole tasks where that has no meaning."""
        ways = {"--group": self.splitting.group, "--time": self.splitting.time, "--unseen": unseen}
        chosen = [flag for flag, value in ways.items() if value]
        if len(chosen) > 1:
            raise ParameterError(
                "Rows are held out in one way: choose one of --group, --time and --unseen; got "
                f"{' and '.join(chosen)}."
            )
        if unseen and self.columns.task is None and self.source.file_per_task is None:
            raise ParameterError(
                "--unseen holds out all rows of a task: name the column of the tasks with --task. "
                "Where each target is a task, every row belongs to all of them."
            )
