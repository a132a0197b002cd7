"""The proximal step in the diagonal metric of Adam, against its definition and a minimiser."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from polytask.deep.regularise import Penalties, proximal_step  # noqa: E402
from polytask.deep.regularise.metric import prox_in_metric  # noqa: E402
from polytask.deep.regularise.penalties import smooth_prox_split  # noqa: E402
from polytask.exceptions import IncompatibleError  # noqa: E402
from polytask.penalties import (  # noqa: E402
    L1,
    L2,
    L21,
    Columns,
    GroupNorm,
    OutlierTasks,
    SparseGroup,
    TraceNorm,
)

GROUPS = ((0, 1, 5), (2, 3, 4))
PENALTIES = [
    L1(0.7),
    L21(1.3),
    SparseGroup(1.2, 0.4),
    L1(0.2) + L21(0.6),
    GroupNorm(0.5, GROUPS),
    GroupNorm(0.7, GROUPS, weights=(1.0, 2.0)),
    GroupNorm(0.3, GROUPS) + L1(0.3),
    OutlierTasks(1.5),
    OutlierTasks(1.5).bind(Columns(("a", "a", "b", "c"), ("x", "y", "x", "x"))),
]


def problem(seed, scale_spread=3.0):
    rng = np.random.default_rng(seed)
    W = torch.from_numpy(rng.normal(size=(6, 4)))
    scale = torch.from_numpy(np.exp(scale_spread * rng.normal(size=(6, 4)) / 2))
    return W, scale


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_against_a_minimiser(penalty):
    part = smooth_prox_split(penalty).proximable
    W, scale = problem(1)
    step = 0.7

    def cost(z):
        Z = torch.from_numpy(np.reshape(z, W.shape))
        return float((scale * (Z - W) ** 2).sum()) / 2 + step * part.value(Z)

    found = prox_in_metric(part, W, scale, step)
    rng = np.random.default_rng(2)
    start = found.numpy() + 0.1 * rng.normal(size=W.shape)
    rival = scipy.optimize.minimize(cost, start.ravel(), method="Powell")
    assert cost(found.numpy()) <= rival.fun + 1e-12
    for size in (1e-1, 1e-3, 1e-6):
        for _ in range(20):
            assert cost(found.numpy()) <= cost(found.numpy() + size * rng.normal(size=W.shape))


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_with_one_scale_it_is_the_ordinary_prox(penalty):
    part = smooth_prox_split(penalty).proximable
    W, _ = problem(5)
    found = prox_in_metric(part, W, torch.full_like(W, 2.5), 1.5)
    np.testing.assert_allclose(found, part.prox(W, 1.5 / 2.5), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("spread", [0.5, 8.0, 20.0])
def test_the_root_of_a_row_is_exact_for_scales_of_any_spread(spread):
    W, scale = problem(1, spread)
    Z = prox_in_metric(L21(1.0), W, scale, 0.8)
    pull = scale * W
    for z, w, d, p in zip(Z, W, scale, pull, strict=True):
        if bool((z == 0).all()):
            assert float(p.norm()) <= 0.8
        else:
            balance = d * (z - w) + 0.8 * z / z.norm()
            assert float(balance.norm()) <= 1e-12 * float(p.norm())


def test_rows_that_should_vanish_are_exactly_zero():
    W, scale = problem(2, 0.0)
    assert int(prox_in_metric(L21(1e3), W, scale, 1.0).count_nonzero()) == 0
    W[3] = 0.0
    found = prox_in_metric(L21(0.0), W, scale, 1.0)
    np.testing.assert_array_equal(found, W)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_metric_is_that_of_the_step_just_taken(kind, amsgrad):
    layer = nn.Linear(6, 4).double()
    optimizer = kind(layer.parameters(), lr=0.05, weight_decay=0.0, amsgrad=amsgrad)
    for seed in range(4):
        layer.zero_grad()
        x = torch.from_numpy(np.random.default_rng(seed).normal(size=(9, 6)))
        layer(x).square().sum().backward()
        before = layer.weight.detach().clone()
        optimizer.step()
        moved = layer.weight.detach().clone()
        state = optimizer.state[layer.weight]
        mean = state["exp_avg"] / (1 - 0.9 ** float(state["step"]))
        step = before - moved
        scale = mean / step  # lr times the inverse of the metric is what the optimiser divides by
        proximal_step([(layer, L1(0.4))], optimizer)
        threshold = 0.4 / scale
        known = torch.sign(moved) * (moved.abs() - threshold).clamp(min=0)
        np.testing.assert_allclose(layer.weight.detach(), known, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("penalty", [L21(0.1, radius=1.0), L2(0.1, radius=1.0)], ids=repr)
def test_a_bound_on_a_norm_is_refused_with_adam_and_met_with_sgd(penalty):
    layer = nn.Linear(5, 4)
    adam, sgd = torch.optim.Adam(layer.parameters()), torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 5)).sum().backward()
    adam.step()
    with pytest.raises(IncompatibleError, match="metric of Adam"):
        proximal_step([(layer, penalty)], adam)
    sgd.step()
    proximal_step([(layer, penalty)], sgd)
    assert np.isfinite(penalty.value(layer.weight.detach().numpy().T))


def test_spectral_penalties_are_refused_with_adam():
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    with pytest.raises(IncompatibleError, match=r"metric of Adam.*SGD.*final_phase"):
        proximal_step([(layer, TraceNorm(0.1))], optimizer)


def test_parameters_that_adam_has_not_moved_stay():
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    proximal_step([(layer, L1(1e3))], torch.optim.Adam(layer.parameters()))
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (torch.optim.RMSprop, "SGD, Adam or AdamW"),
        (lambda p: torch.optim.SGD(p, lr=0.1, maximize=True), "maximize"),
        (lambda p: torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1), "not in the optim"),
    ],
)
def test_optimisers_whose_step_is_not_known_are_refused(make, message):
    layer = nn.Linear(3, 2)
    with pytest.raises(IncompatibleError, match=message):
        proximal_step([(layer, L1(0.1))], make(layer.parameters()))


def test_one_penalty_over_unequal_learning_rates_is_refused():
    net = nn.Module()
    net.heads = nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 1)])
    groups = [{"params": h.parameters(), "lr": 0.1 + k} for k, h in enumerate(net.heads)]
    optimizer = torch.optim.SGD(groups)
    with pytest.raises(IncompatibleError, match="different learning rates"):
        Penalties(net, {"heads": L21(0.1)}).proximal_step(optimizer)


def test_a_wrapped_optimiser_is_seen_through():
    accelerate = pytest.importorskip("accelerate")
    layer = nn.Linear(3, 2)
    accelerator = accelerate.Accelerator(cpu=True)
    layer, optimizer = accelerator.prepare(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    proximal_step([(layer, L1(1e3))], optimizer)
    assert int(layer.weight.count_nonzero()) == 0


def test_two_optimisers_share_a_network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    adam, sgd = torch.optim.Adam(net[0].parameters()), torch.optim.SGD(net[2].parameters(), lr=0.1)
    penalties = Penalties(net, {"0": L21(0.1), "2": TraceNorm(1e6)})
    penalties.check(adam, sgd)
    net(torch.ones(2, 3)).square().sum().backward()
    adam.step()
    sgd.step()
    penalties.proximal_step(adam, sgd)
    assert int(net[2].weight.count_nonzero()) == 0
    assert int(net[0].weight.count_nonzero()) > 0


def test_a_check_before_any_work():
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    net = nn.Sequential(layer)
    Penalties(net, {"0": L1(1e3)}).check(torch.optim.Adam(net.parameters()))
    assert torch.equal(layer.weight, before)
    with pytest.raises(IncompatibleError, match="metric of Adam"):
        Penalties(net, {"0": TraceNorm(0.1)}).check(torch.optim.AdamW(net.parameters()))
    other = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(IncompatibleError, match="not in the optimiser"):
        Penalties(net, {"0": TraceNorm(0.1)}).check(other)
    Penalties(net, {"0": TraceNorm(0.1)}).check(torch.optim.SGD(net.parameters(), lr=0.1))
