"""Losses per sample: each knows a target and a linear predictor, nothing else."""

from __future__ import annotations

from polytask.losses.base import Loss
from polytask.losses.gamma import Gamma
from polytask.losses.huber import Huber
from polytask.losses.log_link import LogLink
from polytask.losses.logistic import Logistic
from polytask.losses.multinomial import Multinomial
from polytask.losses.piecewise import PiecewiseLinear
from polytask.losses.poisson import Poisson
from polytask.losses.quantile import Quantile
from polytask.losses.square_root import SquareRoot
from polytask.losses.squared import Squared
from polytask.losses.squared_hinge import SquaredHinge

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
