"""A comparison in sentences."""

from __future__ import annotations

import math
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

from polytask.comparison.boards import ruling_family
from polytask.comparison.records import (
    Ablated,
    Interval,
    LearningPoint,
    ModelRow,
    Setup,
    StrengthPath,
    TaskGain,
)
from polytask.comparison.verdict import dominant_task
from polytask.messages import Translator, plain_number
from polytask.task_relations import presenting as _related_sentences

if TYPE_CHECKING:
    from polytask.comparison.result import Comparison


# Names of tasks in a sentence before it says "and n more".
_NAMED = 5
_ACTIONS = ("share", "separate", "pool", "collect")


def metric_word(setup: Setup, speech: Translator) -> str:
    """Return the verdict's metric in words."""
    if setup.metric != "d2":
        return speech.word("metric", setup.metric)
    counts = setup.of_deviance and setup.problem == "regression"
    name = "d2.deviance" if counts else f"d2.{setup.problem}"
    return speech.word("metric", name)


def interval_words(interval: Interval, speech: Translator, *, signed: bool = True) -> str:
    """Return a mean with its interval."""
    return speech.interval(interval.mean, interval.low, interval.high, signed=signed)


def amount(gain: Interval, setup: Setup, speech: Translator) -> str:
    """Return a gain with its interval and what it is a gain of."""
    fields = {"value": interval_words(gain, speech), "metric": metric_word(setup, speech)}
    return speech("amount.more" if setup.greater_is_better else "amount.less", fields)


def headline(result: Comparison, speech: Translator) -> str:
    """Return the verdict in a few words."""
    judged = math.isfinite(result.gain.mean)
    said = "perfect" if result.perfect else result.verdict
    return speech.word("headline", said if judged else "none")


def detail(result: Comparison, speech: Translator) -> str:
    """Return what the verdict rests on, in a sentence or more."""
    gain, said = result.gain, result.verdict
    if not math.isfinite(gain.mean):
        return speech("detail.none")
    fields: dict[str, str | int] = {
        "amount": amount(gain, result.setup, speech),
        "margin": f"{result.margin:.3g}",
    }
    both = math.isfinite(result.pooling_gain.mean)
    fields["rival"] = speech("rival.both" if both else f"rival.{result.plain}")
    if said == "share":
        small = gain.low < result.margin
        return speech("detail.share_small" if small else "detail.share", fields)
    if result.perfect:
        return speech("detail.perfect")
    if said == "no practical difference":
        # Beside the models of the verdict, trees or networks may be better than all of them.
        simple = _recommended_family(result) not in _over_rule(result)
        enough = speech("detail.simplest") if simple else ""
        return speech.joined([speech(f"detail.{said}", fields), enough])
    return _of_plain_models(result, fields, speech)


def _of_plain_models(result: Comparison, fields: dict[str, str | int], speech: Translator) -> str:
    """Return what is known of sharing and of its rivals where it is not shown to be better."""
    gain, pooling, said = result.gain, result.pooling_gain, result.verdict
    loses = gain.below and gain.mean < -result.margin
    lost = speech("detail.loses" if loses else "detail.nothing", fields)
    if said == "inconclusive":
        if gain.below:
            return speech.joined([lost, speech("detail.which_plain")])
        return speech.joined([speech(f"detail.{said}", fields), _to_decide(result, speech)])
    if not math.isfinite(pooling.mean):
        return lost
    better = pooling if said == "pool" else Interval(-pooling.mean, -pooling.high, -pooling.low)
    other = {"other": interval_words(better, speech, signed=False)}
    settled = min(gain.high, result.gain_90.high) < result.margin
    sharing = lost if settled else speech("detail.pool_open", fields)
    return speech.joined([speech(f"detail.{said}", other), sharing])


def _to_decide(result: Comparison, speech: Translator) -> str:
    """Say how many more rows, tasks or times would decide; nothing where no error is known."""
    if result.times_more is None:
        return speech("detail.no_more") if math.isfinite(result.gain_90.low) else ""
    setup, times = result.setup, result.times_more - 1
    if setup.splits == "unseen":
        more = speech("more.tasks", {"n": about(times * setup.n_tasks)})
    else:
        more = more_data(times, times * setup.n_rows, setup, speech)
    return speech("detail.more", {"more": more})


# Seconds of what durations are told in, the longest first.
_DURATIONS = {"years": 31_557_600, "months": 2_629_800, "weeks": 604_800, "days": 86_400,
              "hours": 3_600, "minutes": 60, "seconds": 1}  # fmt: skip


def more_data(share: float, rows: float, setup: Setup, speech: Translator) -> str:
    """Say how much more data that is: as time where rows come one time after the other."""
    if not setup.times:
        return speech("more.rows", {"n": about(rows)})
    if not setup.time_gap:
        return speech("more.times", {"n": about(share * setup.times)})
    seconds = share * setup.times * setup.time_gap
    # In the unit of the data, as a week, unless it makes more than two years.
    units = [u for u, s in _DURATIONS.items() if s <= 1.05 * setup.time_gap or u == "seconds"]
    unit = "years" if seconds > 2 * _DURATIONS["years"] else units[0]
    return speech(f"more.{unit}", {"n": about(seconds / _DURATIONS[unit])})


def verdict(result: Comparison, speech: Translator) -> str:
    """Return the verdict with what it rests on."""
    parts = {"headline": headline(result, speech), "detail": detail(result, speech)}
    return speech("verdict", parts)


def related(result: Comparison, speech: Translator) -> str:
    """Return whether the tasks are related at all; nothing where it was not tested."""
    found = result.relatedness
    return "" if found is None else _related_sentences.kinship(found, speech)


def groups(result: Comparison, speech: Translator) -> str:
    """Return how many tasks gain, lose and are undecided; nothing if all are undecided."""
    counts = Counter(task.group for task in result.tasks)
    if not counts["gain"] and not counts["lose"]:
        return ""
    names = ("gain", "lose", "unclear")
    return speech(
        "groups", {name: speech(f"groups.{name}", {"n": counts[name]}) for name in names}
    )


def about(number: float) -> int:
    """Round a number to what an estimate is worth: tens, then two digits."""
    if number < 20:
        return max(math.ceil(number), 1)
    return int(round(number, -max(math.floor(math.log10(number)) - 1, 1)))


def recommendation(result: Comparison, speech: Translator) -> str:
    """Return which model to use; nothing if there is none."""
    if not result.recommended:
        return ""
    model, family = speech.name(result.recommended), _recommended_family(result)
    gain = _over_rule(result).get(family)
    if gain is None or not gain.above:
        what = speech.word("model_is", result.recommended)
        known = what != speech.name(result.recommended)
        return speech("use.what" if known else "use", {"model": model, "what": what})
    fields = {"model": model, "amount": amount(gain, result.setup, speech)}
    return speech(f"use.{family}", fields | {"rival": _best_of_rule(result, speech)})


def luck(result: Comparison, speech: Translator) -> str:
    """Return why the model with the best mean is not the recommended one, where it is not."""
    chosen = result.recommended and result.verdict != "no practical difference"
    top = _better_mean(result) if chosen else ""
    return speech("use.luck", {"model": speech.name(top)}) if top else ""


def _better_mean(result: Comparison) -> str:
    """Return the model with the best mean of the recommended one's family; "" if that is it."""
    family, sign = _recommended_family(result), 1.0 if result.setup.greater_is_better else -1.0
    means = {row.name: sign * row.score.mean for row in result.models if row.family == family}
    means = {name: mean for name, mean in means.items() if math.isfinite(mean)}
    top = max(means, key=lambda name: means[name], default="")
    # What is written alike is no reason to wonder.
    alike = f"{means.get(top, 0.0):.3g}" == f"{means.get(result.recommended, 0.0):.3g}"
    return "" if alike else top


def _over_rule(result: Comparison) -> dict[str, Interval | None]:
    """Return what the families beside that of the verdict gain over it."""
    return {"trees": result.trees_gain, "deep": result.networks_gain}


def _recommended_family(result: Comparison) -> str:
    families = {row.name: row.family for row in result.models}
    return families.get(result.recommended, "")


def _best_of_rule(result: Comparison, speech: Translator) -> str:
    ruling = ruling_family(row for row in result.models if row.left_out is None)
    return speech(f"rule.{ruling}")


def trees(result: Comparison, speech: Translator) -> str:
    """Return how tree models do, where they were compared and the recommendation is no tree."""
    return _beside(result, "trees", speech)


def networks(result: Comparison, speech: Translator) -> str:
    """Return how networks do, where they were compared, and whether they gain by sharing."""
    gain = result.networks_sharing
    sharing = ""
    if gain is not None and math.isfinite(gain.mean):
        key = "above" if gain.above else "below" if gain.below else "open"
        fields = {"amount": amount(gain, result.setup, speech)}
        sharing = speech(f"deep.sharing.{key}", fields)
    return speech.joined([line for line in (_beside(result, "deep", speech), sharing) if line])


def _beside(result: Comparison, family: str, speech: Translator) -> str:
    """Return how a family does that the verdict is not about, unless it is recommended."""
    gain = _over_rule(result)[family]
    if gain is None or not math.isfinite(gain.mean):
        return ""
    if gain.above and _recommended_family(result) == family:
        return ""
    key = "better" if gain.above else "worse" if gain.below else "no"
    fields = {"amount": amount(gain, result.setup, speech), "rival": _best_of_rule(result, speech)}
    return speech(f"{family}.{key}", fields)


def actions(result: Comparison, speech: Translator) -> list[str]:
    """Return one sentence for every action that some tasks call for, with their first names."""
    found = ((kind, [t for t in result.tasks if t.action == kind]) for kind in _ACTIONS)
    return [_action(kind, tasks, result.setup, speech) for kind, tasks in found if tasks]


def _action(kind: str, tasks: list[TaskGain], setup: Setup, speech: Translator) -> str:
    fields: dict[str, str | int] = {"n": len(tasks)}
    wanted = [(t.more_rows / t.rows, t.more_rows) for t in tasks if t.more_rows]
    if wanted:
        share, rows = (median(values) for values in zip(*wanted, strict=True))
        fields["more"] = more_data(share, rows, setup, speech)
    action = speech(f"action.{kind}", fields)
    return speech("action.named", {"action": action, "names": _names(tasks, speech)})


def _names(tasks: list[TaskGain], speech: Translator) -> str:
    names = speech.listed(speech.name(task.task) for task in tasks[:_NAMED])
    rest = len(tasks) - _NAMED
    return speech("list.more", {"names": names, "n": rest}) if rest > 0 else names


def two_by_two(result: Comparison, speech: Translator) -> str:
    """Return what shrinkage and sharing do; nothing if they could not be told apart."""
    table = result.two_by_two
    if table is None:
        return ""
    gains = {
        "shrinkage": interval_words(table.shrinkage_gain, speech),
        "sharing": interval_words(table.sharing_gain, speech),
    }
    mostly = table.shrinkage_gain.above and not table.sharing_gain.above
    return speech.joined([speech("two", gains), speech("two.mostly") if mostly else ""])


def warnings(result: Comparison, speech: Translator) -> list[str]:
    """Return what the reader must know before acting on the verdict."""
    found = [_dominance(result, speech), _incomplete(result, speech)]
    scores = [r.score.mean for r in result.models if math.isfinite(r.score.mean)]
    if result.setup.metric == "d2" and scores and max(scores) <= 0:
        found.insert(0, speech("warn.nothing"))
    if result.setup.quick:
        found.append(speech("warn.quick"))
    return [sentence for sentence in found if sentence]


def notes(result: Comparison, speech: Translator) -> list[str]:
    """Return the diagnostics, and notes on models that are not among them."""
    own = {f"{row.name}: {row.note}" for row in result.models}
    noted = [
        speech("models.note_of", {"model": speech.name(row.name), "note": _note(row, speech)})
        for row in result.models
        if row.note
    ]
    return [*noted, *(speech.text(line) for line in result.diagnostics if line not in own)]


def _note(row: ModelRow, speech: Translator) -> str:
    return speech.text(row.note) if row.left_out is None else row.left_out.text(speech)


def _dominance(result: Comparison, speech: Translator) -> str:
    largest = dominant_task([share for _, share in result.dominance])
    if largest is None:
        return ""
    task, share = result.dominance[largest]
    percent = speech("number.percent", {"value": f"{100 * share:.0f}"})
    return speech("warn.dominance", {"task": speech.name(task), "share": percent})


def _incomplete(result: Comparison, speech: Translator) -> str:
    if result.complete:
        return ""
    done, planned = result.setup.n_splits, result.setup.planned
    why = speech(f"stopped.{result.stopped}") if result.stopped else ""
    if done >= planned:
        key = "warn.extras" if math.isfinite(result.gain.mean) else "warn.partial"
        return speech.joined([why, speech(key, {"n": done})])
    return speech.joined([why, speech("warn.incomplete", {"done": done, "n": planned})])


def strength(result: Comparison, speech: Translator) -> str:
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


def marks(path: StrengthPath, speech: Translator) -> dict[str, float]:
    """Return the strengths to mark on a chart, what was chosen first."""
    places = {"best": path.best, "one_se": path.one_se}
    used = [name for name, place in places.items() if place == path.chosen]
    first = speech(f"strength.chosen_{used[0]}" if used else "strength.chosen")
    found = {first: path.alphas[path.chosen]}
    rest = {name: place for name, place in places.items() if place != path.chosen}
    return found | {speech(f"strength.{name}"): path.alphas[k] for name, k in rest.items()}


def learning(result: Comparison, speech: Translator) -> str:
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


def _gains(point: LearningPoint, speech: Translator, name: str) -> dict[str, str | int]:
    return {
        name: f"{point.rows:,.6g}",
        f"{name}_separate": interval_words(point.over_separate, speech),
        f"{name}_pooled": interval_words(point.over_pooled, speech),
    }


def ablation(result: Comparison, speech: Translator) -> list[str]:
    """Return for every term of the penalty whether it adds anything."""
    return [_term(one, result, speech) for one in result.ablation]


def _term(one: Ablated, result: Comparison, speech: Translator) -> str:
    kind = "adds" if one.gain.above else "harms" if one.gain.below else "unclear"
    fields = {
        "term": speech.name(one.term),
        "model": speech.name(one.model),
        "amount": amount(one.gain, result.setup, speech),
    }
    return speech(f"ablation.{kind}", fields)
