"""Quick searches that tell how long a whole one takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from polytask._checks import is_whole
from polytask.selection.base import SearchEstimator

# Strengths of the two searches.
_TRIED = (7, 13)
# Folds of a search that is given a splitter.
_FOLDS = 5


@dataclass(frozen=True)
class QuickSearches:
    """Two quick searches that tell how long a whole one takes."""

    small: Any
    large: Any
    steps: float
    factor: float

    def whole(self, small: float, large: float) -> float:
        """Return the seconds of the whole search from those of the two."""
        return self.factor * (small + self.steps * max(large - small, 0.0))


def trial_of(estimator: Any) -> QuickSearches | None:  # noqa: ANN401 - any estimator
    """Return quick searches in place of a long one."""
    # Their time is that of preparing every fold, and a part that grows with the strengths; two
    # numbers of strengths, which both leave room for the windows of the search, tell the two
    # apart.
    if not isinstance(estimator, SearchEstimator) or estimator.criterion is not None:
        return None
    alphas = estimator.alphas if isinstance(estimator.alphas, int) else len(estimator.alphas)
    few, more = (min(count, alphas) for count in _TRIED)
    folds = estimator.cv if is_whole(estimator.cv) else _FOLDS
    small, large = (clone(estimator).set_params(alphas=k, cv=2) for k in (few, more))
    steps = (alphas - few) / (more - few) if more > few else 0.0
    return QuickSearches(small, large, steps, folds / 2)
