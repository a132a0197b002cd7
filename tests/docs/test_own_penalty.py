"""The penalty that the documentation adds from outside: short, lawful, fast, compiled once."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from polytask import MultiTaskRegressor
from polytask.solvers import AcceleratedGradient, BlockDescent
from polytask.testing import check_penalty

PAGE = Path(__file__).resolve().parents[2] / "docs" / "penalties.md"
FENCE = "```py\n"

PROGRAM = """
import json

import numpy as np

from group_elastic import GroupElastic, shrink
from polytask import MultiTaskRegressor
from polytask.solvers import BlockDescent, _kernels

X = np.random.default_rng(0).normal(size=(30, 50))
for alpha in (0.1, 0.2):
    model = MultiTaskRegressor(GroupElastic(alpha), solver=BlockDescent()).fit(X, X[:, :3])
    assert model.solution_.status.ok
    assert 0 < model.coef_.any(axis=0).sum() < 50
hits = {"shrink": [shrink.cache_hits, 1]}
for made in (_kernels.sweep_block, _kernels.sweep_gram, _kernels.prox_violation):
    hits[made.__name__] = [sum(made.stats.cache_hits.values()), len(made.signatures)]
print(json.dumps(hits))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    page = PAGE.read_text(encoding="utf-8")
    source = page.split(FENCE)[1].split("```")[0]
    place = tmp_path_factory.mktemp("outside")
    (place / "group_elastic.py").write_text(source, encoding="utf-8")
    return place


def test_the_penalty_is_short_and_lawful_and_runs_in_block_descent(folder, monkeypatch):
    source = (folder / "group_elastic.py").read_text(encoding="utf-8")
    assert len([line for line in source.splitlines() if line.strip()]) < 30
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder / "here"))
    penalty = importlib.import_module("group_elastic").GroupElastic(0.3)
    check_penalty(penalty)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 60))
    Y = X[:, :4] @ rng.normal(size=(4, 3)) + rng.normal(size=(40, 3))
    found = {
        type(solver).__name__: MultiTaskRegressor(penalty, solver=solver, tol=1e-9).fit(X, Y)
        for solver in (BlockDescent(), AcceleratedGradient())
    }
    fast, slow = found.values()
    np.testing.assert_allclose(fast.coef_, slow.coef_, atol=1e-6)
    assert 0 < fast.coef_.any(axis=0).sum() < 60
    monkeypatch.delitem(sys.modules, "group_elastic")


@pytest.mark.slow
def test_a_second_process_compiles_nothing(folder):
    cache = folder / "cache"
    threads = {"NUMBA_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}

    def run():
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(
            command, env=os.environ | threads, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    def written():
        return {f: f.stat().st_mtime_ns for f in cache.rglob("*.nb[ci]")}

    first, files = run(), written()
    second = run()
    assert any("shrink" in f.name for f in files)
    assert written() == files
    assert all(hits == 0 for hits, _ in first.values())
    assert len(second) == 4
    assert all(hits == signatures == 1 for hits, signatures in second.values())
