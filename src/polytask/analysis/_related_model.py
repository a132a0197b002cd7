"""Relatedness after learning: from the coefficients of a model to numbers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask.analysis._related_map import Map, features_of, map_of, mapped_places
from polytask.analysis._related_parts import FeatureEffect, Shares
from polytask.analysis._related_shares import correlations
from polytask.exceptions import IncompatibleError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Learned:
    """The coefficients of a model, task by task. Shapes: rows (T,), W (T, c, d)."""

    tasks: tuple[Hashable, ...]
    rows: NDArray[np.intp]
    features: tuple[str, ...]
    W: Array
    units: str

    @property
    def n_telling(self) -> int:
        """Tasks with a coefficient other than 0."""
        return int((self.W != 0).any(axis=(1, 2)).sum())


def is_model(value: object) -> bool:
    """Say whether a value is an estimator rather than data."""
    return hasattr(value, "predict") and hasattr(value, "get_params")


def learned(model: Any) -> Learned:  # noqa: ANN401 - any estimator
    """Read the coefficients of a fitted model."""
    check_is_fitted(model)
    if not hasattr(model, "coef_") or not hasattr(model, "columns_"):
        raise IncompatibleError(
            f"relatedness needs a model with coefficients per task (coef_ and columns_); "
            f"{type(model).__name__} has none: give it a linear multi-task model, or the data."
        )
    coef = np.asarray(model.coef_, dtype=float)
    scale = getattr(model, "feature_scale_", None)
    units = "given" if scale is None else "standardised"
    coef = coef if scale is None else coef * np.asarray(scale, dtype=float)
    tasks = tuple(np.asarray(model.tasks_).tolist())
    card = getattr(model, "data_card_", None)
    rows = np.zeros(len(tasks)) if card is None else np.asarray(card.rows_per_task)
    W = _by_class(coef, model.columns_, tasks)
    names = tuple(str(name) for name in model.coef_feature_names_)
    return Learned(tasks, rows.astype(np.intp), names, W, units)


def _by_class(coef: Array, columns: Any, tasks: tuple[Hashable, ...]) -> Array:  # noqa: ANN401
    """Put columns of the same class side by side; 0 for a class that a task lacks."""
    place = {task: t for t, task in enumerate(tasks)}
    several = len(columns) > len(tasks)
    classes: dict[Hashable, int] = {}
    for _, label in columns:
        classes.setdefault(label if several else None, len(classes))
    W = np.zeros((len(tasks), len(classes), coef.shape[1]))
    for row, (task, label) in zip(coef, columns, strict=True):
        W[place[task], classes[label if several else None]] = row
    return W


def map_of_model(found: Learned) -> Map:
    """Order the tasks with coefficients by the correlations of these."""
    flat = found.W.reshape(len(found.tasks), -1)
    places = np.flatnonzero((flat != 0).any(axis=1))
    places = places[mapped_places(found.rows[places])]
    return map_of(correlations(flat[places] @ flat[places].T), places, grouped=True)


def shares_of_model(found: Learned, chart: Map) -> tuple[Shares, float]:
    """Split the squared coefficients, and count effective tasks."""
    flat, groups = found.W.reshape(len(found.tasks), -1)[chart.order], chart.labels
    n = len(flat)
    total = float((flat**2).sum())
    if n < 2 or total <= 0.0:
        nothing = float("nan")
        return Shares(nothing, nothing, nothing), nothing
    mean = flat.mean(axis=0)
    common = n * float(mean @ mean) / total
    clustered = 0.0
    if groups is not None:
        parts = [flat[groups == g] for g in range(int(groups.max()) + 1)]
        clustered = sum(len(p) * float(((p.mean(axis=0) - mean) ** 2).sum()) for p in parts)
        clustered /= total
    shares = Shares(common, clustered, max(1.0 - common - clustered, 0.0))
    return shares, _effective(flat, common)


def _effective(flat: Array, common: float) -> float:
    n = len(flat)
    chance = 1.0 / max(int((flat != 0).any(axis=0).sum()), 1)
    squares = correlations(flat @ flat.T) ** 2
    alike = (float(squares.sum()) - n) / (n * (n - 1))
    beyond = (alike - chance) / (1.0 - chance) if chance < 1.0 else 0.0
    return n / (1.0 + (n - 1) * float(np.clip(max(beyond, common), 0.0, 1.0)))


def features_of_model(model: Any, found: Learned) -> tuple[FeatureEffect, ...]:  # noqa: ANN401
    """Describe what the features do, by the learned prior where the model has one."""
    prior = getattr(model, "prior_", None)
    # With several classes there is a prior of each.
    single = not isinstance(prior, list | tuple)
    if prior is not None and single and len(prior.mean) == len(found.features) + 1:
        mean = np.asarray(prior.mean, dtype=float)
        varies = np.zeros_like(mean)
        varies[np.asarray(prior.varying)] = np.diag(np.asarray(prior.covariance))
        return features_of(found.features, mean[1:], mean[1:] ** 2, mean[1:] ** 2 + varies[1:])
    n = len(found.tasks)
    if n < 2:
        return ()
    squares = (found.W**2).sum(axis=0)
    common = (found.W.sum(axis=0) ** 2 - squares) / (n * (n - 1))
    mean = found.W.mean(axis=0)
    shown = mean[0] if len(mean) == 1 else np.sqrt((mean**2).sum(axis=0))
    return features_of(found.features, shown, common.sum(axis=0), squares.sum(axis=0) / n)
