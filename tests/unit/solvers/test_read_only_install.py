"""Compiled kernels from an install that cannot be written to: kept elsewhere, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import polytask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the user's cache folder is not in HOME"),
]

PROGRAM = """
import gc
import json

import numpy as np

import polytask
from polytask.solvers import BlockDescent, SeparateDescent

rng = np.random.default_rng(0)
X, task = rng.normal(size=(60, 12)), np.repeat([0, 1, 2], 20)
Y = X[:, :4] @ rng.normal(size=(4, 3)) + rng.normal(size=(60, 3))
shared = polytask.MultiTaskRegressor(solver=BlockDescent()).fit(X, Y)
apart = polytask.MultiTaskRegressor(solver=SeparateDescent()).fit(X, Y[:, 0], task=task)
assert shared.solution_.status.ok
assert apart.solution_.status.ok

from numba.core.dispatcher import Dispatcher
from polytask.penalties.row_kernels import shrink_row

found = [f for f in gc.get_objects() if isinstance(f, Dispatcher)]
found = [f for f in found if f.__module__.startswith("polytask")]
kept = [f for f in found if type(f._cache).__name__ != "NullCache"]
print(json.dumps({
    "where": polytask.__file__,
    "hits": sum(sum(f.stats.cache_hits.values()) for f in kept) + shrink_row.cache_hits,
    "misses": sum(sum(f.stats.cache_misses.values()) for f in kept),
    "compiled": sum(len(f.signatures) for f in kept) + 1,
    "coef": np.concatenate([shared.coef_, apart.coef_]).ravel().tolist(),
}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder with a copy of the package in which nothing can be written."""
    root = tmp_path_factory.mktemp("site")
    package, source = root / "polytask", Path(polytask.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    folders = [package, *(path for path in package.rglob("*") if path.is_dir())]
    for folder in folders:
        # A superuser may write to any folder, but not to one whose name is taken by a file.
        (folder / "__pycache__").touch()
        folder.chmod(0o555)
    yield root
    for folder in folders:
        folder.chmod(0o755)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return the folder of a user."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first(site, home):
    """Return what the first process of the user finds."""
    return fitted(site, home)


def fitted(site, home):
    """Fit in a new process of a user with this home."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    folders = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    own = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment | threads | folders | own,
        capture_output=True,
        text=True,
        check=False,
        cwd=site,
    )
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["where"]).is_relative_to(site)
    return found


def test_a_second_process_recompiles_nothing(site, home, first):
    def written():
        return {path: path.stat().st_mtime_ns for path in home.rglob("*.nb[ci]")}

    files = written()
    second = fitted(site, home)
    assert files
    assert written() == files
    assert (first["hits"], second["misses"]) == (0, 0)
    # What is a part of another kernel is not looked for by itself.
    assert first["compiled"] >= second["compiled"] == second["hits"] > 5
    # Where arrays happen to lie in memory may decide about the last digit.
    np.testing.assert_allclose(second["coef"], first["coef"], rtol=1e-12, atol=1e-15)


@pytest.mark.exhaustive
def test_without_any_folder_the_answer_is_the_same(site, first, tmp_path):
    nowhere = tmp_path / "nowhere"
    nowhere.touch()
    found = fitted(site, nowhere)
    assert found["hits"] == found["misses"] == 0
    np.testing.assert_allclose(found["coef"], first["coef"], rtol=1e-12, atol=1e-15)
