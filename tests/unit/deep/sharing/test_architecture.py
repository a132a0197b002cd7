"""What DSelect-k and MTAN are: values by hand, gradients by finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from unit.deep.sharing._cases import H, N, T, built, rows, trunk  # noqa: E402

from polytask.deep import MLP, DeepMultiTaskRegressor  # noqa: E402
from polytask.deep.regularise import Penalties  # noqa: E402
from polytask.deep.sharing import MTAN, DSelectK  # noqa: E402
from polytask.deep.sharing.selecting import SelectionEntropy, selections  # noqa: E402
from polytask.exceptions import IncompatibleError, ParameterError  # noqa: E402
from polytask.penalties import L2, L21  # noqa: E402


def smooth_step(t, gamma):
    if abs(t) >= gamma / 2:
        return float(t > 0)
    return -2 / gamma**3 * t**3 + 3 / (2 * gamma) * t + 0.5


def by_hand(codes, n_experts, gamma):
    """Return the weights of the experts of one code: equation 6 of the paper, expert by expert."""
    found = np.zeros(n_experts)
    for bits in itertools.product((0, 1), repeat=len(codes)):
        steps = [smooth_step(z, gamma) for z in codes]
        own = np.prod([s if bit else 1 - s for bit, s in zip(bits, steps, strict=True)])
        found[sum(bit << place for place, bit in enumerate(bits)) % n_experts] += own
    return found


@pytest.mark.parametrize(("n_experts", "n_bits"), [(4, 2), (3, 2), (5, 3), (1, 0)])
def test_a_code_selects_by_its_smooth_steps(n_experts, n_bits):
    codes = 0.5 * torch.randn(7, n_bits)
    found = selections(codes, n_experts, 1.3)
    known = np.array([by_hand(code, n_experts, 1.3) for code in codes.tolist()])
    np.testing.assert_allclose(found.numpy(), known, atol=1e-12)
    assert torch.autograd.gradcheck(
        lambda z: selections(z, n_experts, 1.3), codes.requires_grad_()
    )


def test_the_entropy_of_selections():
    entropy, W = SelectionEntropy(0.7, 3, 1.0), torch.randn(2, 5) / 4
    p = np.array([by_hand(code, 3, 1.0) for code in W.T.tolist()])
    known = -0.7 * np.sum(p * np.log(np.where(p > 0, p, 1.0)))
    assert entropy.value(W) == pytest.approx(known, abs=1e-9)
    for i, j in np.ndindex(2, 5):
        e = torch.zeros(2, 5)
        e[i, j] = 1e-6
        slope = (entropy.value(W + e) - entropy.value(W - e)) / 2e-6
        assert float(entropy.gradient(W)[i, j]) == pytest.approx(slope, abs=1e-5)
    decided = torch.tensor([[0.6], [-0.6]])
    assert entropy.value(decided) == pytest.approx(0.0, abs=1e-9)
    assert not entropy.gradient(decided).any()


def test_a_mixture_of_selected_experts_and_its_readout():
    module, (x, _) = built(DSelectK(3, 2)), rows()
    share, chosen = module.mixture.softmax(-1), selections(module.selectors, 3, 1.0)
    for t in range(T):
        gate = share[t, 0] * chosen[t, 0] + share[t, 1] * chosen[t, 1]
        known = sum(weight * expert for weight, expert in zip(gate, module.trunk(x), strict=True))
        torch.testing.assert_close(module(x)[:, t], known)
    weight, owners = torch.randn(5, H), torch.tensor([0, 0, 2, 3, 1])
    known = torch.einsum("nch,ch->nc", module(x)[:, owners], weight)
    torch.testing.assert_close(module.readout(x, weight, owners), known)


def test_training_leaves_few_experts_to_each_task():
    torch.set_default_dtype(torch.float32)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    one, other = np.tanh(2 * X[:, 0]), X[:, 1] * X[:, 2]
    Y = np.column_stack([one, one, other, other]) + 0.1 * rng.standard_normal((300, 4))
    how = DSelectK(4, 2, entropy=0.5, gamma=0.2)
    settings = {"sharing": how, "early_stopping": False, "max_epochs": 40, "random_state": 0}
    model = DeepMultiTaskRegressor(MLP((16,)), learning_rate=0.005, **settings).fit(X, Y)
    gates = model.network_.sharing.gates().detach().numpy()
    assert ((gates > 0).sum(1) <= 2).all()
    np.testing.assert_allclose(gates.sum(1), 1.0, rtol=1e-5)
    # All of the penalty was entropy.
    assert model.solution_.penalty == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("how", "names"),
    [(DSelectK(3, 2), ["trunk.*"]), (MTAN(), ["trunk.*", "attention.*"])],
    ids=repr,
)
def test_penalties_of_layers_by_name(how, names):
    net = nn.Module()
    net.sharing = how.build(trunk(), T)
    penalties = Penalties(net, {name: L2(1.0) for name in names} | {"input": L21(0.5)})
    penalties_of = {found.name for found in penalties.terms}
    assert {*names, "input"} <= penalties_of
    assert all(value >= 0 for value in penalties.values().values())
    x, task = rows()
    assert net.sharing(x, task).shape == (N, H)


def masked_by_hand(module, features, t):
    """Return what task t attends to of features (n, h), layer by layer."""
    before = None
    for p, masks in zip(features, module.attention, strict=True):
        given = p if before is None else torch.cat([p, before], 1)
        first, _, second, _ = masks.layers
        hidden = (given @ first.weight[t].T + first.bias[t]).clamp(min=0)
        before = p / (1 + (-(hidden @ second.weight[t].T + second.bias[t])).exp())
    return before


def test_attention_masks_the_features_of_a_shared_trunk():
    own, (x, task) = trunk(), rows()
    module = MTAN(reduction=2).build(own, T)
    features = [own[:3](x), own(x)]
    known = torch.stack([masked_by_hand(module, features, t) for t in range(T)], 1)
    torch.testing.assert_close(module(x), known)
    torch.testing.assert_close(module(x, task), known[torch.arange(N), task])
    assert module.trunk is own
    parameter = module.attention[0].layers[0].weight
    module(x, task).sum().backward()
    with torch.no_grad():
        values = []
        for step in (1e-6, -2e-6):
            parameter[1, 0, 0] += step
            values.append(float(module(x, task).sum()))
    slope = (values[0] - values[1]) / 2e-6
    assert float(parameter.grad[1, 0, 0]) == pytest.approx(slope, abs=1e-5)


class Pictures(nn.Module):
    """A trunk that is no nn.Sequential: maps of three sizes, then a vector."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3, stride=2)
        self.flat = nn.Linear(4, H)

    def forward(self, x):
        return self.flat(self.two(self.one(x).relu()).relu().mean((2, 3)))


def test_attention_over_the_named_layers_of_any_trunk():
    own, x = Pictures(), torch.randn(5, 1, 8, 8)
    module = MTAN({"one": 3, "two": 4}, width=H).build(own, 2)
    one = own.one(x)
    two = own.two(one.relu())
    whole = module(x)
    for t in range(2):
        (a, _, b, _), (c, _, d, _), (e, _, f, _) = (part.layers for part in module.attention)

        def mask(first, second, given, t=t):
            hidden = torch.einsum("oi,ni...->no...", first.weight[t], given)
            hidden = (hidden + first.bias[t].view(-1, *[1] * (given.ndim - 2))).relu()
            logits = torch.einsum("oi,ni...->no...", second.weight[t], hidden)
            return (logits + second.bias[t].view(-1, *[1] * (given.ndim - 2))).sigmoid()

        at_one = one * mask(a, b, one)
        pooled = nn.functional.adaptive_avg_pool2d(at_one, two.shape[2:])
        at_two = two * mask(c, d, torch.cat([two, pooled], 1))
        out = own(x)
        known = out * mask(e, f, torch.cat([out, at_two.mean((2, 3))], 1))
        torch.testing.assert_close(whole[:, t], known)
    task = torch.tensor([1, 0, 0, 1, 1])
    torch.testing.assert_close(module(x, task), whole[torch.arange(5), task])


def test_layers_to_attend_to_are_checked():
    with pytest.raises(
        ParameterError, match=r"layers of MTAN must be the name of a module.*'one'"
    ):
        MTAN({"on": 3}, width=H).build(Pictures(), 2)
    with pytest.raises(
        IncompatibleError, match=r"'one' gives.*\(5, 4, \.\.\.\); got \(5, 3, 6, 6"
    ):
        MTAN({"one": 4}, width=H).build(Pictures(), 2)(torch.randn(5, 1, 8, 8))
