"""What a comparison says beyond its verdict: plain frozen records of numbers and names."""

from __future__ import annotations

from dataclasses import dataclass

from polytask.analysis._parts import Interval


@dataclass(frozen=True)
class StrengthPath:
    """Held-out error and coefficients of a penalty against its strength."""

    # It is the search of a model on all rows; the strongest comes first.

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
    """What is left of the coefficients of a linear model of all rows."""

    model: str
    penalty: str
    features: float
    coefficients: float
    rank: int | None


@dataclass(frozen=True)
class Mattered:
    """A hyper-parameter of the searched model, and how far it decided about the score."""

    parameter: str
    share: float
    spread: float
    tried: int


@dataclass(frozen=True)
class LearningPoint:
    """Scores and gains with a share of the training rows."""

    share: float
    rows: float
    separate: Interval
    pooled: Interval
    shared: Interval
    over_separate: Interval
    over_pooled: Interval


@dataclass(frozen=True)
class Ablated:
    """What one term of a penalty adds."""

    model: str
    term: str
    without: Interval
    gain: Interval
