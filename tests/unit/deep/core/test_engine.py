"""Several processes, and lower precision."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from polytask import IncompatibleError, ParameterError  # noqa: E402
from polytask.deep import MLP, DeepMultiTaskRegressor, balancing  # noqa: E402
from polytask.deep.training.engine import add_up_gradients  # noqa: E402

SGD = functools.partial(torch.optim.SGD, lr=0.05)
PROGRAM = """
import functools, sys
import numpy as np, torch
from polytask.deep import MLP, DeepMultiTaskRegressor
from polytask.deep.training.engine import _leave
from polytask.deep.recording import GradientSimilarity
X, y, task = (np.load(f"{sys.argv[1]}/{name}.npy") for name in ("X", "y", "task"))
model = DeepMultiTaskRegressor(
    MLP((8,)), optimizer=functools.partial(torch.optim.SGD, lr=0.05), precision="float64",
    device="cpu", batch_size=24, max_epochs=5, random_state=0, distributed=True,
    record=GradientSimilarity(every=1),
).fit(X, y, task)
weights = model._tasks.weights
np.savez(f"{sys.argv[1]}/{model.history_.n_epochs}-{sys.argv[2]}.npz", **weights)
np.save(f"{sys.argv[1]}/history-{sys.argv[2]}.npy", model.history_.training)
(found,) = model.history_.relations
np.save(f"{sys.argv[1]}/relations-{sys.argv[2]}.npy", [found.matrix, found.counts])
group = torch.distributed.group.WORLD
_leave()
assert sys.getrefcount(group) == 2, "threads of the group that are left abort Python at its end"
del group
"""


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    task = np.repeat([0, 1, 2], [60, 30, 3])
    X = rng.normal(size=(93, 3))
    return X, X[:, 0] + np.abs(X[:, 1]) * (task == 1), task


@pytest.mark.slow
def test_two_processes_are_one_with_the_whole_batch(rows, tmp_path):
    for name, array in zip(("X", "y", "task"), rows, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    place |= {"OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), rank],
            env={**os.environ, **place, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]
    assert [process.wait(timeout=300) for process in started] == [0, 0]
    alone = DeepMultiTaskRegressor(
        MLP((8,)),
        optimizer=SGD,
        precision="float64",
        device="cpu",
        batch_size=24,
        max_epochs=5,
        random_state=0,
    ).fit(*rows)
    for rank in ("0", "1"):
        with np.load(tmp_path / f"5-{rank}.npz") as weights:
            for name, value in alone._tasks.weights.items():
                assert_allclose(weights[name], value, atol=1e-12)
        history = np.load(tmp_path / f"history-{rank}.npy")
        assert_allclose(history, alone.history_.training, rtol=1e-12)
    # Each process records its own rows of every batch; what they know is put together.
    first, second = (np.load(tmp_path / f"relations-{rank}.npy") for rank in ("0", "1"))
    assert_array_equal(first, second)
    matrix, counts = first
    steps = 5 * -(-93 // 24)
    assert steps < counts[0, 0] <= 2 * steps
    assert_array_equal(counts, counts.T)
    assert_allclose(matrix, matrix.T)
    assert np.abs(matrix).max() < 1.0


class Pair:
    """Two processes, the other of which has given gradients."""

    rank, world = 0, 2
    device = torch.device("cpu")

    def __init__(self, *others):
        self.others = list(others)

    def total(self, values):
        return values + self.others.pop(0)


def test_gradients_are_added_up_where_some_process_has_one():
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[0].grad = torch.tensor([1.0, 2.0])
    other = Pair(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 5.0, 6.0]))
    add_up_gradients(parameters, other)
    assert parameters[0].grad.tolist() == [1.0, 2.0]
    assert parameters[1].grad.tolist() == [5.0, 6.0]
    assert parameters[2].grad is None


def test_lower_precision_is_near(rows):
    settings = {"max_epochs": 5, "random_state": 0, "device": "cpu"}
    trunk = MLP((16,), norm="batch")
    full = DeepMultiTaskRegressor(trunk, **settings).fit(*rows)
    mixed = DeepMultiTaskRegressor(trunk, mixed_precision="bf16", **settings).fit(*rows)
    assert mixed._tasks.weights["heads.weight"].dtype == np.float32
    assert_allclose(mixed.history_.training, full.history_.training, rtol=0.05)
    assert not np.array_equal(mixed.history_.training, full.history_.training)
    both = DeepMultiTaskRegressor(trunk, mixed_precision="bf16", distributed=True, **settings)
    assert_array_equal(both.fit(*rows).history_.training, mixed.history_.training)


def test_one_process_of_one_is_as_without(rows):
    settings = {"max_epochs": 2, "random_state": 0, "device": "cpu"}
    plain = DeepMultiTaskRegressor(MLP((4,)), **settings).fit(*rows)
    single = DeepMultiTaskRegressor(MLP((4,)), distributed=True, **settings).fit(*rows)
    assert_array_equal(plain.history_.training, single.history_.training)


def test_what_cannot_be_divided_is_refused(rows, monkeypatch):
    with pytest.raises(ParameterError, match="mixed_precision of DeepMultiTaskRegressor"):
        DeepMultiTaskRegressor(mixed_precision="fp16").fit(*rows)
    from polytask.deep import fitting

    monkeypatch.setattr(fitting, "engine_of", lambda *_: Pair())
    with pytest.raises(IncompatibleError, match="distributed=True on 2 processes cannot go with"):
        DeepMultiTaskRegressor(balancer=balancing.DWA()).fit(*rows)
