"""Sentences of results, in English and Chinese. Values in, words out."""

from polytask.messages.catalogue import (
    LANGUAGES,
    Said,
    Speech,
    clean,
    decimals,
    fixed,
    plain_number,
)

__all__ = ["LANGUAGES", "Said", "Speech", "clean", "decimals", "fixed", "plain_number"]
