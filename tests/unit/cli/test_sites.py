"""Sites agree on a schema, collect, and one of them merges and fits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import polytask
from polytask import BayesianMultiTaskRegressor


def site(seed: int, n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"age": rng.normal(60, 9, n), "sex": np.tile(["f", "m"], n // 2)})
    return table.assign(days=(0.1 * table["age"] + rng.normal(size=n)).round(3))


@pytest.fixture
def agreed(run):
    """Write the tables of two sites and the schema."""
    for k, name in enumerate(("north", "south")):
        site(k).to_csv(f"{name}.csv", index=False)
    site(9).assign(ward="x").to_csv("example.csv", index=False)
    words = ("example.csv", "--task", "ward", "--target", "days", "--out", "study.json")
    done = run("schema", *words)
    assert done.status == 0, done.err
    assert "levels f, m" in done.out
    return run


def collected(run, name, *more):
    words = ("--schema", "study.json", "--task-name", name, "--out", f"{name}.stats")
    return run("statistics", f"{name}.csv", *words, *more)


def test_from_rows_that_stay_to_a_model(agreed):
    for name in ("north", "south"):
        done = collected(agreed, name)
        assert done.status == 0, done.err
        assert "It holds no rows" in done.out
    done = agreed("merge", "north.stats", "south.stats", "--out", "all.stats")
    assert done.status == 0, done.err
    done = agreed("fit", "all.stats", "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "learned prior" in done.err
    assert "polytask predict m.polytask NEW.csv" in done.out
    rows = pd.concat([site(k).assign(ward=n) for k, n in enumerate(("north", "south"))])
    whole = BayesianMultiTaskRegressor(task_column="ward")
    whole.fit(rows.drop(columns="days"), rows["days"])
    model = polytask.load("m.polytask")
    assert_allclose(model.predict(rows), whole.predict(rows), atol=1e-6)
    rows.head(5).to_csv("new.csv", index=False)
    assert agreed("predict", "m.polytask", "new.csv", "--out", "p.csv").status == 0
    done = agreed("fit", "all.stats", "--criterion", "bic", "--out", "b.polytask")
    assert done.status == 0, done.err


def test_folds_are_for_searches(agreed):
    for name in ("north", "south"):
        assert collected(agreed, name, "--folds", "2").status == 0
    assert agreed("merge", "north.stats", "south.stats", "--out", "all.stats").status == 0
    words = ("--penalty", "L21", "--out", "m.polytask")
    done = agreed("fit", "all.stats", *words)
    assert done.status == 0, done.err
    assert "R2" in done.out
    assert "2 folds" in done.out


def spoil(name):
    """Change the schema of one site."""
    content = json.loads(Path("study.json").read_text(encoding="utf-8"))
    content["columns"].pop(name)
    Path("study.json").write_text(json.dumps(content), encoding="utf-8")


def test_what_cannot_be_is_refused_and_writes_nothing(agreed, folder):
    run = agreed
    assert collected(run, "north").status == 0
    before = set(folder.iterdir())
    refused = {
        "--schema SCHEMA": run("statistics", "south.csv", "--out", "s.stats"),
        "--task-name NAME": run(
            "statistics", "south.csv", "--schema", "study.json", "--out", "s.stats"
        ),
        "which names the task of each row": run(
            "statistics", "example.csv", "--schema", "study.json", "--task-name", "x",
            "--out", "s.stats",
        ),
        "two files of statistics or more; got 1": run(
            "merge", "north.stats", "--out", "all.stats"
        ),
        "is given twice": run("merge", "north.stats", "north.stats", "--out", "all.stats"),
        "auto needs rows": run("auto", "north.stats", "--out", "c"),
        "--target cannot be used with north.stats": run(
            "fit", "north.stats", "--target", "days", "--out", "m.polytask"
        ),
        "schema needs --task": run("schema", "south.csv", "--target", "days", "--out", "s.json"),
        "There is no file south.stats": run("fit", "south.stats", "--out", "m.polytask"),
    }  # fmt: skip
    for words, done in refused.items():
        assert done.status == 2, (words, done)
        assert words in done.err
    assert set(folder.iterdir()) == before


def test_the_same_rows_do_not_count_twice(agreed, folder):
    run = agreed
    assert collected(run, "north").status == 0
    (folder / "copy.stats").write_bytes((folder / "north.stats").read_bytes())
    done = run("merge", "north.stats", "copy.stats", "--out", "all.stats")
    assert done.status == 2
    assert "exactly the same statistics" in done.err


def test_sites_with_another_schema_are_named(agreed):
    run = agreed
    assert collected(run, "north").status == 0
    spoil("sex")
    assert collected(run, "south").status == 0
    done = run("merge", "north.stats", "south.stats", "--out", "all.stats")
    assert done.status == 2
    assert "north.stats has the feature 'sex=f', which south.stats lacks" in done.err


def test_tasks_of_several_files_are_named(agreed):
    run = agreed
    site(4).assign(ward="x").to_csv("more.csv", index=False)
    for name in ("example", "more"):
        words = ("--schema", "study.json", "--out", f"{name}.stats")
        assert run("statistics", f"{name}.csv", *words).status == 0
    done = run("merge", "example.stats", "more.stats", "--out", "all.stats")
    assert done.status == 0
    assert "'x'" in done.err


def test_few_rows_are_refused_in_chinese(agreed):
    site(0, 8).to_csv("tiny.csv", index=False)
    words = ("--schema", "study.json", "--task-name", "tiny", "--out", "t.stats", "--lang", "zh")
    done = agreed("statistics", "tiny.csv", *words)
    assert done.status == 2
    assert "任务 'tiny'" in done.err


def test_copies_of_the_target_are_refused_at_the_site_and_where_statistics_are_merged(run):
    for k, name in enumerate(("north", "south")):
        table = site(k).assign(cost=lambda t, k=k: (2 + k) * t["days"] + 7)
        table.assign(ward=name).to_csv(f"{name}.csv", index=False)
    words = ("north.csv", "--task", "ward", "--target", "days", "--out", "study.json")
    assert run("schema", *words).status == 2
    assert run("schema", *words, "--allow-leak").status == 0
    words = ("north.csv", "--schema", "study.json", "--out", "north.stats")
    done = run("statistics", *words)
    assert done.status == 2
    assert "column 'cost' equals the target 'days'" in done.err
    assert "or say --allow-leak if" in done.err
    assert not Path("north.stats").exists()
    for name in ("north", "south"):
        words = (f"{name}.csv", "--schema", "study.json", "--out", f"{name}.stats")
        done = run("statistics", *words, "--allow-leak")
        assert done.status == 0, done.err
        assert "Column 'cost' equals the target" in done.err
    files = ("north.stats", "south.stats", "--out", "all.stats")
    done = run("merge", *files)
    assert done.status == 2
    assert "all.stats has the target among its features: column 'cost' equals" in done.err
    assert "within every task" in done.err
    assert not Path("all.stats").exists()
    done = run("merge", *files, "--allow-leak")
    assert done.status == 0, done.err
    done = run("fit", "all.stats", "--out", "m.polytask")
    assert done.status == 2
    assert "column 'cost' equals the target" in done.err
    assert not Path("m.polytask").exists()
    done = run("fit", "all.stats", "--allow-leak", "--out", "m.polytask")
    assert done.status == 0, done.err


def test_row_numbers_are_named_where_the_rows_are(agreed):
    table = site(0)
    table["age"] = np.arange(1, 121)
    table.to_csv("north.csv", index=False)
    done = collected(agreed, "north")
    assert done.status == 0
    assert "'age' holds a different whole number in nearly every row (1 to 120)" in done.err


FEW = ("--models", "separate", "--models", "pooled", "--models", "learned-prior")


def test_statistics_are_compared_by_their_folds(agreed):
    run = agreed
    for name in ("north", "south"):
        assert collected(run, name, "--folds", "4").status == 0
    assert run("merge", "north.stats", "south.stats", "--out", "all.stats").status == 0
    done = run("compare", "all.stats", *FEW, "--out", "study")
    assert done.status == 0, done.err
    assert "Verdict: Inconclusive" in done.out
    assert "The statistics of 2 tasks give no interval" in done.out
    report = Path("study/report.html").read_text(encoding="utf-8")
    assert "folds that the statistics were collected with, each held out once" in report
    assert "Statistics stood in for rows" in report
    site(5, 10).assign(ward="north").to_csv("new.csv", index=False)
    out = ("--out", "predicted.csv")
    done = run("predict", "study/model/model.polytask", "new.csv", *out)
    assert done.status == 0, done.err
    done = run("rerun", "study/run.lock.json", "--out", "again")
    assert done.status == 0, done.err
    done = run("compare", "all.stats", *FEW, "--lang", "zh", "--out", "zh")
    assert "任务的统计量给不出区间" in done.out


def test_statistics_that_cannot_be_compared_say_why(agreed):
    run = agreed
    for name in ("north", "south"):
        assert collected(run, name).status == 0
    assert run("merge", "north.stats", "south.stats", "--out", "all.stats").status == 0
    done = run("compare", "all.stats", "--out", "c")
    assert done.status == 2
    assert "at least 4 folds" in done.err
    words = "polytask statistics SITE.csv --schema SCHEMA.json --folds 5 --out SITE.stats"
    assert words in done.err
    assert "polytask merge SITE.stats ... --out all.stats" in done.err
    for name in ("north", "south"):
        assert collected(run, name, "--folds", "4", "--force").status == 0
    words = ("merge", "north.stats", "south.stats", "--out", "all.stats", "--force")
    assert run(*words).status == 0
    refused = {
        "--unseen": ("--unseen",), "--learning-curve": ("--learning-curve",),
        "--metric": ("--metric", "mae"), "--loss": ("--loss", "huber"),
        "--splits": ("--splits", "9"), "--group cannot be used": ("--group", "age"),
    }  # fmt: skip
    for words, options in refused.items():
        done = run("compare", "all.stats", *options, "--out", "c")
        assert done.status == 2, words
        assert words in done.err, done.err
    assert not Path("c").exists()


@pytest.mark.parametrize("kind", ["learned prior", "penalised"])
def test_a_new_site_is_learned_from_its_statistics(agreed, kind):
    for name in ("north", "south"):
        assert collected(agreed, name).status == 0
    site(2).to_csv("west.csv", index=False)
    assert collected(agreed, "west").status == 0
    agreed("merge", "north.stats", "south.stats", "--out", "all.stats")
    more = ("--criterion", "bic") if kind == "penalised" else ()
    assert agreed("fit", "all.stats", *more, "--out", "m.polytask").status == 0
    done = agreed("adapt", "m.polytask", "west.stats", "--out", "more.polytask")
    assert done.status == 0, done.err
    assert "with 120 rows" in done.out
    assert ("only rows can tell" in done.out) == (kind == "penalised")
    found = polytask.load("more.polytask")
    assert found.tasks_.tolist() == ["north", "south", "west"]
    expected = polytask.adapt(
        polytask.load("m.polytask"), site(2).assign(ward="west").drop(columns="days"),
        site(2)["days"],
    )  # fmt: skip
    if expected.adaptation_.strengths == (1.0,):
        assert_allclose(found.coef_, expected.coef_, rtol=1e-9, atol=1e-9)
    else:
        assert kind == "penalised"


def test_what_a_new_site_cannot_do_without_rows_is_refused(agreed):
    for name in ("north", "south"):
        assert collected(agreed, name).status == 0
    assert agreed("fit", "north.stats", "--out", "m.polytask").status == 0
    words = ("adapt", "m.polytask", "south.stats", "--out", "more.polytask")
    for more, sentence in {
        ("--target", "days"): "--target cannot be used with south.stats",
        ("--task", "ward"): "--task cannot be used with south.stats",
        ("--domain", "shift", "--source", "north.csv"): "--domain needs rows",
        ("--method", "head"): "--method needs rows",
    }.items():
        done = agreed(*words, *more)
        assert done.status != 0
        assert sentence in done.err
        assert not Path("more.polytask").exists()
    done = agreed("adapt", "m.polytask", "north.stats", "--out", "more.polytask")
    assert done.status != 0
    assert "knows 'north' already" in done.err
    done = agreed("adapt", "m.polytask", "nowhere.stats", "--out", "more.polytask")
    assert done.status != 0
    assert "nowhere.stats" in done.err
    words = ("adapt", "m.polytask", "south.csv", "--domain", "new", "--target", "days")
    done = agreed(*words, "--source", "north.stats", "--out", "more.polytask")
    assert done.status != 0
    assert "--source needs rows, and north.stats holds statistics" in done.err
