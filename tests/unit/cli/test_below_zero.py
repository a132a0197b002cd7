"""Intervals that begin below 0 where no target did, as amounts and counts never do."""

from __future__ import annotations

import pytest

from polytask.data.readers import read_table

FIT = ("--model", "multitask", "--out", "m.polytask")
PREDICT = ("predict", "m.polytask", "a.csv", "--interval", "0.9", "--out", "p.csv")


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
    for loss in ("gamma", "poisson"):
        run(*words, "--loss", loss, "--force")
        said, table = _noted(run, "--force")
        assert (said, table["lower"].min() >= 0) == ("", True)


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
