"""Data of which every model explains everything."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.comparison.verdict import all_perfect
from polytask.messages import LANGUAGES, Translator


def test_rounding_is_all_that_is_left():
    rng = np.random.default_rng(0)
    constant = rng.normal(0, 3, 200) ** 2
    rounding = rng.uniform(-0.005, 0.005, (3, 200)) ** 2
    assert all_perfect(rounding, constant)
    assert all_perfect(np.zeros((3, 200)), constant)
    assert all_perfect(rounding[0], constant)
    assert not all_perfect([*rounding, constant * 0.001], constant)


def test_nothing_is_perfect_where_nothing_varies_or_is_known():
    assert not all_perfect(np.zeros((2, 5)), np.zeros(5))
    assert not all_perfect(np.zeros((0, 5)), np.ones(5))
    assert not all_perfect([[0.0, np.nan]], [1.0, 1.0])
    assert not all_perfect([[0.0, 0.0]], [1.0, np.inf])


def test_weights_and_huge_losses():
    losses, constant = [[0.0, 1.0], [0.0, 1.0]], [1e4, 1.0]
    assert not all_perfect(losses, constant, weight=[1, 1000])
    assert all_perfect(losses, constant, weight=[1000, 1])
    assert all_perfect(np.full((2, 3), 1e290), np.full(3, 1e308))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_sentence_names_no_winner(lang):
    assert Translator(lang)("headline.perfect") != Translator(lang)("headline.share")
