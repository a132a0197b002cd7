"""Problems with one design for all tasks, for the tests of block descent."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.datafits import (
    Features,
    NoIntercepts,
    PulledIntercepts,
    Samples,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    TiedIntercepts,
    collect_shared,
)
from polytask.losses import Squared
from polytask.penalties import Columns
from polytask.solvers import AcceleratedGradient, BlockDescent

INTERCEPTS = {
    "none": lambda T: NoIntercepts(),
    "free": lambda T: TiedIntercepts(np.arange(T)),
    "tied": lambda T: TiedIntercepts(np.zeros(T, dtype=np.intp)),
    "pulled": lambda T: PulledIntercepts(np.zeros(T, dtype=np.intp), 0.05),
}


def design(n, d, T, seed=0, level=0.5):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + level
    Y = X[:, : min(5, d)] @ rng.normal(size=(min(5, d), T)) + rng.normal(size=(n, T))
    return X, Y


def samples(X, Y, mode="free", rows=None, tasks=None, offset=None):
    """Return a datafit; `rows` and `tasks` are factors of the weights."""
    n, T = Y.shape
    rows = np.ones(n) if rows is None else rows
    tasks = np.ones(T) if tasks is None else tasks
    weight = np.multiply.outer(rows / rows.sum(), tasks)
    block = ScalarBlock(Shared(Features(X, offset), np.arange(T)), Squared(), Y, weight)
    return Samples((block,), INTERCEPTS[mode](T), X.shape[1], T)


def statistics(X, Y, mode="free"):
    block = samples(X, Y, mode).blocks[0]
    moments = collect_shared(block.design, block.y, block.weight, block.weight.sum(axis=0))
    return SquaredStatistics(moments, INTERCEPTS[mode](Y.shape[1]))


def resolved(datafit, penalty):
    bound = penalty.bind(Columns.plain(datafit.shape[1]))
    return bound.resolved(datafit.origin.gradient)


def agrees(datafit, penalty, tol=1e-9):
    """Require the answer of the other solver, by objective and certificate."""
    bound = resolved(datafit, penalty)
    found = BlockDescent().solve(datafit, bound, tol=tol)
    other = AcceleratedGradient().solve(datafit, bound, tol=tol)
    assert found.status.ok
    size = found.certificate.reference
    assert found.objective == pytest.approx(other.objective, abs=3 * tol * size)
    assert datafit.evaluate(found.W).value + bound.value(found.W) == pytest.approx(
        found.objective, rel=1e-10
    )
    assert 0 <= found.gap <= tol * size
    return found
