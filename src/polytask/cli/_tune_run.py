"""The work of ``polytask tune``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.cli import _fit_report as report
from polytask.cli._console import digits, say, say_pair, say_table, working
from polytask.cli._fit_data import Training, read_training
from polytask.cli._fit_run import Choice
from polytask.cli._leftovers import removed_if_refused
from polytask.cli._models import check_choice, model_named
from polytask.cli._roles import Wanted
from polytask.cli._sources import MODEL_SUFFIX, Output, Source
from polytask.cli._splitting import check_one_way, folds_of
from polytask.cli._tune_space import said, short, space_of
from polytask.exceptions import DataError, IncompatibleError

if TYPE_CHECKING:
    from polytask.selection import Tuned

# Where an interrupted search left off, and the table of trials, beside the model.
_STORAGE, _TABLE = ".search", ".trials.csv"
# Trials that are printed.
_SHOWN = 5


@dataclass(frozen=True)
class Search:
    """What the user said about the search."""

    ranges: tuple[str, ...]
    choices: tuple[str, ...]
    trials: int
    prune: bool
    budget: float | None
    storage: str | None


def run_tune(
    source: Source,
    wanted: Wanted,
    choice: Choice,
    search: Search,
    output: Output,
    drop_missing: bool,
) -> None:
    """Read, search, write model and trials, and say what was found."""
    from polytask import save
    from polytask.data.readers import write_table
    from polytask.selection import tune
    from polytask.selection.tuning import load_optuna

    source.check("polytask tune")
    load_optuna()
    check_one_way(wanted)
    path = output.check(f"model{MODEL_SUFFIX}", source.data)
    table = Output(f"{path.removesuffix(MODEL_SUFFIX)}{_TABLE}", output.force)
    trials = table.check("", source.data)
    training = read_training(source, wanted, choice.demand(), drop_missing)
    estimator = _built(choice, training)
    space = _space(estimator, search)
    report.say_data(training)
    say_pair("Searched", ", ".join(said(name, given) for name, given in space.items()))
    storage = search.storage or f"{path}{_STORAGE}"
    waiting = working(f"Trying parameters of {type(estimator).__name__} ...")
    with removed_if_refused(storage, f"{storage}.lock"), waiting:
        found = tune(
            estimator,
            space,
            training.X,
            training.y,
            sample_weight=training.weight,
            cv=folds_of(training, choice.folds, choice.seed),
            n_trials=search.trials,
            seconds=search.budget,
            storage=storage,
            prune=search.prune,
            random_state=choice.seed,
        )
    save(found.estimator, path)
    write_table(_written(found), trials)
    whole = len(found.trials) >= search.trials
    if whole and search.storage is None:
        Path(storage).unlink(missing_ok=True)
    _say_found(found, report.score_name(found.estimator), whole)
    report.say_model(found.estimator, training)
    say(f"Wrote the trials to {trials}.")
    report.say_next(path, source, wanted)


def _built(choice: Choice, training: Training) -> Any:  # noqa: ANN401 - any estimator
    plan = choice.plan(training)
    check_choice(choice.model, plan)
    return model_named(choice.model).build(plan)


def _space(estimator: Any, search: Search) -> dict[str, Any]:  # noqa: ANN401 - any estimator
    found = space_of(estimator, search.ranges, search.choices)
    if not found:
        raise IncompatibleError(
            f"{estimator.penalty!r} has no strength to search: say what to search with --range "
            "or --choice."
        )
    return found


def _written(found: Tuned) -> Any:  # noqa: ANN401 - a data frame
    """Return the trials with names as in options; values that are no numbers as text."""
    frame = found.frame().rename(columns=short)
    for name in frame.columns:
        if frame[name].dtype == object:
            frame[name] = frame[name].map(str)
    return frame


def _say_found(found: Tuned, measure: str, whole: bool) -> None:
    frame = _written(found)
    pruned = int(frame["pruned"].sum())
    names = [name for name in frame if name not in ("score", "folds", "pruned")]
    best = frame[~frame["pruned"]].sort_values("score", ascending=False, kind="stable")
    rows = [
        (*(_cell(value) for value in row), digits(score))
        for row, score in zip(best[names].to_numpy(), best["score"], strict=True)
    ]
    say()
    early = f", of which {pruned:,} given up early" if pruned else ""
    say_pair("Trials", f"{len(frame):,}{early}")
    shares = _importance(found)
    if shares:
        say_pair("Importance", shares)
    right = tuple(range(len(names) + 1))
    say_table("The best trials", (*names, f"held-out {measure}"), rows[:_SHOWN], right)
    if not whole:
        say("The time is over; the same command with --force goes on.")


def _importance(found: Tuned) -> str:
    """Return how much each parameter decided about the score; nothing where that is not known."""
    from polytask.selection import importance

    try:
        frame = importance(found)
    except DataError:
        return ""
    if len(frame) < 2 or not np.isfinite(frame["share"]).all():
        return ""
    parts = zip(frame["parameter"], frame["share"], strict=True)
    return ", ".join(f"{short(name)} {share:.0%}" for name, share in parts)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
