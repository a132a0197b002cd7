"""How a trained network learns another task: what :func:`polytask.adapt` takes as ``method``."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask._checks import nonnegative, positive, positive_integer, sentence
from polytask.deep.network import Network
from polytask.deep.prediction import DeepTasks
from polytask.deep.rows import Design, DeviceDtype, design_of
from polytask.deep.trainable import loss_sums
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.losses import Loss
from polytask.messages import LazyMessage

__all__ = ["Adapters", "ChangesLayers", "NearSource", "NewHead", "Unfreeze"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
# Steps between two looks at the rows left out, and rows in one piece of a step.
EVERY = 10
_CHUNK = 4096
# Parts of a network that are no layers below the heads.
_ABOVE = ("heads", "losses", "alignment")
# Of the draws of adapters: the same rows give the same model.
_SEED = 0


@dataclass(frozen=True, eq=False)
class TaskChange:
    """What differs from the network for one task."""

    # Stages hold what learns in each, one after another; layers the parameters that take the
    # place of those of the network, sources what they were there; additions the factors, of shapes
    # (n_outputs, rank) and (rank, n_inputs), whose product is added. The penalty is half the
    # strength times the squared distance of the layers from the source.

    stages: tuple[list[Tensor], ...]
    layers: Mapping[str, Tensor] = field(default_factory=dict)
    sources: Mapping[str, Tensor] = field(default_factory=dict)
    additions: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    strength: float = 0.0

    def weights(self) -> dict[str, Tensor]:
        """Return the parameters that take the place of those of the network, by name."""
        added = {
            name: self.sources[name] + left @ right
            for name, (left, right) in self.additions.items()
        }
        return {**self.layers, **added}

    def penalty(self) -> Tensor:
        """Return the penalty on the distance from the source."""
        squares = [(w - self.sources[name]).square().sum() for name, w in self.layers.items()]
        return 0.5 * self.strength * torch.stack(squares).sum()

    def kept(self) -> tuple[dict[str, Array], dict[str, tuple[Array, Array]]]:
        """Return layers and additions as arrays."""
        layers = {name: _array(value) for name, value in self.layers.items()}
        pairs = {n: (_array(left), _array(right)) for n, (left, right) in self.additions.items()}
        return layers, pairs


def last_layers(network: Network, count: int | None, owner: str) -> TaskChange:
    """Return a change of the last layers, all for None, one more in each stage; refuse none."""
    chosen = layers_of(network)[::-1][:count]
    if not chosen:
        raise IncompatibleError(LazyMessage("deep.refusal.no_layers_below", {"owner": owner}))
    sources = dict(network.named_parameters())
    layers = {name: _copy(sources[name]) for names in chosen for name in names}
    stages = tuple(
        [layers[name] for names in chosen[: k + 1] for name in names] for k in range(len(chosen))
    )
    return TaskChange(stages, layers, {name: sources[name].detach() for name in layers})


def below_heads(network: Network) -> dict[str, nn.Module]:
    """Return the modules below the heads by name, in the order of their making."""
    modules = network.named_modules()
    return {name: part for name, part in modules if name.partition(".")[0] not in _ABOVE}


def layers_of(network: Network) -> list[list[str]]:
    """Return the names of the parameters of each layer below the heads, in order."""
    # A norm, or whatever else has no matrix of weights, belongs to the layer before it.
    found: list[list[str]] = []
    for name, module in below_heads(network).items():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            continue
        names = [f"{name}.{key}" if name else key for key in own]
        if found and all(value.ndim < 2 for value in own.values()):
            found[-1].extend(names)
        else:
            found.append(names)
    return found


def _copy(values: Tensor) -> Tensor:
    return values.detach().clone().requires_grad_()


def _array(values: Tensor) -> Array:
    array: Array = values.detach().cpu().numpy()
    return array


@runtime_checkable
class ChangesLayers(Protocol):
    """A method that changes layers for the new task, by descent from what they are."""

    @property
    def steps(self) -> int:
        """Steps of each stage, at most."""
        ...

    @property
    def learning_rate(self) -> float:
        """The learning rate of Adam."""
        ...

    def change(self, network: Network) -> TaskChange:
        """Return what changes, at the weights of the network."""
        ...


@final
@dataclass(frozen=True)
class NewHead:
    """A head of its own on the layers as they are: the default.

    On layers that do not change, a linear head is a linear model of the representation, a
    convex problem that is solved exactly by what adapts linear models. The head is held at the
    mean head of the tasks; how strongly, and in which directions least, is what the heads of the
    tasks say: their covariance is the covariance of its prior. Another strength is taken if it
    predicts rows left out significantly better (95% level; 99.9% with fewer than twenty rows).
    """


@final
@dataclass(frozen=True)
class Unfreeze:
    """Gradual unfreezing: the last layer learns first, then one more at a time [1]_.

    The layers of the new task are copies; the other tasks keep theirs. Starts at the head of
    :class:`NewHead`, which goes on learning. How many steps are taken is chosen by
    cross-validation on the new rows; none, unless they predict rows left out significantly better
    (95% level).

    Parameters
    ----------
    layers : int, default=2
        How many layers are unfrozen in the end, counted from the last one below the heads; all
        if there are fewer.
    steps : int, default=100
        Steps with each number of layers, at most; each on all new rows.
    learning_rate : float, default=5e-3
        Of Adam.

    References
    ----------
    .. [1] Howard, J. and Ruder, S. (2018). Universal language model fine-tuning for text
       classification. ACL, 328-339, section 3.3.
    """

    layers: int = 2
    steps: int = 100
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        positive_integer(self.layers, "layers", "Unfreeze")
        _check(self, "Unfreeze")

    def change(self, network: Network) -> TaskChange:
        """Return the change of the last layers."""
        return last_layers(network, self.layers, "Unfreeze")


@final
@dataclass(frozen=True)
class NearSource:
    """All layers learn, held near what they were: L2-to-source, L2-SP [1]_.

    As :class:`Unfreeze`, with all layers at once and a penalty on their distance.

    Parameters
    ----------
    strength : float, default=0.1
        Half of it times the squared distance of all weights from those of the network is added
        to the mean loss.
    steps : int, default=200
        Steps at most; each on all new rows.
    learning_rate : float, default=5e-3
        Of Adam.

    References
    ----------
    .. [1] Li, X., Grandvalet, Y. and Davoine, F. (2018). Explicit inductive bias for transfer
       learning with convolutional networks. ICML, 2825-2834, Equation 2.
    """

    strength: float = 0.1
    steps: int = 200
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        nonnegative(self.strength, "strength", "NearSource")
        _check(self, "NearSource")

    def change(self, network: Network) -> TaskChange:
        """Return the change of all layers."""
        whole = last_layers(network, None, "NearSource")
        return TaskChange(whole.stages[-1:], whole.layers, whole.sources, strength=self.strength)


@final
@dataclass(frozen=True)
class Adapters:
    """Additions of low rank to all linear layers, which themselves stay as they are [1]_.

    As :class:`Unfreeze`, but a layer of m outputs and d inputs learns ``rank (m + d)`` numbers
    instead of ``m d``: they make the saved model little larger.

    Parameters
    ----------
    rank : int, default=4
        Of each addition.
    steps : int, default=200
        Steps at most; each on all new rows.
    learning_rate : float, default=5e-3
        Of Adam.

    References
    ----------
    .. [1] Hu, E. et al. (2022). LoRA: low-rank adaptation of large language models. ICLR,
       section 4.1.
    """

    rank: int = 4
    steps: int = 200
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        positive_integer(self.rank, "rank", "Adapters")
        _check(self, "Adapters")

    def change(self, network: Network) -> TaskChange:
        """Return the additions, which begin at 0."""
        draws = torch.Generator().manual_seed(_SEED)
        additions, sources = {}, {}
        for name, module in below_heads(network).items():
            if isinstance(module, nn.Linear):
                weight = module.weight.detach()
                left = torch.zeros(weight.shape[0], self.rank)
                right = torch.randn(self.rank, weight.shape[1], generator=draws)
                right = right / math.sqrt(max(weight.shape[1], 1))
                key = f"{name}.weight"
                additions[key] = (_copy(left.to(weight)), _copy(right.to(weight)))
                sources[key] = weight
        if not additions:
            raise IncompatibleError(LazyMessage("deep.refusal.no_linear_layers"))
        learned = [factor for pair in additions.values() for factor in pair]
        return TaskChange((learned,), sources=sources, additions=additions)


Method = NewHead | ChangesLayers


def method_of(method: object, owner: str) -> Method:
    """Return how to adapt, :class:`NewHead` for None; refuse what is something else."""
    if method is None:
        return NewHead()
    if isinstance(method, NewHead | ChangesLayers) and not isinstance(method, type):
        return method
    fields = {"module": __name__, "example": "Unfreeze(2)"}
    allowed = LazyMessage("allowed.none_or_object", fields)
    raise ParameterError(sentence("method", owner, allowed, repr(method)))


def _check(method: ChangesLayers, owner: str) -> None:
    positive_integer(method.steps, "steps", owner)
    positive(method.learning_rate, "learning_rate", owner)


@dataclass(frozen=True, eq=False)
class DescentStart:
    """Where the descent begins, and what holds the head."""

    # Shapes: mean (n_columns, width + 1), root (width + 1, r), u (r, n_columns). Weights and, in
    # the last column, intercept of the head are mean + (root @ u).T, where half the ridge times
    # the sum of squares of u is added to the sum of losses.

    mean: Floats
    root: Floats
    u: Floats
    ridge: float


@dataclass(frozen=True, eq=False)
class FineTuneResult:
    """What a descent came to: a head, the layers, and predictors of the rows watched."""

    # Shapes: head (n_columns, width + 1), seen (n_looks, n_watched, n_columns). Looks are the
    # steps after which rows were predicted: none, every 10 and the last.

    head: Floats
    change: TaskChange
    looks: tuple[int, ...]
    seen: Floats


# Its name in 0.1.
Course = FineTuneResult


def descend(
    tasks: DeepTasks,
    method: ChangesLayers,
    start: DescentStart,
    rows: tuple[Any, Floats, Floats],
    loss: Loss,
    *,
    watched: Any = None,  # noqa: ANN401 - dense or sparse
    steps: int | None = None,
) -> FineTuneResult:
    """Let head and layers learn from the rows of one task, at most the steps of all stages."""
    # Norms keep the statistics that they have and nothing is dropped, so that a step on all rows
    # is the same every time. Rows are encoded features, targets in the units of training and
    # weights; `watched` are encoded features of rows to predict on the way.
    work = _HeadDescent(tasks, method, start, loss)
    most = method.steps * len(work.change.stages)
    return work.run(rows, watched, most if steps is None else min(steps, most))


class _HeadDescent:
    """One descent: what changes while it runs."""

    def __init__(
        self, tasks: DeepTasks, method: ChangesLayers, start: DescentStart, loss: Loss
    ) -> None:
        self._tasks, self._method, self._loss = tasks, method, loss
        # Gradients of weights that do not change are not asked for.
        network = copy.deepcopy(tasks.network).requires_grad_(False)
        self._place: DeviceDtype = tasks.plan.place(next(network.parameters()).device)
        self._mean = self._place.numbers(start.mean)
        self._root = self._place.numbers(start.root)
        self._u = self._place.numbers(start.u).clone().requires_grad_()
        self._ridge = start.ridge
        self.change = method.change(network)
        self._represent = _Represent(network)

    def run(self, rows: tuple[Any, Floats, Floats], watched: Any, steps: int) -> FineTuneResult:  # noqa: ANN401
        """Take the steps."""
        design = self._design(rows[0])
        y, weight = (self._place.numbers(values) for values in rows[1:])
        others = None if watched is None else (self._design(watched), watched.shape[0])
        seen = {} if others is None else {0: self._predicted(*others)}
        optimizer = self._optimizer(0)
        for step in range(1, steps + 1):
            stage, within = divmod(step - 1, self._method.steps)
            if stage and not within:
                optimizer = self._optimizer(stage)
            self._step(optimizer, design, y, weight)
            if others is not None and (step % EVERY == 0 or step == steps):
                seen[step] = self._predicted(*others)
        head = self._head().detach().cpu().numpy().astype(np.float64)
        return FineTuneResult(head, self.change, tuple(seen), np.array(list(seen.values())))

    def _optimizer(self, stage: int) -> torch.optim.Optimizer:
        learned = [self._u, *self.change.stages[stage]]
        return torch.optim.Adam(learned, lr=self._method.learning_rate, fused=True)

    def _step(
        self, optimizer: torch.optim.Optimizer, design: Design, y: Tensor, weight: Tensor
    ) -> None:
        optimizer.zero_grad(set_to_none=True)
        whole = weight.sum()
        for first in range(0, len(y), _CHUNK):
            at = np.arange(first, min(first + _CHUNK, len(y)))
            part = slice(first, first + _CHUNK)
            eta = self._eta(design, at)
            own = eta if self._loss.n_outputs(2) == 1 else eta[:, None]
            sums = loss_sums(self._loss, y[part, None], own, weight[part, None], complete=True)
            term = sums[0] / whole
            if not first:
                held = 0.5 * self._ridge * self._u.square().sum() / whole
                term = term + (held + self.change.penalty() if self.change.strength else held)
            term.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def _head(self) -> Tensor:
        return self._mean + (self._root @ self._u).T

    def _eta(self, design: Design, at: NDArray[np.intp]) -> Tensor:
        x = design.take(at)
        code = torch.full((len(at),), -1, dtype=torch.long, device=x.device)
        named = {f"network.{name}": value for name, value in self.change.weights().items()}
        features: Tensor = torch.func.functional_call(self._represent, named, (x, code))
        head = self._head()
        return features @ head[:, :-1].T + head[:, -1]

    @torch.no_grad()
    def _predicted(self, design: Design, count: int) -> Floats:
        parts = [
            self._eta(design, np.arange(start, min(start + _CHUNK, count)))
            for start in range(0, count, _CHUNK)
        ]
        return np.asarray(torch.cat(parts).cpu().numpy(), dtype=np.float64)

    def _design(self, X: Any) -> Design:  # noqa: ANN401 - dense or sparse
        return design_of(self._tasks.scaling.features(X, None), self._place)


class _Represent(nn.Module):
    """What the heads of a network read, as a call that takes other weights."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        """Return the representation of rows."""
        return self.network.represent(x, task)
