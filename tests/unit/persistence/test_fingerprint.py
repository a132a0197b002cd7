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
from polytask.io.fingerprint import fingerprint
from polytask.penalties import L2, L21

LONG = np.arange(5000.0)


def settings(scale: float = 2.0, values: np.ndarray = LONG) -> dict:
    return {
        "models": [("a", MultiTaskRegressorCV(L21(), cv=3)), ("b", Ridge())],
        "function": lambda x: scale * x,
        "call": partial(np.add, values),
        "penalties": {"*": L2(0.1)},
        "named": lambda name: scale if name in {"one", "two", "three", "four"} else 0.0,
        "sets": [({"one", "two", "three"},)],
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
    assert len({fingerprint([Made(0), Made(k)]) for k in range(20)}) == 20


def test_text_does_not_depend_on_what_is_one_object():
    one = Ridge(alpha=np.array([1.0, 2.0]))
    assert fingerprint([one, one]) == fingerprint([one, Ridge(alpha=np.array([1.0, 2.0]))])


def test_what_holds_itself_has_a_text():
    inside: list = [LONG]
    inside.append(inside)
    assert "#" in fingerprint(inside)


@pytest.mark.parametrize(
    "other", [settings(scale=3.0), settings(values=np.where(LONG == 2500, 0, LONG))]
)
def test_what_the_text_hides_counts(other):
    assert fingerprint(other) != fingerprint(settings())


def test_text_is_the_same_in_another_process():
    code = (
        f"import runpy; t = runpy.run_path({__file__!r}); print(t['fingerprint'](t['settings']()))"
    )
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


class Power:
    """An object whose text says nothing."""

    def __init__(self, power: int) -> None:
        self.power = power


class Slots:
    """The same without a dictionary."""

    __slots__ = ("power",)

    def __init__(self, power: int) -> None:
        self.power = power


@pytest.mark.parametrize("kind", [Power, Slots])
def test_what_an_object_holds_counts(kind):
    assert fingerprint(kind(1)) == fingerprint(kind(1))
    assert fingerprint(kind(1)) != fingerprint(kind(2))


def test_what_a_function_calls_counts():
    names = {"absolute": np.absolute, "square": np.square}
    one, other = (eval(f"lambda x: {name}(x)", names) for name in list(names)[:2])
    assert fingerprint(one) != fingerprint(other)
    again = eval("lambda x: absolute(x)", names)
    assert fingerprint(one) == fingerprint(again)


def test_no_method_of_what_is_looked_at_is_called(tmp_path):
    with (tmp_path / "log.txt").open("w") as log:
        held = Power(1)
        held.log = log
        fingerprint([held, lambda: log, np])
        log.write("still open")
    assert (tmp_path / "log.txt").read_text() == "still open"


def test_a_function_that_is_not_complete_yet_has_a_text():
    def outer():
        function = lambda: later  # noqa: E731
        text = fingerprint(function)
        later = 1
        return text, later

    assert "lambda" in outer()[0]


def test_networks_tell_their_settings_and_their_weights_only_if_asked():
    torch = pytest.importorskip("torch")

    def layer(rate: float):
        found = torch.nn.Dropout(rate)
        found.scale = rate
        return torch.nn.Sequential(torch.nn.Linear(2, 2), found, torch.nn.LazyLinear(2))

    one, same, other = layer(0.1), layer(0.1), layer(0.2)
    assert fingerprint(one, weights=False) == fingerprint(same, weights=False)
    assert fingerprint(one) != fingerprint(same)
    assert fingerprint(one, weights=False) != fingerprint(other, weights=False)
