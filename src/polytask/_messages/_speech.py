"""One language, spoken: keys and fields in, sentences out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from polytask._messages._auto_chinese import AUTO_CHINESE
from polytask._messages._auto_english import AUTO_ENGLISH
from polytask._messages._chinese import CHINESE
from polytask._messages._english import ENGLISH
from polytask._messages._extra_chinese import EXTRA_CHINESE
from polytask._messages._extra_english import EXTRA_ENGLISH
from polytask._messages._forms import Plural, Template
from polytask._messages._numbers import decimals, fixed
from polytask._messages._related_chinese import RELATED_CHINESE
from polytask._messages._related_english import RELATED_ENGLISH
from polytask._messages._report_chinese import REPORT_CHINESE
from polytask._messages._report_english import REPORT_ENGLISH
from polytask._messages._text import clean, shortened
from polytask.exceptions import ParameterError

TABLE: Mapping[str, Mapping[str, Template]] = MappingProxyType(
    {
        "en": {
            **ENGLISH,
            **REPORT_ENGLISH,
            **EXTRA_ENGLISH,
            **RELATED_ENGLISH,
            **AUTO_ENGLISH,
        },
        "zh": {
            **CHINESE,
            **REPORT_CHINESE,
            **EXTRA_CHINESE,
            **RELATED_CHINESE,
            **AUTO_CHINESE,
        },
    }
)
LANGUAGES = tuple(TABLE)
# A longer name would hide the sentence around it.
_LONGEST = 60
_NO_FIELDS: Mapping[str, str | int] = MappingProxyType({})


class Speech:
    """Says things in one language."""

    def __init__(self, lang: str = "en", mark: Callable[[str], str] | None = None) -> None:
        if lang not in TABLE:
            allowed = " or ".join(repr(name) for name in LANGUAGES)
            raise ParameterError(f"lang must be {allowed}; got {lang!r}.")
        self.lang = lang
        self._table = TABLE[lang]
        self._mark = mark

    def __call__(self, key: str, fields: Mapping[str, str | int] = _NO_FIELDS) -> str:
        """Return a sentence."""
        template = self._table[key]
        if isinstance(template, Plural):
            template = template.form(int(fields[template.field]))
        shown = {name: f"{v:,}" if isinstance(v, int) else v for name, v in fields.items()}
        return template.format_map(shown)

    def name(self, value: object) -> str:
        """Return a name that a user chose, fit to join a sentence: of one line, and short."""
        return self._marked(shortened(clean(str(value)), _LONGEST))

    def text(self, value: str) -> str:
        """Return a sentence that came from elsewhere, on one line and in full."""
        return self._marked(clean(value))

    def _marked(self, text: str) -> str:
        return text if self._mark is None else self._mark(text)

    def word(self, group: str, name: str) -> str:
        """Return the word of a name in a group of words; the name itself if it has none."""
        key = f"{group}.{name}"
        return self(key) if key in self._table else self.name(name)

    def number(self, value: float, places: int, *, signed: bool = False) -> str:
        """Return a number with some digits after the point; a word where there is none."""
        if not math.isfinite(value):
            return self("number.missing")
        return fixed(value, places, signed=signed)

    def interval(self, mean: float, low: float, high: float, *, signed: bool = True) -> str:
        """Return a mean with its interval, in as many digits as it allows."""
        places = decimals([(high - low) / 2], [mean])
        middle = self.number(mean, places, signed=signed)
        if not math.isfinite(high - low):
            return self("number.alone", {"mean": middle}) if math.isfinite(mean) else middle
        ends = {"low": fixed(low, places), "high": fixed(high, places)}
        return self("number.interval", {"mean": middle, **ends})

    def listed(self, items: Iterable[str]) -> str:
        """Return items with commas between them; with semicolons if an item has a comma."""
        listed = list(items)
        commas = any(mark in item for item in listed for mark in ",\uff0c\u3001")
        return self("list.semicolon" if commas else "list.comma").join(listed)

    def joined(self, sentences: Iterable[str]) -> str:
        """Return sentences as one paragraph."""
        return self("list.sentence").join(sentence for sentence in sentences if sentence)
