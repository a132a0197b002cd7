"""Rules that choose among all candidates of a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.linear.problem import Settings
from polytask.penalties import Penalty

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoredChoice:
    """One choice and its scores. Shapes: scores (n_folds,)."""

    penalty: Penalty
    alpha: float
    settings: Settings
    scores: Array
    family: int
    position: int
    size: float = float("nan")
    detail: Any = None

    @property
    def score(self) -> float:
        """The mean over the folds."""
        return float(np.mean(self.scores))

    def differs_in_strength(self, other: ScoredChoice) -> bool:
        """Tell whether nothing but the strength of the two differs, if anything does."""
        return self.family == other.family and self.settings == other.settings


Rule = Callable[[Sequence[ScoredChoice]], ScoredChoice]


def best_score(candidates: Sequence[ScoredChoice]) -> ScoredChoice:
    """Choose the best mean score; of equals the strongest."""
    return max(candidates, key=lambda c: (_safe(c.score), c.alpha))


def one_standard_error(candidates: Sequence[ScoredChoice]) -> ScoredChoice:
    """Choose the strongest of the best penalty within one standard error of the best score."""
    best = best_score(candidates)
    rivals = [c for c in candidates if c.differs_in_strength(best)]
    scores, alphas = np.stack([c.scores for c in rivals]), np.array([c.alpha for c in rivals])
    return rivals[within_one_error(scores, alphas)[1]]


def within_one_error(scores: Array, alphas: Array) -> tuple[int, int]:
    """Return the places of the best mean score, and of the strongest near it."""
    # Shapes: scores (n_alphas, n_folds), alphas (n_alphas,).
    means = [_safe(float(mean)) for mean in scores.mean(axis=1)]
    best = max(range(len(means)), key=lambda i: (means[i], alphas[i]))
    folds = scores.shape[1]
    error = float(np.std(scores[best], ddof=1)) / np.sqrt(folds) if folds > 1 else 0.0
    least = float(scores[best].mean()) - error
    near = [i for i, mean in enumerate(means) if mean >= least]
    return best, max(near, key=lambda i: float(alphas[i]), default=best)


def knee(candidates: Sequence[ScoredChoice]) -> ScoredChoice:
    """Choose the knee of the front between few coefficients and a good score."""
    # On the front are the candidates of all penalties that score better than everything with no
    # more coefficients. Both axes are scaled to [0, 1]; the knee is the point of the front that
    # is farthest above the line from its sparsest to its best point, of equals the sparsest. Past
    # it a coefficient buys less than the average one. Nothing has to be set. A front that has no
    # more than two points, or none above the line, leaves the best score.
    front = pareto_front(candidates)
    sizes = np.array([c.size for c in front])
    scores = np.array([c.score for c in front])
    if len(front) < 3:
        return front[-1]
    along = (sizes - sizes[0]) / (sizes[-1] - sizes[0])
    gained = (scores - scores[0]) / (scores[-1] - scores[0])
    above = gained - along
    return front[int(np.argmax(above))] if above.max() > 0 else front[-1]


def pareto_front(candidates: Sequence[ScoredChoice]) -> list[ScoredChoice]:
    """Return the candidates that nothing with as few coefficients beats, the sparsest first."""
    in_order = sorted(candidates, key=lambda c: (c.size, -_safe(c.score), -c.alpha))
    front = in_order[:1]
    for candidate in in_order[1:]:
        if _safe(candidate.score) > _safe(front[-1].score):
            front.append(candidate)
    # A candidate without a score is no end of a line.
    return [c for c in front if np.isfinite(_safe(c.score))] or front[-1:]


RULES: dict[str, Rule] = {"min": best_score, "one_se": one_standard_error, "pareto": knee}


def _safe(score: float) -> float:
    return -np.inf if np.isnan(score) else score
