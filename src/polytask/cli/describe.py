"""What commands say of data and of models, and of simpler models beside them."""

from __future__ import annotations

import math
import re
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.cli.console import note, say, say_pair, say_whole
from polytask.cli.options import command_line
from polytask.exceptions import PolytaskError
from polytask.messages import LazyMessage, Text, message_of, text_of

if TYPE_CHECKING:
    from polytask._estimator.held_out_errors import ErrorRows
    from polytask.cli.files import Tables
    from polytask.cli.models import Learning
    from polytask.cli.options import Running
    from polytask.cli.targets import TargetKind
    from polytask.cli.training_data import TrainingData
    from polytask.data import TaskData
    from polytask.messages import Translator

# Names that are listed one by one.
SHOWN = 8


def kind_sentence(kind: TargetKind, speech: Translator) -> str:
    """Return what a target is, and why."""
    key = "classification" if kind.is_class else "regression"
    fields = {"name": repr(kind.name), "reason": kind.reason.text(speech)}
    return speech(f"cli.target.{key}", fields)


def say_data(training: TrainingData, speech: Translator, *, error: bool = False) -> None:
    """Say what was understood of the data."""
    sizes = list(training.sizes.values())
    fields: dict[str, str | int] = {
        "n": len(sizes), "least": min(sizes), "most": max(sizes),
        "median": f"{median(sizes):,.6g}",
    }  # fmt: skip
    alike = "equal" if min(sizes) == max(sizes) else "unequal"
    tasks = speech(f"cli.tasks.{alike}", fields)
    singles = [label for label, n in training.sizes.items() if n == 1]
    if singles:
        tasks += speech("cli.tasks.singles", {"n": len(singles), "name": repr(singles[0])})
    if len(sizes) == 1:
        tasks += speech("cli.tasks.alone")
    say_pair(speech("cli.label.rows"), f"{training.n_rows:,}", error=error)
    say_pair(speech("cli.label.tasks"), tasks, error=error)
    if training.groupings:
        levels = (
            speech("groupings.levels", {"name": repr(name), "n": n})
            for name, n in training.groupings.items()
        )
        say_pair(speech("card.groupings"), speech.listed(levels), error=error)
    columns = speech("cli.columns", {"n": training.n_columns})
    say_pair(speech("cli.label.columns"), columns, error=error)
    kinds, more = training.kinds, []
    if len(kinds) > SHOWN:
        classes = sum(kind.is_class for kind in kinds)
        numbers = len(kinds) - classes
        more = [speech("cli.target.many", {"classes": classes, "numbers": numbers})]
        kinds = tuple(kind for kind in kinds if kind.written)
        if len(kinds) > SHOWN:
            more.append(speech("cli.target.more", {"n": len(kinds) - SHOWN}))
    for sentence in (*more[:1], *(kind_sentence(k, speech) for k in kinds[:SHOWN]), *more[1:]):
        say_pair(speech("cli.label.target"), sentence, error=error)


# Penalties that are models of a comparison, by what their text begins with.
_NAMES = {"toward_mean": "near the mean", "L21": "same features", "TraceNorm": "common subspace"}


def say_model(
    estimator: Any,  # noqa: ANN401 - any estimator
    speech: Translator,
    name: str | None = None,
    scores: Scores | None = None,
) -> None:
    """Say what was chosen, how good it is beside baselines, and how sure its solver is."""
    said = describe(estimator, speech)
    penalty = repr(getattr(estimator, "best_penalty_", None) or getattr(estimator, "penalty", ""))
    name = name or next((_NAMES[word] for word in _NAMES if penalty.startswith(word)), None)
    if name is not None and (meaning := speech.word("model_is", name)) != name:
        said = speech("cli.meaning", {"model": said, "meaning": meaning})
    say_pair(speech("cli.label.model"), said)
    for label, text in scored(estimator, speech, scores):
        say_pair(label, text)
    if covered := coverage_words(estimator, speech):
        say_pair(speech("cli.label.intervals"), covered)
    say_pair(speech("cli.label.features"), features_words(estimator, speech))
    from polytask._estimator.groupings import shares_of_groupings

    if shares := shares_of_groupings(estimator):
        from sklearn.base import is_regressor

        from polytask.task_relations.sentences import variance_words

        named = {str(name): share for name, share in shares.items()}
        kind = "shares" if is_regressor(estimator) else "shares_latent"
        said = variance_words(named, speech, f"groupings.{kind}")
        say_pair(speech("card.groupings"), said)
    solution = getattr(estimator, "solution_", None)
    if solution is not None:
        say_pair(proof_label(solution, speech), certificate(solution, speech))


def scored(estimator: Any, speech: Translator, scores: Scores | None) -> list[tuple[str, str]]:  # noqa: ANN401
    """Return how good a model is on held-out rows, beside baselines, and what a search chose."""
    from sklearn.base import is_classifier

    found = searched(estimator, speech)
    if scores is None:
        return found
    but = LazyMessage("cli.scored.but", scores.unscored).text(speech) if scores.unscored else ""
    if scores.own is not None:
        measure = (
            speech("cli.score.log_loss")
            if is_classifier(estimator)
            else score_name(estimator, speech)
        )
        fields: dict[str, str | int] = {"measure": measure}
        known = math.isfinite(scores.own)
        value = f"{scores.own:.4g}" if known else speech("number.missing")
        said = speech("cli.scored", fields | {"value": value, "folds": scores.folds, "but": but})
        remark = _remark(scores.own, is_classifier(estimator), speech)
        found.insert(0, (speech("cli.label.held_out"), speech.joined([said, remark])))
    if found and found[0][0] == speech("cli.label.held_out"):
        how = speech(f"cli.folds.{scores.held_out}")
        found[0] = (found[0][0], speech.joined([found[0][1], how]))
    if scores.beside:
        beside = [
            speech(f"cli.baseline.{key}", {"value": speech.number(value, 4)})
            for key, value in scores.beside.items()
        ]
        rows = {"but": but if scores.own is None else "", "scores": speech.listed(beside)}
        text = speech("cli.baselines", rows)
        own, constant = _log_loss(estimator, scores), scores.beside.get("constant", math.inf)
        if own >= constant:
            text += speech("cli.held_out.constant")
        found.insert(1, (speech("cli.label.baselines"), text))
    return found


def _log_loss(estimator: Any, scores: Scores) -> float:  # noqa: ANN401 - any estimator
    """Return the log loss of classes on held-out rows, minus infinity where it is not that."""
    from sklearn.base import is_classifier

    if not is_classifier(estimator):
        return -math.inf
    searched = -float(getattr(estimator, "best_score_", math.inf))
    return searched if scores.own is None else scores.own


def describe(estimator: Any, speech: Translator) -> str:  # noqa: ANN401 - any estimator
    """Return the class of an estimator, with what it wraps, combines or its penalty."""
    name = type(estimator).__name__
    inner, parts = getattr(estimator, "estimator", None), []
    if hasattr(estimator, "penalty"):
        penalty = getattr(estimator, "best_penalty_", None) or estimator.penalty
        parts = ["L21(fraction=0.1)" if penalty is None else short(penalty)]
    elif hasattr(estimator, "trunk"):
        from polytask.deep.network import trunk_of

        trunk, sharing = trunk_of(estimator.trunk, name), estimator.sharing
        # A module of the user's own shows itself on many lines.
        shown = short(trunk) if hasattr(trunk, "get_params") else type(trunk).__name__
        parts = [" ".join(shown.split()), *([] if sharing is None else [repr(sharing)])]
    elif hasattr(estimator, "members_"):
        shares = zip(estimator.members_, estimator.task_weights_.mean(axis=0), strict=True)
        parts = [f"{label} {share:.0%}" for label, share in shares]
    elif inner is not None:
        parts = [type(step).__name__ for _, step in getattr(inner, "steps", [("", inner)])]
        if (effect := getattr(estimator, "_effect", None)) is not None:
            # A sentence of its own, which is here a part of one.
            told = text_of(effect.sentence)
            said = told.text(speech) if isinstance(told, LazyMessage) else told
            parts.append(said[:1].lower() + said[1:].rstrip(".。"))
        if getattr(estimator, "task_effect", "") == "intercept":
            name = speech("model_card.title", {"kind": name, "name": "pooled + intercepts"})
    if not parts:
        return name
    return speech("cli.with", {"model": name, "parts": speech.listed(parts)})


def short(penalty: object) -> str:
    """Return a penalty with four digits per number."""
    return re.sub(r"\d+\.\d+(e[+-]?\d+)?", lambda m: f"{float(m[0]):.4g}", repr(penalty))


def searched(estimator: Any, speech: Translator) -> list[tuple[str, str]]:  # noqa: ANN401
    """Return what a search chose, and its score on the rows that it held out."""
    values: Any = getattr(estimator, "criterion_", None)
    scores: Any = getattr(estimator, "scores_", None)
    if values is None and scores is None:
        return []
    weights = estimator.task_weight_
    found = f"alpha={estimator.alpha_:.4g}, task_weight={weights!r}"
    if hasattr(estimator.best_penalty_, "members"):
        both = {"alpha": f"{estimator.alpha_:.4g}", "weights": repr(weights)}
        found = speech("cli.strength.terms", both)
    if isinstance(weights, str):
        found = speech(f"cli.strength.{weights}", {"found": found})
    strength = (speech("cli.label.strength"), found)
    if values is not None:
        best = f"{float(estimator.best_criterion_):.6g}"
        fields = {"name": estimator.criterion, "value": best}
        return [(speech("cli.label.criterion"), speech("cli.criterion", fields)), strength]
    means = np.nan_to_num(scores.mean(axis=1), nan=-np.inf)
    best_scores = scores[int(np.argmin(np.abs(means - estimator.best_score_)))]
    n, folds = scores.shape
    value, measure = getattr(estimator, "held_out_score_", None), score_name(estimator, speech)
    is_loss = value is None
    error = getattr(estimator, "held_out_error_", math.nan)
    if value is None:
        value, measure = -float(estimator.best_score_), speech("cli.score.log_loss")
        error = float(np.std(best_scores, ddof=1) / np.sqrt(folds)) if folds > 1 else math.nan
    known = "" if math.isnan(error) else speech("cli.score.error", {"error": f"{error:.2g}"})
    fields = {"measure": measure, "value": f"{value:.4g}", "error": known, "folds": folds}
    said = speech(f"cli.held_out.{'mean' if is_loss else 'together'}", fields)
    chosen = speech("cli.held_out.chosen") if n > 1 else ""
    said = speech.joined([said, chosen, _remark(value, is_loss, speech)])
    return [(speech("cli.label.held_out"), said), strength]


# The level of intervals whose coverage is said, and the rows of a task that tell it.
_LEVEL, _ENOUGH_ROWS = 0.9, 20


def coverage_words(estimator: Any, speech: Translator) -> str:  # noqa: ANN401 - any estimator
    """Return which share of held-out rows intervals or sets hold, over all tasks and by task."""
    held = estimator._interval_errors()
    if held is None or not len(held.errors):
        return ""
    frame = estimator.coverage_frame(_LEVEL)
    rows = frame["rows"].to_numpy()
    mean = float(np.average(frame["coverage"].to_numpy()[rows > 0], weights=rows[rows > 0]))
    key = "sets" if not held.numbers.any() else "both" if not held.numbers.all() else "numbers"
    fields: dict[str, str | int] = {"level": f"{_LEVEL:.0%}", "mean": f"{mean:.1%}"}
    said = speech(f"cli.coverage.{key}", fields)
    known = frame[rows >= _ENOUGH_ROWS].sort_values("coverage", kind="stable")
    if len(known) < 2:
        return said
    low, high = known.iloc[0], known.iloc[-1]
    fields = {"count": len(known), "rows": _ENOUGH_ROWS}
    fields |= {"low": f"{low['coverage']:.0%}", "high": f"{high['coverage']:.0%}"}
    fields |= {"first": speech.task(low["task"]), "last": speech.task(high["task"])}
    return speech.joined([said, speech("cli.coverage.by_task", fields)])


# The share of the constant's loss, or the log loss, that counts as no error.
_NO_ERROR = 1e-4


def _remark(value: float, is_loss: bool, speech: Translator) -> str:
    """Return what a score says that is as good as perfect, or no better than a constant."""
    if (value if is_loss else 1.0 - value) <= _NO_ERROR:
        return speech("cli.held_out.perfect")
    return speech("cli.held_out.nothing") if not is_loss and value <= 0 else ""


def loss_of(estimator: Any) -> Any:  # noqa: ANN401 - an estimator; a loss, a name or a mapping
    """Return the loss that an estimator was given, or that the one it wraps has; else None."""
    known = None if hasattr(estimator, "loss") else estimator._by_loss()
    return getattr(estimator, "loss", None) if known is None else known.loss_of(0)


def score_name(estimator: Any, speech: Translator) -> str:  # noqa: ANN401 - a fitted estimator
    """Return what ``estimator.score`` is, and what numbers are compared with."""
    from sklearn.base import is_classifier

    from polytask._estimator.outcomes import loss_object
    from polytask._estimator.scoring import judged_by
    from polytask.losses import LogLink

    several = estimator.data_card_.form == "targets" and len(estimator.tasks_) > 1
    of = ".targets" if several else ""
    if is_classifier(estimator):
        return speech(f"cli.score.accuracy{of}")
    loss = loss_of(estimator) or "squared"
    if isinstance(loss, Mapping) or loss == "auto":
        return speech("cli.score.mixed")
    judged = judged_by(loss_object(loss, type(estimator).__name__))
    if judged is None:
        return speech(f"cli.score.r2{of}")
    if isinstance(judged, LogLink):
        return speech(f"cli.score.deviance{of}")
    return speech(f"cli.score.loss{of}", {"loss": judged.name})


def proof_label(solution: Any, speech: Translator) -> str:  # noqa: ANN401 - see certificate
    """Return what to call what is known of an answer: a network has no certificate."""
    return speech(f"cli.label.{'certificate' if hasattr(solution, 'certificate') else 'training'}")


def certificate(solution: Any, speech: Translator) -> str:  # noqa: ANN401 - Solution, TrainingResult
    """Return how far from the optimum an answer can be, in words."""
    known = getattr(solution, "certificate", None)
    value = math.nan if known is None else known.relative
    # Of stages the words of the status say what is known.
    if not math.isfinite(value) or solution.stages is not None:
        return str(solution.told.text(speech))
    key = "cli.certificate.gap" if solution.gap is not None else "cli.certificate.residual"
    key = "cli.certificate.exact" if value == 0 else key
    what = speech(key, {"value": f"{value:.1e}"})
    if solution.status.name == "CONVERGED":
        return speech("cli.certificate.converged", {"what": what, "n": solution.n_iter})
    return speech("cli.certificate.other", {"what": what, "status": solution.told.text(speech)})


def features_words(estimator: Any, speech: Translator) -> str:  # noqa: ANN401 - any estimator
    """Return how many features a model has, and how they are made of the columns."""
    schema, n = estimator._schema, len(estimator.coef_feature_names_)
    given = len(schema.columns)
    text = speech("cli.features.made" if given not in (0, n) else "cli.features.same",
                  {"n": n, "columns": given})  # fmt: skip
    encoder = getattr(estimator, "encoder_", None)
    if encoder is None:
        return text
    from polytask._estimator.dates import date_of_feature

    columns = encoder.report_.columns
    made = date_of_feature(schema.dates)
    of_dates = {made[c.name]: None for c in columns if c.name in made}
    parts = {
        "dates": [*of_dates],
        "joined": [c.name for c in columns if c.joined],
        # The dates themselves are missing in all features of them.
        "filled": [*dict.fromkeys(made.get(c.name, c.name) for c in columns if c.missing)],
        "constant": list(encoder.report_.constant),
        "dropped": list(encoder.report_.dropped),
    }
    categories = [c.name for c in columns if c.levels and c.name not in made]
    if categories or of_dates:
        text = speech("cli.features.made", {"n": n, "columns": given})
    if categories:
        text += speech("cli.features.categories", {"names": named(categories)})
    said = [
        speech(f"cli.features.{key}", {"names": named(names)})
        for key, names in parts.items()
        if names
    ]
    return speech("list.semicolon").join([text, *said])


def named(names: list[str]) -> str:
    """Return some names, cut after the first few."""
    more = f", ... ({len(names):,})" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def say_next(path: str, tables: Tables, speech: Translator) -> None:
    """Print the command that predicts with the model."""
    say(speech("cli.next", {"path": path, "new": tables.source.new}))
    say_whole(f"  {predict_line(path, tables, 'predictions.csv')}")


def predict_line(path: str, tables: Tables, out: str, *more: str) -> str:
    """Return the command that predicts new rows, with NEW in the name of their file."""
    ids = [word for name in tables.columns.ids for word in ("--id", name)]
    return command_line("predict", path, *tables.source.new_words(), *ids, "--out", out, *more)


# Beyond so many cells, separate and pooled models take longer than a baseline may.
_MOST_CELLS = 5_000_000


@dataclass(frozen=True)
class Scores:
    """Scores on held-out rows: of baselines by name, and of a model that no search has judged."""

    beside: dict[str, float]
    own: float | None
    folds: int
    # Of rows that are not scored, because the training part has none of their task.
    unscored: dict[str, Any]
    # What the folds hold out: rows at random, later ones, or whole groups.
    held_out: str
    # The model with what intervals are made of: its errors on the folds.
    with_errors: Any = None


def scores_beside(
    estimator: Any,  # noqa: ANN401 - a fitted estimator
    training: TrainingData,
    learning: Learning,
    running: Running,
) -> Scores:
    """Return the scores of baselines on the folds of a search, or on as many folds."""
    from sklearn.base import clone

    loss, seed = training.losses(learning.loss), running.seed
    folds = training.folds(learning.folds, seed)
    models = baseline_models(training, loss, seed)
    # A network takes as long again on every fold.
    if not hasattr(estimator, "scores_") and not hasattr(estimator, "trunk"):
        own = clone(estimator)
        # Those of several groupings say that it reads them all.
        single = "task_column" in own.get_params(deep=False) and not training.groupings
        models["own"] = own.set_params(**{"task_column": None} if single else {})
    errors: list[ErrorRows] = []
    with running.waiting("cli.scoring"):
        found, unscored = held_out_scores(models, training, loss, folds, seed, (estimator, errors))
    count = folds if isinstance(folds, int) else folds.n_splits
    held = "group" if training.group is not None else "random"
    held = "time" if training.time is not None else held
    own_score = found.pop("own", None)
    return Scores(found, own_score, count, unscored, held, estimator if errors else None)


def baseline_models(training: TrainingData, loss: Any, seed: int) -> dict[str, Any]:  # noqa: ANN401
    """Return the baselines of some data: a constant per task, separate models, a pooled one."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    from polytask.baselines import SingleTask
    from polytask.losses import LOSSES, LogLink
    from polytask.losses.parse import parse
    from polytask.selection.candidates import MODELS

    if training.problem == "mixed":
        return {}
    found: dict[str, Any] = {}
    facts = training.facts(loss, seed, unseen=False)
    known = parse(loss, LOSSES) if isinstance(loss, str) else None
    # Of target matrices the score is against a constant of each target.
    by_mean = known is None or not known.judges_predictions or isinstance(known, LogLink)
    if not facts.targets and by_mean:
        classes = training.problem == "classification"
        constant = DummyClassifier(strategy="prior") if classes else DummyRegressor()
        found["constant"] = SingleTask(constant)
    if loss == "squared" and training.n_rows * training.n_columns <= _MOST_CELLS:
        for name in ("separate", "separate, one strength", "pooled + intercepts"):
            if MODELS[name].unfit(facts) is None:
                found[name] = MODELS[name].make(facts)
    return found


def _keep_errors(estimator: Any, errors: list[ErrorRows], raw: TaskData) -> None:  # noqa: ANN401
    """Keep the errors of held-out rows, and of whole tasks where unseen ones are predicted."""
    from polytask._estimator.conformal import learned_errors
    from polytask._estimator.held_out_errors import ErrorRows
    from polytask.selection.calibrating import whole_task_errors

    with warnings.catch_warnings():
        # The fit of all rows has said so.
        warnings.simplefilter("ignore")
        own = estimator._has_intervals()
        every = errors if own else [*errors, *whole_task_errors(estimator, raw)]
    joined = ErrorRows.joined(every)
    estimator._held_out = learned_errors(joined, estimator, raw, for_intervals=not own)


def held_out_scores(
    models: dict[str, Any],
    training: TrainingData,
    loss: Any,  # noqa: ANN401
    cv: Any,  # noqa: ANN401 - a number or a splitter
    seed: int,
    whole: tuple[Any, list[ErrorRows]],
) -> tuple[dict[str, float], dict[str, Any]]:
    """Fit models on folds; return the score of each, of classes the log loss, and rows without.

    The model of all rows keeps the errors of those that are like it, "own", and so does the list
    beside it.
    """
    from sklearn.base import clone

    from polytask._estimator.groupings import of_first_grouping
    from polytask._estimator.problem import OWNER, read_outcomes, read_problem
    from polytask.data import WithinTasks, as_splits
    from polytask.metrics import METRICS
    from polytask.selection.calibrating import fold_errors
    from polytask.selection.held import Study, held_out, servable, unscored_fields

    if not models:
        return {}, {}
    weight, column = training.weight, training.task_column
    data = read_problem(training.X, training.y, None, weight, column, least=1)
    grouped, data = data if training.groupings else None, of_first_grouping(data, OWNER)
    study = Study(data, read_outcomes(data, loss)[1], grouped=grouped)
    classes = training.problem == "classification"
    if isinstance(cv, int):
        cv = WithinTasks(cv, stratify=True if classes else None, random_state=seed)
    given = [(np.sort(train), np.sort(test)) for train, test in as_splits(cv, data)]
    known = [(train, servable(data, train, test)) for train, test in given]
    # Where no fold has a row that can be scored, no score is known.
    splits = [pair for pair in known if len(pair[1])] or given
    scored = np.concatenate([test for _, test in splits])
    left = np.setdiff1d(np.concatenate([test for _, test in given]), scored)
    metric = METRICS["deviance" if classes else "d2"]
    scores: dict[str, float] = {}
    reasons: dict[str, Text] = {}
    for name, model in models.items():
        parts = defaultdict(list)
        errors: list[ErrorRows] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for fold, (train, test) in enumerate(splits):
                    fitted = clone(model).fit(study.part(train, model))
                    if name == "own" and getattr(whole[0], "_held_out", None) is None:
                        held_rows = study.rows_for(model).rows(test)
                        errors.extend(fold_errors(whole[0], fitted, held_rows, fold))
                    for task, held in held_out(study, fitted, train, test):
                        parts[task if training.n_targets > 1 else 0].append(held)
            except (PolytaskError, ValueError) as error:
                # Groups and times may leave a task without training rows.
                reasons[name] = message_of(error)
                scores[name] = math.nan
                continue
        scores[name] = float(np.mean([metric.overall(own) for own in parts.values()]))
        whole[1].extend(errors)
    if whole[1]:
        _keep_errors(*whole, data if grouped is None else grouped)
    if reasons:
        rows = data.row_tasks() if data.offsets is not None else np.zeros(data.n_rows, int)
        lacking = sorted({t for train, test in splits for t in set(rows[test]) - set(rows[train])})
        names = [repr(data.tasks[t]) for t in lacking[:SHOWN]]
        more = ["..."] * (len(lacking) > SHOWN)
        reason = LazyMessage("cli.note.no_past", {"names": [*names, *more], "n": len(lacking)})
        first = reason if lacking else reasons.get("own", next(iter(reasons.values())))
        note(LazyMessage("cli.note.unscored", {"reason": first}))
    return scores, unscored_fields(data, left) if len(left) else {}
