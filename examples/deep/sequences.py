"""Sequences of unlike lengths: read them backwards, and tag their tokens, in one network.

Run: python examples/deep/sequences.py
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from polytask.deep import IgnoreIndex, Task, TaskNetwork, Training, evaluate, fit_network

TOKENS, LONGEST, WIDTH = 8, 9, 32
PAD = -1


def sentences(n: int, seed: int) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Return sequences, filled up with PAD, and a target of the same length for each task.

    "backwards" is the sequence from its end to its beginning; "tag" says of each token whether
    the same one comes again later.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        length = rng.integers(3, LONGEST + 1)
        tokens = rng.integers(0, TOKENS, length)
        again = [int(token in tokens[i + 1 :]) for i, token in enumerate(tokens)]
        x, backwards, tag = (filled(part) for part in (tokens, tokens[::-1], again))
        found.append((x, {"backwards": backwards, "tag": tag}))
    return found


def filled(values: np.ndarray | list[int]) -> Tensor:
    """Return values followed by PAD."""
    whole = torch.full((LONGEST,), PAD)
    whole[: len(values)] = torch.tensor(np.array(values))
    return whole


class Reader(nn.Module):
    """Attention over tokens that know their place from the beginning and from the end."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(TOKENS + 1, WIDTH, padding_idx=TOKENS)
        self.from_start = nn.Embedding(LONGEST, WIDTH)
        self.from_end = nn.Embedding(LONGEST, WIDTH)
        layer = functools.partial(
            nn.TransformerEncoderLayer, WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True
        )
        self.layers = nn.ModuleList([layer(), layer()])

    def forward(self, x: Tensor) -> Tensor:
        """Return a vector for every token, (n, LONGEST, WIDTH)."""
        nothing = x == PAD
        place = torch.arange(LONGEST).expand_as(x)
        left = ((~nothing).sum(1, keepdim=True) - 1 - place).clamp_min(0)
        seen = self.token(torch.where(nothing, TOKENS, x))
        seen = seen + self.from_start(place) + self.from_end(left)
        for layer in self.layers:
            seen = layer(seen, src_key_padding_mask=nothing)
        return seen


def by_token(output: Tensor, target: Tensor) -> Tensor:
    """Return the loss of every token, (n, LONGEST); Task leaves out those that are padding."""
    return nn.functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")


def right_tokens(output: Tensor, target: Tensor) -> Tensor:
    """Return the share of tokens that are right."""
    return (output.argmax(-1) == target)[target != PAD].float().mean()


def main() -> dict[str, float]:
    """Train, and return the share of tokens of new sequences that are right, by task."""
    torch.manual_seed(0)
    sizes = {"backwards": TOKENS, "tag": 2}
    tasks = [
        Task(name, nn.Linear(WIDTH, size), by_token, right_tokens, mask=IgnoreIndex(PAD))
        for name, size in sizes.items()
    ]
    network = TaskNetwork(Reader(), tasks)
    fit, held, new = (
        DataLoader(sentences(n, seed), batch_size=64, shuffle=seed == 0)
        for seed, n in enumerate((2048, 256, 512))
    )
    adam = functools.partial(torch.optim.Adam, lr=3e-3)
    history, _ = fit_network(network, fit, Training(adam, max_epochs=12), held_out=held)
    print(history.frame().groupby("task")["held_out"].agg(["first", "last"]).round(3))
    found = evaluate(network, new)
    print("right tokens:", {name: round(share, 2) for name, share in found.items()})
    return found


if __name__ == "__main__":
    main()
