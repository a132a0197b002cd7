"""Working sets of groups: the answers of the solver that works with all features, sooner."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from polytask import MultiTaskClassifier, MultiTaskRegressor
from polytask.exceptions import ConvergenceWarning, IncompatibleError
from polytask.penalties import (
    L1,
    L2,
    L21,
    GroupNorm,
    TraceNorm,
    toward_mean,
    weighted,
)
from polytask.solvers import AcceleratedGradient, GroupDescent, choose, group_descent
from polytask.solvers.base import Status

N, D, T = 60, 120, 3
GROUPS = [list(range(k, D, 24)) for k in range(24)]  # their features lie apart
UNEVEN = [[0], list(range(1, 8)), *[list(range(a, a + 4)) for a in range(8, D, 4)]]


def sample(seed=0, n=N, noise=0.5):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D)) + 0.7 * rng.standard_normal((n, 1)) + 1.0
    W = np.zeros((D, T))
    W[GROUPS[2]], W[GROUPS[9]] = rng.standard_normal((2, 5, T))
    return X, X @ W + noise * rng.standard_normal((n, T)) + 3.0


PENALTIES = {
    "plain": GroupNorm(groups=GROUPS, fraction=0.2),
    "uneven": GroupNorm(groups=UNEVEN, fraction=0.2),
    "weights": GroupNorm(0.05, groups=GROUPS, weights=np.linspace(1, 3, 24)),
    "free group": GroupNorm(0.3, groups=GROUPS, weights=np.arange(24.0)),
    "L1": GroupNorm(groups=GROUPS, fraction=0.2) + L1(0.02),
    "L21 and L2": GroupNorm(groups=GROUPS, fraction=0.1) + L21(0.02) + L2(0.1),
    "toward mean": GroupNorm(groups=GROUPS, fraction=0.1) + toward_mean(0.1),
    "dense": GroupNorm(groups=GROUPS, fraction=0.02) + L2(0.05),
}


def objective(model):
    assert model.solution_.status.ok
    assert model.solution_.certificate.relative <= model.tol
    return model.solution_.objective


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "targets") for name in PENALTIES]
    + [(name, kind) for name in ("uneven", "L21 and L2") for kind in ("moments", "sparse", "long")]
    + [("plain", "gaps"), ("weights", "moments")],
)
def test_the_answer_is_that_with_all_features(name, kind):
    X, Y = sample(n=200 if kind == "moments" else N)
    given = {"X": X, "y": Y}
    if kind == "sparse":
        given["X"] = sp.csr_array(np.where(np.abs(X) > 1, X, 0.0))
    if kind == "long":
        given = {"X": X, "y": Y[np.arange(N), np.arange(N) % T], "task": np.arange(N) % T}
    if kind == "gaps":
        given["y"] = np.where(np.random.default_rng(1).random(Y.shape) < 0.8, Y, np.nan)
    ours, theirs = (
        MultiTaskRegressor(PENALTIES[name], solver=solver, tol=1e-8).fit(**given)
        for solver in (GroupDescent(), AcceleratedGradient())
    )
    assert objective(ours) == pytest.approx(objective(theirs), rel=1e-7)
    np.testing.assert_allclose(
        ours.predict(X, given.get("task")), theirs.predict(X, given.get("task")), atol=2e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize("levels", [2, 3])
def test_classes(levels):
    X, Y = sample()
    y = np.digitize(Y[:, 0], np.quantile(Y[:, 0], [0.4, 0.7])[: levels - 1])
    ours, theirs = (
        MultiTaskClassifier(PENALTIES["plain"], solver=solver, tol=1e-8).fit(X, y)
        for solver in (GroupDescent(), AcceleratedGradient())
    )
    assert objective(ours) == pytest.approx(objective(theirs), rel=1e-6)


def test_only_what_is_needed_is_worked_with(monkeypatch):
    X, Y = sample()
    plain, sizes = group_descent._of_features, []

    def spied(datafit, rows):
        sizes.append(len(rows))
        return plain(datafit, rows)

    monkeypatch.setattr(group_descent, "_of_features", spied)
    model = MultiTaskRegressor(PENALTIES["plain"], solver=GroupDescent()).fit(X, Y)
    used = np.flatnonzero(np.abs(model.coef_).max(axis=0))
    assert set(GROUPS[2]) | set(GROUPS[9]) <= set(used.tolist())
    assert sizes
    assert max(sizes) <= D / 2
    sizes.clear()
    MultiTaskRegressor(PENALTIES["dense"], solver=GroupDescent()).fit(X, Y)
    assert not sizes or max(sizes) <= D / 2


def test_a_start_that_is_the_answer_needs_nothing():
    X, Y = sample()
    model = MultiTaskRegressor(PENALTIES["plain"], solver=GroupDescent(), warm_start=True)
    first = model.fit(X, Y).n_iter_
    assert model.fit(X, Y).solution_.n_iter == 0 < first


def test_few_iterations():
    X, Y = sample()
    with pytest.warns(ConvergenceWarning):
        model = MultiTaskRegressor(PENALTIES["plain"], solver=GroupDescent(), max_iter=1).fit(X, Y)
    assert model.solution_.status is Status.MAX_ITER


def test_above_the_null_strength():
    X, Y = sample()
    model = MultiTaskRegressor(GroupNorm(100.0, groups=GROUPS), solver=GroupDescent()).fit(X, Y)
    assert model.solution_.status is Status.ALL_ZERO


def test_what_is_refused():
    X, Y = sample()
    for penalty in (
        L21(0.1),
        TraceNorm(0.1),
        GroupNorm(0.1, GROUPS) + weighted(L2(0.1), np.ones(D)),
    ):
        with pytest.raises(IncompatibleError, match="GroupDescent needs a norm of groups"):
            MultiTaskRegressor(penalty, solver=GroupDescent()).fit(X, Y)
    with pytest.raises(IncompatibleError, match="kinks"):
        MultiTaskRegressor(PENALTIES["plain"], loss="quantile", solver=GroupDescent()).fit(X, Y)


def test_large_problems_take_it():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((200, 1000)), rng.standard_normal((200, 6))
    penalty = GroupNorm(groups=np.arange(1000).reshape(100, 10).tolist(), fraction=0.5)
    chosen = []

    def spied(datafit, bound, repeats):
        chosen.append(choose(datafit, bound, repeats))
        return chosen[-1]

    from polytask.linear import fitting as _fitting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fitting, "choose", spied)
        MultiTaskRegressor(penalty).fit(X, Y)
        MultiTaskRegressor(GroupNorm(groups=[[0, 1], [2]], fraction=0.5)).fit(X[:, :3], Y)
    assert isinstance(chosen[0], GroupDescent)
    assert not isinstance(chosen[1], GroupDescent)
