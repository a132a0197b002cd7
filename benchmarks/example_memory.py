"""Seconds and memory of the programs of examples/: ``python benchmarks/example_memory.py``.

One fit of every way that these programs compare, each in a process of its own: processor seconds,
and the most memory that the fit adds to the process, after a step of a tiny network, which loads
what torch needs. A policy is trained on 2048 samples of each task: its memory does not grow with
their number.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _memory import apart, memory
from _tables import table

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path[:0] = [str(EXAMPLES / "deep"), str(EXAMPLES / "rl")]
Fits = Iterator[tuple[str, Callable[[], Any]]]


def two_inputs() -> Fits:
    import modalities

    for share in modalities.SHARES:
        train, _ = modalities.digits(0, share)
        for way in modalities.WAYS:
            yield f"{way}, {share:.0%} missing", partial(modalities.fitted, way, train, 0)


def pre_trained() -> Fits:
    import pretrained

    for make in (pretrained.images, pretrained.texts):
        with tempfile.TemporaryDirectory() as folder:
            # In a process of its own, as all that follows: what it takes is not freed here.
            X, Y = apart(partial(make, 0, Path(folder)))
            read, trunk = pretrained.readers(make, folder)
            for way, net in pretrained.networks(read, trunk, 0).items():
                yield f"{make.__name__}: {way}", partial(net.fit, X[:100], Y.iloc[:100])


def policies() -> Fits:
    import run
    from ppo import Settings, trained

    for name, family in run.FAMILIES.items():
        makers = list(family.members.values())
        alone = partial(trained, makers[:1], 0, Settings(samples=2048))
        yield f"{name}: {run.ALONE}", alone
        for way, (training, shape) in run.WAYS.items():
            settings = Settings(samples=2048, **training)
            yield f"{name}: {way}", partial(trained, makers, 0, settings, **shape)


def measured(fit: Callable[[], Any]) -> tuple[float, float]:
    """Return processor seconds and the most memory that a fit adds, in MB."""
    tiny = torch.nn.Linear(2, 2)
    adam = torch.optim.Adam(tiny.parameters())
    tiny(torch.ones(2, 2)).sum().backward()
    adam.step()
    before, started = memory(reset=True), time.process_time()
    fit()
    return time.process_time() - started, memory() - before


def main() -> None:
    """Print a table for each program."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for fits in (two_inputs, pre_trained, policies):
        runs = [(name, *apart(partial(measured, fit))) for name, fit in fits()]
        rows = [[name, f"{seconds:.1f}", f"{most:.0f}"] for name, seconds, most in runs]
        print(f"\n{table(['', 's', 'MB'], rows)}", flush=True)


if __name__ == "__main__":
    main()
