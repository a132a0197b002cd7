"""What a comparison says beyond its verdict: plain frozen records of numbers and names."""

from __future__ import annotations

from dataclasses import dataclass

from polytask.analysis._parts import Interval


@dataclass(frozen=True)
class StrengthPath:
    """Held-out error and coefficients of a penalty against its strength.

    It is the search of a model on all rows; the strongest comes first.

    Attributes
    ----------
    model : str
        Its name.
    penalty : str
        The penalty that it chose, with its strength.
    measure : str
        What the scores are; "loss": minus the loss on scaled targets.
    alphas : tuple of float
        The strengths.
    scores, standard_errors : tuple of float
        Over the inner folds; greater is better.
    features : tuple of int
        Features with a coefficient other than zero.
    ranks : tuple of int
        Of the matrix of coefficients.
    names : tuple of str
        The features with the largest coefficients.
    sizes : tuple of tuple of float
        Of these, the norm of their coefficients at every strength.
    n_features : int
        How many there are in all.
    best, one_se, chosen : int
        Positions of the best score, of the strongest within one standard error of it, and of
        what was chosen.
    """

    model: str
    penalty: str
    measure: str
    alphas: tuple[float, ...]
    scores: tuple[float, ...]
    standard_errors: tuple[float, ...]
    features: tuple[int, ...]
    ranks: tuple[int, ...]
    names: tuple[str, ...]
    sizes: tuple[tuple[float, ...], ...]
    n_features: int
    best: int
    one_se: int
    chosen: int


@dataclass(frozen=True)
class Kept:
    """What is left of the coefficients of a linear model of all rows.

    Attributes
    ----------
    model : str
        Its name.
    penalty : str
        Its penalty with the chosen strength; empty if it has none to name.
    features : float
        Share of the features with a coefficient other than zero.
    coefficients : float
        Share of the coefficients that are not zero.
    rank : int or None
        Rank of the matrix of coefficients, where the coefficients that are left would allow a
        greater one.
    """

    model: str
    penalty: str
    features: float
    coefficients: float
    rank: int | None


@dataclass(frozen=True)
class Mattered:
    """A hyper-parameter of the searched model, and how far it decided about the score.

    Attributes
    ----------
    parameter : str
        "strength", "penalty", "task_weight", "intercept" or "intercept_strength".
    share : float
        Its share in the variance of the scores, see :func:`polytask.selection.importance`.
    spread : float
        Standard deviation of the scores along it.
    tried : int
        How many values were tried.
    """

    parameter: str
    share: float
    spread: float
    tried: int


@dataclass(frozen=True)
class LearningPoint:
    """Scores and gains with a share of the training rows.

    Attributes
    ----------
    share : float
        Of the training rows of every task; 1 for all.
    rows : float
        Median training rows per task.
    separate, pooled, shared : Interval
        The verdict's metric of the chosen model of each kind.
    over_separate, over_pooled : Interval
        Gain of sharing over either.
    """

    share: float
    rows: float
    separate: Interval
    pooled: Interval
    shared: Interval
    over_separate: Interval
    over_pooled: Interval


@dataclass(frozen=True)
class Ablated:
    """What one term of a penalty adds.

    Attributes
    ----------
    model : str
        The model whose penalty it is.
    term : str
        The term that was left out.
    without : Interval
        The verdict's metric without it, every other strength searched anew.
    gain : Interval
        The paired difference: the whole penalty against the rest of it.
    """

    model: str
    term: str
    without: Interval
    gain: Interval
