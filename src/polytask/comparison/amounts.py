"""The words for a metric, an amount in it with its interval, more data, and what has no score."""

from __future__ import annotations

import math
from collections.abc import Iterable

from polytask.comparison.records import Interval, Setup
from polytask.messages import Translator, plain_number

# Metrics that are 1 at best: an interval wider than 2 says nothing.
_BOUNDED = frozenset({"d2", "r2", "r2_within", "accuracy", "auc", "average_precision"})
_WIDEST = 2.0


def metric_word(setup: Setup, say: Translator) -> str:
    """Return the verdict's metric in words, and that it is a mean where it is one over tasks."""
    word = metric_of_task(setup, say)
    if setup.form == "targets":
        return say("metric.of_targets", {"metric": word})
    return say("metric.of_tasks", {"metric": word}) if setup.problem == "mixed" else word


def metric_of_task(setup: Setup, say: Translator) -> str:
    """Return the verdict's metric of a single task in words."""
    if setup.metric != "d2":
        return say.word("metric", setup.metric)
    return say(f"metric.d2.{_explained(setup)}")


def _explained(setup: Setup) -> str:
    """Return what the verdict's metric is the explained share of."""
    counts = setup.of_deviance and setup.problem == "regression"
    return "deviance" if counts else setup.problem


def metric_at_first(setup: Setup, say: Translator) -> str:
    """Return the verdict's metric with what it is, if its name does not say it."""
    word, metric = metric_word(setup, say), setup.metric
    key = f"metric_first.{_explained(setup) if metric == 'd2' else metric}"
    known = say.has(key)
    return say("metric_first", {"metric": word, "meaning": say(key)}) if known else word


def one_denominator(setup: Setup) -> bool:
    """Whether the gains of all tasks are shares of one loss, that of a constant over all rows."""
    # Targets, and kinds of outcomes that are mixed, have baselines of their own.
    return setup.metric == "d2" and setup.form != "targets" and setup.problem != "mixed"


def metric_meaning(setup: Setup, say: Translator) -> str:
    """Return the verdict's metric, and how it is to be read."""
    fields = {"metric": metric_word(setup, say)}
    if setup.metric == "d2":
        apart = setup.form == "targets" and setup.problem == "regression"
        return say(f"means.d2.{'targets' if apart else setup.problem}", fields)
    if setup.metric == "r2":
        return say("means.r2", fields)
    return say("means.more" if setup.greater_is_better else "means.less", fields)


def is_bounded(setup: Setup) -> bool:
    """Whether the metric of the verdict is 1 at best."""
    return setup.metric in _BOUNDED


def usable(interval: Interval, setup: Setup) -> Interval:
    """Return an interval without its ends where it is wider than the scale of its metric."""
    if is_bounded(setup) and interval.high - interval.low > _WIDEST:
        return Interval(interval.mean, math.nan, math.nan)
    return interval


def interval_words(
    interval: Interval,
    setup: Setup,
    say: Translator,
    *,
    signed: bool = True,
    level: int = 0,
    margin: float = 0.0,
) -> str:
    """Return a mean with its interval, or that it is too uncertain for one."""
    shown = usable(interval, setup)
    if math.isnan(shown.low) and math.isfinite(interval.low):
        sign = "+" if signed and interval.mean > 0 else ""
        return say("number.too_wide", {"mean": f"{sign}{plain_number(interval.mean)}"})
    return say.interval(*shown, signed=signed, level=level, margin=margin)


def amount(
    gain: Interval, setup: Setup, say: Translator, level: int = 95, margin: float = 0.0
) -> str:
    """Return a gain with its interval, told apart from a margin, and what it is a gain of."""
    fields = {
        "value": interval_words(gain, setup, say, level=level, margin=margin),
        "metric": metric_word(setup, say),
    }
    return say("amount.more" if setup.greater_is_better else "amount.less", fields)


def models_by_reason(reasons: Iterable[tuple[str, str]], say: Translator) -> list[str]:
    """Return the models that have no score, those with one reason together."""
    together: dict[str, list[str]] = {}
    for name, why in reasons:
        together.setdefault(why, []).append(say.quoted(name))
    return [
        say("left_out", {"models": say.listed(names), "why": why})
        for why, names in together.items()
    ]


# Seconds of what durations are told in, the longest first.
_DURATIONS = {"years": 31_557_600, "months": 2_629_800, "weeks": 604_800, "days": 86_400,
              "hours": 3_600, "minutes": 60, "seconds": 1}  # fmt: skip


def more_data(share: float, rows: float, setup: Setup, say: Translator) -> str:
    """Say how much more data that is: as time where rows come one time after the other."""
    if not setup.times:
        return say("more.rows", {"n": about(rows)})
    if not setup.time_gap:
        return say("more.times", {"n": about(share * setup.times)})
    seconds = share * setup.times * setup.time_gap
    # In the unit of the data, as a week, unless it makes more than two years.
    units = [u for u, s in _DURATIONS.items() if s <= 1.05 * setup.time_gap or u == "seconds"]
    unit = "years" if seconds > 2 * _DURATIONS["years"] else units[0]
    return say(f"more.{unit}", {"n": about(seconds / _DURATIONS[unit])})


def about(number: float) -> int:
    """Round a number to what an estimate is worth: tens, then two digits."""
    if number < 20:
        return max(math.ceil(number), 1)
    return int(round(number, -max(math.floor(math.log10(number)) - 1, 1)))
