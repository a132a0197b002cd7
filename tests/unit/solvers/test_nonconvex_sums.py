"""Non-convex penalties beside others, and what is said where no solver takes a penalty."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from polytask import MultiTaskRegressor, MultiTaskRegressorCV
from polytask.exceptions import IncompatibleError
from polytask.penalties import (
    L1,
    L21,
    MCP,
    SCAD,
    FusedTasks,
    GroupNorm,
    LatentTasks,
    TraceNorm,
    dirty,
    robust,
    sparse_low_rank,
    weighted,
)
from polytask.solvers.base import Status

TASK = np.repeat([0, 1, 2], 20)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5))
Y = X[:, 0] + RNG.standard_normal(60)
GROUPS = [[0, 1], [2, 3, 4]]

SUMS = {
    "MCP + L1": lambda a: MCP(a) + L1(a),
    "MCP + TraceNorm": lambda a: MCP(a) + TraceNorm(a),
    "MCP + GroupNorm": lambda a: MCP(a) + GroupNorm(a, GROUPS),
    "SCAD + FusedTasks": lambda a: SCAD(a) + FusedTasks(a),
    "weighted MCP + L1": lambda a: weighted(MCP(a), [1, 1, 0, 1, 1]) + L1(a),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("loss", ["squared", "huber", "quantile"])
def test_sums_with_one_that_is_not_convex_end_where_no_small_step_helps(name, loss):
    penalty = SUMS[name](0.1)
    model = MultiTaskRegressor(penalty, loss=loss, intercept=None, tol=1e-7).fit(X, Y, TASK)
    assert model.solution_.status is Status.STATIONARY
    W = model.coef_.T
    bound = penalty
    for seed, size in itertools.product(range(20), (1e-3, 1e-2)):
        step = np.random.default_rng(seed).standard_normal(W.shape)
        # Along zero rows too, where the kinks are.
        for change in (step, step * (W != 0)):
            assert (
                _objective(W + size * change, loss, bound)
                >= _objective(W, loss, bound) - 1e-5 * size
            )


def _objective(W, loss, penalty):
    residual = Y - np.einsum("ij,ji->i", X, W[:, TASK])
    losses = {
        "squared": 0.5 * residual**2,
        "huber": np.where(
            np.abs(residual) <= 1.35, 0.5 * residual**2, 1.35 * np.abs(residual) - 1.35**2 / 2
        ),
        "quantile": 0.5 * np.abs(residual),
    }[loss]
    return losses.sum() / 20 + penalty.value(W)


@pytest.mark.slow
def test_a_search_over_such_a_sum():
    model = MultiTaskRegressorCV(MCP() + L1(), alphas=3, cv=2).fit(X, Y, TASK)
    assert model.solution_.status.ok


REFUSED = {
    "kinks and parts": (robust(0.1, 0.1), "quantile", "use loss='huber'"),
    "kinks and a ball": (sparse_low_rank(0.1, radius=1.0), "quantile", "use loss='huber'"),
    "kinks and factors": (LatentTasks(0.1), "quantile", "use loss='huber'"),
    "factors and more": (LatentTasks(0.1) + L1(0.1), "squared", "use it alone, or TraceNorm"),
    "parts and a kink": (robust(0.1, 0.1) + L21(0.1), "squared", "Make it a member of the parts"),
    "parts twice": (robust(0.1, 0.1) + dirty(0.1, 0.1), "huber", "make one Parts"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_solver_takes_says_what_to_use_instead(name):
    penalty, loss, advice = REFUSED[name]
    with pytest.raises(IncompatibleError) as refused:
        MultiTaskRegressor(penalty, loss=loss).fit(X, Y, TASK)
    assert advice in str(refused.value)
    assert "solver=" not in str(refused.value)


def test_coefficients_that_are_there_are_not_said_to_appear():
    found = MultiTaskRegressor(MCP(0.3)).fit(X, Y, TASK).solution_
    assert found.W.any()
    assert found.null_strength is None
    empty = MultiTaskRegressor(MCP(30.0)).fit(X, Y, TASK).solution_
    assert empty.status is Status.ALL_ZERO
    assert "Coefficients appear below" in empty.message
