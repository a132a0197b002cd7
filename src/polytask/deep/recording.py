"""What training can record about pairs of tasks: cosines of gradients, affinity."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, final, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from polytask._checks import one_of, positive, positive_integer, sentence
from polytask._registry import saveable
from polytask.deep.balancing.routes import OwnRows, Route, Shared
from polytask.deep.engine import Engine
from polytask.deep.relations import AFFINITY, GRADIENTS, TaskRelation
from polytask.deep.terms import Sums, task_means
from polytask.deep.trainable import Trainable
from polytask.deep.training import LEVELS
from polytask.exceptions import DataError, IncompatibleError, ParameterError


@runtime_checkable
class Recording(Protocol):
    """A measure of pairs of tasks on one batch."""

    measure: ClassVar[str]

    @property
    def every(self) -> int:
        """Steps from one batch that is measured to the next."""
        ...

    def of_batch(self, network: Trainable, batch: Any, rate: float) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        """Return the measure, (k, k), and the tasks that are present in the batch, (k,).

        Parameters
        ----------
        network : Trainable
            In evaluation mode; its weights are the same afterwards.
        batch : object
            As the network takes it.
        rate : float
            The learning rate of the optimiser.
        """
        ...


@final
@saveable("deep.recording.gradients")
@dataclass(frozen=True)
class GradientSimilarity:
    """Cosines between the gradients of the tasks: whether they pull the shared layers alike.

    Parameters
    ----------
    every : int, default=10
        Measure every so many steps, the first one included.
    at : {"parameters", "representation"}, default="parameters"
        Where gradients are taken: of the parameters that tasks share, or of the representation.
        Where each row belongs to one task they are orthogonal at the representation, which is
        refused there.

    Notes
    -----
    A measured step costs a backward pass for each task beside the step itself. Tasks with layers
    of their own (``Soft``) share nothing there: cosine 0.

    References
    ----------
    Yu, T., Kumar, S., Gupta, A., Levine, S., Hausman, K. and Finn, C. (2020). Gradient surgery
    for multi-task learning. NeurIPS, definition 1.
    """

    every: int = 10
    at: str = LEVELS[1]

    measure: ClassVar[str] = GRADIENTS

    def __post_init__(self) -> None:
        """Refuse settings outside their sets."""
        positive_integer(self.every, "every", "GradientSimilarity")
        one_of(self.at, "at", "GradientSimilarity", LEVELS)

    def of_batch(self, network: Trainable, batch: Any, rate: float) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        """Return the cosines of the tasks that are present."""
        sums = network.sums(batch)
        if not len(sums.present):
            return torch.zeros(0, 0, dtype=torch.float64), sums.present
        means = task_means(sums, sums.weights, network.roots)
        gramian = self._route(network, sums).measure(means, sums.present).gramian.double()
        return cosines(gramian), sums.present

    def _route(self, network: Trainable, sums: Sums) -> Route:
        if self.at == LEVELS[1]:
            return Shared(tuple(_shared(network, type(self).__name__)))
        if sums.shared is None or isinstance(sums.shared, OwnRows):
            told = "none is formed" if sums.shared is None else "each row belongs to one task"
            raise IncompatibleError(
                "GradientSimilarity(at='representation') needs a representation that tasks "
                f"share row by row; here {told}. Take at='parameters'."
            )
        return sums.shared


def cosines(gramian: Tensor) -> Tensor:
    """Return the cosines of vectors from their inner products; NaN for a vector of 0.

    Parameters
    ----------
    gramian : Tensor of shape (k, k)
        Inner products.
    """
    length = gramian.diagonal().sqrt()
    found = gramian / torch.outer(length, length)
    found = (0.5 * (found + found.T)).clamp(-1.0, 1.0)
    found.fill_diagonal_(1.0)
    unknown = length == 0
    return found.masked_fill(unknown[:, None] | unknown[None, :], torch.nan)


@final
@saveable("deep.recording.affinity")
@dataclass(frozen=True)
class TaskAffinity:
    """Inter-task affinity: what a step for one task does to the losses of the others [1]_.

    For tasks i and j of a batch, ``1 - L_j(after) / L_j(before)``, the shared parameters having
    taken one plain gradient step on ``L_i``: above 0 where i helps j, below where it harms.

    Parameters
    ----------
    every : int, default=10
        Measure every so many steps, the first one included.
    step : float or None, default=None
        The length of the step; None: the learning rate of the optimiser at that time.

    Notes
    -----
    A measured step costs a backward and a forward pass for each task beside the step itself. The
    steps are taken back, bit for bit. Losses of 0 say nothing and are left out.

    References
    ----------
    .. [1] Fifty, C., Amid, E., Zhao, Z., Yu, T., Anil, R. and Finn, C. (2021). Efficiently
       identifying task groupings for multi-task learning. NeurIPS, Equation 1.
    """

    every: int = 10
    step: float | None = None

    measure: ClassVar[str] = AFFINITY

    def __post_init__(self) -> None:
        """Refuse settings outside their sets."""
        positive_integer(self.every, "every", "TaskAffinity")
        if self.step is not None:
            positive(self.step, "step", "TaskAffinity")

    def of_batch(self, network: Trainable, batch: Any, rate: float) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        """Return the affinities of the tasks that are present."""
        shared = _shared(network, type(self).__name__)
        length = rate if self.step is None else self.step
        sums = network.sums(batch)
        means = task_means(sums, sums.weights, network.roots)
        before, rows = means.detach().double(), []
        for mean in means:
            slopes = torch.autograd.grad(mean, shared, retain_graph=True, allow_unused=True)
            after = _after(network, batch, list(zip(shared, slopes, strict=True)), length)
            rows.append(1.0 - after / before)
        found = torch.stack(rows) if rows else torch.zeros(0, 0, dtype=torch.float64)
        return found, sums.present


@torch.no_grad()
def _after(
    network: Trainable,
    batch: Any,  # noqa: ANN401
    moved: Sequence[tuple[Tensor, Tensor | None]],
    length: float,
) -> Tensor:
    """Return the mean losses after a step of parameters by slopes, which is taken back."""
    source = [parameter.data for parameter, _ in moved]
    try:
        for parameter, slope in moved:
            if slope is not None:
                # Through `data`: the graph of the losses before is needed for the next task.
                parameter.data = parameter.data - length * slope
        sums = network.sums(batch)
        return task_means(sums, sums.weights, network.roots).double()
    finally:
        for (parameter, _), values in zip(moved, source, strict=True):
            parameter.data = values


def _shared(network: Trainable, owner: str) -> list[Tensor]:
    """Return the parameters that tasks share, or refuse a network without."""
    shared = network.shared_parameters()
    if not shared:
        raise IncompatibleError(
            f"{owner} needs layers that tasks share; this network has none: its heads read the "
            "features themselves."
        )
    return shared


def recordings_of(record: object, owner: str) -> tuple[Recording, ...]:
    """Return what is to be recorded.

    Parameters
    ----------
    record : Recording, sequence of Recording, or None
        As given to an estimator.
    owner : str
        The estimator, for messages.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    if record is None:
        return ()
    given = tuple(record) if isinstance(record, list | tuple) else (record,)
    for one in given:
        if isinstance(one, type) or not isinstance(one, Recording):
            allowed = (
                "None, or one or several objects of polytask.deep.recording, such as "
                "TaskAffinity(every=10)"
            )
            raise ParameterError(sentence("record", owner, allowed, repr(one)))
        positive_integer(one.every, "every", type(one).__name__)
    return given


class Recorder:
    """Sums of what is recorded.

    Parameters
    ----------
    record : Recording, sequence of Recording, or None
        What; None is nothing.
    n_tasks : int
        Number of tasks.
    """

    def __init__(self, record: object, n_tasks: int) -> None:
        self._recordings = recordings_of(record, "Training")
        shape = (2, n_tasks, n_tasks)
        # Sums of the measure, and in how many steps it was known.
        self._sums = [torch.zeros(shape, dtype=torch.float64) for _ in self._recordings]

    def see(self, step: int, network: Trainable, batch: Any, optimizer: Optimizer) -> None:  # noqa: ANN401
        """Measure the batch of a step, counted from 1, before the step is taken.

        Network, gradients and random numbers are afterwards what they were.
        """
        due = [k for k, one in enumerate(self._recordings) if (step - 1) % one.every == 0]
        if not due:
            return
        rate = float(optimizer.param_groups[0]["lr"])
        device = next(network.parameters()).device
        network.eval()
        # Recurrent layers of a card can go back only in training, but for those of torch itself.
        cards = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cards), torch.backends.cudnn.flags(enabled=False):
            for k in due:
                self._add(k, *self._recordings[k].of_batch(network, batch, rate))
        network.train()

    def _add(self, k: int, values: Tensor, present: Tensor) -> None:
        found, at = values.detach().cpu(), present.cpu()
        known = torch.isfinite(found)
        both = torch.stack([torch.where(known, found, torch.zeros_like(found)), known.double()])
        self._sums[k][:, at[:, None], at[None, :]] += both

    def relations(
        self, tasks: tuple[Hashable, ...], engine: Engine | None = None
    ) -> tuple[TaskRelation, ...]:
        """Return the means over the steps, those of all processes."""
        found = []
        for one, sums in zip(self._recordings, self._sums, strict=True):
            whole = sums
            if engine is not None and engine.world > 1:
                whole = engine.total(sums.to(engine.device)).cpu()
            total, counts = whole.numpy()
            matrix = np.divide(total, counts, out=np.full_like(total, np.nan), where=counts > 0)
            found.append(TaskRelation(one.measure, tasks, matrix, counts.astype(np.intp)))
        return tuple(found)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""
        return {"measures": [one.measure for one in self._recordings], "sums": list(self._sums)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises
        ------
        DataError
            If it is that of other recordings.
        """
        own, given = [one.measure for one in self._recordings], list(state["measures"])
        if given != own:
            allowed = f"that of the checkpoint, {given}"
            raise DataError(sentence("record", "the training", allowed, own))
        self._sums = [sums.clone() for sums in state["sums"]]
