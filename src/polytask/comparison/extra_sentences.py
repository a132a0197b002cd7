"""Strength of the penalty, learning curve and terms of a penalty in sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass

from polytask.comparison.amounts import amount, interval_words, metric_word
from polytask.comparison.records import Ablated, Findings, LearningPoint, StrengthPath
from polytask.messages import Translator, plain_number


def strength(result: Findings, say: Translator) -> str:
    """Return which strength was chosen, and how far a simpler model is; empty if not known."""
    path = result.path
    if path is None:
        return ""
    fields: dict[str, str | int] = {
        "model": say.quoted(path.model),
        "penalty": say.name(path.penalty),
        "kept": path.features[path.chosen],
        "n": path.n_features,
    }
    if path.one_se == path.best:
        return say("strength.same", fields)
    more: dict[str, str | int] = {
        "strength": plain_number(path.alphas[path.one_se]),
        "fewer": path.features[path.one_se],
    }
    return say("strength.said", fields | more)


def marks(path: StrengthPath, say: Translator) -> dict[str, float]:
    """Return the strengths to mark on a chart, what was chosen first."""
    places = {"best": path.best, "one_se": path.one_se}
    used = [name for name, place in places.items() if place == path.chosen]
    first = say(f"strength.chosen_{used[0]}" if used else "strength.chosen")
    found = {first: path.alphas[path.chosen]}
    rest = {name: place for name, place in places.items() if place != path.chosen}
    return found | {say(f"strength.{name}"): path.alphas[k] for name, k in rest.items()}


@dataclass(frozen=True)
class _Ends:
    """The learning curve where rows are fewest and where they are most."""

    few: LearningPoint
    many: LearningPoint
    over: tuple[str, ...]


def _ends(result: Findings) -> _Ends | None:
    if not result.learning:
        return None
    few, many = result.learning[0], result.learning[-1]
    known = (
        name
        for name in ("separate", "pooled")
        if all(math.isfinite(getattr(point, f"over_{name}").mean) for point in (few, many))
    )
    over = tuple(known)
    return _Ends(few, many, over) if over else None


def share_words(point: LearningPoint, say: Translator) -> str:
    """Return the share of the training rows that a point of the learning curve has."""
    return say("number.percent", {"value": f"{100 * point.share:.4g}"})


def rows_words(point: LearningPoint, say: Translator) -> str:
    """Return the median rows per task; from the least to the most where splits differ in it."""
    if not point.most_rows - point.least_rows > max(1.0, 0.1 * point.rows):
        return f"{point.rows:,.6g}"
    ends = {"low": f"{point.least_rows:,.6g}", "high": f"{point.most_rows:,.6g}"}
    return say("learning.range", ends)


def learning(result: Findings, say: Translator) -> str:
    """Return the gain with few and with all rows; empty if there is no learning curve."""
    ends = _ends(result)
    if ends is None:
        return ""
    fields: dict[str, str | int] = {"metric": metric_word(result.setup, say)}
    for name, point in (("few", ends.few), ("many", ends.many)):
        fields[f"{name}_share"] = share_words(point, say)
        fields[name] = say("learning.rows", {"rows": rows_words(point, say)})
        for over in ("separate", "pooled"):
            gain = getattr(point, f"over_{over}")
            fields[f"{name}_{over}"] = interval_words(gain, result.setup, say)
    key = "learning.said" if len(ends.over) == 2 else f"learning.said_{ends.over[0]}"
    return say(key, fields)


def learning_decides(result: Findings) -> bool:
    """Whether a gain is clear with few rows and not with all of them, or the reverse."""
    ends = _ends(result)
    if ends is None:
        return False
    pairs = [(getattr(p, f"over_{name}") for p in (ends.few, ends.many)) for name in ends.over]
    return any((a.above, a.below) != (b.above, b.below) for a, b in pairs)


def ablation(result: Findings, say: Translator) -> list[str]:
    """Return for every term of the penalty whether it adds anything."""
    return [_term(one, result, say) for one in result.ablation]


def _term(one: Ablated, result: Findings, say: Translator) -> str:
    kind = "adds" if one.gain.above else "harms" if one.gain.below else "unclear"
    fields = {
        "term": say.name(one.term),
        "model": say.quoted(one.model),
        "amount": amount(one.gain, result.setup, say),
    }
    return say(f"ablation.{kind}", fields)


_COVERS = {"regression": "numbers", "classification": "sets"}


def coverage(result: Findings, say: Translator) -> str:
    """Return how many held-out rows lie in 90% intervals of the recommended model."""
    known = [(t.coverage, max(t.rows, 1)) for t in result.tasks if t.coverage is not None]
    if not known:
        return ""
    mean = sum(share * n for share, n in known) / sum(n for _, n in known)
    fields: dict[str, str | int] = {"level": "90%", "mean": f"{mean:.1%}"}
    said = say(f"cli.coverage.{_COVERS.get(result.setup.problem, 'both')}", fields)
    return say.joined([said, say("tasks.coverage", {"model": say.quoted(result.recommended)})])
