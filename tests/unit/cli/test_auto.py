"""``polytask auto``: the same answer as Python, and what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask import AutoMultiTaskRegressor, load
from polytask._workers import Workers
from polytask.selection.auto import fitting

FEW = ("--models", "pooled + intercepts", "--models", "separate")


@pytest.fixture
def exams(folder) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    school, X = np.repeat(["a", "b", "c"], 30), rng.standard_normal((90, 2))
    score = X @ [1.0, -1.0] + np.repeat([0.0, 2.0, 4.0], 30) + 0.5 * rng.standard_normal(90)
    table = pd.DataFrame({"school": school, "x": X[:, 0], "z": X[:, 1], "score": score})
    table = table.assign(child=np.arange(90) // 2, year=np.tile(np.arange(30), 3))
    table = table.assign(passed=np.where(score > 2, "yes", "no"))
    table.to_csv("exams.csv", index=False)
    return table


def test_it_writes_what_python_finds(run, exams):
    done = run(
        "auto", "exams.csv", "--task", "school", "--target", "score", "--features", "x",
        "--features", "z", *FEW, "--out", "m.polytask",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "polytask predict m.polytask" in done.out
    assert "pooled + intercepts" in done.out
    assert "R2 (against the training mean)" in done.out
    model = load("m.polytask")
    same = AutoMultiTaskRegressor(["pooled + intercepts", "separate"], task_column="school")
    same.fit(exams[["school", "x", "z"]], exams["score"])
    np.testing.assert_array_equal(model.predict(exams), same.predict(exams))
    assert not list(Path().glob("*.journal*"))
    inspected = run("inspect", "m.polytask")
    assert all(name in inspected.out for name in model.members_)


def test_a_model_of_no_use_is_not_proposed(run, exams):
    exams.assign(score=np.random.default_rng(1).permutation(exams.score)).to_csv("n.csv")
    done = run(
        "auto", "n.csv", "--task", "school", "--target", "score", "--features", "x",
        "--models", "pooled", "--models", "separate", "--out", "m.polytask",
    )  # fmt: skip
    assert "use none of these models" in done.out
    assert "it predicts no better than the mean of the training rows" in done.out
    assert "polytask predict" not in done.out
    assert Path("m.polytask").exists()


def test_an_interrupted_run_goes_on(run, exams, monkeypatch):
    words = (
        "auto",
        "exams.csv",
        "--task",
        "school",
        "--target",
        "score",
        "--drop",
        "passed",
        *FEW,
    )
    assert run(*words, "--out", "whole.polytask").status == 0
    from polytask.selection.auto import weighing

    learned = weighing.best_mix

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(weighing, "best_mix", stop)
    assert run(*words, "--out", "m.polytask").status == 130
    assert Path("m.polytask.journal").exists()
    assert not Path("m.polytask").exists()
    monkeypatch.setattr(weighing, "best_mix", learned)

    def never(*_):
        raise AssertionError("every fit was finished before")

    monkeypatch.setattr("polytask.selection.auto.trying._fold", never)
    assert run(*words, "--out", "m.polytask").status == 0
    whole, resumed = load("whole.polytask"), load("m.polytask")
    np.testing.assert_array_equal(whole.predict(exams), resumed.predict(exams))


@pytest.mark.slow
def test_groups_and_times_leave_no_trace(run, exams):
    words = (
        "auto",
        "exams.csv",
        "--task",
        "school",
        "--target",
        "passed",
        "--drop",
        "score",
        *FEW,
    )
    for option, column in (("--group", "child"), ("--time", "year")):
        done = run(*words, option, column, "--out", f"{column}.polytask", "--lang", "zh")
        assert done.status == 0, done.err
        assert "候选" in done.out
        model = load(f"{column}.polytask")
        assert column not in model.feature_names_in_
        assert model.cv == 5
    both = run(*words, "--group", "child", "--time", "year", "--out", "m.polytask")
    assert both.status == 2
    assert "--group and --time hold out different rows" in both.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--target", "score", "--models", "poled"), "did you mean 'pooled'"),
        (("--target", "score", "--target", "passed"), "one"),
        (("--target", "nothing"), "nothing"),
        (("--target", "passed", "--numbers"), "--numbers"),
        (("--target", "score", "--time-budget", "soon"), "--time-budget"),
    ],
)
def test_refusals_are_one_sentence_and_write_nothing(run, exams, words, said):
    done = run("auto", "exams.csv", "--task", "school", *words, "--out", "m.polytask")
    assert done.status == 2
    assert said.lower() in done.err.lower()
    assert [path.name for path in Path().iterdir()] == ["exams.csv"]


def test_a_cell_that_drowns_its_column_is_named_and_scores_can_be_read(run, exams):
    exams.assign(z=np.where(np.arange(90) == 7, 1e50, exams["z"])).to_csv("far.csv", index=False)
    done = run("auto", "far.csv", "--task", "school", "--target", "score", "--features", "x,z",
               "--models", "pooled", "--out", "m.polytask")  # fmt: skip
    assert done.status == 0
    assert "Column 'z' of X holds 1e+50 in row 9, counting the header as row 1" in done.err
    assert max(map(len, done.out.replace("─", "").split())) < 40


def test_a_folder_that_takes_no_file_is_named(run, exams, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    words = ("auto", "exams.csv", "--task", "school", "--target", "score", "--drop", "passed")
    done = run(*words, "--out", "m.polytask")
    assert done.status == 2
    assert "takes no new files" in done.err
    assert "Choosing" not in done.err


def test_targets_of_several_kinds(run, exams):
    words = ("auto", "exams.csv", "--target", "score", "--target", "passed", "--drop", "school")
    models = ("--models", "separate", "--models", "learned-prior", "--out", "m.polytask")
    models = (*models, "--folds", "2")
    refused = run(*words, "--unseen-tasks", "shared", *models)
    assert refused.status == 2
    assert "no prediction in common" in refused.err
    done = run(*words, *models)
    assert done.status == 0, done.err
    model = load("m.polytask")
    assert [loss.name for loss in model.losses_] == ["squared", "logistic"]
    assert run("predict", "m.polytask", "exams.csv", "--out", "p.csv").status == 0
    found = pd.read_csv("p.csv")
    assert set(found["passed"]) == {"yes", "no"}
    assert np.corrcoef(found["score"], exams["score"])[0, 1] > 0.5


def test_counts(run, exams):
    counts = exams.assign(visits=np.random.default_rng(1).poisson(np.exp(0.3 * exams["score"])))
    counts.to_csv("visits.csv", index=False)
    words = (
        "auto", "visits.csv", "--task", "school", "--target", "visits", "--features", "x",
        "--features", "z", *FEW, "--models", "learned-prior", "--folds", "2", "--out",
        "m.polytask",
    )  # fmt: skip
    done = run(*words, "--loss", "poisson")
    assert done.status == 0, done.err
    assert "deviance" in done.out
    model = load("m.polytask")
    assert model.loss == "poisson"
    assert np.all(model.predict(counts) > 0)
    again = (*words, "--force", "--loss", "poisson")
    assert "drop one of the two" in run(*again, "--classes").err
    counts.assign(visits=counts["visits"] - 1).to_csv("visits.csv", index=False)
    refused = run(*again)
    assert refused.status == 2
    assert "a number >= 0 for loss='poisson'" in refused.err


def test_losses_of_targets(run, exams):
    counts = exams.assign(visits=np.random.default_rng(1).poisson(np.exp(0.3 * exams["score"])))
    counts.to_csv("visits.csv", index=False)
    words = (
        "auto", "visits.csv", "--target", "score", "--target", "visits", "--target", "passed",
        "--drop", "school", "--models", "separate", "--models", "learned-prior", "--folds", "2",
        "--out", "m.polytask", "--force",
    )  # fmt: skip
    done = run(*words, "--loss", "visits=poisson", "--loss", "passed=logistic")
    assert done.status == 0, done.err
    assert [loss.name for loss in load("m.polytask").losses_] == ["squared", "poisson", "logistic"]
    for given, said in {
        "visit=poisson": "'score', 'visits', 'passed'; got 'visit'",
        "visits=poison": "got 'visits=poison'",
        "poisson": "one loss of all targets, or COL=LOSS for some of them; got squared",
    }.items():
        more = ("--loss", "squared") if given == "poisson" else ()
        refused = run(*words, *more, "--loss", given)
        assert refused.status == 2
        assert said in refused.err


def test_several_losses_of_numbers(run, exams):
    counts = exams.assign(visits=np.random.default_rng(1).poisson(np.exp(0.3 * exams["score"])))
    counts.to_csv("visits.csv", index=False)
    words = (
        "auto", "visits.csv", "--target", "score", "--target", "visits", "--drop", "school",
        "--drop", "passed", "--models", "separate", "--models", "learned-prior", "--folds", "2",
        "--out", "m.polytask", "--loss", "visits=poisson",
    )  # fmt: skip
    done = run(*words)
    assert done.status == 0, done.err
    assert [loss.name for loss in load("m.polytask").losses_] == ["squared", "poisson"]
    assert run("predict", "m.polytask", "visits.csv", "--out", "p.csv").status == 0
    assert (pd.read_csv("p.csv")["visits"] > 0).all()


class LittleTime(Workers):
    """Workers that finish so many fits before time is over."""

    fits = 0

    def results(self, pieces, deadline=None):
        for piece in pieces:
            if deadline is not None and LittleTime.fits == 0:
                return
            LittleTime.fits -= 1
            yield piece, self._work(self._shared, piece)


def test_a_budget_that_reading_takes_is_refused(run, exams):
    words = ("--task", "school", "--target", "score", "--time-budget", "0.000001s")
    done = run("auto", "exams.csv", *words, "--out", "m.polytask", *FEW)
    assert done.status == 2
    assert "Reading exams.csv took all of --time-budget" in done.err
    assert not list(Path().glob("m.polytask*"))


def test_a_budget_in_which_no_model_is_finished_is_refused_and_can_go_on(run, exams, monkeypatch):
    monkeypatch.setattr(fitting, "Workers", LittleTime)
    # One fold, and nothing on all rows.
    monkeypatch.setattr(LittleTime, "fits", 1)
    words = ("auto", "exams.csv", "--task", "school", "--target", "score", *FEW)
    done = run(*words, "--time-budget", "1h", "--out", "m.polytask")
    assert done.status == 2
    assert "ended with its time budget before a model was finished: a fit of '" in done.err
    assert not Path("m.polytask").exists()
    assert Path("m.polytask.journal").exists()
    monkeypatch.setattr(fitting, "Workers", Workers)
    assert run(*words, "--out", "m.polytask").status == 0
    assert not Path("m.polytask.journal").exists()


def test_a_model_that_is_not_fitted_in_time_is_named(run, exams, monkeypatch):
    monkeypatch.setattr(fitting, "Workers", LittleTime)
    # Both models on five folds, and the one that predicts worse on all rows.
    monkeypatch.setattr(LittleTime, "fits", 11)
    words = ("auto", "exams.csv", "--task", "school", "--target", "score")
    words = (*words, "--models", "pooled", "--models", "pooled + intercepts")
    done = run(*words, "--time-budget", "1h", "--out", "m.polytask")
    assert done.status == 0, done.err
    model = load("m.polytask")
    assert list(model.members_) == ["pooled"]
    assert model.time_budget == 3600.0
    assert model.unfitted_ == ("pooled + intercepts",)
    assert "There was no time to fit “pooled + intercepts” on all rows" in done.out
    assert "--force and more time" in done.out


@pytest.mark.slow
def test_a_budget_that_ran_out_can_go_on(run, exams, monkeypatch):
    monkeypatch.setattr(fitting, "Workers", LittleTime)
    monkeypatch.setattr(LittleTime, "fits", 6)
    words = (
        "auto",
        "exams.csv",
        "--task",
        "school",
        "--target",
        "score",
        "--drop",
        "passed",
        *FEW,
    )
    first = run(*words, "--time-budget", "1h", "--out", "m.polytask")
    assert first.status == 0, first.err
    assert "--force" in first.out
    assert Path("m.polytask.journal").exists()
    monkeypatch.setattr(fitting, "Workers", Workers)
    assert run(*words, "--out", "m.polytask", "--force").status == 0
    assert not Path("m.polytask.journal").exists()
    assert len(load("m.polytask").leaderboard().query("note == ''")) == 2


def test_what_overflows_is_refused_before_any_fit_and_leaves_nothing(run, exams):
    exams.assign(x=[1e300, *exams["x"][1:]]).to_csv("huge.csv", index=False)
    words = ("--task", "school", "--target", "score", "--out", "m.polytask", *FEW)
    done = run("auto", "huge.csv", *words)
    assert done.status == 2
    assert "(column 'x', row 2" in done.err
    assert not list(Path().glob("m.polytask*"))
    assert run("auto", "exams.csv", *words).status == 0
