"""Every way of sharing, and every balancer, under the estimators."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from polytask import load, save  # noqa: E402
from polytask.deep import MLP, DeepMultiTaskClassifier, DeepMultiTaskRegressor, balancing, sharing  # noqa: E402

QUICK = {"trunk": MLP((8, 6)), "max_epochs": 3, "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
TASK = np.tile(["a", "b", "c"], 30)
Y = np.abs(X[:, 0]) + X[:, 1] * (TASK == "b")
WAYS = [
    sharing.Hard(),
    sharing.Soft(),
    sharing.CrossStitch(),
    sharing.MMoE(3),
    sharing.CGC(2, 1),
    sharing.PLE(),
    sharing.FiLM(),
    sharing.DSelectK(4, 2),
    sharing.MTAN(),
    sharing.Tree([[0, 0, 1], [0, 0, 1]]),
    sharing.Branching(2),
]


@pytest.mark.parametrize("way", WAYS, ids=repr)
def test_every_way_of_sharing_in_every_form(way, tmp_path):
    settings = {**QUICK, "sharing": way, "unseen_tasks": "shared"}
    long = DeepMultiTaskRegressor(**settings).fit(X, Y, TASK)
    found = long.predict(X, TASK)
    for label in "abc":
        own = label == TASK
        assert_allclose(long.predict(X[own], TASK[own]), found[own], rtol=1e-4, atol=1e-6)
    assert np.isfinite(long.predict(X, np.repeat("z", 90))).all()
    wide = np.column_stack([Y, -Y, X[:, 2]])
    targets = DeepMultiTaskRegressor(**settings).fit(X, wide)
    assert targets.predict(X).shape == (90, 3)
    assert np.isfinite(targets.history_.held_out).all()
    classes = DeepMultiTaskClassifier(**settings).fit(X, np.where(Y > 1, "p", "q"), TASK)
    assert set(classes.predict(X, TASK)) <= {"p", "q"}
    save(targets, tmp_path / "model.polytask")
    assert_array_equal(load(tmp_path / "model.polytask").predict(X), targets.predict(X))


@pytest.mark.slow
@pytest.mark.parametrize("way", [sharing.Hard(), sharing.MMoE(2)], ids=repr)
def test_heads_with_layers_of_their_own(way, tmp_path):
    settings = {**QUICK, "sharing": way, "heads": MLP((5,)), "unseen_tasks": "shared"}
    settings |= {"max_epochs": 80, "learning_rate": 0.02, "patience": 80, "device": "cpu"}
    long = DeepMultiTaskRegressor(**settings).fit(X, Y, TASK)
    assert long.score(X, Y, TASK) > 0.5
    assert np.isfinite(long.predict(X, np.repeat("z", 90))).all()
    wide = np.column_stack([Y, -Y, X[:, 2]])
    targets = DeepMultiTaskRegressor(balancer=balancing.PCGrad(), **settings).fit(X, wide)
    deep = targets._tasks
    with torch.no_grad():
        x = torch.tensor((X - deep.feature_mean) / deep.feature_scale, dtype=torch.float32)
        eta = deep.network(x).numpy() * deep.target_scale + deep.target_mean
    assert_allclose(targets.predict(X), eta, rtol=1e-4, atol=1e-5)
    assert targets.score(X, wide) > 0.5
    targets.set_params(balancer=None)
    save(targets, tmp_path / "model.polytask")
    # A loaded network takes the card where there is one.
    away = 1e-5 if torch.cuda.is_available() else 0.0
    found = load(tmp_path / "model.polytask").predict(X)
    assert_allclose(found, targets.predict(X), rtol=away, atol=away)


BALANCERS = [
    getattr(balancing, name)()
    for name in balancing.__all__
    if name not in ("StatefulBalancer", "Fixed", "State", "TorchJD", "backward", "fan_out")
    and hasattr(getattr(balancing, name), "start")
    and not getattr(getattr(balancing, name), "_is_protocol", False)
]


@pytest.mark.parametrize("balancer", BALANCERS, ids=repr)
def test_every_balancer_trains(balancer):
    wide = np.column_stack([Y, -Y, X[:, 2]])
    wide[RNG.random(wide.shape) < 0.2] = np.nan
    for at, fit in (("representation", (X, wide)), ("parameters", (X, Y, TASK))):
        settings = {**QUICK, "max_epochs": 12, "learning_rate": 0.01, "balance_at": at}
        history = DeepMultiTaskRegressor(balancer=balancer, **settings).fit(*fit).history_
        assert np.isfinite(history.training).all()
        assert history.objective[-1] < history.objective[0]
