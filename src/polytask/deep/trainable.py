"""What the training loop can train: a network that returns sums of losses by task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polytask.deep.balancing import Route
from polytask.losses import Loss

# Where balancers measure the gradients of the tasks.
LEVELS = ("representation", "parameters")


@dataclass(frozen=True)
class Sums:
    """What a batch says about the tasks that have labels in it.

    Attributes
    ----------
    losses : Tensor of shape (k,)
        Weighted sums of losses, with a graph in training.
    weights : Tensor of shape (k,)
        Sums of the label weights, above 0.
    present : Tensor of shape (k,), integers
        The tasks.
    shared : Route or None
        The representation that the tasks share and the cheapest way to their gradients there,
        for balancers; None where there is no such representation.
    extra : Tensor or None
        A term of the loss that belongs to no task, such as an alignment of encoders.
    """

    losses: Tensor
    weights: Tensor
    present: Tensor
    shared: Route | None = None
    extra: Tensor | None = None


def loss_values(loss: Loss, y: Tensor, eta: Tensor) -> Tensor:
    """Return the losses of samples, with the gradient that the loss itself states."""
    # Shapes: y (...), eta (...), result (...).
    # Derivatives through the formula of a value are wrong where it has a kink that the loss has
    # not, such as the logistic loss at a predictor of exactly 0.
    values: Tensor = _Stated.apply(eta, y, loss)  # type: ignore[no-untyped-call]
    return values


class _Stated(torch.autograd.Function):
    """A loss with its own gradient."""

    # With a context of its own: torch reads the signature of a `setup_context` anew in every
    # call, which on small batches costs as much as a layer.
    @staticmethod
    def forward(ctx: Any, eta: Tensor, y: Tensor, loss: Loss) -> Tensor:  # noqa: ANN401
        ctx.loss = loss
        ctx.save_for_backward(eta, y)
        values: Tensor = loss.value(y, eta)
        return values

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        eta, y = ctx.saved_tensors
        slope = ctx.loss.gradient(y, eta)
        (grad,) = grads
        return (grad if slope.ndim == grad.ndim else grad[..., None]) * slope, None, None


@dataclass(frozen=True)
class _Group:
    """Tasks of one loss."""

    loss: Loss
    tasks: tuple[int, ...]

    @property
    def several(self) -> bool:
        """Whether a task may own several columns."""
        return self.loss.n_outputs(3) > 1

    def values(self, y: Tensor, eta: Tensor) -> Tensor:
        """Return the losses for predictors with the columns of a task on the last axis."""
        return loss_values(self.loss, y, eta if self.several else eta[..., 0])


class TaskLosses(nn.Module):
    """The losses of all tasks, each on the columns that it owns."""

    columns: Tensor
    exists: Tensor
    group: Tensor
    sqrt_mask: Tensor

    def __init__(self, losses: Sequence[Loss], widths: Sequence[int]) -> None:
        super().__init__()
        count = torch.as_tensor(list(widths), dtype=torch.long)
        places = torch.arange(max(int(count.max()), 1))
        exists = places < count[:, None]
        first = torch.cumsum(count, 0) - count
        columns = torch.where(exists, first[:, None] + places, 0)
        distinct = list(dict.fromkeys(losses))
        group = torch.tensor([distinct.index(loss) for loss in losses])
        self.groups = tuple(
            _Group(loss, tuple(torch.nonzero(group == g)[:, 0].tolist()))
            for g, loss in enumerate(distinct)
        )
        self.n_tasks = len(count)
        self._in_order = bool((count == 1).all())
        self._ragged = not bool(exists.all())
        sqrt_mask = torch.tensor([loss.takes_root for loss in losses])
        for name, value in zip(
            ("columns", "exists", "group", "sqrt_mask"),
            (columns, exists, group, sqrt_mask),
            strict=True,
        ):
            self.register_buffer(name, value, persistent=False)
        self.has_roots = bool(sqrt_mask.any())

    def of_rows(self, y: Tensor, eta: Tensor, task: Tensor) -> Tensor:
        """Return the loss of every row, (n,). Shapes: y (n,), eta (n, K), task (n,)."""
        if self._ragged:
            eta = eta.masked_fill(~self.exists[task], _never(eta))
        if len(self.groups) == 1:
            return self.groups[0].values(y, eta)
        out = eta.new_zeros(len(y))
        for g, group in enumerate(self.groups):
            rows = torch.nonzero(self.group[task] == g)[:, 0]
            out = out.index_copy(0, rows, group.values(y[rows], eta[rows]))
        return out

    def of_targets(self, y: Tensor, eta: Tensor) -> Tensor:
        """Return the loss of every label, (n, T). Shapes: y (n, T), eta (n, n_columns)."""
        if len(self.groups) == 1 and self._in_order:
            return self.groups[0].values(y, eta[..., None])
        out = eta.new_zeros(y.shape)
        for group in self.groups:
            tasks = torch.tensor(group.tasks, device=eta.device)
            own = eta[:, self.columns[tasks]]
            if self._ragged:
                own = own.masked_fill(~self.exists[tasks], _never(eta))
            out = out.index_copy(1, tasks, group.values(y[:, tasks], own))
        return out


def sums_of_rows(losses: Tensor, weight: Tensor, task: Tensor, n_tasks: int) -> Sums:
    """Sum losses (n,) and label weights (n,) over the rows of each task."""
    total = losses.new_zeros(n_tasks).index_add(0, task, weight * losses)
    return _present(total, losses.new_zeros(n_tasks).index_add(0, task, weight))


def sums_of_targets(losses: Tensor, weight: Tensor) -> Sums:
    """Sum losses (n, T) and label weights (n, T), 0 where a label is missing, over rows."""
    # A missing label has some allowed number in its place, whose loss may be infinite.
    seen = torch.where(weight > 0, weight * losses, torch.zeros_like(losses))
    return _present(seen.sum(0), weight.sum(0))


def _present(losses: Tensor, weights: Tensor) -> Sums:
    present = torch.nonzero(weights > 0)[:, 0]
    if len(present) == len(weights):
        return Sums(losses, weights, present)
    return Sums(losses[present], weights[present], present)


def task_means(sums: Sums, weights: Tensor, sqrt_mask: Tensor | None = None) -> Tensor:
    """Return the mean loss of each task that is present, (k,)."""
    # Shapes: weights (k,), sqrt_mask (n_tasks,).
    means = sums.losses / weights
    if sqrt_mask is None:
        return means
    tiny = torch.finfo(means.dtype).tiny
    return torch.where(sqrt_mask[sums.present], (2.0 * means).clamp_min(tiny).sqrt(), means)


def _never(eta: Tensor) -> float:
    """Return a predictor of a column that a task lacks: its class has probability 0."""
    return torch.finfo(eta.dtype).min / 4


class Trainable(nn.Module):
    """A network that tells, for a batch of its own kind, the losses of its tasks.

    Attributes
    ----------
    n_tasks : int
        Number of tasks.
    """

    n_tasks: int

    @property
    def sqrt_loss_mask(self) -> Tensor | None:
        """Which tasks count by the root of twice their mean loss; None, if none does."""
        # A network that was written for 0.1 has the name that it had there.
        return getattr(self, "roots", None)

    @abstractmethod
    def counts(self, batch: Any) -> Tensor:  # noqa: ANN401 - what the batches yield
        """Return the sum of label weights of every task in a batch, (n_tasks,)."""

    @abstractmethod
    def sums(self, batch: Any) -> Sums:  # noqa: ANN401 - what the batches yield
        """Return the sums of losses and label weights of the tasks present in a batch."""

    @abstractmethod
    def shared_parameters(self) -> list[Tensor]:
        """Return the parameters that tasks share, for balancers at the level of parameters."""
