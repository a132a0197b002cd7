"""What training can record about pairs of tasks: cosines of gradients, affinity."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, final, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask._checks import one_of, positive, positive_integer, sentence
from polytask._registry import saveable
from polytask.deep.balancing import OwnRows, Shared
from polytask.deep.trainable import LEVELS, Trainable, task_means
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd


Floats = NDArray[np.float64]
# What was measured.
GRADIENTS, AFFINITY = "gradients", "affinity"
# Standard errors above 0 from which a task is known to agree with itself.
_TOLD = 2.0


@saveable("deep.task_relation")
@dataclass(frozen=True, eq=False)
class TaskRelation:
    """A measure of pairs of tasks, averaged over training.

    Attributes
    ----------
    measure : {"gradients", "affinity"}
        What was measured.
    tasks : tuple of length n_tasks
        The task labels.
    matrix, errors : ndarray of shape (n_tasks, n_tasks)
        Means over training, and their standard errors.
    counts : ndarray of int of shape (n_tasks, n_tasks)
        How often each pair was measured.
    """

    # Shapes: matrix (n_tasks, n_tasks), counts (n_tasks, n_tasks), errors (n_tasks, n_tasks).

    measure: str
    tasks: tuple[Hashable, ...]
    matrix: Floats
    counts: NDArray[np.intp]
    errors: Floats

    @classmethod
    def of_sums(
        cls,
        measure: str,
        tasks: tuple[Hashable, ...],
        counts: Floats,
        whole: Floats,
        sums: Floats,
        squares: Floats,
    ) -> TaskRelation:
        """Return the relation whose values were added up, each argument (n_tasks, n_tasks)."""
        zeros, known = np.zeros_like(sums), whole > 0
        share = np.divide(sums, whole, out=np.full_like(sums, np.nan), where=known)
        mean = np.divide(sums, counts, out=zeros.copy(), where=counts > 0)
        left = np.maximum(squares - counts * mean**2, 0.0)
        left = np.divide(left, counts - 1.0, out=zeros.copy(), where=counts > 1)
        errors = np.divide(np.sqrt(counts * left), whole, out=zeros, where=known)
        return cls(measure, tasks, share, counts.astype(np.intp), errors)

    @property
    def similarity(self) -> Floats:
        """How alike two tasks are, -1 to 1, symmetric, (n_tasks, n_tasks)."""
        # The cosine, or the geometric mean of both affinities of a pair (0 where their signs
        # differ), over the geometric mean of what the two tasks have with themselves: what the
        # rows of a batch add to a gradient by chance lessens both alike (correction for
        # attenuation, Spearman 1904). For short steps affinities say the same as cosines. 0 where
        # nothing is known, which includes tasks whose agreement with themselves is not above twice
        # its standard error, and tasks that were measured once.
        found, own = self.matrix, np.diagonal(self.matrix)
        if self.measure != GRADIENTS:
            found = np.sign(found) * np.sqrt(np.maximum(found * found.T, 0.0))
        known = own > _TOLD * np.diagonal(self.errors)
        # Of a single value the error is not known.
        known &= np.diagonal(self.counts) > 1
        own = np.sqrt(np.where(known, own, 1.0))
        alike = np.nan_to_num(found / np.outer(own, own)) * np.outer(known, known)
        alike = np.clip(alike, -1.0, 1.0)
        np.fill_diagonal(alike, 1.0)
        return np.asarray(alike)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which tasks were in a batch that was recorded, (n_tasks,)."""
        return np.asarray(np.diagonal(self.counts) > 0)

    def frame(self) -> pd.DataFrame:
        """Return `matrix` as a table, tasks by name."""
        import pandas as pd

        labels = pd.Index(list(self.tasks), tupleize_cols=False)
        return pd.DataFrame(self.matrix, index=labels, columns=labels)


Pair = tuple[Any, Any]


@dataclass(frozen=True)
class PairValues:
    """Values of a measure for some pairs of tasks; one that is not finite says nothing.

    Attributes
    ----------
    values : Tensor of shape (k, m)
        The values.
    rows, columns : Tensor of shape (k,) and (m,)
        Numbers of the tasks.
    whole : Tensor of shape (m,), default=None
        What the values are shares of, added up apart.
    """

    # Shapes: values (k, m), rows, columns (k,), whole (m,).

    values: Tensor
    rows: Tensor
    columns: Tensor
    whole: Tensor | None = None


@runtime_checkable
class Recording(Protocol):
    """A measure of pairs of tasks, from two batches that follow each other."""

    # What is measured of one task on one batch and of the other on another has no noise in common:
    # rows that both tasks happened to see would count as likeness, and a task's own rows as more
    # agreement with itself than it has with others.

    measure: ClassVar[str]
    symmetric: ClassVar[bool]

    @property
    def every(self) -> int:
        """Steps from one batch that is measured to the next."""
        ...

    def of_batches(self, network: Trainable, batches: Pair, rate: float) -> PairValues:
        """Return the measure of the tasks of one batch, in rows, with those of the other."""
        ...


@final
@saveable("deep.recording.gradients")
@dataclass(frozen=True)
class GradientSimilarity:
    """Cosines between the gradients of the tasks: whether they pull the shared layers alike.

    Parameters
    ----------
    every : int, default=10
        Steps from one measured batch to the next.
    at : str, default="parameters"
        Whether gradients are those of the shared parameters or of the shared representation.
    """

    # The gradient of one task is that of a batch, the gradient of the other that of the batch
    # before it in the epoch, both at the weights of the moment (of the same batch where an epoch
    # has but one). The cosine of a task with itself is then how much of its gradient is more than
    # the rows that were drawn, and :attr:`TaskRelation.similarity` divides by it.

    every: int = 10
    at: str = LEVELS[1]

    measure: ClassVar[str] = GRADIENTS
    symmetric: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive_integer(self.every, "every", "GradientSimilarity")
        one_of(self.at, "at", "GradientSimilarity", LEVELS)

    def of_batches(self, network: Trainable, batches: Pair, rate: float) -> PairValues:
        """Return the cosines of the tasks that are present."""
        one, other = batches
        if self.at != LEVELS[1]:
            return _at_representation(network, one)
        rows, tasks = _gradients(network, one, type(self).__name__)
        if one is other:
            return PairValues(cosines(_products(rows, rows)), tasks, tasks)
        columns, others = _gradients(network, other, type(self).__name__)
        lengths = torch.outer(_lengths(rows), _lengths(columns))
        # A gradient of 0 has no cosine: 0 / 0.
        return PairValues(_products(rows, columns) / lengths, tasks, others)


def _at_representation(network: Trainable, batch: Any) -> PairValues:  # noqa: ANN401
    """Return the cosines of the gradients of one batch at the representation."""
    sums = network.sums(batch)
    if not len(sums.present):
        return PairValues(torch.zeros(0, 0), sums.present, sums.present)
    if sums.shared is None or isinstance(sums.shared, OwnRows):
        key = "no_representation" if sums.shared is None else "rows_of_one_task"
        raise IncompatibleError(LazyMessage(f"deep.refusal.{key}"))
    means = task_means(sums, sums.weights, network.sqrt_loss_mask)
    gramian = sums.shared.measure(means, sums.present).gramian.double()
    return PairValues(cosines(gramian), sums.present, sums.present)


def _gradients(network: Trainable, batch: Any, owner: str) -> tuple[list[Tensor], Tensor]:  # noqa: ANN401
    """Return the gradients of the tasks present, (k, size) for each shared parameter."""
    shared = _shared(network, owner)
    sums = network.sums(batch)
    if not len(sums.present):
        return [parameter.new_zeros(0, parameter.numel()) for parameter in shared], sums.present
    means = task_means(sums, sums.weights, network.sqrt_loss_mask)
    return Shared(tuple(shared)).rows(means), sums.present


def _products(rows: list[Tensor], columns: list[Tensor]) -> Tensor:
    parts = [(a @ b.T).double() for a, b in zip(rows, columns, strict=True)]
    return torch.stack(parts).sum(0)


def _lengths(rows: list[Tensor]) -> Tensor:
    squares = [(part**2).sum(1).double() for part in rows]
    return torch.stack(squares).sum(0).sqrt()


def cosines(gramian: Tensor) -> Tensor:
    """Return the cosines of vectors from their inner products; NaN for a vector of 0.

    Parameters
    ----------
    gramian : Tensor of shape (k, k)
        The inner products.
    """
    # Shapes: gramian (k, k).
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

    Parameters
    ----------
    every : int, default=10
        Steps from one measured batch to the next.
    step : float, default=None
        Length of the trial step; None means the learning rate.
    """

    # For tasks i and j, ``1 - L_j(after) / L_j(before)``, the shared parameters having taken one
    # plain gradient step on ``L_i``: above 0 where i helps j, below where it harms. The step is by
    # one batch, the losses are those of the batch before it in the epoch, so that rows which both
    # happened to see do not count (of the same batch where an epoch has but one). Losses before
    # and after are added up over the steps first: the ratio of single batches has no mean where a
    # loss may be near 0.

    every: int = 10
    step: float | None = None

    measure: ClassVar[str] = AFFINITY
    symmetric: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive_integer(self.every, "every", "TaskAffinity")
        if self.step is not None:
            positive(self.step, "step", "TaskAffinity")

    def of_batches(self, network: Trainable, batches: Pair, rate: float) -> PairValues:
        """Return the affinities of the tasks that are present."""
        one, other = batches
        shared = _shared(network, type(self).__name__)
        length = rate if self.step is None else self.step
        sums = network.sums(one)
        means = task_means(sums, sums.weights, network.sqrt_loss_mask)
        before, present = _losses(network, other)
        rows = []
        for mean in means:
            slopes = torch.autograd.grad(mean, shared, retain_graph=True, allow_unused=True)
            after = _after(network, other, list(zip(shared, slopes, strict=True)), length)
            rows.append(before - after)
        found = torch.stack(rows) if rows else before.new_zeros(0, len(before))
        return PairValues(found, sums.present, present, whole=before)


@torch.no_grad()
def _losses(network: Trainable, batch: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Return the mean losses of the tasks present, (k,), and these tasks."""
    sums = network.sums(batch)
    return task_means(sums, sums.weights, network.sqrt_loss_mask).double(), sums.present


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
        return _losses(network, batch)[0]
    finally:
        for (parameter, _), values in zip(moved, source, strict=True):
            parameter.data = values


def _shared(network: Trainable, owner: str) -> list[Tensor]:
    """Return the parameters that tasks share, or refuse a network without."""
    shared = network.shared_parameters()
    if not shared:
        raise IncompatibleError(LazyMessage("deep.refusal.nothing_shared", {"owner": owner}))
    return shared


def recordings_of(record: object, owner: str) -> tuple[Recording, ...]:
    """Return what is to be recorded.

    Parameters
    ----------
    record : None, Recording or sequence of these
        What the user gave.
    owner : str
        The name in an error.
    """
    if record is None:
        return ()
    given = tuple(record) if isinstance(record, list | tuple) else (record,)
    for one in given:
        if isinstance(one, type) or not isinstance(one, Recording):
            fields = {"module": __name__, "example": "TaskAffinity(every=10)"}
            allowed = LazyMessage("allowed.none_or_objects", fields)
            raise ParameterError(sentence("record", owner, allowed, repr(one)))
        positive_integer(one.every, "every", type(one).__name__)
    return given
