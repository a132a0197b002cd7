"""The metrics of held-out rows: one fixed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from polytask.metrics import ranking
from polytask.metrics.held_out import HeldOut, squares
from polytask.metrics.scores import r2 as r2_of_rows
from polytask.metrics.summaries import (
    Explained,
    JoinedScore,
    RootMean,
    RowMean,
    RowValues,
    ScoredColumns,
    Summary,
    Within,
    explained_rows,
    mean_over_tasks,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One measure of held-out predictions.

    Attributes
    ----------
    name : str
        Its key in :data:`METRICS`.
    label : str
        What a table shows.
    greater_is_better : bool
        Its direction.
    of : {"numbers", "classes", "both"}
        The outcomes that it is for; NaN for others.
    needs_probabilities : bool
        Whether it is NaN for classes without probabilities.
    summary : Summary
        How one number is made of a task, and one of all tasks.
    rows : callable or None
        Takes a :class:`HeldOut`, returns one value per row, an ndarray of shape (n,), whose
        weighted mean is the score of the task; None where a score is no mean over rows. The
        overall score is their weighted mean over the rows of all tasks, but for d2, whose
        losses are ``held.losses()`` and ``held.baseline_losses()``.
    """

    name: str
    label: str
    greater_is_better: bool
    of: str
    needs_probabilities: bool
    summary: Summary
    rows: RowValues | None = None

    def fits(self, held: HeldOut) -> bool:
        """Whether the metric is for the kind of outcome of this task."""
        return self.of in ("both", held.kind)

    def by_task(self, held: HeldOut) -> float:
        """Return the score of one task.

        Parameters
        ----------
        held : HeldOut
            Its held-out rows.

        Returns
        -------
        float
            NaN where the score is undefined.
        """
        defined = self.fits(held) and held.total > 0 and self._has_probabilities(held)
        return float(self.summary.of_task(held)) if defined else float("nan")

    def overall(self, parts: Sequence[HeldOut]) -> float:
        """Return the score of all rows of all tasks together where that has a meaning.

        Parameters
        ----------
        parts : sequence of HeldOut
            The tasks; those that the metric is not for, or without rows, are left out.

        Returns
        -------
        float
            The mean over tasks for metrics without such a meaning, for tasks whose classes
            differ where rows are ranked, and for tasks of different kinds or losses. NaN if
            undefined, or if one of the tasks lacks the probabilities needed.
        """
        own = [held for held in parts if self.fits(held) and held.total > 0]
        if not own or not all(self._has_probabilities(held) for held in own):
            return float("nan")
        if len({held.unit for held in own}) > 1:  # losses of different units
            return mean_over_tasks(self.summary, own)
        return float(self.summary.of_tasks(own))

    def _has_probabilities(self, held: HeldOut) -> bool:
        needed = self.needs_probabilities and held.classes is not None
        return not needed or held.probabilities is not None


def _squared_error(held: HeldOut) -> Array:
    return squares(held.y - held.prediction)


def _absolute_error(held: HeldOut) -> Array:
    return np.asarray(np.abs(held.y - held.prediction))


def _hit(held: HeldOut) -> Array:
    return np.asarray(held.y == held.prediction, dtype=np.float64)


def _majority_hit(held: HeldOut) -> Array:
    if np.isnan(held.baseline).any():
        return np.full(len(held.y), np.nan)
    return np.asarray(held.y == np.argmax(held.baseline), dtype=np.float64)


def _squared_distance(held: HeldOut) -> Array:
    """Return the Brier score of every row, halved for two classes as scikit-learn does."""
    off = np.array(held.probabilities, dtype=np.float64)
    off[np.arange(len(off)), held.y] -= 1.0
    return np.asarray(squares(off).sum(axis=1) * (0.5 if off.shape[1] < 3 else 1.0))


def _r2(rows: ScoredColumns) -> float:
    return r2_of_rows(rows.y, rows.prediction, rows.weight)


def _auc(rows: ScoredColumns) -> float:
    return _one_against_rest(rows, ranking.roc_auc)


def _average_precision(rows: ScoredColumns) -> float:
    return _one_against_rest(rows, ranking.average_precision)


def _one_against_rest(rows: ScoredColumns, score: ranking.Ranking) -> float:
    """Score the second of two classes, or average over the classes that the rows have."""
    k = rows.probabilities.shape[1]
    seen = rows.y if rows.weight is None else rows.y[rows.weight > 0]
    present = [1] if k == 2 else np.flatnonzero(np.bincount(seen, minlength=k)).tolist()
    found = [score(rows.y == c, rows.probabilities[:, c], rows.weight) for c in present]
    return float(np.mean(found))


def _calibration(rows: ScoredColumns) -> float:
    """Take the probability of the second of two classes, or of the predicted one of more."""
    p = rows.probabilities
    if p.shape[1] == 2:
        return ranking.calibration_error(p[:, 1], rows.y == 1, rows.weight)
    # What is left is the probability of the classes that are not among these.
    left = np.column_stack([p, np.maximum(1.0 - p.sum(axis=1), 0.0)])
    confidence = left[np.arange(len(p)), rows.prediction]
    return ranking.calibration_error(confidence, rows.y == rows.prediction, rows.weight)


def _numbers(
    name: str, label: str, better: bool, summary: Summary, rows: RowValues | None = None
) -> Metric:
    return Metric(name, label, better, "numbers", False, summary, rows)


def _classes(
    name: str, label: str, better: bool, summary: Summary, rows: RowValues | None = None
) -> Metric:
    return Metric(name, label, better, "classes", True, summary, rows)


def _labels(name: str, label: str, rows: RowValues) -> Metric:
    return Metric(name, label, True, "classes", False, RowMean(rows), rows)


_TABLE = (
    Metric("d2", "D2", True, "both", True, Explained(), explained_rows),
    _numbers("r2", "R2", True, JoinedScore(_r2)),
    _numbers("r2_within", "R2 within tasks", True, Within()),
    _numbers("mse", "MSE", False, RowMean(_squared_error), _squared_error),
    _numbers("rmse", "RMSE", False, RootMean(_squared_error)),
    _numbers("mae", "MAE", False, RowMean(_absolute_error), _absolute_error),
    Metric("deviance", "Mean loss", False, "both", True, RowMean(HeldOut.losses), HeldOut.losses),
    _labels("accuracy", "Accuracy", _hit),
    _labels("majority", "Majority rate", _majority_hit),
    _classes("auc", "AUC", True, JoinedScore(_auc)),
    _classes("average_precision", "Average precision", True, JoinedScore(_average_precision)),
    _classes("log_loss", "Log loss", False, RowMean(HeldOut.losses), HeldOut.losses),
    _classes("brier", "Brier score", False, RowMean(_squared_distance), _squared_distance),
    _classes("calibration", "Calibration error", False, JoinedScore(_calibration)),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _TABLE})
"""The metrics by name, for :func:`polytask.metrics.evaluate`."""
