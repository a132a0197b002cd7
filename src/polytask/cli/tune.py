"""``polytask tune``: search parameters of a penalty with Optuna, and write the best model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from polytask._checks import nearest
from polytask.cli import fit as report
from polytask.cli import options
from polytask.cli.columns import Wanted, check_one_way, folds_of
from polytask.cli.console import digits, say, say_pair, say_table, working
from polytask.cli.files import MODEL_SUFFIX, Output, Source, Style, removed_if_refused
from polytask.cli.fit import Choice
from polytask.cli.models import check_choice, model_named
from polytask.cli.training_data import Training, read_training
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.selection import Between

if TYPE_CHECKING:
    from polytask.selection import Tuned


Space = dict[str, Any]

# From hardly any penalty to little but the penalty, on scaled features and targets.
_STRENGTHS = (1e-3, 100.0)
# Of the strength at which all coefficients vanish.
_FRACTIONS = (1e-3, 1.0)
# Where the ends are so far apart, factors matter.
_FACTOR = 10.0
_WORDS: Mapping[str, Any] = {"none": None, "true": True, "false": False}
_OWN = "penalty__"


def space_of(estimator: Any, ranges: Sequence[str], choices: Sequence[str]) -> Space:  # noqa: ANN401
    """Return what is searched, by the names of the estimator's parameters."""
    known = estimator.get_params()
    usual = _usual(estimator)
    found: Space = {}
    for text in ranges:
        name, rest = _named(text, "--range", "NAME=LOW..HIGH", known, usual)
        found[name] = _between(rest, text, known[name])
    for text in choices:
        name, rest = _named(text, "--choice", "NAME=A,B", known, usual)
        if name in found:
            raise ParameterError(f"--choice {text} names what another option searches already.")
        found[name] = [_value(word.strip()) for word in rest.split(",")]
    return found or usual


def _usual(estimator: Any) -> Space:  # noqa: ANN401 - any estimator
    if hasattr(estimator, "search_space"):
        offered: Space = estimator.search_space()
        return offered
    return _strengths(estimator.penalty.get_params())


def said(name: str, given: Any) -> str:  # noqa: ANN401 - a range or a list
    """Return a parameter and what is searched of it, as words."""
    if isinstance(given, Between):
        return f"{short(name)} {given.low:g} to {given.high:g}"
    return f"{short(name)} {' or '.join(map(str, given))}"


def short(name: str) -> str:
    """Return the name of a parameter as it is written in options."""
    return name.removeprefix(_OWN).replace("__", ".")


def _named(
    text: str, option: str, form: str, known: Mapping[str, Any], usual: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the full name of a parameter, and what stands behind the equals sign."""
    given, equals, rest = text.partition("=")
    if not equals or not rest.strip():
        raise ParameterError(f"{option} is written {form}; got {text!r}.")
    plain = given.strip().replace(".", "__")
    for name in (_OWN + plain, plain):
        if name in known:
            return name, rest
    own = [name for name in known if name.startswith(_OWN)] or list(usual)
    names = [*map(short, own), "task_weight"]
    raise ParameterError(
        f"{option} must name a parameter of the penalty or the model, such as "
        f"{', '.join(names[:6])}; got {given!r}.{nearest(given, map(short, known))}"
    )


def _between(rest: str, text: str, present: object) -> Between:
    low, dots, high = rest.partition("..")
    ends = [_value(end.strip()) for end in (low, high)]
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    if not dots or not numbers:
        raise ParameterError(f"--range is written NAME=LOW..HIGH; got {text!r}.")
    whole = isinstance(present, int) and not isinstance(present, bool)
    least, most = float(ends[0]), float(ends[1])
    factors = least > 0 and most >= _FACTOR * least and math.isfinite(most)
    try:
        return Between(least, most, log=factors, integer=whole)
    except ParameterError as error:
        raise ParameterError(f"--range {text} cannot be searched. {error}") from None


def _value(word: str) -> Any:  # noqa: ANN401 - a number, a word, or what it stands for
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _strengths(params: Mapping[str, Any]) -> Space:
    """Return the ranges of all strengths of a penalty: as fractions where there is a whole."""
    found: Space = {}
    for name in params:
        head, _, last = name.rpartition("__")
        fraction = f"{head}__fraction" if head else "fraction"
        if last == "alpha":
            relative = fraction in params
            ends = _FRACTIONS if relative else _STRENGTHS
            found[_OWN + (fraction if relative else name)] = Between(*ends)
    return found


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


HELP = """Search strengths and other parameters of one penalty or a network; write the best model.

For more parameters than a grid can hold; for one strength per penalty polytask fit is faster. \
Needs Optuna: pip install 'polytask\\[search]'. An interrupted run goes on where it was. Tables \
come in the three forms of polytask fit.
"""

EPILOG = """[bold]Examples[/bold]

Both strengths of a sum, at most ten minutes:

  polytask tune exams.csv --task school --target score --time-budget 10m --out exams.polytask

A range and a list of one's own:

  polytask tune plant.csv --targets 'y_*' --penalty SparseGroup --range l1_ratio=0.05..0.95 \
--range fraction=0.001..1 --choice task_weight=size,equal --out plant.polytask

Learning rate, weight decay, width, dropout and sharing of a network:

  polytask tune exams.csv --task school --target score --model deep --trials 30 --out net.polytask
"""


def tune(
    data: options.Data = None,
    task: options.Task = None,
    target: options.Target = None,
    targets: options.Targets = None,
    features: options.Features = None,
    drop: options.Drop = None,
    ids: options.Ids = None,
    weight: options.Weight = None,
    drop_missing_target: options.DropMissing = False,
    allow_leak: options.AllowLeak = False,
    file_per_task: options.FilePerTask = None,
    sep: options.Sep = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing_values: options.MissingValues = None,
    loss: options.Loss = "auto",
    model: Annotated[
        Literal["multitask", "deep"],
        typer.Option(
            metavar="NAME",
            rich_help_panel=options.LEARNING,
            help="multitask: linear, with one penalty; deep: a network, which needs "
            "polytask\\[deep].",
        ),
    ] = "multitask",
    penalty: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            rich_help_panel=options.LEARNING,
            help="What the tasks share, such as 'SparseGroup' or 'dirty' (default: toward_mean + "
            "L2; of a network: none).",
        ),
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="NAME=LOW..HIGH",
            rich_help_panel=options.LEARNING,
            help="A number to search, such as p0.alpha=0.001..100: of the first member of a sum, "
            "by factors if HIGH is ten times LOW or more (default: every strength; of a network "
            "what matters most).",
        ),
    ] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option(
            "--choice",
            metavar="NAME=A,B",
            rich_help_panel=options.LEARNING,
            help="Values to choose among, such as task_weight=size,equal.",
        ),
    ] = None,
    time: options.Time = None,
    group: options.Group = None,
    unseen_tasks: options.Unseen = None,
    folds: Annotated[
        int, typer.Option(min=2, rich_help_panel=options.LEARNING, help="Folds of a trial.")
    ] = 5,
    trials: Annotated[
        int,
        typer.Option(metavar="N", min=1, rich_help_panel=options.LEARNING, help="Trials in all."),
    ] = 50,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune/--no-prune",
            rich_help_panel=options.LEARNING,
            help="Give a trial up after a fold at which it is below the median of those before.",
        ),
    ] = True,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            rich_help_panel=options.RUNNING,
            help="The model file to write; the table of trials beside it ends in .trials.csv.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=options.RUNNING,
            help="Keep the trials here, so that a later call with more --trials adds to them "
            "(default: beside the model until the search ends).",
        ),
    ] = None,
    time_budget: options.Budget = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, rich_help_panel=options.RUNNING, help="Seed of the trials and splits."
        ),
    ] = 0,
    config: options.Config = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            rich_help_panel=options.RUNNING,
            help="Replace the files that --out names.",
        ),
    ] = False,
) -> None:
    """Search parameters of one penalty or a network, and write the best model."""
    from polytask.cli.fit import Choice
    from polytask.cli.options import seconds

    wanted = Wanted(
        task=task,
        weight=weight,
        group=group,
        time=time,
        targets=tuple(target or ()),
        target_patterns=tuple(targets or ()),
        features=tuple(features or ()),
        drop=tuple(drop or ()),
        ids=tuple(ids or ()),
        allow_leak=allow_leak,
    )
    if penalty is None and model == "multitask":
        penalty = "toward_mean + L2"
    choice = Choice(loss, model, penalty, unseen_tasks or "error", folds, seed, None)
    search = Search(
        ranges=tuple(ranges or ()),
        choices=tuple(choices or ()),
        trials=trials,
        prune=prune,
        budget=None if time_budget is None else seconds(time_budget),
        storage=storage,
    )
    source = Source(
        data, file_per_task, Style(sep, decimal, encoding, tuple(missing_values or ()))
    )
    run_tune(source, wanted, choice, search, Output(out, force), drop_missing_target)
