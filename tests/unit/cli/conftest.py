"""Run the command line in this process, and tables to run it on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unit.cli._comparing import SAME, three_tasks
from unit.cli._running import run_in

from polytask.cli import main


@dataclass(frozen=True)
class Done:
    """What a run printed, and how it ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, capsys) -> Run:
    """Run ``polytask`` with arguments."""

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        status = main([str(word) for word in arguments])
        printed = capsys.readouterr()
        return Done(status, printed.out, printed.err)

    return call


@pytest.fixture
def plain() -> pd.DataFrame:
    """Return three tasks of forty rows: task g, features x and z, target y."""
    return three_tasks()


@pytest.fixture
def pupils() -> pd.DataFrame:
    """Return a mixed table with Chinese names, blanks, categories and booleans."""
    rng = np.random.default_rng(0)
    n = 160
    school = rng.integers(0, 4, n)
    table = pd.DataFrame(
        {
            "学校": [f"第{i}中学" for i in school],
            "编号": [f"S{i:04d}" for i in range(n)],
            "年龄": rng.normal(15, 1, n).round(2),
            "颜色": rng.choice(["红", "绿", "蓝"], n),
            "住校": rng.choice([True, False], n),
            "身高": rng.standard_normal(n),
        }
    )
    table["分数"] = 60 + 3 * table["身高"] + 2 * (table["颜色"] == "红") + school
    table["分数"] += 0.5 * rng.standard_normal(n)
    table["及格"] = np.where(table["分数"] > 63, "是", "否")
    table.loc[::17, "年龄"] = np.nan
    table.loc[::23, "颜色"] = None
    return table


@contextlib.contextmanager
def _three_strengths():
    from polytask.selection import learners

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learners, "ALPHAS", 3)
        yield


@pytest.fixture(scope="module")
def light():
    """Let searches try three strengths rather than twenty: what is tested here is not in them."""
    with _three_strengths():
        yield


@pytest.fixture(scope="session")
def _finished_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    three_tasks().to_csv(folder / "a.csv", index=False)
    with _three_strengths():
        status, out, err = run_in(folder, "compare", *SAME, "--out", "out")
    assert status == 0, err
    return folder, out, err


@pytest.fixture(scope="module")
def finished(light, _finished_once):
    """Return a finished comparison of three tasks: its folder, and what was printed."""
    return _finished_once


@pytest.fixture
def there(finished, tmp_path, monkeypatch):
    """Work in a copy of the folder of the finished comparison."""
    folder, _, _ = finished
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"
