"""Rows for a network: read from tables and torch datasets, held as tensors, in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from polytask._checks import sentence
from polytask._estimator.query import InputSchema, Query, read_query
from polytask._estimator.scored import Reading, scored_data
from polytask._estimator.training import TaskColumn, training_data
from polytask._linalg import is_sparse
from polytask.data import TaskData
from polytask.datafits import Features
from polytask.deep.regularise import mixup
from polytask.deep.sampling import Rows, Sampling
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

# How many cells, and batches, are gathered at once: few calls, and what they give is still in the
# processor's cache when the batch is used.
_CELLS_AT_ONCE, _PARTS_AT_ONCE = 2**18, 64
Array = NDArray[Any]


@dataclass(frozen=True)
class DeviceDtype:
    """Where tensors live."""

    dtype: torch.dtype
    device: torch.device

    def numbers(self, values: Any) -> Tensor:  # noqa: ANN401 - array-like
        """Return real numbers as a tensor."""
        # A view of an array that is broadcast or read-only is copied.
        array = np.require(values, requirements=["C", "W"])
        return torch.as_tensor(array).to(self.device, self.dtype)

    def integers(self, values: Any) -> Tensor:  # noqa: ANN401 - array-like
        """Return whole numbers as a tensor."""
        return torch.as_tensor(np.asarray(values, dtype=np.int64)).to(self.device)


@dataclass(frozen=True, eq=False)
class Design:
    """Scaled rows: one tensor, or a sparse matrix that is less the offset."""

    X: Any
    place: DeviceDtype
    offset: Tensor | None = None

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.X.shape[1])

    def take(self, rows: Rows) -> Tensor:
        """Return some rows by number, dense, (len(rows), n_features)."""
        if self.offset is not None:
            return self.place.numbers(self.X[rows].toarray()) - self.offset
        found: Tensor = self.X.index_select(0, torch.from_numpy(rows).to(self.X.device))
        return found


def design_of(features: Features, place: DeviceDtype) -> Design:
    """Return scaled rows as a design."""
    if not is_sparse(features.matrix):
        return Design(place.numbers(features.matrix), place)
    zeros = np.zeros(features.n_features)
    offset = zeros if features.offset is None else features.offset
    return Design(features.matrix, place, place.numbers(offset))


@dataclass(frozen=True)
class RowBatch:
    """Some rows. Shapes: x (n, n_features), y, weight (n,) or (n, n_tasks), task (n,)."""

    # Where it is known: the sum of the label weights of every task, the tasks for which it is
    # above 0, and whether no label of a target matrix is missing.

    x: Tensor
    y: Tensor
    weight: Tensor
    task: Tensor | None
    counts: Tensor | None = None
    present: Tensor | None = None
    complete: bool = False


@dataclass(frozen=True, eq=False)
class TableRows:
    """All rows; fields as in :class:`RowBatch`, features as a design."""

    # ``sizes`` counts the rows of each task, or all rows where they belong to all tasks.

    design: Design
    y: Tensor
    weight: Tensor
    task: Tensor | None
    sizes: Rows
    n_tasks: int

    @cached_property
    def complete(self) -> bool:
        """Whether every label is there."""
        return bool((self.weight > 0).all())

    def batches(self, parts: Sequence[Rows]) -> Iterator[RowBatch]:
        """Yield the rows of each part; those of several parts are gathered at once."""
        width = self.design.n_features + 2 * self.y.shape[1:].numel()
        cells = max(len(parts[0]) if parts else 0, 1) * width
        count = min(max(_CELLS_AT_ONCE // cells, 1), _PARTS_AT_ONCE)
        for first in range(0, len(parts), count):
            yield from self._gathered(parts[first : first + count])

    def _gathered(self, parts: Sequence[Rows]) -> Iterator[RowBatch]:
        rows, sizes = np.concatenate(parts), [len(part) for part in parts]
        at = torch.from_numpy(rows).to(self.y.device)
        y, weight = self.y.index_select(0, at), self.weight.index_select(0, at)
        owner = torch.from_numpy(np.repeat(np.arange(len(parts)), sizes)).to(at.device)
        tasks: Sequence[Tensor | None] = [None] * len(parts)
        if self.task is None:
            counts = weight.new_zeros(len(parts), self.n_tasks).index_add_(0, owner, weight)
        else:
            task = self.task.index_select(0, at)
            flat = weight.new_zeros(len(parts) * self.n_tasks)
            counts = flat.index_add_(0, owner * self.n_tasks + task, weight)
            counts, tasks = counts.view(len(parts), self.n_tasks), torch.split(task, sizes)
        there = counts > 0
        everyone = torch.arange(self.n_tasks, device=at.device)
        present = [
            everyone if every else torch.nonzero(there[k])[:, 0]
            for k, every in enumerate(there.all(1).tolist())
        ]
        cut = (torch.split(whole, sizes) for whole in (self.design.take(rows), y, weight))
        for x, own_y, own_weight, own_task, own_counts, known in zip(
            *cut, tasks, counts, present, strict=True
        ):
            yield RowBatch(x, own_y, own_weight, own_task, own_counts, known, self.complete)


def table_rows(
    features: Features,
    y: NDArray[np.float64],
    weight: NDArray[np.float64],
    task: NDArray[np.intp] | None,
    n_tasks: int,
    place: DeviceDtype,
    largest: NDArray[np.float64] | None = None,
) -> TableRows:
    """Turn scaled arrays into tensors; targets are NaN where a label is missing."""
    # Shapes: largest (n_tasks,): the largest weight, of more rows than these; None: of these.
    # Weights of a task are at most 2 here, for numbers of less reach than double: means do not
    # depend on their unit, and a power of two changes no digit of them.
    most = largest_weights(weight, task, n_tasks) if largest is None else largest
    power = np.where(most > 0, 1 - np.frexp(most)[1], 0)
    sizes = [len(y)] if task is None else np.bincount(task, minlength=n_tasks)
    return TableRows(
        design=design_of(features, place),
        y=place.numbers(np.where(np.isnan(y), 1.0, y)),
        weight=place.numbers(np.ldexp(weight, power if task is None else power[task])),
        task=None if task is None else place.integers(task),
        sizes=np.asarray(sizes, dtype=np.intp),
        n_tasks=n_tasks,
    )


def largest_weights(
    weight: NDArray[np.float64], task: NDArray[np.intp] | None, n_tasks: int
) -> NDArray[np.float64]:
    """Return the largest label weight of every task, (n_tasks,)."""
    if task is None:
        return np.asarray(weight.max(axis=0, initial=0.0))
    largest = np.zeros(n_tasks)
    np.maximum.at(largest, task, weight)
    return largest


@dataclass(frozen=True)
class Mixing:
    """Mixup of the rows of a batch; see :func:`polytask.deep.regularise.mixup`."""

    alpha: float
    across_tasks: bool

    def mixed(self, batch: RowBatch, rng: np.random.Generator) -> RowBatch:
        """Return a batch with its rows mixed in pairs, twice as many."""
        mixed = mixup(
            batch.x,
            batch.y,
            batch.task,
            batch.weight,
            alpha=self.alpha,
            across_tasks=self.across_tasks,
            random_state=rng,
        )
        return RowBatch(mixed.x, mixed.y, mixed.weight, mixed.task)


class TableBatches:
    """The batches of an epoch, drawn anew each time it is iterated."""

    def __init__(
        self,
        rows: TableRows,
        sampling: Sampling,
        batch_size: int,
        seed: int,
        part: tuple[int, int] = (0, 1),
        mixing: Mixing | None = None,
    ) -> None:
        self._mixing = mixing
        self._rows = rows
        self._part = slice(part[0], None, part[1])
        self._sampling = sampling
        self._batch_size = batch_size
        self._rng = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[RowBatch]:
        """Yield the batches of one epoch."""
        epoch = self._sampling.epoch(self._rows.sizes, self._batch_size, self._rng)
        for batch in self._rows.batches([rows[self._part] for rows in epoch]):
            yield batch if self._mixing is None else self._mixing.mixed(batch, self._rng)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the draws, for a checkpoint."""
        return {"rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._rng.bit_generator.state = state["rng"]


class FixedBatches:
    """The same rows in the same order each time, such as those held out."""

    def __init__(self, rows: TableRows, batch_size: int) -> None:
        self._rows = rows
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[RowBatch]:
        """Yield all rows."""
        rows = np.arange(len(self._rows.y))
        starts = np.arange(self._batch_size, len(rows), self._batch_size)
        yield from self._rows.batches(np.split(rows, starts))


def is_dataset(X: object) -> TypeGuard[Dataset[Any] | DataLoader[Any]]:
    """Say whether X is a dataset or a loader of torch."""
    return isinstance(X, Dataset | DataLoader)


def dataset_arrays(
    X: Dataset[Any] | DataLoader[Any], owner: str, *, labelled: bool
) -> tuple[NDArray[Any], NDArray[Any] | None, list[Any] | None]:
    """Return features, targets and tasks of a dataset; without labels items may be x alone."""
    dataset: Any = X.dataset if isinstance(X, DataLoader) else X
    read = (
        dataset
        if isinstance(dataset, IterableDataset)
        else (dataset[i] for i in range(len(dataset)))
    )
    items = [item if isinstance(item, list | tuple) else (item,) for item in read]
    if not items:
        allowed = LazyMessage("allowed.dataset")
        raise DataError(sentence("X", owner, allowed, LazyMessage("got.none")))
    sizes = {len(item) for item in items}
    if labelled and sizes not in ({2}, {3}):
        fields = {"owner": owner, "sizes": str(sorted(sizes))}
        raise DataError(LazyMessage("deep.refusal.items", fields))
    tasks = [_plain(item[2]) for item in items] if sizes == {3} else None
    targets = _stacked([item[1] for item in items]) if labelled else None
    return _stacked([item[0] for item in items]), targets, tasks


def _stacked(values: list[Any]) -> NDArray[Any]:
    return np.stack([np.asarray(_plain(value)) for value in values])


def _plain(value: Any) -> Any:  # noqa: ANN401 - a tensor, or anything else
    if not isinstance(value, torch.Tensor):
        return value
    return value.item() if value.ndim == 0 else value.detach().cpu().numpy()


class CachedRows:
    """Rows of encoded features, and what all tasks have in common on them."""

    # Shapes: values (n, d).

    def __init__(self, values: Any) -> None:  # noqa: ANN401 - dense or sparse
        self.values = values
        self._known: Array | None = None
        self._source: tuple[CachedRows, Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and features."""
        shape: tuple[int, ...] = self.values.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the features."""
        kind: np.dtype[Any] = self.values.dtype
        return kind

    def __getitem__(self, rows: Any) -> CachedRows:  # noqa: ANN401 - a slice, mask or numbers
        """Return some of the rows."""
        part = CachedRows(self.values[rows])
        part._source = self, rows
        return part

    def remember(self, compute: Callable[[Any], Array]) -> Array:
        """Return what a function gives for each row, computed once for all rows of the query."""
        if self._source is not None:
            whole, rows = self._source
            part: Array = whole.remember(compute)[rows]
            return part
        if self._known is None:
            self._known = compute(self.values)
        return self._known


def _of_dataset(X: object, y: object, task: object, owner: str) -> tuple[object, object, object]:
    """Return the parts of a dataset, which hold what is None elsewhere; others as they are."""
    if not is_dataset(X):
        return X, y, task
    if y is not None:
        allowed = LazyMessage("allowed.none_held", {"what": LazyMessage("what.dataset")})
        raise DataError(sentence("y", owner, allowed, LazyMessage("got.a_value")))
    features, targets, tasks = dataset_arrays(X, owner, labelled=True)
    return features, targets, tasks if task is None else task


def _training(
    X: object, y: object, task: object, sample_weight: object, column: TaskColumn, owner: str
) -> TaskData:
    return training_data(*_of_dataset(X, y, task, owner), sample_weight, column, owner)


def _query(schema: InputSchema, X: object, task: object, unseen: str) -> Query:
    if is_dataset(X):
        X, _, own = dataset_arrays(X, schema.owner, labelled=False)
        task = own if task is None else task
    query = read_query(schema, X, task, unseen)
    kept: Any = CachedRows(query.data.X)
    return dataclasses.replace(query, data=dataclasses.replace(query.data, X=kept))


def _scored(
    schema: InputSchema, X: object, y: object, task: object, sample_weight: object
) -> TaskData:
    return scored_data(schema, *_of_dataset(X, y, task, schema.owner), sample_weight)


# Torch datasets are read into memory (for one that does not fit there is :func:`fit_network`);
# rows of a query are :class:`CachedRows`.
DEEP_READING = Reading(training=_training, query=_query, scored=_scored)
