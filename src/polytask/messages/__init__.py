"""Sentences of results, in English and Chinese. Values in, words out."""

from polytask.messages.catalogue import (
    LANGUAGES,
    LazyMessage,
    Translator,
    clean,
    decimals,
    fixed,
    plain_number,
)

__all__ = ["LANGUAGES", "LazyMessage", "Translator", "clean", "decimals", "fixed", "plain_number"]
