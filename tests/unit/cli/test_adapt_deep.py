"""``polytask adapt`` of a saved network: the same as Python."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")


import polytask  # noqa: E402
from polytask import load, save  # noqa: E402
from polytask.cli.adapt import METHODS  # noqa: E402
from polytask.data.readers import read_table  # noqa: E402
from polytask.deep import MLP, DeepMultiTaskRegressor, adapting  # noqa: E402


@pytest.fixture
def network(run, plain):
    """Save a network of tasks a and b; new.csv holds twenty rows of task c."""
    old = plain[plain.g != "c"]
    model = DeepMultiTaskRegressor(
        MLP((8,)), max_epochs=3, early_stopping=False, random_state=0, task_column="g"
    )
    save(model.fit(old.drop(columns="y"), old["y"]), "m.polytask")
    plain[plain.g == "c"].head(20).to_csv("new.csv", index=False)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--method", "near-source")])
def test_a_new_task_is_learned_as_in_python(run, network, words):
    done = run("adapt", "m.polytask", "new.csv", "--target", "y", *words, "--out", "more.polytask")
    assert done.status == 0, done.err
    assert "Adapted to 1 task (c) with 20 rows." in done.out
    table = read_table("new.csv").table
    method = adapting.NearSource() if words else None
    want = polytask.adapt(load("m.polytask"), table.drop(columns="y"), table["y"], method=method)
    got = load("more.polytask")
    assert got.adaptation_ == want.adaptation_
    np.testing.assert_array_equal(got.predict(table), want.predict(table))
    assert run("predict", "more.polytask", "new.csv", "--out", "p.csv").status == 0
    np.testing.assert_allclose(read_table("p.csv").table["prediction"], got.predict(table))
    assert run("inspect", "more.polytask").status == 0


def test_a_method_is_for_networks(run, plain):
    plain[plain.g != "c"].to_csv("old.csv", index=False)
    plain[plain.g == "c"].to_csv("new.csv", index=False)
    words = ("--task", "g", "--target", "y", "--model", "multitask", "--out", "l.polytask")
    assert run("fit", "old.csv", *words).status == 0
    asked = ("--target", "y", "--method", "unfreeze", "--out", "n.polytask")
    done = run("adapt", "l.polytask", "new.csv", *asked)
    assert done.status == 2
    assert "says which layers of a network change" in done.err


def test_every_method_has_a_word():
    known = {name for name in adapting.__all__ if hasattr(getattr(adapting, name), "change")}
    assert {*METHODS.values()} == {"NewHead", *known - {"ChangesLayers"}}


def test_what_a_network_recorded_is_shown(run, plain):
    model = DeepMultiTaskRegressor(
        MLP((8,)), max_epochs=2, early_stopping=False, random_state=0, task_column="g",
        record=polytask.deep.recording.TaskAffinity(2),
    )  # fmt: skip
    save(model.fit(plain.drop(columns="y"), plain["y"]), "m.polytask")
    done = run("inspect", "m.polytask", "--related")
    assert done.status == 0, done.err
    assert done.out.startswith("In training, a gradient step for one task changed")
