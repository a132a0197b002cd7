"""Threads, forks, processes within processes, disks without room, folders and clocks."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_array_equal

from polytask import (
    AutoMultiTaskRegressor,
    BayesianMultiTaskRegressor,
    DataError,
    MultiTaskClassifier,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    save,
)
from polytask.data.readers import write_table
from polytask.penalties import L21, TraceNorm

RNG = np.random.default_rng(0)
X, TASK = RNG.normal(size=(60, 4)), np.repeat([0, 1, 2], 20)
Y = X[:, 0] + 0.5 * RNG.normal(size=60)
MODELS = [
    (MultiTaskRegressor(TraceNorm(0.1)), Y),
    (MultiTaskRegressorCV(L21(), alphas=3, cv=2), Y),
    (MultiTaskClassifier(L21(0.05)), Y > 0),
    (BayesianMultiTaskRegressor(), Y),
]


def coefficients(model, y):
    return model.fit(X, y, TASK).coef_


def test_fits_in_threads_are_those_of_one_after_the_other():
    alone = [coefficients(*one) for one in MODELS]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: coefficients(*one), MODELS * 3))
    for found, expected in zip(together, alone * 3, strict=True):
        assert_array_equal(found, expected)


def test_jobs_within_jobs_are_those_of_one():
    search = MultiTaskRegressorCV(L21(), alphas=3, cv=2, n_jobs=2)
    found = Parallel(n_jobs=2)(delayed(search.fit)(X, Y, TASK) for _ in range(2))
    for one in found:
        assert_array_equal(one.coef_, coefficients(search.set_params(n_jobs=1), Y))


FORKED = """
import os, sys
import numpy as np
from polytask import MultiTaskRegressor
X, task = np.random.default_rng(0).normal(size=(40, 3)), np.repeat([0, 1], 20)
before = MultiTaskRegressor().fit(X, X[:, 0], task).coef_
child = os.fork()
if child == 0:
    same = np.array_equal(MultiTaskRegressor().fit(X, X[:, 0], task).coef_, before)
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fit_after_a_fork():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=300)


def write(path):
    model = MultiTaskRegressor().fit(X, Y, TASK)
    if path.suffix == ".polytask":
        save(model, path)
    else:
        write_table(model.coef_frame(), str(path))


FILES = ["m.polytask", "t.csv", "t.csv.gz", "t.parquet", "t.arrow"]


@pytest.mark.parametrize("name", FILES)
def test_a_disk_that_is_full_at_any_write_leaves_what_was_there(tmp_path, monkeypatch, name):
    target = tmp_path / name
    target.write_text("before")
    opened, said = Path.open, []
    for room in itertools.count():
        left = itertools.repeat(None, room)

        class Full:
            """A file that takes so many calls."""

            def __init__(self, file, left=left):
                self.file, self.left = file, left

            def __getattr__(self, name):
                found = getattr(self.file, name)

                def call(*given):
                    if next(self.left, self) is self:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    return found(*given)

                return call if name in ("write", "flush", "fileno") else found

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.file.close()

        def full(path, *given, kind=Full, **named):
            file = opened(path, *given, **named)
            return kind(file) if path.suffix == ".part" else file

        monkeypatch.setattr(Path, "open", full)
        try:
            write(target)
            break
        except DataError as error:
            said.append(str(error))
        finally:
            monkeypatch.undo()
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert target.read_text() == "before"
    assert len(said) >= 3
    assert all(os.strerror(errno.ENOSPC) in told for told in said)
    assert target.stat().st_size > 100


@pytest.mark.parametrize("name", FILES)
def test_a_folder_that_takes_no_file(tmp_path, monkeypatch, name):
    def refused(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(DataError, match=rf"Cannot write .*{name}.*Permission denied"):
        write(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_clock_that_goes_back(tmp_path, monkeypatch):
    auto = AutoMultiTaskRegressor(
        ["separate", "pooled"], cv=2, time_budget=60, journal=tmp_path / "j"
    )
    expected = auto.fit(X, Y, TASK).predict(X, TASK)
    hours = itertools.count(0, -3600)
    start = time.time()
    monkeypatch.setattr(time, "time", lambda: start + next(hours))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * (start + next(hours))))
    assert_array_equal(auto.fit(X, Y, TASK).predict(X, TASK), expected)
    auto.set_params(journal=tmp_path / "other")
    assert_array_equal(auto.fit(X, Y, TASK).predict(X, TASK), expected)
    save(auto.set_params(journal=None), tmp_path / "m")
