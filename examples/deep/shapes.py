"""Which pixels belong to the shape, and which box holds it: two tasks, one trunk of convolutions.

Two tasks that share a small trunk compete for it. What each gets is a choice: here equal weights,
and more weight to the pixels, whose losses are smaller numbers than those of the boxes.

Run: python examples/deep/shapes.py
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from polytask.deep import Task, TaskNetwork, Training, evaluate, fit_network

SIZE, KINDS = 12, 3  # pixels along a side; background, square and disc


def images(n: int, seed: int) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Return noisy images with one shape each, and for each the targets of both tasks."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIZE, :SIZE]
    found = []
    for _ in range(n):
        radius = rng.integers(2, 5)
        top, left = rng.integers(radius, SIZE - radius, 2)
        kind = rng.integers(1, KINDS)
        away = np.maximum if kind == 1 else np.hypot
        pixels = np.where(away(abs(row - top), abs(column - left)) <= radius, kind, 0)
        image = (pixels > 0) + 0.5 * rng.standard_normal((SIZE, SIZE))
        box = np.array([top - radius, left - radius, top + radius + 1, left + radius + 1]) / SIZE
        targets = {"pixels": torch.tensor(pixels), "box": torch.tensor(box, dtype=torch.float32)}
        found.append((torch.tensor(image, dtype=torch.float32)[None], targets))
    return found


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Return the area that boxes share, over the area that they cover together, (n,)."""
    sides = torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2])
    shared = sides.clamp_min(0).prod(1)
    area = [(box[:, 2:] - box[:, :2]).clamp_min(0).prod(1) for box in (one, other)]
    return shared / (area[0] + area[1] - shared).clamp_min(1e-6)


def box_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return a loss for each box: how far its edges are off, and what it lacks in overlap."""
    return (output - target).abs().sum(1) + 1.0 - overlap(output, target)


def right_pixels(output: Tensor, target: Tensor) -> Tensor:
    """Return the share of the pixels of shapes that are found, with their kind."""
    return (output.argmax(1) == target)[target > 0].float().mean()


def network(*names: str) -> TaskNetwork:
    """Return a trunk of convolutions with the heads of some tasks."""
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.ReLU(),
    )
    tasks = {
        "pixels": Task(
            "pixels",
            nn.Sequential(nn.Conv2d(16, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, KINDS, 1)),
            nn.CrossEntropyLoss(reduction="none"),
            right_pixels,
        ),
        "box": Task(
            "box",
            nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * SIZE**2 // 4, 4)),
            box_loss,
            lambda output, target: overlap(output, target).mean(),
        ),
    }
    return TaskNetwork(trunk, [tasks[name] for name in names])


def trained(**weights: float) -> dict[str, float]:
    """Return the metrics on new images of a network for some tasks, by their weights."""
    names = tuple(weights)
    net = network(*names)
    # Targets of other tasks are left out of the batches.
    fit, held, new = (
        DataLoader(
            [(x, {name: y[name] for name in names}) for x, y in images(n, seed)],
            batch_size=32,
            shuffle=seed == 0,
        )
        for seed, n in enumerate((384, 128, 512))
    )
    adam = functools.partial(torch.optim.Adam, lr=3e-3)
    training = Training(adam, max_epochs=20, patience=None)
    fit_network(net, fit, training, held_out=held, task_weights=np.array(list(weights.values())))
    return evaluate(net, new)


def main() -> dict[str, dict[str, float]]:
    """Train networks for both tasks and one for each; return their metrics."""
    found = {
        "one network, equal weights": trained(pixels=1.0, box=1.0),
        "one network, 10 to 1": trained(pixels=10.0, box=1.0),
        "a network for each": {**trained(pixels=1.0), **trained(box=1.0)},
    }
    print(f"{'':28}pixels of shapes right   overlap of boxes")
    for name, metrics in found.items():
        print(f"{name:28}{metrics['pixels']:.2f}{metrics['box']:25.2f}")
    return found


if __name__ == "__main__":
    main()
