"""Every input that cannot be used ends in one sentence, status 2, and no file."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FIT = ("--task", "g", "--target", "y", "--out", "m.polytask", "--model", "multitask")


def _refused(run, *arguments):
    before = set(Path.cwd().rglob("*"))
    done = run(*arguments)
    assert done.status == 2, done
    lines = [line for line in done.err.splitlines() if not line.startswith("Note: ")]
    # Where options answer it, the command with them follows.
    if lines[1:2] == ["For example:"]:
        assert len(lines) == 3
        assert lines.pop().startswith(f"  polytask {arguments[0]} ")
        lines.pop()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in done.err
    assert set(Path.cwd().rglob("*")) == before
    return lines[0]


def _missing(table, name, row, value):
    table[name] = table[name].astype(object)
    table.loc[row, name] = value
    return table


SPOILED = {
    "target missing": (lambda t: _missing(t, "y", 3, None), "missing in 1 row"),
    "target infinite": (
        lambda t: _missing(t, "y", 3, np.inf),
        "is infinite in 1 row (5), counting the header as row 1",
    ),
    "target huge": (lambda t: t.assign(y=t.y * 1e300), "so that sums stay finite"),
    "feature infinite": (lambda t: _missing(t, "x", 5, np.inf), "column 'x'"),
    "feature huge": (lambda t: _missing(t, "x", 5, 1e300), "so that sums stay finite"),
    "task missing": (lambda t: _missing(t, "g", 4, None), "every row needs a value"),
    "one class": (lambda t: t.assign(y="k"), "have the same value in 'y'"),
    "free text": (
        lambda t: t.assign(y=[f"t{i}" for i in t.index]),
        "is text with 120 different values (t0, t1, t10, t100, ...) in 120 rows",
    ),
    "one target is text": (
        lambda t: _missing(t, "y", 7, "12 odd"),
        "holds numbers but for '12 odd' in row 9, counting the header as row 1: correct the cell; "
        "where a value is missing, say --missing-values '12 odd' --drop-missing-target. If the "
        "values are classes, say --loss multinomial.",
    ),
    "two targets are text": (
        lambda t: _missing(_missing(t, "y", 7, "1O"), "y", 9, "many"),
        "holds numbers but for '1O' in row 9 and 'many' in row 11, counting the header as row 1:",
    ),
    "one cell is text": (
        lambda t: _missing(t, "x", 5, "twelve"),
        "The first such cell is in row 7, counting the header as row 1.",
    ),
    "dates as target": (
        lambda t: t.assign(y=pd.date_range("2020-01-01", periods=len(t))),
        "Target 'y' of a.csv holds dates",
    ),
    "dates as feature": (
        lambda t: t.assign(d=pd.date_range("2020-01-01", periods=len(t))),
        "leave it out (--drop d)",
    ),
    "identifier": (lambda t: t.assign(n=[f"n{i}" for i in t.index]), "leave it out (--drop n)."),
    "no feature": (lambda t: t[["g", "y"]], "no column left to learn from"),
    "no task column": (
        lambda t: t.rename(columns={"g": "group"}),
        "no column 'g'. Its columns are",
    ),
    "no target": (lambda t: t.rename(columns={"y": "yy"}), "Did you mean 'yy'?"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_table(run, plain, name):
    spoil, words = SPOILED[name]
    spoil(plain).to_csv("a.csv", index=False)
    assert words in _refused(run, "fit", "a.csv", *FIT)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a.csv is empty"),
        (b"g,x,y\n", "a header but no rows"),
        (bytes(range(256)) * 20, "not a text file"),
        (b"g,x,y\na,1,2\na,1\n", "has 2 fields instead of 3"),
    ],
)
def test_file_that_is_no_table(run, folder, content, words):
    (folder / "a.csv").write_bytes(content)
    assert words in _refused(run, "fit", "a.csv", *FIT)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("b.csv", *FIT), "There is no file b.csv. Did you mean 'a.csv'?"),
        (("sub", *FIT), "Folder sub holds no files"),
        ((*FIT,), "needs DATA, a table"),
        (("a.csv", "--file-per-task", "*.csv", *FIT), "not both"),
        (("a.csv", *FIT, "--loss", "logistic"), "is for two classes"),
        (("a.csv", *FIT, "--loss", "multinomial"), "needs classes; target 'y'"),
        (("a.csv", *FIT, "--loss", "hinge"), "--loss must be one of 'auto'"),
        (("a.csv", *FIT, "--encoding", "nope"), "--encoding must be the name of an encoding"),
        (("a.csv", *FIT, "--encoding", "base64"), "--encoding must be the name of an encoding"),
        (("a.csv", *FIT, "--sep", "##"), "--sep must be one character"),
        (("a.csv", *FIT, "--sep", "\0"), "--sep must be one character"),
        (
            ("a.csv", *FIT[:6], "--penalty", "L21", "--folds", "500"),
            "Holding rows out 500 times needs as many rows, and there are 120",
        ),
        (("a.csv", *FIT, "--model", "separat"), "Did you mean 'separate'?"),
        (("a.csv", *FIT, "--model", "joint forest"), "forests are tried for target matrices only"),
        (("a.csv", *FIT, "--penalty", "L3"), "--penalty must be a text such as"),
        (("a.csv", *FIT, "--model", "separate", "--penalty", "L1"), "takes no --penalty"),
        (("a.csv", *FIT, "--model", "learned prior", "--loss", "huber"), "choose another"),
        (("a.csv", *FIT, "--model", "learned prior", "--loss", "quantile"), "choose another"),
        (("a.csv", *FIT, "--target", "x"), "one --target; got 2"),
        (("a.csv", *FIT, "--features", "x,y"), "Column 'y' cannot be a feature"),
        (("a.csv", *FIT, "--features", "q*"), "no column that matches 'q*'"),
        (("a.csv", *FIT, "--drop", "zz"), "Did you mean 'z'?"),
        (("a.csv", *FIT, "--weight", "y"), "is given as --target and as --weight"),
        (("a.csv", *FIT, "--weight", "x"), "Weight 'x' of a.csv must be a finite number"),
        (("a.csv", *FIT, "--folds", "1"), "--folds must be an integer >= 2; got "),
        (("a.csv", *FIT, "--tsak", "g"), "There is no option --tsak. Did you mean '--task'?"),
        (("a.csv", *FIT, "--output", "m"), "There is no option --output. Did you mean '--out "),
        (("a.csv", "b.csv", *FIT), "must stand in quotes"),
        (("a.csv", *FIT, "--out", "none/m.polytask"), "there is no folder"),
        (("a.csv", *FIT, "--out", "a.csv", "--force"), "a file that is read"),
        (("a.csv", *FIT, "--out", "taken"), "replace it with --force"),
        (("a.csv", "--target", "y", "--out", "m"), "Likely task columns: 'g' (3 values)"),
        (("a.csv", "--task", "g", "--out", "m"), "needs a target"),
        (("a.csv", "--task", "g", "--target", "y"), "Name the file to write with --out"),
        (
            ("--file-per-task", "*.csv", "--task", "g", "--target", "y", "--out", "m"),
            "drop --task",
        ),
        (("--file-per-task", "*.tsv", "--target", "y", "--out", "m"), "No file matches *.tsv"),
    ],
)
def test_options_of_fit(run, folder, plain, arguments, words):
    plain.to_csv("a.csv", index=False)
    (folder / "sub").mkdir()
    (folder / "taken").touch()
    assert words in _refused(run, "fit", *arguments)


def test_text_as_the_target_of_a_regression(run, plain):
    plain.assign(y=np.resize(["u", "v", "w"], 120)).to_csv("a.csv", index=False)
    error = _refused(run, "fit", "a.csv", *FIT, "--loss", "squared")
    assert "Target 'y' of a.csv must hold numbers for --loss squared; got 'u' in row 2" in error


@pytest.fixture
def model(run, plain, folder):
    plain.to_csv("a.csv", index=False)
    assert run("fit", "a.csv", *FIT).status == 0
    return folder / "m.polytask"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": "xx"}, "lacks 1 of the 3 columns that the model needs: 'x'. Did you mean 'xx'?"),
        (
            {"g": "gg"},
            "from which the model reads the tasks. Did you mean 'gg'? Rename the column",
        ),
    ],
)
def test_renamed_column_at_prediction(run, model, plain, change, words):
    plain.rename(columns=change).to_csv("b.csv", index=False)
    asked = ("predict", "m.polytask", "b.csv", "--out", "p.csv")
    assert words in (said := _refused(run, *asked))
    if "g" in change:
        # To name the column is no way out.
        assert "--task cannot name another one here." in said
        assert _refused(run, *asked, "--task", "gg") == said


def test_a_cell_that_is_no_date_is_named(run, plain):
    days = plain.assign(day=pd.date_range("2024-01-01", periods=len(plain)).strftime("%Y-%m-%d"))
    days.to_csv("a.csv", index=False)
    assert run("fit", "a.csv", *FIT, "--date-features").status == 0
    _missing(days, "day", 5, "2024-13-45").to_csv("b.csv", index=False)
    error = _refused(run, "predict", "m.polytask", "b.csv", "--out", "p.csv")
    assert "column 'day' of the table must be dates such as" in error
    assert "got '2024-13-45' in row 7, counting the header as row 1." in error


def test_text_where_numbers_were_at_prediction(run, model, plain):
    _missing(plain, "x", 5, "many").to_csv("b.csv", index=False)
    error = _refused(run, "predict", "m.polytask", "b.csv", "--out", "p.csv")
    assert "Column 'x' was numeric in training; row 7" in error


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a polytask model"),
        (b"no model at all", "is not a polytask model"),
        (None, "is cut short"),
    ],
)
def test_damaged_model(run, model, content, words):
    Path("bad").write_bytes(model.read_bytes()[:800] if content is None else content)
    assert words in _refused(run, "predict", "bad", "a.csv", "--out", "p.csv")
    assert words in _refused(run, "inspect", "bad")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("m.polytsk", "a.csv", "--out", "p.csv"), "Did you mean 'm.polytask'?"),
        (("m.polytask", "a.csv", "--out", "p.xlsx"), "allowed are the suffixes"),
        (("m.polytask", "a.csv", "--out", "a.csv", "--force"), "a file that is read"),
        (("m.polytask", "a.csv"), "Name the file to write"),
        (("m.polytask", "--out", "p.csv"), "needs DATA"),
        (("m.polytask", "a.csv", "--out", "p.csv", "--task", "x"), "from column 'g'"),
        (("m.polytask", "a.csv", "--out", "p.csv", "--keep", "w"), "no column 'w'"),
        (("m.polytask", "a.csv", "--out", "p.csv", "--unseen-tasks", "guess"), "got 'guess'"),
    ],
)
def test_options_of_predict(run, model, arguments, words):
    assert words in _refused(run, "predict", *arguments)


def test_copied_column_may_not_hide_the_prediction(run, model, plain):
    plain.assign(prediction=1).to_csv("b.csv", index=False)
    error = _refused(
        run, "predict", "m.polytask", "b.csv", "--keep", "prediction", "--out", "p.csv"
    )
    assert "two columns 'prediction'" in error


def test_all_that_a_command_line_lacks_is_named_at_once(run, plain):
    plain.to_csv("a.csv", index=False)
    lines = run("fit", "a.csv").err.splitlines()
    assert lines[0].startswith("Error: polytask fit needs more options")
    assert [line.split(":")[0] for line in lines[1:]] == [
        "- the target",
        "- the column that names the task of each row",
        "- what to write",
    ]
    for command, lacking in (
        (("predict", "m"), ["- the table", "- what to write"]),
        (("statistics", "a.csv"), ["- the agreement", "- what to write"]),
        (("schema", "a.csv"), [line.split(":")[0] for line in lines[1:]]),
    ):
        found = run(*command).err.splitlines()
        assert [line.split(":")[0] for line in found[1:]] == lacking
    # One of several targets needs no task.
    error = _refused(run, "compare", "a.csv", "--targets", "x,y")
    assert "Name the folder to write with --out, such as --out comparison." in error


def test_a_target_of_one_value_leaves_nothing_to_learn(run, plain, folder):
    plain.assign(y=5).to_csv("a.csv", index=False)
    for command in ("fit", "auto", "tune"):
        error = _refused(run, command, "a.csv", *FIT[:6])
        assert "All rows of a.csv have the same value in 'y': there is nothing to learn." in error
        assert "the task alone determines it" not in error
    assert not (folder / "m.polytask").exists()


def test_what_is_a_function_of_python_is_named_as_the_command(run):
    assert "polytask inspect DATA|MODEL --related" in _refused(run, "relatedness", "a.csv")


def test_a_target_that_its_loss_cannot_have_is_named_by_its_row(run, plain):
    table = plain.assign(y=1.0)
    # Rows that are left out count.
    table.loc[[3, 7], "y"] = np.nan, -2.0
    table.to_csv("a.csv", index=False)
    said = _refused(run, "fit", "a.csv", *FIT, "--loss", "gamma", "--drop-missing-target")
    assert "must be a number > 0 for loss='gamma'; got -2.0 (row 9, counting the header" in said


def test_a_metric_is_for_the_kind_of_the_targets(run, plain):
    plain.assign(y=np.where(plain["y"] > 0, "yes", "no")).to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "y", "--out", "c", "--metric")
    error = run("compare", "a.csv", *words, "rmse").err
    assert "metric=rmse of compare is for numbers, and the targets are classes" in error
    plain.to_csv("a.csv", index=False)
    done = run("compare", "a.csv", *words, "auc")
    assert done.status == 2
    error = done.err
    assert "is for classes, and the targets are numbers: choose one of d2" in error


def test_all_columns_that_are_not_there_are_named_at_once(run, plain):
    plain.to_csv("a.csv", index=False)
    words = ("--task", "gg", "--target", "yy", "--drop", "x,w*,zz", "--out", "m")
    lines = run("fit", "a.csv", *words).err.splitlines()
    assert "a.csv lacks columns that were named; its columns are 'g', 'x', 'z', 'y'" in lines[0]
    assert [line.split(".")[0] for line in lines[1:]] == ["- 'gg'", "- 'yy'", "- 'zz'"]


def _dirty(plain):
    plain["code"] = [f"R{k:04d}" for k in range(len(plain))]
    plain["day"] = pd.date_range("2024-01-01", periods=len(plain)).strftime("%d/%m/%Y")
    plain["y"] = plain["y"].round(2).astype(object)
    plain.loc[3, "y"], plain.loc[5, "y"] = "odd", None
    plain.to_csv("a b.csv", index=False)
    return ("fit", "a b.csv", "--task", "g", "--target", "y", "--model", "multitask", "--out", "m")


def test_all_that_refuses_a_table_is_said_at_once_with_one_command_that_answers_it(run, plain):
    done = run(*_dirty(plain))
    assert done.status == 2
    for words in (
        "3 reasons why a b.csv",
        "but for 'odd' in row 5",
        "'code' has 120",
        "'day' holds",
    ):
        assert words in done.err
    line = done.err.splitlines()[-1].strip()
    assert line.startswith("polytask fit 'a b.csv' --task g")
    assert line.endswith("--na odd --drop-missing-target --drop code --date-features")
    assert run(*shlex.split(line)[1:]).status == 0


def test_no_command_is_offered_where_one_reason_has_no_option(run, plain):
    words = _dirty(plain)
    plain["y"] = pd.date_range("2024-01-01", periods=len(plain))
    plain.to_csv("a b.csv", index=False)
    done = run(*words)
    assert done.status == 2
    assert "3 reasons why" in done.err
    assert "this command answers" not in done.err


def test_task_and_target_that_are_swapped(run, folder):
    draw = np.random.default_rng(0)
    labels = np.repeat([*"abcd"], 10)
    table = pd.DataFrame({"x": draw.normal(size=40), "g": labels, "y": draw.normal(size=40)})
    table.to_csv(folder / "t.csv", index=False)
    said = _refused(run, "fit", "t.csv", "--task", "y", "--target", "g", "--out", "m.polytask")
    assert "40 different numbers" in said
    assert "--task g --target y" in said
