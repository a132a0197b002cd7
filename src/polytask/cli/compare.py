"""``polytask compare``: say whether the tasks of a table should be learned together."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Annotated

import typer

from polytask._options import argument, option
from polytask.cli.columns import NO_SPLITTING, SplitOptions
from polytask.cli.console import (
    DONE,
    FILE_ROWS,
    Interrupted,
    in_options,
    note,
    say,
    say_pair,
    say_whole,
)
from polytask.cli.files import Tables
from polytask.cli.folder import MODEL, REPORTS, Folder, SavedCommand, writer
from polytask.cli.models import Learning, known_models, known_name
from polytask.cli.options import ExplicitOptions, Running, Vary
from polytask.comparison.options import Options
from polytask.exceptions import ParameterError, PolytaskError
from polytask.messages import LazyMessage, Translator

if TYPE_CHECKING:
    from polytask.cli.training_data import TrainingData
    from polytask.comparison import Comparison

EXAMPLES = """\
  polytask compare exams.csv --task school --target score --out exams --quick

  polytask compare visits.csv --task ward --target ill --group patient --out visits

  polytask compare exams.csv --task school --target score --out exams --learning-curve --ablation

  polytask compare plant.csv --targets 'y_*' --time day --time-budget 30m --out plant

  polytask compare all.stats --out study
"""


def compare(
    context: typer.Context,
    tables: Annotated[Tables, Vary(changed={"data": argument("help.data.or_statistics", "DATA")})],
    options: Options,
    learning: Annotated[
        Learning, Vary(("model", "penalty", "criterion", "folds", "unseen_tasks"))
    ],
    running: Annotated[
        Running,
        Vary(
            ("json",),
            {
                "out": option("help.compare.out", metavar="DIR"),
                "force": option("help.compare.force", default=False),
                "time_budget": option("help.compare.time_budget", metavar="TIME"),
            },
        ),
    ],
) -> int:
    """Read, compare, say the verdict and write the folder."""
    from polytask.cli.in_parts import collect_folds
    from polytask.cli.training_data import read_training

    tables.check("compare", running.out, "comparison")
    options = _checked(options)
    tables.check_unseen(options.unseen)
    if options.unseen:
        tables = dataclasses.replace(tables, splitting=NO_SPLITTING)
    budget = running.seconds
    folder = Folder.named(running.out)
    in_parts = bool(tables.source.too_large)
    if in_parts:
        training = collect_folds(tables, learning, options, running)
    else:
        training = read_training(tables, learning.override)
    training.refuse_incomparable(tables.source.name)
    command = SavedCommand.of(ExplicitOptions.of(context), tables.source, folder.path)
    give_back = folder.claim(command, resume=running.resume, force=running.force)
    try:
        if not running.quiet:
            _say_understood(tables.splitting, training, options, running.speech)
        from polytask import compare as compared

        options = dataclasses.replace(
            options,
            sample_weight=training.weight,
            # Statistics know the column by themselves.
            task_column=(
                None if in_parts or tables.source.is_statistics else training.task_column
            ),
            loss=training.losses(learning.loss),
            groups=training.group,
            time=training.time,
            time_budget=budget,
            n_jobs=running.processes,
            random_state=running.seed,
            journal=folder.journal,
            verbose=not running.quiet,
            allow_leak=tables.columns.allow_leak,
        )
        result = compared(training.X, training.y, **vars(options))
        # What is said of the data counts rows as in the file.
        about = (*training.notes, *result.doubts)
        told = (FILE_ROWS.counted(in_options(message)) for message in about)
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


def _checked(options: Options) -> Options:
    """Return the options with models and metric by their names, which are spelled with hyphens."""
    metric = options.metric
    if options.models != "default":
        names = known_models(options.models)
        _check_rule(names)
        options = dataclasses.replace(options, models=list(names))
    if metric is not None:
        from polytask.metrics import METRICS

        metric = known_name("--metric", metric, tuple(METRICS))
    return dataclasses.replace(options, metric=metric)


def _check_rule(names: tuple[str, ...]) -> None:
    """Refuse models among which the rule of the verdict has nothing to compare."""
    from polytask.selection.candidates import DEEP, DEFAULT, MODELS

    # All networks are of both sorts.
    if {DEFAULT, DEEP} & set(names):
        return
    for family in ("linear", DEEP):
        kinds = {MODELS[n].kind == "shared" for n in names if MODELS[n].family == family}
        if len(kinds) == 2:
            return
    linear = [model for model in MODELS.values() if model.family == "linear"]
    sharing = [model.name for model in linear if model.kind == "shared"]
    plain = [model.name for model in linear if model.kind != "shared"]
    for sort, known in {"sharing": sharing, "not_sharing": plain}.items():
        if not set(known) & set(names):
            raise ParameterError(
                LazyMessage(
                    "cli.refusal.rule",
                    {"sort": LazyMessage(f"cli.what.{sort}"), "names": [*map(repr, known[:3])]},
                )
            )


def _say_understood(
    splitting: SplitOptions, training: TrainingData, options: Options, speech: Translator
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
    elif options.unseen:
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
    if result.recommended and not interrupted:
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
    if not (result.predicts or result.recommended):
        say(speech("cli.compare.no_model", {"folder": folder.path}))
    if kept:
        say(speech("cli.next", {"path": folder.file(MODEL), "new": tables.source.new}))
        say_whole(f"  {predict}")
