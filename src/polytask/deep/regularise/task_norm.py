"""Batch norm with statistics and gains for each task."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from polytask._checks import fraction, positive, positive_integer, sentence
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage


@final
class TaskBatchNorm1d(nn.Module):
    """Batch norm whose statistics, scale and shift are each task's own.

    For tasks whose inputs differ in scale or place (sites, devices, domains): a common batch
    norm mixes them, and one that is right for the mixture is wrong for each of them. Not for
    tasks with a handful of rows in a batch: their statistics are mostly noise.

    In training the rows of a task are normalised by their own mean and variance, all tasks of a
    batch at once. A task with a single row in the batch is normalised with its running
    statistics, which stay as they are: one row has no variance. Rows of an unseen task (-1), and
    of a task without running statistics where these are needed, are normalised with statistics
    of all rows of the batch in training and with the common running statistics afterwards; the
    scale and shift of an unseen task are the means over all tasks.

    2 * n_tasks * n_features parameters.

    Parameters
    ----------
    n_features : int
        The width h of the rows.
    n_tasks : int
        The number of tasks.
    eps : float, default=1e-5
        Added to variances.
    momentum : float, default=0.1
        The share of the newest batch in running statistics, in (0, 1].

    Raises
    ------
    ParameterError
        If a setting is outside its range, or rows are not as wide as n_features.

    References
    ----------
    .. [1] Chang, W.-G., You, T., Seo, S., Kwak, S. and Han, B. (2019). Domain-specific batch
       normalization for unsupervised domain adaptation. CVPR, 7354-7362, Equations 3 and 4.
    """

    takes_task = True
    not_weights = ("weight",)
    running_mean: Tensor
    running_var: Tensor
    n_batches: Tensor

    def __init__(
        self, n_features: int, n_tasks: int, *, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        owner = "TaskBatchNorm1d"
        self.n_features = positive_integer(n_features, "n_features", owner)
        self.n_tasks = positive_integer(n_tasks, "n_tasks", owner)
        self.eps = positive(eps, "eps", owner)
        self.momentum = fraction(momentum, "momentum", owner)
        self.weight = nn.Parameter(torch.empty(n_tasks, n_features))
        self.bias = nn.Parameter(torch.empty(n_tasks, n_features))
        # The last row holds the common statistics.
        self.register_buffer("running_mean", torch.zeros(n_tasks + 1, n_features))
        self.register_buffer("running_var", torch.ones(n_tasks + 1, n_features))
        self.register_buffer("n_batches", torch.zeros(n_tasks + 1, dtype=torch.long))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set scales to 1, shifts to 0, and forget all statistics."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        self.running_mean.zero_()
        self.running_var.fill_(1.0)
        self.n_batches.zero_()

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        """Return rows x (n, n_features) normalised by task (n,), -1 for an unseen one."""
        if x.ndim != 2 or x.shape[1] != self.n_features:
            allowed = LazyMessage("allowed.of_shape", {"shape": f"(n, {self.n_features})"})
            raise ParameterError(sentence("x", "TaskBatchNorm1d", allowed, tuple(x.shape)))
        # -1 becomes the last row, the common one.
        place = torch.where(task < 0, self.n_tasks, task)
        # Counts and statistics have the precision of the running ones, also where products have
        # a lower one: bfloat16 cannot count beyond 256.
        rows = x.to(self.running_mean.dtype)
        mean, var = self._statistics(rows, place)
        found = (rows - mean[place]) * torch.rsqrt(var[place] + self.eps)
        scale = torch.cat([self.weight, self.weight.mean(0, keepdim=True)])
        shift = torch.cat([self.bias, self.bias.mean(0, keepdim=True)])
        return (found * scale[place] + shift[place]).to(x.dtype)

    def _statistics(self, x: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and variance that each task is normalised with, and the common ones."""
        # Both of shape (n_tasks + 1, n_features).
        known = (self.n_batches > 0)[:, None]
        mean = torch.where(known, self.running_mean, self.running_mean[-1])
        var = torch.where(known, self.running_var, self.running_var[-1])
        if not self.training:
            return mean, var
        count, batch_mean, batch_var = self._of_batch(x, place)
        enough = (count > 1)[:, None]
        if len(x) > 1:
            mean = torch.where(known, mean, batch_mean[-1])
            var = torch.where(known, var, batch_var[-1])
            # An unseen task in training is the batch's, whatever has been seen before.
            enough[-1] = True
        mean = torch.where(enough, batch_mean, mean)
        var = torch.where(enough, batch_var, var)
        self._learn(count, batch_mean, batch_var)
        return mean, var

    def _of_batch(self, x: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return counts, means and variances of each task, and in the last row those of all."""
        rows = x.new_zeros(self.n_tasks + 1, self.n_features)
        count = x.new_zeros(self.n_tasks + 1).index_add(0, place, x.new_ones(len(x)))
        divisor = count.clamp(min=1)[:, None]
        mean = rows.index_add(0, place, x) / divisor
        deviation = x - mean[place]
        var = rows.index_add(0, place, deviation * deviation) / divisor
        whole = torch.cat([mean[:-1], x.mean(0, keepdim=True)])
        spread = torch.cat([var[:-1], x.var(0, correction=0, keepdim=True)])
        return torch.cat([count[:-1], count.sum()[None]]), whole, spread

    @torch.no_grad()
    def _learn(self, count: Tensor, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics of the tasks with two rows or more towards the batch's."""
        enough = (count > 1)[:, None]
        unbiased = var * (count / (count - 1).clamp(min=1))[:, None]
        for running, newest in ((self.running_mean, mean), (self.running_var, unbiased)):
            moved = running + self.momentum * (newest - running)
            running.copy_(torch.where(enough, moved, running))
        self.n_batches += (count > 1).long()


@final
class TaskSequential(nn.Sequential):
    """Layers one after the other, of which some want the task of each row.

    A trunk with task-specific batch norm: layers with the attribute ``takes_task = True`` are
    called with rows and tasks, all others with rows. Use it with hard sharing, which passes the
    tasks on.

    Examples
    --------
    >>> import torch
    >>> from polytask.deep import sharing
    >>> from polytask.deep.regularise import TaskBatchNorm1d, TaskSequential
    >>> trunk = TaskSequential(torch.nn.Linear(3, 8), TaskBatchNorm1d(8, 2), torch.nn.ReLU())
    >>> shared = sharing.Hard().build(trunk, n_tasks=2)
    >>> tuple(shared(torch.randn(6, 3), torch.tensor([0, 0, 0, 1, 1, 1])).shape)
    (6, 8)
    """

    takes_task = True

    def forward(self, x: Any, task: Tensor) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Return the output of the last layer; tasks (n,), -1 for an unseen one."""
        for layer in self:
            x = layer(x, task) if getattr(layer, "takes_task", False) else layer(x)
        return x
