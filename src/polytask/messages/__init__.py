"""Sentences of results, in English and Chinese. Values in, words out."""

from polytask.messages.catalogue import (
    CLOSE,
    LANGUAGES,
    OPEN,
    LazyMessage,
    Translator,
    clean,
    decimals,
    distinct_names,
    fixed,
    marked,
    one_paragraph,
    plain_number,
    speak_in,
    spoken,
    unmarked,
    with_and,
)

__all__ = [
    "CLOSE",
    "LANGUAGES",
    "OPEN",
    "LazyMessage",
    "Translator",
    "clean",
    "decimals",
    "distinct_names",
    "fixed",
    "marked",
    "one_paragraph",
    "plain_number",
    "speak_in",
    "spoken",
    "unmarked",
    "with_and",
]
