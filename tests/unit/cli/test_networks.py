"""Networks on the command line: compared, chosen, fitted, searched, predicted with, refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unit.cli._comparing import comparison, next_words, predicted

from polytask import load
from polytask.data.readers import read_table
from polytask.messages import Translator
from polytask.selection import networks

torch = pytest.importorskip("torch")

from polytask.cli.describe import describe  # noqa: E402
from polytask.deep import MLP, DeepMultiTaskRegressor, sharing  # noqa: E402

ONE = ("--task", "g", "--target", "y")
FEW = ("--quick", "--models", "separate", "--models", "near the mean", "--models", "deep",
       "--jobs", "1")  # fmt: skip


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    monkeypatch.setattr(networks, "_EPOCHS", 20)


@pytest.fixture
def curved(folder) -> pd.DataFrame:
    """Return tasks of a relation that no linear model can see."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(-2.0, 2.0, (240, 2)), columns=["x", "z"])
    table.insert(0, "g", np.repeat(list("abcdef"), 40))
    table["y"] = table.x.abs() + 0.05 * rng.standard_normal(240)
    table.to_csv("a.csv", index=False)
    return table


@pytest.mark.slow
def test_networks_stand_beside_the_others_and_the_best_predicts(run, curved, monkeypatch):
    from polytask.comparison import work as _unit

    fitted, calls = _unit._run, []

    def few(*arguments):
        calls.append(arguments[1].model)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return fitted(*arguments)

    monkeypatch.setattr(_unit, "_run", few)
    assert run("compare", "a.csv", *ONE, *FEW, "--out", "out").status == 130
    assert calls[2:] == ["network per task", "network, shared trunk"]
    monkeypatch.setattr(_unit, "_run", fitted)
    done = comparison(run, "a.csv", *ONE, *FEW)
    report = json.loads(Path("out/report.json").read_text("utf-8"))
    families = {row["name"]: row["family"] for row in report["models"]}
    assert list(families.values()).count("deep") == 2
    assert families[report["recommended"]] == "deep"
    assert report["networks_gain"]["low"] > 0
    assert report["networks_sharing"] is not None
    assert "better than the best linear model, the kind of model that the verdict" in done.out
    written = predicted(run, done)
    model = load(next_words(done)[1])
    expected = model.predict(curved[["g", "x", "z"]])
    np.testing.assert_allclose(written["prediction"], expected)


def test_auto_writes_a_combination_with_a_network(run, curved):
    done = run("auto", "a.csv", *ONE, "--models", "separate", "--models", "network, shared trunk",
               "--folds", "2", "--jobs", "1", "--out", "m.polytask")  # fmt: skip
    assert done.status == 0, done.err
    assert "networks: “network, shared trunk”" in done.out
    written = run("predict", "m.polytask", "a.csv", "--out", "p.csv")
    assert written.status == 0, written.err
    expected = load("m.polytask").predict(curved.drop(columns="y"))
    np.testing.assert_allclose(read_table("p.csv").table["prediction"], expected)


def test_a_network_is_described_with_the_layers_that_it_has():
    said, speech = "DeepMultiTaskRegressor with MLP(dropout=0.1)", Translator()
    assert describe(DeepMultiTaskRegressor(), speech) == said
    plain = DeepMultiTaskRegressor(MLP((8,)), sharing=sharing.MMoE(2))
    parts = "MLP(widths=(8,)); MMoE(n_experts=2, width=None)"
    assert describe(plain, speech) == f"DeepMultiTaskRegressor with {parts}"


def test_a_network_is_fitted_and_its_file_says_so(run, curved):
    done = run("fit", "a.csv", *ONE, "--model", "deep", "--seed", "3", "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "DeepMultiTaskRegressor with MLP(dropout=0.1)" in done.out
    assert "Training " in done.out
    assert "Certificate" not in done.out
    same = networks.network("regression", "squared", 3).set_params(task_column="g")
    same.fit(curved[["g", "x", "z"]], curved["y"])
    np.testing.assert_array_equal(load("m.polytask").predict(curved), same.predict(curved))
    inspected = run("inspect", "m.polytask")
    assert inspected.status == 0, inspected.err
    assert "Training " in inspected.out


def test_targets_of_both_kinds_have_a_network(run, curved):
    curved.assign(much=np.where(curved.y > 1, "yes", "no")).to_csv("a.csv", index=False)
    done = run("fit", "a.csv", "--target", "y", "--target", "much", "--drop", "g", "--model",
               "deep", "--out", "m.polytask")  # fmt: skip
    assert done.status == 0, done.err
    assert "DeepMultiTaskModel" in done.out


@pytest.mark.slow
def test_a_network_is_searched(run, curved):
    pytest.importorskip("optuna")
    words = ("tune", "a.csv", *ONE, "--model", "deep", "--folds", "2", "--trials", "2")
    done = run(*words, "--out", "m.polytask")
    assert done.status == 0, done.err
    trials = pd.read_csv("m.trials.csv")
    assert list(trials)[:5] == [
        "learning_rate", "weight_decay", "trunk.widths", "trunk.dropout", "sharing",
    ]  # fmt: skip
    best = trials.loc[trials["score"].idxmax()]
    model = load("m.polytask")
    assert model.learning_rate == pytest.approx(best["learning_rate"], rel=1e-12)
    assert repr(model.trunk.widths) == best["trunk.widths"]
    own = run(*words, "--range", "trunk.dropout=0..0.5", "--out", "own.polytask")
    assert own.status == 0, own.err
    assert list(pd.read_csv("own.trials.csv"))[:2] == ["trunk.dropout", "score"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("compare", *ONE, "--models", "dep", "--out", "o"), "Did you mean 'deep'?"),
        (
            ("compare", *ONE, "--models", "network per task", "--out", "o"),
            "--models lacks one that shares",
        ),
        (
            ("fit", *ONE, "--model", "deep", "--penalty", "L21", "--out", "o.polytask"),
            "--model 'deep' takes no --penalty: drop one of the two.",
        ),
        (
            ("tune", *ONE, "--model", "deep", "--range", "rate=1..2", "--out", "o.polytask"),
            "such as learning_rate, weight_decay, trunk.widths",
        ),
    ],
)
def test_nonsense_is_refused_in_one_sentence(run, curved, words, reason):
    if words[0] == "tune":
        pytest.importorskip("optuna")
    done = run(words[0], "a.csv", *words[1:])
    assert done.status == 2
    assert reason in done.err
    assert {path.name for path in Path().iterdir()} == {"a.csv"}


def test_without_torch_one_sentence_says_what_to_install(run, curved, monkeypatch):
    fitted = run("fit", "a.csv", *ONE, "--model", "deep", "--out", "m.polytask")
    assert fitted.status == 0, fitted.err
    import polytask

    for name in [name for name in sys.modules if name.startswith("polytask.deep")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(polytask, "deep")
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    before = {path.name for path in Path().iterdir()}
    for words in (
        ("compare", "no.csv", *ONE, "--models", "deep", "--out", "o"),
        ("auto", "no.csv", *ONE, "--models", "network pooled", "--out", "o.polytask"),
        ("fit", "a.csv", *ONE, "--model", "deep", "--out", "o.polytask"),
        ("predict", "m.polytask", "a.csv", "--out", "p.csv"),
    ):
        done = run(*words)
        assert done.status == 2, words
        assert 'pip install "polytask[deep]"' in done.err
        assert len(done.err.strip().splitlines()[-1].split(". ")) == 1
    assert {path.name for path in Path().iterdir()} == before
