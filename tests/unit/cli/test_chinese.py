"""Under ``--lang zh`` every sentence that a command prints is Chinese."""

from __future__ import annotations

import contextlib
import io
import re

import numpy as np
import pandas as pd
import pytest

from polytask import _progress
from polytask.cli import main
from polytask.cli.program import COMMANDS as COMMAND_NAMES
from polytask.selection.candidates import MODELS

FIT = ("dirty.csv", "--task", "shop", "--target", "sold", "--drop-missing-target", "--na", "n/a")
LEARN = (*FIT, "--drop", "day", "--folds", "2")
NEAR = "near the mean"
JOBS = ("--jobs", "1")
COMMANDS = {
    "inspect": ("inspect", "dirty.csv"),
    "inspect targets": ("inspect", "dirty.csv", "--task", "shop", "--target", "sold"),
    "inspect related": (
        *("inspect", "dirty.csv", "--related", "--task", "shop", "--target", "sold"),
        *("--drop-missing-target", "--drop", "day"),
    ),
    "fit": ("fit", *LEARN, "--out", "m.polytask"),
    "fit by time": ("fit", *FIT, "--time", "day", "--penalty", "L21", "--out", "t.polytask"),
    "fit the learned prior": (
        *("fit", *FIT, "--drop", "day", "--model", "learned-prior", "--unseen-tasks", "shared"),
        *("--out", "l.polytask"),
    ),
    "fit dates": (
        *("fit", *FIT, "--date-features", "--penalty", "L21", "--folds", "2"),
        *("--out", "d.polytask"),
    ),
    "fit classes": (
        *("fit", "dirty.csv", "--task", "shop", "--target", "kind", "--drop", "day,sold"),
        *("--folds", "2", "--out", "c.polytask"),
    ),
    "fit targets": (
        *("fit", "dirty.csv", "--target", "sold", "--target", "width", "--drop", "day"),
        *("--penalty", "TraceNorm", "--folds", "2", "--out", "w.polytask"),
    ),
    "inspect model": ("inspect", "m.polytask"),
    "inspect related model": ("inspect", "m.polytask", "--related"),
    "predict": ("predict", "l.polytask", "new.csv", "--out", "n.csv"),
    "explain": ("explain", "l.polytask", "new.csv", "--out", "e.csv"),
    "monitor": ("monitor", "l.polytask", "dirty.csv", "--target", "sold", "--out", "e.html"),
    "explain by sampling": (
        *("explain", "c.polytask", "dirty.csv", "--label", "red", "--out", "e.png"),
        *("--background", "dirty.csv", "--permutations", "8"),
    ),
    "adapt": (
        *("adapt", "m.polytask", "other.csv", "--target", "sold", "--drop-missing-target"),
        *("--out", "a.polytask"),
    ),
    "tune": (
        *("tune", *LEARN, "--trials", "3", "--choice", "task_weight=size,equal"),
        *("--out", "u.polytask"),
    ),
    "path": ("path", *LEARN, "--penalty", "L21", "--strengths", "4", "--out", "p.png"),
    "auto": (
        *("auto", *LEARN, "--models", "pooled", "--models", NEAR),
        *("--models", "separate", *JOBS, "--out", "b.polytask"),
    ),
    "compare": (
        *(
            "compare",
            *FIT,
            "--drop",
            "day",
            "--drop",
            " height ",
            "--models",
            "pooled",
            "--models",
            NEAR,
        ),
        *("--models", "separate", "--splits", "2", *JOBS, "--out", "out"),
    ),
    "rerun": ("rerun", "out/run.lock.json", *JOBS, "--out", "again"),
    "predict compared": ("predict", "out/model/model.polytask", "dirty.csv", "--out", "q.csv"),
}
# Names: of columns and their values, of commands, models, parameters and packages.
NAMES = {
    *("shop", "day", "width", "height", "price", "kind", "zip", "one", "gap", "sold", "column"),
    *("Red", "red", "green", "none", "violet", "alpha", "size", "equal", "bic", "UTF", "GB"),
    *("CPU", "NEW"),
    *("polytask", "python", "numpy", "scipy", "scikit", "learn", "dev"),
    *COMMAND_NAMES,
}


def _dirty(n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    width, height = rng.standard_normal((2, n))
    shop = np.array([f"s{k}" for k in rng.integers(0, 3, n)])
    price = 8 + 2 * rng.random(n)
    sold = width + 0.3 * height + 0.2 * price + (shop == "s1") + 0.3 * rng.standard_normal(n)

    def written(values, places=3):
        return [f"{value:.{places}f}".replace(".", ",") for value in values]

    table = pd.DataFrame(
        {
            "shop": shop,
            "day": pd.date_range("2024-01-01", periods=n).strftime("%d/%m/%Y"),
            "width": written(width),
            " height ": written(height),
            "price": [f"€ {cell}" for cell in written(price, 2)],
            "kind": rng.choice(["red", "green", "none"], n),
            "zip": [f"0{k:04d}" for k in rng.integers(0, 9, n)],
            "": np.arange(n),
            "one": 1,
            "gap": "",
            "sold": written(sold),
        }
    )
    table.loc[3, "width"], table.loc[5, "width"], table.loc[7, "kind"] = "NA", "", "Red"
    table.loc[9, "sold"], table.loc[11, " height "] = "n/a", "900,5"
    return table


@pytest.fixture(scope="module")
def printed(light, tmp_path_factory):
    """Run all commands in one folder; return the lines of each on both streams."""
    folder, found = tmp_path_factory.mktemp("dirty"), {}
    table = _dirty()
    table.to_csv(folder / "dirty.csv", sep=";", index=False, encoding="utf-8-sig")
    new = table.head(8).copy()
    new.loc[0, "kind"], new.loc[1, "shop"], new.loc[3, "width"] = "violet", "s9", "99999,5"
    new.loc[2, " height "] = ""
    new.to_csv(folder / "new.csv", sep=";", index=False)
    table.assign(shop="s7").head(30).to_csv(folder / "other.csv", sep=";", index=False)
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        # Progress is said at every step, as on a slow machine.
        patch.setattr(_progress, "_PAUSE", 0.0)
        for name, words in COMMANDS.items():
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main([*words, "--lang", "zh"])
            found[name] = (status, out.getvalue().splitlines(), err.getvalue().splitlines())
    return found


def english(line: str) -> list[str]:
    """Return the words of a line that are English and no name."""
    if line.startswith("  polytask "):
        return []
    models = "|".join(map(re.escape, sorted(MODELS, key=len, reverse=True)))
    line = re.sub(rf"'[^']*'|{models}", "", line)
    # Options, calls, arguments, files, parameters and classes.
    line = re.sub(r"--?[a-z-]+|\w+\([^()]*\)|\S+=\S*|\S+\.[a-z]{2,}\b|\w+_\w+", "", line)
    line = re.sub(r"[A-Z][a-z]+[A-Z]\w*", "", line)
    return [word for word in re.findall(r"[A-Za-z]{2,}", line) if word not in NAMES]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_line_is_chinese(printed, name):
    status, out, err = printed[name]
    assert status == 0, err[-1:]
    assert {line: words for line in [*out, *err] if (words := english(line))} == {}


# What options, losses, metrics and parameters are called, and what stands for a value.
OPTION_NAMES = {
    *("bool", "str", "float", "error", "shared", "gcv", "aicc", "bic", "ebic", "aic", "evidence"),
    *("comma", "semicolon", "tab", "pipe", "auto", "squared", "poisson", "gamma", "huber", "min"),
    *("pareto", "quantile", "logistic", "multinomial", "head", "unfreeze", "near", "source"),
    *("adapters", "shift", "new", "features", "entries", "lower", "upper", "note", "learned"),
    *("prior", "search", "multitask", "deep", "dirty", "HIGH", "LOW", "DATA", "TOML", "Optuna"),
    *("mse", "rmse", "mae", "deviance", "accuracy", "auc", "CHAR", "COL", "COLS", "DIR", "FIGURE"),
    *("Excel", "xlsx", "day", "month", "first"),
    *("FILE", "LEVEL", "LOCK", "MODEL", "NAME", "PATTERN", "REPORT", "TEXT", "TIME", "WORD"),
    *("majority", "pinball", "logloss", "log", "loss", "GB", "task", "school", "zh", "en", "or"),
    *("min", "resume", "prune", "exams", "score", "no", "json", "JSON", "csv", "svg"),
    *("feather", "arrow", "calibration", "brier", "install", "pip", "list", "SCHEMA", "STATS"),
    *("SIZE", "SHARE", "stats", "ADDRESS", "Dask", "tcp", "host", "Arrow", "Parquet"),
    # As older versions of typer show arguments and kinds of values.
    *(
        "CLASS",
        "TreeSHAP",
        "SHAP",
        "Tree",
        "png",
        "parquet",
        "md",
        "set",
        "Python",
        "ONNX",
        "onnx",
        "LOSS",
    ),
    *("FLOAT", "INTEGER", "data", "files", "model", "lock"),
}


@pytest.mark.parametrize("name", ["", *COMMAND_NAMES])
def test_help_is_chinese(monkeypatch, capsys, name):
    # So that no line is broken within a name.
    monkeypatch.setenv("COLUMNS", "2000")
    assert main([*filter(None, [name]), "--help", "--lang", "zh"]) == 0
    lines = capsys.readouterr().out.splitlines()
    lines = [line for line in lines if not line.strip().startswith("polytask ")]
    assert any("用法：" in line for line in lines)
    assert {word for line in lines for word in english(line)} <= OPTION_NAMES


def test_help_is_english_again(capsys):
    assert main(["fit", "--help", "--lang", "zh"]) == 0
    assert main(["fit", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "默认" in printed
    _, _, english_help = printed.partition("Usage: polytask fit [OPTIONS]")
    assert "[default: auto]" in english_help
    assert not re.search(r"[\u4e00-\u9fff]", english_help)


TASK = ("--task", "shop", "--target", "sold")
REFUSED = {
    "no command": ("fot",),
    "no option": ("inspect", "dirty.csv", "--frobnicate"),
    "wrong value": ("fit", "dirty.csv", *TASK, "--folds", "one"),
    "no choice": ("predict", "m.polytask", "new.csv", "--unseen-tasks", "guess"),
    "value missing": ("compare", "dirty.csv", "--task"),
    "inspect nothing": ("inspect", "no.csv"),
    "inspect out": ("inspect", "dirty.csv", "--out", "r.html"),
    "fit no target": ("fit", "dirty.csv", "--out", "m.polytask"),
    "fit no column": (
        "fit",
        "dirty.csv",
        "--task",
        "shap",
        "--target",
        "sold",
        "--out",
        "m.polytask",
    ),
    "fit text": (
        "fit",
        "dirty.csv",
        "--task",
        "shop",
        "--target",
        "width",
        "--loss",
        "squared",
        "--out",
        "m.polytask",
    ),
    "fit missing targets": ("fit", "dirty.csv", *TASK, "--na", "n/a", "--out", "m.polytask"),
    "fit dates": (
        "fit",
        "dirty.csv",
        *TASK,
        "--na",
        "n/a",
        "--drop-missing-target",
        "--out",
        "m.polytask",
    ),
    "fit ragged": ("fit", "ragged.csv", *TASK, "--out", "m.polytask"),
    "auto loss": (
        "auto",
        "dirty.csv",
        *TASK,
        "--classes",
        "--loss",
        "gamma",
        "--out",
        "m.polytask",
    ),
    "tune range": (
        "tune",
        "dirty.csv",
        *FIT[1:],
        "--drop",
        "day",
        "--range",
        "alpha",
        "--out",
        "m.polytask",
    ),
    "path figure": ("path", "dirty.csv", *TASK, "--out", "p.gif"),
    "predict no model": ("predict", "no.polytask", "dirty.csv", "--out", "p.csv"),
    "adapt source": (
        "adapt",
        "m.polytask",
        "dirty.csv",
        "--source",
        "x.csv",
        "--out",
        "a.polytask",
    ),
    "compare two ways": (
        "compare",
        "dirty.csv",
        *TASK,
        "--group",
        "kind",
        "--time",
        "day",
        "--out",
        "c",
    ),
    "compare model": ("compare", "dirty.csv", *TASK, "--models", "pool", "--out", "c"),
    "rerun": ("rerun", "no/run.lock.json", "--out", "again"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_refusal_is_chinese(light, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    _dirty().to_csv("dirty.csv", sep=";", index=False, encoding="utf-8-sig")
    (tmp_path / "ragged.csv").write_text("shop,sold\na,1\nb,2,3\nc,4\n", encoding="utf-8")
    (tmp_path / "m.polytask").touch()
    assert main(["--lang", "zh", *REFUSED[name]]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("错误：") for line in lines)
    assert {line: words for line in lines if (words := set(english(line)) - OPTION_NAMES)} == {}
