"""Every penalty of the linear half on a layer: the same values, gradients and proximal steps."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from laws.test_penalties import MADE  # noqa: E402
from torch import nn  # noqa: E402

from polytask.deep.regularise import Penalties  # noqa: E402
from polytask.deep.regularise.penalties import smooth_prox_split, smooth_value  # noqa: E402
from polytask.exceptions import IncompatibleError  # noqa: E402
from polytask.penalties import (  # noqa: E402
    L1,
    L2,
    L21,
    Columns,
    LatentTasks,
    NetworkLasso,
    Parts,
    TraceNorm,
    toward_mean,
)

# Without a gradient and without a proximal operator of W.
REFUSED = {"Parts", "reweighted", "robust", "robust_features", "sparse_low_rank"}
USABLE = sorted(set(MADE) - REFUSED)
STEP = 0.3


def point(seed=0):
    return np.random.default_rng(seed).normal(size=(6, 4))


def network(W):
    net = nn.Sequential(nn.Linear(6, 4, bias=False)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.from_numpy(W.T))
    return net


def bound(name):
    return MADE[name].bind(Columns.plain(4))


@pytest.mark.parametrize("name", USABLE)
def test_values(name):
    W, net = point(), network(point())
    known = bound(name).value(W)
    found = Penalties(net, {"0": MADE[name]}).values()["0"]
    if np.isfinite(known):
        np.testing.assert_allclose(found, known, rtol=1e-10)
    else:
        assert found == known


@pytest.mark.parametrize("name", USABLE)
def test_gradients_of_what_is_smooth(name):
    part = smooth_prox_split(bound(name)).smooth
    W = torch.from_numpy(point()).requires_grad_()
    if part is None:
        assert Penalties(network(point()), {"0": MADE[name]}).smooth() == 0.0
        return
    value = smooth_value(W, part)
    (3.0 * value).backward()
    np.testing.assert_allclose(value.detach(), part.value(point()), rtol=1e-10)
    np.testing.assert_allclose(W.grad, 3.0 * part.gradient(point()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", USABLE)
def test_step_of_sgd_is_the_proximal_gradient_step(name):
    W, G = point(), point(1)
    net = network(W)
    optimizer = torch.optim.SGD(net.parameters(), lr=STEP)
    penalties = Penalties(net, {"0": MADE[name]})
    loss = (net[0].weight * torch.from_numpy(G.T)).sum() + penalties.smooth()
    loss.backward()
    optimizer.step()
    penalties.proximal_step(optimizer)
    known = smooth_prox_split(bound(name))
    after = W - STEP * (G + (known.smooth.gradient(W) if known.smooth else 0.0))
    after = known.proximable.prox(after, STEP) if known.proximable else after
    found = net[0].weight.detach().numpy().T
    np.testing.assert_allclose(found, after, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found == 0, after == 0)


def test_the_prox_of_a_norm_of_differences_is_exact():
    part = smooth_prox_split(bound("NetworkLasso")).proximable
    for seed in range(5):
        W = 2.0 * point(seed)
        for step in (0.1, 0.5, 2.0):
            Z = part.prox(torch.from_numpy(W), step).numpy()
            np.testing.assert_allclose(Z, part.prox(W, step), atol=1e-6)
            best = 0.5 * np.sum((Z - W) ** 2) + step * part.value(Z)
            for size in (1e-1, 1e-3, 1e-5):
                for _ in range(20):
                    V = Z + size * np.random.default_rng(seed).normal(size=Z.shape)
                    assert 0.5 * np.sum((V - W) ** 2) + step * part.value(V) >= best - 1e-12


def test_columns_that_a_network_joins_become_exactly_equal():
    part = smooth_prox_split(
        NetworkLasso(5.0, {(0, 1): 1.0, (2, 3): 1.0}).bind(Columns.plain(4))
    ).proximable
    Z = part.prox(torch.from_numpy(point()), 1.0)
    assert torch.equal(Z[:, 0], Z[:, 1])
    assert torch.equal(Z[:, 2], Z[:, 3])
    np.testing.assert_allclose(Z[:, 0], point()[:, :2].mean(1), rtol=1e-12)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_has_no_step_is_refused_in_one_sentence(name):
    with pytest.raises(IncompatibleError, match=r"cannot be a penalty of a layer: .*\.$"):
        Penalties(network(point()), {"0": MADE[name]})


def test_factors_of_w_are_refused_with_advice():
    with pytest.raises(IncompatibleError, match="two linear layers"):
        Penalties(network(point()), {"0": LatentTasks(0.1, 2)})


def test_division_into_parts_is_refused_with_the_one_that_works():
    with pytest.raises(IncompatibleError, match="dirty"):
        Penalties(network(point()), {"0": Parts([L21(0.2), TraceNorm(0.3)])})


@pytest.mark.parametrize(
    "penalty", [L1(0.3) + L21(0.5), L21(0.3) + L2(0.2) + toward_mean(0.4)], ids=repr
)
def test_sums_are_taken_apart_exactly(penalty):
    W = point()
    known = smooth_prox_split(penalty.bind(Columns.plain(4)))
    parts = [part for part in (known.smooth, known.proximable) if part is not None]
    found = sum(float(part.value(torch.from_numpy(W))) for part in parts)
    np.testing.assert_allclose(found, penalty.value(W), rtol=1e-12)
    assert known.proximable is not None
