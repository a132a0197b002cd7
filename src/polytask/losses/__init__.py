"""Losses per sample: each knows a target and a linear predictor, nothing else."""

from __future__ import annotations

from polytask.losses.base import Loss
from polytask.losses.huber import Huber
from polytask.losses.logistic import Logistic
from polytask.losses.multinomial import Multinomial
from polytask.losses.squared import Squared
from polytask.losses.squared_hinge import SquaredHinge

LOSSES: dict[str, type[Loss]] = {
    "squared": Squared,
    "huber": Huber,
    "logistic": Logistic,
    "multinomial": Multinomial,
    "squared_hinge": SquaredHinge,
}

__all__ = ["LOSSES", "Huber", "Logistic", "Loss", "Multinomial", "Squared", "SquaredHinge"]
