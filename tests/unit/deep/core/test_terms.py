"""The data term on a batch, against the formula and the NumPy half."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch")

from polytask.datafits import Features  # noqa: E402
from polytask.deep.network import ColumnHeads, Network  # noqa: E402
from polytask.deep.rows import DeviceDtype, RowBatch, table_rows  # noqa: E402
from polytask.deep.sharing import Hard  # noqa: E402
from polytask.deep.trainable import Sums, TaskLosses, loss_sums, task_means  # noqa: E402
from polytask.losses import LOSSES, Huber, Logistic, Multinomial, Poisson, Quantile, Squared  # noqa: E402

ALL = [make() for make in LOSSES.values()] + [Huber(0.5), Quantile(0.9)]


def targets_for(loss, rng, n):
    if loss.n_outputs(3) == 3:
        return rng.integers(0, 3, n).astype(float), rng.normal(size=(n, 3)) * 3
    y = rng.integers(0, 2, n).astype(float) if loss.is_classifier else rng.gamma(2.0, size=n)
    return y, rng.normal(size=n) * 2


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_values_and_gradients_are_those_of_the_numpy_half(loss):
    rng = np.random.default_rng(0)
    y, eta = targets_for(loss, rng, 200)
    # The kinks: a predictor of exactly 0, and one that equals its target.
    eta[:20] = 0.0
    if eta.ndim == 1:
        eta[20:30] = y[20:30]
    at = torch.tensor(eta, requires_grad=True)
    # Of one row with a task for each label: sums are the values themselves.
    weight = torch.ones(1, len(y), dtype=torch.float64)
    values = loss_sums(loss, torch.tensor(y)[None], at[None], weight)
    assert_allclose(values.detach().numpy(), loss.value(y, eta), rtol=1e-10, atol=1e-12)
    up = rng.normal(size=len(y))
    (values * torch.tensor(up)).sum().backward()
    slope = loss.gradient(y, eta)
    expected = slope * (up if slope.ndim == 1 else up[:, None])
    assert_allclose(at.grad.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_batched_gradients_go_through_a_loss():
    eta = torch.linspace(-2, 2, 5, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    values = loss_sums(Logistic(), y[None], eta[None], torch.ones_like(y)[None])
    eye = torch.eye(5, dtype=torch.float64)
    (rows,) = torch.autograd.grad(values, eta, eye, is_grads_batched=True)
    expected = np.diag(Logistic().gradient(y.numpy(), eta.detach().numpy()))
    assert_allclose(rows.numpy(), expected, rtol=1e-12)


LOSSES_OF_TASKS = (Squared(), Multinomial(), Logistic(), Multinomial(), Squared(), Poisson())
WIDTHS = (1, 3, 1, 2, 1, 1)


def network(n_features=4, seed=0):
    torch.manual_seed(seed)
    owners = np.repeat(np.arange(6), WIDTHS).tolist()
    trunk = torch.nn.Sequential(torch.nn.Linear(n_features, 7), torch.nn.Tanh())
    heads = ColumnHeads(owners, 7)
    return Network(Hard().build(trunk, 6), heads, TaskLosses(LOSSES_OF_TASKS, WIDTHS)).double()


def by_hand(net, x, y, weight, task):
    """The mean loss of every task by NumPy, None where it is absent."""
    with torch.no_grad():
        features = net.sharing(torch.tensor(x), None).numpy()
    eta = features @ net.heads.weight.detach().numpy().T + net.heads.bias.detach().numpy()
    ends = np.cumsum(WIDTHS)
    means = []
    for t, (loss, width, end) in enumerate(zip(LOSSES_OF_TASKS, WIDTHS, ends, strict=True)):
        own = eta[:, end - width : end]
        own = own if isinstance(loss, Multinomial) else own[:, 0]
        rows = task == t
        v = weight[rows]
        if not v.sum():
            means.append(None)
            continue
        means.append(float((v * loss.value(y[rows], own[rows])).sum() / v.sum()))
    return means


def problem(rng, n=60, without=()):
    task = rng.choice([t for t in range(6) if t not in without], n)
    codes = np.array([1, 3, 2, 2, 1, 4])
    y = np.where(
        np.isin(task, [0, 4]), rng.normal(size=n), rng.integers(0, 100, n) % codes[task]
    ).astype(float)
    return rng.normal(size=(n, 4)), y, rng.uniform(0.5, 2.0, n), task


@pytest.mark.parametrize("without", [(), (1,), (0, 3, 5)])
def test_the_data_term_of_rows_is_the_formula(without):
    net = network()
    x, y, weight, task = problem(np.random.default_rng(1), without=without)
    batch = RowBatch(*(torch.tensor(part) for part in (x, y, weight, task)))
    sums = net.sums(batch)
    expected = by_hand(net, x, y, weight, task)
    assert sums.present.tolist() == [t for t in range(6) if t not in without]
    found = task_means(sums, sums.weights).detach().numpy()
    assert_allclose(found, [m for m in expected if m is not None], rtol=1e-12)
    assert_allclose(net.counts(batch)[sums.present], sums.weights, rtol=1e-12)


def test_the_data_term_of_targets_is_that_of_rows():
    net = network()
    x, y, weight, task = problem(np.random.default_rng(2), n=40)
    wide = torch.full((40, 6), 1.0, dtype=torch.float64)
    label_weight = torch.zeros_like(wide)
    wide[torch.arange(40), torch.tensor(task)] = torch.tensor(y)
    label_weight[torch.arange(40), torch.tensor(task)] = torch.tensor(weight)
    parts = (torch.tensor(x), torch.tensor(y), torch.tensor(weight), torch.tensor(task))
    rows, targets = (
        net.sums(RowBatch(*parts)),
        net.sums(RowBatch(parts[0], wide, label_weight, None)),
    )
    assert_allclose(rows.losses.detach(), targets.losses.detach(), rtol=1e-12)
    assert_allclose(rows.weights, targets.weights, rtol=1e-12)
    first = torch.autograd.grad(rows.losses.sum(), net.parameters())
    second = torch.autograd.grad(targets.losses.sum(), net.parameters())
    for one, other in zip(first, second, strict=True):
        assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("form", ["rows", "targets"])
def test_batches_cut_from_a_table_know_the_labels_in_them(form):
    """They are gathered many at a time, with counts and tasks found at once."""
    net = network()
    x, y, weight, task = problem(np.random.default_rng(4), n=1500, without=(1,))
    wide = np.where(np.arange(6) == task[:, None], y[:, None], np.nan)
    shown = wide if form == "targets" else y
    weights = np.where(np.isnan(wide), 0.0, weight[:, None]) if form == "targets" else weight
    place = DeviceDtype(torch.float64, torch.device("cpu"))
    own = None if form == "targets" else task
    table = table_rows(Features(x), shown, weights, own, 6, place)
    parts = np.split(np.random.default_rng(5).permutation(1500), np.arange(7, 1500, 7))
    found = list(table.batches(parts))
    assert len(found) == len(parts)
    for rows, batch in zip(parts, found, strict=True):
        assert_allclose(batch.x, x[rows])
        plain = RowBatch(batch.x, batch.y, batch.weight, batch.task)
        known, again = net.sums(batch), net.sums(plain)
        assert known.present.tolist() == again.present.tolist() == sorted(set(task[rows]))
        assert_allclose(known.weights, again.weights, rtol=1e-14)
        assert_allclose(known.losses.detach(), again.losses.detach(), rtol=1e-14)
        assert batch.complete is (form == "rows")


def test_a_task_of_another_gradient_is_left_alone():
    """The head of an absent task has no gradient at all."""
    net = network()
    x, y, weight, task = problem(np.random.default_rng(3), without=(1, 4))
    batch = RowBatch(*(torch.tensor(part) for part in (x, y, weight, task)))
    net.sums(batch).losses.sum().backward()
    absent = np.isin(np.repeat(np.arange(6), WIDTHS), [1, 4])
    assert not net.heads.weight.grad.numpy()[absent].any()
    assert net.heads.weight.grad.numpy()[~absent].any(axis=1).all()


def test_an_infinite_loss_of_a_missing_label_counts_for_nothing():
    # Poisson at a target of 0: exp(eta), which overflows for the missing label.
    eta = torch.log(torch.tensor([[1.0, float("inf")], [3.0, 2.0]]))
    weight = torch.tensor([[1.0, 0.0], [3.0, 1.0]])
    sums = loss_sums(Poisson(), torch.zeros(2, 2), eta, weight)
    assert_allclose(sums, [10.0, 2.0], rtol=1e-6)


def test_a_root_is_taken_of_twice_the_mean():
    sums = Sums(torch.tensor([8.0, 8.0]), torch.ones(2), torch.arange(2))
    roots = torch.tensor([True, False])
    assert task_means(sums, sums.weights, roots).tolist() == [4.0, 8.0]


@pytest.mark.parametrize("n_tasks", [3, 6])
def test_heads_are_one_product_in_either_form(n_tasks):
    torch.manual_seed(0)
    heads = ColumnHeads([t for t in range(n_tasks) for _ in range(2)], 5).double()
    own = torch.randn(7, n_tasks, 5, dtype=torch.float64)
    every = heads(own)
    for t in range(n_tasks):
        columns = torch.tensor([[2 * t, 2 * t + 1]]).expand(7, 2)
        assert_allclose(
            every[:, 2 * t : 2 * t + 2].detach(),
            heads.of_columns(own[:, t], columns).detach(),
            rtol=1e-12,
        )
    same = own[:, 0]
    assert_allclose(
        heads(same).detach(), heads(same[:, None].expand(7, n_tasks, 5)).detach(), rtol=1e-12
    )
