"""Baselines: any scikit-learn estimator, one per task or one for all tasks."""

from polytask.baselines._joint import Joint
from polytask.baselines._logistic import TunedLogistic
from polytask.baselines._means import TunedMeans
from polytask.baselines._missing_blocks import MissingBlocks
from polytask.baselines._pooled import Pooled
from polytask.baselines._ridge import TunedRidge
from polytask.baselines._single import SingleTask

__all__ = [
    "Joint",
    "MissingBlocks",
    "Pooled",
    "SingleTask",
    "TunedLogistic",
    "TunedMeans",
    "TunedRidge",
]
