"""Fit a network to rows that are read in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_regressor

from polytask._checks import positive_integer, sentence
from polytask._estimator import Outcomes
from polytask._estimator.base import Given
from polytask._estimator.card import DataCard, added_checksum, describe_data
from polytask._estimator.feature_moments import dense_moments
from polytask._estimator.outcomes import make_layout
from polytask._estimator.scaling import (
    FeatureScaling,
    centre_and_spread,
    refuse_huge,
    scaling_by_choice,
    scaling_of,
    task_moments,
)
from polytask._estimator.scoring import LabelledTask
from polytask._estimator.weights import label_weights, sum_by_task, task_scales
from polytask.data import Form, TableEncoder, TaskData
from polytask.data.readers import Style
from polytask.deep.fitting import (
    ROWS_AT_ONCE,
    Learned,
    Loaders,
    begins_at_mean,
    fit_learned,
    of_numbers,
    seed_of,
)
from polytask.deep.network import PRECISIONS
from polytask.deep.prediction import DeepTasks
from polytask.deep.rows import DeviceDtype, largest_weights
from polytask.deep.sampling import Proportional
from polytask.deep.streaming import (
    EncodedParts,
    HeldOutRows,
    LabelWeights,
    PartReader,
    SourceSummary,
    StreamedBatches,
    TrainingParts,
)
from polytask.deep.training.engine import TrainingProcesses
from polytask.deep.training.history import History, TrainingResult
from polytask.deep.training.settings import TrainingSettings, settings_of
from polytask.exceptions import DataError, IncompatibleError
from polytask.losses import PiecewiseLinear
from polytask.messages import LazyMessage, Text
from polytask.metrics.scores import best_constant
from polytask.statistics.columns import Columns
from polytask.statistics.sources import source_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedParts:
    """What a fit to parts found: the network, its training, and what `score` compares with."""

    tasks: DeepTasks
    history: History
    result: TrainingResult
    card: DataCard
    labels: list[LabelledTask]


@dataclass(frozen=True, eq=False)
class OpenParts:
    """A source that was read once."""

    reader: PartReader
    summary: SourceSummary
    settings: TrainingSettings
    buffer_rows: int

    def given(self) -> Given:
        """Return rows that stand for all, and the columns that `predict` will be given."""
        data, read = self.summary.stand_in(), self.summary
        column = self.reader.columns.task_column
        return Given(data, data, read.encoder, len(read.names), read.names, column, {})


def open_parts(
    model: Any,  # noqa: ANN401 - a deep estimator
    source: Any,  # noqa: ANN401 - also of other libraries
    target: str | Sequence[str],
    task_column: str | None,
    sample_weight: str | None,
    drop: Sequence[str],
    encoder: TableEncoder | None,
    buffer_rows: int,
    style: Style,
    missing: Sequence[str],
) -> OpenParts:
    """Check the arguments of a fit to parts, and read the source once."""
    owner = type(model).__name__
    settings = settings_of(model)
    _refuse_unread(model, settings, owner)
    positive_integer(buffer_rows, "buffer_rows", owner)
    if isinstance(source, Iterator):
        fields = {"kind": type(source).__name__, "owner": owner}
        raise DataError(LazyMessage("deep.refusal.read_once", fields))
    found = source_of(source, buffer_rows, once=True, style=style, missing=missing, owner=owner)
    column = model.task_column if task_column is None else task_column
    reader = PartReader(found.in_turn(), Columns.of(owner, target, column, sample_weight, drop))
    summary = SourceSummary.of(reader, encoder, is_regressor(model))
    return OpenParts(reader, summary, settings, buffer_rows)


def _refuse_unread(model: Any, settings: TrainingSettings, owner: str) -> None:  # noqa: ANN401
    """Refuse parameters that need all rows in memory."""
    share: Text = LazyMessage("allowed.share_of_rows")
    wanted: list[tuple[str, Text, bool]] = [
        ("task_sampling", "'proportional'", isinstance(settings.sampling, Proportional)),
        ("validation", share, isinstance(settings.validation, float | None)),
        ("final_phase", "0", settings.training.final_phase == 0),
        ("date_features", "False", not model.date_features),
    ]
    for parameter, allowed, held in wanted:
        if not held:
            told = LazyMessage("allowed.in_parts", {"allowed": allowed})
            raise IncompatibleError(
                sentence(parameter, owner, told, repr(getattr(model, parameter)))
            )


def fit_to_parts(model: Any, opened: OpenParts, outcomes: Outcomes) -> FittedParts:  # noqa: ANN401
    """Learn scaling and weights from a second reading, then train in further ones."""
    owner, summary, settings = type(model).__name__, opened.summary, opened.settings
    summary.refuse_many(outcomes, owner)
    seed = seed_of(model)
    assert summary.encoder is not None
    parts = EncodedParts(
        reader=opened.reader,
        encoder=summary.encoder,
        tasks=summary.tasks,
        known=outcomes,
        owner=owner,
        n_rows=summary.n_rows,
        held=HeldOutRows(settings.validation, seed, summary.first_rows()),
    )
    chosen = getattr(model, "class_weight", None)
    weights = LabelWeights.by_class(chosen, summary, outcomes, owner)
    found = reduce(
        _PartSums.together, (_PartSums.of(data, parts, weights, owner) for data in parts)
    )
    learned = found.learned(model, summary.stand_in(), outcomes)
    n_rows, size = found.n_rows - found.n_held, settings.rows_in_batch(found.n_rows - found.n_held)
    if n_rows > opened.buffer_rows < 2 * size:
        allowed = LazyMessage("allowed.two_batches", {"rows": 2 * size})
        raise IncompatibleError(sentence("buffer_rows", owner, allowed, opened.buffer_rows))
    training = TrainingParts(parts, learned, weights, found.largest)

    def load(processes: TrainingProcesses) -> Loaders:
        place = DeviceDtype(PRECISIONS[model.precision], processes.device)
        fixed = max(size, ROWS_AT_ONCE)

        def fixed_batches(n: int, held_out: bool) -> StreamedBatches:
            capacity = min(opened.buffer_rows, n)
            return StreamedBatches(training, place, capacity, fixed, held_out=held_out)

        return Loaders(
            batches=StreamedBatches(
                training,
                place,
                min(opened.buffer_rows, n_rows),
                size,
                seed=seed,
                share=(processes.rank, processes.world),
                mixing=settings.mixing,
            ),
            held_out=fixed_batches(found.n_held, True) if found.n_held else None,
            everything=fixed_batches(n_rows, False),
            n_rows=n_rows,
            identity=lambda: {
                "data": f"{found.checksum} in parts of {opened.buffer_rows}",
                "rows held out": found.n_held,
            },
        )

    fitted = fit_learned(model, learned, settings, seed, load)
    return FittedParts(*fitted, found.card, found.labelled(summary, outcomes))


@dataclass(frozen=True)
class _Moments:
    """Weights, means and variances, of features or of targets, (n,) each."""

    weight: Array
    mean: Array
    variance: Array

    def together(self, other: _Moments) -> _Moments:
        """Return the moments of these rows and others."""
        # Chan, Golub and LeVeque (1983), equations 1.5a and 1.5b, divided by the weights.
        weight = self.weight + other.weight
        share = np.divide(other.weight, weight, out=np.zeros_like(weight), where=weight > 0)
        away = other.mean - self.mean
        between = share * (1.0 - share) * away**2
        variance = self.variance + share * (other.variance - self.variance) + between
        return _Moments(weight, self.mean + share * away, variance)


@dataclass(frozen=True, eq=False)
class _PartSums:
    """What a part, or several, tell of scaling and weights. Shapes: largest (n_tasks,)."""

    # `levels` are the means of numbers, without weights of classes, for quantiles the quantile.

    features: _Moments
    targets: _Moments
    levels: _Moments
    largest: Array
    n_rows: int
    n_held: int
    card: DataCard

    @classmethod
    def of(
        cls, data: TaskData, parts: EncodedParts, weights: LabelWeights, owner: str
    ) -> _PartSums:
        """Sum up the encoded rows of a part."""
        outcomes = parts.outcomes(data)
        refuse_huge(data, outcomes, owner)
        weight, plain = weights.of(data, outcomes), label_weights(data, outcomes, None, owner)
        rows = weight if weight.ndim == 1 else weight.sum(axis=1)
        mean, variance = np.zeros(data.n_features), np.zeros(data.n_features)
        if rows.any():
            mean, variance = dense_moments(np.asarray(data.X), rows, None)
        total = np.full(data.n_features, rows.sum())
        counts, zeros = sum_by_task(plain, data), np.zeros(data.n_tasks)
        return cls(
            features=_Moments(total, mean, variance),
            targets=_Moments(
                sum_by_task(weight, data), *centre_and_spread(data, outcomes, weight)
            ),
            levels=_Moments(counts, _levels(data, outcomes, plain), zeros),
            largest=largest_weights(
                weight, None if data.form is Form.TARGETS else data.row_tasks(), data.n_tasks
            ),
            n_rows=data.n_rows,
            n_held=int(parts.held.mask(data).sum()),
            card=describe_data(data),
        )

    @property
    def checksum(self) -> str:
        """Of all rows."""
        return self.card.checksum

    def together(self, other: _PartSums) -> _PartSums:
        """Return the same of the rows of both."""
        pairs = zip(self.card.rows_per_task, other.card.rows_per_task, strict=True)
        return _PartSums(
            features=self.features.together(other.features),
            targets=self.targets.together(other.targets),
            levels=self.levels.together(other.levels),
            largest=np.maximum(self.largest, other.largest),
            n_rows=self.n_rows + other.n_rows,
            n_held=self.n_held + other.n_held,
            card=DataCard(
                n_rows=self.n_rows + other.n_rows,
                n_features=self.card.n_features,
                form=self.card.form,
                tasks=self.card.tasks,
                rows_per_task=tuple(a + b for a, b in pairs),
                checksum=added_checksum(self.checksum, other.checksum),
                versions=self.card.versions,
            ),
        )

    def learned(self, model: Any, data: TaskData, outcomes: Outcomes) -> Learned:  # noqa: ANN401
        """Return what training needs to know; `data` stand for the rows."""
        owner, d, counts = type(model).__name__, data.n_features, self.targets.weight
        scaling = FeatureScaling(np.zeros(d), np.ones(d), active=False)
        if model.standardize:
            mean, variance = self.features.mean, self.features.variance
            scaling = scaling_of(mean, variance, standardize=True, centre=True)
        targets = scaling_by_choice(
            outcomes,
            counts,
            lambda: (self.targets.mean, self.targets.variance),
            getattr(model, "scale_targets", None),
            data.form,
            centre=True,
        )
        levels = np.full(data.n_tasks, np.nan)
        for t, loss in enumerate(outcomes.losses):
            if begins_at_mean(loss) and counts[t] > 0:
                levels[t] = best_constant(loss, self.levels.mean[t : t + 1])
        return Learned(
            data=data,
            outcomes=outcomes,
            layout=make_layout(data.tasks, outcomes),
            counts=counts,
            task_weights=task_scales(model.task_weight, counts, data.tasks, owner),
            features=of_numbers(scaling, model.encoder_),
            targets=targets,
            levels=levels,
        )

    def labelled(self, summary: SourceSummary, outcomes: Outcomes) -> list[LabelledTask]:
        """Return labels with weights, of which constants are those of all rows."""
        found = []
        for t, (task, classes) in enumerate(zip(summary.tasks, outcomes.classes, strict=True)):
            own = summary.labels[task]
            y: NDArray[Any] = self.levels.mean[t : t + 1]
            weight = self.levels.weight[t : t + 1]
            if classes is not None:
                y = np.empty(len(own), dtype=object)
                y[:] = np.array([*own, None], dtype=object)[:-1]
                weight = np.array([seen.weight for seen in own.values()])
            found.append(LabelledTask(t, slice(None), y, weight))
        return found


def _levels(data: TaskData, outcomes: Outcomes, weight: Array) -> Array:
    """Return what predicts the numbers of every task best, of quantiles in the long form all."""
    levels = task_moments(outcomes.y, weight, data)[0]
    quantiles = [isinstance(loss, PiecewiseLinear) for loss in outcomes.losses]
    together = all(quantiles) and len(set(outcomes.losses)) == 1 and data.form is not Form.TARGETS
    if together:
        return np.full_like(levels, best_constant(outcomes.losses[0], outcomes.y, weight))
    for t in np.flatnonzero(quantiles):
        own: Any = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(int(t))
        seen = weight[own] > 0
        if seen.any():
            levels[t] = best_constant(outcomes.losses[t], outcomes.y[own][seen], weight[own][seen])
    return levels
