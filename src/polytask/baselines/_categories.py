"""The task as a feature of histogram gradient boosting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from polytask._checks import sentence
from polytask.baselines._rows import Rows
from polytask.exceptions import DataError, IncompatibleError

Floats = NDArray[Any]

_FOLDS = 5


def category_mask(given: object, n_features: int) -> NDArray[np.bool_]:
    """Mark the categorical features and, behind them, the task."""
    mask = np.zeros(n_features + 1, dtype=bool)
    mask[-1] = True
    if given is None or (isinstance(given, str) and given == "from_dtype"):
        return mask
    chosen = np.asarray(given)
    if chosen.dtype.kind not in "biu" or (chosen.dtype == bool and len(chosen) != n_features):
        allowed = f"positions, or booleans for the {n_features} encoded features"
        raise IncompatibleError(
            sentence("categorical_features", "the estimator of Pooled", allowed, repr(given))
        )
    mask[:-1][chosen] = True
    return mask


def mean_targets(rows: Rows, numeric: bool) -> tuple[Floats, Floats]:
    """Encode the task by its smoothed mean target; sample weights play no part in it."""
    # Shapes: values (n_tasks + 1, k), crossed (n_rows, k).
    n_classes = 0 if numeric else len(np.unique(rows.y))
    kind = "continuous" if numeric else "binary" if n_classes == 2 else "multiclass"
    column = rows.tasks[:, None]
    crossed: list[tuple[NDArray[np.intp], Floats]] = []
    for train, held in _folds(rows.y, numeric).split(column, rows.y):
        encoder = TargetEncoder(target_type=kind).fit(column[train], rows.y[train])
        crossed.append((held, encoder.transform(column[held])))
    out = np.empty((rows.n_rows, crossed[0][1].shape[1]))
    for held, values in crossed:
        out[held] = values
    known = np.append(np.arange(rows.n_tasks), -1)[:, None]
    encoder = TargetEncoder(target_type=kind).fit(column, rows.y)
    return encoder.transform(known), out


def _folds(y: Floats, numeric: bool) -> KFold | StratifiedKFold:
    if numeric:
        return KFold(_FOLDS, shuffle=True, random_state=0)
    rarest = int(np.unique(y, return_counts=True)[1].min())
    if rarest < 2:
        allowed = "two rows or more of every class, for cross-fitting the means of the tasks"
        raise DataError(sentence("y", "Pooled", allowed, "a class with one row"))
    return StratifiedKFold(min(_FOLDS, rarest), shuffle=True, random_state=0)
