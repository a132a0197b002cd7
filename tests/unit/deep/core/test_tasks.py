"""Outputs of any shape: pixels and boxes, sequences with padding, loaders of torch."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from polytask import DataError, ParameterError  # noqa: E402
from polytask.deep import Task, TaskNetwork, Training, balancing, evaluate, fit_network, sharing  # noqa: E402
from polytask.deep.balancing import StatefulBalancer  # noqa: E402
from polytask.deep.tasks import IgnoreIndex, labelled  # noqa: E402

ADAM = functools.partial(torch.optim.Adam, lr=0.01)
PAD = -1
cross_entropy = nn.CrossEntropyLoss(reduction="none")
squares = nn.MSELoss(reduction="none")


def squares_on_a_page(n=96, size=10):
    """Images with one square: which pixels are in it, and its box."""
    rng = np.random.default_rng(0)
    x = 0.3 * rng.normal(size=(n, 1, size, size)).astype(np.float32)
    inside, boxes = np.zeros((n, size, size), np.int64), np.zeros((n, 4), np.float32)
    for i, (top, left, side) in enumerate(rng.integers([0, 0, 3], [6, 6, 5], (n, 3))):
        inside[i, top : top + side, left : left + side] = 1
        boxes[i] = np.array([top, left, top + side, left + side]) / size
    x[:, 0] += 2 * inside
    return torch.tensor(x), torch.tensor(inside), torch.tensor(boxes)


class Pages(torch.utils.data.Dataset):
    def __init__(self):
        self.x, self.pixels, self.boxes = squares_on_a_page()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], {"pixels": self.pixels[i], "box": self.boxes[i]}


def intersection_over_union(output, target):
    predicted, truth = output.argmax(1) == 1, target == 1
    return (predicted & truth).sum() / (predicted | truth).sum()


def page_network():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
    box = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(800, 4))
    tasks = [
        Task("pixels", nn.Conv2d(8, 2, 1), cross_entropy, intersection_over_union),
        Task("box", box, squares, lambda output, target: (output - target).abs().mean()),
    ]
    return TaskNetwork(trunk, tasks)


@pytest.mark.parametrize("balancer", [None, balancing.PCGrad()], ids=["sum", "PCGrad"])
def test_pixels_and_boxes_from_a_loader(balancer):
    network, pages = page_network(), Pages()
    loader = DataLoader(pages, batch_size=32, shuffle=True)
    balance = None if balancer is None else StatefulBalancer(balancer, 2)
    before = evaluate(network, loader)
    training = Training(ADAM, max_epochs=12)
    history, result = fit_network(
        network, loader, training, held_out=loader, tasks=network.names, balancer=balance
    )
    after = evaluate(network, loader)
    assert after["pixels"] > 0.8 > before["pixels"]
    assert after["box"] < 0.5 * before["box"]
    assert history.tasks == ("pixels", "box")
    assert result.n_iter == 12


def test_the_mean_of_a_task_is_by_pixel_or_by_number():
    network, pages = page_network(), Pages()
    batch = next(iter(DataLoader(pages, batch_size=7)))
    sums = network.sums(batch)
    outputs = network(batch[0])
    expected = [
        nn.functional.cross_entropy(outputs["pixels"], batch[1]["pixels"]),
        nn.functional.mse_loss(outputs["box"], batch[1]["box"]),
    ]
    assert sums.weights.tolist() == network.counts(batch).tolist() == [7.0, 7.0]
    assert_allclose((sums.losses / sums.weights).tolist(), [e.item() for e in expected], rtol=1e-5)


def test_a_loss_that_is_a_mean_works_unchanged():
    torch.manual_seed(0)
    x, y = torch.randn(12, 3), torch.randn(12, 2)
    each = TaskNetwork(nn.Linear(3, 4), [Task("t", nn.Linear(4, 2), squares)])
    whole = TaskNetwork(each.sharing, [Task("t", each.heads[0], nn.MSELoss())])
    for name in ("losses", "weights"):
        one = getattr(each.sums((x, {"t": y})), name)
        assert torch.allclose(one, getattr(whole.sums((x, {"t": y})), name), rtol=1e-5)


class Reversed(nn.Module):
    """A network that reads a sequence both ways and gives a vector for each token."""

    def __init__(self, n_tokens):
        super().__init__()
        self.embed = nn.Embedding(n_tokens + 1, 16)
        self.read = nn.GRU(16, 24, batch_first=True, bidirectional=True)

    def forward(self, x):
        return self.read(self.embed(x + 1))[0]


class PerToken(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.linear = nn.Linear(48, n_classes)

    def forward(self, features):
        return self.linear(features).movedim(-1, 1)


def sequences(n=128, longest=6, n_tokens=4):
    """Tokens with padding: the same shifted by one, and whether the next one is equal."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, n_tokens, (n, longest))
    length = rng.integers(2, longest + 1, n)
    x[np.arange(longest) >= length[:, None]] = PAD
    shifted = np.full_like(x, PAD)
    shifted[:, 1:] = np.where(x[:, 1:] >= 0, x[:, :-1], PAD)
    return torch.tensor(x), torch.tensor(shifted)


def test_sequences_with_padding():
    x, target = sequences()
    torch.manual_seed(0)
    mask = IgnoreIndex(PAD)
    task = Task("before", PerToken(4), cross_entropy, mask=mask)
    network = TaskNetwork(Reversed(4), [task])
    batches = [(x[i : i + 32], {"before": target[i : i + 32]}) for i in range(0, 128, 32)]
    sums = network.sums(batches[0])
    real = target[:32] != PAD
    output = network(x[:32])["before"].movedim(1, -1)
    expected = nn.functional.cross_entropy(output[real], target[:32][real], reduction="sum")
    assert sums.weights.item() == real.sum() == network.counts(batches[0]).item()
    assert_allclose(sums.losses.item(), expected.item(), rtol=1e-5)
    fit_network(network, batches, Training(ADAM, max_epochs=25))
    right = network(x)["before"].argmax(1) == target
    assert right[target != PAD].float().mean() > 0.95


def test_missing_numbers_and_absent_tasks_count_for_nothing():
    torch.manual_seed(0)
    tasks = [Task(n, nn.Linear(4, 2), squares, mask=labelled) for n in ("u", "v", "w")]
    network = TaskNetwork(nn.Linear(3, 4), tasks)
    x, y = torch.randn(6, 3), torch.randn(6, 2)
    y[1, 0] = y[2] = float("nan")
    sums = network.sums((x, {"u": y, "v": None, "w": torch.full((6, 2), float("nan"))}))
    assert sums.present.tolist() == [0]
    assert sums.weights.tolist() == [9.0]
    sums.losses.sum().backward()
    assert torch.isfinite(network.sharing.weight.grad).all()
    assert network.heads[1].weight.grad is None


def test_a_mask_of_whole_boxes():
    torch.manual_seed(0)
    task = Task("box", nn.Linear(3, 4), squares, mask=lambda target: ~target.isnan().any(-1))
    network = TaskNetwork(nn.Identity(), [task])
    x, y = torch.randn(5, 3), torch.randn(5, 4)
    y[3, 2] = float("nan")
    sums = network.sums((x, {"box": y}))
    known = torch.tensor([0, 1, 2, 4])
    expected = (network(x)["box"] - y)[known].square().mean()
    assert sums.weights.item() == 4
    assert_allclose((sums.losses / sums.weights).item(), expected.item(), rtol=1e-6)


def test_accumulated_batches_make_the_step_of_one_large_batch():
    x, target = sequences(n=48)
    batches = [(x[i : i + 8], {"before": target[i : i + 8]}) for i in range(0, 48, 8)]
    sgd, found = functools.partial(torch.optim.SGD, lr=0.5), []
    for parts, accumulate in ((batches, 6), ([(x, {"before": target})], 1)):
        torch.manual_seed(0)
        task = Task("before", PerToken(4), cross_entropy, mask=IgnoreIndex(PAD))
        network = TaskNetwork(Reversed(4), [task]).double()
        fit_network(network, parts, Training(sgd, max_epochs=3, accumulate=accumulate))
        found.append(network.sharing.read.weight_hh_l0.detach())
    assert_allclose(found[0], found[1], atol=1e-10)


def test_ways_of_sharing_serve_trunks_that_give_vectors():
    torch.manual_seed(0)
    tasks = [Task(n, nn.Linear(8, 1), squares) for n in ("u", "v")]
    trunk = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
    network = TaskNetwork(trunk, tasks, sharing=sharing.MMoE(3))
    x = torch.randn(64, 3)
    y = {"u": x[:, :1].abs(), "v": x[:, 1:2]}
    history, _ = fit_network(network, [(x, y)], Training(ADAM, max_epochs=150))
    assert history.objective[-1] < 0.1 * history.objective[0]


def test_wrong_batches_and_tasks_are_refused():
    network = TaskNetwork(nn.Linear(3, 4), [Task("size", nn.Linear(4, 1), squares)])
    with pytest.raises(
        DataError, match=r"must be \(inputs, mapping of task to target\); got Tens"
    ):
        network.sums(torch.ones(3, 3))
    with pytest.raises(DataError, match=r"got 'sise'\. Did you mean 'size'"):
        network.sums((torch.ones(2, 3), {"sise": torch.ones(2, 1)}))
    with pytest.raises(ParameterError, match="each with a name of its own"):
        TaskNetwork(nn.Identity(), [Task("t", nn.Identity(), squares)] * 2)
    masked = [Task("t", nn.Linear(4, 1), nn.MSELoss(), mask=labelled)]
    with pytest.raises(ParameterError, match='reduction="none"'):
        TaskNetwork(nn.Linear(3, 4), masked).sums((torch.ones(2, 3), {"t": torch.ones(2, 1)}))
