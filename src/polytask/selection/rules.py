"""Rules that choose among the strengths of one penalty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from polytask.selection.search import Candidate

Rule = Callable[[Sequence["Candidate"]], "Candidate"]


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
