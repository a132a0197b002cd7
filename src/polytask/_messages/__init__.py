"""Sentences of results, in English and Chinese. Values in, words out."""

from polytask._messages._numbers import decimals, fixed, plain_number
from polytask._messages._said import Said
from polytask._messages._speech import LANGUAGES, Speech
from polytask._messages._text import clean

__all__ = ["LANGUAGES", "Said", "Speech", "clean", "decimals", "fixed", "plain_number"]
