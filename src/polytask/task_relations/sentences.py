"""Relatedness in sentences."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

from polytask.messages import Translator
from polytask.task_relations.records import (
    LEVEL,
    RECORDED,
    RelatednessFindings,
    RelatednessSummary,
    Shares,
    is_borderline,
    is_related,
)

# Names in a sentence before it says "and n more".
_NAMED, _PAIRS, _GROUPS = 5, 3, 5
# A share of the coefficients that is shown as all of them.
_ALL_OWN = 0.995
# Answers beside which groups and pairs are named.
_SAID = ("yes", "model", "training")


def p_words(value: float, n_permutations: int, say: Translator) -> str:
    """Return a p-value; the smallest that a number of permutations allows as a bound."""
    least = bool(n_permutations) and value <= 1.0 / (n_permutations + 1) * 1.000001
    key = "related.p_least" if least else "related.p"
    return say(key, {"value": f"{value:.2g}" if value < 0.1 else f"{value:.2f}"})


def percent(share: float, say: Translator) -> str:
    """Return a share in percent."""
    return say("number.percent", {"value": f"{100 * share:.0f}"})


def shares_words(shares: Shares, say: Translator, key: str = "related.shares") -> str:
    """Return what is common, clustered and own; empty if that is not known."""
    if not math.isfinite(shares.common):
        return ""
    names = ("common", "clustered", "own")
    return say(key, {n: percent(getattr(shares, n), say) for n in names})


def answer(
    found: RelatednessSummary, say: Translator, n_permutations: int = 0, *, brief: bool = False
) -> str:
    """Return whether tasks are related, and how much they share; in brief, without groups."""
    if math.isnan(found.p_value):
        return say("related.nothing")
    p, shares = p_words(found.p_value, n_permutations, say), shares_words(found.shares, say)
    if brief and shares:
        common = percent(found.shares.common, say)
        fields = {"common": common, "clustered": percent(found.shares.clustered, say)}
        grouped = "groups" if found.shares.clustered >= LEVEL else "brief"
        every = common == percent(1.0, say)
        shares = say(f"related.shares.{'all' if every else grouped}", fields)
    if is_borderline(found.p_value):
        return say("related.borderline", {"p": p})
    if not is_related(found.p_value):
        return say("related.no", {"p": p})
    if not shares or _contradicts(found):
        return say("related.no_shares", {"p": p})
    return say("related.yes", {"p": p, "shares": shares})


def _contradicts(found: RelatednessSummary) -> bool:
    """Say whether the shares deny what the test shows: a few large tasks decide them."""
    return found.shares.own >= _ALL_OWN


def effective(found: RelatednessSummary, say: Translator) -> str:
    """Return how many unrelated tasks the tasks are worth; empty if that is not known."""
    value = found.effective_tasks
    known = math.isfinite(value + found.shares.common) and not found.p_value > LEVEL
    tested = not math.isnan(found.p_value)
    if not known or is_borderline(found.p_value) or (tested and _contradicts(found)):
        return ""
    shown = f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
    return say("related.effective", {"n": found.n_tasks, "value": shown})


def variance_words(
    shares: Mapping[str, Sequence[float]], say: Translator, key: str = "groupings.shares"
) -> str:
    """Return how much of the variance each of several groupings has; empty if not known."""
    listed = []
    for name, values in shares.items():
        if not math.isfinite(values[0]):
            return ""
        fields = dict(
            zip(("share", "low", "high"), (percent(v, say) for v in values), strict=True)
        )
        kind = "share" if math.isfinite(values[1]) else "share_open"
        listed.append(say(f"groupings.{kind}", {**fields, "name": say.quoted(name)}))
    return say(key, {"shares": say.listed(listed)}) if listed else ""


def opening(result: RelatednessFindings, say: Translator) -> str:
    """Return the answer in one or two sentences."""
    found = result.key_figures
    if result.source in RECORDED:
        n = len(result.order)
        if n < 2:
            return say("related.training_nothing")
        mean = float(result.matrix.sum() - n) / (n * (n - 1))
        return say(f"related.{result.source}", {"value": f"{mean:.2f}"})
    if result.source == "data":
        said = answer(found, say, result.n_permutations)
    else:
        shares = shares_words(found.shares, say, "related.shares.model")
        said = say("related.model", {"shares": shares}) if shares else ""
        if not said:
            return say("related.model_nothing")
    return say.joined([said, effective(found, say)])


def kind_of(result: RelatednessFindings) -> str:
    """Return the kind of the answer: yes, no, borderline, nothing, model or training."""
    if result.source in RECORDED:
        return "training" if len(result.order) > 1 else "nothing"
    known = result.p_value if result.source == "data" else result.shares.common
    if math.isnan(known):
        return "nothing"
    if result.source == "model":
        return "model"
    if is_borderline(result.p_value):
        return "borderline"
    return "yes" if is_related(result.p_value) else "no"


def aspects(result: RelatednessFindings, say: Translator) -> str:
    """Return in what the tasks agree by the tests of single aspects, if they are related."""
    if kind_of(result) != "yes":
        return ""
    # All three are looked at, so each has a third of the level.
    clear = [name for name, p in result.p_values.items() if p <= LEVEL / len(result.p_values)]
    names = say.listed(say(f"related.aspect.{name}") for name in clear)
    return say("related.aspects", {"names": names}) if names else ""


def groups(result: RelatednessFindings, say: Translator) -> str:
    """Return the suggested groups; empty where none were looked for."""
    if kind_of(result) not in _SAID:
        return ""
    found = result.groups
    if not found:
        untold = result.source == "data" and not result.most_alike
        return say("related.no_groups") if len(result.order) > 2 and not untold else ""
    listed = say.listed(
        say("related.group", {"names": names(group, say)}) for group in found[:_GROUPS]
    )
    shown = _more(listed, len(found) - _GROUPS, say)
    return say("related.groups", {"n": len(found), "groups": shown})


def names(tasks: Sequence[Hashable], say: Translator) -> str:
    """Return the first names of tasks, and how many more there are."""
    listed = say.listed(say.task(task) for task in tasks[:_NAMED])
    return _more(listed, len(tasks) - _NAMED, say)


def _more(listed: str, rest: int, say: Translator) -> str:
    return say("list.more", {"names": listed, "n": rest}) if rest > 0 else listed


def pairs(result: RelatednessFindings, say: Translator) -> list[str]:
    """Return the tasks that are most and least alike; nothing of unrelated tasks."""
    if kind_of(result) not in _SAID:
        return []
    if result.source == "data" and not result.most_alike:
        return [say("related.pairs_none")]
    kind = "_training" if result.source in RECORDED else ""
    found = {
        f"related.pairs_most{kind}": result.most_alike,
        f"related.pairs_least{kind}": result.least_alike,
    }
    said = []
    for key, listed in found.items():
        shown = []
        for one in listed[:_PAIRS]:
            names = {"first": say.task(one.first), "second": say.task(one.second)}
            shown.append(say("related.pair", names | {"value": f"{one.similarity:.2f}"}))
        said += [say(key, {"pairs": say.listed(shown)})] if shown else []
    # A task in all the pairs that are least alike is apart from the others.
    least = [{pair.first, pair.second} for pair in result.least_alike]
    apart = set.intersection(*least) if len(least) > 1 else set()
    for own in result.tasks:
        if own.task in apart and not kind:
            value = f"{own.closeness:.2f}"
            said.append(say("related.apart", {"name": say.task(own.task), "value": value}))
    return said


def features(result: RelatednessFindings, say: Translator) -> list[str]:
    """Return which features work alike and which differ; nothing of unrelated tasks."""
    if kind_of(result) not in ("yes", "model"):
        return []
    found = {"shared": result.features_shared, "varying": result.features_varying}
    said = [
        say(f"related.{kind}", {"names": names(listed, say)})
        for kind, listed in found.items()
        if listed
    ]
    rest = result.n_features - len(result.features)
    said += [say("related.unlisted", {"n": rest})] if said and rest > 0 else []
    of_data = said and result.source == "data"
    return [*said, say("related.features_of_data")] if of_data else said


def notes(result: RelatednessFindings, say: Translator) -> list[str]:
    """Return what is to be known beside it."""
    silent = len(result.tasks) - result.n_informative
    kind = {"data": "", "model": "_model"}.get(result.source, "_training")
    level = math.isfinite(result.level_share)
    found = (
        variance_words(result.groupings, say),
        say("related.level", {"share": percent(result.level_share, say)}) if level else "",
        say(f"related.silent{kind}", {"n": silent}) if silent else "",
        say("related.units") if kind == "_model" and result.units == "given" else "",
    )
    return [sentence for sentence in found if sentence]
