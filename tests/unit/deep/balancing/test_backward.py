"""`backward`: gradients against the definition, on every route."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from polytask.deep.balancing import (  # noqa: E402
    DWA,
    IMTLG,
    MGDA,
    Equal,
    Fixed,
    GradNorm,
    LinearHeads,
    OwnInputs,
    OwnRows,
    Parameters,
    State,
    StatefulBalancer,
    UPGrad,
    backward,
    fan_out,
    routes,
)
from polytask.deep.balancing.routes import contributions  # noqa: E402
from polytask.exceptions import DataError, IncompatibleError  # noqa: E402

N, D, H, T = 7, 3, 4, 5


@dataclass(frozen=True)
class Recorder:
    """Weights 1, 2, 3, ...; keeps the Gramians it was given."""

    seen: list = field(default_factory=list)
    weighs_heads: bool = False

    def start(self, n_tasks, like):
        return State({"weight": torch.arange(1.0, n_tasks + 1).to(like)}, constant=True)

    def weigh_gradients(self, losses, gramian, state):
        self.seen.append(gramian)
        return state.tasks["weight"].to(losses), state


class Net(nn.Module):
    """A trunk and a linear head for each task."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(3)
        self.trunk = nn.Sequential(nn.Linear(D, H), nn.Tanh()).to(dtype)
        self.heads = nn.Linear(H, T).to(dtype)
        self.X = torch.randn(N, D, dtype=dtype)
        self.Y = torch.randn(N, T, dtype=dtype)
        self.rows = torch.tensor([0, 1, 2, 3, 4, 0, 2])

    def gradients(self):
        return [p.grad.clone() for p in self.parameters()]


def head(net, shared, task):
    return shared @ net.heads.weight[task] + net.heads.bias[task]


def loss_of(net, eta, task):
    return (eta - net.Y[:, task]).square().mean() * (1 + task)


def at_representation(net, tasks):
    """One matrix product for all heads: the losses have operations in common."""
    shared = net.trunk(net.X)
    outputs = net.heads(shared)
    scale = 1 + torch.arange(T)
    losses = (outputs - net.Y).square().mean(0) * scale
    return losses[tasks], shared, LinearHeads(shared, outputs, net.heads.weight)


def plain_tensor(net, tasks):
    losses, shared, _ = at_representation(net, tasks)
    return losses, shared


def linear_heads(net, tasks):
    losses, _, route = at_representation(net, tasks)
    return losses, route


def own_heads(net, tasks):
    """A module for each task: one ordinary pass."""
    shared = net.trunk(net.X)
    return torch.stack([loss_of(net, head(net, shared, t), t) for t in tasks]), shared


def own_inputs(net, tasks):
    copies = fan_out(net.trunk(net.X), T)
    losses = torch.stack([loss_of(net, head(net, copies[t], t), t) for t in tasks])
    return losses, OwnInputs(copies)


ROUTES = {f.__name__: f for f in (plain_tensor, linear_heads, own_heads, own_inputs)}


def expected(net, tasks, weights, shared_of):
    """Gramian and gradients by one backward pass for each task."""
    losses, shared = own_heads(net, tasks)
    tensors = shared_of(net, shared)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, tensors, retain_graph=True)])
        for loss in losses
    ]
    J = torch.stack(rows)
    trunk = list(net.trunk.parameters())
    heads = list(net.heads.parameters())
    below = torch.autograd.grad((weights * losses).sum(), trunk, retain_graph=True)
    own = torch.autograd.grad(losses.sum(), heads)
    return J @ J.T, [*below, *own]


@pytest.mark.parametrize("tasks", [[0, 1, 2, 3, 4], [3, 0, 4]])
@pytest.mark.parametrize("route", ROUTES)
def test_every_route_gives_the_same(route, tasks):
    net, recorder, present = Net(), Recorder(), torch.tensor(tasks)
    losses, shared = ROUTES[route](net, tasks)
    weights = backward(losses, shared=shared, balancer=recorder, present=present, n_tasks=T)
    assert torch.equal(weights, present + 1.0)
    gramian, gradients = expected(Net(), tasks, present + 1.0, lambda _, z: [z])
    torch.testing.assert_close(recorder.seen[0], gramian, rtol=1e-10, atol=1e-12)
    for got, wanted in zip(net.gradients(), gradients, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("route", ["plain_tensor", "own_heads"])
def test_parameter_level(route):
    net, recorder, tasks = Net(), Recorder(), list(range(T))
    losses, _ = ROUTES[route](net, tasks)
    backward(losses, shared=net.trunk.parameters(), balancer=recorder)
    weights = torch.arange(1.0, T + 1)
    gramian, gradients = expected(Net(), tasks, weights, lambda n, _: list(n.trunk.parameters()))
    torch.testing.assert_close(recorder.seen[0], gramian, rtol=1e-10, atol=1e-12)
    for got, wanted in zip(net.gradients(), gradients, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


def test_heads_are_told_apart_only_where_they_are():
    net, every = Net(), list(range(T))
    losses, shared = own_heads(net, every)
    for terms in (losses, losses * torch.ones(T), (losses / 3.0).float()):
        rows, handles = contributions(terms, shared)
        torch.autograd.grad(terms.sum(), shared, retain_graph=True)
        for handle in handles:
            handle.remove()
        wanted = [torch.autograd.grad(t, shared, retain_graph=True)[0] for t in terms]
        torch.testing.assert_close(rows, torch.stack(wanted))
    assert contributions(plain_tensor(net, every)[0], shared) is None
    between = shared.tanh()
    common = torch.stack([loss_of(net, head(net, between, t), t) for t in every])
    assert contributions(common, shared) is None
    parts = [loss_of(net, head(net, shared, t), t) for t in every]
    beside = net.trunk(net.X).sum()
    assert contributions(torch.stack([part + beside for part in parts]), shared) is None
    assert contributions(torch.stack([part + 1.0 for part in parts]), shared) is not None
    # Losses that were taken apart again have the stack in common.
    assert contributions(torch.stack(list(losses)), shared) is None


THROUGH = [name for name in ROUTES if name != "own_inputs"]


@pytest.mark.parametrize("tasks", [[0, 1, 2, 3, 4], [3, 0, 4]])
@pytest.mark.parametrize("route", THROUGH)
def test_parameters_through_the_representation(route, tasks):
    net, recorder, present = Net(), Recorder(), torch.tensor(tasks)
    losses, shared = ROUTES[route](net, tasks)
    below = Parameters(tuple(net.trunk.parameters()), through=shared)
    backward(losses, shared=below, balancer=recorder, present=present, n_tasks=T)
    gramian, gradients = expected(
        Net(), tasks, present + 1.0, lambda n, _: list(n.trunk.parameters())
    )
    torch.testing.assert_close(recorder.seen[0], gramian, rtol=1e-10, atol=1e-12)
    for got, wanted in zip(net.gradients(), gradients, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


def test_parameters_of_few_tasks_and_of_many_are_added_alike(monkeypatch):
    found = []
    for few in (0, 99):
        monkeypatch.setattr(routes, "FEW", few)
        net = Net()
        for scale in (1.0, 4.0):
            losses, shared = linear_heads(net, list(range(T)))
            below = Parameters(tuple(net.trunk.parameters()), through=shared)
            backward(losses, shared=below, balancer=Recorder(), loss_scale=scale)
        found.append(net.gradients())
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_some_parameters_of_the_trunk_weigh_all_of_it():
    """The Gramian is that of the ones named; the weighted sum reaches everything below."""
    net, tasks = Net(), list(range(T))
    losses, shared = own_heads(net, tasks)
    recorder = Recorder()
    backward(losses, shared=Parameters((net.trunk[0].bias,), through=shared), balancer=recorder)
    weights = torch.arange(1.0, T + 1)
    gramian, gradients = expected(Net(), tasks, weights, lambda n, _: [n.trunk[0].bias])
    torch.testing.assert_close(recorder.seen[0], gramian, rtol=1e-10, atol=1e-12)
    for got, wanted in zip(net.gradients(), gradients, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


def test_parameters_through_what_cannot_hand_out_gradients():
    net = Net()
    losses, copies = own_inputs(net, list(range(T)))
    below = Parameters(tuple(net.trunk.parameters()), through=copies)
    with pytest.raises(IncompatibleError, match="OwnInputs"):
        backward(losses, shared=below, balancer=MGDA())


def test_columns_of_several_classes():
    """Two tasks with two columns each, one with one; the columns are not in order."""
    owner = torch.tensor([2, 0, 1, 0, 2])
    tasks = [2, 0]
    grams, gradients = [], []
    for as_route in (True, False):
        net, recorder = Net(), Recorder()
        shared = net.trunk(net.X)
        outputs = net.heads(shared)
        each = (outputs - net.Y).square().mean(0)
        losses = torch.stack([each[owner == t].sum().exp() for t in tasks])
        route = LinearHeads(shared, outputs, net.heads.weight, owner) if as_route else shared
        backward(losses, shared=route, balancer=recorder, present=torch.tensor(tasks), n_tasks=3)
        grams.append(recorder.seen[0])
        gradients.append(net.gradients())
    torch.testing.assert_close(*grams, rtol=1e-10, atol=1e-12)
    for got, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("level", ["representation", "parameters"])
def test_rows_of_single_tasks(level):
    found = []
    for as_route in (True, False):
        net, recorder = Net(), Recorder()
        shared = net.trunk(net.X)
        eta = (shared * net.heads.weight[net.rows]).sum(1) + net.heads.bias[net.rows]
        errors = (eta - net.Y[:, 0]).square()
        present = torch.tensor([4, 2, 0, 3])
        sums = errors.new_zeros(T).index_add(0, net.rows, errors)
        at = OwnRows(shared, net.rows) if as_route else shared
        if level == "parameters":
            trunk = tuple(net.trunk.parameters())
            at = Parameters(trunk, through=at) if as_route else trunk
        backward(sums[present], shared=at, balancer=recorder, present=present, n_tasks=T)
        found.append([recorder.seen[0], *net.gradients()])
    apart = found[0][0] - torch.diag(found[0][0].diagonal())
    assert (float(apart.abs().max()) == 0) == (level == "representation")
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


def test_orthonormal_inputs_and_a_linear_trunk_make_the_levels_equal():
    """With orthonormal rows of X the Gramian of the parameters is that of the representation."""
    torch.manual_seed(0)
    X = torch.linalg.qr(torch.randn(9, 4, dtype=torch.float64))[0].T
    weights = []
    for level in ("representation", "parameters"):
        torch.manual_seed(1)
        trunk = nn.Linear(9, 6, bias=False).double()
        heads = nn.Linear(6, 3).double()
        shared = trunk(X)
        losses = (heads(shared) - 1).square().mean(0) * torch.tensor([1.0, 4.0, 9.0])
        at = shared if level == "representation" else trunk.parameters()
        weights.append(backward(losses, shared=at, balancer=MGDA()))
    torch.testing.assert_close(*weights, rtol=1e-9, atol=1e-9)


def test_a_loss_balancer_weighs_everything():
    net = Net()
    losses, _ = plain_tensor(net, list(range(T)))
    backward(losses, balancer=Fixed([1.0, 2.0, 3.0, 4.0, 5.0]))
    other = Net()
    losses, _ = plain_tensor(other, list(range(T)))
    (losses * torch.arange(1.0, 6.0)).sum().backward()
    for got, wanted in zip(net.gradients(), other.gradients(), strict=True):
        torch.testing.assert_close(got, wanted)


def test_gradnorm_weighs_the_heads_too():
    net, balance = Net(), StatefulBalancer(GradNorm(learning_rate=0.3), T)
    for _ in range(2):
        net.zero_grad()
        losses, shared = plain_tensor(net, list(range(T)))
        weights = backward(losses, shared=shared, balancer=balance)
    assert float(weights.std()) > 0.1
    other = Net()
    losses, _ = plain_tensor(other, list(range(T)))
    (losses * weights).sum().backward()
    for got, wanted in zip(net.gradients(), other.gradients(), strict=True):
        torch.testing.assert_close(got, wanted)


def test_task_weights_multiply_and_are_seen():
    given = torch.tensor([2.0, 1.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    net, recorder = Net(), Recorder()
    losses, shared = own_heads(net, list(range(T)))
    backward(losses, shared=shared, balancer=recorder, weights=given)
    other, plain = Net(), Recorder()
    losses, shared = own_heads(other, list(range(T)))
    backward(losses * given, shared=shared, balancer=plain)
    torch.testing.assert_close(recorder.seen[0], plain.seen[0])
    for got, wanted in zip(net.gradients(), other.gradients(), strict=True):
        torch.testing.assert_close(got, wanted)


def test_gradients_add_up():
    net = Net()
    for tasks in ([0, 1, 2], [3, 4]):
        losses, shared = plain_tensor(net, tasks)
        backward(losses, shared=shared, balancer=MGDA(), present=torch.tensor(tasks), n_tasks=T)
    both = []
    for tasks in ([0, 1, 2], [3, 4]):
        one = Net()
        losses, shared = plain_tensor(one, tasks)
        backward(losses, shared=shared, balancer=MGDA(), present=torch.tensor(tasks), n_tasks=T)
        both.append(one.gradients())
    for got, a, b in zip(net.gradients(), *both, strict=True):
        torch.testing.assert_close(got, a + b)


def test_a_loss_scale_multiplies_gradients_and_nothing_else():
    nets = []
    for scale in (1.0, 1024.0):
        net = Net(torch.float32)
        losses, shared = linear_heads(net, list(range(T)))
        weights = backward(losses, shared=shared, balancer=IMTLG(), loss_scale=scale)
        nets.append((weights, [g / scale for g in net.gradients()]))
    torch.testing.assert_close(nets[0][0], nets[1][0], rtol=1e-3, atol=1e-3)
    for a, b in zip(nets[0][1], nets[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_an_overflow_of_the_scale_reaches_the_scaler():
    net, balance = Net(torch.float32), StatefulBalancer(GradNorm(), T)
    losses, shared = linear_heads(net, list(range(T)))
    weights = backward(losses, shared=shared, balancer=balance, loss_scale=1e38)
    assert torch.equal(weights, torch.ones(T))
    assert not all(bool(torch.isfinite(g).all()) for g in net.gradients())
    assert balance.state_dict() == {}


def test_a_step_without_tasks_adds_nothing():
    net = Net()
    losses, shared = plain_tensor(net, [])
    none = torch.tensor([], dtype=torch.long)
    weights = backward(losses, shared=shared, balancer=MGDA(), present=none, n_tasks=T)
    assert len(weights) == 0
    assert all(p.grad is None for p in net.parameters())


def test_half_precision_measures_in_single():
    net, recorder = Net(torch.float32), Recorder()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses, route = linear_heads(net, list(range(T)))
    backward(losses.float(), shared=route, balancer=recorder)
    assert recorder.seen[0].dtype == torch.float32
    assert all(bool(torch.isfinite(g).all()) for g in net.gradients())


def test_several_shared_tensors_and_conflict():
    torch.manual_seed(0)
    first, second = nn.Linear(3, 4).double(), nn.Linear(3, 4).double()
    X = torch.randn(6, 3, dtype=torch.float64)
    a, b = first(X), second(X)
    losses = torch.stack([(a + b).square().mean(), (a.sum() - b.sum()).tanh(), -(a * b).mean()])
    J = torch.stack(
        [
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, [a, b], retain_graph=True)])
            for loss in losses
        ]
    )
    backward(losses, shared=[a, b], balancer=UPGrad())
    weights = backward_weights(J)
    trunk = torch.autograd.grad(
        (
            weights
            * torch.stack([(first(X) + second(X)).square().mean(), *_rest(first, second, X)])
        ).sum(),
        first.weight,
    )[0]
    torch.testing.assert_close(first.weight.grad, trunk)


def _rest(first, second, X):
    a, b = first(X), second(X)
    return (a.sum() - b.sum()).tanh(), -(a * b).mean()


def backward_weights(J):
    balancer = UPGrad()
    return balancer.weigh_gradients(torch.ones(len(J)), J @ J.T, State())[0]


def test_hooks_are_gone_afterwards():
    net = Net()
    losses, shared = plain_tensor(net, list(range(T)))
    with pytest.raises(RuntimeError, match="stop"):
        backward(losses, shared=Stops(shared), balancer=Recorder())
    assert not shared._backward_hooks


@dataclass(frozen=True)
class Stops:
    """A route whose gradient cannot be replaced."""

    shared: object

    def measure(self, terms, present):
        from polytask.deep.balancing.routes import Measured

        def stop(weights, gradient):
            raise RuntimeError("stop")

        return Measured(torch.eye(len(terms)), [(self.shared, stop)])


REFUSED = {
    "shape": (lambda n: {"losses": torch.tensor(1.0, requires_grad=True)}, "shape"),
    "shared": (lambda n: {"balancer": MGDA()}, "MGDA weighs gradients"),
    "memory": (lambda n: {"balancer": DWA()}, "StatefulBalancer"),
    "kind": (lambda n: {"balancer": "mgda"}, "weigh_losses"),
    "class": (lambda n: {"balancer": MGDA}, "weigh_losses"),
    "weights": (lambda n: {"weights": torch.ones(2)}, r"of shape \(\d,\); got \(2,\)"),
    "numbers": (lambda n: {"present": torch.tensor([0, 0, 1, 2, 3])}, "different numbers"),
    "range": (lambda n: {"present": torch.arange(1, 6), "n_tasks": 5}, "from 0 to 4"),
    "absent": (lambda n: {"n_tasks": 9}, "belong to"),
    "tasks": (
        lambda n: {"balancer": StatefulBalancer(Equal(), 3), "n_tasks": 4},
        "that of StatefulBalancer",
    ),
    "leaf": (lambda n: {"balancer": MGDA(), "shared": n.X}, "require gradients"),
    "frozen": (lambda n: {"balancer": MGDA(), "shared": OwnRows(n.X, n.rows)}, "frozen trunk"),
    "empty": (lambda n: {"balancer": MGDA(), "shared": []}, "at least one"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    change, sentence = REFUSED[name]
    net = Net()
    losses, _ = plain_tensor(net, list(range(T)))
    given = {"losses": losses, **change(net)}
    with pytest.raises((DataError, IncompatibleError), match=sentence):
        backward(given.pop("losses"), **given)


def test_a_loss_that_is_not_finite_is_named():
    losses = torch.tensor([1.0, np.nan], requires_grad=True)
    with pytest.raises(DataError, match=r"tasks 7"):
        backward(losses, present=torch.tensor([2, 7]), n_tasks=8)


def test_gradients_that_are_not_finite_are_refused():
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    losses = x.sqrt()
    with pytest.raises(DataError, match="positions 0"):
        backward(losses, shared=x, balancer=MGDA())
    assert x.grad is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_the_host():
    found = []
    for device in ("cpu", "cuda"):
        net = Net().to(device)
        net.X, net.Y = net.X.to(device), net.Y.to(device)
        shared = net.trunk(net.X)
        outputs = net.heads(shared)
        losses = (outputs - net.Y).square().mean(0)
        route = LinearHeads(shared, outputs, net.heads.weight)
        backward(losses, shared=route, balancer=UPGrad())
        found.append([g.cpu() for g in net.gradients()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ["mapping", "list"])
def test_losses_may_have_names_or_stand_in_a_list(kind):
    found = []
    for given in ("tensor", kind):
        net = Net()
        shared = net.trunk(net.X)
        losses = (net.heads(shared) - net.Y).square().mean(0)
        named = {f"task {t}": loss for t, loss in enumerate(losses)}
        ask = {"tensor": losses, "mapping": named, "list": list(losses)}[given]
        weights = backward(ask, shared=shared, balancer=MGDA())
        found.append([weights, *net.gradients()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert not len(backward({}))
    for wrong, got in (
        ([torch.ones(2)], r"got a tensor of shape \(2,\) for 0\."),
        ({"a": 1.0}, r"got 1\.0 for 'a'\."),
        (torch.ones(()), r"got a tensor of shape \(\)\."),
    ):
        with pytest.raises(DataError, match=f"a mapping or sequence of scalar tensors; {got}"):
            backward(wrong)
