"""What the training loop refuses, each with one sentence, before or while it works."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from polytask._checks import sentence
from polytask.deep.regularise import Penalties
from polytask.deep.trainable import LEVELS, Trainable
from polytask.deep.training.engine import TrainingProcesses
from polytask.deep.training.settings import Training
from polytask.exceptions import (
    ConvergenceWarning,
    DataError,
    IncompatibleError,
    ParameterError,
)
from polytask.messages import LazyMessage

_OWNER = "fit_network"
_PLAIN = "functools.partial(torch.optim.SGD, lr=0.1)"


def refuse_unfit_steps(
    training: Training, network: Trainable, engine: TrainingProcesses, balanced: bool
) -> None:
    """Refuse accumulation where the batches of a step do not add up, and the like."""
    if training.compile and balanced and training.balance_at == LEVELS[1]:
        raise IncompatibleError(
            "compile=True cannot go with a balancer at balance_at='parameters': compiled layers "
            "cannot be gone back through once for every task. Leave one of them out."
        )
    if training.compile and training.record:
        raise IncompatibleError(
            "compile=True cannot go with record: compiled layers cannot be gone back through "
            "once for every task. Leave one of them out."
        )
    parts, world = training.accumulate, engine.world
    if parts * world == 1:
        return
    choice = f"accumulate={parts}" if world == 1 else f"distributed=True on {world} processes"
    for what, unfit in (
        ("a balancer, which weighs the tasks of a step", balanced),
        ("loss='square_root', a root over a step", network.sqrt_loss_mask is not None),
    ):
        if unfit:
            raise IncompatibleError(
                f"{choice} cannot go with {what}: gradients of parts of a batch do not add "
                "up to that of the whole. Use one process, accumulate=1 and a larger "
                "batch_size."
            )


def refuse_unfit_end(training: Training, engine: TrainingProcesses, penalties: Penalties) -> None:
    """Refuse a final phase where it has nothing to do, or not all of the data."""
    if training.final_phase and not penalties.terms:
        raise IncompatibleError(
            f"final_phase={training.final_phase} needs penalties: it moves the layers that have "
            "some. Give penalties, or leave final_phase at 0."
        )
    if training.final_phase and engine.world > 1:
        raise IncompatibleError(
            f"final_phase={training.final_phase} cannot go with distributed=True on "
            f"{engine.world} processes: its steps need all data in one. Use one process, or "
            "leave final_phase at 0."
        )


def refuse_unfit_optimizer(optimizer: Optimizer, penalties: Penalties) -> None:
    """Refuse an optimiser that the loop or the penalties cannot work with."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise IncompatibleError(
            f"{type(optimizer).__name__} evaluates the loss several times in a step, which the "
            f"training loop does not do: take another optimiser, such as optimizer={_PLAIN}."
        )
    penalties.check(optimizer)


def refuse_iterators(**sources: Iterable[Any] | None) -> None:
    """Refuse what can be iterated once only."""
    for name, source in sources.items():
        if isinstance(source, Iterator):
            allowed = "iterable once for every epoch, such as a DataLoader or a list"
            got = f"a {type(source).__name__}, which is empty after the first time"
            raise ParameterError(sentence(name, _OWNER, allowed, got))


def require_labels(means: Tensor, name: str, epoch: int) -> Tensor:
    """Return the mean losses of an epoch, refusing one without a label."""
    # Shapes: means (n_tasks,).
    if bool(torch.isnan(means).all()):
        allowed = "batches with at least one label in every epoch"
        raise DataError(sentence(name, _OWNER, allowed, f"none in epoch {epoch}"))
    return means


def require_one_for_each_task(name: str, shape: tuple[int, ...], n_tasks: int) -> None:
    """Refuse values of which there is not one for each task."""
    if shape != (n_tasks,):
        allowed = f"one for each of the {n_tasks} tasks of the network"
        raise ParameterError(sentence(name, _OWNER, allowed, f"shape {shape}"))


def require_finite(
    means: Tensor, present: Tensor, tasks: tuple[Hashable, ...], rate: float, when: str
) -> None:
    """Refuse losses that are not finite. Shapes: means (k,), present (k,)."""
    # One number tells it of all tasks, unless the sum itself is too large.
    if math.isfinite(means.detach().sum().item()):
        return
    finite = torch.isfinite(means.detach())
    if bool(finite.all()):
        return
    first = int(torch.nonzero(~finite)[0, 0])
    raise DataError(
        f"Training diverged: the loss of task {tasks[int(present[first])]!r} is "
        f"{float(means.detach()[first])} {when}. Lower the learning rate ({rate:g}), set "
        "clip_norm, or look at the targets of that task."
    )


def warn_of_improving(training: Training) -> None:
    """Warn that training ended where one epoch more might be better still."""
    # Not where there were too few epochs for early stopping to stop at all: then it was short on
    # purpose.
    if training.patience is None or training.max_epochs <= training.patience:
        return
    message = LazyMessage("warn.improving", {"epochs": str(training.max_epochs)})
    warnings.warn(ConvergenceWarning(message), stacklevel=2)
