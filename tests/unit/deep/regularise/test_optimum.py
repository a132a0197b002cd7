"""Training and the final phase reach the optimum of the convex solvers, with its zeros."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import polytask  # noqa: E402
from polytask.deep.regularise import Penalties, final_phase  # noqa: E402
from polytask.exceptions import ConvergenceWarning, ParameterError  # noqa: E402
from polytask.penalties import (  # noqa: E402
    L1,
    L2,
    L21,
    MCP,
    Clustered,
    GroupNorm,
    NetworkLasso,
    OutlierTasks,
    TraceNorm,
    dirty,
    toward_mean,
)
from polytask.solvers import Status  # noqa: E402

N, D, T = 120, 15, 4


def data(seed=0):
    rng = np.random.default_rng(seed)
    X, W = rng.normal(size=(N, D)), np.zeros((D, T))
    W[:4] = rng.normal(size=(4, T))
    return X, X @ W + 0.3 * rng.normal(size=(N, T)) + 1.0


class Linear(nn.Module):
    """A network without a hidden layer."""

    def __init__(self):
        super().__init__()
        self.heads = nn.Linear(D, T).double()

    def forward(self, x):
        return self.heads(x)


class Problem:
    def __init__(self, penalty):
        X, Y = data()
        self.net, self.x, self.y = Linear(), torch.from_numpy(X), torch.from_numpy(Y)
        self.penalties = Penalties(self.net, {"heads": penalty})
        self.model = polytask.MultiTaskRegressor(penalty, task_weight="equal", tol=1e-9)
        self.model.fit(X, Y)

    def data_term(self):
        return 0.5 * (self.net(self.x) - self.y).square().mean(0).sum()

    def backward(self):
        self.net.zero_grad()
        (self.data_term() + self.penalties.smooth()).backward()

    def train(self, optimizer, steps):
        for _ in range(steps):
            self.backward()
            optimizer.step()
            self.penalties.proximal_step(optimizer)

    def excess(self):
        with torch.no_grad():
            found = float(self.data_term()) + self.penalties.values()["heads"]
        return found / self.model.solution_.objective - 1

    def residual(self):
        self.backward()
        return self.penalties.residual()["heads"]

    def zeros_agree(self):
        weight = self.net.heads.weight.detach().numpy()
        return np.array_equal(weight == 0, self.model.coef_ == 0)


SGD = {
    "plain": {"lr": 0.3},
    "momentum": {"lr": 0.05, "momentum": 0.8},
    "damped": {"lr": 0.1, "momentum": 0.8, "dampening": 0.5},
    "nesterov": {"lr": 0.05, "momentum": 0.8, "nesterov": True},
}


@pytest.mark.parametrize("settings", SGD.values(), ids=SGD)
@pytest.mark.parametrize("penalty", [L1(0.1), L21(0.3), TraceNorm(0.5)], ids=repr)
def test_sgd_ends_at_the_optimum_whatever_its_momentum(penalty, settings):
    problem = Problem(penalty)
    problem.train(torch.optim.SGD(problem.net.parameters(), **settings), 300)
    assert abs(problem.excess()) < 1e-8
    assert problem.residual() < 1e-6
    assert problem.zeros_agree()


@pytest.mark.parametrize("penalty", [L1(0.1), L21(0.3) + toward_mean(0.5)], ids=repr)
def test_adam_ends_at_the_optimum(penalty):
    problem = Problem(penalty)
    problem.train(torch.optim.Adam(problem.net.parameters(), lr=0.03), 400)
    assert abs(problem.excess()) < 1e-8
    assert problem.zeros_agree()


EVERY = [
    L1(0.1),
    L21(0.3),
    TraceNorm(0.5),
    toward_mean(0.5) + L21(0.1),
    toward_mean(0.5),
    Clustered(0.5, 0.5, 2),
    OutlierTasks(0.5),
    dirty(0.2, 0.1),
    MCP(0.2),
    L21(0.2) + L2(0.3),
    NetworkLasso(0.2, {(0, 1): 1.0, (1, 2): 0.5, (2, 3): 1.0}) + L2(0.1),
]


@pytest.mark.parametrize("penalty", EVERY, ids=repr)
def test_a_final_phase_ends_at_the_optimum(penalty):
    problem = Problem(penalty)
    end = final_phase(
        problem.penalties, problem.data_term, also=[problem.net.heads.bias], tol=1e-9
    )
    assert end.status is Status.CONVERGED
    assert abs(problem.excess()) < 1e-8
    assert end.objective == pytest.approx(problem.model.solution_.objective, rel=1e-8)
    assert end.residual["heads"] == pytest.approx(problem.residual(), abs=1e-12)
    assert problem.zeros_agree()


def test_adam_then_a_final_phase_for_the_trace_norm():
    problem = Problem(TraceNorm(0.5))
    optimizer = torch.optim.Adam(problem.net.parameters(), lr=0.05)
    for _ in range(50):
        problem.backward()
        optimizer.step()
    before = problem.excess()
    final_phase(problem.penalties, problem.data_term, also=[problem.net.heads.bias])
    assert before > 1e-3
    assert abs(problem.excess()) < 1e-5
    rank = np.linalg.matrix_rank(problem.net.heads.weight.detach().numpy(), tol=1e-9)
    assert rank == np.linalg.matrix_rank(problem.model.coef_, tol=1e-6)


@pytest.mark.parametrize("penalty", EVERY[:5], ids=repr)
def test_the_residual_is_zero_at_the_optimum_and_nowhere_else(penalty):
    problem = Problem(penalty)
    model = problem.model
    with torch.no_grad():
        problem.net.heads.weight.copy_(torch.from_numpy(model.coef_))
        problem.net.heads.bias.copy_(torch.from_numpy(model.intercept_))
    assert problem.residual() < 1e-3
    at_optimum = problem.residual()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        with torch.no_grad():
            moved = model.coef_ + 0.01 * rng.normal(size=model.coef_.shape)
            problem.net.heads.weight.copy_(torch.from_numpy(moved))
        assert problem.residual() > 0.01
        assert problem.residual() > 10 * at_optimum


def test_a_final_phase_that_is_not_over_says_so():
    problem = Problem(L1(0.1))
    with pytest.warns(ConvergenceWarning, match="final_phase ended with its last step"):
        end = final_phase(problem.penalties, problem.data_term, max_iter=2)
    assert end.status is Status.MAX_ITER
    assert end.n_iter == 2


def test_a_loss_that_is_not_the_same_twice_stalls_and_says_so():
    problem = Problem(L1(0.1))
    values = iter(range(10**6))

    def growing():
        return problem.data_term() + 1e6 * next(values)

    with pytest.warns(ConvergenceWarning, match="final_phase ended where no step lowers"):
        final_phase(problem.penalties, growing)


def test_settings_of_the_final_phase():
    problem = Problem(L1(0.1))
    with pytest.raises(ParameterError, match="tol of final_phase"):
        final_phase(problem.penalties, problem.data_term, tol=0.0)
    with pytest.raises(ParameterError, match="max_iter of final_phase"):
        final_phase(problem.penalties, problem.data_term, max_iter=0)


def test_what_has_no_penalty_stays_where_it_is():
    problem = Problem(L1(0.1))
    before = problem.net.heads.bias.detach().clone()
    final_phase(problem.penalties, problem.data_term)
    assert torch.equal(problem.net.heads.bias, before)


def nonlinear(seed, n_features):
    """Targets that are products and squares of the first three features."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1000, n_features))
    a, b, c = X[:, 0], X[:, 1], X[:, 2]
    Y = np.stack([a * b + c, b * b - c, np.tanh(2 * a) + b], axis=1)
    return torch.from_numpy(X).float(), torch.from_numpy(Y).float()


def fitted(penalty, optimizer_of, n_features=20, seed=0, steps=400):
    torch.manual_seed(seed)
    x, y = nonlinear(seed, n_features)
    net = nn.Module()
    net.trunk = nn.Sequential(nn.Linear(n_features, 32), nn.Tanh())
    net.heads = nn.Linear(32, 3)
    penalties = Penalties(net, {"input": penalty, "heads": L2(1e-3)})
    optimizer = optimizer_of(net.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: 0.5 * (1 + math.cos(math.pi * min(t / steps, 1)))
    )
    for _ in range(steps):
        optimizer.zero_grad()
        loss = 0.5 * (net.heads(net.trunk(x)) - y).square().mean(0).sum()
        (loss + penalties.smooth()).backward()
        optimizer.step()
        penalties.proximal_step(optimizer)
        schedule.step()
    return net.trunk[0].weight.detach().abs().sum(0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "optimizer_of",
    [
        lambda p: torch.optim.Adam(p, lr=0.03),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    ],
    ids=["Adam", "SGD"],
)
def test_l21_on_the_input_finds_the_planted_features_exactly(optimizer_of, seed):
    size = fitted(L21(0.1), optimizer_of, seed=seed)
    assert (size > 0).tolist() == [True] * 3 + [False] * 17


def test_group_norm_removes_a_useless_modality_exactly():
    groups = (tuple(range(3)), tuple(range(3, 8)), tuple(range(8, 12)))
    size = fitted(GroupNorm(0.015, groups), lambda p: torch.optim.Adam(p, lr=0.03), 12)
    assert bool((size[:3] > 0).all())
    assert int(size[3:].count_nonzero()) == 0


def test_what_adam_cannot_apply_waits_for_the_final_phase():
    problem = Problem(TraceNorm(0.5) + toward_mean(0.2))
    optimizer = torch.optim.Adam(problem.net.parameters(), lr=0.05)
    penalties = problem.penalties
    during = penalties.applicable(optimizer)
    problem.penalties = during
    problem.train(optimizer, 50)
    assert [term.split.proximable for term in during.terms] == [None]
    assert during.terms[0].split.smooth is not None
    problem.penalties = penalties
    final_phase(penalties, problem.data_term, also=[problem.net.heads.bias])
    assert abs(problem.excess()) < 1e-5


@pytest.mark.parametrize("penalty", [L21(0.1), toward_mean(0.1), GroupNorm(0.1, (range(15),))])
def test_what_adam_can_apply_is_left_as_it_is(penalty):
    net = Linear()
    penalties = Penalties(net, {"heads": penalty})
    assert penalties.applicable(torch.optim.Adam(net.parameters())) is penalties


def test_sgd_applies_everything():
    net = Linear()
    penalties = Penalties(net, {"heads": TraceNorm(0.1)})
    assert penalties.applicable(torch.optim.SGD(net.parameters(), lr=0.1)) is penalties
