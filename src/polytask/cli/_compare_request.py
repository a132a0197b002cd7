"""What the user of ``polytask compare`` asks for, and what can be refused before reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polytask.cli._given import Given
from polytask.cli._kinds import Demand, Problem, TargetKind, problem_of
from polytask.cli._model_names import check_models, require
from polytask.cli._roles import Wanted
from polytask.cli._sources import Source
from polytask.exceptions import ParameterError

if TYPE_CHECKING:
    from polytask.selection.candidates import CandidateModel


@dataclass(frozen=True)
class Method:
    """How models are compared."""

    loss: str
    metric: str | None
    models: tuple[str, ...]
    unseen: bool
    quick: bool
    splits: int | None
    seed: int
    learning_curve: bool = False
    ablation: bool = False
    margin: float | None = None

    def demand(self) -> Demand:
        """Return what the targets are to be."""
        return Demand(self.loss, f"--loss {self.loss}")

    def losses(self, kinds: tuple[TargetKind, ...]) -> str | dict[str, str]:
        """Return the loss, or that of each target where they are of both kinds."""
        problem = problem_of(kinds)
        if problem is Problem.MIXED:
            return {kind.name: kind.loss for kind in kinds}
        if self.loss != "auto":
            return self.loss
        if problem is Problem.REGRESSION:
            return "squared"
        return "logistic" if all(kind.n_values <= 2 for kind in kinds) else "multinomial"


@dataclass(frozen=True)
class Request:
    """One comparison."""

    source: Source
    wanted: Wanted
    drop_missing: bool
    method: Method
    given: Given
    budget: float | None
    jobs: int
    lang: str
    resume: bool

    def check(self) -> None:
        """Refuse what needs no data to be refused."""
        from polytask.metrics import METRICS

        self.source.check("polytask compare")
        check_models(self.method.models)
        _check_rule(self.method.models)
        if self.method.metric is not None:
            require("--metric", self.method.metric, tuple(METRICS))
        margin = self.method.margin
        if margin is not None and not math.isfinite(margin):
            raise ParameterError(f"--margin must be a number >= 0; got {margin}.")
        self._check_splits()

    def _check_splits(self) -> None:
        wanted = self.wanted
        ways = {"--group": wanted.group, "--time": wanted.time, "--unseen": self.method.unseen}
        chosen = [option for option, value in ways.items() if value]
        if len(chosen) > 1:
            raise ParameterError(
                "Rows are held out in one way: choose one of --group, --time and --unseen; got "
                f"{' and '.join(chosen)}."
            )
        if self.method.unseen and wanted.task is None and self.source.pattern is None:
            raise ParameterError(
                "--unseen holds out all rows of a task: name the column of the tasks with --task. "
                "Where each target is a task, every row belongs to all of them."
            )


def _check_rule(names: tuple[str, ...]) -> None:
    """Refuse models among which the rule of the verdict has nothing to compare."""
    from polytask.selection.candidates import DEEP, DEFAULT, MODELS

    # All networks are of both sorts.
    if not names or {DEFAULT, DEEP} & set(names):
        return
    asked = [MODELS[name] for name in names]
    if any(_is_of_both_sorts(asked, family) for family in ("linear", DEEP)):
        return
    linear = [model for model in MODELS.values() if model.family == "linear"]
    sharing = [model.name for model in linear if model.kind == "shared"]
    plain = [model.name for model in linear if model.kind != "shared"]
    for sort, known in {"that shares": sharing, "that does not share": plain}.items():
        if not set(known) & set(names):
            raise ParameterError(
                f"The verdict compares a model that shares with one that does not: --models lacks "
                f"one {sort}, such as {', '.join(map(repr, known[:3]))}."
            )


def _is_of_both_sorts(models: Sequence[CandidateModel], family: str) -> bool:
    return len({model.kind == "shared" for model in models if model.family == family}) == 2
