"""What a journal knows a parameter by."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from polytask import MultiTaskRegressorCV
from polytask._identity import steady
from polytask.penalties import L2, L21

LONG = np.arange(5000.0)


def settings(scale: float = 2.0, values: np.ndarray = LONG) -> dict:
    return {
        "models": [("a", MultiTaskRegressorCV(L21(), cv=3)), ("b", Ridge())],
        "function": lambda x: scale * x,
        "call": partial(np.add, values),
        "penalties": {"*": L2(0.1)},
    }


class Made:
    """Something whose content is made anew each time it is asked for."""

    def __init__(self, value: int) -> None:
        self.value = str(value)

    def __repr__(self) -> str:
        return "Made()"

    def to_numpy(self) -> np.ndarray:
        return np.array([object, self.value], dtype=object)


def test_what_is_gone_does_not_stand_for_what_comes_after_it():
    assert len({steady([Made(0), Made(k)]) for k in range(20)}) == 20


def test_text_does_not_depend_on_what_is_one_object():
    one = Ridge(alpha=np.array([1.0, 2.0]))
    assert steady([one, one]) == steady([one, Ridge(alpha=np.array([1.0, 2.0]))])


def test_what_holds_itself_has_a_text():
    inside: list = [LONG]
    inside.append(inside)
    assert "#" in steady(inside)


@pytest.mark.parametrize(
    "other", [settings(scale=3.0), settings(values=np.where(LONG == 2500, 0, LONG))]
)
def test_what_the_text_hides_counts(other):
    assert steady(other) != steady(settings())


def test_text_is_the_same_in_another_process():
    code = f"import runpy; t = runpy.run_path({__file__!r}); print(t['steady'](t['settings']()))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(texts) == 1
