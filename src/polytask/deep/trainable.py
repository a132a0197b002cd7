"""What the training loop can train: a network that returns sums of losses by task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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


def loss_sums(
    loss: Loss,
    y: Tensor,
    eta: Tensor,
    weight: Tensor,
    task: Tensor | None = None,
    n_tasks: int = 0,
    *,
    complete: bool = False,
) -> Tensor:
    """Return the weighted losses of samples, summed over the rows of each task, (n_tasks,)."""
    # Shapes: y, weight (n, n_tasks) and eta (n, n_tasks) or (n, n_tasks, K); where `task` (n,)
    # tells the task of each row, y, weight (n,) and eta (n,) or (n, K). Where the weight is 0 the
    # label is missing, unless they are `complete`.
    arguments = (eta, y, weight, loss, task, n_tasks, complete)
    sums: Tensor = _LossSums.apply(*arguments)  # type: ignore[no-untyped-call]
    return sums


class _LossSums(torch.autograd.Function):
    """Sums of a loss with the gradient that the loss itself states."""

    # Derivatives through the formula of a value are wrong where it has a kink that the loss has
    # not, such as the logistic loss at a predictor of exactly 0. One operation for loss, weights
    # and sum: on small batches each costs as much as a layer. With a context of its own, because
    # torch reads the signature of a `setup_context` anew in every call.
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        eta: Tensor,
        y: Tensor,
        weight: Tensor,
        loss: Loss,
        task: Tensor | None,
        n_tasks: int,
        complete: bool,
    ) -> Tensor:
        ctx.loss = loss
        ctx.save_for_backward(eta, y, weight, task)
        weighted: Tensor = weight * loss.value(y, eta)
        if task is not None:
            return weighted.new_zeros(n_tasks).index_add_(0, task, weighted)
        # A missing label has some allowed number in its place, whose loss may be infinite.
        return (weighted if complete else torch.where(weight > 0, weighted, 0.0)).sum(0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        eta, y, weight, task = ctx.saved_tensors
        slope = ctx.loss.gradient(y, eta)
        grad = weight * (grads[0] if task is None else grads[0][task])
        grad = (grad if slope.ndim == grad.ndim else grad[..., None]) * slope
        return grad, None, None, None, None, None, None


class _Group(NamedTuple):
    """Tasks of one loss; where it is one of `several` columns they are the last axis of eta."""

    loss: Loss
    tasks: list[int]
    several: bool


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
            _Group(loss, torch.nonzero(group == g)[:, 0].tolist(), loss.n_outputs(3) > 1)
            for g, loss in enumerate(distinct)
        )
        self.n_tasks = len(count)
        self.in_order = bool((count == 1).all())
        self._ragged = not bool(exists.all())
        sqrt_mask = torch.tensor([loss.takes_root for loss in losses])
        for name, value in zip(
            ("columns", "exists", "group", "sqrt_mask"),
            (columns, exists, group, sqrt_mask),
            strict=True,
        ):
            self.register_buffer(name, value, persistent=False)
        self.has_roots = bool(sqrt_mask.any())

    def of_rows(self, y: Tensor, eta: Tensor, weight: Tensor, task: Tensor) -> Tensor:
        """Return sums over rows of one task each. Shapes: y, weight, task (n,), eta (n, [K])."""
        if self._ragged:
            eta = eta.masked_fill(~self.exists[task], _never(eta))
        if len(self.groups) == 1:
            loss, _, several = self.groups[0]
            return loss_sums(loss, y, _shaped(eta, several), weight, task, self.n_tasks)
        sums = eta.new_zeros(self.n_tasks)
        for g, (loss, _, several) in enumerate(self.groups):
            rows = torch.nonzero(self.group[task] == g)[:, 0]
            own = _shaped(eta[rows], several)
            sums = sums + loss_sums(loss, y[rows], own, weight[rows], task[rows], self.n_tasks)
        return sums

    def of_targets(self, y: Tensor, eta: Tensor, weight: Tensor, complete: bool) -> Tensor:
        """Return sums over rows of all tasks. Shapes: y, weight (n, T), eta (n, n_columns)."""
        if len(self.groups) == 1 and self.in_order:
            loss, _, several = self.groups[0]
            own = eta[..., None] if several else eta
            return loss_sums(loss, y, own, weight, complete=complete)
        sums = eta.new_zeros(self.n_tasks)
        for loss, numbers, several in self.groups:
            tasks = torch.tensor(numbers, device=eta.device)
            own = eta[:, self.columns[tasks]]
            if self._ragged:
                own = own.masked_fill(~self.exists[tasks], _never(eta))
            own = own if several else own[..., 0]
            found = loss_sums(loss, y[:, tasks], own, weight[:, tasks], complete=complete)
            sums = sums.index_copy(0, tasks, found)
        return sums


def task_means(sums: Sums, weights: Tensor, sqrt_mask: Tensor | None = None) -> Tensor:
    """Return the mean loss of each task that is present, (k,)."""
    # Shapes: weights (k,), sqrt_mask (n_tasks,).
    means = sums.losses / weights
    if sqrt_mask is None:
        return means
    tiny = torch.finfo(means.dtype).tiny
    return torch.where(sqrt_mask[sums.present], (2.0 * means).clamp_min(tiny).sqrt(), means)


def _shaped(eta: Tensor, several: bool) -> Tensor:
    """Return predictors of rows, (n,) or (n, K), with an axis for columns if there are several."""
    if several:
        return eta if eta.ndim == 2 else eta[:, None]
    return eta if eta.ndim == 1 else eta[:, 0]


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
