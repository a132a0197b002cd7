"""A comparison in sentences."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from polytask.comparison.amounts import (
    about,
    amount,
    interval_words,
    metric_at_first,
    metric_word,
    models_by_reason,
    more_data,
)
from polytask.comparison.boards import ruling_family
from polytask.comparison.choices import swapped_words
from polytask.comparison.records import (
    Findings,
    Interval,
    ModelRow,
    Setup,
)
from polytask.comparison.verdict import dominant_task, narrowed, ruled
from polytask.messages import LazyMessage, Translator, plain_number
from polytask.selection.candidates import compared_models
from polytask.selection.entries import of_groupings, what_is
from polytask.task_relations import sentences as relations
from polytask.task_relations.records import CHOICES, LEVEL, is_borderline, is_related

# Targets whose errors are told one by one.
_FEW_TARGETS = 3
# Columns that are named in the verdict.
_NAMED = 3
_ACTIONS = ("share", "separate", "pool")
_KINDS = ("separate", "pooled", "shared")


def headline(result: Findings, say: Translator) -> str:
    """Return the verdict in a few words."""
    if not math.isfinite(result.gain.mean):
        return say("headline.none")
    said = "perfect" if result.perfect else result.verdict
    row = recommended(result)
    if said == "share" and result.gain.low < result.margin:
        said = "share_small"
    if said == "inconclusive" and result.gain.below:
        said = "inconclusive_below"
    if said == "no practical difference" and row is not None:
        said = {"pooled": "one_enough", "separate": "own_enough"}.get(row.kind, said)
    nothing = as_good_as_all(result)
    answer = say.word("headline", f"nothing_{nothing}" if nothing else said)
    early = _late_mean(result) is not None and not nothing and not result.perfect
    answer = say("headline.early", {"answer": answer}) if early else answer
    answer = say("headline.far", {"answer": answer}) if result.far_cells else answer
    if result.copies:
        told = {"answer": answer, "n": len(result.copies), "names": [*result.copies[:_NAMED]]}
        answer = LazyMessage("headline.copies", told).text(say)
    splits: dict[str, str | int] = {"done": result.setup.n_splits, "n": result.setup.planned}
    if result.setup.n_splits < result.setup.planned:
        answer = say("headline.unfinished", splits | {"answer": answer})
    repeats: dict[str, str | int] = {"answer": answer, "n": result.repeated_rows}
    return say("headline.repeats", repeats) if result.repeated_rows else answer


def as_good_as_all(result: Findings) -> str:
    """Return which constant predicts as well as every model: "mean", "means" of tasks, or none."""
    sign = 1.0 if result.setup.greater_is_better else -1.0
    rows = [row for row in result.models if math.isfinite(row.score.mean)]
    means = max((sign * row.score.mean for row in rows if row.family == "mean"), default=-math.inf)
    best = max((sign * row.score.mean for row in rows if row.family != "mean"), default=math.inf)
    if result.setup.metric == "d2" and max(best, means) <= 0:
        return "mean"
    return "means" if means >= best else ""


def no_use_of_any(result: Findings) -> str:
    """Return which constant to use instead of every model: "mean", "means" of tasks, or none."""
    row = recommended(result)
    return "" if row is not None and row.family == "mean" else as_good_as_all(result)


def model_words(result: Findings, row: ModelRow, say: Translator) -> str:
    """Explain a model in half a sentence."""
    return what_is(row.name, row.kind, [one.name for one in result.groupings], say)


def recommendation(result: Findings, say: Translator) -> str:
    """Return which model to use, what it is, and why it; nothing if there is none."""
    if nothing := no_use_of_any(result):
        return say(f"use.nothing.{nothing}")
    row = recommended(result)
    if row is None:
        return ""
    fields = {"model": say.quoted(row.name), "what": model_words(result, row, say)}
    gain = {"trees": result.trees_gain, "deep": result.networks_gain}.get(row.family)
    if gain is not None and gain.above:
        more = {"amount": amount(gain, result.setup, say), "rival": best_of_rule(result, say)}
        return say("use.better", fields | more)
    if result.perfect or not math.isfinite(result.gain.mean):
        return say("use", fields)
    if result.verdict != "inconclusive":
        simple = result.verdict == "no practical difference"
        said = say("use.simplest" if simple else "use", fields)
        return said if simple else say.joined([said, _chosen_before(row, result, say)])
    pooling = result.pooling_gain
    shown = "pooled" if pooling.above else "separate" if pooling.below else ""
    why = say(f"use.shown.{shown}") if shown else _votes(row, result, say)
    before = say("use.meanwhile", fields), say("use.not_shown")
    return say.joined([*before, why, _chosen_before(row, result, say)])


def scored(result: Findings, say: Translator) -> str:
    """Say how many rows are scored, where these are not all."""
    setup = result.setup
    if not 0 < setup.n_scored < setup.n_rows:
        return ""
    early = setup.splits == "time" and setup.n_splits == setup.planned
    key = "models.scored.time" if early else "models.scored"
    return say(key, {"n": setup.n_scored, "rows": setup.n_rows})


def _votes(row: ModelRow, result: Findings, say: Translator) -> str:
    """Say how often training rows chose a model, of those of separate and pooled kind."""
    level = [r for r in result.models if r.kind != "shared" and r.picked == row.picked]
    if not row.picked:
        return ""
    if result.setup.splits == "time":
        rows = result.split_gains[-1].train_rows if result.split_gains else 0
        told: dict[str, str | int] = {"rows": rows, "all": result.setup.n_rows}
        return say("use.picked_latest", told) if rows else ""
    counts: dict[str, str | int] = {"picked": row.picked, "all": result.setup.n_splits}
    if len(level) == 1:
        return say("use.picked", counts)
    others = say.listed([say.quoted(r.name) for r in level if r is not row])
    return say("use.picked_level", counts | {"others": others})


def _chosen_before(row: ModelRow, result: Findings, say: Translator) -> str:
    """Say that training rows chose a model, where one of its kind is ahead by the margin."""
    sign = 1.0 if result.setup.greater_is_better else -1.0
    like = [r for r in result.models
            if (r.kind, r.family) == (row.kind, row.family)
            and sign * (r.score.mean - row.score.mean) > result.margin]  # fmt: skip
    if not like:
        return ""
    best = say.quoted(max(like, key=lambda r: sign * r.score.mean).name)
    return say("use.chosen", {"other": best, "kind": say(f"kind.{row.kind}")})


def recommended(result: Findings) -> ModelRow | None:
    """Return the row of the recommended model."""
    return next((row for row in result.models if row.name == result.recommended), None)


def benefits(result: Findings, say: Translator) -> list[str]:
    """Return how the recommended model compares with the best of every other kind."""
    row = recommended(result)
    if row is None:
        return []
    words = (metric_word(result.setup, say), metric_at_first(result.setup, say))
    return [
        _against(row, best, result, say, words[place == 0])
        for place, best in enumerate(rivals(result))
    ]


def rivals(result: Findings) -> list[ModelRow]:
    """Return the best model of every kind but that of the recommended one, if it is of use."""
    row = recommended(result)
    if row is None or not math.isfinite(row.score.mean) or no_use_of_any(result):
        return []
    sign = 1.0 if result.setup.greater_is_better else -1.0
    families = ("linear", row.family)
    others = [
        [r for r in result.models if r.kind == kind and r.family in families]
        for kind in _KINDS if kind != row.kind
    ]  # fmt: skip
    scored = [[r for r in rows if math.isfinite(r.score.mean)] for rows in others]
    return [max(rows, key=lambda r: sign * r.score.mean) for rows in scored if rows]


def _against(row: ModelRow, best: ModelRow, result: Findings, say: Translator, word: str) -> str:
    """Return how a model compares with another one, and why that is not used if it is better."""
    setup = result.setup
    better = row.score.mean - best.score.mean
    lead = better if setup.greater_is_better else -better
    places = min(_score_places(one.score.mean) for one in (row, best))
    fields: dict[str, str | int] = {
        "kind": say(f"best.{best.kind}"),
        "other": say.quoted(best.name),
        "metric": word,
        "measure": metric_word(setup, say),
        "margin": f"{result.margin:.3g}",
        "score": say.number(row.score.mean, _score_places(row.score.mean)),
        "other_score": say.number(best.score.mean, _score_places(best.score.mean)),
        "difference": _difference(best, better, places, result, say),
        "picked": best.picked,
        "all": setup.n_splits,
    }
    level = _are_level(row, best)
    said = say("benefit.same" if level else "benefit", fields)
    why = "" if level else _doubt(row, best, lead, result)
    because = say(f"benefit.{why}", fields) if why else ""
    units = [_in_units(row, best, setup, say), _behind_means(row, best, result, say)]
    return say.joined([said, because, *units])


def _doubt(row: ModelRow, best: ModelRow, lead: float, result: Findings) -> str:
    """Return whether the lead may be chance, or why a better model is not used."""
    behind = best.behind
    if lead >= 0:
        told = behind is None or behind.low > 0 or behind.high < 0
        return "" if told else _alone(row, best, result)
    if behind is None or not math.isfinite(behind.low):
        return "unknown"
    settled = result.verdict == "no practical difference" or (
        best.kind == "shared" and result.verdict in ("pool", "separate")
    )
    if settled and -lead < result.margin:
        return "small" if behind.low > -result.margin else "small_found"
    if not behind.below:
        return "chance"
    # Where the whole interval is on its side, only the choice on training rows speaks.
    return "luck_joint" if best.kind == "shared" and not result.gain.above else "luck"


def _alone(row: ModelRow, best: ModelRow, result: Findings) -> str:
    """Return which of two models the held-out rows flatter as the best of several of its kind."""
    if result.verdict != "share":
        return "alone"
    sign = 1.0 if result.setup.greater_is_better else -1.0
    flattered = []
    for one in (row, best):
        known = [r for r in result.models if math.isfinite(r.score.mean)]
        alike = [r for r in known if (r.kind, r.family) == (one.kind, one.family)]
        first = max(alike, key=lambda r: sign * r.score.mean, default=one)
        flattered.append(len(alike) > 1 and first is one)
    said = {(False, True): "alone_share", (True, True): "alone_both"}
    return said.get((flattered[0], flattered[1]), "alone")


def _score_places(score: float) -> int:
    # Of each score by itself, so that one reads the same wherever it stands.
    return 3 if abs(score) < 10 else 1


def _are_level(row: ModelRow, best: ModelRow) -> bool:
    """Whether two scores are the same as they are shown."""
    places = min(_score_places(one.score.mean) for one in (row, best))
    return round(row.score.mean - best.score.mean, places) == 0


def _difference(
    best: ModelRow, better: float, places: int, result: Findings, say: Translator
) -> str:
    """Return a difference of two scores, with the interval that pairs them row by row."""
    if best.behind is None or not math.isfinite(best.behind.low):
        return say.number(better, places, signed=True)
    mean, low, high = best.behind
    setup = result.setup
    found = best.behind if setup.greater_is_better else Interval(-mean, -high, -low)
    return interval_words(found, setup, say, level=95, margin=result.margin)


def _in_units(row: ModelRow, best: ModelRow, setup: Setup, say: Translator) -> str:
    """Return two models in numbers that need no scale: errors in units of the target, of 100."""
    if setup.form == "targets" and setup.problem != "classification":
        return _in_units_of_targets(row, best, say)
    sign = 1.0 if setup.greater_is_better else -1.0
    for name in ("rmse", "accuracy", "log_loss", "deviance"):
        pair = [one.metrics.get(name, math.nan) for one in (row, best)]
        if name != setup.metric and all(map(math.isfinite, pair)):
            texts = [plain_number(v, 4) for v in pair]
            a, b = [f"{100 * (1 - v):.1f}" for v in pair] if name == "accuracy" else texts
            leads = sign * (row.score.mean - best.score.mean) > 0
            more = name == "accuracy" and leads and pair[0] < pair[1]
            names = {"model": say.quoted(row.name), "other": say.quoted(best.name)}
            fields = names | {"a": a, "b": b}
            return say("units.although" if more else f"units.{name}", fields)
    return ""


def _behind_means(row: ModelRow, best: ModelRow, result: Findings, say: Translator) -> str:
    """Return the error of the means of tasks where that of a compared model is larger."""
    if result.setup.metric == "rmse" or result.setup.form == "targets":
        return ""
    for means in result.models:
        value = means.metrics.get("rmse", math.nan)
        if means.family == "mean" and means is not row and value < best.metrics.get("rmse", value):
            fields = {"other": say.quoted(best.name), "means": say.quoted(means.name)}
            fields |= {
                "meaning": say.word("model_is", means.name),
                "value": plain_number(value, 4),
            }
            return say("units.behind_means", fields)
    return ""


def _in_units_of_targets(row: ModelRow, best: ModelRow, say: Translator) -> str:
    """Return the errors of a few targets, each in its own unit."""
    others = dict(best.target_errors)
    pairs = [(t, value, others[t]) for t, value in row.target_errors if t in others]
    if not 0 < len(pairs) <= _FEW_TARGETS:
        return ""
    told = [
        say(
            "units.pair", {"target": say.task(t), "a": plain_number(a, 4), "b": plain_number(b, 4)}
        )
        for t, a, b in pairs
    ]
    names = {"model": say.quoted(row.name), "other": say.quoted(best.name)}
    return say("units.rmse.targets", names | {"pairs": say.listed(told)})


def certainty(result: Findings, say: Translator) -> str:
    """Return how sure the verdict is, and what its interval means."""
    if not math.isfinite(result.gain.mean) or result.perfect:
        return say("sure.perfect" if result.perfect else "sure.none")
    plain = result.verdict != "share" and bool(_better_plain(result, say))
    told = [result.gain, *([result.pooling_gain] if plain else [])]
    other = any(_same_difference(gain, result) is None for gain in told)
    anew = other and bool(rivals(result))
    said = say("sure", {"said": _certainty(result, say)})
    return say.joined([said, say("sure.anew") if anew else "", swapped_words(result, say)])


def over_time(result: Findings, say: Translator) -> str:
    """Return the gain of every split in order of time, and whether only the first ones gain."""
    gains = _decisive_splits(result)
    if not gains or not all(map(math.isfinite, gains)):
        return ""
    shown = [
        say("sure.split", {
            "gain": say.number(gain, 3, signed=True),
            "rows": say("count.rows", {"n": split.train_rows}),
        })
        for gain, split in zip(gains, result.split_gains, strict=True)
    ]  # fmt: skip
    kind = result.verdict if result.verdict in ("pool", "separate") else "share"
    said, late = say(f"sure.splits.{kind}", {"gains": say.listed(shown)}), _late_mean(result)
    if late is None:
        return said
    mean = say.number(late, 3, signed=True)
    fields: dict[str, str | int] = {"n": (len(gains) + 1) // 2, "mean": mean}
    return say.joined([said, say("sure.early", fields)])


def _decisive_splits(result: Findings) -> list[float]:
    """Return the difference that decides, of every split by time."""
    if result.verdict not in ("pool", "separate"):
        return [split.gain for split in result.split_gains]
    sign = 1.0 if result.verdict == "pool" else -1.0
    return [sign * split.pooling_gain for split in result.split_gains]


def _late_mean(result: Findings) -> float | None:
    """Return the mean gain of the later half of the splits, if the gain comes from the others."""
    gains = _decisive_splits(result)
    if len(gains) < 2 or result.verdict not in _ACTIONS:
        return None
    early, late = (float(np.mean(part)) for part in np.split(np.array(gains), [len(gains) // 2]))
    return late if late < min(result.margin, early / 2) else None


def _same_difference(gain: Interval, result: Findings) -> ModelRow | None:
    """Return the model from which the recommended one differs by just that, in either sign."""
    for row in rivals(result):
        behind = (math.nan,) * 3 if row.behind is None else row.behind
        turned = [-value for value in (behind[0], behind[2], behind[1])]
        if any(np.allclose(gain, found, rtol=1e-9, atol=1e-12) for found in (behind, turned)):
            return row
    return None


def _decisive(gain: Interval, result: Findings, say: Translator) -> str:
    """Return a difference, and where else it stands, there perhaps with the other sign."""
    said = amount(gain, result.setup, say, margin=result.margin)
    row, best = _same_difference(gain, result), recommended(result)
    if row is None or row.behind is None or best is None or _are_level(best, row):
        return said
    above = row.behind.mean if result.setup.greater_is_better else -row.behind.mean
    key = "sure.above.turned" if above * gain.mean < 0 else "sure.above"
    return say(key, {"amount": said, "other": say.quoted(row.name)})


def _certainty(result: Findings, say: Translator) -> str:
    """Return the difference that decides, and what follows from it."""
    gain, said, setup, margin = result.gain, result.verdict, result.setup, result.margin
    fields: dict[str, str | int] = {
        "amount": _decisive(gain, result, say),
        "margin": f"{margin:.3g}",
        "rival": rival(result, say),
    }
    if setup.splits == "collected" and math.isnan(gain.low):
        return say("sure.few_tasks", fields | {"n": setup.n_tasks})
    if said == "share":
        return say("sure.share_small" if gain.low < margin else "sure.share", fields)
    if said == "no practical difference":
        if max(-gain.low, gain.high) >= margin:
            # The rule asks for the shorter interval.
            fields["amount"] = amount(result.gain_90, setup, say, 90, margin)
        return say.joined([say(f"sure.{said}", fields), _better_plain(result, say)])
    if matching := _matching(result):
        fields["model"] = say.quoted(matching.name)
        return say.joined([say("sure.matched", fields), _better_plain(result, say)])
    if said == "inconclusive" and not gain.below:
        more = _to_decide(result, say)
        return say.joined([say(f"sure.{said}", fields), more, _better_plain(result, say)])
    return _of_plain_models(result, fields, say)


def _matching(result: Findings) -> ModelRow | None:
    """Return the plain model that keeps joint ones from winning, being as good, if one does."""
    if not result.gain.above or result.verdict not in ("pool", "inconclusive"):
        return None
    sign = 1.0 if result.setup.greater_is_better else -1.0
    plain = [row for row in result.models if row.kind != "shared" and row.picked]
    return max(plain, key=lambda row: sign * row.score.mean, default=None)


def rival(result: Findings, say: Translator) -> str:
    """Return what joint models are compared with."""
    both = math.isfinite(result.pooling_gain.mean)
    return say("rival.both" if both else f"rival.{result.plain}")


def _of_plain_models(result: Findings, fields: dict[str, str | int], say: Translator) -> str:
    """Return what is known of sharing and of its rivals where it is not shown to be better."""
    gain, pooling, said = result.gain, result.pooling_gain, result.verdict
    loses = gain.below and gain.mean < -result.margin
    lost = say("sure.loses" if loses else "sure.nothing", fields)
    if said == "inconclusive":
        return say.joined([lost, say("sure.which_plain")])
    if not math.isfinite(pooling.mean):
        return lost
    settled = min(gain.high, result.gain_90.high) < result.margin
    return say.joined([_better_plain(result, say), lost if settled else say("sure.open", fields)])


def _better_plain(result: Findings, say: Translator) -> str:
    """Say whether separate or pooled models are better, where their interval tells."""
    pooling = result.pooling_gain
    if not (pooling.above or pooling.below):
        return ""
    better = pooling if pooling.above else Interval(-pooling.mean, -pooling.high, -pooling.low)
    kind = "pool" if pooling.above else "separate"
    small = result.verdict == "no practical difference" and better.mean < result.margin
    other = {"other": _decisive(better, result, say)}
    return say(f"sure.{kind}.small" if small else f"sure.{kind}", other)


def _to_decide(result: Findings, say: Translator) -> str:
    """Say how many more rows, tasks or times would decide, if any would."""
    if result.setup.quick:
        # Other models may decide, and fewer rows than these.
        return ""
    within = [row.metrics.get("r2_within", math.nan) for row in result.models]
    if max(filter(math.isfinite, within), default=1.0) <= 0.0:
        # No model predicts anything within tasks, so that more rows would not help.
        return say("sure.no_signal")
    if result.times_more is None:
        return say("sure.no_more") if math.isfinite(result.gain_90.low) else ""
    setup, times = result.setup, result.times_more - 1
    if setup.splits == "unseen":
        more = say("more.tasks", {"n": about(times * setup.n_tasks)})
    else:
        more = more_data(times, times * setup.n_rows, setup, say)
    # A little more than the least that decides.
    wide, narrow, pooled = (
        narrowed(interval, 1.001 * result.times_more)
        for interval in (result.gain, result.gain_90, result.pooling_gain)
    )
    towards = ruled(wide, narrow, pooled, result.margin, result.plain)
    if towards == "inconclusive":
        return say("sure.more", {"more": more})
    if towards == "share" and setup.splits != "unseen":
        # The differences do not stay as they are: what tasks learn from others is worth less,
        # the more rows they have.
        return say("sure.more.fewer")
    return say("sure.more.towards", {"more": more, "verdict": say(f"towards.{towards}")})


def related(result: Findings, say: Translator) -> list[str]:
    """Return how related the tasks are, and why that agrees with the verdict."""
    found = result.relatedness
    if found is None:
        return []
    if result.far_cells:
        return [say("related.far")]
    said = relations.answer(found, say, CHOICES, brief=True)
    if result.setup.form == "targets" and result.setup.problem != "classification":
        told = is_related(found.p_value) and math.isfinite(found.shares.common)
        said = say.joined([said, say("related.own_units") if told else ""])
    why = ""
    # Of targets in other units there is no pooled model that could use it.
    pools = found.shares.common >= LEVEL and any(row.kind == "pooled" for row in result.models)
    still = say("related_but.open") if pools else ""
    if math.isfinite(result.gain.mean) and not math.isnan(found.p_value):
        row = recommended(result)
        pooled = row is not None and row.kind == "pooled"
        alike = is_related(found.p_value) and not is_borderline(found.p_value)
        if result.verdict == "share":
            why = "" if alike or is_related(found.p_value) else say("related_but.share")
        elif alike and result.verdict == "inconclusive":
            why = "" if result.gain.below else still
        elif alike and pooled and found.shares.common >= 0.5:
            why = say("related_but.pooled")
        elif alike:
            # The few joint models of a quick comparison do not tell that none could help.
            alone = "" if result.setup.quick else say("related_but.separate")
            why = alone if result.verdict == "separate" else still
    scores = {row.name: row.score.mean for row in result.models}
    lead = scores.get("pooled + intercepts", math.nan) - scores.get("pooled", math.nan)
    lead = lead if result.setup.greater_is_better else -lead
    levels = is_related(found.p_value) and lead > result.margin and result.recommended != "pooled"
    return [say.joined([said, say("related.levels") if levels else "", why])]


def groups(result: Findings, say: Translator) -> str:
    """Return how many tasks gain, lose and are undecided; nothing if all are undecided."""
    counts = Counter(task.group for task in result.tasks)
    if not counts["gain"] and not counts["lose"]:
        return ""
    same = ("same",) if counts["same"] else ()
    names = ("gain", "lose", *same, "unclear")
    counted = [say(f"groups.{name}", {"n": counts[name]}) for name in names]
    return say("groups", {"counted": say.listed(counted), "rival": rival(result, say)})


def groupings(result: Findings, say: Translator) -> str:
    """Return which groupings there are, what differs between their levels, and who reads them."""
    found = result.groupings
    if not found:
        return ""
    names = [say.quoted(one.name) for one in found]
    model = next((r.name for r in result.models if r.name == of_groupings(g.name for g in found)
                  and math.isfinite(r.score.mean)), "")  # fmt: skip
    fields = {"first": names[0], "others": say.listed(names[1:]), "model": say.quoted(model)}
    # Of classes and counts there is a linear predictor, and noise that it does not have.
    latent = result.setup.problem == "classification" or result.setup.of_deviance
    lines = [
        say("groupings", {"levels": levels_of_groupings(result, say)}),
        relations.variance_words(
            {one.name: one.share for one in found},
            say,
            f"groupings.{'shares_latent' if latent else 'shares'}",
        ),
        say("groupings.verdict" if model else "groupings.verdict_none", fields),
    ]
    for one, name in zip(found[1:], names[1:], strict=True):
        key = "unread" if not one.told else "joined" if one.told < one.levels else ""
        # One category is that of the others.
        told: dict[str, str | int] = {"name": name, "told": one.told - 1}
        lines.append(say(f"groupings.{key}", told) if key else "")
    return say.joined(lines)


def levels_of_groupings(result: Findings, say: Translator) -> str:
    """Return the groupings with their numbers of levels."""
    return say.listed(
        say("groupings.levels", {"name": say.quoted(one.name), "n": one.levels})
        for one in result.groupings
    )


def best_of_rule(result: Findings, say: Translator) -> str:
    """Return what models of a family beside that of the verdict are compared with."""
    ruling = ruling_family(row for row in result.models if row.left_out is None)
    return say(f"rule.{ruling}")


def networks(result: Findings, say: Translator) -> str:
    """Return how networks do, where they were compared, and whether they gain by sharing."""
    found, row = [], recommended(result)
    gain, sharing = result.networks_gain, result.networks_sharing
    if gain is not None and math.isfinite(gain.mean):
        key = "better" if gain.above else "worse" if gain.below else "no"
        fields = {"amount": amount(gain, result.setup, say), "rival": best_of_rule(result, say)}
        # What is recommended is said to be better before.
        told = gain.above and row is not None and row.family == "deep"
        found += [] if told else [say(f"deep.{key}", fields)]
    if sharing is not None and math.isfinite(sharing.mean):
        key = "above" if sharing.above else "below" if sharing.below else "open"
        found.append(say(f"deep.sharing.{key}", {"amount": amount(sharing, result.setup, say)}))
    return say.joined(found)


def two_by_two(result: Findings, say: Translator) -> str:
    """Return what shrinkage and sharing do; nothing if they could not be told apart."""
    table = result.two_by_two
    if table is None:
        return ""
    gains = {
        "shrinkage": amount(table.shrinkage_gain, result.setup, say),
        "sharing": amount(table.sharing_gain, result.setup, say),
    }
    small = table.sharing_gain.high < result.margin
    why = say("two.mostly" if small else "two.open") if only_shrinks(result) else ""
    return say.joined([say("two", gains), why])


def only_shrinks(result: Findings) -> bool:
    """Whether shrinkage is shown to gain over models without a penalty, and sharing is not."""
    table = result.two_by_two
    return table is not None and table.shrinkage_gain.above and not table.sharing_gain.above


def warnings(result: Findings, say: Translator) -> list[str]:
    """Return what the reader must know before acting on the verdict."""
    found = [_dominance(result, say), _incomplete(result, say)]
    if nothing := as_good_as_all(result):
        found.insert(0, say(f"warn.nothing.{nothing}"))
    else:
        found.insert(0, _weak(result, say))
    if n := result.repeated_rows:
        found.insert(0, say("warn.repeats", {"n": n, "rows": result.setup.n_rows}))
    setup = result.setup
    done = setup.n_splits == setup.planned and setup.splits not in ("time", "collected")
    if done and 0 < setup.n_scored < setup.n_rows / 2:
        found.insert(0, say("warn.few_scored", {"n": setup.n_scored, "rows": setup.n_rows}))
    return [sentence for sentence in found if sentence]


def _weak(result: Findings, say: Translator) -> str:
    """Say that the recommended model is not shown to predict anything, where that is so."""
    row = recommended(result)
    if row is None or result.setup.metric != "d2" or not row.score.low <= 0 < row.score.mean:
        return ""
    fields = {
        "model": say.quoted(row.name),
        "metric": metric_word(result.setup, say),
        "value": interval_words(row.score, result.setup, say, signed=False),
    }
    return say("warn.weak", fields)


def closing(result: Findings, say: Translator) -> list[str]:
    """Return which models have no score and why."""
    if not result.models:
        return []
    left = [row for row in result.models if row.note and math.isnan(row.score.mean)]
    reasons = say.listed(models_by_reason(((row.name, _note(row, say)) for row in left), say))
    there = {row.name for row in result.models}
    known = [m for m in compared_models() if not m.of_groupings]
    usual = [m.name for m in known if m.family in ("linear", "trees")]
    absent = [] if result.setup.quick else [name for name in usual if name not in there]
    sentences = [
        say("closing.left_out", {"models": reasons}) if left else "",
        say("closing.absent", {"models": say.listed(map(say.quoted, absent))}) if absent else "",
    ]
    return [sentence for sentence in sentences if sentence]


def notes(result: Findings, say: Translator) -> list[str]:
    """Return the diagnostics, and notes on models that are not among them."""
    known = {f"{row.name}: {row.note}" for row in result.models} | set(map(str, result.doubts))
    noted = [
        say("models.note_of", {"model": say.name(row.name), "note": _note(row, say)})
        for row in result.models
        if row.note and math.isfinite(row.score.mean)
    ]
    others = [say.text(line) for line in result.diagnostics if line not in known]
    return [*noted, *(doubt.text(say) for doubt in result.doubts), *others]


def _note(row: ModelRow, say: Translator) -> str:
    said = row.left_out or row.said
    return say.text(row.note) if said is None else said.text(say)


def _dominance(result: Findings, say: Translator) -> str:
    largest = dominant_task([share for _, share in result.dominance])
    if largest is None:
        return ""
    task, share = result.dominance[largest]
    percent = say("number.percent", {"value": f"{100 * share:.0f}"})
    return say("warn.dominance", {"task": say.task(task), "share": percent})


def _incomplete(result: Findings, say: Translator) -> str:
    if result.complete:
        return ""
    done, planned = result.setup.n_splits, result.setup.planned
    why = say(f"stopped.{result.stopped}") if result.stopped else ""
    found = {"learning_curve": result.learning, "ablation": result.ablation}
    lacking = [say(f"warn.without.{one}") for one in result.setup.extras if not found[one]]
    if done >= planned:
        key = "warn.extras" if math.isfinite(result.gain.mean) else "warn.partial"
        return say.joined([why, say(key, {"n": done}), *lacking])
    return say.joined([why, say("warn.incomplete", {"done": done, "n": planned}), *lacking])
