"""Rows that are read in parts, anew in every epoch, for tables larger than memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from polytask._checks import sentence
from polytask._estimator import Outcomes
from polytask._estimator.outcomes import coded
from polytask._estimator.training import encode
from polytask._estimator.weights import check_class_weight, class_factors, label_weights
from polytask.data import Form, TableEncoder, TaskData, tables
from polytask.data.dealing import scrambled
from polytask.data.labels import factorize, in_order
from polytask.data.outcomes import infer
from polytask.data.places import Place
from polytask.deep.fitting import Learned
from polytask.deep.rows import Design, DeviceDtype, Mixing, RowBatch, TableRows, table_rows
from polytask.deep.sampling import Proportional
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage
from polytask.statistics.columns import Columns, no_rows, other_rows
from polytask.statistics.parts import part_encoder, without_many_levels
from polytask.statistics.rows_in_parts import sum_of_rows
from polytask.statistics.sources import Parts

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
# A task with more different labels is one of numbers.
_MOST_LABELS = 1000


@dataclass(frozen=True, eq=False)
class RawPart:
    """A part of a source: its first row there, where it stands, and its labelled rows."""

    start: int
    place: Place
    table: Any
    rows: TaskData | None

    @property
    def end(self) -> int:
        """The number of the row behind the last."""
        return self.start + tables.n_rows(self.table)

    def encoded(self, encoder: TableEncoder) -> TaskData | None:
        """Return the labelled rows, encoded."""
        if self.rows is None:
            return None
        with replace(self.place, first=self.place.first - self.start).named():
            return encode(self.rows, encoder)


@dataclass(frozen=True, eq=False)
class PartReader:
    """Reads the rows of a source, as often as it is asked to."""

    source: Parts
    columns: Columns

    def raw(self) -> Iterator[RawPart]:
        """Yield the parts; their rows count from the first of the source."""
        start = 0
        for place, table in self.source.placed():
            with place.named():
                rows = self.columns.rows(table)
            if rows is not None:
                rows = replace(rows, order=rows.order + start)
            yield RawPart(start, place, table, rows)
            start += tables.n_rows(table)


@dataclass
class _Label:
    """A label of a task: the sum of its weights, and the first row that has it."""

    weight: float
    row: int


@dataclass(eq=False)
class SourceSummary:
    """What a first reading tells: tasks and their labels, columns and how they are encoded."""

    # Where targets are `numbers`, a task has one label that stands for all.

    numbers: bool
    form: Form = Form.LONG
    labels: dict[Hashable, dict[Hashable, _Label]] = field(default_factory=dict)
    gaps: set[Hashable] = field(default_factory=set)
    many: set[Hashable] = field(default_factory=set)
    tasks: tuple[Hashable, ...] = ()
    names: tuple[str, ...] = ()
    n_rows: int = 0
    encoder: TableEncoder | None = None

    @classmethod
    def of(cls, reader: PartReader, encoder: TableEncoder | None, numbers: bool) -> SourceSummary:
        """Read the source once; an encoder that is given is taken."""
        columns = reader.columns
        found, learned = cls(numbers), None
        for part in reader.raw():
            features = columns.features(part.table)
            found.names = found.names or tuple(map(str, tables.column_names(features)))
            found.n_rows = part.end
            if encoder is None:
                with part.place.named():
                    own = part_encoder(columns.features_alone(part.table))
                learned = own if learned is None else learned.together(own, exact=False)
            if part.rows is not None:
                found._add(part.rows)
        if not found.labels:
            raise no_rows(columns.owner)
        found.encoder = without_many_levels(learned) if learned is not None else encoder
        if columns.several:
            found.form, found.tasks = Form.TARGETS, columns.targets
        else:
            found.tasks = in_order(found.labels)
        for task in found.tasks:
            if task not in found.labels:
                got = LazyMessage("got.no_label_in_targets", {"n": 1, "targets": [repr(task)]})
                raise DataError(
                    sentence("target", columns.owner, LazyMessage("allowed.observed"), got)
                )
        return found

    def _add(self, data: TaskData) -> None:
        weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
        y = np.asarray(data.y)
        if data.form is not Form.TARGETS:
            self._count(data.tasks, data.row_tasks(), y, weight, data.order)
            return
        for t, seen in enumerate(data.labelled().T):
            if not seen.all():
                self.gaps.add(data.tasks[t])
            own = np.flatnonzero(seen)
            places = np.full(len(own), t, dtype=np.intp)
            self._count(data.tasks, places, y[own, t], weight[own], data.order[own])

    def _count(
        self, tasks: tuple[Hashable, ...], task: Rows, y: NDArray[Any], weight: Array, rows: Rows
    ) -> None:
        distinct, codes = ((None,), np.zeros_like(task)) if self.numbers else factorize(y, "y")
        pairs = task * len(distinct) + codes
        found, first, which = np.unique(pairs, return_index=True, return_inverse=True)
        sums = np.bincount(which, weight, minlength=len(found))
        for pair, at, total in zip(found.tolist(), first.tolist(), sums.tolist(), strict=True):
            own = self.labels.setdefault(tasks[pair // len(distinct)], {})
            label = distinct[pair % len(distinct)]
            if self.numbers:
                label = next(iter(own), y[at].item() if hasattr(y[at], "item") else y[at])
            if label in own:
                own[label].weight += total
            elif len(own) < _MOST_LABELS:
                own[label] = _Label(total, int(rows[at]))
            else:
                self.many.add(tasks[pair // len(distinct)])

    def stand_in(self) -> TaskData:
        """Return few rows that have the tasks, their labels and the features of all."""
        assert self.encoder is not None
        names = tuple(map(str, self.encoder.get_feature_names_out()))
        found = [list(self.labels[task].items()) for task in self.tasks]
        offsets = None
        if self.form is Form.TARGETS:
            # A column without gaps has none here either: labels are read by that.
            n = max(map(len, found)) + bool(self.gaps)
            cells = np.empty((n, len(found)), dtype=object)
            for t, (task, own) in enumerate(zip(self.tasks, found, strict=True)):
                labels = [label for label, _ in own]
                cells[:, t] = [labels[k % len(labels)] for k in range(n)]
                if task in self.gaps:
                    cells[-1, t] = None
            order = np.zeros(n, dtype=np.intp)
            y = infer(cells)
        else:
            pairs = [pair for own in found for pair in own]
            cells = np.empty((len(pairs), 1), dtype=object)
            cells[:, 0] = [label for label, _ in pairs]
            order = np.array([seen.row for _, seen in pairs], dtype=np.intp)
            offsets = np.concatenate([[0], np.cumsum([len(own) for own in found])]).astype(np.intp)
            y = infer(cells[:, 0])
        X = np.zeros((len(order), len(names)))
        return TaskData(X, y, self.tasks, offsets, None, self.form, order, feature_names=names)

    def refuse_many(self, outcomes: Outcomes, owner: str) -> None:
        """Refuse a task with more classes than can be counted."""
        for task, classes in zip(self.tasks, outcomes.classes, strict=True):
            if classes is not None and task in self.many:
                fields = {"owner": owner, "task": repr(task), "most": _MOST_LABELS}
                raise DataError(LazyMessage("deep.refusal.many_classes", fields))

    def first_rows(self) -> Rows:
        """Return the rows that are never held out: the first of every label of every task."""
        rows = [seen.row for own in self.labels.values() for seen in own.values()]
        return np.unique(np.array(rows, dtype=np.intp))


@dataclass(frozen=True, eq=False)
class HeldOutRows:
    """Which rows judge an epoch: a share of all, by a hash of their number and the seed."""

    share: float | None
    seed: int
    kept: Rows

    def mask(self, data: TaskData) -> NDArray[np.bool_]:
        """Return which rows are held out, (n_rows,); those without a label never are."""
        if self.share is None:
            return np.zeros(data.n_rows, dtype=bool)
        with np.errstate(over="ignore"):
            # Runs of two seeds do not overlap: each begins at bits of its own.
            start = np.uint64(self.seed) * np.uint64(0xD1B54A32D192ED03)
            bits = scrambled(data.order.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start)
        chosen = bits < np.uint64(self.share * 2.0**64)
        if data.form is Form.TARGETS:
            chosen &= data.labelled().any(axis=1)
        return np.asarray(chosen & ~np.isin(data.order, self.kept))


@dataclass(frozen=True, eq=False)
class EncodedParts:
    """The rows of a source, encoded; `known` are losses and classes of the tasks."""

    reader: PartReader
    encoder: TableEncoder
    tasks: tuple[Hashable, ...]
    known: Outcomes
    owner: str
    n_rows: int
    held: HeldOutRows
    # The checksum of a first reading.
    _known: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[TaskData]:
        """Yield the encoded rows of every part."""
        end, total = 0, 0
        for part in self.reader.raw():
            end = part.end
            if end > self.n_rows:
                break
            encoded = part.encoded(self.encoder)
            if encoded is not None:
                data = encoded.with_tasks(self.tasks)
                total += sum_of_rows(data, numbered=True)
                yield data
        if end != self.n_rows:
            raise other_rows(self.n_rows, end)
        if not self._known:
            self._known.append(total)
        if self._known[0] != total:
            raise DataError(LazyMessage("statistics.refusal.other_cells"))

    def outcomes(self, data: TaskData) -> Outcomes:
        """Return the targets of some of the rows as numbers."""
        return coded(data, self.known, self.owner)


@dataclass(frozen=True, eq=False)
class LabelWeights:
    """Weights of labels, times what is given to each class, those of all tasks in a row."""

    # Shapes: factors (n_classes of all tasks,), starts (n_tasks,).

    owner: str
    factors: Array | None = None
    starts: Rows | None = None

    @classmethod
    def by_class(
        cls, class_weight: object, summary: SourceSummary, outcomes: Outcomes, owner: str
    ) -> LabelWeights:
        """Return those that a user chose; "balanced" counts the labels of all parts."""
        if class_weight is None:
            return cls(owner)
        check_class_weight(class_weight, outcomes, owner)
        factors = []
        for task, classes in zip(summary.tasks, outcomes.classes, strict=True):
            own = summary.labels[task]
            known = [] if classes is None else classes.tolist()
            totals = np.array([own[c].weight if c in own else 0.0 for c in known])
            factors.append(
                np.ones(1) if classes is None else class_factors(class_weight, totals, classes)
            )
        ends = np.cumsum([len(own) for own in factors])
        sizes = np.array([len(own) for own in factors])
        found = np.concatenate(factors)
        if not found.any():
            allowed = LazyMessage("allowed.some_class_weight")
            raise ParameterError(sentence("class_weight", owner, allowed, repr(class_weight)))
        return cls(owner, found, (ends - sizes).astype(np.intp))

    def of(self, data: TaskData, outcomes: Outcomes) -> Array:
        """Return the weight of every label of some rows, shaped as their targets."""
        weight = label_weights(data, outcomes, None, self.owner)
        if self.factors is None or self.starts is None:
            return weight
        task = np.arange(data.n_tasks) if data.form is Form.TARGETS else data.row_tasks()
        classes = np.array([known is not None for known in outcomes.classes])[task]
        codes = np.where(classes, np.nan_to_num(outcomes.y), 0.0).astype(np.intp)
        return np.asarray(weight * self.factors[self.starts[task] + codes])


@dataclass(frozen=True, eq=False)
class TrainingParts:
    """The rows as the network takes them, in parts. Shapes: largest (n_tasks,)."""

    parts: EncodedParts
    learned: Learned
    weights: LabelWeights
    largest: Array

    def chunks(self, held_out: bool, place: DeviceDtype) -> Iterator[TableRows]:
        """Yield the rows that are held out, or those that are not."""
        for whole in self.parts:
            own = np.flatnonzero(self.parts.held.mask(whole) == held_out)
            if not len(own):
                continue
            data = whole.rows(own)
            outcomes = self.parts.outcomes(data)
            task = None if data.form is Form.TARGETS else data.row_tasks()
            yield table_rows(
                self.learned.features.features(data.X, None),
                self.learned.targets.apply(outcomes.y, data),
                self.weights.of(data, outcomes),
                task,
                data.n_tasks,
                place,
                self.largest,
            )


@dataclass(eq=False)
class RowBuffer:
    """Places for rows: some hold one, the others are free."""

    rows: TableRows
    # In the order in which they were filled.
    taken: Rows
    free: Rows

    @classmethod
    def like(cls, chunk: TableRows, capacity: int) -> RowBuffer:
        """Return free places for rows such as some are."""

        def empty(values: Tensor) -> Tensor:
            return values.new_zeros((capacity, *values.shape[1:]))

        rows = replace(
            chunk,
            design=Design(empty(chunk.design.X), chunk.design.place),
            y=empty(chunk.y),
            weight=empty(chunk.weight),
            task=None if chunk.task is None else empty(chunk.task),
        )
        return cls(rows, np.arange(0, dtype=np.intp), np.arange(capacity, dtype=np.intp))

    def put(self, chunk: TableRows, start: int) -> int:
        """Take rows from `start` on while there are places, and return where it ended."""
        stop = min(start + len(self.free), len(chunk.y))
        places, self.free = self.free[: stop - start], self.free[stop - start :]
        at = torch.from_numpy(places).to(chunk.y.device)
        own = self.rows
        own.design.X[at] = chunk.design.X[start:stop]
        own.y[at], own.weight[at] = chunk.y[start:stop], chunk.weight[start:stop]
        if own.task is not None and chunk.task is not None:
            own.task[at] = chunk.task[start:stop]
        self.taken = np.concatenate([self.taken, places])
        return stop

    def in_order(self) -> Rows:
        """Return the places that hold rows, those of a task together as in memory."""
        if self.rows.task is None:
            return self.taken
        at = torch.from_numpy(self.taken).to(self.rows.y.device)
        order = torch.argsort(self.rows.task[at], stable=True)
        return np.asarray(self.taken[order.cpu().numpy()])

    def release(self, batches: list[Rows], share: slice) -> Iterator[RowBatch]:
        """Yield a share of batches of places, all of which are free afterwards."""
        # What is known of the rows of a table, such as whether labels lack, is found anew.
        yield from replace(self.rows).batches([own[share] for own in batches])
        self.free = np.concatenate([self.free, *batches])
        self.taken = self.taken[~np.isin(self.taken, self.free)]


class StreamedBatches(IterableDataset[RowBatch]):
    """The batches of an epoch; no more rows than a buffer has places are held at a time."""

    # With a seed rows are drawn from the buffer at random; without, they come as they are read.

    def __init__(
        self,
        parts: TrainingParts,
        place: DeviceDtype,
        capacity: int,
        batch_size: int,
        *,
        held_out: bool = False,
        seed: int | None = None,
        share: tuple[int, int] = (0, 1),
        mixing: Mixing | None = None,
    ) -> None:
        super().__init__()
        self._parts = parts
        self._place = place
        self._capacity = capacity
        self._batch_size = batch_size
        self._held_out = held_out
        self._share = slice(share[0], None, share[1])
        self._mixing = mixing
        self._rng = None if seed is None else np.random.default_rng(seed)

    def __iter__(self) -> Iterator[RowBatch]:
        """Yield the batches of one epoch."""
        buffer = None
        for chunk in self._parts.chunks(self._held_out, self._place):
            if buffer is None:
                buffer = RowBuffer.like(chunk, self._capacity)
            start = 0
            while start < len(chunk.y):
                if not len(buffer.free):
                    yield from self._some(buffer)
                start = buffer.put(chunk, start)
        if buffer is not None:
            places = buffer.in_order()
            yield from self._given(buffer, self._drawn(places))

    def _some(self, buffer: RowBuffer) -> Iterator[RowBatch]:
        """Yield batches of half of the rows that are held, of all where none are drawn."""
        batches = self._drawn(buffer.in_order())
        if self._rng is not None:
            batches = batches[: max(self._capacity // 2 // self._batch_size, 1)]
        yield from self._given(buffer, batches)

    def _drawn(self, places: Rows) -> list[Rows]:
        if self._rng is None:
            starts = np.arange(self._batch_size, len(places), self._batch_size)
            return np.split(places, starts)
        sizes = np.array([len(places)], dtype=np.intp)
        return [places[own] for own in Proportional().epoch(sizes, self._batch_size, self._rng)]

    def _given(self, buffer: RowBuffer, batches: list[Rows]) -> Iterator[RowBatch]:
        for batch in buffer.release(batches, self._share):
            if self._mixing is None or self._rng is None:
                yield batch
            else:
                yield self._mixing.mixed(batch, self._rng)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the draws, for a checkpoint."""
        return {} if self._rng is None else {"rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        if self._rng is not None:
            self._rng.bit_generator.state = state["rng"]
