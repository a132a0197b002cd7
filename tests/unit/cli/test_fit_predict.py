"""Fit, then predict: the same numbers as Python, in every form."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, PoissonRegressor
from unit.pairs import in_turn

import polytask
from polytask import (
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    Pooled,
    SingleTask,
    load,
)
from polytask.baselines import TunedMeans
from polytask.cli.describe import score_name
from polytask.data.readers import read_table, write_table
from polytask.messages import Translator

FIT = ("--task", "g", "--target", "y", "--out", "m.polytask")

QUICK = ("--model", "multitask")


def _fit(run, *arguments, model="m.polytask"):
    done = run("fit", *arguments, "--out", model)
    assert done.status == 0, done.err
    return done


def _predict(run, *arguments, out="p.csv"):
    done = run("predict", *arguments, "--out", out, "--force")
    assert done.status == 0, done.err
    return done


def _notes(name="p.csv"):
    notes = read_table(name).table["note"].astype(object)
    return notes.where(notes.notna(), "").tolist()


def _process(*arguments, folder: Path):
    source = Path(polytask.__file__).parents[1]
    code = "import sys; from polytask.cli import main; sys.exit(main())"
    # An ASCII locale: what is printed is UTF-8 all the same.
    env = os.environ | {
        "PYTHONPATH": str(source), "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=env, cwd=folder, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_new_process_predicts_what_python_predicts_bit_for_bit(folder, pupils):
    pupils.to_csv("学生.csv", index=False, encoding="gb18030")
    columns = ["学校", "年龄", "颜色", "住校", "身高"]
    fitted = _process(
        "fit", "学生.csv", "--task", "学校", "--target", "分数", "--id", "编号", "--drop", "及格",
        *QUICK, "--out", "模型.polytask", folder=folder,
    )  # fmt: skip
    assert fitted.returncode == 0, fitted.stderr
    assert "GB18030" in fitted.stderr
    done = _process(
        "predict", "模型.polytask", "学生.csv", "--id", "编号", "--out", "预测.csv", folder=folder
    )
    assert done.returncode == 0, done.stderr
    table = read_table("学生.csv").table
    model = MultiTaskRegressor(standardize=True, scale_targets="auto", task_column="学校")
    model.fit(table[columns], table["分数"])
    found = read_table("预测.csv").table
    np.testing.assert_array_equal(found["prediction"], model.predict(table[columns]))
    assert list(found.columns) == ["编号", "学校", "prediction", "note"]
    assert found["编号"].tolist() == table["编号"].tolist()
    assert found["note"][0] == "年龄 missing; 颜色 missing"


def test_classifier_writes_probabilities_of_each_class(run, pupils):
    pupils.to_csv("p.csv", index=False)
    _fit(run, "p.csv", "--task", "学校", "--target", "及格", "--drop", "分数,编号", *QUICK)
    _predict(run, "m.polytask", "p.csv", out="q.parquet")
    table = read_table("p.csv").table.drop(columns=["分数", "编号", "及格"])
    model = MultiTaskClassifier(standardize=True, task_column="学校").fit(table, pupils["及格"])
    found = pd.read_parquet("q.parquet")
    np.testing.assert_array_equal(found[["P(否)", "P(是)"]], model.predict_proba(table))
    assert found["prediction"].tolist() == model.predict(table).tolist()


@pytest.mark.slow
def test_shuffled_rows_give_shuffled_predictions(run, pupils):
    pupils.to_csv("p.csv", index=False)
    order = np.random.default_rng(5).permutation(len(pupils))
    pupils.iloc[order].to_csv("shuffled.csv", index=False)
    _fit(run, "p.csv", "--task", "学校", "--target", "分数", "--drop", "编号", *QUICK)
    _predict(run, "m.polytask", "p.csv", out="a.csv")
    _predict(run, "m.polytask", "shuffled.csv", out="b.csv")
    a, b = (read_table(name).table for name in ("a.csv", "b.csv"))
    # One row against another: a product of matrices depends on the rows in the last bit.
    np.testing.assert_allclose(b["prediction"], a["prediction"].to_numpy()[order], rtol=1e-13)
    assert _notes("b.csv") == [_notes("a.csv")[row] for row in order]


def test_targets_form_has_a_column_per_target_and_mixed_losses(run, pupils):
    pupils.to_csv("p.csv", index=False)
    done = _fit(run, "p.csv", "--targets", "分*,及格", "--drop", "编号", *QUICK)
    assert "'分数' holds numbers: regression." in done.out
    assert "'及格' holds text (否, 是): classification." in done.out
    assert type(load("m.polytask")).__name__ == "MultiTaskModel"
    pupils.drop(columns=["分数", "及格"]).to_csv("new.csv", index=False)
    _predict(run, "m.polytask", "new.csv", "--keep", "编*", out="q.csv")
    found = read_table("q.csv").table
    assert list(found.columns) == ["编号", "分数", "及格", "P(及格=否)", "P(及格=是)", "note"]
    assert len(found) == len(pupils)


def test_a_file_per_task_and_one_table_give_the_same(run, folder, plain):
    (folder / "tasks").mkdir()
    for name, part in plain.groupby("g"):
        part.drop(columns="g").to_csv(folder / "tasks" / f"{name}.csv", index=False)
    plain.to_csv("all.csv", index=False)
    pattern = ("--file-per-task", "tasks/*.csv")
    _fit(run, *pattern, "--target", "y", *QUICK)
    _fit(run, "all.csv", "--task", "g", "--target", "y", *QUICK, model="long.polytask")
    _predict(run, "m.polytask", *pattern, out="a.csv")
    _predict(run, "m.polytask", "all.csv", "--task", "g", out="b.csv")
    _predict(run, "long.polytask", *pattern, out="c.csv")
    found = [read_table(name).table for name in ("a.csv", "b.csv", "c.csv")]
    assert found[0]["task"].tolist() == plain["g"].tolist()
    for other in found[1:]:
        np.testing.assert_allclose(other["prediction"], found[0]["prediction"], rtol=1e-10)


def test_unseen_tasks_are_refused_or_predicted_from_what_is_shared(run, plain):
    plain.to_csv("a.csv", index=False)
    other = plain.assign(g=plain["g"].replace({"b": "q", "c": "r"}))
    other.loc[119, "g"] = "s"
    other.to_csv("b.csv", index=False)
    _fit(run, "a.csv", "--task", "g", "--target", "y", *QUICK)
    refused = run("predict", "m.polytask", "b.csv", "--out", "p.csv")
    assert refused.status == 2
    assert "3 unseen labels ('q', 'r', 's')" in refused.err
    assert "--unseen-tasks shared" in refused.err
    assert not Path("p.csv").exists()
    done = _predict(run, "m.polytask", "b.csv", "--unseen-tasks", "shared")
    assert "80 rows of 3 tasks that were not in training (q, r, s)" in done.err
    assert _notes() == [""] * 40 + ["task not in training"] * 80


def test_which_separate_models_predict_unseen_tasks_is_what_the_help_says(run, plain):
    plain.to_csv("a.csv", index=False)
    plain.assign(g="q").to_csv("b.csv", index=False)
    words = " ".join(run("predict", "--help").out.replace("│", " ").split())
    assert "With 'separate, one strength' that is the mean of the coefficients" in words
    for model, status in {"separate, one strength": 0, "separate": 2}.items():
        _fit(run, "a.csv", "--task", "g", "--target", "y", "--model", model, "--force")
        done = run("predict", "m.polytask", "b.csv", "--unseen-tasks", "shared", "--out", "p.csv")
        assert done.status == status, done.err
        fitted = load("m.polytask")
        if not status:
            x = plain[["x", "z"]].to_numpy()
            mean = x @ fitted.coef_.mean(axis=0) + fitted.intercept_.mean()
            np.testing.assert_allclose(pd.read_csv("p.csv")["prediction"], mean)


def test_new_levels_are_noted(run, plain):
    plain["colour"] = np.tile(["red", "blue"], 60)
    plain.to_csv("a.csv", index=False)
    _fit(run, "a.csv", "--task", "g", "--target", "y", *QUICK)
    plain.loc[7, "colour"] = "green"
    plain.loc[8, "x"] = np.nan
    plain.loc[9, "x"] = 1e300
    plain.to_csv("b.csv", index=False)
    done = _predict(run, "m.polytask", "b.csv")
    assert "values that were not in training in 1 row: 'green'" in done.err
    assert "in 1 row, such as 1e+300." in done.err
    assert _notes()[7:10] == [
        "category not in training: colour=green",
        "x missing",
        "far outside the range in training: x=1e+300",
    ]


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        (["07", "7", "8"], ["7"]),
        (["7", "8", "9"], ["7", "new"]),
        (["true", "false", "maybe"], ["true"]),
    ],
)
def test_labels_mean_what_the_model_knows_whatever_stands_beside_them(run, plain, trained, asked):
    plain["g"] = np.repeat(trained, 40)
    plain.to_csv("a.csv", index=False)
    _fit(run, "a.csv", "--task", "g", "--target", "y", *QUICK)
    few = plain.head(10 * len(asked)).assign(g=np.repeat(asked, 10))
    few.to_csv("b.csv", index=False)
    _predict(run, "m.polytask", "b.csv", "--unseen-tasks", "shared")
    assert _notes()[:10] == [""] * 10


def test_true_is_no_task_called_1_among_others(run, plain):
    plain["g"] = np.repeat([1, 2, 3], 40)
    plain.to_csv("a.csv", index=False)
    _fit(run, "a.csv", "--task", "g", "--target", "y", *QUICK)
    plain.head(9).assign(g=True).to_csv("b.csv", index=False)
    _predict(run, "m.polytask", "b.csv", "--unseen-tasks", "shared")
    assert _notes() == ["task not in training"] * 9


@pytest.mark.parametrize(
    ("name", "target"),
    in_turn(
        ["learned prior", "separate", "pooled", "pooled + intercepts", "pooled + category"],
        ["分数", "及格"],
    ),
)
def test_other_models_can_be_chosen(run, pupils, name, target):
    pupils.to_csv("p.csv", index=False)
    drop = {"分数", "及格", "编号"} - {target}
    _fit(run, "p.csv", "--task", "学校", "--target", target, "--drop", ",".join(drop),
         "--model", name)  # fmt: skip
    _predict(run, "m.polytask", "p.csv", out="q.csv")
    assert len(read_table("q.csv").table) == len(pupils)


def test_what_is_known_of_the_minimum_without_a_duality_gap(run, plain):
    plain.to_csv("a.csv", index=False)
    words = ("a.csv", "--task", "g", "--target", "y", *QUICK, "--penalty")
    said = " ".join(_fit(run, *words, "toward_mean").out.split())
    assert "the gradient of the objective, penalty included, is " in said
    assert "times as large as where all coefficients are 0; at a minimum it is 0" in said
    # What a stage leaves is no gradient of the whole objective.
    said = " ".join(_fit(run, *words, "MCP", "--force").out.split())
    assert "Stages: " in said
    assert "gradient" not in said


def test_search_is_the_default_and_reports_what_it_found(run, plain):
    plain.to_csv("a.csv", index=False)
    done = _fit(run, "a.csv", "--task", "g", "--target", "y", "--penalty", "L21", "--folds", "2")
    assert "MultiTaskRegressorCV with L21(alpha=" in done.out
    assert "R2 (against the training mean) 0.9" in done.out
    model = load("m.polytask")
    assert f"training mean) {model.held_out_score_:.4g} (standard error" in done.out
    assert "proven by the duality gap" in done.out
    assert repr(load("m.polytask").best_penalty_).startswith("L21(")


@pytest.mark.parametrize(
    ("model", "several", "name"),
    [
        (MultiTaskRegressor(), False, "R2 (against the training mean)"),
        (MultiTaskRegressor(loss="huber"), False, "R2 (against the training mean)"),
        (MultiTaskRegressor(), True, "mean R2 of the targets (each against its training mean)"),
        (MultiTaskRegressor(loss="poisson"), False, "explained deviance"),
        (
            MultiTaskRegressor(loss="quantile(0.9)"),
            True,
            "mean explained quantile loss of the targets",
        ),
        (MultiTaskModel(), True, "mean explained loss of the tasks"),
        (SingleTask(LinearRegression()), False, "R2 (against the training mean)"),
        (SingleTask(TunedMeans("gamma")), False, "explained deviance"),
        (Pooled(PoissonRegressor()), True, "mean explained deviance of the targets"),
        (MultiTaskClassifier(), False, "accuracy"),
        (MultiTaskClassifier(), True, "mean accuracy of the targets"),
    ],
)
def test_a_score_is_named_by_what_it_is_against(model, several, name):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 2)), rng.poisson(2.0, 30) + 1.0
    y = (y > 2).astype(int) if isinstance(model, MultiTaskClassifier) else y
    given = (
        {"y": np.column_stack([y, y[::-1]])} if several else {"y": y, "task": np.arange(30) % 3}
    )
    assert score_name(model.fit(X, **given), Translator()) == name


def test_one_task_is_fitted_and_scored(run, plain):
    plain[plain["g"] == plain["g"][0]].to_csv("one.csv", index=False)
    done = run("fit", "one.csv", "--task", "g", "--target", "y", "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "1 (40 rows)" in done.out
    assert "a constant per task 0.0000" in done.out


def test_penalty_is_used_as_written_by_the_plain_model(run, plain):
    plain.to_csv("a.csv", index=False)
    _fit(run, "a.csv", "--task", "g", "--target", "y", *QUICK, "--penalty", "L21(0.5) + L2(0.1)")
    assert repr(load("m.polytask").penalty) == "L21(alpha=0.5) + L2(alpha=0.1)"


def test_the_command_that_fit_prints_can_be_run(run, plain):
    plain["pupil id"] = [f"p{i}" for i in range(120)]
    plain.to_csv("my table.csv", index=False, sep=";")
    done = _fit(
        run, "my table.csv", "--task", "g", "--target", "y", "--id", "pupil id", "--sep", ";",
        *QUICK, model="it's.polytask",
    )  # fmt: skip
    words = shlex.split(done.out.splitlines()[-1])
    assert words[0] == "polytask"
    shutil.copy("my table.csv", "NEW.csv")
    assert run(*words[1:]).status == 0
    assert read_table("predictions.csv").table["pupil id"].tolist() == plain["pupil id"].tolist()


def test_weights_and_missing_targets(run, plain):
    plain["w"] = np.where(plain.index % 2, 0.0, 1.0)
    plain.loc[[4, 6], "y"] = np.nan
    plain.to_csv("a.csv", index=False)
    arguments = ("a.csv", "--task", "g", "--target", "y", "--weight", "w", *QUICK)
    refused = run("fit", *arguments, "--out", "m.polytask")
    assert refused.status == 2
    assert "missing in 2 rows (6, 8), counting the header as row 1" in refused.err
    done = _fit(run, *arguments, "--drop-missing-target")
    assert "2 rows (6, 8; counting the header as row 1) without target 'y'" in done.err
    model = load("m.polytask")
    assert model.data_card_.n_rows == 58
    assert list(model.feature_names_in_) == ["g", "x", "z"]


@pytest.mark.parametrize("name", ["t.tsv", "t.parquet", "t.csv.gz", "t.feather"])
def test_other_kinds_of_tables(run, plain, name):
    write_table(plain, name)
    _fit(run, name, "--task", "g", "--target", "y", *QUICK)
    _predict(run, "m.polytask", name)
    assert len(read_table("p.csv").table) == 120


def test_byte_order_mark_is_said(run, plain):
    plain.to_csv("a.csv", index=False, encoding="utf-8-sig")
    done = _fit(run, "a.csv", "--task", "g", "--target", "y", *QUICK)
    assert done.err == "Note: a.csv starts with a byte order mark; it was read as UTF-8.\n"


@pytest.mark.parametrize(
    ("values", "loss", "expected"),
    [
        ([0, 1], "auto", "MultiTaskClassifier"),
        ([0, 1], "squared", "MultiTaskRegressor"),
        ([1, 2, 3], "auto", "MultiTaskRegressor"),
        ([1, 2, 3], "huber", "MultiTaskRegressor"),
        ([0, 2, 3], "poisson", "MultiTaskRegressor"),
        ([1, 2, 3], "gamma", "MultiTaskRegressor"),
        ([1, 2, 3], "quantile(0.8)", "MultiTaskRegressor"),
        ([1, 2, 3], "square_root", "MultiTaskRegressor"),
        ([0, 1], "squared_hinge", "MultiTaskClassifier"),
        ([1, 2, 3], "multinomial", "MultiTaskClassifier"),
        ([True, False], "auto", "MultiTaskClassifier"),
        (["u", "v", "w"], "auto", "MultiTaskClassifier"),
    ],
)
def test_loss_follows_the_target_or_the_option(run, plain, values, loss, expected):
    plain["y"] = np.resize(np.array(values, dtype=object), 120)
    plain.to_csv("a.csv", index=False)
    _fit(run, "a.csv", "--task", "g", "--target", "y", "--loss", loss, *QUICK)
    model = load("m.polytask")
    assert type(model).__name__ == expected
    if loss != "auto":
        assert model.loss == loss


@pytest.mark.slow
@pytest.mark.parametrize("name", ["separate", "pooled + intercepts"])
def test_models_without_sharing_take_the_loss_too(run, plain, name):
    # One target in a thousand is not a number of this kind at all.
    plain.loc[0, "y"] = 1e6
    plain.to_csv("a.csv", index=False)
    slopes = {}
    for loss in ("huber", "squared"):
        options = ("--task", "g", "--target", "y", "--model", name, "--loss", loss)
        _fit(run, "a.csv", *options, model=f"{loss}.polytask")
        _predict(run, f"{loss}.polytask", "a.csv", out=f"{loss}.csv")
        slopes[loss] = pd.read_csv(f"{loss}.csv")["prediction"].iloc[1:].abs().max()
    assert slopes["huber"] < 1e3 < slopes["squared"]


def test_names_of_the_first_version_are_the_models_of_a_comparison(run, plain):
    plain.to_csv("a.csv", index=False)
    done = _fit(run, "a.csv", "--task", "g", "--target", "y", "--model", "single")
    assert done.err == "Note: --model single is called 'separate' now.\n"
    assert type(load("m.polytask")).__name__ == "SingleTask"
    done = _fit(
        run, "a.csv", "--task", "g", "--target", "y", "--model", "pooled-intercepts", "--force"
    )
    assert done.err == ""
    assert load("m.polytask").task_effect == "intercept"


def test_dates_become_features_where_they_are_asked_for(run, folder):
    rng = np.random.default_rng(0)
    days = pd.date_range("2022-01-01", periods=120, freq="3D").strftime("%d/%m/%Y")
    table = pd.DataFrame({"day": days, "x": rng.normal(size=120), "shop": np.tile([*"abcd"], 30)})
    table["sales"] = 2 * table["x"] + np.arange(120) / 30
    table.round(3).to_csv("s.csv", index=False, sep=";", decimal=",")
    words = ("fit", "s.csv", "--task", "shop", "--target", "sales", "--model", "pooled")
    refused = run(*words, "--out", "m.polytask")
    assert refused.status == 2
    assert "Column 'day' holds dates (01/01/2022 in row 2, counting the header as" in refused.err
    assert "elapsed days with --date-features, or leave it out (--drop day)." in refused.err
    later = (
        "If it says which rows come later in time, and later rows are to be predicted, hold these"
    )
    assert f"{later} out with --time day, with or without --date-features" in refused.err
    undated = run(*words, "--drop", "day", "--date-features", "--out", "none.polytask")
    assert (
        "No column that is learned from is read as dates, so --date-features does" in undated.err
    )
    # A criterion holds no rows out.
    held = run(*words[:-2], "--criterion", "bic", "--out", "m.polytask")
    assert "--time" not in held.err
    related = run("inspect", "s.csv", *words[2:6], "--related")
    assert "with --date-features, or leave it out (--drop day)." in related.err
    done = run(*words, "--date-features", "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "Numbers are read with decimal commas" in done.err
    done = run("predict", "m.polytask", "s.csv", "--out", "p.csv")
    assert done.status == 0, done.err
    found = pd.read_csv("p.csv")["prediction"]
    assert np.corrcoef(found, table["sales"])[0, 1] > 0.95
    card = json.loads(load("m.polytask").card().json)
    assert card["settings"]["date_features"] is True
    assert card["data"]["dates made into features"] == "day"


@pytest.mark.parametrize("role", [("--date-features",), ("--time", "day")])
def test_day_or_month_first_is_asked_for_by_options(run, plain, role):
    days = pd.date_range("2024-01-01", periods=365)
    few = days[days.day <= 12].strftime("%m/%d/%Y")[: len(plain)]
    plain.assign(day=few).to_csv("a.csv", index=False)
    words = ("fit", "a.csv", *FIT, "--model", "pooled", "--force")
    refused = run(*words, *role)
    assert refused.status == 2
    assert "Say --day-first if the day comes first, --month-first if the month" in refused.err
    said = run(*words, *role, "--month-first")
    assert said.status == 0
    assert "NEW.csv --month-first --out" in said.out
    wrong = run("fit", "a.csv", *FIT, "--model", "pooled", *role, "--day-first", "--force")
    assert wrong.status == 0  # both ways can be read
    plain.assign(day="12/31/2024").to_csv("b.csv", index=False)
    wrong = run("fit", "b.csv", *FIT, "--model", "pooled", *role, "--day-first", "--force")
    assert wrong.status == 2
    assert "begin with the month, such as '12/31/2024' in row 2, counting the hea" in wrong.err


def test_dates_to_predict_are_read_as_they_were_written(run, plain):
    """Months came first in training; the same few days must not be read as days and months."""
    days = pd.date_range("2024-01-01", periods=len(plain))
    plain.assign(day=days.strftime("%m/%d/%Y")).to_csv("a.csv", index=False)
    words = ("fit", "a.csv", *FIT, "--model", "pooled", "--force", "--date-features")
    assert run(*words).status == 0
    some = plain.assign(day=days.strftime("%m/%d/%Y"))[31:43]
    some.to_csv("new.csv", index=False)
    asked = run("predict", "m.polytask", "new.csv", "--out", "p.csv")
    assert asked.status == 2
    assert "02/01/2024" in asked.err
    assert run("predict", "m.polytask", "new.csv", "--out", "p.csv", "--month-first").status == 0
    assert run("predict", "m.polytask", "a.csv", "--out", "q.csv").status == 0
    rows = pd.read_csv("q.csv")["prediction"][31:43]
    np.testing.assert_allclose(pd.read_csv("p.csv")["prediction"], rows)


def test_files_with_dates_are_predicted(run, plain):
    days = pd.date_range("2024-01-01", periods=40).strftime("%d/%m/%Y")
    Path("f").mkdir()
    for name, part in plain.groupby("g"):
        part.drop(columns="g").assign(day=days).to_csv(f"f/{name}.csv", index=False)
    files = ("--file-per-task", "f/*.csv")
    words = ("fit", *files, "--target", "y", "--model", "pooled", "--date-features")
    assert run(*words, "--out", "m.polytask").status == 0
    done = run("predict", "m.polytask", *files, "--out", "p.csv")
    assert done.status == 0, done.err
    plain.assign(day=np.tile(days, 3)).to_csv("a.csv", index=False)
    one = run("predict", "m.polytask", "a.csv", "--task", "g", "--out", "q.csv")
    assert one.status == 0, one.err
    np.testing.assert_allclose(pd.read_csv("p.csv").prediction, pd.read_csv("q.csv").prediction)


def test_folds_count_with_time_and_need_as_many_groups(run, plain):
    plain["day"], plain["half"] = range(120), np.arange(120) % 2
    plain.to_csv("a.csv", index=False)
    words = ("fit", "a.csv", *FIT, "--penalty", "L21", "--force")
    assert (
        "of all 2 folds together"
        in run(*words, "--drop", "half", "--time", "day", "--folds", "2").out
    )
    by_time = run(*words, "--drop", "half", "--time", "day").out
    assert "of all 4 folds together" in by_time
    assert "The folds hold out later rows (--time)." in by_time
    words = (*words, "--drop", "day", "--group", "half")
    refused = run(*words, "--folds", "3")
    assert refused.status == 2
    assert (
        "has 2 different values, but 3 folds need at least as many: say --folds 2" in refused.err
    )
    assert run(*words, "--folds", "2").status == 0


def test_a_sheet_is_named(run, plain):
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter("b.xlsx") as book:
        pd.DataFrame({"about": ["pupils"]}).to_excel(book, sheet_name="about", index=False)
        plain.to_excel(book, sheet_name="rows", index=False)
    words = ("fit", "b.xlsx", *FIT, "--model", "pooled")
    assert "To read another one ('rows'), say --sheet NAME." in run(*words).err
    done = run(*words, "--sheet", "rows")
    assert done.status == 0, done.err
    assert "NEW.xlsx --sheet rows --out" in done.out
    plain.to_csv("a.csv", index=False)
    refused = run("fit", "a.csv", *FIT, "--sheet", "rows", "--force")
    assert refused.status == 2
    assert "a.csv has no sheets, so that --sheet 'rows' cannot be read" in refused.err


def test_whole_numbers_that_look_like_tasks_are_pointed_out(run, plain):
    def noted(**columns):
        plain.drop(columns="g").assign(w=plain["y"] + plain["z"], **columns).to_csv("a.csv")
        words = ("--targets", "y,w", "--drop", "", "--model", "separate", "--force")
        done = run("fit", "a.csv", *words, "--out", "m.polytask")
        assert done.status == 0
        return "look like labels" in done.err

    labels = np.arange(120) % 10 + 1
    assert noted(school=labels)
    assert noted(store_id=labels)
    # Counts, ordered groups, a treatment and groups of few rows are features like others.
    few = np.arange(120) // 2
    assert not noted(customers=labels, age_group=labels, group=labels % 2, school=few)
    assert not noted(school=labels + 0.5)


def test_dates_that_rows_are_held_out_by_are_learned_from_if_asked_for(run, plain):
    plain["day"] = pd.date_range("2024-01-01", periods=120).strftime("%d/%m/%Y")
    plain.to_csv("a.csv", index=False)
    words = ("fit", "a.csv", *FIT, "--model", "pooled", "--force")
    refused = run(*words)
    assert refused.err.endswith(f"  polytask {' '.join(words)} --date-features\n")
    done = run(*words, "--date-features", "--time", "day")
    assert done.status == 0
    assert "its year, month, week, weekday and elapsed days are learned from too" in done.err
    # A column of dates counts once everywhere.
    assert "Columns      3 to learn from\n" in done.err + done.out
    assert " after encoding, made of 3 columns" in done.out
    assert "year, month, week, weekday and elapsed days of day" in done.out
    told = run("inspect", "m.polytask", "--out", "card.md").out
    assert "Columns      3 to learn from: " in told
    assert "| columns to learn from | 3 |" in Path("card.md").read_text("utf-8")
    found = json.loads(run("inspect", "m.polytask", "--json").out)
    assert sorted(found["columns"]) == ["day", "x", "z"]
    assert {"day=month", "day=days"} < set(found["features"])
    assert run("predict", "m.polytask", "a.csv", "--out", "p.csv").status == 0
    assert "lie after" not in run("predict", "m.polytask", "a.csv", "--out", "q.csv").err
    later = plain.assign(day=pd.date_range("2024-04-25", periods=120).strftime("%d/%m/%Y"))
    later.to_csv("later.csv", index=False)
    told = run("predict", "m.polytask", "later.csv", "--out", "l.csv").err
    assert "'day' lie after the last one of training (2024-04-29) in 115 rows" in told
    # By numbers there is nothing to make.
    plain.assign(day=range(120)).to_csv("a.csv", index=False)
    done = run(*words, "--date-features", "--time", "day")
    assert "learned from too" not in done.err
    assert not any(
        "day" in n for n in json.loads(run("inspect", "m.polytask", "--json").out)["features"]
    )


def test_a_time_as_the_task_is_warned_of(run, plain):
    plain["g"] = np.repeat(["2024-W01", "2024-W02", "2024-W03"], 40)
    plain.to_csv("a.csv", index=False)
    done = run("fit", "a.csv", *FIT, "--model", "pooled")
    assert "a model refuses rows of later values, unless predict is called with" in done.err
    plain.rename(columns={"g": "week"}).assign(week=np.repeat([1, 2, 3], 40)).to_csv("b.csv")
    words = ("b.csv", "--task", "week", "--target", "y", "--drop", "", "--out", "w.polytask")
    assert "Column 'week' looks like a time" in run("fit", *words, "--model", "pooled").err


@pytest.mark.parametrize("way", [("--time", "day"), ("--group", "day")])
def test_every_model_is_scored_on_the_rows_that_are_asked_for(run, plain, way):
    plain["day"] = np.tile(np.arange(40), 3)
    plain["y"] += 0.2 * plain["day"]
    plain.to_csv("a.csv", index=False)
    words = ("fit", "a.csv", "--task", "g", "--target", "y", "--model", "learned-prior", "--drop")
    words = (*words, "day", "--folds", "3")
    plainly, asked = run(*words, "--out", "m.polytask"), run(*words, *way, "--out", "n.polytask")
    assert asked.status == 0, asked.err
    (there,), (here,) = (
        [line for line in done.out.splitlines() if line.startswith("Held out")]
        for done in (plainly, asked)
    )
    assert there.endswith("of all 3 folds together. The folds are drawn at random within tasks.")
    what = {"--time": "later rows (--time)", "--group": "whole groups (--group)"}[way[0]]
    assert here.endswith(f"of all 3 folds together. The folds hold out {what}.")
    assert here.split(",")[0] != there.split(",")[0]


def test_a_score_that_is_not_known_says_why(run, plain):
    plain["same"] = plain["g"]
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--group", "same", "--model", "separate")
    done = run("fit", "a.csv", *words, "--folds", "3", "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "R2 (against the training mean) n/a" in done.out
    assert "nan" not in done.out
    assert "in some folds, tasks 'a', 'b', 'c' have no row to learn from" in done.err


@pytest.mark.parametrize("model", ["separate", "learned-prior", ""])
def test_rows_without_an_earlier_row_of_their_task_are_not_scored(run, plain, model):
    plain["when"] = np.r_[np.arange(40), np.arange(40), np.arange(20, 60)]
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--time", "when", *["--model", model] * bool(model))
    done = run("fit", "a.csv", *words, "--folds", "4", "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "n/a" not in done.out + done.err
    # The first fold holds out the times 12 to 21, and the third task begins at 20.
    but = "except 2 rows of 1 task ('c') without a row to learn from in the same fold"
    label = "Held out" if model else "Baselines"
    assert all(but in line for line in done.out.splitlines() if line.startswith(label))
    assert done.out.count(but) == 1


def test_a_column_without_cells_is_left_out(run, plain):
    plain["nothing"] = None
    plain.to_parquet("a.parquet")
    done = run("fit", "a.parquet", "--task", "g", "--target", "y", "--out", "m.polytask")
    assert done.status == 0
    assert "'nothing' is missing in every row and was left out" in done.err


def test_a_network_says_what_scores_it_by_time(run, plain):
    pytest.importorskip("torch")
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--model", "network, shared trunk", "--time", "x")
    done = run("fit", "a.csv", *words, "--out", "m.polytask")
    assert done.status == 2
    assert "polytask compare --models 'network, shared trunk' --time x." in done.err


def test_a_word_for_missing_has_a_short_name(run, folder):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.integers(0, 90, 120), "shop": np.tile([*"abcd"], 30)})
    table["sales"] = table["x"] / 10 + rng.normal(size=120)
    table.loc[::9, "x"] = -999
    table.to_csv("s.csv", index=False)
    words = ("fit", "s.csv", "--task", "shop", "--target", "sales", "--model", "pooled")
    done = run(*words, "--out", "m.polytask")
    assert "Column 'x' holds -999 in 14 of 120 rows, far from all its other values" in done.err
    assert "read the file with --missing-values=-999." in done.err
    done = run(*words, "--out", "m.polytask", "--force", "--na=-999")
    assert done.status == 0, done.err
    assert "holds -999" not in done.err


def test_a_column_called_note_is_kept_beside_the_notes(run, plain):
    plain["note"] = "mine"
    plain.to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--drop", "note", "--model", "multitask")
    assert run("fit", "a.csv", *words, "--out", "m.polytask").status == 0
    assert run("predict", "m.polytask", "a.csv", "--keep", "note", "--out", "p.csv").status == 0
    found = read_table("p.csv").table
    assert list(found.columns) == ["note", "g", "prediction", "polytask_note"]
    assert (found["note"] == "mine").all()
