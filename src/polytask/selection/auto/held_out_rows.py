"""The rows that the folds of a choice hold out, before any candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data import Form
from polytask.data.splits import Split
from polytask.losses import LogLink
from polytask.selection.auto.calibration import seen_first, stacked
from polytask.selection.auto.mixing import (
    DevianceMix,
    HeldRows,
    KindsMix,
    LogMix,
    MixLoss,
    SquaredMix,
)
from polytask.selection.held import Study, parts_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOutRows:
    """The held-out rows, before any model: truth, owners, and what a constant says of them."""

    # `constants` has shape (N, 1) for numbers; for classes its columns are their shares among the
    # training rows, the class that was seen in front, NaN for a class that the row cannot have.

    y: Array
    weight: Array
    task: NDArray[np.intp]
    fold: NDArray[np.intp]
    unit: NDArray[np.intp]
    constants: Array
    n_tasks: int
    loss: MixLoss

    def first(self, folds: int) -> HeldOutRows:
        """Return the rows that the first folds hold out."""
        own = self.fold < folds
        return replace(
            self,
            y=self.y[own],
            weight=self.weight[own],
            task=self.task[own],
            fold=self.fold[own],
            unit=self.unit[own],
            constants=self.constants[own],
            loss=self.loss.rows(own),
        )

    def held(self, columns: Sequence[Array]) -> HeldRows:
        """Return the rows with the predictions of some models."""
        return HeldRows(
            Z=np.column_stack(columns),
            y=self.y,
            weight=self.weight,
            task=self.task,
            fold=self.fold,
            unit=self.unit,
            n_tasks=self.n_tasks,
            loss=self.loss,
        )

    @property
    def null_loss(self) -> float:
        """The mean loss of the constant of the training rows."""
        return float(np.average(self.constant_losses(), weights=self.weight))

    @property
    def known_loss(self) -> float:
        """The same; NaN if there is nothing but rounding to explain."""
        if not self.weight.any():
            return float("nan")
        least = np.finfo(float).eps * float(np.average(self.y**2, weights=self.weight))
        return self.null_loss if self.null_loss > least else float("nan")

    def constant_losses(self) -> Array:
        """Return what the constant loses on every row."""
        return self.loss.losses(self.constants[:, 0], self.y)


def make_bench(
    study: Study, splits: Sequence[Split], unit_of: NDArray[np.intp] | None
) -> HeldOutRows:
    """Return the held-out labels of all folds, in the order of the records of a candidate."""
    # Shapes: unit_of (n_rows,).
    # Targets count alike, whatever their unit and however many labels they have; rows of tasks
    # of one quantity count alike.
    losses: list[MixLoss] = []
    for task, classes in enumerate(study.outcomes.classes):
        loss = study.loss(task)
        of_numbers = DevianceMix(loss) if isinstance(loss, LogLink) else SquaredMix()
        losses.append(of_numbers if classes is None else LogMix())
    kinds = tuple(dict.fromkeys(losses))
    pieces: list[tuple[NDArray[Any], ...]] = []
    tables: list[Array] = []
    for fold, (train, test) in enumerate(splits):
        constants = study.constants(train)
        for part in parts_of(study, test):
            labels, n = study.labels(part), len(part.rows)
            weight = study.data.sample_weight
            own = np.ones(n) if weight is None else weight[part.rows]
            known = np.tile(constants[part.task], (n, 1))
            has_classes = study.outcomes.classes[part.task] is not None
            if has_classes:
                known = seen_first(known, labels.astype(int))
                known = known[:, :1] if study.several_kinds else known
            elif np.isnan(known).any():
                # A target that the fold does not train on: no candidate can know it there.
                own, known = np.zeros(n), labels[:, None]
            truth = np.ones(n) if has_classes else labels
            owner, when = np.full(n, part.task), np.full(n, fold)
            unit = when if unit_of is None else unit_of[part.rows]
            kind = np.full(n, kinds.index(losses[part.task]))
            pieces.append((truth, own, owner, when, unit, kind))
            tables.append(known)
    y, weight, task_of, fold_of, units, kind = map(np.concatenate, zip(*pieces, strict=True))
    mix = kinds[0] if len(kinds) == 1 else KindsMix(kinds, kind)
    bench = HeldOutRows(
        y, weight, task_of, fold_of, units, stacked(tables), study.data.n_tasks, mix
    )
    alike = study.data.form is not Form.TARGETS and len(kinds) == 1
    return bench if alike else _alike(bench)


def _alike(bench: HeldOutRows) -> HeldOutRows:
    """Weigh targets by what their constant loses in all."""
    losses = bench.weight * bench.constant_losses()
    totals = np.bincount(bench.task, losses, bench.n_tasks)
    known = totals > 0
    factor = np.zeros(bench.n_tasks)
    factor[known] = totals[known].mean() / totals[known]
    if not known.any():
        return bench
    return replace(bench, weight=bench.weight * factor[bench.task])
