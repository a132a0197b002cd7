"""Options follow from the fields of dataclasses and from the functions of the library."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import dataclass, fields
from typing import Annotated, Any

import numpy as np
import pytest

from polytask import compare, load
from polytask._options import option
from polytask.cli.compare import compare as compare_tables
from polytask.cli.models import CRITERIA
from polytask.cli.options import Vary, command, spoken_words
from polytask.cli.program import COMMANDS
from polytask.comparison.options import Options
from polytask.losses import LOSSES, Huber
from polytask.messages import Translator, speak_in
from polytask.metrics import METRICS
from polytask.selection.by_criterion import JUDGES
from polytask.selection.candidates import MODELS


@dataclass(frozen=True)
class Group:
    PANEL = "help.panel.options"

    name: str | None = option("help.fit", metavar="NAME")
    several: tuple[str, ...] = option("help.auto", "--word", default=())
    flag: bool = option("help.tune", default=False)
    seed: int = option("help.path", default=3, least=0)


CALLS: list[Any] = []


def work(
    group: Annotated[Group, Vary(("seed",), {"name": option("help.adapt", default="x")})],
) -> None:
    CALLS.append(group)


def test_fields_become_options():
    # Another test of this process may have chosen another language.
    speak_in("en")
    made = command("rerun", work, "Work.")
    made.main(args=[], standalone_mode=False)
    words = ["--name", "y", "--word", "a", "--word", "b", "--flag"]
    made.main(args=words, standalone_mode=False)
    usual, group = CALLS
    assert usual == Group(name="x")
    assert group == Group("y", ("a", "b"), True)
    assert spoken_words(group) == words
    options = {each.name: each for each in made.params}
    assert set(options) == {"name", "several", "flag"}
    assert options["name"].help == Translator()("help.adapt")


def test_the_record_of_options_is_the_signature_of_compare():
    parameters = inspect.signature(compare).parameters
    assert [*parameters][:2] == ["X", "y"]
    usual = {name: parameters[name].default for name in [*parameters][2:]}
    assert vars(Options()) == usual
    entries = compare.__doc__.split("Returns\n---")[0]
    assert re.findall(r"^(\w+) : ", entries, re.MULTILINE) == [*parameters]
    with pytest.raises(TypeError, match="unexpected keyword argument 'mdels'"):
        compare([[1.0]], [1.0], mdels=["separate"])


def test_every_argument_of_compare_is_an_option_or_given_by_the_command():
    given = {
        "task", "sample_weight", "task_column",
        "loss", "groups", "time", "time_budget", "n_jobs", "random_state", "journal", "verbose",
        "allow_leak",
    }  # fmt: skip
    assert given == {each.name for each in fields(Options) if "option" not in each.metadata}
    options = {each.name for each in command("compare", compare_tables, "Compare.").params}
    assert {"models", "splits", "metric", "margin", "unseen", "quick", "ablation"} <= options
    assert "cv" not in options


def test_help_names_every_loss_model_metric_and_criterion(run):
    of_classes = {name for name, loss in LOSSES.items() if loss().is_classifier}
    assert set(Translator().words("loss_is.classes")) == of_classes
    assert set(Translator().words("loss_is.numbers")) == set(LOSSES) - of_classes
    assert set(CRITERIA) == set(JUDGES)
    assert set(Translator().words("model_is")) == set(MODELS)
    assert set(Translator().words("short")) == set(METRICS)
    assert set(Translator().words("metric_is")) == set(METRICS)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_models_says_what_every_model_and_metric_is(run, lang):
    done = run("models", "--lang", lang)
    assert done.status == 0, done.err
    lines = {" ".join(line.split()) for line in done.out.splitlines()}
    say = Translator(lang)
    named = {**say.words("model_is"), **say.words("metric_is")}
    assert {f"{name} {what}" for name, what in named.items()} <= lines


@pytest.mark.parametrize("name", ["fit", "compare", "auto"])
def test_help_points_at_the_list_of_models(run, name):
    assert "polytask models" in " ".join(run(name, "--help").out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_nothing_that_computes(name):
    code = (
        "import sys; from polytask.cli import main; main(sys.argv[1:])\n"
        "heavy = {'numpy', 'scipy', 'sklearn', 'pandas', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"polytask {name}" in done.stdout


def test_a_new_loss_needs_no_change_of_the_command_line(run, plain, monkeypatch):
    monkeypatch.setitem(LOSSES, "twin", Huber)
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--model", "multitask", "--out", "m.polytask")
    done = run("fit", "a.csv", *words, "--loss", "twin")
    assert done.status == 0, done.err
    assert load("m.polytask").loss == "twin"


@pytest.mark.parametrize(
    "score",
    ["a constant per task", "(separate)", "(separate, one strength)", "(pooled + intercepts)"],
)
def test_no_score_without_baselines(run, plain, score):
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--model", "multitask", "--out", "m.polytask")
    done = run("fit", "a.csv", *words)
    (line,) = [line for line in done.out.splitlines() if line.startswith("Baselines")]
    assert score in line


def test_a_model_of_classes_that_is_no_better_than_constants_says_so(run, plain):
    rng = np.random.default_rng(0)
    noise = plain.assign(y=rng.choice(["yes", "no"], len(plain)))
    noise.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--model", "multitask", "--penalty", "L2(1e-5)")
    done = run("fit", "a.csv", *words, "--out", "m.polytask")
    assert done.status == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("Baselines")]
    assert line.endswith("; the model is no better than these constants")
