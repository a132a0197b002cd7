"""State: absent tasks, checkpoints, observation."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from polytask._registry import name_of, rebuild, resolve, state_of  # noqa: E402
from polytask.deep import balancing  # noqa: E402
from polytask.deep.balancing import (  # noqa: E402
    DWA,
    FAMO,
    MGDA,
    AutoLambda,
    Equal,
    Fixed,
    PCGrad,
    StatefulBalancer,
    UPGrad,
    backward,
)
from polytask.exceptions import DataError, IncompatibleError  # noqa: E402

METHODS = {
    **{name: getattr(balancing, name)() for name in ("Equal", "GeometricMean", "RandomWeights")},
    **{name: getattr(balancing, name)() for name in ("STCH", "Uncertainty", "IMTLL", "FAMO")},
    **{name: getattr(balancing, name)() for name in ("GradNorm", "MGDA", "PCGrad", "CAGrad")},
    **{name: getattr(balancing, name)() for name in ("IMTLG", "Nash", "Aligned", "UPGrad")},
    "AutoLambda": AutoLambda(),
    "DWA": DWA(period=5),
    "Fixed": Fixed([1.0, 2.0, 0.5]),
}


class Problem:
    """Three related targets; the last task is absent from every second batch."""

    def __init__(self):
        torch.manual_seed(0)
        self.X = torch.randn(64, 6)
        self.Y = torch.tanh(self.X @ torch.randn(6, 3)) + 0.05 * torch.randn(64, 3)
        self.trunk = nn.Sequential(nn.Linear(6, 16), nn.ReLU())
        self.heads = nn.Linear(16, 3)
        parameters = [*self.trunk.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=0.01)

    def losses(self):
        shared = self.trunk(self.X)
        return (self.heads(shared) - self.Y).square().mean(0), shared

    def step(self, balance, tasks):
        losses, shared = self.losses()
        present = torch.tensor(tasks)
        self.optimizer.zero_grad()
        backward(losses[present], shared=shared, balancer=balance, present=present)
        self.optimizer.step()


@pytest.mark.parametrize("name", METHODS)
def test_a_task_absent_from_every_second_batch(name):
    problem, balance = Problem(), StatefulBalancer(METHODS[name], 3)
    before = problem.losses()[0].detach()
    for step in range(120):
        problem.step(balance, [0, 1] if step % 2 == 0 else [0, 1, 2])
    after = problem.losses()[0].detach()
    assert float((after / before).max()) < 0.6


@pytest.mark.parametrize("name", METHODS)
def test_a_task_that_comes_late(name):
    problem, balance = Problem(), StatefulBalancer(METHODS[name], 3)
    for _ in range(40):
        problem.step(balance, [0, 1])
    before = problem.losses()[0].detach()
    for _ in range(80):
        problem.step(balance, [0, 1, 2])
    after = problem.losses()[0].detach()
    assert float(after[2] / before[2]) < 0.6


@pytest.mark.parametrize("name", METHODS)
def test_training_goes_on_from_a_checkpoint_bit_for_bit(name):
    whole, balance = Problem(), StatefulBalancer(METHODS[name], 3)
    for step in range(6):
        whole.step(balance, [0, 1] if step % 2 == 0 else [2, 0, 1])
        if step == 2:
            saved = copy.deepcopy((whole, balance.state_dict()))
    resumed, fresh = saved[0], StatefulBalancer(METHODS[name], 3)
    fresh.load_state_dict(saved[1])
    for step in range(3, 6):
        resumed.step(fresh, [0, 1] if step % 2 == 0 else [2, 0, 1])
    for a, b in zip(whole.trunk.parameters(), resumed.trunk.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_state_of_another_balancer_is_refused():
    balance = StatefulBalancer(FAMO(), 3)
    balance.weigh(torch.ones(3))
    for other in (
        StatefulBalancer(DWA(), 3),
        StatefulBalancer(FAMO(), 4),
        StatefulBalancer(Equal(), 3),
    ):
        with pytest.raises(DataError, match="state of StatefulBalancer"):
            other.load_state_dict(balance.state_dict())


def test_losses_in_half_precision_keep_a_state_in_single():
    balance = StatefulBalancer(FAMO(), 2)
    weights = balance.weigh(torch.tensor([1.0, 2.0], dtype=torch.bfloat16))
    assert weights.dtype == torch.bfloat16
    assert balance.state_dict()["tasks.value"].dtype == torch.float32


@pytest.mark.parametrize("name", METHODS)
def test_a_balancer_can_be_saved(name):
    balancer = METHODS[name]
    assert resolve(name_of(balancer)) is type(balancer)
    assert rebuild(type(balancer), state_of(balancer)) == balancer


def test_a_state_is_a_copy():
    balance = StatefulBalancer(FAMO(), 2)
    balance.weigh(torch.ones(2))
    state = balance.state_dict()
    state["tasks.value"].add_(5)
    assert float(balance.state_dict()["tasks.value"].abs().max()) < 1
    balance.load_state_dict(state)
    state["tasks.value"].add_(5)
    assert float(balance.state_dict()["tasks.value"].max()) == 5


def test_what_remembers_nothing_has_no_state():
    for balancer in (Equal(), Fixed([1.0, 2.0]), MGDA(), UPGrad()):
        balance = StatefulBalancer(balancer, 2)
        balance.weigh(torch.ones(2), gramian=torch.eye(2))
        assert not balance.remembers
        assert balance.state_dict() == {}
        balance.load_state_dict({})
    assert StatefulBalancer(PCGrad(), 2).remembers


def test_the_gramian_is_asked_for():
    balance = StatefulBalancer(MGDA(), 2)
    assert balance.needs_gramian
    with pytest.raises(IncompatibleError, match="needs the Gramian"):
        balance.weigh(torch.ones(2))


def test_observing_needs_a_balancer_that_learns_from_it():
    with pytest.raises(IncompatibleError, match="FAMO does"):
        StatefulBalancer(Equal(), 2).observe(torch.ones(2))


def test_observing_leaves_absent_tasks():
    balance = StatefulBalancer(FAMO(), 3)
    for _ in range(3):
        balance.weigh(torch.tensor([1.0, 2.0]), torch.tensor([2, 0]))
        balance.observe(torch.tensor([0.5, 2.0]), torch.tensor([2, 0]))
    value = balance.state_dict()["tasks.value"]
    assert float(value[1]) == 0
    assert float(value[2]) < 0 < float(value[0])
