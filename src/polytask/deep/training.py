"""The settings of a training."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from polytask._checks import one_of, positive, positive_integer, sentence
from polytask.exceptions import ParameterError

# From parameters, or groups of them, to an optimiser.
MakeOptimizer = Callable[[Any], Optimizer]
MakeSchedule = Callable[[Optimizer], LRScheduler]
# One kernel for all parameters: with many tasks several times faster than a loop over them.
FUSED = functools.partial(torch.optim.AdamW, fused=True)
ADAMW: MakeOptimizer = functools.partial(FUSED, lr=1e-3)
LEVELS = ("representation", "parameters")
_TAKES = {
    "optimizer": "a callable of the parameters",
    "schedule": "None or a callable of the optimiser",
}


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Parameters
    ----------
    optimizer : callable, default=AdamW with a learning rate of 1e-3
        Takes the parameters and returns an optimiser, such as
        ``functools.partial(torch.optim.SGD, lr=0.1)``.
    schedule : callable or None, default=None
        Takes the optimiser and returns a schedule of its learning rate, stepped every epoch.
    max_epochs : int, default=200
        Passes over the batches at most.
    patience : int or None, default=20
        Epochs without a better held-out loss after which training stops; None never stops.
    clip_norm : float or None, default=None
        The largest norm that the gradient of all parameters may have.
    accumulate : int, default=1
        Batches whose gradients make one step: the same step as with one batch of all of them.
    checkpoint : path-like or None, default=None
        The file to which the state is written, and from which training goes on if it is there.
    checkpoint_every : int, default=1
        Epochs between two writes.
    verbose : bool, default=False
        Whether to show progress.
    balance_at : {"representation", "parameters"}, default="representation"
        Where balancers of gradients measure those of the tasks.
    compile : bool, default=False
        Whether ``torch.compile`` makes the trunk, under its way of sharing, into kernels of its
        own, which takes some ten seconds at the start. For large trunks on a card: small ones
        on the processor, where it needs a compiler for C++, do not gain.
    final_phase : int, default=0
        The most steps of proximal gradient that end the training, on the layers with penalties
        and on all data; see :func:`~polytask.deep.regularise.final_phase`. Penalties that the
        optimiser cannot apply, such as a trace norm under Adam, then act there. 0: none.
    record : object of :mod:`polytask.deep.recording`, sequence of them, or None, default=None
        What to measure of pairs of tasks on the way, on the first batch of a step; the weights
        are the same with and without.
    owner : str, default="Training"
        Whose settings they are, for messages.

    Raises
    ------
    ParameterError
        If a setting is outside its set.
    """

    optimizer: MakeOptimizer = ADAMW
    schedule: MakeSchedule | None = None
    max_epochs: int = 200
    patience: int | None = 20
    clip_norm: float | None = None
    accumulate: int = 1
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: int = 1
    verbose: bool = False
    balance_at: str = "representation"
    compile: bool = False
    final_phase: int = 0
    record: Any = None
    owner: InitVar[str] = "Training"

    def __post_init__(self, owner: str) -> None:
        """Refuse settings outside their sets."""
        for name, allowed in _TAKES.items():
            made = getattr(self, name)
            if not callable(made) and (name == "optimizer" or made is not None):
                raise ParameterError(sentence(name, owner, allowed, repr(made)))
        for name in ("max_epochs", "accumulate", "checkpoint_every"):
            positive_integer(getattr(self, name), name, owner)
        if self.patience is not None:
            positive_integer(self.patience, "patience", owner)
        if self.clip_norm is not None:
            positive(self.clip_norm, "clip_norm", owner)
        if self.final_phase != 0:
            positive_integer(self.final_phase, "final_phase", owner)
        for name in ("verbose", "compile"):
            one_of(getattr(self, name), name, owner, (True, False))
        one_of(self.balance_at, "balance_at", owner, LEVELS)


def grouped(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield the batches of each step."""
    iterator = iter(batches)
    while group := list(itertools.islice(iterator, size)):
        yield group


def advance(schedule: LRScheduler | None, objective: float) -> None:
    """Take the step of a schedule at the end of an epoch, whose objective some watch."""
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(objective)
    elif schedule is not None:
        schedule.step()
