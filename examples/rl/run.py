"""One policy for a family of environments against one agent for each, of equal samples.

Run: python examples/rl/run.py [SEEDS] [FAMILY ...]
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from ppo import Settings, mean_return, trained
from scipy.stats import t as student
from worlds import FAMILIES, Family

from polytask.deep.balancing import PCGrad
from polytask.penalties import L2, L21

SAMPLES = {"CartPole": 8192, "Acrobot": 16_384, "KeyWorld": 16_384}
LITTLE = 4096
ALONE = "an agent for each"
# What settings of training, and of the policy, differ.
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "own heads, PopArt": ({}, {}),
    "own heads, equal scaling": ({}, {"each_scale": False}),
    "task embedding, PopArt": ({}, {"embedding": 8}),
    "own heads, PCGrad": ({"balancer": PCGrad()}, {}),
    "own heads, L2": ({"penalties": {"trunk": L2(0.001)}}, {}),
    "own heads, L21 on the input": ({"penalties": {"input": L21(0.001)}}, {}),
}


def one_seed(family: Family, seed: int, samples: int) -> tuple[dict, dict, dict]:
    """Return mean returns over members, seconds, and returns in the unseen member, by way."""
    makers = list(family.members.values())
    little = Settings(samples=min(LITTLE, samples))
    scores, seconds, unseen = {}, {}, {}

    def judged(name: str, policies: list, start: float) -> None:
        seconds[name] = time.process_time() - start
        pairs = zip(policies, makers, strict=True)
        shared = len({id(policy) for policy in policies}) == 1
        scores[name] = np.mean(
            [mean_return(p, make, t * shared, seed) for t, (p, make) in enumerate(pairs)]
        )

    start = time.process_time()
    alone = [trained([make], seed, Settings(samples=samples)) for make in makers]
    judged(ALONE, alone, start)
    each = [mean_return(policy, family.unseen, 0, seed) for policy in alone]
    unseen["no samples, mean of the agents"] = np.mean(each)
    for name, (training, shape) in WAYS.items():
        start = time.process_time()
        policy = trained(makers, seed, Settings(samples=samples, **training), **shape)
        judged(name, [policy] * len(makers), start)
        if not training and "PopArt" in name:
            new = policy.for_new_task(family.unseen())
            unseen[f"no samples, {name}"] = mean_return(new, family.unseen, 0, seed)
            embedding = shape.get("embedding", 0)
            new = trained([family.unseen], seed, little, embedding=embedding, start=new)
            unseen[f"few samples, {name}"] = mean_return(new, family.unseen, 0, seed)
    scratch = trained([family.unseen], seed, little)
    unseen["few samples, from scratch"] = mean_return(scratch, family.unseen, 0, seed)
    return scores, seconds, unseen


def table(runs: list[dict], base: str) -> pd.DataFrame:
    """Return means over seeds and paired differences to a row, with 95% intervals."""
    found = pd.DataFrame(runs).T
    gain = found - found.loc[base]
    half = student.ppf(0.975, len(runs) - 1) * gain.std(axis=1, ddof=1) / np.sqrt(len(runs))
    return pd.DataFrame({"return": found.mean(axis=1), "gain": gain.mean(axis=1), "+-": half})


def main(seeds: int, names: list[str]) -> None:
    """Print two tables for each family."""
    torch.set_num_threads(1)
    for name in names or list(FAMILIES):
        runs = [one_seed(FAMILIES[name], seed, SAMPLES[name]) for seed in range(seeds)]
        scores, seconds, unseen = (list(part) for part in zip(*runs, strict=True))
        whole = table(scores, ALONE)
        whole["seconds"] = pd.DataFrame(seconds).mean()
        print(f"{name}: {SAMPLES[name]} samples for each of {len(FAMILIES[name].members)} tasks")
        print(whole.round(2).to_string())
        print(f"{name}, unseen member; few samples are {LITTLE}")
        print(table(unseen, "few samples, from scratch").round(2).to_string(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:])
