"""What cannot be done with a model is refused with the line of ``fit`` that makes it possible."""

import shlex

import numpy as np
import pandas as pd
import pytest

from polytask import calibrate, load, save
from polytask._estimator.dates import dates_again
from polytask.data import LeaveTasksOut
from polytask.data.readers import read_table

TABLE = ("--task", "shop", "--target", "sold", "--date-features", "--loss", "poisson")


@pytest.fixture
def counts(folder):
    """Write rows of four shops with counts and dates; those of the last are unknown to models."""
    rng = np.random.default_rng(0)
    n = 120
    table = pd.DataFrame({"shop": np.repeat(["a", "b", "c", "d"], n // 4)})
    table["day"] = pd.date_range("2025-01-01", periods=n).strftime("%Y-%m-%d")
    table["price"] = rng.uniform(1, 3, n).round(2)
    table["sold"] = rng.poisson(np.exp(2 - 0.5 * table["price"]))
    table[table.shop != "d"].to_csv("old.csv", index=False)
    table[table.shop == "d"].to_csv("new.csv", index=False)


def _proposed(done, **files):
    """Return the words of the proposed line, with files and names in place of those it has."""
    assert done.status == 2
    line = " ".join(done.err.split()).partition("polytask fit ")[2]
    return ["fit", *(files.get(word.partition(".")[0], word) for word in shlex.split(line))]


def test_what_cannot_be_adapted_names_a_line_that_fits_what_can(run, counts):
    model = ("--model", "pooled + intercepts", "--out", "m.polytask")
    assert run("fit", "old.csv", *TABLE, *model).status == 0
    words = ("new.csv", "--target", "sold", "--out", "more.polytask")
    done = run("adapt", "m.polytask", *words)
    line = _proposed(done, OLD="old.csv")
    assert run(*line).status == 0
    assert run("inspect", "joint.polytask").out.count("'poisson'") == 1
    assert run("adapt", "joint.polytask", *words).status == 0


def test_intervals_of_unknown_tasks_name_a_line_that_fits_what_has_them(run, counts):
    model = ("--model", "pooled + intercepts", "--drop", "day", "--out", "m.polytask")
    words = [word for word in TABLE if word != "--date-features"]
    assert run("fit", "old.csv", *words, *model).status == 0
    asked = ("--unseen-tasks", "shared", "--interval", "0.9", "--out", "p.csv")
    done = run("predict", "m.polytask", "new.csv", *asked)
    line = _proposed(done, TABLE="old.csv", TARGET="sold", NEW="n.polytask")
    assert run(*line).status == 0
    assert run("predict", "n.polytask", "new.csv", *asked).status == 0
    assert read_table("p.csv").table["lower"].notna().all()


@pytest.mark.parametrize("parts", [(), ("--memory", "1KB")])
@pytest.mark.parametrize("folds", ["rows", "tasks"])
def test_rows_that_have_intervals_keep_them_beside_rows_that_have_none(run, counts, parts, folds):
    assert run("fit", "old.csv", *TABLE, "--model", "pooled", "--out", "m.polytask").status == 0
    shared = ("--unseen-tasks", "shared")
    if folds == "tasks":
        old, model = pd.read_csv("old.csv"), load("m.polytask")
        model.unseen_tasks = "shared"
        X = dates_again(old, model._schema.dates, model._schema.encoder)
        X = X[[*model.feature_names_in_]]
        held = calibrate(model, X, old["sold"], cv=LeaveTasksOut(3))
        save(held, "m.polytask")
    pd.concat([pd.read_csv("new.csv"), pd.read_csv("old.csv")]).to_csv("all.csv", index=False)
    done = run("predict", "m.polytask", "all.csv", *shared, "--interval", "0.9", *parts,
               "--out", "p.parquet")  # fmt: skip
    assert done.status == 0, done.err
    table = read_table("p.parquet").table
    lacking = table["shop"].eq("d") if folds == "rows" else table["shop"].ne("d")
    assert table["lower"].isna().eq(lacking).all()
    assert table["upper"].isna().eq(lacking).all()
    kind = "30 rows of unseen" if folds == "rows" else "90 rows of known"
    assert f"No interval for {kind} tasks" in " ".join(done.err.split())


@pytest.mark.parametrize(("model", "extends"), [("multitask", True), ("pooled", False)])
def test_adapt_is_proposed_for_models_that_it_extends(run, counts, model, extends):
    assert run("fit", "old.csv", *TABLE, "--model", model, "--out", "m.polytask").status == 0
    done = run("predict", "m.polytask", "new.csv", "--out", "p.csv")
    assert "--unseen-tasks shared" in done.err
    assert ("polytask adapt learns a new task" in done.err) == extends


@pytest.mark.parametrize("command", [("fit",), ("compare", "--quick")])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_refused_target_is_called_by_its_column(run, counts, command, lang):
    table = pd.read_csv("old.csv")
    table["sold"] -= 5
    table.to_csv("below.csv", index=False)
    name, *words = command
    done = run(name, "below.csv", *TABLE, *words, "--out", "m.polytask", "--lang", lang)
    assert done.status == 2
    column = {"en": "column 'sold' of below.csv must be", "zh": "below.csv 的列 'sold' 必须是"}
    assert column[lang] in " ".join(done.err.split())


def test_a_date_that_new_rows_lack_is_one_column(run, counts):
    assert run("fit", "old.csv", *TABLE, "--model", "pooled", "--out", "m.polytask").status == 0
    old = pd.read_csv("old.csv")
    old.drop(columns="day").to_csv("without.csv", index=False)
    done = run("predict", "m.polytask", "without.csv", "--out", "p.csv")
    assert "lacks 1 of the 3 columns that the model needs: 'day'" in " ".join(done.err.split())
    old.loc[0, "day"] = None
    old.to_csv("gap.csv", index=False)
    done = run("predict", "m.polytask", "gap.csv", "--out", "p.csv")
    assert done.status == 0
    assert done.err.count("'day'") == 1
    assert read_table("p.csv").table["note"].fillna("").tolist()[:2] == ["day missing", ""]
