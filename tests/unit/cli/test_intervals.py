"""Intervals and sets beside predictions, and what is said of intervals that begin below 0."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from polytask import MultiTaskRegressor, load, save
from polytask.data.readers import read_table

FIT = ("--model", "multitask", "--out", "m.polytask")
PREDICT = ("predict", "m.polytask", "a.csv", "--interval", "0.9", "--out", "p.csv")


def test_intervals_are_those_of_the_model(run, plain):
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--model", "learned-prior", "--out", "m.polytask")
    assert run("fit", "a.csv", *words).status == 0
    assert run("predict", "m.polytask", "a.csv", "--interval", "0.8", "--out", "p.csv").status == 0
    found = read_table("p.csv").table
    assert list(found.columns) == ["g", "prediction", "lower", "upper", "note"]
    expected = load("m.polytask").predict_interval(plain[["g", "x", "z"]], level=0.8)
    np.testing.assert_allclose(found[["lower", "upper"]].to_numpy().T, expected)
    inside = (found["lower"] < plain["y"]) & (plain["y"] < found["upper"])
    assert 0.7 < inside.mean() < 0.9
    refused = run("predict", "m.polytask", "a.csv", "--interval", "90", "--out", "q.csv")
    assert refused.status == 2
    assert "--interval must be" in refused.err


def test_intervals_of_several_targets_are_named_by_target(run, plain):
    plain.to_csv("a.csv", index=False)
    words = ("--targets", "y,z", "--drop", "g", "--model", "learned-prior", "--out", "m.polytask")
    assert run("fit", "a.csv", *words).status == 0
    assert run("predict", "m.polytask", "a.csv", "--interval", "0.8", "--out", "p.csv").status == 0
    found = read_table("p.csv").table
    assert list(found.columns)[:4] == ["z", "y", "z lower", "z upper"]
    assert (found["y lower"] < found["y"]).all()
    # A target of classes has probabilities in place of an interval.
    plain.assign(z=np.where(plain["z"] > 0, "yes", "no")).to_csv("a.csv", index=False)
    assert run("fit", "a.csv", *words, "--force").status == 0
    words = ("predict", "m.polytask", "a.csv", "--interval", "0.8", "--out", "p.csv", "--force")
    assert run(*words).status == 0
    found = read_table("p.csv").table
    assert [name for name in found if "lower" in name or "upper" in name] == ["y lower", "y upper"]
    assert "P(z=yes)" in found


@pytest.mark.parametrize("model", ["search", "multitask", "pooled + intercepts"])
def test_intervals_are_made_of_what_fit_held_out(run, plain, model):
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--model", model, "--out", "m.polytask")
    done = run("fit", "a.csv", *words)
    assert "90% intervals hold" in done.out
    assert "For the 3 tasks with at least 20 of these rows the share is from" in " ".join(
        done.out.split()
    )
    assert run("predict", "m.polytask", "a.csv", "--interval", "0.8", "--out", "p.csv").status == 0
    found = read_table("p.csv").table
    expected = load("m.polytask").predict_interval(plain[["g", "x", "z"]], level=0.8)
    np.testing.assert_allclose(found[["lower", "upper"]].to_numpy().T, expected)
    assert 0.7 < ((found["lower"] < plain["y"]) & (plain["y"] < found["upper"])).mean() < 0.95


def test_classes_have_sets(run, plain):
    plain.assign(y=np.where(plain["y"] > 0, "yes", "no")).to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--out", "m.polytask")
    assert "90% sets of classes hold" in run("fit", "a.csv", *words).out
    assert run("predict", "m.polytask", "a.csv", "--interval", "0.9", "--out", "p.csv").status == 0
    found = read_table("p.csv").table
    assert list(found.columns)[:3] == ["g", "prediction", "set"]
    assert set(found["set"]) <= {"no", "yes", "no; yes"}


def test_a_model_without_intervals_says_which_has_them(run, plain):
    plain.to_csv("a.csv", index=False)
    model = MultiTaskRegressor(task_column="g").fit(plain[["g", "x", "z"]], plain["y"])
    save(model, "m.polytask")
    done = run("predict", "m.polytask", "a.csv", "--interval", "0.9", "--out", "p.csv")
    assert done.status == 2
    assert "The model in m.polytask has no prediction intervals" in done.err
    command = "polytask fit TABLE.csv --task g --target TARGET --features x,z --model"
    assert f"{command} learned-prior --out" in " ".join(done.err.split())


def _noted(run, *words):
    done = run(*PREDICT, *words)
    assert done.status == 0, done.err
    return done.err if "below 0" in done.err else "", read_table("p.csv").table


def test_rows_of_them_are_counted_and_a_loss_without_them_is_named(run, plain):
    plain.assign(y=plain["y"].abs() + 0.01).to_csv("a.csv", index=False)
    words = ("fit", "a.csv", "--task", "g", "--target", "y", *FIT)
    run(*words)
    said, table = _noted(run)
    n = int((table["lower"] < 0).sum())
    assert 1 < n < len(table)
    assert f"In {n} of 120 rows an interval begins below 0, but none of the 120 training" in said
    assert len(said.splitlines()) == 1
    # The same in parts; a column of the user's is no end of an interval.
    parts, _ = _noted(run, "--force", "--memory", "1KB")
    assert said in parts
    plain.assign(lower=-1.0).to_csv("b.csv", index=False)
    done = run("predict", "m.polytask", "b.csv", "--keep", "lower", "--out", "q.csv")
    assert (done.status, "below 0" in done.err) == (0, False)
    for loss, model in product(("gamma", "poisson"), ("multitask", "pooled", "separate")):
        run(*words, "--loss", loss, "--force", "--model", model)
        said, table = _noted(run, "--force")
        assert (said, table["lower"].min() >= 0) == ("", True)


def test_errors_of_a_pooled_model_of_counts_are_relative_to_the_root(run, plain):
    counts = np.random.default_rng(0).poisson(np.exp(1.5 + plain["x"]))
    plain.assign(y=counts).to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--loss", "poisson")
    done = run("fit", "a.csv", *words, "--model", "pooled + intercepts", "--out", "m.polytask")
    assert "explained deviance 0." in done.out
    assert json.loads(run("inspect", "m.polytask", "--json").out)["loss"] == "Poisson()"
    told = json.loads(run("monitor", "m.polytask", "a.csv", "--target", "y", "--json").out)
    mean = load("m.polytask").predict(plain[["g", "x", "z"]])
    errors = abs(counts - mean) / np.sqrt(mean + 0.375)
    for each in told["tasks"]:
        own = errors[(plain["g"] == each["task"]).to_numpy()]
        assert each["error"] == pytest.approx(own.mean())


@pytest.mark.parametrize("least", [0.0, -1.0])
def test_only_targets_that_were_never_negative_count(run, plain, least):
    table = plain.assign(u=plain["y"].abs() + plain["z"].abs(), v=plain["y"])
    table.loc[3, "u"] = least
    table.drop(columns=["g", "y"]).to_csv("a.csv", index=False)
    run("fit", "a.csv", "--targets", "u,v", "--out", "m.polytask")
    said, table = _noted(run)
    n = int((table["u lower"] < 0).sum())
    assert 1 < n < (table[["u lower", "v lower"]] < 0).any(axis=1).sum()
    assert (f"In {n} of 120 rows an interval begins below 0" in said) == (least == 0)
