"""The work of ``polytask compare``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from polytask.cli._command import Command, command_of
from polytask.cli._compare_files import writer
from polytask.cli._compare_folder import Folder
from polytask.cli._compare_request import Request
from polytask.cli._compare_text import say_answer, say_next, say_understood
from polytask.cli._console import note
from polytask.cli._fit_data import Training, read_training
from polytask.cli._outcome import DONE, Interrupted
from polytask.exceptions import DataError, PolytaskError

if TYPE_CHECKING:
    from polytask.comparison import Comparison


def run_compare(request: Request, out: str | None, force: bool) -> int:
    """Read, compare, say the verdict and write the folder."""
    request.check()
    folder = Folder.named(out)
    training = read_training(
        request.source, request.wanted, request.method.demand(), request.drop_missing
    )
    _check_tasks(training)
    command = command_of(request.given, request.source, folder.path)
    give_back = folder.claim(command, resume=request.resume, force=force)
    try:
        say_understood(request, training)
        result = _compared(request, training, folder)
        say_answer(result, request.lang)
        _write(request, result, folder, command)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Interrupted: finished fits are kept in {folder.path}, and the same command goes on "
            "from them."
        ) from None
    except PolytaskError:
        give_back()
        raise
    return DONE


def _check_tasks(training: Training) -> None:
    if len(training.sizes) < 2:
        raise DataError(
            f"There is one task only, {next(iter(training.sizes))!r}: a comparison needs two "
            "tasks or more."
        )


def _compared(request: Request, training: Training, folder: Folder) -> Comparison:
    from polytask import compare

    method = request.method
    result = compare(
        training.X,
        training.y,
        sample_weight=training.weight,
        task_column=training.task_column,
        loss=method.losses(training.kinds),
        models=list(method.models) or "default",
        cv=method.splits,
        metric=method.metric,
        margin=method.margin,
        groups=training.group,
        time=training.time,
        unseen=method.unseen,
        quick=method.quick,
        time_budget=request.budget,
        n_jobs=request.jobs,
        random_state=method.seed,
        journal=folder.journal,
        verbose=True,
        learning_curve=method.learning_curve,
        ablation=method.ablation,
        allow_leak=request.wanted.allow_leak,
    )
    return dataclasses.replace(result, diagnostics=(*training.notes, *result.diagnostics))


def _write(request: Request, result: Comparison, folder: Folder, command: Command) -> None:
    interrupted = result.stopped == "interrupt"
    result.lock["command"] = command.content(complete=result.complete)
    kept: list[str] = []
    folder.fill(writer(result, request.lang, with_model=not interrupted, kept=kept))
    done = f"{result.setup.n_splits} of {result.setup.planned} splits"
    if interrupted:
        raise Interrupted(
            f"Interrupted: {folder.path} holds the report of {done}, and the same command goes on "
            "from there."
        )
    if result.stopped:
        note(
            f"The time budget ran out: the report is of {done}. The same command goes on from "
            "there, without --time-budget to the end."
        )
    say_next(request, folder, kept)
