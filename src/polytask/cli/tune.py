"""``polytask tune``: search parameters of a penalty with Optuna, and write the best model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from polytask._checks import nearest
from polytask._options import option
from polytask.cli.console import digits, say, say_pair, say_table
from polytask.cli.files import MODEL_SUFFIX, Tables, cleanup_on_error, writable
from polytask.cli.models import FIXED, Learning, known_name
from polytask.cli.options import Running, Vary
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    from polytask.messages import Translator
    from polytask.selection import Between, Tuned


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
    from polytask.selection import Between

    known = estimator.get_params()
    if hasattr(estimator, "search_space"):
        usual: Space = estimator.search_space()
    else:
        # The ranges of all strengths of the penalty: as fractions where there is a whole.
        params, usual = estimator.penalty.get_params(), {}
        for name in params:
            head, _, last = name.rpartition("__")
            fraction = f"{head}__fraction" if head else "fraction"
            if last == "alpha":
                relative = fraction in params
                ends = _FRACTIONS if relative else _STRENGTHS
                usual[_OWN + (fraction if relative else name)] = Between(*ends)
    found: Space = {}
    for text in ranges:
        name, rest = _named(text, "--range", "NAME=LOW..HIGH", known, usual)
        found[name] = _between(rest, text, known[name])
    for text in choices:
        name, rest = _named(text, "--choice", "NAME=A,B", known, usual)
        if name in found:
            raise ParameterError(LazyMessage("cli.refusal.searched_already", {"text": text}))
        found[name] = [_value(word.strip()) for word in rest.split(",")]
    return found or usual


def said(name: str, given: Any, speech: Translator) -> str:  # noqa: ANN401 - a range or a list
    """Return a parameter and what is searched of it, as words."""
    if not isinstance(given, list | tuple):
        ends = {"low": f"{given.low:g}", "high": f"{given.high:g}"}
        return f"{short(name)} {speech('cli.tune.range', ends)}"
    return f"{short(name)} {speech('cli.tune.or').join(map(str, given))}"


def short(name: str) -> str:
    """Return the name of a parameter as it is written in options."""
    return name.removeprefix(_OWN).replace("__", ".")


def _named(
    text: str, option: str, form: str, known: Mapping[str, Any], usual: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the full name of a parameter, and what stands behind the equals sign."""
    given, equals, rest = text.partition("=")
    if not equals or not rest.strip():
        raise ParameterError(
            LazyMessage(
                "cli.refusal.written", {"option": option, "form": form, "text": repr(text)}
            )
        )
    plain = given.strip().replace(".", "__")
    for name in (_OWN + plain, plain):
        if name in known:
            return name, rest
    own = [name for name in known if name.startswith(_OWN)] or list(usual)
    names = [*map(short, own), "task_weight"]
    raise ParameterError(
        LazyMessage(
            "cli.refusal.no_parameter",
            {
                "option": option,
                "names": [*names[:6]],
                "given": repr(given),
                "hint": nearest(given, map(short, known)),
            },
        )
    )


def _between(rest: str, text: str, present: object) -> Between:
    from polytask.selection import Between

    low, dots, high = rest.partition("..")
    ends = [_value(end.strip()) for end in (low, high)]
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    if not dots or not numbers:
        fields = {"option": "--range", "form": "NAME=LOW..HIGH", "text": repr(text)}
        raise ParameterError(LazyMessage("cli.refusal.written", fields))
    whole = isinstance(present, int) and not isinstance(present, bool)
    least, most = float(ends[0]), float(ends[1])
    factors = least > 0 and most >= _FACTOR * least and math.isfinite(most)
    try:
        return Between(least, most, log=factors, integer=whole)
    except ParameterError as error:
        raise ParameterError(
            LazyMessage("cli.refusal.range", {"text": text, "error": error.args[0]})
        ) from None


def _value(word: str) -> Any:  # noqa: ANN401 - a number, a word, or what it stands for
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


# Where an interrupted search left off, and the table of trials, beside the model.
_STORAGE, _TABLE = ".search", ".trials.csv"
# Trials that are printed.
_SHOWN = 5
_USUAL_PENALTY, _NETWORK = "toward_mean + L2", "deep"


def _penalty_help() -> LazyMessage:
    return LazyMessage("help.tune.penalty", {"penalty": _USUAL_PENALTY})


@dataclass(frozen=True)
class SearchOptions:
    """What the user said about the search."""

    PANEL = "help.panel.search"

    trials: int = option("help.trials", default=50, least=1, metavar="N")
    ranges: tuple[str, ...] = option(
        "help.ranges",
        "--range",
        metavar="NAME=LOW..HIGH",
        default=(),
    )
    choices: tuple[str, ...] = option(
        "help.choices",
        "--choice",
        metavar="NAME=A,B",
        default=(),
    )
    prune: bool = option(
        "help.prune",
        "--prune/--no-prune",
        default=True,
    )
    storage: str | None = option(
        "help.storage",
        metavar="FILE",
    )


EXAMPLES = """\
  polytask tune exams.csv --task school --target score --time-budget 10m --out exams.polytask

  polytask tune plant.csv --targets 'y_*' --penalty SparseGroup --range l1_ratio=0.05..0.95 \
--range fraction=0.001..1 --choice task_weight=size,equal --out plant.polytask

  polytask tune exams.csv --task school --target score --model deep --trials 30 --out net.polytask
"""


def tune(
    tables: Tables,
    learning: Annotated[
        Learning,
        Vary(
            ("criterion",),
            {
                "model": option(
                    "help.tune.model",
                    default=FIXED,
                    metavar=f"{FIXED}|{_NETWORK}",
                ),
                "penalty": option(
                    _penalty_help,
                    metavar="TEXT",
                ),
            },
        ),
    ],
    search: SearchOptions,
    running: Annotated[Running, Vary(("json", "resume", "jobs"))],
) -> None:
    """Read, search, write model and trials, and say what was found."""
    from polytask import save
    from polytask.cli.describe import say_data, say_model, say_next, scores_beside
    from polytask.cli.training_data import read_training
    from polytask.data.readers import write_table
    from polytask.selection import tune as tuned
    from polytask.selection.tuning import load_optuna

    speech = running.speech
    tables.check("tune", running.out, f"model{MODEL_SUFFIX}")
    known_name("--model", learning.model, (FIXED, _NETWORK))
    load_optuna()
    force, inputs = running.force, (tables.source.data,)
    path = writable(running.out, force=force, example=f"model{MODEL_SUFFIX}", inputs=inputs)
    table = f"{path.removesuffix(MODEL_SUFFIX)}{_TABLE}"
    trials = writable(table, force=force, example="", inputs=inputs)
    if learning.penalty is None and learning.model == FIXED:
        learning = replace(learning, penalty=_USUAL_PENALTY)
    training = read_training(tables, learning.override)
    training.refuse_constant(tables.source.name)
    estimator = learning.estimator(training, running)
    space = space_of(estimator, search.ranges, search.choices)
    if not space:
        raise IncompatibleError(
            LazyMessage("cli.refusal.no_strength", {"penalty": repr(estimator.penalty)})
        )
    say_data(training, speech)
    named = ", ".join(said(name, given, speech) for name, given in space.items())
    if any(short(name).startswith("p0.") for name in space):
        named = speech("cli.tune.terms", {"searched": named})
    say_pair(speech("cli.label.searched"), named)
    storage = search.storage or f"{path}{_STORAGE}"
    waiting = running.waiting("cli.tune.trying", estimator)
    with cleanup_on_error(storage, f"{storage}.lock"), waiting:
        found = tuned(
            estimator,
            space,
            training.X,
            training.y,
            sample_weight=training.weight,
            cv=training.folds(learning.folds, running.seed),
            n_trials=search.trials,
            seconds=running.seconds,
            storage=storage,
            prune=search.prune,
            random_state=running.seed,
        )
    Path(f"{storage}.lock").unlink(missing_ok=True)
    save(found.estimator, path)
    write_table(_written(found), trials)
    whole = len(found.trials) >= search.trials
    if whole and search.storage is None:
        Path(storage).unlink(missing_ok=True)
    beside = scores_beside(found.estimator, training, learning, running)
    if beside.with_errors is not None:
        save(found.estimator, path)
    _say_found(found, speech, whole)
    say_model(found.estimator, speech, scores=beside)
    say(speech("cli.tune.wrote", {"path": trials}))
    say_next(path, tables, speech)


def _written(found: Tuned) -> Any:  # noqa: ANN401 - a data frame
    """Return the trials with names as in options; values that are no numbers as text."""
    frame = found.frame().rename(columns=short)
    for name in frame.columns:
        if frame[name].dtype == object:
            frame[name] = frame[name].map(str)
    return frame


def _say_found(found: Tuned, speech: Translator, whole: bool) -> None:
    from polytask.cli.describe import score_name

    frame = _written(found)
    pruned = int(frame["pruned"].sum())
    names = [name for name in frame if name not in ("score", "folds", "pruned")]
    best = frame[~frame["pruned"]].sort_values("score", ascending=False, kind="stable")
    rows = [
        (*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row), digits(score))
        for row, score in zip(best[names].to_numpy(), best["score"], strict=True)
    ]
    say()
    fields = {"n": len(frame), "pruned": pruned}
    say_pair(
        speech("cli.label.trials"), speech(f"cli.tune.{'pruned' if pruned else 'trials'}", fields)
    )
    if shares := _importance(found):
        said_shares = speech("cli.tune.importance", {"shares": shares})
        say_pair(speech("cli.label.importance"), said_shares)
    say()
    right = tuple(range(len(names) + 1))
    measure = speech("cli.tune.score", {"measure": score_name(found.estimator, speech)})
    say_table(speech("cli.tune.title"), (*names, measure), rows[:_SHOWN], right)
    if not whole:
        say(speech("cli.tune.stopped"))


def _importance(found: Tuned) -> str:
    """Return how much each parameter decided about the score; nothing where that is not known."""
    from polytask.selection import importance

    try:
        frame = importance(found)
    except DataError:
        return ""
    if len(frame) < 2 or not all(map(math.isfinite, frame["share"])):
        return ""
    parts = zip(frame["parameter"], frame["share"], strict=True)
    return ", ".join(f"{short(name)} {share:.0%}" for name, share in parts)
