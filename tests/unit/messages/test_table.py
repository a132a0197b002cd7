"""The catalogues: both languages say the same things."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path
from string import Formatter

import polib
import pytest

import polytask
from polytask.exceptions import ParameterError
from polytask.messages import LANGUAGES, Translator

FOLDER = Path(polytask.__file__).parent / "messages" / "locale"
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def catalogue(lang: str) -> dict[str, polib.POEntry]:
    return {entry.msgid: entry for entry in polib.pofile(str(FOLDER / f"{lang}.po"))}


TABLE = {lang: catalogue(lang) for lang in LANGUAGES}
KEYS = sorted(TABLE["en"])


def forms(entry) -> tuple[str, ...]:
    return tuple(entry.msgstr_plural.values()) or (entry.msgstr,)


def fields(entry) -> set[str]:
    found = {name for form in forms(entry) for _, name, _, _ in Formatter().parse(form) if name}
    return found | ({"n"} if entry.msgid_plural else set())


def test_every_language_has_a_catalogue():
    assert sorted(path.stem for path in FOLDER.glob("*.po")) == sorted(LANGUAGES)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_catalogues_have_every_sentence_once(lang):
    entries = polib.pofile(str(FOLDER / f"{lang}.po"))
    assert not entries.fuzzy_entries()
    assert len({entry.msgid for entry in entries}) == len(entries)
    assert all(form.strip() for entry in entries for form in forms(entry))


def test_both_languages_have_the_same_keys():
    assert set(TABLE["en"]) == set(TABLE["zh"])


def test_both_languages_have_the_same_fields():
    assert [key for key in KEYS if fields(TABLE["en"][key]) != fields(TABLE["zh"][key])] == []


def messages_in_code() -> list[tuple[str, str, set[str] | None]]:
    """Return place, key and fields (None where they are not written out) of messages in code."""
    found = []
    for path in sorted(FOLDER.parents[1].rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            given: set[str] | None = None
            match node:
                case ast.Call(func=ast.Name(id="LazyMessage"), args=[ast.Constant(key)]):
                    given = set()
                case ast.Call(
                    func=ast.Name(id="LazyMessage"), args=[ast.Constant(key), ast.Dict(keys)]
                ) if None not in keys:
                    given = {str(name.value) for name in keys}
                case ast.Constant(str(key)) if re.fullmatch(r"\w+\.refusal\.[a-z_.]*[a-z]", key):
                    pass
                case _:
                    continue
            found.append((f"{path.name}:{node.lineno}", key, given))
    return found


def test_messages_in_code_are_in_the_catalogues_with_their_fields():
    found = messages_in_code()
    assert len(found) > 1000
    assert [where for where, key, _ in found if key not in TABLE["en"]] == []
    lacking = {
        where: fields(TABLE["en"][key]) - given for where, key, given in found if given is not None
    }
    assert {where: names for where, names in lacking.items() if names} == {}


def is_chinese(key: str, form: str) -> bool:
    """Tell whether a form has Chinese words and punctuation, or is a name."""
    if re.search(r"[\u4e00-\u9fff}][,;:()]|[,;:()][\u4e00-\u9fff{]", form):
        return False
    words = re.search(r"[A-Za-z]{3,}", re.sub(r"\{\w+\}", "", form))
    known = key.startswith(("short.", "loss_is.", "metric.", "page.lang", "page.title"))
    return bool(CHINESE.search(form)) or known or not words


def test_chinese_is_chinese_and_its_punctuation_too():
    said = [(key, form) for key in KEYS for form in forms(TABLE["zh"][key])]
    assert [(key, form) for key, form in said if not is_chinese(key, form)] == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_sentence_can_be_said_for_every_number(lang):
    speech = Translator(lang)
    for key, number in itertools.product(KEYS, (0, 1, 2, 1234)):
        said = speech(key, {name: number for name in fields(TABLE["en"][key])})
        assert "{" not in said, key
        assert "  " not in said, key
        if fields(TABLE[lang][key]) and "1 " not in said and number == 1234:
            assert "1,234" in said, key


def test_number_chooses_the_form():
    speech = Translator("en")
    said = [speech("groups.gain", {"n": n}) for n in (0, 1, 2, 1200)]
    assert said == ["no task gains", "1 task gains", "2 tasks gain", "1,200 tasks gain"]


def test_missing_field_is_an_error():
    with pytest.raises(KeyError, match="model"):
        Translator()("use", {"what": "one"})


def test_unknown_sentence_is_an_error():
    with pytest.raises(KeyError, match="no such"):
        Translator()("no such")


def test_unknown_language_is_refused_with_those_known():
    with pytest.raises(ParameterError, match=r"lang must be 'en' or 'zh'; got 'fr'\."):
        Translator("fr")


def test_name_without_a_word_is_shown_as_it_is():
    assert Translator("zh").word("short", "my score") == "my score"
    assert Translator("zh").word("short", "accuracy") == "准确率"


def test_braces_in_a_name_are_text():
    fields = {"model": "{0} {model}", "what": "{what}"}
    assert Translator()("use", fields) == "Use {0} {model}: {what}."


def test_names_are_marked_and_short_and_sentences_are_kept_in_full():
    speech = Translator("en", lambda name: f"<{name}>")
    assert speech.name("a\nb") == "<a b>"
    assert len(speech.name("x" * 300)) == 62
    assert speech.text("y" * 300) == f"<{'y' * 300}>"


def test_names_with_commas_are_kept_apart():
    assert Translator().listed(["a", "b"]) == "a, b"
    assert Translator().listed(["a, b", "c"]) == "a, b; c"
    assert Translator("zh").listed(["甲、乙", "丙"]) == "甲、乙；丙"
