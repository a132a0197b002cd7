"""What commands say of data and of models."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

from polytask.cli.console import say, say_pair, say_whole
from polytask.cli.options import command_line

if TYPE_CHECKING:
    from polytask.cli.baselines import Scores
    from polytask.cli.tables import Tables
    from polytask.cli.training_data import TargetKind, Training
    from polytask.messages import Translator

# Names that are listed one by one.
SHOWN = 8


def kind_sentence(kind: TargetKind, speech: Translator) -> str:
    """Return what a target is, and why."""
    key = "classification" if kind.is_class else "regression"
    fields = {"name": repr(kind.name), "reason": kind.reason.text(speech)}
    return speech(f"cli.target.{key}", fields)


def say_data(training: Training, speech: Translator, *, error: bool = False) -> None:
    """Say what was understood of the data."""
    sizes = list(training.sizes.values())
    fields: dict[str, str | int] = {
        "n": len(sizes), "least": min(sizes), "most": max(sizes),
        "median": f"{median(sizes):,.0f}",
    }  # fmt: skip
    alike = "equal" if min(sizes) == max(sizes) else "unequal"
    tasks = speech(f"cli.tasks.{alike}", fields)
    singles = [label for label, n in training.sizes.items() if n == 1]
    if singles:
        tasks += speech("cli.tasks.singles", {"n": len(singles), "name": repr(singles[0])})
    say_pair(speech("cli.label.rows"), f"{training.n_rows:,}", error=error)
    say_pair(speech("cli.label.tasks"), tasks, error=error)
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
    say_pair(speech("cli.label.features"), _features(estimator, speech))
    solution = getattr(estimator, "solution_", None)
    if solution is not None:
        say_pair(proof_label(solution, speech), certificate(solution, speech))


def scored(estimator: Any, speech: Translator, scores: Scores | None) -> list[tuple[str, str]]:  # noqa: ANN401
    """Return how good a model is on held-out rows, beside baselines, and what a search chose."""
    from sklearn.base import is_classifier

    found = searched(estimator, speech)
    if scores is None:
        return found
    if scores.own is not None:
        measure = (
            speech("cli.score.log_loss")
            if is_classifier(estimator)
            else score_name(estimator, speech)
        )
        fields: dict[str, str | int] = {"measure": measure}
        fields |= {"value": f"{scores.own:.4g}", "folds": scores.folds}
        found.insert(0, (speech("cli.label.held_out"), speech("cli.scored", fields)))
    if scores.beside:
        beside = [
            speech(f"cli.baseline.{key}", {"value": speech.number(value, 4)})
            for key, value in scores.beside.items()
        ]
        text = speech("cli.baselines", {"scores": speech.listed(beside)})
        found.insert(1, (speech("cli.label.baselines"), text))
    return found


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
        parts += filter(None, [getattr(estimator, "task_effect_", "")])
    if not parts:
        return name
    return speech("cli.with", {"model": name, "parts": speech.listed(parts)})


def short(penalty: object) -> str:
    """Return a penalty with four digits per number."""
    return re.sub(r"\d+\.\d+(e[+-]?\d+)?", lambda m: f"{float(m[0]):.4g}", repr(penalty))


def searched(estimator: Any, speech: Translator) -> list[tuple[str, str]]:  # noqa: ANN401
    """Return what a search chose, and its score on the rows that it held out."""
    import numpy as np

    values: Any = getattr(estimator, "criterion_", None)
    scores: Any = getattr(estimator, "scores_", None)
    if values is None and scores is None:
        return []
    found = f"alpha={estimator.alpha_:.4g}, task_weight={estimator.task_weight_!r}"
    strength = (speech("cli.label.strength"), found)
    if values is not None:
        best = f"{float(estimator.best_criterion_):.6g}"
        fields = {"name": estimator.criterion, "value": best, "n": len(values)}
        return [(speech("cli.label.criterion"), speech("cli.criterion", fields)), strength]
    means = np.nan_to_num(scores.mean(axis=1), nan=-np.inf)
    best_scores = scores[int(np.argmin(np.abs(means - estimator.best_score_)))]
    n, folds = scores.shape
    value, measure = getattr(estimator, "held_out_score_", None), score_name(estimator, speech)
    error = getattr(estimator, "held_out_error_", math.nan)
    if value is None:
        value, measure = -float(estimator.best_score_), speech("cli.score.log_loss")
        error = float(np.std(best_scores, ddof=1) / np.sqrt(folds)) if folds > 1 else math.nan
    known = "" if math.isnan(error) else speech("cli.score.error", {"error": f"{error:.2g}"})
    fields = {"measure": measure, "value": f"{value:.4g}", "error": known, "folds": folds, "n": n}
    return [(speech("cli.label.held_out"), speech("cli.held_out", fields)), strength]


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
    loss = getattr(estimator, "loss", "squared")
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
    if not math.isfinite(value):
        return str(solution.told.text(speech))
    key = "cli.certificate.gap" if solution.gap is not None else "cli.certificate.residual"
    key = "cli.certificate.exact" if value == 0 else key
    what = speech(key, {"value": f"{value:.1e}"})
    if solution.status.name == "CONVERGED":
        return speech("cli.certificate.converged", {"what": what, "n": solution.n_iter})
    return speech("cli.certificate.other", {"what": what, "status": solution.told.text(speech)})


def _features(estimator: Any, speech: Translator) -> str:  # noqa: ANN401 - any estimator
    text = f"{len(estimator.coef_feature_names_):,}"
    encoder = getattr(estimator, "encoder_", None)
    if encoder is None:
        return text
    columns = encoder.report_.columns
    parts = {
        "categories": [c.name for c in columns if c.levels],
        "joined": [c.name for c in columns if c.joined],
        "filled": [c.name for c in columns if c.missing],
        "constant": list(encoder.report_.constant),
        "dropped": list(encoder.report_.dropped),
    }
    said = [
        speech(f"cli.features.{key}", {"names": named(names)})
        for key, names in parts.items()
        if names
    ]
    return "; ".join([text, *said])


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
