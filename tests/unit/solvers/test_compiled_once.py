"""Compiled kernels are kept on disk: a second process compiles nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json
import sys

import numpy as np

import polytask

assert "numba" not in sys.modules, "numba is imported only when a solver needs it"
from polytask.penalties import L1, L21
from polytask.solvers import BlockDescent, SeparateDescent

X = np.random.default_rng(0).normal(size=(30, 10))
for penalty in (L21(fraction=0.1), L1(fraction=0.1)):
    model = polytask.MultiTaskRegressor(penalty, solver=BlockDescent()).fit(X, X[:, :3])
    assert model.solution_.status.ok

task = np.repeat([0, 1], 15)
model = polytask.MultiTaskRegressor(solver=SeparateDescent()).fit(X, X[:, 0], task=task)
assert model.solution_.status.ok

from polytask.penalties import row_kernels
from polytask.solvers import _gram_kernels, _kernels, _kernels_dense, _kernels_path
from polytask.solvers import _kernels_sparse

modules = (_gram_kernels, _kernels, _kernels_dense, _kernels_path, _kernels_sparse)
names = {"sweep_block", "sweep_gram", "prox_violation", "sweep_dense", "sweep_sparse"}
names |= {"sweep_gram_often", "follow"}
made = {name: vars(m)[name] for m in modules for name in names & vars(m).keys()}
found = {name: [sum(f.stats.cache_hits.values()), len(f.signatures)] for name, f in made.items()}
found["shrink_row"] = [row_kernels.shrink_row.cache_hits, 1]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path):
    # The folder stands for that of a user who cannot write to the installed package.
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM]

    def run():
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def written():
        return {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.nb[ci]")}

    first, files = run(), written()
    second = run()
    assert files
    assert written() == files
    assert len(first) == 8
    assert all(hits == 0 for hits, _ in first.values())
    assert all(hits == signatures == 1 for hits, signatures in second.values())
