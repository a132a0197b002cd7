"""Boosted trees with a learned prior beside them, and trees of scikit-learn: TreeSHAP."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from polytask._estimator import UNSEEN
from polytask._estimator.outputs import runs
from polytask._linalg import is_sparse
from polytask.exceptions import DataWarning
from polytask.explanation.parts import Parts, Rows
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
# Modules of scikit-learn whose estimators are trees or sums of these.
_TREES = ("sklearn.tree.", "sklearn.ensemble._forest", "sklearn.ensemble._gb",
          "sklearn.ensemble._hist_gradient_boosting")  # fmt: skip


def tree_values(estimator: Any, X: Any, here: int) -> Array | None:  # noqa: ANN401
    """Return what features add to the sum of trees, the mean last; None if it is none of trees."""
    # Shapes: X (n, d), result (n, d + 1); of several classes those of the one at `here`.
    if hasattr(estimator, "trees_"):
        found, width = np.asarray(estimator.trees_.contributions(X)), X.shape[1] + 1
        return found[:, here * width : (here + 1) * width] if found.shape[1] > width else found
    if hasattr(estimator, "booster_") and not is_classifier(estimator):
        found = estimator.booster_.predict(X, pred_contrib=True)
        return np.asarray(found.toarray() if is_sparse(found) else found)
    if not type(estimator).__module__.startswith(_TREES):
        return None
    try:
        shap = importlib.import_module("shap")
    except ImportError:
        warnings.warn(DataWarning(LazyMessage("explanation.warn.no_shap")), stacklevel=2)
        return None
    try:
        explainer = shap.TreeExplainer(estimator)
        dense = np.asarray(X.toarray() if is_sparse(X) else X, dtype=float)
        values = np.asarray(explainer.shap_values(dense, check_additivity=False))
    except (NotImplementedError, TypeError, ValueError, AssertionError):
        # Such as splits by categories, which shap does not know.
        return None
    base = np.atleast_1d(explainer.expected_value)
    values = values[:, :, here] if values.ndim == 3 else values
    mean = base[here] if len(base) > 1 else base[0]
    return np.column_stack([values, np.full(len(values), float(mean))])


def shared_trees(rows: Rows, values: Array, scales: Array, like: Parts) -> Parts:
    """Return the parts of trees that all tasks share, in the units of each."""
    # Shapes: values (n, d + 1), scales (n_tasks + 1,), the last of unseen tasks.
    common, n = rows.folded(values[:, :-1]), rows.n_rows
    parts = Parts(
        np.array(values[:, -1]), common, np.zeros((n, rows.n_columns)), like.output,
        frozenset({"tree_shap"}),
    )  # fmt: skip
    return parts.times(scales[rows.tasks], float(scales[UNSEEN]), rows.first_level)


def label_tree_values(model: Any, rows: Rows, signs: Any) -> Array:  # noqa: ANN401
    """Return what features add to the sums of trees of classes, counts and amounts."""
    # Shapes: result (n, d + 1).
    each = [trees.contributions(rows.X) for trees in model.trees]
    found: Array = np.empty_like(each[0])
    for run in runs(rows.tasks):
        task = int(rows.tasks[run.start])
        problems = model.tasks.problems_of(task)
        columns = signs(task)
        if not columns:
            found[run] = np.nan
            continue
        found[run] = sum(sign * each[problems[k]][run] for k, sign in columns.items())
    return found
