"""One language: keys and fields in, sentences out."""

from __future__ import annotations

import functools
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from gettext import GNUTranslations
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

from polytask.exceptions import ParameterError

# Other, control and surrogate: they break lines, drive terminals or cannot be encoded.
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Marks that turn the direction of whatever follows, also outside of the string.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """Return a string without line breaks, control characters and direction overrides."""
    joined = " ".join(text.split())
    kept = "".join(_fit(character) for character in joined)
    return kept or '""'


def _fit(character: str) -> str:
    if character in _TURNING:
        return ""
    return "\ufffd" if unicodedata.category(character) in _UNFIT else character


# Around names of users within sentences of a document. No cleaned text holds them.
OPEN, CLOSE = "\x02", "\x03"


def marked(name: str) -> str:
    """Return a name between the marks by which a renderer knows it."""
    return f"{OPEN}{name}{CLOSE}"


def unmarked(text: str) -> str:
    """Return a text without these marks."""
    return text.replace(OPEN, "").replace(CLOSE, "")


def distinct_names(labels: Sequence[object]) -> list[str]:
    """Return a name for each label; those that look alike are told apart by type."""
    texts = [clean(str(label)) for label in labels]
    counts = Counter(texts)
    return [
        text if counts[text] == 1 else clean(repr(label))
        for text, label in zip(texts, labels, strict=True)
    ]


def shortened(text: str, longest: int) -> str:
    """Return a text with its middle left out if it has more than so many characters."""
    if len(text) <= longest:
        return text
    tail = text[-(longest // 3) :].lstrip()
    # A mark without its letter would join the ellipsis.
    while tail and unicodedata.combining(tail[0]):
        tail = tail[1:]
    return f"{text[: longest - 1 - longest // 3].rstrip()}…{tail}"


# Of a half-width these digits are shown; of a number without one, those.
_OF_SPREAD, _ALONE = 2, 3
# A number with more digits after the point is written with an exponent.
_MOST = 6


def decimals(spreads: Iterable[float], values: Iterable[float] = ()) -> int:
    """Return how many digits after the point tell numbers of some uncertainty."""
    for numbers, digits in ((spreads, _OF_SPREAD), (values, _ALONE)):
        sizes = [abs(v) for v in numbers if math.isfinite(v) and v != 0]
        if sizes:
            places = digits - 1 - math.floor(math.log10(median(sizes)))
            return min(max(places, 0), _MOST)
    return _ALONE


def beside(places: int, ends: Iterable[float], margin: float) -> int:
    """Return digits with which ends of an interval are on their own side of a margin."""
    known = [end for end in ends if math.isfinite(end)]
    for more in range(places, places + _ALONE if margin else places):
        marks = {round(margin, more), round(-margin, more)}
        if not any(round(end, more) in marks and abs(end) != margin for end in known):
            return more
    return places


def fixed(value: float, places: int, *, signed: bool = False) -> str:
    """Return a number with a fixed number of digits after the point."""
    text = f"{value:,.{places}f}"
    if not any(digit in text for digit in "123456789"):
        return text.lstrip("-")
    if len(text) > 16:
        text = f"{value:.2e}"
    return f"+{text}" if signed and value > 0 else text


def plain_number(value: float, digits: int = _ALONE) -> str:
    """Return a finite number with some digits that count, or all digits before the point."""
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.2e}" if places > _MOST else fixed(value, max(places, 0))


LANGUAGES = ("en", "zh")
# Counts that may have a sentence of their own beside the plural forms of the language.
_SPECIAL = {0: "zero", 1: "one"}
# A longer name would hide the sentence around it.
_LONGEST = 60
_NO_FIELDS: Mapping[str, str | int] = MappingProxyType({})


@functools.cache
def _file(lang: str) -> Any:  # noqa: ANN401 - a list of polib's entries
    import polib

    return polib.pofile(str(Path(__file__).with_name("locale") / f"{lang}.po"))


@functools.cache
def _catalogue(lang: str) -> GNUTranslations:
    """Return the sentences of one language, as gettext reads them."""
    return GNUTranslations(io.BytesIO(_file(lang).to_binary()))


class Translator:
    """Says things in one language."""

    def __init__(
        self, lang: str = "en", mark: Callable[[str], str] = str, *, options: bool = False
    ) -> None:
        if lang not in LANGUAGES:
            raise ParameterError(LazyMessage("refusal.lang", {"got": repr(lang)}))
        self.lang = lang
        # Whether options of the command line are named, where others read of arguments.
        self.options = options
        self._mark = mark

    def __call__(self, key: str, fields: Mapping[str, str | int] = _NO_FIELDS) -> str:
        """Return a sentence; the field ``n`` chooses the plural form."""
        template = self._template(key, fields.get("n"))
        if template is None:
            raise KeyError(key)
        shown = {name: f"{v:,}" if isinstance(v, int) else v for name, v in fields.items()}
        template = _without_gaps(template, shown) if self.lang == "zh" else template
        return template.format_map(shown)

    def _template(self, key: str, number: Any = None) -> str | None:  # noqa: ANN401
        found = _catalogue(self.lang)
        if self.options and (text := found.gettext(f"{key}.cli")) != f"{key}.cli":
            return text
        counted = isinstance(number, int)
        special = f"{key}.{_SPECIAL.get(number, '')}" if counted else key
        if special != key and (text := found.gettext(special)) != special:
            return text
        # Sums of weights are told as text, which may have fractions: not one, so many.
        text = found.ngettext(key, key, number if counted else 2)
        text = found.gettext(key) if text == key else text
        return None if text == key else text

    def name(self, value: object) -> str:
        """Return a name that a user chose, fit to join a sentence: of one line, and short."""
        return self._mark(shortened(clean(str(value)), _LONGEST))

    def quoted(self, value: object) -> str:
        """Return a name in quotation marks, where it would read as words of the sentence."""
        return self("quoted", {"name": self.name(value)})

    def task(self, label: object) -> str:
        """Return the label of a task, in quotation marks where its ends would not be seen."""
        return self.quoted(label) if re.search(r"[\s,;]", str(label)) else self.name(label)

    def has(self, key: str) -> bool:
        """Return whether there is a sentence of this key."""
        return self._template(key) is not None

    def text(self, value: str) -> str:
        """Return a sentence that came from elsewhere, on one line and in full."""
        return self._mark(clean(value))

    def word(self, group: str, name: str) -> str:
        """Return the word of a name in a group of words; the name itself if it has none."""
        key = f"{group}.{name}"
        return self(key) if self.has(key) else self.name(name)

    def words(self, group: str) -> dict[str, str]:
        """Return the words of a group by their names, in the order of the catalogue."""
        keys = (entry.msgid for entry in _file(self.lang))
        return {key[len(group) + 1 :]: self(key) for key in keys if key.startswith(f"{group}.")}

    def number(self, value: float, places: int, *, signed: bool = False) -> str:
        """Return a number with some digits after the point; a word where there is none."""
        if not math.isfinite(value):
            return self("number.missing")
        return fixed(value, places, signed=signed)

    def interval(
        self,
        mean: float,
        low: float,
        high: float,
        *,
        signed: bool = True,
        level: int = 0,
        margin: float = 0.0,
    ) -> str:
        """Return a mean with its interval, named as such if need be, in the digits it allows."""
        places = beside(decimals([(high - low) / 2], [mean]), (low, high), margin)
        middle = self.number(mean, places, signed=signed)
        if not math.isfinite(high - low):
            return self("number.alone", {"mean": middle}) if math.isfinite(mean) else middle
        ends = {"low": fixed(low, places), "high": fixed(high, places)}
        return self(f"number.interval{f'_{level}' if level else ''}", {"mean": middle, **ends})

    def listed(self, items: Iterable[str]) -> str:
        """Return items with commas between them; with semicolons if an item has a comma."""
        listed = list(items)
        # What stands in quotation marks may have commas.
        bare = [item for item in listed if not item[:1] == "'" == item[-1:]]
        commas = any(mark in item for item in bare for mark in ",\uff0c\u3001")
        return self("list.semicolon" if commas else "list.comma").join(listed)

    def joined(self, sentences: Iterable[str]) -> str:
        """Return sentences as one paragraph."""
        text = ""
        for sentence in filter(None, sentences):
            text = self("list.then", {"before": text, "after": sentence}) if text else sentence
        return text


_SPOKEN: ContextVar[str | None] = ContextVar("spoken", default=None)


def speak_in(lang: str) -> None:
    """Choose the language of what the command line prints, which names its options."""
    _SPOKEN.set(lang)


def spoken() -> Translator:
    """Return the language of what is printed while a program runs; English unless chosen."""
    lang = _SPOKEN.get()
    return Translator(lang or "en", options=lang is not None)


# Around a message within a message, and around other text, until a sentence is whole.
_WORDS, _OTHER = "\x04", "\x05"
_NO_EDGES = {ord(_WORDS): None, ord(_OTHER): None}
_HAN, _LATIN = "[\u4e00-\u9fff]", "['\"0-9A-Za-z)]"
# Chinese has a space beside Latin words, and none between its own; text of users stays as it is.
_TOO_MUCH = re.compile(f"(?<={_HAN}) {_WORDS}(?={_HAN})|(?<={_HAN}){_WORDS} (?={_HAN})")
_LACKING = re.compile(
    f"(?<={_HAN}){_WORDS}(?={_OTHER}?{_LATIN})"
    f"|(?:(?<={_LATIN})|(?<={_LATIN}{_OTHER})){_WORDS}(?={_HAN})"
)

# What begins or ends so stands beside Chinese without a space.
_BEGINS, _ENDS = (
    re.compile(f"{OPEN}?[\u201c\u4e00-\u9fff]"),
    re.compile(f"[\u201d\u4e00-\u9fff]{CLOSE}?$"),
)


def _without_gaps(template: str, fields: Mapping[str, Any]) -> str:
    """Return a Chinese sentence without its spaces beside fields that are Chinese themselves."""
    for name, value in fields.items():
        if _BEGINS.match(str(value)):
            template = re.sub(f"(?<={_HAN}) (?={{{name}}})", "", template)
        if _ENDS.search(str(value)):
            template = re.sub(f"(?<={{{name}}}) (?={_HAN})", "", template)
    return template


# Fields of messages that hold names of users.
_NAMES = frozenset({"name", "column", "task"})


@dataclass(frozen=True)
class LazyMessage:
    """A key of the catalogue with its fields: numbers, names, other messages or their nodes.

    The only argument of an exception of polytask, whose text is then the English sentence.
    """

    key: str
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def node(self) -> dict[str, Any]:
        """What stands for it within the fields of another message."""
        return {"key": self.key, "fields": {k: _plain(v) for k, v in self.fields.items()}}

    def text(self, say: Translator) -> str:
        """Return the sentence in the language of a translator."""
        return _spaced(self, say).translate(_NO_EDGES)

    def __str__(self) -> str:
        """Return the sentence in English."""
        return self.text(Translator())

    def __add__(self, other: LazyMessage | str) -> LazyMessage:
        """Return the message that says both, one right after the other."""
        return LazyMessage("list.added", {"before": self, "after": other}) if other else self


# Words of a message: a message, or what needs no translation.
Text = LazyMessage | str


def message_of(told: Exception | str) -> Text:
    """Return what a warning or an error says, in every language if it can."""
    first = told.args[0] if isinstance(told, Exception) and told.args else None
    return first if isinstance(first, LazyMessage) else str(told)


def _spaced(message: LazyMessage, say: Translator) -> str:
    """Return the sentence of a message, with spaces where its parts meet as the language does."""
    shown = {
        name: _said(say.text(str(value)) if name in _NAMES else value, say)
        for name, value in message.fields.items()
    }
    text = say(message.key, shown)
    if say.lang == "zh":
        text = _LACKING.sub(" ", _TOO_MUCH.sub("", text))
    return text.replace(_WORDS, "")


def text_of(node: Mapping[str, Any] | str) -> Text:
    """Return the message that a node stands for; text as it is."""
    return LazyMessage(**node) if isinstance(node, Mapping) else node


def failure(error: Exception) -> dict[str, Any]:
    """Return the node of what ended a fit: our sentence, or the kind and the first line."""
    said = message_of(error)
    if isinstance(said, LazyMessage):
        return said.node
    reason = LazyMessage("said", {"name": said.partition("\n")[0]})
    fields = {"kind": type(error).__name__, "reason": reason}
    return LazyMessage("left_out.failed", fields).node


def _plain(value: Any) -> Any:  # noqa: ANN401 - a field of a message
    """Return a field as JSON values."""
    if isinstance(value, LazyMessage):
        return value.node
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | Mapping) else str(value)


def _said(value: Any, say: Translator) -> Any:  # noqa: ANN401 - a field of a message
    if isinstance(value, list):
        items = (str(_said(item, say)).translate(_NO_EDGES) for item in value)
        told = all(isinstance(item, LazyMessage | Mapping) for item in value)
        edge = _WORDS if told else _OTHER
        return f"{edge}{say.listed(items)}{edge}"
    if isinstance(value, Mapping):
        value = LazyMessage(**value)
    if isinstance(value, LazyMessage):
        return f"{_WORDS}{_spaced(value, say)}{_WORDS}"
    return f"{_OTHER}{value}{_OTHER}" if isinstance(value, str) else value


def with_and(parts: Sequence[Any], word: str = "and") -> Any:  # noqa: ANN401 - a field
    """Return parts of a message as one field, with "and" (or "or") before the last."""
    *others, last = parts
    if not others:
        return last
    before = [part.node if isinstance(part, LazyMessage) else part for part in others]
    return LazyMessage(f"list.{word}", {"before": before, "after": last}).node


def one_paragraph(messages: Sequence[LazyMessage]) -> LazyMessage:
    """Return one message that says one or more, one after another."""
    first, *others = messages
    for other in others:
        first = LazyMessage("list.then", {"before": first.node, "after": other.node})
    return first
