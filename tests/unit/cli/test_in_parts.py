"""Tables that need more memory than they may take, and folders of files, are read in parts."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose
from unit.pairs import in_turn

from polytask import (
    BayesianMultiTaskRegressor,
    MultiTaskRegressor,
    MultiTaskRegressorIC,
    compare,
    load,
    save,
)
from polytask.cli import files
from polytask.data.file_parts import bytes_needed
from polytask.data.readers import read_table, write_table
from polytask.penalties import parse
from polytask.statistics import collect, collect_parts

SMALL = ("--memory", "40KB")
ROLES = ("--task", "shop", "--target", "sold")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read few rows at a time."""
    monkeypatch.setattr(files, "PART_ROWS", 70)


@pytest.fixture
def table() -> pd.DataFrame:
    """Return rows of shops: numbers with gaps, words, a truth value, a weight."""
    rng = np.random.default_rng(0)
    made = pd.DataFrame(rng.normal(size=(300, 2)).round(3), columns=["width", "price"])
    made.loc[3::41, "width"] = np.nan
    made["colour"] = rng.choice(["red", "green", "blue"], 300)
    made["open"] = rng.integers(2, size=300).astype(bool)
    made["shop"] = rng.choice(["north", "south", "west"], 300)
    made["weight"] = rng.uniform(0.5, 2, 300).round(2)
    made["number"] = np.arange(300)
    made["sold"] = (made.price * 2 + (made.colour == "red") + rng.normal(size=300)).round(3)
    return made


MODELS: dict[str, tuple[tuple[str, ...], Any]] = {
    "nothing": ((), BayesianMultiTaskRegressor()),
    "criterion": (
        ("--criterion", "bic"),
        MultiTaskRegressorIC(criterion="bic", standardize=True, scale_targets="auto"),
    ),
    "fixed": (
        ("--model", "multitask", "--penalty", "L21(0.1)"),
        MultiTaskRegressor(parse("L21(0.1)"), standardize=True, scale_targets="auto"),
    ),
}


@pytest.mark.parametrize(
    ("suffix", "name"), in_turn(["csv", "csv.gz", "parquet", "feather"], MODELS)
)
def test_a_fit_in_parts_is_that_of_the_rows(run, folder, table, name, suffix) -> None:
    words, estimator = MODELS[name]
    write_table(table, f"t.{suffix}")
    roles = (*ROLES, "--weight", "weight", "--id", "number")
    done = run("fit", f"t.{suffix}", *roles, *words, "--out", "m.polytask", *SMALL)
    assert done.status == 0, done.err
    assert f"Note: t.{suffix} would take about" in done.err
    assert "so it is read in parts" in done.err
    assert "300 rows read, " in done.err
    assert "No score on held-out rows is computed" in done.err
    model = load("m.polytask")
    rows = collect(
        table.drop(columns=["sold", "weight", "number"]), table["sold"], task_column="shop",
        sample_weight=table["weight"], encoder=model.encoder_,
    )  # fmt: skip
    same = estimator.fit(rows)
    assert_allclose(model.predict(table), same.predict(table), rtol=0, atol=1e-9)
    # What all levels of a column have in common is the intercept's as well.
    kept = [
        k
        for k, label in enumerate(model.encoder_.get_feature_names_out())
        if "colour" not in label
    ]
    assert_allclose(model.coef_[:, kept], same.coef_[:, kept], rtol=0, atol=1e-9)
    assert model.feature_names_in_.tolist() == ["width", "price", "colour", "open", "shop"]


def test_targets_in_parts(run, folder, table) -> None:
    table["lost"] = -table["sold"] + table["price"]
    table.loc[::9, "lost"] = np.nan
    table.drop(columns=["weight", "number", "shop"]).to_csv("t.csv", index=False)
    words = ("--targets", "*o[ls]*d", "--target", "lost", "--model", "multitask")
    done = run("fit", "t.csv", *words, "--penalty", "L21(0.1)", "--out", "m.polytask", *SMALL)
    assert done.status == 0, done.err
    assert load("m.polytask").tasks_.tolist() == ["lost", "sold"]


def test_a_table_that_fits_is_read_whole(run, folder, table) -> None:
    table.to_csv("t.csv", index=False)
    words = (*ROLES, "--model", "multitask", "--penalty", "L21(0.1)", "--out", "m.polytask")
    for memory in ((), ("--memory", "1.5 GB")):
        done = run("fit", "t.csv", *words, *memory, "--force")
        assert done.status == 0, done.err
        assert "in parts" not in done.err
        assert "Held out" in done.out


def test_the_free_memory_is_the_limit(run, folder, table, monkeypatch) -> None:
    table.to_csv("t.csv", index=False)
    monkeypatch.setattr(files, "free_memory", lambda: 10_000.0)
    done = run("fit", "t.csv", *ROLES, "--out", "m.polytask", "--quiet")
    assert done.status == 0, done.err
    assert "more than 1e-05 GB, so it is read in parts" in done.err
    assert "rows read" not in done.err


def test_sizes_are_estimated_from_files(folder, table) -> None:
    rng = np.random.default_rng(0)
    whole = table.sample(15_000, replace=True, random_state=0)
    whole[["width", "price", "sold"]] = rng.normal(size=(15_000, 3))
    used = whole.memory_usage(deep=True).sum()
    for name in ("t.csv", "t.csv.gz", "t.parquet", "t.feather"):
        write_table(whole, name)
        assert 0.3 * used < bytes_needed(name) < 30 * used
    assert bytes_needed("none.csv") == 0


REFUSED = {
    "folds": (("--folds", "3"), "--folds needs all rows in memory"),
    "groups": (("--group", "number"), "--group needs all rows in memory"),
    "times": (("--time", "number"), "--time needs all rows in memory"),
    "dates": (("--date-features",), "--date-features needs all rows in memory"),
    "penalty": (
        ("--penalty", "L21"),
        "the strength of a penalty cannot be chosen by cross-validation then: add --criterion bic",
    ),
    "model": (("--model", "separate"), "Model 'separate' needs all rows"),
    "loss": (
        ("--model", "multitask", "--penalty", "L21(0.1)", "--loss", "huber"),
        "Model 'multitask' needs all rows in memory",
    ),
    "classes": (("--loss", "logistic"), "'sold' holds classes, whose models need all rows"),
    "size": (("--memory", "much"), "--memory must be a number with a unit, such as 500MB"),
    "nothing": (("--memory", "0GB"), "--memory must be a number with a unit"),
    "column": (("--weight", "wight"), "no column 'wight'"),
}


@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED)
def test_what_needs_rows_is_refused(run, folder, table, words, said) -> None:
    table["sold"] = (table["sold"] > 0).astype(int) if "logistic" in words else table["sold"]
    table.to_csv("t.csv", index=False)
    done = run("fit", "t.csv", *ROLES, *SMALL, *words, "--out", "m.polytask")
    assert done.status != 0
    assert said in done.err
    assert not Path("m.polytask").exists()


@pytest.mark.parametrize("command", ["tune", "auto"])
def test_other_commands_refuse_what_does_not_fit(run, folder, table, command) -> None:
    table.to_csv("t.csv", index=False)
    done = run(command, "t.csv", *ROLES, *SMALL, "--out", "o")
    assert done.status != 0
    assert "t.csv would take about" in done.err
    assert "polytask fit, predict, compare and inspect read such a table in parts" in done.err


MODELS_COMPARED = ("--models", "separate", "--models", "pooled", "--models", "near the mean")


@pytest.mark.slow
@pytest.mark.usefixtures("light")
def test_a_comparison_in_parts_is_that_of_the_statistics(run, folder, table) -> None:
    table.to_parquet("t.parquet")
    words = (*ROLES, "--weight", "weight", "--id", "number", *MODELS_COMPARED)
    words = (*words, "--models", "boosting pooled", "--jobs", "1")
    done = run("compare", "t.parquet", *words, *SMALL, "--out", "o")
    assert done.status == 0, done.err
    assert "The rows of every task are dealt to 5 folds, and their sums are compared" in done.err
    assert "a sample of the rows that fits into memory" in done.err
    assert "“boosting pooled” (it needs rows" in done.out
    found = collect_parts(
        [pa.table(table.drop(columns="number"))], "sold", task_column="shop", fold=5,
        sample_weight="weight", encoder=load("o/model/model.polytask").encoder_,
    )  # fmt: skip
    scores = pd.read_csv("o/scores.csv").set_index("model")["score"]
    same = compare(found, models=[name for name in words if name in MODELS_COMPARED[1::2]])
    for row in same.models:
        assert_allclose(scores[row.name], row.score.mean, rtol=1e-6)
    again = run("rerun", "o/run.lock.json", "--out", "again")
    assert again.status == 0, again.out + again.err
    other = run("compare", "t.parquet", *words, *SMALL, "--out", "other", "--seed", "1")
    assert other.status == 0, other.err
    assert pd.read_csv("other/scores.csv")["score"][0] != scores.iloc[0]
    assert run("predict", "o/model/model.polytask", "t.parquet", "--out", "p.csv").status == 0


COMPARED: dict[str, tuple[tuple[str, ...], str]] = {
    "unseen": (("--unseen",), "--unseen needs all rows in memory"),
    "curve": (("--learning-curve",), "--learning-curve needs all rows in memory"),
    "groups": (("--group", "number"), "--group needs all rows in memory"),
    "metric": (
        ("--metric", "mae"),
        "'deviance' for statistics and for a table that is read in parts, which tell no other",
    ),
    "loss": (("--loss", "huber"), "--loss must be 'squared'"),
    "classes": (("--loss", "multinomial"), "holds classes, whose models need all rows"),
}


@pytest.mark.parametrize(("words", "said"), COMPARED.values(), ids=COMPARED)
def test_what_a_comparison_needs_rows_for_is_refused(run, folder, table, words, said) -> None:
    table["sold"] = (table["sold"] > 0).astype(int) if "multinomial" in words else table["sold"]
    table.to_csv("t.csv", index=False)
    done = run("compare", "t.csv", *ROLES, *SMALL, *words, "--out", "o")
    assert done.status != 0
    assert said in done.err
    assert "rows read" not in done.err
    assert not Path("o").exists()


def put(table: pd.DataFrame, suffix: str) -> None:
    """Write a folder of two files, one of them further down, and the whole table."""
    Path("parts/more").mkdir(parents=True)
    write_table(table[:130], f"parts/a.{suffix}")
    write_table(table[130:], f"parts/more/b.{suffix}")
    Path("parts/_SUCCESS").touch()
    write_table(table, f"whole.{suffix}")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "arrow"])
def test_a_folder_is_the_table_of_its_files(run, folder, table, suffix) -> None:
    put(table, suffix)
    done = run("inspect", "parts", *ROLES)
    whole = run("inspect", f"whole.{suffix}", *ROLES)
    assert done.status == 0, done.err
    assert done.out.replace("parts", f"whole.{suffix}") == whole.out
    said = {}
    for source in ("parts", f"whole.{suffix}"):
        name = source.partition(".")[0]
        words = (*ROLES, "--id", "number", "--drop", "weight")
        done = run("fit", source, *words, "--out", f"{name}.polytask", "--criterion", "bic")
        assert done.status == 0, done.err
        done = run("predict", f"{name}.polytask", source, "--out", f"{name}-predicted.csv")
        assert done.status == 0, done.err
        said[name] = pd.read_csv(f"{name}-predicted.csv")["prediction"]
    assert_allclose(*said.values())
    done = run("fit", "parts", *ROLES, *SMALL, "--out", "streamed.polytask")
    assert done.status == 0, done.err
    assert "Note: parts would take about" in done.err


@pytest.mark.slow
@pytest.mark.usefixtures("light")
def test_a_comparison_of_a_folder_knows_its_files(run, folder, plain) -> None:
    Path("parts").mkdir()
    plain[:60].to_csv("parts/a.csv", index=False)
    plain[60:].to_csv("parts/b.csv", index=False)
    words = ("parts", "--task", "g", "--target", "y", *MODELS_COMPARED, "--jobs", "1")
    assert run("compare", *words, "--out", "o").status == 0
    plain[:5].to_csv("parts/c.csv", index=False)
    done = run("rerun", "o/run.lock.json", "--out", "more")
    assert done.status != 0
    assert "parts now means more files than were compared on: c.csv" in done.err
    plain[60:-1].to_csv("parts/b.csv", index=False)
    done = run("compare", *words, "--out", "o")
    assert done.status != 0
    assert "other data" in done.err or "b.csv" in done.err


@pytest.mark.parametrize("memory", [(), SMALL], ids=["whole", "parts"])
@pytest.mark.parametrize("command", ["fit", "compare", "inspect", "predict"])
def test_folders_that_hold_no_table_are_refused(run, folder, table, command, memory) -> None:
    save(MultiTaskRegressor(task_column="shop").fit(table[["price", "shop"]], table.sold),
         "m.polytask")  # fmt: skip
    source = ("m.polytask", "parts") if command == "predict" else ("parts", *ROLES)
    out = () if command == "inspect" else ("--out", "o.csv")

    def refused(said: str) -> None:
        done = run(command, *source, *memory, *out)
        assert done.status != 0
        assert said in done.err
        assert "bug" not in done.err
        assert not Path("o.csv").exists()

    Path("parts").mkdir()
    refused("Folder parts holds no files: expected the parts of a table.")
    table[:100].to_parquet("parts/a.parquet")
    table[100:].drop(columns="price").to_parquet("parts/b.parquet")
    refused("has no column 'price', which")
    table[100:].assign(price="much").to_parquet("parts/b.parquet")
    refused("'price'")
    table[100:].to_csv("parts/b.csv", index=False)
    refused("Folder parts holds files of different kinds, such as parts/a.parquet and")


def test_levels_and_gaps_that_only_some_files_have(run, folder, table) -> None:
    Path("parts").mkdir()
    table["number"] = table["number"].astype(object)
    table.loc[:99, "number"] = None
    table["colour"] = table["colour"].astype("category")
    table[:100].to_parquet("parts/a.parquet")
    table[100:].astype({"colour": str, "number": int}).to_parquet("parts/b.parquet")
    done = run("inspect", "parts", "--json")
    assert done.status == 0, done.err
    found = {each["name"]: each for each in json.loads(done.out)["columns"]}
    assert found["colour"]["distinct"] == 3
    assert (found["number"]["missing"], found["number"]["distinct"]) == (1 / 3, 200)


def test_a_table_in_parts_has_no_sheets(run, folder, table) -> None:
    table.to_csv("t.csv", index=False)
    done = run("fit", "t.csv", *ROLES, *SMALL, "--sheet", "first", "--out", "m.polytask")
    assert done.status != 0
    assert "t.csv has no sheets" in done.err


def test_rows_are_counted_in_the_whole_file(run, folder, table) -> None:
    table.loc[200, "sold"] = np.nan
    table.to_csv("t.csv", index=False)
    done = run("fit", "t.csv", *ROLES, *SMALL, "--out", "m.polytask")
    assert done.status != 0
    assert "202" in done.err
    done = run("fit", "t.csv", *ROLES, *SMALL, "--drop-missing-target", "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "299" in done.out


def test_a_target_of_words_in_a_later_part_is_refused(run, folder, table) -> None:
    table = table.astype({"sold": str})
    table.loc[250, "sold"] = "many"
    table.to_csv("t.csv", index=False)
    done = run("fit", "t.csv", *ROLES, *SMALL, "--out", "m.polytask")
    assert done.status != 0
    assert not Path("m.polytask").exists()


def fitted(run, table: pd.DataFrame) -> None:
    """Fit the table in memory."""
    table.to_csv("train.csv", index=False)
    roles = (*ROLES, "--weight", "weight", "--id", "number", "--model", "learned prior")
    assert run("fit", "train.csv", *roles, "--out", "m.polytask").status == 0


def strange(table: pd.DataFrame) -> pd.DataFrame:
    """Return new rows in which much is odd."""
    table = table.drop(columns="sold")
    table.loc[[5, 250], "colour"] = "violet"
    table.loc[[6, 251], "price"] = [1e6, -1e7]
    table.loc[[7, 252], "price"] = np.nan
    table.loc[[8, 9, 253], "shop"] = ["east", "east", "up"]
    table["kept"] = pd.array([None, *range(299)], dtype="Int64")
    table["text"] = [None] * 100 + ["a"] * 200
    return table


@pytest.mark.parametrize("suffix", ["tsv", "csv.gz", "parquet", "arrow"])
def test_predictions_in_parts_are_those_of_the_whole(run, folder, table, suffix) -> None:
    fitted(run, table)
    write_table(strange(table), f"new.{suffix}")
    words = ("--id", "number", "--keep", "kept", "--keep", "text", "--unseen-tasks", "shared")
    said = []
    for out, memory in (("parts", SMALL), ("whole", ("--memory", "1GB"))):
        name = f"{out}.{suffix}"
        done = run("predict", "m.polytask", f"new.{suffix}", *words, *memory, "--out", name,
                   "--interval", "0.9")  # fmt: skip
        assert done.status == 0, done.err
        lines = [line for line in done.err.splitlines() if "rows read, " not in line]
        said.append([line for line in lines if "in parts" not in line])
        assert ("in parts" in done.err) == (out == "parts")
    assert said[0] == said[1]
    assert any("violet" in line for line in said[0])
    assert any("-1e+07" in line for line in said[0])
    parts, whole = (read_table(f"{out}.{suffix}").table for out in ("parts", "whole"))
    assert len(parts) == 300
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-12)


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        """Write, or say that there is no room."""
        self.room -= len(memoryview(data))
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self.file.write(data))

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize(
    ("suffix", "room"), in_turn(["csv", "csv.gz", "parquet", "arrow"], [2000, 0])
)
def test_a_full_disk_leaves_what_was_there(run, folder, table, monkeypatch, suffix, room) -> None:
    fitted(run, table)
    pd.concat([table] * 8).to_csv("new.csv", index=False)
    out = Path(f"p.{suffix}")
    out.write_text("before")
    opened = Path.open
    monkeypatch.setattr(
        Path, "open",
        lambda path, *given, **named: (
            Full(opened(path, *given, **named), room)
            if path.suffix == ".part"
            else opened(path, *given, **named)
        ),
    )  # fmt: skip
    done = run("predict", "m.polytask", "new.csv", *SMALL, "--out", out, "--force")
    assert done.status != 0
    assert f"{out}" in done.err
    assert "No space left on device" in done.err
    assert "bug" not in done.err
    assert out.read_text() == "before"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["m.polytask", "new.csv", out.name, "train.csv"]
    )


def test_a_refusal_on_the_way_leaves_nothing(run, folder, table) -> None:
    fitted(run, table)
    table.loc[250, "shop"] = "east"
    table.to_csv("new.csv", index=False)
    done = run("predict", "m.polytask", "new.csv", *SMALL, "--out", "p.csv")
    assert done.status != 0
    assert "'east'" in done.err
    assert not Path("p.csv").exists()


def test_an_empty_table_is_refused(run, folder, table) -> None:
    fitted(run, table)
    pq.write_table(pa.Table.from_pandas(table[:0]), "new.parquet")
    done = run("predict", "m.polytask", "new.parquet", "--out", "p.csv")
    assert done.status != 0
    assert "has a header but no rows" in done.err or "no rows" in done.err


def odd_columns() -> pd.DataFrame:
    """Return columns of every kind, twins, identifiers, gaps and labels that look alike."""
    rng = np.random.default_rng(0)
    n = 400
    made = pd.DataFrame({"row": np.arange(n), "code": [f"c{k}" for k in range(n)]})
    made["width"] = rng.normal(size=n)
    made["again"] = made["width"]
    made["late gap"] = rng.integers(50, size=n).astype(float)
    made.loc[350:, "late gap"] = np.nan
    made["nothing"], made["same"] = None, 3
    made["early gap"] = [None] * 100 + ["x", "x", "y"] * 100
    made["flag"] = rng.integers(2, size=n).astype(bool)
    made["when"] = pd.date_range("2024-01-01", periods=n)
    made["day"] = [f"{k % 28 + 1:02d}/02/2024" for k in range(n)]
    made["town"] = np.repeat([f"t{k}" for k in range(8)], 50)
    made["school"] = rng.integers(7, size=n)
    made["colour"] = rng.choice(["red", "green", "green "], n)
    made["late word"] = ["plain"] * 300 + ["a", "b"] * 50
    made["two"] = [1] * 390 + [2] * 10
    made["third late"] = rng.integers(2, size=n).astype(float)
    made.loc[399, "third late"] = 2.5
    made["sold"] = made["width"] * 3 + rng.normal(size=n)
    made.loc[[5, 390], "sold"] = np.nan
    return made


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_in_parts_is_inspected_as_the_whole(run, folder, suffix) -> None:
    table = odd_columns()
    write_table(table, f"t.{suffix}")
    for words in (
        (),
        ("--task", "town", "--target", "sold"),
        ("--target", "third late", "--target", "two", "--target", "late word", "--target", "flag"),
    ):
        whole = run("inspect", f"t.{suffix}", *words, "--json")
        parts = run("inspect", f"t.{suffix}", *words, "--json", *SMALL)
        assert parts.status == whole.status == 0, parts.err
        assert json.loads(parts.out) == json.loads(whole.out)
        assert "looked for in its first 500 rows" in parts.err
        assert "400 rows read" in parts.err
    likely = json.loads(run("inspect", f"t.{suffix}", "--json", *SMALL).out)["likely_tasks"]
    assert likely[:2] == [["school", 7], ["town", 8]]


def test_what_parts_do_not_tell_is_said(run, folder, monkeypatch) -> None:
    monkeypatch.setattr(files, "MOST_VALUES", 60)
    table = odd_columns()
    table.to_csv("t.csv", index=False)
    done = run("inspect", "t.csv", "--task", "code", *SMALL)
    assert done.status == 0, done.err
    lines = {line.split(":")[0].strip(): line for line in done.out.splitlines()}
    assert "more than 60 different values, which are not counted further" in lines["width"]
    assert "> 60" in done.out
    # Row numbers and twins are seen nevertheless, and tasks are all counted.
    assert "nearly every value different" in lines["row"]
    assert "same as width" in lines["again"]
    assert "Tasks by 'code': 400, with 1 row" in done.out
    done = run("inspect", "t.csv", "--target", "width", *SMALL, "--lang", "zh")
    assert done.status == 0, done.err
    assert "不同的值超过 60 个" in done.out


def test_a_target_that_is_refused_in_a_later_part_names_its_row(run, folder, table) -> None:
    table = table.astype({"sold": str})
    table.loc[250, "sold"] = "many"
    table.to_csv("t.csv", index=False)
    whole = run("inspect", "t.csv", *ROLES)
    parts = run("inspect", "t.csv", *ROLES, *SMALL)
    assert parts.status == whole.status == 2
    assert "'many' in row 252" in parts.err
    assert whole.err.splitlines()[-1] in parts.err


def test_statistics_that_do_not_fit_are_refused(run, folder, table) -> None:
    table.to_csv("t.csv", index=False)
    for words in (("fit", "t.csv"), ("compare", "t.csv")):
        done = run(*words, *ROLES, "--memory", "2KB", "--out", "o")
        assert done.status == 2
        assert "The statistics of t.csv take" in done.err
        assert "rows read" not in done.err
        assert not Path("o").exists()


PEAK = """
import resource, sys
from polytask.cli import main
status = main(sys.argv[1:])
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak(*words: str) -> float:
    """Return the most bytes that a command in a process of its own held."""
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True,
                          check=True)  # fmt: skip
    status, size = done.stdout.split()[-2:]
    assert status == "0", done.stderr
    return float(size)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("command", ["fit", "inspect"])
def test_memory_is_bounded_where_columns_are_many(folder, command) -> None:
    rng, bound = np.random.default_rng(0), 50e6
    for name, n in (("few", 1000), ("many", 60_000)):
        with pq.ParquetWriter(f"{name}.parquet", wide_schema(), compression="none") as writer:
            for _ in range(0, n, min(n, 6000)):
                values = rng.normal(size=(min(n, 6000), 200))
                columns = [*values.T, rng.integers(4, size=len(values)), values[:, 0] ** 2]
                writer.write_table(pa.table(columns, schema=wide_schema()))
    roles = ("--task", "task", "--target", "y", "--quiet")
    words = ("--model", "multitask", "--penalty", "L2(1)", "--force", "--out", "m.polytask")
    words = words if command == "fit" else ()
    small = peak(command, "few.parquet", *roles, "--memory", "5MB", *words)
    large = peak(command, "many.parquet", *roles, "--memory", "50MB", *words)
    # 200,000 rows at a time, as many columns as there are, take 320 MB once.
    assert large - small < 1.6 * bound


def wide_schema() -> pa.Schema:
    """Return 200 features, a task and a target."""
    names = [(f"x{j}", pa.float64()) for j in range(200)]
    return pa.schema([*names, ("task", pa.int64()), ("y", pa.float64())])


def test_relatedness_of_a_large_table_is_refused(run, folder, table) -> None:
    table.to_csv("t.csv", index=False)
    done = run("inspect", "t.csv", "--related", *ROLES, *SMALL)
    assert done.status == 2
    assert "fit a model, which polytask fit does in parts" in done.err


BAD_CELLS = [("price", "fit"), ("shop", "fit"), ("weight", "compare"), ("shop", "predict")]


@pytest.mark.parametrize("more", [(), ("--drop-missing-target",)])
@pytest.mark.parametrize(("bad", "command"), BAD_CELLS)
def test_a_bad_cell_is_named_by_its_row_in_the_file(run, table, more, bad, command) -> None:
    fitted(run, table)
    # More than the first rows, of which a fit is tried.
    table = pd.concat([table] * 4, ignore_index=True)
    if more:
        table.loc[[5, 100, 1010, 1140], "sold"] = np.nan
    table.loc[1150, bad] = {"price": np.inf, "weight": -1.0}.get(bad)
    table.to_csv("t.csv", index=False)
    Path("rows").mkdir()
    for k in range(2):
        table[1000 * k : 1000 * k + 1000].to_csv(f"rows/{k}.csv", index=False)
    roles = (*ROLES, "--weight", "weight", "--id", "number", *more)

    def said(source: str, *memory: str) -> str:
        words = ("m.polytask", source) if command == "predict" else (source, *roles)
        done = run(command, *words, *memory, "--out", "out.csv")
        assert done.status == 2
        assert not Path("out.csv").exists()
        return next(line for line in done.err.splitlines() if line.startswith("Error:"))

    for memory in ((), SMALL):
        assert re.search(r"row \(?1152\b", said("t.csv", *memory))
    assert re.search(r"^Error: rows/1\.csv: .*row \(?152\b", said("rows", *SMALL))
