"""Losses per sample: each knows a target and a linear predictor, nothing else."""

from __future__ import annotations

from polytask.losses.base import Loss
from polytask.losses.of_classes import Logistic, Multinomial, SquaredHinge
from polytask.losses.of_means import Gamma, LogLink, Poisson
from polytask.losses.of_numbers import Huber, PiecewiseLinear, Quantile, Squared, SquareRoot

LOSSES: dict[str, type[Loss]] = {
    "squared": Squared,
    "huber": Huber,
    "logistic": Logistic,
    "multinomial": Multinomial,
    "squared_hinge": SquaredHinge,
    "poisson": Poisson,
    "gamma": Gamma,
    "quantile": Quantile,
    "square_root": SquareRoot,
}

__all__ = [
    "LOSSES",
    "Gamma",
    "Huber",
    "LogLink",
    "Logistic",
    "Loss",
    "Multinomial",
    "PiecewiseLinear",
    "Poisson",
    "Quantile",
    "SquareRoot",
    "Squared",
    "SquaredHinge",
]
