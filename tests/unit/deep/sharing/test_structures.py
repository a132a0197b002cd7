"""What each way of sharing is, and how it is related to the others."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from unit.deep.sharing._cases import D, H, N, Own, T, built, rows, trunk  # noqa: E402

from polytask.deep.regularise import Penalties  # noqa: E402
from polytask.deep.sharing import CGC, CrossStitch, FiLM, Hard, MMoE, Soft  # noqa: E402
from polytask.penalties import L2, TraceNorm, toward_mean  # noqa: E402


def test_hard_sharing_holds_the_trunk_itself():
    own = trunk()
    module = Hard().build(own, T)
    assert module.trunk is own
    assert module.shared_representation


def test_one_expert_is_hard_sharing():
    x, task = rows()
    own = trunk()
    known = own(x)
    module = MMoE(1).build(own, T)
    torch.testing.assert_close(module(x, task), known)
    torch.testing.assert_close(module(x)[:, 2], known)


def test_experts_differ_from_each_other():
    module = built(MMoE(3))
    x, _ = rows()
    experts = module.trunk(x).detach()
    assert float((experts[0] - experts[1]).abs().max()) > 0.1
    assert float((experts[1] - experts[2]).abs().max()) > 0.1


@pytest.mark.parametrize("how", [Soft(), CrossStitch(0.6)], ids=repr)
def test_towers_start_as_hard_sharing(how):
    x, task = rows()
    own = trunk()
    known = own(x)
    torch.testing.assert_close(how.build(own, T)(x, task), known)


def test_film_starts_as_hard_sharing():
    x, task = rows()
    own = trunk()
    known = own(x)
    module = FiLM(3).build(own, T)
    torch.testing.assert_close(module(x, task), known)
    torch.testing.assert_close(module(x)[:, 1], known)


def test_a_stitch_of_the_identity_is_separate_towers():
    x, task = rows()
    module = CrossStitch(1.0).build(trunk(), T)
    with torch.no_grad():
        for parameter in module.trunk.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    other = x.clone()
    module(x, torch.zeros(N, dtype=torch.long)).sum().backward()
    for parameter in module.trunk.parameters():
        assert not parameter.grad[1:].any()
    assert torch.equal(other, x)
    assert module(x, task).shape == (N, H)


def train(module, penalties, steps=60, lr=0.05):
    x, task = torch.randn(N, D), torch.arange(N) % T
    y = torch.sin(x[:, :1] + task[:, None])
    optimizer = torch.optim.SGD(module.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = 0.5 * (module(x, task) - y).square().mean()
        (loss + (penalties.smooth() if penalties else 0.0)).backward()
        optimizer.step()
        if penalties:
            penalties.proximal_step(optimizer)
    return module(x, torch.zeros(N, dtype=torch.long)).detach(), x


def test_soft_sharing_with_an_endless_pull_is_hard_sharing():
    # The pull is a proximal step away from its limit, where all towers are their mean, so the
    # towers move by the mean of their gradients: hard sharing with a T-th of the step.
    torch.manual_seed(3)
    own = trunk()
    soft = Soft(toward_mean(19.9)).build(own, T)
    torch.manual_seed(5)
    pulled, x = train(soft, Penalties(soft, {}))
    torch.manual_seed(5)
    hard, _ = train(Hard().build(own, T), None, lr=0.05 / T)
    towers = soft(x).detach()
    assert float((towers - towers.mean(1, keepdim=True)).abs().max()) < 0.01
    torch.testing.assert_close(pulled, hard, rtol=0.02, atol=0.02)


def test_soft_sharing_without_a_pull_is_separate_networks():
    torch.manual_seed(3)
    free = Soft(toward_mean(0.0)).build(trunk(), T)
    _, x = train(free, Penalties(free, {}))
    towers = free(x).detach()
    assert float((towers[:, 0] - towers[:, 1]).abs().max()) > 0.05


def test_the_trace_norm_leaves_towers_of_rank_one():
    module = Soft(TraceNorm(0.5)).build(trunk(), T)
    penalties = Penalties(module, {})
    train(module, penalties)
    for found in penalties.terms:
        W = found.matrix.value().detach()
        assert int(torch.linalg.matrix_rank(W, atol=1e-8, rtol=0.0)) <= 1


def test_soft_terms_have_a_column_for_each_task():
    module = Soft(toward_mean(2.0)).build(trunk("none"), T)
    penalties = Penalties(module, {"trunk.*": L2(1.0)})
    shapes = [term.matrix.shape for term in penalties.terms if term.name == "sharing"]
    assert shapes == [(7 * D, T), (7, T), (7 * H, T), (H, T)]
    assert penalties.values()["sharing"] == pytest.approx(0.0, abs=1e-20)
    with torch.no_grad():
        module.trunk.layers[0].bias[1] += 1.0
    assert penalties.values()["sharing"] == pytest.approx(7 * (1 - 1 / T))


def test_soft_terms_are_the_same_for_a_plain_loop():
    wrapped = Soft(toward_mean(2.0)).build(Own(trunk("none")), T)
    shapes = [found.matrix.shape for found in wrapped.penalty_terms()]
    assert shapes == [(7 * D, T), (7, T), (7 * H, T), (H, T)]


@pytest.mark.parametrize("how", [MMoE(3), CGC(2, 2)], ids=repr)
@pytest.mark.parametrize("owners", [[0, 1, 2, 3], [0, 0, 1, 2, 2, 2, 3], [3, 1, 0, 2]], ids=str)
def test_a_readout_is_the_linear_map_of_the_representations(how, owners):
    module, (x, _) = built(how), rows()
    weight, place = torch.randn(len(owners), H), torch.tensor(owners)
    known = torch.einsum("nch,ch->nc", module(x)[:, place], weight)
    found = module.readout(x, weight, place)
    torch.testing.assert_close(found, known)
    slope = torch.randn(found.shape)
    by_readout = torch.autograd.grad((found * slope).sum(), list(module.parameters()))
    by_features = torch.autograd.grad((known * slope).sum(), list(module.parameters()))
    torch.testing.assert_close(by_readout, by_features)
