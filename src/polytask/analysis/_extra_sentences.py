"""Sentences on strength, rows to learn from, and terms of a penalty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from polytask._messages import Speech, plain_number
from polytask.analysis._extra_parts import Ablated, LearningPoint, StrengthPath
from polytask.analysis._sentences import amount, interval_words

if TYPE_CHECKING:
    from polytask.analysis.result import Comparison


def strength(result: Comparison, speech: Speech) -> str:
    """Return which strength was chosen, and how far a simpler model is; empty if not known."""
    path = result.path
    if path is None:
        return ""
    fields: dict[str, str | int] = {
        "model": speech.name(path.model),
        "penalty": speech.name(path.penalty),
        "kept": path.features[path.chosen],
        "n": path.n_features,
    }
    if path.one_se == path.best:
        return speech("strength.same", fields)
    more: dict[str, str | int] = {
        "strength": plain_number(path.alphas[path.one_se]),
        "fewer": path.features[path.one_se],
    }
    return speech("strength.said", fields | more)


def marks(path: StrengthPath, speech: Speech) -> dict[str, float]:
    """Return the strengths to mark on a chart, what was chosen first."""
    places = {"best": path.best, "one_se": path.one_se}
    used = [name for name, place in places.items() if place == path.chosen]
    first = speech(f"strength.chosen_{used[0]}" if used else "strength.chosen")
    found = {first: path.alphas[path.chosen]}
    rest = {name: place for name, place in places.items() if place != path.chosen}
    return found | {speech(f"strength.{name}"): path.alphas[k] for name, k in rest.items()}


def learning(result: Comparison, speech: Speech) -> str:
    """Return the gain with few and with all rows; empty if there is no learning curve."""
    if not result.learning:
        return ""
    few, many = result.learning[0], result.learning[-1]
    known = {
        name: all(math.isfinite(getattr(point, f"over_{name}").mean) for point in (few, many))
        for name in ("separate", "pooled")
    }
    if not any(known.values()):
        return ""
    key = "learning.said" if all(known.values()) else f"learning.said_{_only(known)}"
    return speech(key, _gains(few, speech, "few") | _gains(many, speech, "many"))


def _only(known: dict[str, bool]) -> str:
    return next(name for name, there in known.items() if there)


def _gains(point: LearningPoint, speech: Speech, name: str) -> dict[str, str | int]:
    return {
        name: f"{point.rows:,.6g}",
        f"{name}_separate": interval_words(point.over_separate, speech),
        f"{name}_pooled": interval_words(point.over_pooled, speech),
    }


def ablation(result: Comparison, speech: Speech) -> list[str]:
    """Return for every term of the penalty whether it adds anything."""
    return [_term(one, result, speech) for one in result.ablation]


def _term(one: Ablated, result: Comparison, speech: Speech) -> str:
    kind = "adds" if one.gain.above else "harms" if one.gain.below else "unclear"
    fields = {
        "term": speech.name(one.term),
        "model": speech.name(one.model),
        "amount": amount(one.gain, result.setup, speech),
    }
    return speech(f"ablation.{kind}", fields)
