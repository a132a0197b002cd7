"""What ``polytask compare`` says."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from polytask.cli._compare_folder import MODEL, REPORTS, Folder
from polytask.cli._console import say, say_pair, say_table, say_whole, terminal_width
from polytask.cli._fit_report import say_data
from polytask.cli._given import command_line

if TYPE_CHECKING:
    from polytask.cli._compare_request import Request
    from polytask.cli._fit_data import Training
    from polytask.comparison import Comparison
    from polytask.comparison.records import ModelRow, Setup

# Metrics beside that of the verdict: as many as a terminal has room for, but no more than these.
_MOST = 4
_WIDTH, _COLUMN = 80, 12


def say_understood(request: Request, training: Training) -> None:
    """Say on standard error what was understood of data and options."""
    say_data(training, error=True)
    wanted = request.wanted
    if training.group is not None:
        count = len(set(training.group.tolist()))
        say_pair("Held out", f"whole groups of {wanted.group!r}, of {count:,}", error=True)
    elif training.time is not None:
        first, last = training.time.min(), training.time.max()
        text = f"what comes next by {wanted.time!r}, from {_moment(first)} to {_moment(last)}"
        say_pair("Held out", text, error=True)
    elif request.method.unseen:
        say_pair("Held out", "whole tasks", error=True)


def _moment(value: object) -> str:
    text = str(value)
    # Dates come with the time of day down to parts of a second.
    return text.partition("T")[0] if text.endswith("T00:00:00.000000") else text


def say_answer(result: Comparison, lang: str) -> None:
    """Print the verdict and the leaderboard."""
    from polytask.comparison.presenting import verdict_sentence

    sentence = verdict_sentence(result, lang)
    # The same word in every language, for programs that look for the line.
    say(f"Verdict: {sentence}")
    say()
    if any(not math.isnan(row.score.mean) for row in result.models):
        say_leaderboard(result)
        say()
    for line in result.summary(lang).splitlines():
        if line != sentence:
            say(line)


def say_leaderboard(result: Comparison) -> None:
    """Print the models, best first."""
    names = _beside(result)
    scored = [row for row in result.models if not math.isnan(row.score.mean)]
    # Scores that are no means over rows have no interval from one split.
    spread = ["95% interval"] if any(not math.isnan(row.score.low) for row in scored) else []
    first = "R2" if _against(result.setup) else _labels((result.setup.metric,))[0]
    header = ("model", first, *spread, *_labels(names))
    rows = [_row(row, names, bool(spread)) for row in scored]
    right = tuple(range(1, len(header) + 2))
    done, planned = result.setup.n_splits, result.setup.planned
    title = f"Scores on held-out rows ({done} of {planned} folds){_against(result.setup)}"
    say_table(title, (*header, "chosen", "fit CPU"), rows, right=right)
    for row in result.models:
        if math.isnan(row.score.mean) and row.note:
            say(f"Not scored: {row.name} ({row.note}).")


def _against(setup: Setup) -> str:
    """Return what R2 compares with, where it is the score of the verdict; else nothing."""
    if setup.metric != "d2" or setup.problem != "regression" or setup.of_deviance:
        return ""
    if setup.form == "targets":
        return ": mean R2 of the targets, each against its training mean"
    return ": R2 against the training mean"


def _beside(result: Comparison) -> tuple[str, ...]:
    names = dict.fromkeys(name for row in result.models for name in row.metrics)
    width = terminal_width()
    room = _MOST if width is None else max(0, min(_MOST, (width - _WIDTH) // _COLUMN))
    return tuple(name for name in names if name != result.setup.metric)[:room]


def _labels(names: tuple[str, ...]) -> list[str]:
    from polytask.metrics import METRICS

    return [METRICS[name].label for name in names]


def _row(row: ModelRow, names: tuple[str, ...], spread: bool) -> list[str]:
    score = row.score
    interval = "" if math.isnan(score.low) else f"{score.low:.4g} to {score.high:.4g}"
    beside = [_number(row.metrics.get(name, math.nan)) for name in names]
    picked = f"{row.picked}x" if row.picked else ""
    scores = [_number(score.mean), interval] if spread else [_number(score.mean)]
    return [row.name, *scores, *beside, picked, f"{row.fit_seconds:.2g} s"]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"


def say_next(request: Request, folder: Folder, kept: list[str]) -> None:
    """Say where the report is, and print the command that predicts with the model."""
    say()
    say(f"Report: {folder.file(REPORTS[0])}")
    if not kept:
        return
    say("To predict (put a table of new rows in its place):")
    say_whole(f"  {predict_line(request, folder)}")


def predict_line(request: Request, folder: Folder) -> str:
    """Return the command that predicts the rows that were compared on."""
    source, wanted = request.source, request.wanted
    words = ["predict", folder.file(MODEL)]
    words += [source.data] if source.data is not None else ["--file-per-task", source.name]
    for name in wanted.ids:
        words += ["--id", name]
    target = folder.file("predictions.csv")
    words += [*source.style.arguments(), "--out", target]
    return command_line(*words, *(["--force"] if os.path.exists(target) else []))
