"""Threads of BLAS while a model is fitted."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from polytask import MultiTaskRegressor, MultiTaskRegressorIC
from polytask.penalties import L21
from polytask.solvers import AcceleratedGradient, Solver


def threads() -> set[int]:
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


class Watching(Solver):
    """A solver that notes how many threads it has."""

    def __init__(self) -> None:
        self.seen = []
        self.solver = AcceleratedGradient()

    def accepts(self, datafit, penalty):
        return self.solver.accepts(datafit, penalty)

    def solve(self, datafit, penalty, *, tol, max_iter, start=None):
        self.seen.append(threads())
        return self.solver.solve(datafit, penalty, tol=tol, max_iter=max_iter, start=start)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(60, 5)), np.repeat([0, 1], 30)
    return X, X[:, 0] + rng.normal(size=60), task


@pytest.fixture
def two_threads():
    # The OpenBLAS of SciPy 1.14.0 crashes with more threads than processors.
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one processor")
    with threadpool_limits(2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("this BLAS does not follow threadpoolctl")
        yield


@pytest.mark.parametrize(("n_jobs", "expected"), [(None, 1), (1, 1), (-1, 2)])
def test_iterations_have_one_thread_unless_chosen(n_jobs, expected, rows, two_threads):
    solver = Watching()
    MultiTaskRegressor(L21(0.1), solver=solver, n_jobs=n_jobs).fit(*rows)
    by_criterion = MultiTaskRegressorIC(L21(), criterion="bic", solver=solver, n_jobs=n_jobs)
    by_criterion.fit(*rows)
    assert len(solver.seen) > 3
    assert all(seen == {expected} for seen in solver.seen)
    assert threads() == {2}


def test_a_failed_fit_gives_the_threads_back(rows, two_threads):
    solver = Watching()
    solver.solver = None
    with pytest.raises(AttributeError):
        MultiTaskRegressor(L21(0.1), solver=solver).fit(*rows)
    assert threads() == {2}


OVERLAP = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from threadpoolctl import threadpool_info
from polytask.linear.fitting import iterating

def threads():
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}

first_in, both_in, first_out = Barrier(2), Barrier(2), Barrier(2)

def first():
    with iterating():
        inside = threads()
        first_in.wait(timeout=30)
        both_in.wait(timeout=30)
    first_out.wait(timeout=30)
    return inside

def second():
    first_in.wait(timeout=30)
    with iterating():
        both_in.wait(timeout=30)
        first_out.wait(timeout=30)

before = threads()
with ThreadPoolExecutor(2) as pool:
    early, late = pool.submit(first), pool.submit(second)
    assert early.result() == {1}
    late.result()
assert threads() == before, (threads(), before)
"""


@pytest.mark.slow
def test_fits_that_overlap_give_the_threads_back():
    place = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", OVERLAP], env=place, check=True, timeout=300)
