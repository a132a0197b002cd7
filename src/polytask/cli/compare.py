"""``polytask compare``: say whether the tasks of a table should be learned together."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polytask._checks import nonnegative
from polytask.cli.columns import Splitting
from polytask.cli.console import (
    DONE,
    FILE_ROWS,
    Interrupted,
    note,
    say,
    say_pair,
    say_whole,
)
from polytask.cli.folder import MODEL, REPORTS, Command, Folder, writer
from polytask.cli.models import Learning, known_models, known_name, models_help
from polytask.cli.options import ExplicitOptions, Running, Vary, option
from polytask.cli.tables import Tables
from polytask.exceptions import DataError, ParameterError, PolytaskError
from polytask.messages import LazyMessage, Translator

if TYPE_CHECKING:
    from polytask.cli.training_data import Training
    from polytask.comparison import Comparison

DETAILS = """Every row is held out once. The output says whether sharing helps, by how much, and \
which model to use. The folder gets a report, tables, the recommended model, and a lock file with \
which polytask rerun repeats the comparison. Tables have the three forms of polytask fit.
"""

EPILOG = """[bold]Examples[/bold]

  polytask compare exams.csv --task school --target score --out exams --quick

  polytask compare visits.csv --task ward --target ill --group patient --out visits

  polytask compare exams.csv --task school --target score --out exams --learning-curve --ablation

  polytask compare plant.csv --targets 'y_*' --time day --time-budget 30m --out plant
"""


def _metric_help() -> str:
    return (
        f"The metric that decides: {', '.join(Translator().words('short'))} (default: d2, the "
        "explained share of the loss; for numbers with the squared loss R2)."
    )


@dataclass(frozen=True)
class Comparing:
    """Arguments of `polytask.compare` of the same names; `splits` is its `cv`."""

    PANEL = "Comparing"

    models: tuple[str, ...] = option(models_help, metavar="NAME", default=())
    splits: int | None = option("How many folds (default: 5).", least=1, metavar="N")
    metric: str | None = option(_metric_help, metavar="NAME")
    margin: float | None = option(
        "A difference in the metric that is too small to matter, 0 or more (default: a tenth of "
        "the score of the best model without sharing, between 0.001 and 0.01)."
    )
    unseen: bool = option(
        "Hold out whole tasks, to see how well tasks are predicted that were not in training.",
        default=False,
    )
    quick: bool = option(
        "Few models instead of all: one per task, pooled ones, one that shares.", default=False
    )
    learning_curve: bool = option(
        "Fit the chosen models on 1/8, 1/4 and 1/2 of the rows as well, to see how the gain of "
        "sharing depends on the rows per task.",
        default=False,
    )
    ablation: bool = option(
        "Search the chosen penalty without each of its terms as well, to see what each adds.",
        default=False,
    )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `polytask.compare`; what is not given is left to it."""
        given = dataclasses.asdict(self)
        given["cv"] = given.pop("splits")
        if self.margin is not None:
            nonnegative(self.margin, "margin", "compare")
        names = known_models(given.pop("models"))
        _check_rule(names)
        if self.metric is not None:
            from polytask.metrics import METRICS

            given["metric"] = known_name("--metric", self.metric, tuple(METRICS))
        return given | ({"models": list(names)} if names else {})


def compare(
    context: typer.Context,
    tables: Tables,
    comparing: Comparing,
    learning: Annotated[
        Learning, Vary(("model", "penalty", "criterion", "folds", "unseen_tasks"))
    ],
    running: Annotated[
        Running,
        Vary(
            ("json",),
            {
                "out": option("The folder to write.", metavar="DIR"),
                "force": option("Replace another comparison in that folder.", default=False),
            },
        ),
    ],
) -> int:
    """Read, compare, say the verdict and write the folder."""
    from polytask.cli.training_data import read_training

    tables.check("compare")
    arguments = comparing.arguments()
    tables.check_unseen(comparing.unseen)
    budget = running.seconds
    folder = Folder.named(running.out)
    training = read_training(tables, learning.override)
    if len(training.sizes) < 2:
        raise DataError(
            f"There is one task only, {next(iter(training.sizes))!r}: a comparison needs two "
            "tasks or more."
        )
    command = Command.of(ExplicitOptions.of(context), tables.source, folder.path)
    give_back = folder.claim(command, resume=running.resume, force=running.force)
    try:
        if not running.quiet:
            _say_understood(tables.splitting, training, comparing, running.speech)
        from polytask import compare as compared

        result = compared(
            training.X,
            training.y,
            sample_weight=training.weight,
            task_column=training.task_column,
            loss=training.losses(learning.loss),
            groups=training.group,
            time=training.time,
            time_budget=budget,
            n_jobs=running.processes,
            random_state=running.seed,
            journal=folder.journal,
            verbose=not running.quiet,
            allow_leak=tables.columns.allow_leak,
            **arguments,
        )
        # What is said of the data counts rows as in the file.
        about = (*training.notes, *result.doubts)
        told = (FILE_ROWS.counted(message.text(running.speech)) for message in about)
        known = set(map(str, result.doubts))
        others = (text for text in result.diagnostics if text not in known)
        result = dataclasses.replace(result, diagnostics=(*told, *others), doubts=())
        result.lock["command"] = command.content(complete=result.complete)
        _say_answer(result, running.speech)
        _write(result, folder, tables, running)
    except KeyboardInterrupt:
        kept = running.speech("cli.compare.kept", {"folder": folder.path})
        raise Interrupted(kept) from None
    except PolytaskError:
        give_back()
        raise
    return DONE


def _check_rule(names: tuple[str, ...]) -> None:
    """Refuse models among which the rule of the verdict has nothing to compare."""
    from polytask.selection.candidates import DEEP, DEFAULT, MODELS

    # All networks are of both sorts.
    if not names or {DEFAULT, DEEP} & set(names):
        return
    for family in ("linear", DEEP):
        kinds = {MODELS[n].kind == "shared" for n in names if MODELS[n].family == family}
        if len(kinds) == 2:
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


def _say_understood(
    splitting: Splitting, training: Training, comparing: Comparing, speech: Translator
) -> None:
    """Say on standard error what was understood of data and options."""
    from polytask.cli.describe import say_data

    say_data(training, speech, error=True)
    held = ""
    if training.group is not None:
        count = len(set(training.group.tolist()))
        held = speech("cli.held.group", {"name": repr(splitting.group), "n": count})
    elif training.time is not None:
        # Dates come with the time of day down to parts of a second.
        ends = [str(end).removesuffix("T00:00:00.000000") for end in
                (training.time.min(), training.time.max())]  # fmt: skip
        fields = {"name": repr(splitting.time), "first": ends[0], "last": ends[1]}
        held = speech("cli.held.time", fields)
    elif comparing.unseen:
        held = speech("cli.held.tasks")
    if held:
        say_pair(speech("cli.label.held_out"), held, error=True)


def _say_answer(result: Comparison, speech: Translator) -> None:
    """Print what to do and why, and the leaderboard."""
    from polytask.reporting import terminal, terminal_table

    document = result.document(speech.lang)
    for line in terminal(document).splitlines():
        say(line)
    if document.brief is not None and document.brief.rows:
        say()
        say_whole(terminal_table(document.brief))


def _write(result: Comparison, folder: Folder, tables: Tables, running: Running) -> None:
    from polytask.cli.describe import predict_line

    speech = running.speech
    interrupted = result.stopped == "interrupt"
    out = folder.file("predictions.csv")
    more = ["--force"] if os.path.exists(out) else []
    predict = predict_line(folder.file(MODEL), tables, out, *more)
    if not interrupted:
        result.lock["command"]["predict"] = predict
    kept: list[str] = []
    folder.fill(writer(result, running, with_model=not interrupted, kept=kept))
    done = {"done": result.setup.n_splits, "n": result.setup.planned}
    if interrupted:
        raise Interrupted(speech("cli.compare.interrupted", {"folder": folder.path, **done}))
    if result.stopped:
        note(LazyMessage("cli.compare.out_of_time", done))
    say()
    say(speech("cli.compare.report", {"path": folder.file(REPORTS[0])}))
    if kept:
        say(speech("cli.next", {"path": folder.file(MODEL), "new": tables.source.new}))
        say_whole(f"  {predict}")
