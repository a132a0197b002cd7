"""Losses per sample: each knows a target and a linear predictor, nothing else."""

from __future__ import annotations

from polytask.losses.base import Loss
from polytask.losses.logistic import Logistic
from polytask.losses.multinomial import Multinomial
from polytask.losses.squared import Squared

LOSSES: dict[str, type[Loss]] = {
    "squared": Squared,
    "logistic": Logistic,
    "multinomial": Multinomial,
}

__all__ = ["LOSSES", "Logistic", "Loss", "Multinomial", "Squared"]
