"""The work of ``polytask inspect --related``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polytask.cli._console import say, say_whole, spoken_warnings, working
from polytask.cli._inspect_run import is_table_file
from polytask.cli._sources import Source, require_file
from polytask.exceptions import DataError, ParameterError

if TYPE_CHECKING:
    from polytask.task_relations import Relatedness

_RELATED_MODEL = "A saved model knows its tasks: drop {option}."


@dataclass(frozen=True)
class Asked:
    """What the user said about the columns of a table."""

    task: str | None
    targets: tuple[str, ...]
    drop: tuple[str, ...]
    ids: tuple[str, ...]
    drop_missing: bool

    def options(self) -> dict[str, bool]:
        """Return which options are given."""
        return {
            "--task": self.task is not None,
            "--target": bool(self.targets),
            "--drop": bool(self.drop),
            "--id": bool(self.ids),
            "--drop-missing-target": self.drop_missing,
        }


def run_related(source: Source, asked: Asked, out: str | None, *, force: bool, json: bool) -> None:
    """Say whether tasks are related."""
    require_file(source.name, "a table or a model")
    if out is not None and os.path.isfile(out) and not force:
        raise DataError(f"{out} exists already: choose another name, or replace it with --force.")
    table = is_table_file(source.name)
    with spoken_warnings(), working("Comparing the tasks"):
        result = _of_table(source, asked) if table else _of_model(source.name, asked)
    if json:
        say_whole(result.to_json())
    else:
        for line in result.summary().split("\n"):
            say(line)
    if out is not None:
        from polytask import write_report

        written = write_report(result, out)
        if not json:
            say(f"Wrote {written}.")


def _of_table(source: Source, asked: Asked) -> Relatedness:
    from polytask import relatedness
    from polytask.cli._compare_request import Method
    from polytask.cli._fit_data import read_training
    from polytask.cli._roles import Wanted

    wanted = Wanted(
        task=asked.task,
        target_patterns=asked.targets,
        drop=asked.drop,
        ids=asked.ids,
        # What is asked here is what the table holds: a copy of the target is named.
        allow_leak=True,
    )
    choices = Method("auto", None, (), unseen=False, quick=False, splits=None, seed=0)
    data = read_training(source, wanted, choices.demand(), asked.drop_missing)
    return relatedness(
        data.X,
        data.y,
        sample_weight=data.weight,
        task_column=data.task_column,
        loss=choices.losses(data.kinds),
    )


def _of_model(path: str, asked: Asked) -> Relatedness:
    from polytask import load, relatedness

    given = [option for option, held in asked.options().items() if held]
    if given:
        raise ParameterError(_RELATED_MODEL.format(option=given[0]))
    return relatedness(load(path))
