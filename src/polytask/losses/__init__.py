"""Losses per sample: each knows a target and a linear predictor, nothing else."""

from __future__ import annotations

import inspect

from polytask.losses.base import Loss
from polytask.losses.of_classes import Logistic, Multinomial, SquaredHinge
from polytask.losses.of_means import Gamma, LogLink, Poisson
from polytask.losses.of_numbers import Huber, PiecewiseLinear, Quantile, Squared, SquareRoot

__all__ = [
    "LOSSES",
    # what users choose, and the command line takes by its name
    "Squared",
    "Huber",
    "Logistic",
    "Multinomial",
    "SquaredHinge",
    "Poisson",
    "Gamma",
    "Quantile",
    "SquareRoot",
    # what losses are
    "Loss",
    "LogLink",
    "PiecewiseLinear",
]

_EXPORTED = [globals()[name] for name in __all__ if name != "LOSSES"]
LOSSES: dict[str, type[Loss]] = {
    kind().name: kind for kind in _EXPORTED if not inspect.isabstract(kind)
}
