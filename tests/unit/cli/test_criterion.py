"""``polytask fit --criterion``: a search without folds."""

from __future__ import annotations

import pytest

from polytask import MultiTaskClassifierIC, MultiTaskModelIC, MultiTaskRegressorIC, load

TABLE = ("--task", "g", "--target", "y")


@pytest.mark.slow
def test_a_criterion_replaces_the_folds(run, plain):
    plain.to_csv("a.csv", index=False)
    done = run(
        "fit", "a.csv", *TABLE, "--penalty", "L21", "--criterion", "bic", "--out", "m.polytask"
    )
    assert done.status == 0, done.err
    assert "MultiTaskRegressorIC with L21(alpha=" in done.out
    model = load("m.polytask")
    assert isinstance(model, MultiTaskRegressorIC)
    assert model.criterion == "bic"
    assert f"bic {model.best_criterion_:.6g}, the smallest of" in done.out
    assert run("predict", "m.polytask", "a.csv", "--out", "p.csv").status == 0


@pytest.mark.slow
def test_classes_and_mixed_targets_have_theirs(run, plain):
    plain["z"] = plain["y"] > plain["y"].median()
    plain.to_csv("a.csv", index=False)
    given = ("--criterion", "gcv", "--penalty", "L2")
    done = run(
        "fit",
        "a.csv",
        "--task",
        "g",
        "--target",
        "z",
        "--drop",
        "y",
        *given,
        "--out",
        "c.polytask",
    )
    assert done.status == 0, done.err
    assert isinstance(load("c.polytask"), MultiTaskClassifierIC)
    done = run("fit", "a.csv", "--targets", "y,z", "--drop", "g", *given, "--out", "m.polytask")
    assert done.status == 0, done.err
    assert isinstance(load("m.polytask"), MultiTaskModelIC)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--criterion", "bicc"), "Did you mean 'bic'?"),
        (("--criterion", "bic", "--folds", "3"), "so that --folds 3 has no meaning"),
        (("--criterion", "bic", "--model", "learned"), "has none to choose"),
        (("--criterion", "evidence", "--penalty", "L21"), "quadratic penalties"),
        (("--criterion", "aic", "--loss", "huber"), "huber loss belongs to none"),
    ],
)
def test_what_cannot_be_is_refused(run, plain, given, said):
    plain.to_csv("a.csv", index=False)
    done = run("fit", "a.csv", *TABLE, *given, "--out", "m.polytask")
    assert done.status == 2
    assert said in done.err
