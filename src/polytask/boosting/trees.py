"""Trees of LightGBM: the one place that knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._linalg import is_sparse
from polytask._registry import saveable

# Imported where trees are grown or read: with its threads no process can be forked.
if TYPE_CHECKING:
    import lightgbm

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class TreeSettings:
    """How trees are grown."""

    learning_rate: float
    max_leaf_nodes: int
    min_samples_leaf: int
    l2_regularization: float
    threads: int
    seed: int

    def parameters(self) -> dict[str, Any]:
        """Return the names that LightGBM has for them; gradients come from outside."""
        return {
            "objective": "none",
            "metric": "none",
            "learning_rate": self.learning_rate,
            "num_leaves": self.max_leaf_nodes,
            "min_data_in_leaf": self.min_samples_leaf,
            "lambda_l2": self.l2_regularization,
            "num_threads": self.threads,
            "seed": self.seed,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }


class BinnedRows:
    """Features in bins, which are found once for all parts of the rows."""

    def __init__(self, X: Any, settings: TreeSettings) -> None:  # noqa: ANN401 - dense or sparse
        import lightgbm

        self._parameters = settings.parameters()
        self._all = lightgbm.Dataset(_matrix(X), params=self._parameters).construct()

    @cached_property
    def can_split(self) -> bool:
        """Say whether there is a feature with a cut that leaves enough rows on both sides."""
        data = self._all
        return any(data.feature_num_bin(j) > 1 for j in range(data.num_feature()))

    def growing(self, train: Index, held: Index | None = None) -> GrowingTrees:
        """Return trees, none yet, for some of the rows, to be known of others too."""
        import lightgbm

        sides = [part.tolist() for part in (train, held) if part is not None]
        parts = [self._all.subset(side).construct() for side in sides]
        booster = lightgbm.Booster(self._parameters, parts[0])
        for part in parts[1:]:
            booster.add_valid(part, "held out")
        return GrowingTrees(booster)


class GrowingTrees:
    """Trees that grow by one at a time."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        self._booster = booster

    def values(self, *, held: bool = False) -> Array:
        """Return the sums of the trees in the rows that they grow on, or in those held out."""
        found: list[Array] = []

        def keep(values: Array, _: object) -> tuple[str, float, bool]:
            found.append(np.array(values))
            return "values", 0.0, False

        (self._booster.eval_valid if held else self._booster.eval_train)(keep)
        return found[0]

    def grow(self, gradient: Array, hessian: Array) -> None:
        """Add the tree of these derivatives."""
        self._booster.update(fobj=lambda *_: (gradient, hessian))

    def trees(self, n: int) -> Trees:
        """Return the first n."""
        return Trees(self._booster.model_to_string(num_iteration=n) if n else "")


@saveable("boosting.trees")
@dataclass(frozen=True, eq=False)
class Trees:
    """A sum of trees, as the text in which LightGBM keeps them; empty without any."""

    text: str

    def values(self, X: Any, *, raw: bool = False) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the sums for rows, shape (n,), or what the objective makes of them."""
        if not self.text or not X.shape[0]:
            return np.zeros(X.shape[0])
        found = self._booster.predict(_matrix(X), raw_score=raw)
        return np.asarray(found, dtype=np.float64)

    def contributions(self, X: Any) -> Array:  # noqa: ANN401 - dense or sparse
        """Return what features add to the sums (TreeSHAP), the mean last, shape (n, d + 1)."""
        if not self.text or not X.shape[0]:
            return np.zeros((X.shape[0], X.shape[1] + 1))
        found: Any = self._booster.predict(_matrix(X), pred_contrib=True)
        return np.asarray(found.toarray() if is_sparse(found) else found, dtype=np.float64)

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        import lightgbm

        return lightgbm.Booster(model_str=self.text)


def _matrix(X: Any) -> Any:  # noqa: ANN401 - dense or sparse
    return sp.csr_matrix(X) if is_sparse(X) else np.asarray(X)


# How trees of defaults are grown, and after how many that brought nothing no more are tried.
_GROWTH: dict[str, Any] = {
    "feature_fraction": 0.8,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
_PATIENCE = 30
# Trees at most: cells times trees are bounded, as large data grow them slowly.
_FEWEST, _MOST, _CELLS = 100, 1000, 1e8
# Many rows bear larger trees and steps.
_FEW_ROWS = 5_000
_SMALL: dict[str, Any] = {"learning_rate": 0.05, "num_leaves": 15}
_LARGE: dict[str, Any] = {"learning_rate": 0.1, "num_leaves": 31}
_SUBSAMPLES: dict[str, Any] = {"bagging_fraction": 0.8, "bagging_freq": 1}
# Held-out rows that tell numbers of trees apart; folds beyond them are left out.
_ENOUGH_HELD = 2_000


def boosted(
    X: Array,
    y: Array,
    weight: Array,
    categories: list[int],
    params: dict[str, Any],
    folds: Sequence[tuple[Any, Any]],
) -> Trees:
    """Return as many trees as held-out rows ask for, one without folds. Shapes: X (n, d)."""
    import lightgbm

    def rows() -> lightgbm.Dataset:
        return lightgbm.Dataset(X, y, weight=weight, categorical_feature=categories)

    params, n_trees = _GROWTH | (_SMALL if len(y) < _FEW_ROWS else _LARGE) | params, 1
    # Fewer rows have no cut that leaves enough on both sides.
    least = 2 * params["min_data_in_leaf"]
    folds = [(train, test) for train, test in folds if len(train) >= least and len(test)]
    if folds:
        params |= _SUBSAMPLES
        held = np.cumsum([len(test) for _, test in folds])
        tried: Any = lightgbm.cv(
            params,
            rows(),
            num_boost_round=int(np.clip(_CELLS / X.size, _FEWEST, _MOST)),
            folds=folds[: int(np.searchsorted(held, _ENOUGH_HELD)) + 1],
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        losses = next(values for name, values in tried.items() if name.endswith("-mean"))
        n_trees = int(np.argmin(losses)) + 1
    return Trees(lightgbm.train(params, rows(), num_boost_round=n_trees).model_to_string())
