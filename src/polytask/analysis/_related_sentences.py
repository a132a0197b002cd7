"""Relatedness in sentences."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

from polytask._messages import Speech
from polytask.analysis._related_parts import LEVEL, Kinship, Pair, Shares
from polytask.analysis._related_training import RECORDED

if TYPE_CHECKING:
    from polytask.analysis._related_result import Relatedness

# Names in a sentence before it says "and n more".
_NAMED, _PAIRS, _GROUPS = 5, 3, 5
# Answers beside which groups and pairs are named.
_SAID = ("yes", "model", "training")


def p_words(value: float, n_permutations: int, speech: Speech) -> str:
    """Return a p-value; the smallest that a number of permutations allows as a bound."""
    least = bool(n_permutations) and value <= 1.0 / (n_permutations + 1) * 1.000001
    key = "related.p_least" if least else "related.p"
    return speech(key, {"value": f"{value:.2g}" if value < 0.1 else f"{value:.2f}"})


def percent(share: float, speech: Speech) -> str:
    """Return a share in percent."""
    return speech("number.percent", {"value": f"{100 * share:.0f}"})


def shares_words(shares: Shares, speech: Speech) -> str:
    """Return what is common, clustered and own; empty if that is not known."""
    if not math.isfinite(shares.common):
        return ""
    names = ("common", "clustered", "own")
    return speech("related.shares", {n: percent(getattr(shares, n), speech) for n in names})


def kinship(found: Kinship, speech: Speech, n_permutations: int = 0) -> str:
    """Return whether tasks are related, and how much they share."""
    if math.isnan(found.p_value):
        return speech("related.nothing")
    p = p_words(found.p_value, n_permutations, speech)
    if found.p_value > LEVEL:
        return speech("related.no", {"p": p})
    shares = shares_words(found.shares, speech)
    if not shares:
        return speech("related.no_shares", {"p": p})
    return speech.joined(
        [speech("related.yes", {"p": p, "shares": shares}), effective(found, speech)]
    )


def effective(found: Kinship, speech: Speech) -> str:
    """Return how many unrelated tasks the tasks are worth; empty if that is not known."""
    value = found.effective_tasks
    if not math.isfinite(value):
        return ""
    shown = f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
    return speech("related.effective", {"n": found.n_tasks, "value": shown})


def opening(result: Relatedness, speech: Speech) -> str:
    """Return the answer in one or two sentences."""
    found = result.kinship
    if result.source in RECORDED:
        return _training(result, speech)
    if result.source == "data":
        return kinship(found, speech, result.n_permutations)
    shares = shares_words(found.shares, speech)
    if not shares:
        return speech("related.model_nothing")
    return speech.joined([speech("related.model", {"shares": shares}), effective(found, speech)])


def _training(result: Relatedness, speech: Speech) -> str:
    """Return how tasks went together in training."""
    n = len(result.order)
    if n < 2:
        return speech("related.training_nothing")
    mean = float(result.matrix.sum() - n) / (n * (n - 1))
    return speech(f"related.{result.source}", {"value": f"{mean:.2f}"})


def headline(result: Relatedness) -> str:
    """Return the kind of the answer: yes, no, nothing, model or training."""
    if result.source in RECORDED:
        return "training" if len(result.order) > 1 else "nothing"
    known = result.p_value if result.source == "data" else result.shares.common
    if math.isnan(known):
        return "nothing"
    if result.source == "model":
        return "model"
    return "yes" if result.p_value <= LEVEL else "no"


def aspects(result: Relatedness, speech: Speech) -> str:
    """Return in what the tasks agree by the tests of single aspects, if they are related."""
    if headline(result) != "yes":
        return ""
    # All three are looked at, so each has a third of the level.
    clear = [name for name, p in result.p_values.items() if p <= LEVEL / len(result.p_values)]
    names = speech.listed(speech(f"related.aspect.{name}") for name in clear)
    return speech("related.aspects", {"names": names}) if names else ""


def groups(result: Relatedness, speech: Speech) -> str:
    """Return the suggested groups; empty where none were looked for."""
    if headline(result) not in _SAID:
        return ""
    found = result.groups
    if not found:
        return speech("related.no_groups") if len(result.order) > 2 else ""
    listed = speech.listed(
        speech("related.group", {"names": names(group, speech)}) for group in found[:_GROUPS]
    )
    return speech(
        "related.groups", {"n": len(found), "groups": _more(listed, len(found) - _GROUPS, speech)}
    )


def names(tasks: Sequence[Hashable], speech: Speech) -> str:
    """Return the first names of tasks, and how many more there are."""
    listed = speech.listed(speech.name(task) for task in tasks[:_NAMED])
    return _more(listed, len(tasks) - _NAMED, speech)


def _more(listed: str, rest: int, speech: Speech) -> str:
    return speech("list.more", {"names": listed, "n": rest}) if rest > 0 else listed


def pairs(result: Relatedness, speech: Speech) -> list[str]:
    """Return the tasks that are most and least alike; nothing of unrelated tasks."""
    if headline(result) not in _SAID:
        return []
    found = {"related.pairs_most": result.most_alike, "related.pairs_least": result.least_alike}
    return [
        speech(key, {"pairs": speech.listed(_pair(one, speech) for one in listed[:_PAIRS])})
        for key, listed in found.items()
        if listed
    ]


def _pair(pair: Pair, speech: Speech) -> str:
    fields = {"first": speech.name(pair.first), "second": speech.name(pair.second)}
    return speech("related.pair", fields | {"value": f"{pair.similarity:.2f}"})


def features(result: Relatedness, speech: Speech) -> list[str]:
    """Return which features work alike and which differ; nothing of unrelated tasks."""
    if headline(result) not in ("yes", "model"):
        return []
    found = {"shared": result.features_shared, "varying": result.features_varying}
    return [
        speech(f"related.{kind}", {"names": names(listed, speech)})
        for kind, listed in found.items()
        if listed
    ]


def notes(result: Relatedness, speech: Speech) -> list[str]:
    """Return what is to be known beside it."""
    silent = len(result.tasks) - result.n_telling
    kind = {"data": "", "model": "_model"}.get(result.source, "_training")
    found: Iterable[str] = (
        speech("related.level", {"share": percent(result.level_share, speech)})
        if math.isfinite(result.level_share)
        else "",
        speech(f"related.silent{kind}", {"n": silent}) if silent else "",
        speech("related.units") if kind == "_model" and result.units == "given" else "",
    )
    return [sentence for sentence in found if sentence]


def lines(result: Relatedness, speech: Speech) -> list[str]:
    """Return all that is to be said, a line for each."""
    said = [
        opening(result, speech),
        aspects(result, speech),
        groups(result, speech),
        *pairs(result, speech),
        *features(result, speech),
        *notes(result, speech),
    ]
    return [line for line in said if line]
