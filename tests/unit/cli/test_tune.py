"""``polytask tune``: the same answer as Python, resumed, refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask import MultiTaskRegressor, load
from polytask.cli.tune import space_of
from polytask.data import GroupedRows
from polytask.penalties import L2, SparseGroup, dirty, toward_mean
from polytask.selection import Between, tune

pytest.importorskip("optuna")

WORDS = ("tune", "a.csv", "--task", "g", "--target", "y", "--folds", "2")


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


@pytest.fixture
def table(folder, plain) -> pd.DataFrame:
    plain.to_csv("a.csv", index=False)
    return plain


def test_it_writes_what_python_finds(run, table):
    done = run(*WORDS, "--trials", "4", "--out", "m.polytask")
    assert done.status == 0, done.err
    assert re.search(r"Importance +p[01].alpha \d+%, p[01].alpha \d+%", done.out)
    assert names() == {"a.csv", "m.polytask", "m.trials.csv"}
    model = MultiTaskRegressor(
        toward_mean() + L2(), standardize=True, scale_targets="auto", task_column="g"
    )
    space = {f"penalty__p{k}__alpha": Between(1e-3, 100.0) for k in (0, 1)}
    found = tune(model, space, table[["g", "x", "z"]], table["y"], cv=2, n_trials=4)
    np.testing.assert_array_equal(load("m.polytask").coef_, found.estimator.coef_)
    trials = pd.read_csv("m.trials.csv")
    assert list(trials) == ["p0.alpha", "p1.alpha", "score", "folds", "pruned"]
    # Some readers of numbers are off by their last digit.
    np.testing.assert_allclose(trials["score"], found.frame()["score"], rtol=1e-12)
    measure = "R2 (against the training mean), mean of the folds"
    for words in ("The best trials", measure, f"{found.score:.4f}", "polytask predict m.polytask"):
        assert words in done.out


def test_choices_groups_and_a_storage_that_is_added_to(run, table):
    table.assign(pair=np.arange(120) // 2).to_csv("a.csv", index=False)
    words = (*WORDS, "--penalty", "SparseGroup", "--range", "l1_ratio=0.05..0.95", "--choice",
             "task_weight=size,equal", "--group", "pair", "--storage", "kept")  # fmt: skip
    assert run(*words, "--trials", "2", "--out", "m.polytask").status == 0
    more = run(*words, "--trials", "4", "--out", "m.polytask", "--force")
    assert more.status == 0, more.err
    assert "kept" in names()
    trials = pd.read_csv("m.trials.csv")
    assert len(trials) == 4
    assert set(trials["task_weight"]) <= {"size", "equal"}
    model = MultiTaskRegressor(
        SparseGroup(), standardize=True, scale_targets="auto", task_column="g"
    )
    space = {"penalty__l1_ratio": Between(0.05, 0.95), "task_weight": ["size", "equal"]}
    folds = GroupedRows(np.arange(120) // 2, n_splits=2)
    whole = tune(model, space, table[["g", "x", "z"]], table["y"], cv=folds, n_trials=4)
    np.testing.assert_allclose(trials["score"], whole.frame()["score"], rtol=1e-12)
    other = run(*words, "--trials", "4", "--seed", "1", "--out", "m.polytask", "--force")
    assert other.status == 2
    assert "holds a search with another" in other.err


def test_what_a_budget_left_is_gone_on_with(run, table):
    done = run(*WORDS, "--trials", "3", "--time-budget", "0.001", "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "--force continues the search" in done.out
    assert len(pd.read_csv("m.trials.csv")) == 1
    done = run(*WORDS, "--trials", "3", "--out", "m.polytask", "--force")
    assert done.status == 0, done.err
    assert len(pd.read_csv("m.trials.csv")) == 3
    assert names() == {"a.csv", "m.polytask", "m.trials.csv"}


def test_strengths_are_searched_where_nothing_is_said():
    assert space_of(MultiTaskRegressor(dirty()), (), ()) == {
        "penalty__p0__fraction": Between(1e-3, 1.0),
        "penalty__p1__fraction": Between(1e-3, 1.0),
    }
    ranges = ("intercept_strength=1..9", "max_iter=10..200", "p0.alpha=0.1 .. 10")
    choices = ("intercept=task, none", "standardize=true,false", "tol=1e-6,1e-8")
    assert space_of(MultiTaskRegressor(toward_mean() + L2()), ranges, choices) == {
        "intercept_strength": Between(1.0, 9.0, log=False),
        "max_iter": Between(10, 200, integer=True),
        "penalty__p0__alpha": Between(0.1, 10.0),
        "intercept": ["task", None],
        "standardize": [True, False],
        "tol": [1e-6, 1e-8],
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--range", "l1_ratioo=0.1..1"), "Did you mean 'l1_ratio'?"),
        (("--range", "l1_ratio=0.1"), "--range is written NAME=LOW..HIGH"),
        (("--range", "alpha=5..1"), "--range alpha=5..1 cannot be searched"),
        (("--range", "max_iter=1.5..20"), "between whole numbers"),
        (("--range", "alpha=a..b"), "--range is written NAME=LOW..HIGH"),
        (("--choice", "alpha"), "--choice is written NAME=A,B"),
        (("--range", "alpha=1..20", "--choice", "alpha=1,2"), "searches already"),
        (("--storage", "a.csv"), "a.csv holds no trials of a search"),
        (("--storage", "none/kept"), "there is no folder"),
        (("--group", "x", "--time", "z"), "--group and --time hold out different"),
        (("--penalty", "SparseGrup"), "SparseGroup"),
    ],
)
def test_refusals_are_one_sentence_and_write_nothing(run, table, words, said):
    before = Path("a.csv").read_bytes()
    plain = () if "--penalty" in words else ("--penalty", "SparseGroup")
    done = run(*WORDS, *plain, *words, "--trials", "1", "--out", "m.polytask")
    assert done.status == 2, done.err
    assert said in done.err
    assert names() == {"a.csv"}
    assert Path("a.csv").read_bytes() == before


def test_tables_of_trials_are_not_overwritten(run, table):
    Path("m.trials.csv").write_text("mine")
    done = run(*WORDS, "--trials", "1", "--out", "m.polytask")
    assert done.status == 2
    assert "m.trials.csv exists already" in done.err


def test_without_optuna_the_command_is_named(run, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = run(*WORDS, "--out", "m.polytask")
    assert done.status == 2
    assert "pip install 'polytask[search]'" in done.err


def test_a_refusal_leaves_nothing_in_the_way_of_the_mended_command(run, table):
    words = (*WORDS, "--trials", "3", "--out", "m.polytask")
    refused = run(*words, "--choice", "task_weight=size,eqal")
    assert refused.status == 2
    assert "got 'eqal'" in refused.err
    assert names() == {"a.csv"}
    assert run(*words).status == 0


@pytest.mark.parametrize(
    ("penalty", "wanted", "said"),
    [
        ("SparseGroup", "l1_ratio=0.8..1.02", "1.02 as penalty__l1_ratio"),
        ("toward_mean + L2", "p0.alpha=-1..1", "-1.0 as penalty__p0__alpha"),
    ],
)
def test_impossible_ends_are_refused_before_any_trial(
    run, table, monkeypatch, penalty, wanted, said
):
    monkeypatch.setattr(MultiTaskRegressor, "fit", None)
    done = run(*WORDS, "--penalty", penalty, "--range", wanted, "--out", "m.polytask")
    assert done.status == 2
    assert said in done.err
    assert names() == {"a.csv"}
