"""What DSelect-k, MTAN and trees are: values by hand, gradients by finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from unit.deep.sharing._cases import H, N, T, built, rows, trunk  # noqa: E402

from polytask.deep import MLP, DeepMultiTaskRegressor  # noqa: E402
from polytask.deep.regularise import Penalties  # noqa: E402
from polytask.deep.sharing import (  # noqa: E402
    MTAN,
    Branching,
    DSelectK,
    Tree,
    representation_similarity,
)
from polytask.deep.sharing.selecting import SelectionEntropy, selections  # noqa: E402
from polytask.exceptions import DataError, IncompatibleError, ParameterError  # noqa: E402
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
    [
        (DSelectK(3, 2), ["trunk.*"]),
        (MTAN(), ["trunk.*", "attention.*"]),
        (Branching(2), ["trunk.*"]),
    ],
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


def test_a_tree_is_the_path_of_each_task_through_its_branches():
    module, (x, _) = built(Tree([[0, 0, 5, 5], [1, 0, 2, 2]]), "none"), rows()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
    (first, *_), (second, *_) = (stage.layers for stage in module.trunk)
    for t, (a, b) in enumerate([(0, 0), (0, 1), (1, 2), (1, 2)]):
        hidden = (x @ first.weight[a].T + first.bias[a]).clamp(min=0)
        known = torch.tanh(hidden @ second.weight[b].T + second.bias[b])
        torch.testing.assert_close(module(x)[:, t], known)
    module(x, torch.ones(N, dtype=torch.long)).sum().backward()
    assert first.weight.grad[0].any()
    assert not first.weight.grad[1].any()


def test_a_tree_starts_as_hard_sharing():
    own, (x, task) = trunk(), rows()
    known = own(x)
    for branches in ([[0] * T, [0] * T], [[0, 0, 1, 1], range(T)]):
        torch.testing.assert_close(Tree(branches).build(own, T)(x, task), known)


def test_a_tree_from_affinities():
    affinity = np.array(
        [[1, 0.9, 0.2, 0], [0.8, 1, 0.1, 0], [0.2, 0, 1, 0.6], [np.nan, 0, 0.5, 1]]
    )
    known = (0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 2)
    assert Tree.of_affinity(affinity, [1, 2, 3]).branches == known
    order = [2, 0, 3, 1]
    assert Tree.of_affinity(affinity[order][:, order], [2]).branches == ((0, 1, 0, 1),)
    assert Tree.of_affinity([[1.0]], [1]).branches == ((0,),)
    with pytest.raises(DataError, match=r"affinity of Tree\.of_affinity must be a square matrix"):
        Tree.of_affinity(affinity[:2], [1])


def test_similarity_of_representations_is_that_of_their_distances():
    one, other = np.random.default_rng(0).standard_normal((2, 12, 5))
    found = representation_similarity([one, 3 * one + 1, other])
    assert found[0, 1] == pytest.approx(1.0)
    upper = np.triu_indices(12, 1)
    ranks = [np.argsort(np.argsort(1 - np.corrcoef(own)[upper])) for own in (one, other)]
    assert found[0, 2] == pytest.approx(np.corrcoef(ranks)[0, 1])


def test_choices_in_training_are_a_gumbel_softmax_and_then_a_tree():
    module, (x, task) = Branching(2, temperature=3.0, n_steps=10).build(trunk("none"), T), rows()
    with torch.no_grad():
        module.choices[0].copy_(torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        module.choices[1].copy_(torch.eye(2).repeat(2, 1))
    first, second = module.trunk
    state = torch.get_rng_state()
    for step in range(2):
        torch.set_rng_state(state)
        found = module(x)
        torch.set_rng_state(state)
        heat = 3.0 * (0.1 / 3.0) ** (step / 10)
        noise = [-torch.empty_like(c).exponential_().log() for c in module.choices]
        pairs = zip(module.choices, noise, strict=True)
        read = [((10 * c + own) / heat).softmax(1) for c, own in pairs]
        hidden = torch.einsum("ba,anh->bnh", read[0], first(x))
        known = torch.einsum("tb,bnh->nth", read[1], second.each(hidden))
        torch.testing.assert_close(found, known)
    module.eval()
    assert module.tree() == Tree([[0, 0, 0, 0], [0, 1, 0, 1]])
    plain = module.tree().build(trunk("none"), T)
    with torch.no_grad():
        for kept, whole, used in zip(plain.trunk, module.trunk, ([1], [0, 1]), strict=True):
            for own, every in zip(kept.parameters(), whole.parameters(), strict=True):
                own.copy_(every[used])
    torch.testing.assert_close(plain(x, task), module(x, task))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tree([[0, 1], [0, 0]]), "shared the branch of the stage before; got"),
        (lambda: Tree([[0, 1], [0]]), "equally many tasks"),
        (
            lambda: Tree([[0, 0]]).build(trunk(), 2),
            "2 stages of the trunk the branches of 2 tasks",
        ),
        (lambda: Branching(0), "n_branches of Branching"),
    ],
)
def test_trees_are_checked(make, message):
    with pytest.raises((ParameterError, IncompatibleError), match=message):
        make()


def test_what_a_graph_cannot_hold_is_refused_in_a_sentence():
    pytest.importorskip("onnx")
    from polytask.export import to_onnx

    torch.set_default_dtype(torch.float32)
    X = np.random.default_rng(0).standard_normal((40, 3))
    settings = {"early_stopping": False, "max_epochs": 1, "random_state": 0}
    for how in (MTAN(), Tree([[0, 1]])):
        net = DeepMultiTaskRegressor(MLP((4,)), sharing=how, **settings).fit(X, X[:, :2])
        with pytest.raises(IncompatibleError, match=r"AttendedTrunk|TreeSharing"):
            to_onnx(net)
