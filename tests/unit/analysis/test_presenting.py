"""How a comparison shows itself: sentences, tables, pictures, JSON."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from html.parser import HTMLParser
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.report import examples

from polytask.comparison import Comparison, frames
from polytask.comparison import sentences as _sentences
from polytask.comparison.records import UNKNOWN, Interval, SplitGain, TaskGain
from polytask.comparison.tables import task_names
from polytask.comparison.verdict import ruled
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage, Translator
from polytask.reporting import Bullets, markdown
from polytask.reporting.html import page
from polytask.task_relations.records import RelatednessSummary, Shares

matplotlib.use("Agg")
NAN = float("nan")
CASES = sorted(examples.ALL)


def task(name, group: str, action: str, more: int | None = None) -> TaskGain:
    return TaskGain(name, 50, 0.1, 0.0, 0.2, 0.1, group, action, more)


def said(lang: str = "en", **fields) -> str:
    return examples.change(examples.share(), fields).summary(lang)


@pytest.mark.parametrize("case", CASES)
def test_a_comparison_is_a_line_where_it_is_shown_and_sentences_where_it_is_printed(case):
    result = examples.ALL[case]()
    assert len(repr(result)) < 250
    assert repr(result).startswith(f"Comparison(verdict={result.verdict!r}, recommended=")
    assert str(result) == result.summary()


# Sentences.


def test_a_summary_leads_with_what_to_do_by_how_much_and_how_sure():
    lines = examples.share().summary().split("\n")
    assert lines[:5] == [
        "Verdict: Fit the tasks jointly: one model per task, each learning from the others too",
        "Use “near the mean, shrunk intercepts”: one model per task, each learning from the "
        "others too.",
        "Its R2 is 0.412; that of the best separate model (one per task, each on its own), "
        "“separate”, is 0.301: a difference of +0.111 (95% interval 0.092 to 0.130). With "
        "“near the mean, shrunk intercepts” instead of “separate”, the root mean squared error is "
        "9.888 instead of 9.999, in units of the target.",
        "Its R2 is 0.412; that of the best pooled model (one for all tasks), "
        "“pooled + intercepts”, is 0.381: a difference of +0.031 (95% interval 0.015 to 0.047). "
        "With “near the mean, shrunk intercepts” instead of “pooled + intercepts”, the root mean "
        "squared error is 9.888 instead of 9.919, in units of the target.",
        "How sure? Joint models are better than the separate or pooled model that the training "
        "rows chose: R2 +0.031 (95% interval 0.012 to 0.050). The whole interval is above 0, "
        "so chance alone hardly explains the gain. Where numbers here differ from those above, "
        "this is because here the models are chosen anew in each split, on its training rows "
        "alone.",
    ]
    chinese = examples.share().summary("zh").split("\n")
    assert chinese[:3] == [
        "结论：联合学习各任务：每个任务一个模型，并相互借鉴",
        "请使用“near the mean, shrunk intercepts”：每个任务一个模型，并相互借鉴。",
        "R2 为 0.412，最好的分开模型（每个任务一个，各自学习）“separate”为 0.301，"
        "相差 +0.111（95% 区间 0.092 至 0.130）。"
        "均方根误差：“near the mean, shrunk intercepts”为 9.888，“separate”为 9.999"
        "（以目标的单位计）。",
    ]


def test_a_score_that_may_be_chance_is_said_to_be_uncertain():
    result = examples.share()
    words = "It is not certain that"
    assert words not in result.summary()
    best, *others = result.models
    assert best.name == result.recommended
    weak = dataclasses.replace(best, score=Interval(0.03, -0.24, 0.31))
    text = dataclasses.replace(result, models=(weak, *others)).summary()
    assert (
        f"{words} “{best.name}” predicts the held-out rows better than the training mean does: "
        "R2 0.03 (-0.24 to 0.31)." in text
    )
    level = dataclasses.replace(best, score=Interval(-0.03, -0.24, 0.31))
    assert words not in dataclasses.replace(result, models=(level,)).summary()


def test_an_error_larger_than_that_of_the_means_of_tasks_is_told_beside_it():
    result, words = examples.share(), "By this measure “separate” is worse than “task means”"
    assert words not in result.summary()
    errors = {"separate": 1418.9, "task means": 18.78}
    rows = tuple(
        dataclasses.replace(row, metrics=row.metrics | {"rmse": errors.get(row.name, 9.9)})
        for row in (
            *result.models,
            dataclasses.replace(result.models[-1], name="task means", family="mean"),
        )
    )
    text = dataclasses.replace(result, models=rows).summary()
    assert (
        "is 9.900 instead of 1,419, in units of the target. "
        + words
        + " (the mean of each task's "
        "own rows, without any features), which has 18.78: that is the number to compare with."
    ) in text
    assert text.count("By this measure") == 1


def test_errors_of_classes_are_told_of_100_rows():
    result = examples.share()
    rows = [
        dataclasses.replace(row, metrics={"accuracy": 0.9 - place / 100})
        for place, row in enumerate(result.models)
    ]
    text = dataclasses.replace(result, models=tuple(rows)).summary()
    best, worst = (f"“{result.models[place].name}”" for place in (0, 6))
    assert f"{best} makes 10.0 errors per 100 rows, {worst} makes 16.0." in text


def test_what_comes_next_is_python_or_the_command_that_predicts():
    lock = {name: value for name, value in examples.LOCK.items() if name != "command"}
    python = said(lock=lock)
    assert "\nNext, in Python:\n  model = result.best_model()  # fitted on all rows\n" in python
    assert "\n  model.predict(X_new, task=task_new)\n" in python
    matrix = dataclasses.replace(examples.setup(), form="targets")
    assert "\n  model.predict(X_new)\n" in said(lock=lock, setup=matrix)
    command = examples.LOCK["command"] | {"predict": "polytask predict model.polytask new.csv"}
    told = (
        "\nTo predict new rows, replace NEW.csv by the file that holds them:\n  polytask predict "
    )
    assert f"{told}model.polytask new.csv\n" in said(lock={"command": command})
    assert "predict" not in said()


RIVAL = "the separate or pooled model that the training rows chose"
NAN_INTERVAL = Interval(NAN, NAN, NAN)


def sure_of(base=examples.share, lang: str = "en", **fields) -> str:
    say = Translator(lang)
    text = _sentences.certainty(examples.change(base(), fields), say)
    before, after = say("sure", {"said": ""}), say("sure.anew")
    assert text.startswith(before)
    assert text.endswith(after)
    return text.removeprefix(before).removesuffix(after).rstrip()


def test_a_gain_that_may_be_too_small_to_matter_says_so():
    assert "too small" not in sure_of()
    small = Interval(0.031, 0.004, 0.058)
    text = "begins below the margin of 0.01: the gain may be too small to matter."
    assert sure_of(gain=small).endswith(text)
    assert "区间的下端低于界限 0.01" in sure_of(gain=small, lang="zh")


def test_sharing_that_loses_is_told_from_sharing_that_adds_nothing():
    loses = sure_of(examples.separate)
    better = (
        "Separate models are better than pooled ones: R2 +0.080 (95% interval 0.050 to 0.110)."
    )
    assert loses.startswith(f"{better} ")
    worse = f"Joint models are worse than {RIVAL}"
    assert f"{worse}: R2 -0.040" in loses
    enough = sure_of(examples.separate, gain=examples.interval(0.001, 0.005))
    assert better in enough
    nothing = f"are not shown to be better by an amount that matters than {RIVAL}"
    assert nothing in enough
    # A loss that is known but too small to matter is none to speak of.
    tiny = sure_of(examples.separate, gain=examples.interval(-0.003, 0.001))
    assert nothing in tiny


def test_one_kind_of_plain_models_is_not_called_better_than_another():
    text = sure_of(examples.separate, verdict="pool", plain="pooled", pooling_gain=NAN_INTERVAL)
    assert text == (
        "Joint models are worse than pooled models: R2 -0.040 (95% interval -0.050 to -0.030)."
    )


def test_a_difference_within_the_margin_is_called_so():
    assert sure_of(examples.no_difference) == (
        f"The gain of joint models over {RIVAL} is R2 +0.0021 (95% interval -0.0031 to 0.0073). "
        "The interval lies within the margin: between -0.01 and +0.01 a difference does not "
        "matter."
    )
    # The rule asks for the 90% interval, which is shown where the other is too long.
    wide = {"gain": Interval(0.002, -0.0081, 0.0121), "gain_90": Interval(0.002, -0.006, 0.0098)}
    text = sure_of(examples.no_difference, **wide)
    assert "R2 +0.0020 (90% interval -0.0060 to 0.0098). The interval lies within" in text
    assert "95%" not in text


def test_a_difference_of_plain_models_that_is_too_small_is_called_so():
    small = {"pooling_gain": Interval(-0.003, -0.004, -0.002)}
    text = sure_of(examples.no_difference, **small)
    assert "Separate models are better than pooled ones, but by too little to matter: R2" in text
    assert "合并的模型，但差别没有实际意义" in sure_of(examples.no_difference, "zh", **small)
    # Where it decides, it is not belittled.
    assert "too little" not in sure_of(examples.separate, **small)


def test_the_simplest_model_that_is_good_enough_is_called_so():
    assert "the simplest model that is good enough" in examples.no_difference().summary()


def test_what_would_decide_is_asked_for_in_rows_tasks_or_time():
    def more(**fields):
        setup = dataclasses.replace(examples.inconclusive().setup, **fields)
        return sure_of(examples.inconclusive, setup=setup, times_more=3.0)

    assert sure_of(examples.inconclusive) == (
        f"The gain of joint models over {RIVAL} is R2 +0.004 (95% interval -0.012 to "
        "0.020). These data do not show whether there is a gain above 0.01, the margin from which "
        "it matters. If the differences "
        "stay as they are, about 2,800 more rows in total would decide the verdict over all tasks."
    )
    assert "about 1,300 more rows in total would decide" in more()
    assert "about 8 more tasks would decide" in more(splits="unseen")
    weeks = {"splits": "time", "times": 60, "time_gap": 7 * 86_400.0}
    assert "about 50 more weeks of data would decide" in more(**weeks | {"times": 24})
    assert "about 50 more days of data" in more(**weeks | {"times": 24, "time_gap": 86_400.0})
    # More than two years are told in years.
    assert "more years of data would decide" in more(**weeks | {"times": 400})
    assert "about 50 more points in time" in more(**weeks | {"times": 24, "time_gap": 0.0})


def test_which_verdict_more_data_would_bring_is_said():
    def of(lang, gain, pooling, times, **setup):
        shorter = Interval(gain.mean, *(0.84 * np.subtract(gain[1:], gain.mean) + gain.mean))
        changes = {"gain": gain, "gain_90": shorter, "pooling_gain": pooling, "times_more": times}
        changed = dataclasses.replace(examples.inconclusive().setup, **setup)
        return sure_of(examples.inconclusive, lang, setup=changed, **changes)

    # Half the width of the interval of pooled against separate models, .033, is to fall to .028.
    pooled = Interval(0.015, -0.009, 0.038), Interval(0.038, 0.006, 0.071), 1.39
    assert "the verdict over all tasks: one model for all tasks." in of("en", *pooled)
    assert "就全部任务得出结论：所有任务共用一个模型。" in of("zh", *pooled)
    # That of joint models, .04, is to fall to .03: with more tasks, not with more rows of these.
    joint = Interval(0.03, -0.01, 0.07), UNKNOWN, 1.78
    assert "usually shrinks as tasks get more rows of their own" in of("en", *joint)
    assert "因此不估计需要多少行" in of("zh", *joint)
    assert "verdict over all tasks: fit the tasks jointly." in of("en", *joint, splits="unseen")


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("en", "But “pooled + intercepts” in all splits scores as well"),
        ("zh", "但若在所有划分中都用“pooled + intercepts”"),
    ],
)
def test_a_plain_model_as_good_in_all_splits_keeps_joint_ones_from_winning(lang, said):
    above = Interval(0.02, 0.01, 0.03)
    text = sure_of(examples.inconclusive, lang, gain=above, gain_90=above, times_more=None)
    assert said in text
    assert said not in sure_of(examples.share, lang, gain=above, gain_90=above)


def test_no_number_is_given_where_ten_times_as_much_would_not_do():
    text = sure_of(examples.inconclusive, times_more=None)
    assert text.endswith("even ten times as many data would not decide the verdict.")
    assert "十倍的数据也不能定论" in sure_of(examples.inconclusive, "zh", times_more=None)
    # Where nothing tells the error, nothing is known of more data either.
    lost = Interval(0.0042, NAN, NAN)
    text = sure_of(examples.inconclusive, times_more=None, gain=lost, gain_90=lost)
    assert "ten times" not in text
    assert text.endswith("above 0.01, the margin from which it matters.")
    assert "(no interval)" in text
    assert "The interval" not in text


def test_more_data_are_not_advised_where_features_say_nothing_within_tasks():
    result = examples.inconclusive()
    rows = [
        dataclasses.replace(row, metrics=row.metrics | {"r2_within": -0.02})
        for row in result.models
    ]
    tasks = (task("a", "unclear", "collect", 40),)
    useless = examples.change(result, {"models": tuple(rows), "tasks": tasks})
    text = useless.summary()
    assert "Within the tasks, these features predict nothing yet" in text
    assert "would decide" not in text
    assert "还没有预测力" in useless.summary("zh")
    # Another model than the recommended one does.
    rows[-1] = dataclasses.replace(rows[-1], metrics=rows[-1].metrics | {"r2_within": 0.3})
    told = examples.change(result, {"models": tuple(rows), "tasks": tasks}).summary()
    assert "predict nothing yet" not in told


def test_an_interval_wider_than_the_scale_of_a_score_is_not_printed():
    wild = Interval(-2.3, -20.0, 15.4)
    text = sure_of(examples.inconclusive, gain=wild)
    assert "R2 -2.30, too uncertain for an interval of any use" in text
    assert "15.4" not in text
    assert "没有参考价值" in sure_of(examples.inconclusive, "zh", gain=wild)


def test_a_loss_whose_better_rival_is_open_says_both():
    text = sure_of(examples.inconclusive, gain=Interval(-0.04, -0.05, -0.03), pooling_gain=OPEN)
    assert f"Joint models are worse than {RIVAL}" in text
    assert text.endswith("Whether separate or pooled models are better is open.")


def test_a_difference_that_stands_above_is_not_told_again_with_other_numbers():
    def certainty(result, gain: Interval, **fields) -> str:
        changed = dataclasses.replace(result, gain=gain, **fields)
        return _sentences.certainty(changed, Translator())

    result = examples.no_difference()
    best = next(row for row in result.models if row.kind == "shared")
    behind = examples.interval(-0.0021, 0.0052)
    models = tuple(
        dataclasses.replace(row, behind=behind) if row is best else row for row in result.models
    )
    # As above with the sign turned: above it is the recommended model minus the joint one.
    turned = Interval(0.0021, -behind.high, -behind.low)
    pooling = examples.interval(0.001, 0.004)
    text = certainty(result, turned, models=models, pooling_gain=pooling)
    assert text == (
        f"How sure? The gain of joint models over {RIVAL} is R2 +0.0021 (95% interval -0.0031 to "
        f"0.0073); this is the difference from “{best.name}” above with the opposite sign. The "
        "interval lies within the margin: between -0.01 and +0.01 a difference does not matter."
    )
    other = certainty(result, examples.interval(0.003, 0.005), models=models)
    assert other.endswith("on its training rows alone.")
    assert "R2 +0.0030 (95% interval" in other
    # Scores that are level are shown without their difference, which is told then.
    level = tuple(
        dataclasses.replace(row, score=best.score) if row.name == result.recommended else row
        for row in models
    )
    text = certainty(result, turned, models=level, pooling_gain=pooling)
    assert "R2 +0.0021 (95% interval" in text
    assert "numbers here differ" not in text
    # Where the shorter interval decides, its numbers are given.
    wide = examples.interval(-0.0021, 0.012)
    models = tuple(
        dataclasses.replace(row, behind=wide) if row is best else row for row in result.models
    )
    short = examples.interval(0.0021, 0.007)
    text = certainty(result, Interval(0.0021, -wide.high, -wide.low), models=models, gain_90=short)
    assert "(90% interval" in text
    assert "numbers here differ" not in text


def test_numbers_are_not_said_to_differ_where_the_one_that_does_is_not_told():
    result = examples.inconclusive()
    pooled = next(row for row in result.models if row.name == "pooled + intercepts")
    joint = next(row for row in result.models if row.kind == "shared")
    behind = Interval(-result.gain.mean, -result.gain.high, -result.gain.low)
    models = tuple(
        dataclasses.replace(row, behind=behind) if row is joint else row for row in result.models
    )
    # No number tells a difference of pooled and separate models that is not shown.
    changed = dataclasses.replace(
        result, models=models, recommended=pooled.name, pooling_gain=examples.interval(0.004, 0.01)
    )
    text = _sentences.certainty(changed, Translator())
    assert "is R2 +0.004 (95% interval -0.012 to 0.020); this is the difference" in text
    assert "numbers here differ" not in text
    told = dataclasses.replace(changed, verdict="pool", pooling_gain=examples.interval(0.04, 0.01))
    assert "numbers here differ" in _sentences.certainty(told, Translator())


def test_an_inconclusive_verdict_says_why_its_model_is_taken():
    result = examples.inconclusive()
    rows = tuple(
        dataclasses.replace(row, picked=4 if row.name == "pooled + intercepts" else 0)
        for row in result.models
    )
    open_ = dataclasses.replace(result, recommended="pooled + intercepts", models=rows)
    assert (
        "That joint models help is not shown (“How sure?” below). Of the separate and pooled "
        "models, the training rows chose this one in 4 of 5 splits." in open_.summary()
    )
    assert "训练行在 5 次划分中有 4 次选出它" in open_.summary("zh")


def test_what_is_enough_is_named_where_sharing_makes_no_practical_difference():
    result = examples.no_difference()
    enough = "is enough: joint models make no practical difference"
    assert result.summary().startswith(f"Verdict: One model for all tasks {enough}\n")
    own = dataclasses.replace(result, recommended="separate")
    assert own.summary().startswith(f"Verdict: One model per task, each on its own, {enough}\n")


def test_a_better_model_of_the_same_kind_that_was_not_chosen_is_explained():
    pooled = dataclasses.replace(examples.inconclusive(), recommended="pooled")
    words = "no part in the choice; “pooled + intercepts” scores better on them."
    assert words in pooled.summary()
    assert words not in dataclasses.replace(pooled, margin=0.1).summary()


def test_models_that_the_training_rows_chose_as_often_are_named():
    result = dataclasses.replace(examples.inconclusive(), recommended="pooled")
    picks = {"pooled": 2, "separate": 2, "near the mean": 2}
    rows = [dataclasses.replace(row, picked=picks.get(row.name, 0)) for row in result.models]
    level = dataclasses.replace(result, models=tuple(rows))
    assert "chose this one in 2 of 5 splits, and “separate” as often; of these" in level.summary()
    timed = dataclasses.replace(
        level,
        setup=dataclasses.replace(level.setup, splits="time"),
        split_gains=(SplitGain(143, 0.0, 0.0), SplitGain(496, 0.0, 0.0)),
    )
    told = "The training rows of the latest split (496 of 640 rows) chose this one"
    assert told in timed.summary()


def test_the_better_kind_without_sharing_is_recommended_and_told_where_sharing_is_open():
    result = dataclasses.replace(
        examples.inconclusive(), recommended="separate", pooling_gain=Interval(-0.34, -0.51, -0.18)
    )
    text = result.summary()
    assert (
        "That joint models help is not shown (“How sure?” below). Separate models are shown to be "
        "better than pooled ones." in text
    )
    assert "better than pooled ones: R2 +0.34 (95% interval 0.18 to 0.51)." in text


def test_a_difference_of_kinds_is_told_apart_from_those_of_models_that_follow():
    pooling = Interval(0.13, 0.0082, 0.24)
    result = examples.change(
        examples.inconclusive(), {"recommended": "pooled", "pooling_gain": pooling}
    )
    text = result.summary()
    # One digit more, so that the end is seen to be below the margin of 0.01.
    assert "R2 +0.130 (95% interval 0.008 to 0.240). Where numbers here differ" in text
    row = next(row for row in result.models if row.kind == "separate")
    rows = [
        dataclasses.replace(one, behind=pooling) if one is row else one for one in result.models
    ]
    same = dataclasses.replace(result, models=tuple(rows)).summary()
    assert "to 0.240); this is the difference from “separate” above." in same


@pytest.mark.parametrize(
    ("end", "shown"), [(0.0082, "0.008"), (0.0118, "0.012"), (0.01, "0.01"), (0.03, "0.03")]
)
def test_ends_that_round_to_the_margin_have_a_digit_more(end, shown):
    text = Translator().interval(0.13, end, 0.24, margin=0.01)
    assert f"{shown} to 0.24" in text


def test_both_models_or_one_are_flattered_by_the_choice_on_held_out_rows():
    """The best of several models of a kind; the recommended one may be that too."""
    result = examples.share()
    rows = [
        row if row.name == result.recommended
        else dataclasses.replace(row, behind=Interval(0.02, -0.01, 0.05))
        for row in result.models
    ]  # fmt: skip
    one = next(row for row in rows if row.name == result.recommended)
    both = dataclasses.replace(result, models=tuple(rows)).summary()
    first = max((r for r in rows if (r.kind, r.family) == (one.kind, one.family)),
                key=lambda r: r.score.mean)  # fmt: skip
    assert first is one
    assert "Both models are the best of their kind" in both
    worse = [
        dataclasses.replace(r, kind="shared", family="linear",
                            score=r.score._replace(mean=one.score.mean + 0.001))
        if r.name == "separate, unpenalised" else r for r in rows
    ]  # fmt: skip
    text = dataclasses.replace(result, models=tuple(worse)).summary()
    assert "Both models are" not in text
    assert "of the two only" in text


def test_what_time_did_not_suffice_for_is_said():
    setup = dataclasses.replace(
        examples.setup(), extras=("learning_curve", "ablation"), n_splits=4
    )
    missing = {"stopped": "time", "complete": False, "setup": setup, "ablation": ()}
    text = said(**missing)
    assert (
        "fits without single terms of the penalty (ablation) that were asked for are not" in text
    )
    assert "learning curve that was asked for" not in text
    assert "learning curve that was asked for is not computed" in said(**missing, learning=())


def test_a_score_reads_the_same_wherever_it_stands():
    rows = [
        dataclasses.replace(row, score=row.score._replace(mean=-11.53)) if row.kind == "pooled"
        else row for row in examples.share().models
    ]  # fmt: skip
    lines = [line for line in said(models=tuple(rows)).split("\n") if line.startswith("Its R2")]
    assert [line.split(";")[0] for line in lines] == ["Its R2 is 0.412"] * 2
    assert "is -11.5" in lines[1]


def test_explained_log_loss_is_explained_where_it_comes_first():
    setup = dataclasses.replace(examples.setup(), problem="classification")
    lines = said(setup=setup).split("\n")
    first, second = (line for line in lines if line.startswith("Its explained log loss"))
    assert "the share of the log loss that it explains: 1 is perfect" in first
    assert "the share of" not in second


def test_gains_by_time_are_told_in_order_and_a_gain_of_little_history_is_called_so():
    def of(*gains: float, pooling: float = 0.0):
        return tuple(SplitGain(120 * k, g, pooling) for k, g in enumerate(gains, 1))

    early = examples.change(
        examples.share(), {"split_gains": of(0.135, -0.01, 0.007, -0.003, 0.003)}
    ).summary()
    assert (
        "Split by split, in order of time, the gain of joint models is +0.135 after 120 rows, "
        "-0.010 after 240 rows, +0.007 after 360 rows, -0.003 after 480 rows, +0.003 after 600 "
        "rows. The gain comes from the splits with little history: over the last 3 splits it is "
        "+0.002 on average. With the whole history it may be about 0." in early
    )
    assert early.split("\n")[0].endswith(
        "; but the gain comes from the splits with little history"
    )
    # A gain that is small from the first split to the last does not come from the first ones.
    small = said(split_gains=of(0.001, 0.013, 0.009, 0.007, 0.013), margin=0.01)
    assert "Split by split" in small
    assert "little history" not in small
    lasting = said(split_gains=of(0.02, 0.03, 0.04, 0.02, 0.03))
    assert "+0.040 after 360 rows" in lasting
    assert "little history" not in lasting
    assert "Split by split" not in said()
    # What decides between pooled and separate models is the difference of these two.
    separate = examples.change(examples.separate(), {"split_gains": of(0.5, 0.5, pooling=-0.08)})
    assert "gain of separate over pooled models is +0.080 after 120 rows" in separate.summary()
    assert "little history" not in separate.summary()


def test_an_error_is_said_to_fall():
    assert sure_of(examples.pool) == (
        "Pooled models are better than separate ones: root mean squared error +52.1 "
        "(95% interval 42.7 to 61.5), where plus means a smaller error. It is open whether joint "
        f"models are better still than {RIVAL}: root mean squared error "
        "+1.2 (95% interval -6.3 to 8.7), where plus means a smaller error."
    )


def test_the_report_lists_the_rule_in_the_order_in_which_it_is_applied():
    section = next(s for s in examples.share().document().sections if s.key == "card")
    points = next(block.items for block in section.blocks if isinstance(block, Bullets))
    heads = ["make no practical", "tasks jointly", "one model per task", "all tasks", "Inconcl"]
    assert all(head in point for head, point in zip(heads, points, strict=True))
    assert "between -0.01 and +0.01" in points[0]
    # What is written holds for the rule itself: the first of the points.
    narrow, none = Interval(0.002, 0.001, 0.003), Interval(0.0, -0.1, 0.1)
    assert ruled(narrow, narrow, none, 0.01, "pooled") == "no practical difference"


def test_tree_model_is_recommended_with_its_gain_only_if_it_is_better():
    text = examples.inconclusive().summary()
    assert (
        "Use “pooled boosting, category”: a model of your own. It is better than the best" in text
    )
    assert (
        "linear model, the kind of model that the verdict is about: R2 +0.052 (95% interval"
        in text
    )
    assert "tree" not in examples.share().summary()


def test_a_better_model_than_the_recommended_one_is_explained():
    result = examples.share()
    best = result.models[0]
    luck = "To choose by the held-out rows would be selection bias"
    assert luck not in result.summary()
    # Too far behind to be called good enough; the interval of the lead does not hold 0.
    ahead = dataclasses.replace(best, behind=examples.interval(-0.031, 0.012), picked=3)
    pooled = dataclasses.replace(
        result, recommended="pooled + intercepts", models=(ahead, *result.models[1:])
    )
    assert (
        "the training rows, which chose that model in 3 of 5 splits. " + luck in pooled.summary()
    )
    assert "选择偏差" in pooled.summary("zh")
    better = f"So “{best.name}” predicts these held-out rows better."
    unshown = dataclasses.replace(pooled, gain=examples.interval(0.01, 0.05), verdict="pool")
    for one in (pooled, unshown):
        assert better in one.summary()
    assert "it is not shown that joint models are better" in unshown.summary()
    # A lead whose interval holds 0 is not said to be selection bias.
    open_ = dataclasses.replace(ahead, behind=examples.interval(-0.031, 0.04), picked=5)
    chance = dataclasses.replace(pooled, models=(open_, *result.models[1:]))
    lead = f"The lead of “{best.name}” in R2 may be chance"
    assert f"{lead}: its interval contains 0. With “pooled" in chance.summary()
    assert luck not in chance.summary()
    # Of a lead without an interval nothing is said of one.
    bare = dataclasses.replace(ahead, behind=NAN_INTERVAL)
    unknown = dataclasses.replace(pooled, models=(bare, *result.models[1:])).summary()
    assert f"{lead}: these data give it no interval." in unknown
    assert "contains 0" not in unknown
    behind = examples.interval(-0.003, 0.005)
    near = dataclasses.replace(best, score=examples.interval(0.384, 0.012), behind=behind)
    plain = [row for row in result.models if row.kind != "shared"]
    settled = dataclasses.replace(pooled, models=(near, *plain), verdict="pool")
    said = "and so is its whole interval, so the simpler model is enough"
    assert said in settled.summary()
    assert "因此较简单的模型已足够" in settled.summary("zh")
    # An interval that reaches beyond the margin does not show that the simpler one is enough.
    near = dataclasses.replace(near, behind=examples.interval(-0.003, 0.012))
    wide = dataclasses.replace(settled, models=(near, *plain))
    assert (
        "so it is probably too small to matter; its interval reaches beyond the margin"
        in wide.summary()
    )
    assert "enough" not in wide.summary()
    assert "足够" not in wide.summary("zh")


def test_what_was_left_out_and_what_other_commands_answer_is_said(tmp_path):
    reason = LazyMessage("left_out.boosting_sparse")
    row = dataclasses.replace(
        examples.share().models[1], left_out=reason, note=str(reason), score=NAN_INTERVAL
    )
    text = said(models=(examples.share().models[0], row))
    assert "Left out: “pooled boosting, category” (trees take no sparse X)." in text
    more = dataclasses.replace(row, name="boosting pooled")
    text = said(models=(examples.share().models[0], row, more))
    both = "Left out: “pooled boosting, category”; “boosting pooled” (trees take no sparse X)."
    assert both in text
    left = examples.change(examples.share(), {"models": (examples.share().models[0], row)})
    assert "<span>1 model</span>" in left.to_html(tmp_path / "a.html").read_text(encoding="utf-8")
    assert "Not compared, since they were not asked for: “separate”" in text


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        (["gain"], "task by task: 1 task gains, none loses, none is undecided."),
        (["gain", "lose", "unclear"], "task by task: 1 task gains, 1 loses, 1 is undecided."),
        (["lose", "lose", "unclear", "unclear"], "no task gains, 2 lose, 2 are undecided."),
        (
            ["gain", "same"],
            "none loses, 1 shows no difference that matters, none is undecided.",
        ),
    ],
)
def test_groups_of_few_tasks(groups, sentence):
    assert sentence in said(tasks=tuple(task(k, g, "any") for k, g in enumerate(groups)))


def test_tasks_that_are_all_undecided_are_not_counted():
    assert "task by task" not in said(tasks=(task(1, "unclear", "any"),))
    assert "task by task" not in said(tasks=())


def test_how_much_more_data_a_task_needs_is_in_its_row():
    tasks = (task("a", "unclear", "collect", 100), task("b", "gain", "share"))
    plain = examples.change(examples.share(), {"tasks": tasks})
    assert [row[7].text for row in plain.document().table("tasks").rows] == ["100", ""]
    told = "More data needed for a statement about this task alone: how many more rows"
    assert told in markdown(plain.document())
    decided = examples.change(examples.share(), {"tasks": tasks[1:]})
    assert told not in markdown(decided.document())
    # 50 rows of a task and 100 more: twice as long as the 24 weeks.
    setup = dataclasses.replace(examples.setup(), splits="time", times=24, time_gap=7 * 86_400.0)
    weeks = dataclasses.replace(plain, setup=setup)
    assert weeks.document().table("tasks").rows[0][7].text == "about 50 more weeks of data"
    assert weeks.document("zh").table("tasks").rows[0][7].text == "约 50 周的数据"
    numbered = dataclasses.replace(plain, setup=dataclasses.replace(setup, time_gap=0.0))
    said = numbered.document().table("tasks").rows[0][7].text
    assert said == "about 50 more points in time"


def test_every_action_has_a_sentence_with_some_names():
    kinds = ("share", "separate", "pool", "collect", "any")
    tasks = [task(f"{kind} {j}", "gain", kind, 40) for kind in kinds for j in range(7)]
    text = said(tasks=tuple(tasks))
    for start in (
        "7 tasks are exceptions and are better off with models of their own: ",
        "7 tasks are exceptions and are better off with one model for all tasks: ",
    ):
        assert start in text
    assert "“pool 0”, “pool 1”, “pool 2”, “pool 3”, “pool 4” and 2 more." in text
    # What the verdict says for all is no exception.
    assert "share 0" not in text
    pooled = said(tasks=tuple(tasks), verdict="pool")
    assert "7 tasks are exceptions and gain from joint models: “share 0”" in pooled
    assert "pool 0" not in pooled
    # What holds for all tasks is said once, by the verdict; rows that tasks need, in a table.
    assert "any 0" not in text
    assert "collect 0" not in text
    # Nor is what is recommended until more data decide.
    plain = next(row.name for row in examples.share().models if row.kind == "pooled")
    until = said(tasks=tuple(tasks), verdict="inconclusive", recommended=plain)
    assert "pool 0" not in until
    assert "separate 0" in until


def test_what_is_recommended_for_all_has_one_wording_in_the_table_of_tasks():
    kinds = ("share", "separate", "pool", "any")
    tasks = tuple(task(kind, "gain", kind) for kind in kinds)
    plain = next(row.name for row in examples.share().models if row.kind == "pooled")

    def words(**fields) -> list[str]:
        found = examples.change(examples.share(), {"tasks": tasks} | fields).document()
        return [row[6].text for row in found.table("tasks").rows]

    usual = "as recommended for all tasks"
    assert words() == [usual, "model of its own", "one model for all", usual]
    until = words(verdict="inconclusive", recommended=plain)
    assert until == ["joint model", "model of its own", usual, usual]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_far_cells_qualify_the_verdict(lang):
    key = {"answer": Translator(lang)("headline.share")}
    told = Translator(lang)("headline.far", key)
    related = RelatednessSummary(8, 0.001, Shares(0.9, 0.1, 0.0), 1.1)
    text = said(lang, far_cells=True, relatedness=related)
    assert text.split("\n")[0].endswith(told)
    assert told not in said(lang)
    # Nor are the tasks said to be related.
    assert Translator(lang)("related.far") in text


def test_tasks_of_which_few_rows_can_be_scored_are_doubted():
    few = dataclasses.replace(examples.share().setup, n_rows=400, n_scored=37)
    assert "Only 37 of 400 rows could be held out and scored" in said(setup=few)
    assert "could be held out" not in said(setup=dataclasses.replace(few, n_scored=399))
    assert "could be held out" not in said(setup=dataclasses.replace(few, splits="time"))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_model_is_recommended_that_the_means_of_the_tasks_equal(lang):
    say, found = Translator(lang), examples.share()
    best = max(row.score.mean for row in found.models)
    plain = next(row for row in found.models if row.kind == "separate")
    means = dataclasses.replace(
        plain, name="task means", family="mean", score=Interval(best, best, best)
    )
    text = said(lang, models=(means, *found.models)).split("\n")
    assert text[0].endswith(say("headline.nothing_means"))
    told = say("use.nothing.means", {"model": "", "what": ""})
    assert text[1][:20] == told[:20]
    assert say("warn.nothing.means") in text
    behind = dataclasses.replace(means, score=Interval(best - 0.01, best - 0.01, best - 0.01))
    assert say("warn.nothing.means") not in said(lang, models=(behind, *found.models))
    assert [
        dataclasses.replace(found, models=(row, *found.models)).predicts for row in (means, behind)
    ] == [False, True]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_repeated_rows_qualify_the_verdict_and_are_warned_of(lang):
    say = Translator(lang)
    key: dict[str, str | int] = {"answer": say("headline.share"), "n": 120}
    told = said(lang, repeated_rows=120).split("\n")
    rows = {"n": 120, "rows": examples.share().setup.n_rows}
    assert told[0].endswith(say("headline.repeats", key))
    warned = Translator(lang, options=True)("warn.repeats", rows)
    assert warned in told
    assert warned not in said(lang)


def test_shares_that_deny_what_the_test_shows_are_not_said():
    found = RelatednessSummary(8, 0.001, Shares(0.0, 0.002, 0.998), 7.9)
    text = said(relatedness=found)
    assert "The tasks are related (test of no relation between the tasks: p ≤ 0.001)." in text
    assert "100%" not in text
    assert "Effective number of tasks" not in text
    assert (
        "in predictions, 0% is common to all tasks, the rest differs from task to task."
        in said(
            relatedness=dataclasses.replace(
                found, shares=Shares(0.0, 0.02, 0.98), effective_tasks=7.0
            )
        )
    )


def test_tasks_that_differ_in_their_intercepts_are_told_not_to_be_counted_as_unlike():
    found = RelatednessSummary(8, 0.001, Shares(0.9, 0.1, 0.0), 1.1)
    told = "Differences between the intercepts of the tasks are not counted there"
    # In the example “pooled” has .334 and “pooled + intercepts” .381.
    assert told in said(relatedness=found, margin=0.01)
    assert "各任务截距的差别" in said("zh", relatedness=found, margin=0.01)
    assert told not in said(relatedness=found, margin=0.1)
    assert told not in said(relatedness=found, margin=0.01, recommended="pooled")
    assert told not in said(relatedness=dataclasses.replace(found, p_value=0.5), margin=0.01)


def test_targets_are_related_in_units_of_their_own_and_all_is_not_all_but_a_rest():
    found = RelatednessSummary(2, 0.001, Shares(1.0, 0.0, 0.0), 1.0)
    targets = dataclasses.replace(examples.setup(), form="targets")
    text = said(relatedness=found, setup=targets)
    assert "all of the variance that the features explain in predictions is common to" in text
    assert "the rest" not in text
    assert "Each target is taken in units of its own standard deviation there" in text
    assert "units of its own" not in said(relatedness=found)


def test_a_rival_that_was_chosen_and_then_scored_worse_is_told():
    base = examples.share()
    rows = {
        row.kind: row for row in base.models if row.name in ("separate", "pooled + intercepts")
    }
    separate = dataclasses.replace(
        rows["separate"], inner=(0.5, 0.5, 0.1, 0.1, 0.1), splits=(0.2, 0.4, 0.2, 0.2, 0.2)
    )
    pooled = dataclasses.replace(rows["pooled"], inner=(0.3,) * 5, splits=(0.3,) * 5)
    others = tuple(row for row in base.models if row.kind not in ("separate", "pooled"))
    # The first split chose "separate", which was the worse one there; the second was right.
    text = said(models=(*others, separate, pooled))
    swapped = "splits the separate or pooled model that the training rows chose was not the one"
    label = "Separate and pooled models in each split"
    assert f"In 1 of 5 {swapped} that scored best on the held-out rows" in text
    assert f"(the report lists these splits under Models: “{label}”)" in text
    # 0.3 instead of 0.2 in one split of five.
    assert "by about 0.020 in R2, averaged over all splits" in text
    found = examples.change(base, {"models": (*others, separate, pooled)}).document()
    assert f"<summary>{label}</summary>" in page(found)
    shown = [[cell.text for cell in row] for row in found.table("splits").rows]
    assert shown[0] == ["1", "separate", "0.200", "pooled + intercepts", "0.300", "the other one"]
    assert [row[-1] for row in shown[1:]] == ["the chosen one"] * 4
    assert swapped not in said(models=(*others, pooled))


def test_more_errors_at_a_better_score_are_said_with_although():
    base = examples.share()
    first = next(row for row in base.models if row.name == base.recommended)
    other = next(row for row in base.models if row.name == "pooled + intercepts")
    models = tuple(
        dataclasses.replace(row, metrics={"accuracy": value})
        for row, value in ((first, 0.694), (other, 0.705))
    )
    text = said(models=models)
    words = f"Although it scores better, “{first.name}” makes more errors: 30.6 per 100 rows"
    assert words in text


def test_shrinkage_that_explains_everything_is_named():
    small, wide = (
        dataclasses.replace(examples.two_by_two(), sharing_gain=Interval(0.001, -0.008, high))
        for high in (0.009, 0.12)
    )
    shrinks = "So the gain comes from shrinkage, not from sharing."
    open_ = (
        "So it is not clear whether joint models are better than separate ones beyond shrinkage."
    )
    assert shrinks in said(two_by_two=small, margin=0.01)
    text = said(two_by_two=wide, margin=0.01)
    assert shrinks not in text
    assert open_ in text
    assert "因此，除收缩之外，联合模型是否优于分开模型尚不清楚。" in said(
        "zh", two_by_two=wide, margin=0.01
    )
    assert "So the gain" not in said()
    assert open_ not in said()


@pytest.mark.parametrize(
    ("shares", "warned"),
    [((0.6, 0.3, 0.1), True), ((0.5, 0.3, 0.2), False), ((0.6, 0.4), False), ((0.8, 0.2), True),
     ((1.0,), False), ((), False)],
)  # fmt: skip
def test_one_task_above_half_is_a_warning_with_advice(shares, warned):
    text = said(dominance=tuple((f"task {j}", share) for j, share in enumerate(shares)))
    assert ("One task dominates: “task 0” makes up" in text) is warned
    assert ('task_weight="equal" or scale_targets="task"' in text) is warned


def test_what_is_not_finished_is_said():
    told = examples.incomplete().summary()
    assert "Not finished: 2 of 5 splits are in" in told
    assert "so far (2 of 5 splits)" in told.splitlines()[0]
    assert "The verdict, from 5 splits, stands." in said(complete=False)
    assert "A quick comparison tries few models" in examples.quick().summary()
    # What it did not try may decide with fewer rows.
    assert "would decide" in examples.inconclusive().summary()
    assert "would decide" not in examples.quick().summary()
    assert "(quick)" not in said()
    assert examples.nothing().summary().startswith("Verdict: No verdict yet\nNo finished split")


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", CASES)
def test_every_summary_is_lines_that_can_be_printed(name, lang):
    text = examples.ALL[name]().summary(lang)
    text.encode("utf-8")
    assert "nan" not in text
    assert "\x1b" not in text
    assert all(line == line.rstrip() and line for line in text.split("\n"))
    assert "\x02" not in text


def test_metric_of_the_user_is_named_as_it_is():
    setup = dataclasses.replace(examples.setup(), metric="profit")
    assert "profit +0.031 (95% interval 0.012 to 0.050)" in said(setup=setup)


# Tables.


@pytest.mark.parametrize("name", CASES)
def test_leaderboard_holds_the_records(name):
    result = examples.ALL[name]()
    frame = frames.leaderboard(result)
    assert frame["model"].tolist() == [row.name for row in result.models]
    for place, end in enumerate(("score", "low", "high")):
        np.testing.assert_array_equal(frame[end], [row.score[place] for row in result.models])
    assert list(frame.columns[:7]) == ["model", "kind", "family", "score", "low", "high", "picked"]
    assert list(frame.columns[-5:]) == [
        "fit_seconds", "predict_seconds", "nonzero", "file_bytes", "note"
    ]  # fmt: skip


def test_leaderboard_has_every_further_metric_and_counts_the_undefined():
    frame = frames.leaderboard(examples.share())
    assert {"r2", "r2_within", "rmse", "mae", "undefined: r2_within"} <= set(frame.columns)
    assert "d2" not in frame.columns  # the verdict's metric is the score
    assert frame["undefined: r2_within"].tolist()[:5] == [3, 0, 0, 0, 3]
    assert frame["nonzero"].isna().tolist()[:2] == [False, True]


@pytest.mark.parametrize("name", CASES)
def test_task_table_keeps_labels_and_numbers(name):
    result = examples.ALL[name]()
    frame = frames.task_frame(result)
    assert list(frame.columns) == [
        "task", "rows", "gain", "low", "high", "raw", "group", "action", "more_rows", "coverage"
    ]  # fmt: skip
    labels = frame["task"].tolist()
    assert labels == [one.task for one in result.tasks]
    assert [type(label) for label in labels] == [type(one.task) for one in result.tasks]
    np.testing.assert_array_equal(frame["gain"], [one.gain for one in result.tasks])


def test_names_alike_of_different_types_are_told_apart():
    result = examples.change(
        examples.share(), {"tasks": tuple(task(name, "gain", "share") for name in (7, "7", "a"))}
    )
    assert task_names(result) == ["7", "'7'", "a"]


def test_split_scores_have_one_row_per_model_and_split():
    result = examples.share()
    frame = frames.split_scores(result)
    assert list(frame.columns) == ["model", "split", "score"]
    assert len(frame) == 5 * len(result.models)
    row = frame[(frame["model"] == "pooled") & (frame["split"] == 3)]
    assert row["score"].item() == result.models[5].splits[3]
    assert len(frames.split_scores(examples.nothing())) == 0


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)

    def handle_data(self, data) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("name", CASES)
def test_html_table_is_a_plain_table_whatever_the_names(name):
    result = examples.ALL[name]()
    page = _Tags()
    page.feed(result._repr_html_())
    plain = {"table", "caption", "thead", "tbody", "tr", "th", "td", "div", "p", "span", "bdi"}
    assert set(page.tags) <= plain
    scored = [row for row in result.models if math.isfinite(row.score.mean)]
    assert page.tags.count("tr") == len(scored) + 1
    if name == "hostile":
        assert "<img src=x onerror=alert(1)>" in page.texts


# Pictures.


@pytest.mark.parametrize("kind", ["tasks", "sizes", "models", "features"])
@pytest.mark.parametrize("name", CASES)
def test_every_picture_can_be_drawn(name, kind):
    from matplotlib import pyplot

    result = examples.ALL[name]()
    if kind == "features" and result.coefficients is None:
        with pytest.raises(DataError, match="no linear joint model"):
            result.plot(kind=kind)
        return
    ax = result.plot(kind=kind)
    try:
        ax.figure.canvas.draw()
    finally:
        pyplot.close(ax.figure)


@pytest.mark.parametrize(
    ("centres", "words"),
    [
        ((0.1234, 0.1234), "the mean of all tasks, +0.123, more"),
        ((0.05, 0.2), "the mean of tasks with as many rows (from +0.050 to +0.200), more"),
        ((None, None), "the mean of all tasks, more"),
    ],
)
def test_the_mean_to_which_gains_are_shrunk_is_told(centres, words):
    tasks = tuple(
        dataclasses.replace(task(name, "unclear", "any"), centre=centre)
        for name, centre in zip("ab", centres, strict=True)
    )
    result = examples.change(examples.share(), {"tasks": tasks})
    said = "(gain before shrinkage) is shrunk towards "
    assert said + words in markdown(result.document())


def test_a_task_whose_interval_excludes_0_says_why_it_is_undecided():
    chance = dataclasses.replace(task("a", "unclear", "any"), low=0.01)
    small = dataclasses.replace(task("b", "unclear", "any"), gain=-0.004, low=-0.007, high=-0.001)
    others = (task("c", "unclear", "any"), task("d", "gain", "any"))
    result = examples.change(examples.share(), {"tasks": (chance, small, *others), "margin": 0.01})
    shown = [row[5].text for row in result.document().table("tasks").rows]
    assert shown == [
        "undecided: perhaps chance, with 4 tasks tested",
        "undecided: perhaps within the margin",
        "undecided: the interval contains 0",
        "gains",
    ]


def test_picture_is_drawn_where_it_is_wanted():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert examples.share().plot(ax) is ax


def test_picture_of_many_tasks_shows_both_ends_and_says_so():
    from matplotlib.figure import Figure

    result = examples.many()
    ax = result.plot(Figure().add_subplot())
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[:30] == [one.task for one in result.tasks[:30]]
    assert names[30:] == [one.task for one in result.tasks[-30:]]
    assert [text.get_text() for text in ax.texts] == ["940 tasks in between"]


def test_unknown_picture_is_refused():
    with pytest.raises(ParameterError, match=r"kind of Comparison.plot must be one of 'tasks'"):
        examples.share().plot(kind="pie")


# JSON.


def same(a, b) -> bool:
    """Compare values, types and NaN of records."""
    if dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a) if not field.name.startswith("_")]
        return type(a) is type(b) and all(same(getattr(a, n), getattr(b, n)) for n in names)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items(), strict=True)
        return all(same(x, y) for x, y in pairs)
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("name", CASES)
def test_json_round_trip_is_exact(name):
    result = examples.ALL[name]()
    text = result.to_json()
    again = Comparison.from_json(text)
    assert same(result, again)
    assert again.to_json() == text
    text.encode("utf-8")


LABELS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.tuples(inner, inner),
    max_leaves=4,
)


@given(LABELS)
def test_labels_come_back_with_their_types(label):
    result = examples.change(
        examples.one_model(),
        {"tasks": (task(label, "gain", "share"),), "dominance": ((label, 1.0),)},
    )
    again = Comparison.from_json(result.to_json())
    assert same(again.tasks[0].task, label)
    assert same(again.dominance, result.dominance)


def test_dates_numbers_of_numpy_and_infinities_come_back():
    day = datetime.date(2024, 2, 29)
    row = dataclasses.replace(examples.models(1)[0], inner=(float("-inf"), NAN, 0.1 + 0.2))
    result = examples.change(
        examples.share(),
        {
            "tasks": (
                task(day, "gain", "share"),
                task(datetime.datetime(2024, 1, 1, 7), "gain", "any"),
            ),
            "models": (row,),
            "lock": {"n": np.int64(3), "$odd": (1, {2: NAN}), "list": [None, True]},
        },
    )
    again = Comparison.from_json(result.to_json())
    assert [one.task for one in again.tasks] == [one.task for one in result.tasks]
    assert same(again.models, result.models)
    assert again.lock["n"] == 3
    assert same(again.lock["$odd"], (1, {2: NAN}))


def test_json_is_strict_and_readable_by_others():
    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads(examples.incomplete().to_json(), parse_constant=refuse)
    assert content["format"] == "polytask.comparison"
    assert content["gain"] == {"mean": 0.031, "low": 0.012, "high": 0.050}
    assert content["models"][3]["score"]["mean"] is None
    assert content["tasks"][0]["task"] == "school 001"
    assert "第一小学" in examples.hostile().to_json()


def test_label_that_json_cannot_hold_is_refused():
    result = examples.change(examples.share(), {"tasks": (task(object, "gain", "share"),)})
    with pytest.raises(DataError, match=r"of type type cannot be written as JSON"):
        result.to_json()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is no JSON"),
        ("[]", 'it lacks "format"'),
        ('{"format": "other"}', 'it lacks "format"'),
        ('{"format": "polytask.comparison", "version": 99}', "of format version 99"),
        ('{"format": "polytask.comparison", "version": 1}', "damaged: KeyError"),
    ],
)
def test_text_that_is_no_comparison_is_refused(text, reason):
    with pytest.raises(DataError, match=reason):
        Comparison.from_json(text)


def test_a_comparison_of_an_older_version_can_be_read():
    content = json.loads(examples.inconclusive().to_json())
    for name in ("gain_90", "margin", "times_more"):
        del content[name]
    for name in ("quick", "times", "time_gap"):
        del content["setup"][name]
    for name in ("model", "positive"):
        del content["coefficients"][name]
    for one in content["tasks"]:
        del one["centre"]
    old = Comparison.from_json(json.dumps(content | {"verdict": "unclear"}))
    assert old.verdict == "inconclusive"
    assert old.margin == 0
    assert np.isnan(old.gain_90).all()
    assert old.times_more is None
    # What it does not hold is not made up.
    for lang in ("en", "zh"):
        for text in (old.summary(lang), markdown(old.document(lang))):
            assert "nan" not in text
            assert "ten times as many" not in text
            assert "十倍的数据" not in text
    assert "Coefficients of" not in markdown(old.document())
    assert same(Comparison.from_json(old.to_json()), old)


def test_a_model_is_refitted_by_its_name():
    result = examples.change(examples.share(), {"_refit": lambda name: f"fitted {name}"})
    assert result.best_model() == "fitted near the mean, shrunk intercepts"
    assert result.best_model("pooled") == "fitted pooled"
    with pytest.raises(ParameterError, match=r"must be None or among 'near the mean.*got 'pool'"):
        result.best_model("pool")


def test_a_report_is_written_from_python(tmp_path):
    path = examples.one_model().to_html(tmp_path / "a.html", lang="zh")
    assert path.read_text(encoding="utf-8").lstrip().startswith("<!DOCTYPE html>")
    with pytest.raises(ParameterError, match=r"must end in '\.html'"):
        examples.one_model().to_html(tmp_path / "a.md")


def test_refit_is_no_part_of_the_json():
    result = examples.change(examples.share(), {"_refit": str})
    assert Comparison.from_json(result.to_json())._refit is None


def test_trees_stand_beside_the_best_linear_model():
    gain = Interval(0.03, 0.01, 0.05)
    result = dataclasses.replace(examples.share(), trees_gain=gain)
    last = result.document().table("differences").rows[-1]
    assert [cell.text for cell in last] == [
        "Tree models against the best linear model", "+0.030", "+0.010", "+0.050",
    ]  # fmt: skip
    assert "树模型与最好的线性模型相比" in markdown(result.document("zh"))


def with_networks(**fields: Any) -> Comparison:
    """A comparison with a network, which is recommended."""
    result = examples.share()
    net = dataclasses.replace(result.models[0], name="net", kind="shared", family="deep")
    models = (*result.models, net)
    return dataclasses.replace(result, models=models, recommended="net", **fields)


UP, DOWN, OPEN = (
    Interval(0.03, 0.01, 0.05),
    Interval(-0.03, -0.05, -0.01),
    Interval(0.0, -0.1, 0.1),
)


def test_a_network_is_recommended_with_its_gain():
    said = with_networks(networks_gain=UP, trees_gain=UP).summary()
    assert "Use “net”" in said
    assert "It is better than the best linear model, the kind of model that the" in said
    result = with_networks(networks_gain=UP, trees_gain=UP)
    assert not _sentences.networks(result, Translator("en"))
    assert "它优于最好的线性模型（结论针对的就是这类模型）" in result.summary("zh")


@pytest.mark.parametrize(
    ("gain", "sharing", "words"),
    [
        (
            DOWN,
            UP,
            [
                "Networks are worse than the best linear model",
                "Networks gain by being fitted jointly",
            ],
        ),
        (
            OPEN,
            DOWN,
            ["not clearly better than the best", "Networks lose by being fitted jointly"],
        ),
        (UP, OPEN, ["Joint networks are not clearly better or worse"]),
        (None, None, []),
    ],
)
def test_networks_are_judged_and_their_sharing_apart(gain, sharing, words):
    result = with_networks(networks_gain=gain, networks_sharing=sharing)
    for lang in ("en", "zh"):
        said = _sentences.networks(result, Translator(lang))
        assert bool(said) == bool(words)
    said = _sentences.networks(result, Translator("en"))
    assert all(word in said for word in words)
    assert Comparison.from_json(result.to_json()) == result
