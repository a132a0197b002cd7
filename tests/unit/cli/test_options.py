"""Options follow from the fields of dataclasses and from the functions of the library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from polytask import load
from polytask.cli.options import Derived, Vary, command, first_sentences, option, spoken_words
from polytask.losses import LOSSES, Huber


@dataclass(frozen=True)
class Group:
    PANEL = "Group"

    name: str | None = option("A name.", metavar="NAME")
    several: tuple[str, ...] = option("Several words.", "--word", default=())
    flag: bool = option("A flag.", default=False)
    seed: int = option("A seed.", default=3, least=0)


def example(X: Any, *, budget: float | None = None, careful: bool = False, names: Any = "all"):
    """Do something.

    Parameters
    ----------
    X : array
        Data.
    budget : float or None, default=None
        How much it may cost, in ``euros``. None: nothing.
    careful : bool, default=False
        Whether to look twice; slow.
    names : sequence, default="all"
        Names.

    Returns
    -------
    None
    """


CALLS: list[tuple[Any, ...]] = []


def work(
    group: Annotated[Group, Vary(("seed",), {"name": option("Another text.", default="x")})],
    passed: Annotated[
        Mapping[str, Any],
        Derived(
            f"{__name__}.example",
            "Work",
            frozenset({"X"}),
            {"names": (tuple[str, ...], option("A name.", "--only", default=()))},
        ),
    ],
) -> None:
    CALLS.append((group, passed))


def called(*words: str) -> tuple[Any, ...]:
    command("work", work, "Work.").main(args=list(words), standalone_mode=False)
    return CALLS.pop()


def test_fields_become_options_and_what_is_not_given_stays_with_the_library():
    assert called() == (Group(name="x"), {"careful": False})
    words = ("--word", "a", "--word", "b", "--flag", "--budget", "1.5", "--careful", "--only", "c")
    group, passed = called("--name", "y", *words)
    assert group == Group("y", ("a", "b"), True)
    assert passed == {"budget": 1.5, "careful": True, "names": ["c"]}
    assert spoken_words(group) == ["--name", "y", "--word", "a", "--word", "b", "--flag"]


def test_help_of_a_library_option_is_its_first_sentence():
    texts = first_sentences(example)
    assert texts["budget"] == "How much it may cost, in euros."
    assert texts["careful"] == "Whether to look twice."
    options = {each.name: each for each in command("work", work, "Work.").params}
    assert set(options) == {"name", "several", "flag", "budget", "careful", "only"}
    assert options["name"].help == "Another text."


def test_a_new_loss_needs_no_change_of_the_command_line(run, plain, monkeypatch):
    monkeypatch.setitem(LOSSES, "twin", Huber)
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--model", "multitask", "--out", "m.polytask")
    done = run("fit", "a.csv", *words, "--loss", "twin")
    assert done.status == 0, done.err
    assert load("m.polytask").loss == "twin"
    shown = run("fit", "--help").out
    assert [name for name in LOSSES if name not in shown] == []


@pytest.mark.parametrize("score", ["a constant per task", "separate models", "one pooled model"])
def test_no_score_without_baselines(run, plain, score):
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--model", "multitask", "--out", "m.polytask")
    done = run("fit", "a.csv", *words)
    (line,) = [line for line in done.out.splitlines() if line.startswith("Baselines")]
    assert score in line


def test_every_command_speaks_chinese(run, plain):
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y")
    fitted = ("fit", "a.csv", *words, "--model", "multitask", "--out", "m.polytask")
    for command_words, said in (
        (fitted, "留出数据"),
        (("predict", "m.polytask", "a.csv", "--out", "p.csv"), "已将 120 行写入 p.csv"),
        (("inspect", "a.csv", *words), "按 'g' 划分的任务：3 个"),
        (("inspect", "m.polytask"), "训练用 120 行"),
    ):
        done = run(*command_words, "--lang", "zh")
        assert done.status == 0, done.err
        assert said in done.out
