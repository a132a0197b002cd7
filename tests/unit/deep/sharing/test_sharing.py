"""What every way of sharing has to be."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from unit.deep.sharing._cases import NORMS, WAYS, D, H, N, T, built, rows, trunk  # noqa: E402

from polytask._registry import name_of, rebuild, resolve, state_of  # noqa: E402
from polytask.deep import sharing  # noqa: E402
from polytask.deep.regularise import Penalties  # noqa: E402
from polytask.deep.sharing import (  # noqa: E402
    CGC,
    MTAN,
    PLE,
    Branching,
    CrossStitch,
    DSelectK,
    FiLM,
    Hard,
    LoRA,
    MMoE,
    Soft,
)
from polytask.deep.sharing.copies import LoopedCopies  # noqa: E402
from polytask.penalties import L1, L21  # noqa: E402

TREE = next(how for how in WAYS if type(how).__name__ == "Tree")
STACKED = [Soft(), CrossStitch(0.7), MMoE(3), CGC(2, 2), PLE(1, 2, 2), DSelectK(3, 2), TREE]
TABLES = pytest.mark.parametrize("how", WAYS, ids=lambda how: type(how).__name__)


@TABLES
@pytest.mark.parametrize("norm", NORMS)
def test_own_rows_are_rows_of_all_tasks(how, norm):
    module, (x, task) = built(how, norm), rows()
    for _ in range(3):
        module(x, task)
        module(x)
    module.eval()
    whole, own = module(x, None), module(x, task)
    assert own.shape == (N, H)
    assert whole.shape == ((N, H) if module.shared_representation else (N, T, H))
    known = whole if module.shared_representation else whole[torch.arange(N), task]
    torch.testing.assert_close(own, known)


@TABLES
def test_the_order_of_rows_does_not_matter(how):
    module, (x, task) = built(how), rows()
    # A tree that is being chosen draws its choices for each batch.
    module.train(not isinstance(how, Branching))
    order = torch.randperm(N)
    torch.testing.assert_close(module(x[order], task[order]), module(x, task)[order])


@TABLES
def test_few_rows_of_some_tasks(how):
    module, (x, _) = built(how), rows()
    module.train(not isinstance(how, Branching))
    for task in ([2], [3, 3, 3], [0, 3, 0, 0, 0, 0, 0, 0, 0, 0]):
        own = module(x[: len(task)], torch.tensor(task))
        whole = module(x[: len(task)], None)
        if not module.shared_representation:
            whole = whole[torch.arange(len(task)), torch.tensor(task)]
        torch.testing.assert_close(own, whole)


@pytest.mark.parametrize(
    "how",
    [
        Soft(),
        CrossStitch(),
        MMoE(3),
        CGC(2, 2),
        PLE(1, 2, 2),
        DSelectK(3, 2),
        MTAN(),
        TREE,
        LoRA(2),
    ],
    ids=repr,
)
def test_unseen_tasks_get_the_mean_over_tasks(how):
    module, (x, task) = built(how), rows()
    unseen = task.clone()
    unseen[::3] = -1
    found, whole = module(x, unseen), module(x, None)
    torch.testing.assert_close(found[::3], whole[::3].mean(1))
    torch.testing.assert_close(found[1::3], module(x, task)[1::3])
    torch.testing.assert_close(module(x, torch.full((N,), -1)), whole.mean(1))


def test_unseen_tasks_get_the_mean_vector_of_film():
    module, (x, _) = built(FiLM(3)), rows()
    found = module(x, torch.full((N,), -1))
    with torch.no_grad():
        module.tasks.weight[2] = module.tasks.weight.mean(0)
    again = module(x, torch.full((N,), 2))
    torch.testing.assert_close(found, again)


@TABLES
def test_every_parameter_gets_a_gradient(how):
    module, (x, task) = built(how), rows()
    for given in (task, None):
        module.zero_grad()
        (module(x, given) ** 3).sum().backward()
        learned = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        missing = [n for n, p in learned if p.grad is None or not p.grad.any()]
        # At the bias of a layer norm's linear layer there is nothing to learn but the rest.
        assert missing == []


@pytest.mark.parametrize("how", [Soft(), CGC(1, 1), MMoE(2), FiLM(3)], ids=repr)
def test_gradients_of_one_task_leave_what_belongs_to_others(how):
    module, (x, _) = built(how), rows()
    module(x, torch.full((N,), 1)).square().sum().backward()
    own = {
        "Soft": lambda m: list(m.trunk.parameters()),
        "CGC": lambda m: [*m.trunk.own.parameters(), *m.gates.parameters()],
        "MMoE": lambda m: list(m.gates.parameters()),
        "FiLM": lambda m: [m.tasks.weight],
    }[type(how).__name__](module)
    for parameter in own:
        assert parameter.grad[1].any()
        assert not parameter.grad[[0, 2, 3]].any()


def looped(monkeypatch):
    for part in ("trunks", "experts", "trees"):
        monkeypatch.setattr(f"polytask.deep.sharing.{part}.make_copies", LoopedCopies)


@pytest.mark.parametrize("how", STACKED, ids=repr)
@pytest.mark.parametrize("norm", NORMS)
def test_batched_is_the_plain_loop(how, norm, monkeypatch):
    x, task = rows()
    batched = built(how, norm)
    looped(monkeypatch)
    plain = built(how, norm)
    assert batched.batched
    assert not plain.batched
    for training, given in itertools.product((True, False), (task, None)):
        for module in (batched, plain):
            module.train(training)
            module.zero_grad()
        found, known = batched(x, given), plain(x, given)
        torch.testing.assert_close(found, known, rtol=1e-10, atol=1e-10)
        slope = torch.randn(found.shape)
        (found * slope).sum().backward()
        (known * slope).sum().backward()
        squares = [
            sum(float(p.grad.square().sum()) for p in m.parameters() if p.grad is not None)
            for m in (batched, plain)
        ]
        assert squares[0] == pytest.approx(squares[1], rel=1e-8)
    assert count(batched) == count(plain)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("how", "known"),
    [
        (Hard(), lambda p, t: p),
        (Soft(), lambda p, t: t * p),
        (CrossStitch(), lambda p, t: t * p + 2 * t * t),
        (MMoE(3), lambda p, t: 3 * p + t * 3 * (D + 1)),
        (CGC(2, 2), lambda p, t: (2 + 2 * t) * p + t * 4 * (D + 1)),
        (
            PLE(1, 2, 2),
            lambda p, t: (1 + 2 * t) * p + (3 * t + 1 + 2 * t) * (D + 1) + 3 * t * (7 + 1),
        ),
        (DSelectK(3, 2), lambda p, t: 3 * p + t * 2 * (2 + 1)),
        (
            MTAN(reduction=2),
            lambda p, t: p + t * (8 * 3 + 4 * 7) + t * ((7 + H + 1) * 3 + 4 * H),
        ),
        (TREE, lambda p, t: 2 * (7 * D + 7 + 14) + 3 * (7 * H + H)),
        (LoRA(2, 3), lambda p, t: p + (2 * t + 3) * (D + 7 + 7 + H)),
        (Branching(2), lambda p, t: 2 * p + 2 * 2 + t * 2),
        (FiLM(3), lambda p, t: p + 3 * t + 2 * (7 + H) * (3 + 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_of_parameters_are_those_documented(how, known):
    assert count(how.build(trunk(), T)) == known(count(trunk()), T)


@TABLES
def test_descriptions_are_saved_and_compared(how):
    assert resolve(name_of(how)) is type(how)
    assert rebuild(type(how), state_of(how)) == how
    assert isinstance(how, sharing.Sharing)


@TABLES
def test_states_are_loaded(how):
    x, task = rows()
    one, other = built(how, "batch"), how.build(trunk("batch"), T)
    one(x, task)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(one.eval()(x, task), other.eval()(x, task))


@pytest.mark.parametrize("how", [MMoE(3), Soft(), FiLM(2)], ids=repr)
def test_a_thousand_tasks(how):
    module = how.build(nn.Sequential(nn.Linear(D, 3)), 1000)
    x, task = torch.randn(64, D), torch.randint(0, 1000, (64,))
    module(x, task).sum().backward()
    assert module(x[:4]).shape == (4, 1000, 3)


def test_without_layers_the_representation_is_the_input():
    x, task = rows()
    for how in (Hard(), Soft(), CrossStitch()):
        torch.testing.assert_close(how.build(nn.Sequential(), T)(x, task).detach(), x)


def test_penalties_reach_gates_by_name():
    module = built(MMoE(3))
    net = nn.Module()
    net.sharing = module
    penalties = Penalties(net, {"gates": L1(1e6)})
    penalties.proximal_step(torch.optim.SGD(net.parameters(), lr=1.0))
    x, _ = rows()
    logits = module.gates(x)
    torch.testing.assert_close(logits, logits[:, :1].expand_as(logits))


def test_a_name_stands_for_the_same_matrices_of_a_plain_loop(monkeypatch):
    found = []
    for part in range(2):
        if part:
            looped(monkeypatch)
        net = nn.Module()
        net.sharing = built(CGC(2, 1), "none")
        penalties = Penalties(net, {"trunk.*": L21(0.5)})
        found.append(([term.matrix.shape for term in penalties.terms], penalties.values()))
    assert found[0][0] == found[1][0]
    assert found[0][1]["trunk.*"] == pytest.approx(found[1][1]["trunk.*"], rel=1e-12)
