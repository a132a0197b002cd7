"""The choices of a deep estimator, read from its parameters and checked once."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from polytask._checks import (
    nearest,
    nonnegative,
    number,
    one_of,
    positive,
    positive_integer,
    sentence,
)
from polytask.deep.balancing import Balance
from polytask.deep.plan import PRECISIONS
from polytask.deep.regularise import weight_decay_groups
from polytask.deep.rows import Mixing
from polytask.deep.sampling import SAMPLINGS, Sampling
from polytask.deep.training import FUSED, Training
from polytask.exceptions import ParameterError

# Steps in an epoch to aim for, and the rows in a batch that this may lead to.
_STEPS, _FEWEST, _MOST = 20, 32, 256


@dataclass(frozen=True)
class Settings:
    """Everything about training that the data do not decide.

    Attributes
    ----------
    training : Training
        Of the loop, without the decay.
    decay : float
        Of weights in the default optimiser.
    sampling : Sampling
        Of rows that belong to one task each.
    batch_size : int or None
        Rows in a batch; None chooses by the number of rows.
    validation_fraction : float or None
        The share of rows held out; None holds out none.
    mixing : Mixing or None
        Mixup of the rows of a batch.
    smoothing : float
        What training takes from the label of a class.
    """

    training: Training
    decay: float
    sampling: Sampling
    batch_size: int | None
    validation_fraction: float | None
    mixing: Mixing | None
    smoothing: float

    def rows_in_batch(self, n_rows: int) -> int:
        """Return the rows in a batch, of `n_rows` in all."""
        if self.batch_size is not None:
            return self.batch_size
        return min(max(n_rows // _STEPS, _FEWEST), _MOST)

    def training_of(self, network: nn.Module) -> Training:
        """Return the training of a network: its weights decay, biases and norms do not."""
        if not self.decay:
            return self.training
        groups = weight_decay_groups(network, self.decay)
        make = self.training.optimizer
        return replace(self.training, optimizer=lambda _: make(groups))


def settings_of(model: Any) -> Settings:  # noqa: ANN401 - a deep estimator, which is above
    """Check the parameters of a deep estimator.

    Raises
    ------
    ParameterError
        Naming the first that is outside its set.
    """
    owner = type(model).__name__
    for name in ("standardize", "early_stopping"):
        one_of(getattr(model, name), name, owner, (True, False))
    one_of(model.precision, "precision", owner, PRECISIONS)
    if isinstance(model.task_weight, str):
        one_of(model.task_weight, "task_weight", owner, ("size", "equal"))
    if model.penalties is not None and not isinstance(model.penalties, Mapping):
        allowed = 'None or a mapping of names to penalties, such as {"heads": L21(1e-3)}'
        raise ParameterError(sentence("penalties", owner, allowed, repr(model.penalties)))
    share = number(model.validation_fraction, "validation_fraction", owner)
    if not 0 < share < 1:
        allowed = "a number between 0 and 1, both excluded"
        raise ParameterError(sentence("validation_fraction", owner, allowed, repr(share)))
    rate = positive(model.learning_rate, "learning_rate", owner)
    default = functools.partial(FUSED, lr=rate, weight_decay=0.0)
    training = Training(
        optimizer=default if model.optimizer is None else model.optimizer,
        schedule=model.schedule,
        max_epochs=model.max_epochs,
        patience=model.patience,
        clip_norm=model.clip_norm,
        accumulate=model.accumulate,
        checkpoint=model.checkpoint,
        checkpoint_every=model.checkpoint_every,
        verbose=model.verbose,
        balance_at=model.balance_at,
        owner=owner,
    )
    decay = nonnegative(model.weight_decay, "weight_decay", owner)
    return Settings(
        training=training,
        decay=decay if model.optimizer is None else 0.0,
        sampling=_sampling(model.task_sampling, owner),
        batch_size=_batch_size(model.batch_size, owner),
        validation_fraction=share if model.early_stopping else None,
        mixing=_mixing(model, owner),
        smoothing=_smoothing(getattr(model, "label_smoothing", 0.0), owner),
    )


def _batch_size(size: Any, owner: str) -> int | None:  # noqa: ANN401 - as given
    if isinstance(size, str) and size == "auto":
        return None
    if isinstance(size, str):
        allowed = '"auto" or an integer >= 1'
        raise ParameterError(sentence("batch_size", owner, allowed, repr(size)))
    return positive_integer(size, "batch_size", owner)


def _mixing(model: Any, owner: str) -> Mixing | None:  # noqa: ANN401 - a deep estimator
    alpha = nonnegative(model.mixup, "mixup", owner)
    one_of(model.mixup_across_tasks, "mixup_across_tasks", owner, (True, False))
    return Mixing(alpha, model.mixup_across_tasks) if alpha > 0 else None


def _smoothing(amount: object, owner: str) -> float:
    allowed = "a number in [0, 1)"
    checked = number(amount, "label_smoothing", owner, allowed)
    if not 0 <= checked < 1:
        raise ParameterError(sentence("label_smoothing", owner, allowed, repr(amount)))
    return checked


def _sampling(sampling: Any, owner: str) -> Sampling:  # noqa: ANN401 - a name or an object
    if isinstance(sampling, str) and sampling in SAMPLINGS:
        return SAMPLINGS[sampling]
    if isinstance(sampling, Sampling) and not isinstance(sampling, type):
        return sampling
    names = ", ".join(repr(name) for name in SAMPLINGS)
    allowed = f"one of {names}, or an object of polytask.deep.sampling"
    hint = nearest(sampling, SAMPLINGS) if isinstance(sampling, str) else ""
    raise ParameterError(sentence("task_sampling", owner, allowed, repr(sampling)) + hint)


# Parameters that may change between the parts of one training.
_FREE = frozenset(
    {"checkpoint", "checkpoint_every", "device", "distributed", "max_epochs", "patience"}
    | {"random_state", "task_column", "unseen_tasks", "verbose"}
)


def identity_of(model: Any) -> dict[str, str]:  # noqa: ANN401 - a deep estimator
    """Return the parameters that a checkpoint must agree about, as text."""
    params = model.get_params(deep=False)
    return {name: _told(value) for name, value in params.items() if name not in _FREE}


def _told(value: Any) -> str:  # noqa: ANN401 - any parameter
    """Return a text that is the same in another process."""
    if isinstance(value, functools.partial):
        return f"{_told(value.func)}{value.args}{sorted(value.keywords.items())}"
    if hasattr(value, "__qualname__"):
        return str(value.__qualname__)
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text


def balance_of(balancer: Any, n_tasks: int) -> Balance | None:  # noqa: ANN401 - a balancer
    """Return a balancer with its state, None for none."""
    return None if balancer is None else Balance(balancer, n_tasks)
