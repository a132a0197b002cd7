"""Task-specific batch norm: the same as an nn.BatchNorm1d for each task."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from polytask.deep import sharing  # noqa: E402
from polytask.deep.regularise import TaskBatchNorm1d, TaskSequential  # noqa: E402
from polytask.exceptions import ParameterError  # noqa: E402

T, H = 3, 5


def batches(seed=0, count=4):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        task = torch.from_numpy(np.repeat(np.arange(T), [7, 2, 11])[rng.permutation(20)])
        x = torch.from_numpy(rng.normal(size=(20, H))) * (1.0 + task[:, None]) + task[:, None]
        yield x, task


def pair():
    torch.manual_seed(0)
    whole = TaskBatchNorm1d(H, T).double()
    loop = nn.ModuleList(nn.BatchNorm1d(H) for _ in range(T)).double()
    with torch.no_grad():
        whole.weight.uniform_(0.5, 2.0)
        whole.bias.normal_()
        for t, norm in enumerate(loop):
            norm.weight.copy_(whole.weight[t])
            norm.bias.copy_(whole.bias[t])
    return whole, loop


def by_loop(loop, x, task):
    out = torch.empty_like(x)
    for t, norm in enumerate(loop):
        out = out.index_put(((task == t).nonzero()[:, 0],), norm(x[task == t]))
    return out


def test_outputs_gradients_and_statistics_are_those_of_a_loop():
    whole, loop = pair()
    for x, task in batches():
        found, known = whole(x, task), by_loop(loop, x, task)
        torch.testing.assert_close(found, known, rtol=1e-10, atol=1e-10)
        target = torch.randn(x.shape, dtype=x.dtype)
        whole.zero_grad()
        loop.zero_grad()
        (found * target).sum().backward()
        (known * target).sum().backward()
    for t, norm in enumerate(loop):
        torch.testing.assert_close(whole.running_mean[t], norm.running_mean)
        torch.testing.assert_close(whole.running_var[t], norm.running_var)
        torch.testing.assert_close(whole.weight.grad[t], norm.weight.grad)
        torch.testing.assert_close(whole.bias.grad[t], norm.bias.grad)
    whole.eval()
    loop.eval()
    for x, task in batches(9):
        torch.testing.assert_close(whole(x, task), by_loop(loop, x, task))


def test_a_single_row_of_a_task_uses_and_keeps_its_running_statistics():
    whole, loop = pair()
    for x, task in batches():
        whole(x, task)
        by_loop(loop, x, task)
    before = whole.running_mean[1].clone(), whole.running_var[1].clone()
    x, task = next(iter(batches(5)))
    rows = (task != 1).nonzero()[:, 0]
    keep = torch.cat([(task == 1).nonzero()[:1, 0], rows])
    found = whole(x[keep], task[keep])
    torch.testing.assert_close(found[:1], loop[1].eval()(x[keep][:1]))
    torch.testing.assert_close(found[1:], by_loop(loop.train(), x[rows], task[rows]))
    assert torch.equal(whole.running_mean[1], before[0])
    assert torch.equal(whole.running_var[1], before[1])


def test_unseen_tasks_have_the_common_statistics_and_the_mean_gains():
    whole, _ = pair()
    common = nn.BatchNorm1d(H).double()
    with torch.no_grad():
        common.weight.copy_(whole.weight.mean(0))
        common.bias.copy_(whole.bias.mean(0))
    for x, task in batches():
        whole(x, task)
        known = common(x)
    x, task = list(batches())[-1]
    strangers = torch.where(task == 0, -1, task)
    whole_again = TaskBatchNorm1d(H, T).double()
    whole_again.load_state_dict(whole.state_dict())
    found = whole_again(x, strangers)
    torch.testing.assert_close(found[task == 0], known[task == 0])
    whole.eval()
    torch.testing.assert_close(whole(x, torch.full_like(task, -1)), common.eval()(x))


def test_a_task_never_seen_in_training_has_the_common_statistics():
    whole, _ = pair()
    for x, task in batches():
        whole(x[task != 2], task[task != 2])
    whole.eval()
    x, task = next(iter(batches()))
    found = whole(x, torch.full_like(task, 2))
    plain = (whole(x, torch.full_like(task, -1)) - whole.bias.mean(0)) / whole.weight.mean(0)
    torch.testing.assert_close(found, plain * whole.weight[2] + whole.bias[2])


def test_tasks_do_not_touch_each_other():
    whole, _ = pair()
    x, task = next(iter(batches()))
    found = whole(x, task)
    other = torch.where((task == 0)[:, None], 10 * x, x)
    torch.testing.assert_close(whole(other, task)[task != 0], found[task != 0])


def test_rows_of_another_width_are_refused():
    with pytest.raises(
        ParameterError, match=r"x of TaskBatchNorm1d must be of shape \(n, 5\); got \(2, 4\)"
    ):
        TaskBatchNorm1d(H, T)(torch.zeros(2, 4), torch.zeros(2, dtype=torch.long))


@pytest.mark.parametrize("settings", [{"eps": 0.0}, {"momentum": 0.0}, {"momentum": 2.0}])
def test_settings_are_checked(settings):
    with pytest.raises(ParameterError, match="TaskBatchNorm1d"):
        TaskBatchNorm1d(H, T, **settings)


def test_in_a_trunk_under_hard_sharing():
    torch.manual_seed(0)
    trunk = TaskSequential(nn.Linear(4, H), TaskBatchNorm1d(H, T), nn.ReLU())
    shared = sharing.Hard().build(trunk, T)
    assert shared.shared_representation is False
    x, task = torch.randn(12, 4), torch.arange(12) % T
    shared(x, task)
    shared.eval()
    whole, own = shared(x), shared(x, task)
    assert whole.shape == (12, T, H)
    torch.testing.assert_close(own, whole[torch.arange(12), task])


def test_statistics_are_precise_where_rows_are_not():
    rows = 3.0 + torch.randn(1200, 2)
    task = torch.arange(1200) % 2
    whole, low = TaskBatchNorm1d(2, 2), TaskBatchNorm1d(2, 2)
    expected, found = whole(rows, task), low(rows.bfloat16(), task)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), expected, atol=0.05)
    assert torch.allclose(low.running_mean, whole.running_mean, atol=1e-3)
