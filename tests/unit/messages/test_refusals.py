"""Errors carry their message: English for Python, the language of --lang on the command line."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from polytask._checks import listed, nearest, positive, sentence
from polytask.cli import main
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage, Translator, failure, text_of
from polytask.messages.catalogue import with_and

ZH = Translator("zh")


def test_error_is_its_english_sentence_and_knows_the_others():
    with pytest.raises(
        ParameterError, match=r"^alpha of L1 must be a finite number > 0; got -1"
    ) as e:
        positive(-1, "alpha", "L1")
    (message,) = e.value.args
    assert message.text(ZH) == "L1 的 alpha 必须是一个 > 0 的有限数；得到的是 -1。"


def test_error_passes_between_processes():
    error = DataError(
        sentence("a", "b", listed([1, "x"]), "None", LazyMessage("place.row", {"row": "3"}))
    )
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is DataError
    assert again.args == error.args
    assert str(again) == "a of b must be one of 1, 'x'; got None (row 3)."


def test_messages_are_added_in_each_language():
    both = LazyMessage("usage.no_value", {"option": "--x"}) + nearest("scool", ["school"])
    assert str(both) == "--x takes no value. Did you mean 'school'?"
    assert both.text(ZH) == "--x 不带值。是否指 'school'？"
    assert both + "" is both
    assert LazyMessage(**both.node).text(ZH) == both.text(ZH)


def test_chinese_is_spaced_where_words_meet_and_text_of_users_stays():
    allowed, got = LazyMessage("allowed.that_of", {"value": "3", "owner": "B()"}), "2"
    told = sentence(LazyMessage("what.batch"), "net", allowed, got)
    assert told.text(ZH) == "net 的批必须是 3（B() 的值）；得到的是 2。"
    within = sentence("x", LazyMessage("what.task", {"task": "一 班"}), LazyMessage("got.none"), 1)
    assert within.text(ZH) == "任务 一 班 的 x 必须是无；得到的是 1。"
    assert "\x04" not in str(within)
    assert "\x05" not in str(within)


def test_chinese_has_no_space_beside_fields_that_are_chinese():
    fields = {"other": "“pooled”", "measure": "均方根误差"}
    assert ZH("benefit.chance", fields).startswith("“pooled”在均方根误差上的领先")
    assert ZH("benefit.chance", fields | {"measure": "R2"}).startswith("“pooled”在 R2 上的领先")
    marked = {"first": "\x02甲\x03", "second": "“b c”", "value": "0.9"}
    assert ZH("related.pair", marked) == "\x02甲\x03与“b c”（0.9）"


def test_what_ended_a_fit_is_kept_as_json_and_said_in_each_language():
    shapes = LazyMessage("got.shape", {"shape": (2, np.int64(3))})
    for error, english, chinese in (
        (
            DataError(sentence("y", "fit", shapes, np.dtype(float))),
            "y of fit must",
            "fit 的 y 必须",
        ),
        # The kind says nothing beside a sentence of ours.
        (
            ValueError("no luck\nsee the manual"),
            "ValueError: no luck",
            "ValueError：no luck",
        ),
    ):
        kept = text_of(json.loads(json.dumps(failure(error))))
        assert str(kept).startswith(english)
        assert kept.text(ZH).startswith(chinese)
        assert "manual" not in str(kept)


@pytest.mark.parametrize(
    ("words", "english", "chinese"),
    [
        (
            ("compare", "a.csv", "--jobs", "0"),
            "--jobs must be an integer >= 1; got '0'.",
            "--jobs 必须是一个 >= 1 的整数；得到的是 '0'。",
        ),
        (
            ("fit", "a.csv", "--quite"),
            "There is no option --quite. Did you mean '--quiet'?",
            "没有选项 --quite。是否指 '--quiet'？",
        ),
        (
            ("compare", "a.csv", "--report", "x"),
            "There is no option --report. Did you mean '--out DIR'?",
            "没有选项 --report。是否指 '--out DIR'？",
        ),
        (("tune", "a.csv", "--prune=1"), "--prune takes no value.", "--prune 不带值。"),
        (("adapt",), "MODEL is missing.", "缺少 MODEL。"),
        (
            ("fot",),
            "There is no command 'fot'. Did you mean 'fit'?",
            "没有命令 'fot'。是否指 'fit'？",
        ),
        (
            ("path", "a.csv", "b.csv"),
            "b.csv: there is no place for further arguments.",
            "b.csv：多余的参数。",
        ),
    ],
)
def test_usage_errors_speak_the_language(capsys, words, english, chinese):
    assert main(list(words)) == 2
    assert capsys.readouterr().err.startswith(f"Error: {english}")
    assert main(["--lang", "zh", *words]) == 2
    assert capsys.readouterr().err.startswith(f"错误：{chinese}")


def test_value_that_lacks_is_said_in_the_language_named_before(capsys):
    assert main(["fit", "a.csv", "--lang=zh", "--out"]) == 2
    assert capsys.readouterr().err == "错误：--out 需要一个值。请看 polytask fit --help。\n"


def test_chinese_lists_have_spaces_beside_latin_words_only():
    def told(*parts):
        return LazyMessage(**with_and(parts)).text(ZH)

    assert told("--time", "--unseen") == "--time 与 --unseen"
    assert told("'a'", "'b'", "'c'") == "'a'、'b' 与 'c'"
    both = told(LazyMessage("form.long"), LazyMessage("form.targets"))
    assert "标签与每个" in both
