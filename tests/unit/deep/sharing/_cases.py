"""Ways of sharing, trunks and rows that the tests have in common."""

from __future__ import annotations

import torch
from torch import nn

from polytask.deep.sharing import (
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
    Tree,
)

D, H, T, N = 5, 6, 4, 30
WAYS = [Hard(), Soft(), CrossStitch(0.7), MMoE(3), CGC(2, 2), PLE(1, 2, 2), FiLM(3)]
WAYS += [DSelectK(3, 2), MTAN(reduction=2)]
WAYS += [Tree([[0, 0, 0, 1], [0, 2, 0, 1]]), Branching(2)]
WAYS += [LoRA(2, 1)]
NORMS = {"none": nn.Identity, "layer": nn.LayerNorm, "batch": nn.BatchNorm1d}


def trunk(norm="layer"):
    make = NORMS[norm]
    return nn.Sequential(nn.Linear(D, 7), make(7), nn.ReLU(), nn.Linear(7, H), nn.Tanh())


class Own(nn.Module):
    """A trunk of which nothing is known but that it is called."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x["a"] if isinstance(x, dict) else x)


def rows():
    return torch.randn(N, D), torch.arange(N) % T


def built(how, norm="layer"):
    torch.manual_seed(1)
    module = how.build(trunk(norm), T)
    if isinstance(how, FiLM):
        for part in module.modulation:
            nn.init.normal_(part.weight)
    for name, parameter in module.named_parameters():
        if name.endswith("_left"):
            nn.init.normal_(parameter)
    return module
