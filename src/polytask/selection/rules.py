"""Rules that choose among the strengths of one penalty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.linear._problem import Settings
from polytask.penalties import Penalty

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One choice and its scores.

    Attributes
    ----------
    penalty : Penalty
        With its strength.
    alpha : float
        The strength.
    settings : Settings
        Task weights and intercept strength among them.
    scores : ndarray of shape (n_folds,)
        Greater is better.
    family : int
        The position of the penalty among those given.
    position : int
        The position of the strength in its grid.
    """

    penalty: Penalty
    alpha: float
    settings: Settings
    scores: Array
    family: int
    position: int

    @property
    def score(self) -> float:
        """The mean over the folds."""
        return float(np.mean(self.scores))


Rule = Callable[[Sequence[Candidate]], Candidate]


def best_score(candidates: Sequence[Candidate]) -> Candidate:
    """Choose the best mean score; of equals the strongest."""
    return max(candidates, key=lambda c: (_safe(c.score), c.alpha))


def one_standard_error(candidates: Sequence[Candidate]) -> Candidate:
    """Choose the strongest whose mean score is within one standard error of the best.

    References
    ----------
    L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees"
    (1984), section 3.4.3.
    """
    best = best_score(candidates)
    folds = len(best.scores)
    error = float(np.std(best.scores, ddof=1)) / np.sqrt(folds) if folds > 1 else 0.0
    near = [c for c in candidates if _safe(c.score) >= best.score - error]
    return max(near, key=lambda c: c.alpha) if near else best


RULES: dict[str, Rule] = {"min": best_score, "one_se": one_standard_error}


def _safe(score: float) -> float:
    return -np.inf if np.isnan(score) else score
