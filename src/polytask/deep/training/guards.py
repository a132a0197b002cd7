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
from polytask.deep.balancing import StatefulBalancer
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
from polytask.messages import LazyMessage, Text

_OWNER = "fit_network"


def refuse_unfit_steps(
    training: Training, network: Trainable, engine: TrainingProcesses, balanced: bool
) -> None:
    """Refuse accumulation where the batches of a step do not add up, and the like."""
    passes_per_task: tuple[tuple[Text, object], ...] = (
        (
            LazyMessage("what.balancer_of_parameters"),
            balanced and training.balance_at == LEVELS[1],
        ),
        ("record", training.record),
    )
    for what, unfit in passes_per_task if training.compile else ():
        if unfit:
            raise IncompatibleError(LazyMessage("deep.refusal.compiled", {"what": what}))
    parts, world = training.accumulate, engine.world
    if parts * world == 1:
        return
    choice = f"accumulate={parts}" if world == 1 else _processes(engine)
    for key, unfit in ("balancer", balanced), ("square_root", network.sqrt_loss_mask is not None):
        if unfit:
            fields = {"choice": choice, "what": LazyMessage(f"what.{key}")}
            raise IncompatibleError(LazyMessage("deep.refusal.parts_of_batch", fields))


def refuse_unfit_validation(
    balance: StatefulBalancer | None, training: Training, held_out: object
) -> None:
    """Refuse a balancer that learns from held-out rows where there are none, or no way to them."""
    if balance is None or not balance.needs_validation:
        return
    name = type(balance.balancer).__name__
    if held_out is None:
        raise IncompatibleError(LazyMessage("deep.refusal.nothing_held", {"balancer": name}))
    if training.compile:
        raise IncompatibleError(LazyMessage("deep.refusal.compiled", {"what": name}))


def refuse_unfit_end(training: Training, engine: TrainingProcesses, penalties: Penalties) -> None:
    """Refuse a final phase where it has nothing to do, or not all of the data."""
    fields = {"steps": str(training.final_phase), "processes": _processes(engine)}
    if training.final_phase and not penalties.terms:
        raise IncompatibleError(LazyMessage("deep.refusal.final_phase_unpenalised", fields))
    if training.final_phase and engine.world > 1:
        raise IncompatibleError(LazyMessage("deep.refusal.final_phase_distributed", fields))


def _processes(engine: TrainingProcesses) -> LazyMessage:
    return LazyMessage("what.processes", {"world": engine.world})


def refuse_unfit_optimizer(optimizer: Optimizer, penalties: Penalties) -> None:
    """Refuse an optimiser that the loop or the penalties cannot work with."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        fields = {"optimizer": type(optimizer).__name__}
        raise IncompatibleError(LazyMessage("deep.refusal.closure", fields))
    penalties.check(optimizer)


def refuse_iterators(**sources: Iterable[Any] | None) -> None:
    """Refuse what can be iterated once only."""
    for name, source in sources.items():
        if isinstance(source, Iterator):
            got = LazyMessage("got.iterator", {"kind": type(source).__name__})
            raise ParameterError(sentence(name, _OWNER, LazyMessage("allowed.iterable"), got))


def require_labels(means: Tensor, name: str, epoch: int) -> Tensor:
    """Return the mean losses of an epoch, refusing one without a label."""
    # Shapes: means (n_tasks,).
    if bool(torch.isnan(means).all()):
        allowed, none = LazyMessage("allowed.labelled_batches"), LazyMessage("got.none")
        where = LazyMessage("place.epoch", {"epoch": str(epoch)})
        raise DataError(sentence(name, _OWNER, allowed, none, where))
    return means


def require_one_for_each_task(name: str, shape: tuple[int, ...], n_tasks: int) -> None:
    """Refuse values of which there is not one for each task."""
    if shape != (n_tasks,):
        allowed = LazyMessage("allowed.as_many_as_tasks", {"count": n_tasks})
        got = LazyMessage("got.shape", {"shape": str(shape)})
        raise ParameterError(sentence(name, _OWNER, allowed, got))


def require_finite(
    means: Tensor, present: Tensor, tasks: tuple[Hashable, ...], key: str, place: dict[str, str]
) -> None:
    """Refuse losses that are not finite. Shapes: means (k,), present (k,)."""
    # One number tells it of all tasks, unless the sum itself is too large.
    if math.isfinite(means.detach().sum().item()):
        return
    finite = torch.isfinite(means.detach())
    if bool(finite.all()):
        return
    first = int(torch.nonzero(~finite)[0, 0])
    fields = {"task": repr(tasks[int(present[first])]), "value": str(float(means.detach()[first]))}
    raise DataError(LazyMessage(f"deep.refusal.{key}", fields | place))


def warn_of_improving(training: Training) -> None:
    """Warn that training ended where one epoch more might be better still."""
    # Not where there were too few epochs for early stopping to stop at all: then it was short on
    # purpose.
    if training.patience is None or training.max_epochs <= training.patience:
        return
    message = LazyMessage("warn.improving", {"epochs": str(training.max_epochs)})
    warnings.warn(ConvergenceWarning(message), stacklevel=2)
