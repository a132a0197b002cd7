"""Meta-learning: initial weights from which a few gradient steps learn a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask._checks import one_of, positive, positive_integer, sentence
from polytask._registry import saveable
from polytask.deep.network import Network
from polytask.deep.regularise.matrices import MatrixView, layout_of
from polytask.deep.rows import TableRows
from polytask.deep.trainable import Sums, Trainable, loss_sums
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.losses import Loss
from polytask.messages import LazyMessage
from polytask.penalties import Columns, Penalty, Proximable
from polytask.penalties.base import FeatureSpace

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class MetaMethod:
    """How tasks learn from the initial weights, and how these learn from the tasks."""

    steps: int = 5
    learning_rate: float = 0.05

    # Whether only the head learns a task; each weight has a rate of its own, which is learned;
    # the initial weights move towards those of the tasks, without any gradient through the steps.
    head_only: ClassVar[bool] = False
    learns_rates: ClassVar[bool] = False
    interpolates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        owner = type(self).__name__
        positive_integer(self.steps, "steps", owner)
        positive(self.learning_rate, "learning_rate", owner)
        one_of(self.second_order, "first_order", owner, (True, False))
        if self.penalty is not None and not isinstance(self.penalty, Penalty):
            allowed = LazyMessage("allowed.some_penalty", {"example": "L2(1.0)"})
            raise ParameterError(sentence("proximal", owner, allowed, repr(self.penalty)))

    @property
    def second_order(self) -> bool:
        """Whether the gradient goes through the gradients of the steps."""
        return not (self.interpolates or getattr(self, "first_order", False))

    @property
    def penalty(self) -> Penalty | None:
        """The penalty on the distance from the initial weights."""
        found: Penalty | None = getattr(self, "proximal", None)
        return found


@final
@saveable("deep.meta.maml")
@dataclass(frozen=True)
class MAML(MetaMethod):
    """Model-agnostic meta-learning: all weights take a few gradient steps on a task [1]_.

    The initial weights minimise the loss of other rows of the task *after* these steps.

    Parameters
    ----------
    steps : int, default=5
        Gradient steps on the rows of a task, each on all of them.
    learning_rate : float, default=0.05
        Of these steps, on the mean loss in units of standardised targets.
    first_order : bool, default=False
        Whether the gradients of the steps count as constants: cheaper, no second derivatives.
    proximal : Penalty or None, default=None
        A penalty of :mod:`polytask.penalties` on the distance of each weight matrix from its
        initial value, by a proximal step after each gradient step; ``L2(strength)`` is the term
        of implicit MAML [2]_, whose gradient is taken through the steps here. One with a prox.

    References
    ----------
    .. [1] Finn, C., Abbeel, P. and Levine, S. (2017). Model-agnostic meta-learning for fast
       adaptation of deep networks. ICML, 1126-1135, Algorithm 1.
    .. [2] Rajeswaran, A. et al. (2019). Meta-learning with implicit gradients. NeurIPS 32,
       Equation 3.
    """

    first_order: bool = False
    proximal: Penalty | None = None


@final
@saveable("deep.meta.anil")
@dataclass(frozen=True)
class ANIL(MetaMethod):
    """Almost no inner loop: as :class:`MAML`, but only the head takes steps on a task [1]_.

    Parameters
    ----------
    steps, learning_rate, first_order, proximal
        As for :class:`MAML`.

    References
    ----------
    .. [1] Raghu, A. et al. (2020). Rapid learning or feature reuse? Towards understanding the
       effectiveness of MAML. ICLR, section 4.
    """

    first_order: bool = False
    proximal: Penalty | None = None

    head_only: ClassVar[bool] = True


@final
@saveable("deep.meta.reptile")
@dataclass(frozen=True)
class Reptile(MetaMethod):
    """Initial weights move towards the weights that tasks have after some steps [1]_.

    No derivative of a step is taken. In training the steps take the support and the query rows
    of a task in turn: two minibatches. The optimiser is given the initial weights less the
    learned ones, over the learning rate, added up over the tasks of a step; with
    ``functools.partial(torch.optim.SGD, lr=epsilon * learning_rate / tasks_per_step)`` the
    initial weights move by `epsilon` times the mean distance, as published.

    Parameters
    ----------
    steps, learning_rate, proximal
        As for :class:`MAML`.

    References
    ----------
    .. [1] Nichol, A., Achiam, J. and Schulman, J. (2018). On first-order meta-learning
       algorithms. arXiv 1803.02999, Algorithm 2.
    """

    proximal: Penalty | None = None

    interpolates: ClassVar[bool] = True


@final
@saveable("deep.meta.meta_sgd")
@dataclass(frozen=True)
class MetaSGD(MetaMethod):
    """As :class:`MAML`, with a learning rate for each weight, learned with it [1]_.

    Parameters
    ----------
    steps, first_order
        As for :class:`MAML`.
    learning_rate : float, default=0.05
        What all rates begin at.

    References
    ----------
    .. [1] Li, Z., Zhou, F., Chen, F. and Li, H. (2017). Meta-SGD: learning to learn quickly for
       few-shot learning. arXiv 1707.09835, Algorithm 1.
    """

    first_order: bool = False

    learns_rates: ClassVar[bool] = True


class Part(NamedTuple):
    """Some rows of several tasks, padded. Shapes: x (b, n, d), y, weight (b, n)."""

    x: Tensor
    y: Tensor
    weight: Tensor


class Episode(NamedTuple):
    """Rows to learn from and rows to be judged by, of some tasks. Shapes: task (b,)."""

    support: Part
    query: Part
    task: Tensor


def padded(rows: TableRows, chosen: Sequence[Rows]) -> Part:
    """Return the chosen rows of some tasks; the shorter ones are filled up with weight 0."""
    size = max(map(len, chosen))
    at = np.stack([np.resize(own, size) for own in chosen]).ravel()
    filled = np.concatenate([np.arange(size) >= len(own) for own in chosen])
    index = torch.from_numpy(at).to(rows.y.device)
    weight = rows.weight[index].masked_fill(torch.from_numpy(filled).to(index.device), 0.0)
    shape = len(chosen), size
    return Part(
        rows.design.take(at).view(*shape, -1), rows.y[index].view(shape), weight.view(shape)
    )


class Episodes:
    """Episodes of an epoch: every task once, in random order and with random rows."""

    # `own` are the rows of each task; a task with fewer rows than wanted is halved, and one with
    # a single row, which cannot be judged, is left out. Fixed ones are the same in each epoch.

    def __init__(
        self,
        rows: TableRows,
        own: Sequence[Rows],
        tasks: Rows,
        sizes: tuple[int, int],
        tasks_per_step: int,
        seed: int,
        *,
        fixed: bool = False,
    ) -> None:
        self._rows, self._own = rows, own
        self._tasks = np.array([t for t in tasks.tolist() if len(own[t]) > 1], dtype=np.intp)
        self._support, self._query = sizes
        self._count = tasks_per_step
        self._seed = seed if fixed else None
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self._tasks)

    def __iter__(self) -> Iterator[Episode]:
        """Yield the episodes of one epoch."""
        rng = self._rng if self._seed is None else np.random.default_rng(self._seed)
        order = self._tasks[rng.permutation(len(self._tasks))]
        for first in range(0, len(order), self._count):
            tasks = order[first : first + self._count]
            support, query = [], []
            for t in tasks.tolist():
                drawn = self._own[t][rng.permutation(len(self._own[t]))]
                k = min(self._support, len(drawn) // 2)
                support.append(drawn[:k])
                query.append(drawn[k : k + self._query])
            parts = padded(self._rows, support), padded(self._rows, query)
            yield Episode(*parts, torch.from_numpy(tasks).to(self._rows.y.device))


class MetaNetwork(Trainable):
    """Initial weights, for the training loop: the loss of a task is that after its steps."""

    def __init__(self, network: Network, method: MetaMethod, loss: Loss, n_tasks: int) -> None:
        super().__init__()
        self.network, self.method, self.loss, self.n_tasks = network, method, loss, n_tasks
        found = dict(network.named_parameters())
        self.adapting = [
            name
            for name, value in found.items()
            if value.requires_grad and (name.startswith("heads.") or not method.head_only)
        ]
        rates = [torch.full_like(found[name], method.learning_rate) for name in self.adapting]
        self.rates = nn.ParameterList(rates if method.learns_rates else [])
        self._proximal = {}
        if method.penalty is not None:
            self._proximal = {
                name: _bound(network, name, method.penalty) for name in self.adapting
            }

    def start(self) -> dict[str, Tensor]:
        """Return the initial weights that adapt."""
        found = dict(self.network.named_parameters())
        return {name: found[name] for name in self.adapting}

    def predictors(self, own: dict[str, Tensor], x: Tensor) -> Tensor:
        """Return predictors of rows, (b, n, K), with weights of each task. Shapes: x (b, n, d)."""

        def one(weights: dict[str, Tensor], x: Tensor) -> Tensor:
            found: Tensor = torch.func.functional_call(self.network, weights, (x,))
            return found

        every: Tensor = torch.func.vmap(one, randomness="different")(own, x)
        return every

    def adapted(self, parts: Sequence[Part], steps: int, second_order: bool) -> dict[str, Tensor]:
        """Return weights of each task after steps, each on one of the parts in turn."""
        # Gradients are those that the loss states, and their derivatives those of its gradient.
        start = self.start()
        rates: Sequence[Tensor | float] = list(self.rates) or [self.method.learning_rate] * len(
            start
        )
        with torch.enable_grad():
            own = {n: value.expand(len(parts[0].y), *value.shape) for n, value in start.items()}
            for step in range(steps):
                part = parts[step % len(parts)]
                eta = self.predictors(own, part.x)
                whole = part.weight.sum(1).clamp_min(torch.finfo(eta.dtype).tiny)
                loss = (self._losses(eta, part) / whole).sum()
                slopes = torch.autograd.grad(
                    loss, list(own.values()), create_graph=second_order, materialize_grads=True
                )
                moved = zip(own.items(), rates, slopes, strict=True)
                own = {name: value - rate * slope for (name, value), rate, slope in moved}
                for name, prox in self._proximal.items():
                    own[name] = start[name] + prox(
                        own[name] - start[name], self.method.learning_rate
                    )
        return own

    def _losses(self, eta: Tensor, part: Part) -> Tensor:
        """Return the sums of losses of each task, (b,). Shapes: eta (b, n, K)."""
        b, n = part.y.shape
        flat = eta.reshape(b * n, -1).to(part.y.dtype)
        own = torch.arange(b, device=eta.device).repeat_interleave(n)
        flat = flat if self.loss.n_outputs(3) > 1 else flat[:, 0]
        return loss_sums(self.loss, part.y.ravel(), flat, part.weight.ravel(), own, b)

    def counts(self, batch: Episode) -> Tensor:
        """Return the sum of weights of the rows that judge each task, (n_tasks,)."""
        weight = batch.query.weight.sum(1)
        return weight.new_zeros(self.n_tasks).index_add(0, batch.task, weight)

    def sums(self, batch: Episode) -> Sums:
        """Return the losses of the rows that judge, after the steps on the others."""
        method, weights = self.method, batch.query.weight.sum(1)
        both = method.interpolates and self.training
        parts = [batch.support, batch.query] if both else [batch.support]
        second = self.training and method.second_order
        own = self.adapted(parts, method.steps, second)
        if not method.interpolates:
            losses = self._losses(self.predictors(own, batch.query.x), batch.query)
            return Sums(losses, weights, batch.task)
        with torch.no_grad():
            losses = self._losses(self.predictors(own, batch.query.x), batch.query)
            away = {n: (w - own[n]) / method.learning_rate for n, w in self.start().items()}
        # A term that is 0 and has the wanted slope.
        pulls = [((w - w.detach()) * away[n]).flatten(1).sum(1) for n, w in self.start().items()]
        return Sums(losses + weights * torch.stack(pulls).sum(0), weights, batch.task)

    def shared_parameters(self) -> list[Tensor]:
        """Return all weights: every task begins at them."""
        return [p for p in self.network.parameters() if p.requires_grad]


def _bound(network: nn.Module, name: str, penalty: Penalty) -> Callable[[Tensor, float], Tensor]:
    """Return the prox of a penalty for a parameter of several tasks, one after another."""
    path, _, own = name.rpartition(".")
    module = network.get_submodule(path)
    values = getattr(module, own).detach()
    view: MatrixView = layout_of(module, own, values)
    shape = view.matrix(values).shape
    if penalty.strength is None:
        raise ParameterError(LazyMessage("deep.refusal.relative", {"penalty": repr(penalty)}))
    space = FeatureSpace(shape[0], None, np.ones(tuple(shape)))
    bound: Any = penalty.bind(Columns.plain(shape[1])).bind_features(space)
    if not isinstance(bound, Proximable):
        fields = {"penalty": repr(penalty)}
        raise IncompatibleError(LazyMessage("deep.refusal.no_prox_of_distance", fields))

    def prox(distance: Tensor, step: float) -> Tensor:
        found = [view.tensor(bound.prox(view.matrix(d), step), values.shape) for d in distance]
        return torch.stack(found)

    return prox
