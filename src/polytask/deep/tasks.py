"""Tasks of any output: pixels, tokens, boxes, sequences with padding."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polytask._checks import got_shape, listed, nearest, sentence
from polytask.deep.balancing import Shared
from polytask.deep.keras_models import as_module
from polytask.deep.sharing import Hard, Sharing
from polytask.deep.trainable import Sums, Trainable
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage, Text

# (output of the head, target) -> losses of elements or samples, or their mean
LossFunction = Callable[[Any, Any], Tensor]
Batch = Sequence[Any]


@dataclass(frozen=True, eq=False)
class Task:
    """One task: a head, a loss, and if need be a metric and a mask.

    Parameters
    ----------
    name : hashable
        Its key among the targets of a batch.
    head : nn.Module
        From the representation to the output.
    loss : callable
        ``loss(output, target)``: the loss of each sample, or of finer parts of it (pixels,
        tokens, the numbers of a box), which are averaged within the sample, such as
        ``nn.CrossEntropyLoss(reduction="none")``; or a single number, the mean over the samples
        of the batch. Losses of another number of samples, or with more entries than output and
        target, as where shapes (n, 1) and (n,) broadcast to (n, n), are refused.
    metric : callable or None, default=None
        ``metric(output, target)``: a number for a batch, see :func:`evaluate`.
    mask : callable or None, default=None
        ``mask(target)``: True where there is a label, of the shape of the target or of its first
        axes. Each True then is one label, by which the task's mean loss is taken. What stands
        elsewhere (padding, NaN) becomes a label of the batch before the loss sees it (0 if there
        is none), and counts for nothing. See :func:`labelled` and :class:`IgnoreIndex`.
    """

    name: Hashable
    head: nn.Module
    loss: LossFunction
    metric: Callable[[Any, Any], Any] | None = None
    mask: Callable[[Any], Tensor] | None = None


def labelled(target: Tensor) -> Tensor:
    """Return where a target of numbers is not NaN; a mask for missing labels.

    Parameters
    ----------
    target : Tensor of shape (n_rows,)
        Targets, NaN where a label is missing.
    """
    return ~torch.isnan(target)


@dataclass(frozen=True)
class IgnoreIndex:
    """Mask that leaves out one value of a target, such as that of padding.

    Parameters
    ----------
    value : int
        The value.
    """

    value: int

    def __call__(self, target: Tensor) -> Tensor:
        """Return where the target is another."""
        return target != self.value


class TaskNetwork(Trainable):
    """A trunk with a head for each task, for outputs of any shape.

    A batch is ``(inputs, targets)``: inputs as the trunk takes them, and a mapping of task to
    target. A task that the mapping lacks, or that is None in it, is absent from the batch. Any
    ``DataLoader`` whose items are such pairs can be given to :func:`fit_network`.

    Parameters
    ----------
    trunk : nn.Module
        From inputs to a representation, of any form that the heads take.
    tasks : sequence of Task
        The tasks.
    sharing : description of :mod:`polytask.deep.sharing` or None, default=None
        How tasks share the trunk; for trunks whose representation is of shape (n, width). None:
        one trunk for all.

    Raises
    ------
    ParameterError
        If there is no task, or two have one name.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from polytask.deep import Task, TaskNetwork
    >>> tasks = [
    ...     Task("kind", nn.Linear(4, 3), nn.CrossEntropyLoss(reduction="none")),
    ...     Task("size", nn.Linear(4, 1), nn.MSELoss(reduction="none")),
    ... ]
    >>> network = TaskNetwork(nn.Linear(2, 4), tasks)
    >>> network(torch.ones(5, 2))["kind"].shape
    torch.Size([5, 3])
    """

    def __init__(
        self, trunk: nn.Module, tasks: Sequence[Task], *, sharing: Sharing | None = None
    ) -> None:
        super().__init__()
        names = [task.name for task in tasks]
        if not names or len(set(names)) < len(names):
            allowed = LazyMessage("allowed.named_tasks")
            raise ParameterError(sentence("tasks", "TaskNetwork", allowed, names))
        self.tasks = tuple(tasks)
        self.n_tasks = len(self.tasks)
        self.heads = nn.ModuleList([as_module(task.head) for task in self.tasks])
        self._plain = sharing is None or isinstance(sharing, Hard)
        body = as_module(trunk)
        self.sharing = body if sharing is None or self._plain else sharing.build(body, len(names))

    @property
    def names(self) -> tuple[Hashable, ...]:
        """The names of the tasks."""
        return tuple(task.name for task in self.tasks)

    def forward(self, x: Any) -> dict[Hashable, Any]:  # noqa: ANN401 - as the trunk takes
        """Return the output of every task."""
        features = self._features(x)
        pairs = enumerate(zip(self.tasks, self.heads, strict=True))
        return {task.name: head(self._own(features, t)) for t, (task, head) in pairs}

    def _features(self, x: Any) -> Any:  # noqa: ANN401 - as the trunk gives
        return self.sharing(x) if self._plain else self.sharing(x, None)

    def _own(self, features: Any, t: int) -> Any:  # noqa: ANN401 - as the trunk gives
        if self._plain or self.sharing.shared_representation:
            return features
        return features[:, t]

    def counts(self, batch: Batch) -> Tensor:
        """Return the number of labels of every task in a batch, (n_tasks,)."""
        _, targets = self.parts(batch)
        device = next(self.parameters()).device
        found = torch.zeros(self.n_tasks, device=device)
        for t, task in enumerate(self.tasks):
            target = targets.get(task.name)
            if target is not None:
                found[t] = _count(task, _moved(target, device))
        return found

    def sums(self, batch: Batch) -> Sums:
        """Return the sums of losses and the numbers of labels of the tasks in a batch."""
        inputs, targets = self.parts(batch)
        device = next(self.parameters()).device
        features = self._features(_moved(inputs, device))
        losses, weights, present = [], [], []
        for t, (task, head) in enumerate(zip(self.tasks, self.heads, strict=True)):
            target = _moved(targets.get(task.name), device)
            if target is None:
                continue
            total, count = _summed(task, head(self._own(features, t)), target)
            if count > 0:
                losses.append(total)
                weights.append(count)
                present.append(t)
        whole = torch.stack(losses) if losses else torch.zeros(0, device=device)
        has_slopes = isinstance(features, Tensor) and features.requires_grad
        return Sums(
            losses=whole,
            weights=torch.tensor(weights, dtype=whole.dtype, device=device),
            present=torch.tensor(present, dtype=torch.long, device=device),
            shared=Shared((features,)) if has_slopes else None,
            extra=self._extra(),
        )

    def _extra(self) -> Tensor | None:
        """Return what parts of the network add to the loss of the batch just seen."""
        found = [getattr(module, "extra_loss", None) for module in self.modules()]
        terms = [term for term in found if isinstance(term, Tensor)]
        return torch.stack(terms).sum() if terms else None

    def shared_parameters(self) -> list[Tensor]:
        """Return the parameters of the trunk."""
        return [p for p in self.sharing.parameters() if p.requires_grad]

    def parts(self, batch: object) -> tuple[Any, Mapping[Hashable, Any]]:
        """Return the inputs and targets of a batch; refuse what is no such pair."""
        pair = batch if isinstance(batch, list | tuple) and len(batch) == 2 else (None, None)
        inputs, targets = pair
        if not isinstance(targets, Mapping):
            what, allowed = LazyMessage("what.batch"), LazyMessage("allowed.inputs_and_targets")
            raise DataError(sentence(what, "TaskNetwork", allowed, type(batch).__name__))
        strangers = [name for name in targets if name not in self.names]
        if strangers:
            what, got = LazyMessage("what.batch_target"), repr(strangers[0])
            told = sentence(what, "TaskNetwork", listed(self.names), got)
            raise DataError(told + nearest(strangers[0], self.names))
        return inputs, targets


@torch.no_grad()
def evaluate(network: TaskNetwork, batches: Iterable[Batch]) -> dict[Hashable, float]:
    """Return the metric of every task, averaged over batches by their labels.

    Parameters
    ----------
    network : TaskNetwork
        Trained or not.
    batches : iterable
        Of pairs of inputs and targets.

    Returns
    -------
    dict of task to float
        Tasks without a metric are left out; NaN for tasks without a label.
    """
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    total = {task.name: [0.0, 0] for task in network.tasks if task.metric is not None}
    for batch in batches:
        inputs, targets = network.parts(batch)
        outputs = network(_moved(inputs, device))
        for task in network.tasks:
            target = _moved(targets.get(task.name), device)
            count = 0 if target is None else _count(task, target)
            if task.metric is not None and count:
                total[task.name][0] += count * float(task.metric(outputs[task.name], target))
                total[task.name][1] += count
    network.train(training)
    return {name: value / count if count else math.nan for name, (value, count) in total.items()}


def _summed(task: Task, output: Any, target: Any) -> tuple[Tensor, int]:  # noqa: ANN401
    """Return the sum of the losses of a task in a batch, and how many labels there are."""
    if task.mask is None:
        losses, count = task.loss(output, target), len(target)
        if losses.ndim == 0:
            return losses.mean() * count, count
        if len(losses) != count:
            allowed = LazyMessage("allowed.loss_of_samples", {"count": count})
            raise _unlike(task, allowed, losses)
        _refuse_broadcast(task, losses, output, target)
        return _by_label(losses, 1).sum(), count
    mask = task.mask(target)
    seen = mask.reshape(*mask.shape, *[1] * (target.ndim - mask.ndim))
    observed = target[mask]
    # A loss need not be finite at 0, and 0 times an infinite slope is no number.
    filler = observed[0] if len(observed) else target.new_zeros(target.shape[mask.ndim :])
    losses = task.loss(output, torch.where(seen, target, filler))
    if losses.shape[: mask.ndim] != mask.shape:
        allowed = LazyMessage("allowed.loss_of_mask", {"shape": str(tuple(mask.shape))})
        raise _unlike(task, allowed, losses, LazyMessage("hint.reduction"))
    _refuse_broadcast(task, losses, output, target)
    losses = _by_label(losses, mask.ndim)
    return torch.where(mask, losses, torch.zeros_like(losses)).sum(), int(mask.sum())


def _refuse_broadcast(task: Task, losses: Tensor, output: Any, target: Any) -> None:  # noqa: ANN401
    """Refuse losses of every output with the target of every other sample."""
    if not (isinstance(output, Tensor) and isinstance(target, Tensor)):
        return
    if losses.numel() > max(output.numel(), target.numel()):
        fields = {"output": str(tuple(output.shape)), "target": str(tuple(target.shape))}
        raise _unlike(task, LazyMessage("allowed.loss_within", fields), losses)


def _unlike(task: Task, allowed: Text, losses: Tensor, advice: Text = "") -> ParameterError:
    """Return the refusal of losses of another shape."""
    owner = LazyMessage("what.task", {"task": repr(task.name)})
    got = got_shape(losses.shape)
    return ParameterError(sentence("loss", owner, allowed, got) + advice)


def _by_label(losses: Tensor, ndim: int) -> Tensor:
    """Return losses with one entry for each label: the mean over what is finer."""
    return losses.flatten(ndim).mean(-1) if losses.ndim > ndim else losses


def _count(task: Task, target: Any) -> int:  # noqa: ANN401 - as the loss takes
    """Return the number of labels of a target: that of its mask, else its length."""
    return len(target) if task.mask is None else int(task.mask(target).sum())


def _moved(values: Any, device: torch.device) -> Any:  # noqa: ANN401 - tensors in containers
    """Return tensors, also those in mappings and sequences, on a device."""
    if isinstance(values, Tensor):
        return values.to(device)
    if isinstance(values, Mapping):
        return {name: _moved(value, device) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_moved(value, device) for value in values)
    return values
