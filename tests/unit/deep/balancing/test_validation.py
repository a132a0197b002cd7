"""AutoLambda: slopes of a held-out loss one step ahead, and what the loop makes of them."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from polytask.deep import MLP, DeepMultiTaskRegressor  # noqa: E402
from polytask.deep.balancing import AutoLambda, Equal, StatefulBalancer  # noqa: E402
from polytask.deep.balancing.learned import adam_step, start_adam  # noqa: E402
from polytask.exceptions import IncompatibleError, ParameterError  # noqa: E402


class Watched(AutoLambda):
    """AutoLambda that keeps what it was told."""

    def observe_validation(self, slopes, state):
        self.__dict__["told"] = slopes
        return super().observe_validation(slopes, state)


def problem():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    rows = torch.randn(2, 20, 4).double()
    targets = torch.randn(2, 20, 3).double()
    return net, rows, targets


def losses(net, rows, targets):
    return (net(rows) - targets).square().mean(0)


@pytest.mark.parametrize("primary", [None, (2,)])
def test_slopes_are_those_of_the_held_out_loss_after_a_step(primary):
    net, (x, v), (y, u) = problem()
    balancer = Watched(primary)
    balance, before = StatefulBalancer(balancer, 3), copy.deepcopy(net.state_dict())
    counted = torch.ones(3) if primary is None else torch.tensor([0.0, 0.0, 1.0])

    def after(weights):
        other = copy.deepcopy(net)
        slopes = torch.autograd.grad(weights @ losses(other, x, y), list(other.parameters()))
        with torch.no_grad():
            for parameter, slope in zip(other.parameters(), slopes, strict=True):
                parameter.sub_(0.1 * slope)
        return float((losses(other, v, u) @ counted.double()).detach())

    for present in ([0, 1, 2], [2, 0]):
        weights = balance.state_dict().get("tasks.value", torch.ones(3)).double()
        absent = torch.ones(3).bool()
        absent[present] = False
        weights = weights.masked_fill(absent, 0.0)
        weights = weights * len(present) / weights.sum()
        terms = losses(net, x, y)[present]
        held = lambda: losses(net, v, u)  # noqa: E731
        balance.look_ahead(terms, list(net.parameters()), held, 0.1, torch.tensor(present))
        for place, task in enumerate(present):
            step = torch.zeros(3).double()
            step[task] = 1e-5
            slope = (after(weights + step) - after(weights - step)) / 2e-5
            assert float(balancer.told[place]) == pytest.approx(slope, rel=1e-5, abs=1e-9)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    # The graph of the terms is still there.
    terms.sum().backward()
    # The task that was absent has learned once, the others twice.
    assert balance.state_dict()["tasks.steps"].tolist() == [2, 1, 2]


def test_weights_take_a_step_of_adam_and_keep_their_sum():
    slopes, state = torch.tensor([0.5, -0.1, 0.2]), AutoLambda().start(3, torch.zeros(1))
    after = AutoLambda(learning_rate=0.1).observe_validation(slopes, state)
    value = adam_step(state.with_tasks(**start_adam(torch.ones(3))), slopes, 0.1).tasks["value"]
    torch.testing.assert_close(after.tasks["value"], value / value.mean())
    weights, same = AutoLambda().weigh_losses(torch.ones(3), after)
    assert same is after
    assert float(weights.sum()) == pytest.approx(3.0)
    assert int(weights.argmax()) == 1


def fitted(**settings):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5))
    one = np.tanh(X[:, 0] + X[:, 1])
    Y = np.column_stack([one, one, rng.standard_normal(300)]) + 0.1 * rng.standard_normal((300, 3))
    usual = {"trunk": MLP((16,)), "max_epochs": 15, "random_state": 0, "patience": None}
    return DeepMultiTaskRegressor(**usual | settings).fit(X, Y), X


def test_a_task_that_is_noise_loses_weight_and_training_goes_on_bit_for_bit(tmp_path):
    seen = []

    class Kept(AutoLambda):
        def observe_validation(self, slopes, state):
            after = super().observe_validation(slopes, state)
            seen.append(after.tasks["value"])
            return after

    net = {"balancer": Kept(learning_rate=0.02)}
    whole, X = fitted(**net)
    assert float(seen[-1][2]) < 0.9 < 1.0 < float(seen[-1][:2].min())
    path = tmp_path / "state"
    fitted(**net, checkpoint=path, max_epochs=7)
    resumed, _ = fitted(**net, checkpoint=path)
    np.testing.assert_array_equal(resumed.predict(X), whole.predict(X))


def test_what_auto_lambda_cannot_do_is_refused():
    with pytest.raises(IncompatibleError, match="no rows are held out"):
        fitted(balancer=AutoLambda(), early_stopping=False)
    with pytest.raises(IncompatibleError, match="AutoLambda"):
        fitted(balancer=AutoLambda(), compile=True)
    with pytest.raises(ParameterError, match="primary of AutoLambda must be different numbers"):
        fitted(balancer=AutoLambda(primary=[3]))
    with pytest.raises(IncompatibleError, match="Equal does not learn from held-out losses"):
        StatefulBalancer(Equal(), 2).look_ahead(torch.ones(2), [], torch.zeros, 0.1)
