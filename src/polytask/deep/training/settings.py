"""The settings of a training, given as such or read from the parameters of an estimator."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from polytask._checks import (
    below_one,
    nearest,
    nonnegative,
    number,
    one_of,
    positive,
    positive_integer,
    sentence,
)
from polytask.deep.network import PRECISIONS
from polytask.deep.recording import recordings_of
from polytask.deep.regularise import weight_decay_groups
from polytask.deep.rows import Mixing
from polytask.deep.sampling import SAMPLINGS, Sampling
from polytask.deep.trainable import LEVELS
from polytask.deep.training.checkpoint import BEGINNING
from polytask.exceptions import ParameterError
from polytask.io.fingerprint import fingerprints, weights_of
from polytask.messages import LazyMessage

# From parameters, or groups of them, to an optimiser.
MakeOptimizer = Callable[[Any], Optimizer]


@runtime_checkable
class OfNetwork(Protocol):
    """Makes an optimiser that treats parts of a network differently."""

    def of_network(self, network: nn.Module) -> Optimizer:
        """Return the optimiser of all parameters that learn."""
        ...


MakeSchedule = Callable[[Optimizer], LRScheduler]
# One kernel for all parameters: with many tasks several times faster than a loop over them.
FUSED = functools.partial(torch.optim.AdamW, fused=True)
ADAMW: MakeOptimizer = functools.partial(FUSED, lr=1e-3)


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Parameters
    ----------
    optimizer : callable or LayerwiseDecay, default=AdamW with a learning rate of 1e-3
        Takes the parameters and returns an optimiser, such as
        ``functools.partial(torch.optim.SGD, lr=0.1)``; an object with a method ``of_network``,
        such as :class:`polytask.deep.pretrained.LayerwiseDecay`, takes the network.
    max_epochs : int, default=200
        Passes over the batches at most.
    patience : int or None, default=20
        Epochs without a better held-out loss after which training stops; None never stops.
    schedule, clip_norm, accumulate, checkpoint, checkpoint_every, verbose, balance_at, compile, \
            final_phase, record
        As in :class:`~polytask.deep.DeepMultiTaskRegressor`, with the same defaults.
    owner : str, default="Training"
        Whose settings they are, for messages.

    Raises
    ------
    ParameterError
        If a setting is outside its set.
    """

    optimizer: MakeOptimizer | OfNetwork = ADAMW
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
        for name in ("optimizer", "schedule"):
            made, allowed = getattr(self, name), LazyMessage(f"allowed.{name}")
            known = callable(made) or isinstance(made, OfNetwork)
            if not known and (name == "optimizer" or made is not None):
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
        object.__setattr__(self, "record", recordings_of(self.record, owner))


# Steps in an epoch to aim for, and the rows in a batch that this may lead to.
_STEPS, _FEWEST, _MOST = 20, 32, 256
# Epochs in all, and without improvement, and the steps that they should make: with few rows an
# epoch is few steps, and twenty of them say little.
_EPOCHS, _ALL_STEPS = 200, 10_000
_PATIENCE, _IDLE_STEPS = 20, 1_000


@dataclass(frozen=True)
class TrainingSettings:
    """Everything about training that the data do not decide."""

    training: Training
    lengths: Mapping[str, tuple[int, int]]
    decay: float
    sampling: Sampling
    batch_size: int | None
    validation: Any
    mixing: Mixing | None
    smoothing: float

    def rows_in_batch(self, n_rows: int) -> int:
        """Return the rows in a batch, of `n_rows` in all."""
        if self.batch_size is not None:
            return self.batch_size
        return min(max(n_rows // _STEPS, _FEWEST), _MOST)

    def training_of(self, network: nn.Module, n_rows: int) -> Training:
        """Return the training of a network with `n_rows` rows."""
        # Its weights decay, biases and norms do not.
        step = self.rows_in_batch(n_rows) * self.training.accumulate
        steps = max(-(-n_rows // step), 1)
        lengths: dict[str, Any] = {
            name: max(least, -(-own // steps)) for name, (least, own) in self.lengths.items()
        }
        training = replace(self.training, **lengths)
        if not self.decay or isinstance(training.optimizer, OfNetwork):
            return training
        groups = weight_decay_groups(network, self.decay)
        make = training.optimizer
        return replace(training, optimizer=lambda _: make(groups))


def require_by_layer(penalties: object, owner: str) -> None:
    """Refuse penalties that are not given by the names of layers."""
    if penalties is not None and not isinstance(penalties, Mapping):
        allowed = LazyMessage("allowed.layer_penalties")
        raise ParameterError(sentence("penalties", owner, allowed, repr(penalties)))


def settings_of(model: Any) -> TrainingSettings:  # noqa: ANN401 - a deep estimator, which is above
    """Check the parameters of a deep estimator."""
    owner = type(model).__name__
    for name in ("standardize", "early_stopping"):
        one_of(getattr(model, name), name, owner, (True, False))
    one_of(model.precision, "precision", owner, PRECISIONS)
    if isinstance(model.task_weight, str):
        one_of(model.task_weight, "task_weight", owner, ("size", "equal"))
    require_by_layer(model.penalties, owner)
    one_of(model.mixup_across_tasks, "mixup_across_tasks", owner, (True, False))
    mixup = nonnegative(model.mixup, "mixup", owner)
    smoothing = below_one(getattr(model, "label_smoothing", 0.0), "label_smoothing", owner)
    validation = _validation(model.validation, owner)
    rate = positive(model.learning_rate, "learning_rate", owner)
    default = functools.partial(FUSED, lr=rate, weight_decay=0.0)
    # Without rows held out nothing says when to stop, and more steps are not better.
    most = _ALL_STEPS if model.early_stopping else 0
    steps = {"max_epochs": (_EPOCHS, most), "patience": (_PATIENCE, _IDLE_STEPS)}
    lengths = {name: own for name, own in steps.items() if _is_auto(model, name, owner)}
    size = None
    if not _is_auto(model, "batch_size", owner):
        size = positive_integer(model.batch_size, "batch_size", owner)
    training = Training(
        optimizer=default if model.optimizer is None else model.optimizer,
        schedule=model.schedule,
        max_epochs=_EPOCHS if "max_epochs" in lengths else model.max_epochs,
        patience=_PATIENCE if "patience" in lengths else model.patience,
        clip_norm=model.clip_norm,
        accumulate=model.accumulate,
        checkpoint=model.checkpoint,
        checkpoint_every=model.checkpoint_every,
        verbose=model.verbose,
        balance_at=model.balance_at,
        record=model.record,
        compile=model.compile,
        final_phase=model.final_phase,
        owner=owner,
    )
    decay = nonnegative(model.weight_decay, "weight_decay", owner)
    _refuse_unused(model, owner)
    return TrainingSettings(
        training=training,
        lengths=lengths,
        decay=decay,
        sampling=_sampling(model.task_sampling, owner),
        batch_size=size,
        validation=validation if model.early_stopping else None,
        mixing=Mixing(mixup, model.mixup_across_tasks) if mixup > 0 else None,
        smoothing=smoothing,
    )


def _refuse_unused(model: Any, owner: str) -> None:  # noqa: ANN401 - a deep estimator
    """Refuse settings of the default optimiser beside another one, which would not see them."""
    known = inspect.signature(type(model)).parameters
    for name in ("learning_rate", "weight_decay") if model.optimizer is not None else ():
        value, default = getattr(model, name), known[name].default
        if value != default:
            fields = {"parameter": name, "owner": owner, "default": repr(default)}
            raise ParameterError(LazyMessage("deep.refusal.unused", fields | {"got": repr(value)}))


def _validation(given: Any, owner: str) -> Any:  # noqa: ANN401 - a share, splitter or pairs
    several = hasattr(given, "split") or isinstance(given, Iterable)
    if several and not isinstance(given, str | bytes):
        return given
    allowed = LazyMessage("allowed.validation")
    share = number(given, "validation", owner, allowed)
    if not 0 < share < 1:
        raise ParameterError(sentence("validation", owner, allowed, repr(share)))
    return share


def _is_auto(model: Any, name: str, owner: str) -> bool:  # noqa: ANN401 - a deep estimator
    """Say whether a number is left to the data, refusing other words."""
    value = getattr(model, name)
    if isinstance(value, str) and value != "auto":
        allowed = LazyMessage("allowed.auto_or_from_one")
        raise ParameterError(sentence(name, owner, allowed, repr(value)))
    return isinstance(value, str)


def _sampling(sampling: Any, owner: str) -> Sampling:  # noqa: ANN401 - a name or an object
    if isinstance(sampling, str) and sampling in SAMPLINGS:
        return SAMPLINGS[sampling]
    if isinstance(sampling, Sampling) and not isinstance(sampling, type):
        return sampling
    allowed = LazyMessage("allowed.sampling", {"options": [repr(name) for name in SAMPLINGS]})
    hint = nearest(sampling, SAMPLINGS) if isinstance(sampling, str) else ""
    raise ParameterError(sentence("task_sampling", owner, allowed, repr(sampling)) + hint)


# Parameters that may change between the parts of one training.
_FREE = frozenset(
    {"checkpoint", "checkpoint_every", "device", "distributed", "max_epochs", "patience"}
    | {"random_state", "task_column", "unseen_tasks", "verbose"}
)


def identity_of(model: Any) -> tuple[dict[str, str], dict[str, str]]:  # noqa: ANN401
    """Return the parameters that a checkpoint must agree about, as text, and their defaults."""
    params = {n: value for n, value in model.get_params(deep=False).items() if n not in _FREE}
    known = inspect.signature(type(model)).parameters
    texts, defaults = fingerprints(params, {name: known[name].default for name in params})
    return texts | {BEGINNING: weights_of(params)}, defaults
