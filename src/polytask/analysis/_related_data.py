"""Relatedness before learning: from the data of tasks to numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.training import encode_training
from polytask.analysis._related_flips import (
    Estimates,
    estimates_of,
    flip_test,
    in_common,
)
from polytask.analysis._related_map import (
    Map,
    features_of,
    map_of,
    mapped_places,
)
from polytask.analysis._related_parts import LEVEL, FeatureEffect, Kinship, Shares
from polytask.analysis._related_shares import Shared, correlations, shared_of
from polytask.analysis._related_slopes import Slopes, slopes_of
from polytask.data import Form, TaskData

Array = NDArray[np.float64]

# Random choices of signs behind the sentence of a comparison.
_BRIEF = 499
_NOTHING = Shared(float("nan"), float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class Judged:
    """The tasks as coefficients, and what the test and the moments say. Shapes: telling (T,)."""

    slopes: Slopes
    telling: NDArray[np.bool_]
    p_value: float
    parts: dict[str, float]
    shared: Shared

    @property
    def shares(self) -> Shares:
        """Common, clustered, own."""
        return Shares(self.shared.common, self.shared.clustered, self.shared.own)


def judged(data: TaskData, outcomes: Outcomes, n_flips: int, seed: int) -> Judged:
    """Test and measure the relatedness of tasks."""
    encoded, _ = encode_training(data)
    names = encoded.feature_names or tuple(f"x{j}" for j in range(encoded.n_features))
    every = slopes_of(encoded, outcomes.y, names, seed)
    telling = every.telling
    slopes = every.of(telling)
    if len(slopes.tasks) < 2:
        return Judged(slopes, telling, float("nan"), {}, _NOTHING)
    p_value, parts = flip_test(slopes, n_flips, seed + 1)
    shared = shared_of(slopes, seed + 2, common_units=data.form is not Form.TARGETS)
    return Judged(slopes, telling, p_value, parts, shared)


def binary_at_most(outcomes: Outcomes) -> bool:
    """Say whether no task has more than two classes."""
    return all(classes is None or len(classes) <= 2 for classes in outcomes.classes)


def related_sentence_facts(data: TaskData, outcomes: Outcomes, seed: int) -> Kinship | None:
    """Return what a comparison says of the relatedness of its tasks."""
    if not binary_at_most(outcomes):
        return None
    found = judged(data, outcomes, _BRIEF, seed)
    if np.isnan(found.p_value):
        return None
    return Kinship(len(found.slopes.tasks), found.p_value, found.shares, found.shared.effective)


def map_of_data(found: Judged) -> Map:
    """Order the telling tasks by the correlations of their predictions."""
    places = np.flatnonzero(found.telling)
    slopes = found.slopes
    if not len(places):
        return map_of(np.zeros((0, 0)), places, grouped=False)
    shown = mapped_places(slopes.rows)
    B = in_common(slopes, estimates_of(slopes).along)[shown]
    clear = bool(found.p_value <= LEVEL and found.shares.clustered >= LEVEL)
    return map_of(correlations(B @ slopes.spread @ B.T), places[shown], grouped=clear)


def features_of_data(found: Judged) -> tuple[FeatureEffect, ...]:
    """Describe what the features do, on features of equal spread and targets of spread 1."""
    slopes = found.slopes
    if len(slopes.tasks) < 2:
        return ()
    estimates = estimates_of(slopes)
    B = in_common(slopes, estimates.along)
    W = B if slopes.loading is None else B @ slopes.loading.T
    one, two = _left(estimates)
    squares, n = (W**2).sum(axis=0), len(W)
    total = (squares - n * _noise_on_features(slopes, estimates)) / (n * one)
    common = (W.sum(axis=0) ** 2 - squares) / (n * (n - 1) * two)
    return features_of(slopes.features, W.mean(axis=0) / np.sqrt(two), common, total)


def _left(estimates: Estimates) -> tuple[float, float]:
    """Return what shrinkage leaves of squares of a task, and of products of two."""
    kept = estimates.kept.mean(axis=1)
    n = len(kept)
    pairs = (kept.sum() ** 2 - (kept**2).sum()) / (n * (n - 1))
    return float((estimates.kept**2).mean()), float(pairs)


def _noise_on_features(slopes: Slopes, estimates: Estimates) -> Array:
    turned = slopes.axes * estimates.noise[:, None, :]
    mean = np.tensordot(turned, slopes.axes, axes=([0, 2], [0, 2])) / len(slopes.tasks)
    if slopes.loading is None:
        return np.asarray(np.diag(mean))
    return np.asarray(((slopes.loading @ mean) * slopes.loading).sum(axis=1))
