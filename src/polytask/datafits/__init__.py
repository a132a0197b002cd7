"""Losses on data: value, gradient, curvature and conjugate as functions of W."""

from polytask.datafits.base import Datafit, Evaluation, quadratic_conjugate
from polytask.datafits.blocks import Block, ClassesBlock, ScalarBlock
from polytask.datafits.designs import Features, Shared, Stacked, StackedClasses
from polytask.datafits.intercepts import (
    AnchoredIntercepts,
    Intercepts,
    NoIntercepts,
    PulledIntercepts,
    TiedIntercepts,
)
from polytask.datafits.moments import TaskStatistics, collect_shared, collect_stacked
from polytask.datafits.samples import Samples
from polytask.datafits.statistics import SquaredStatistics

__all__ = [
    "AnchoredIntercepts",
    "Block",
    "ClassesBlock",
    "Datafit",
    "Evaluation",
    "Features",
    "Intercepts",
    "NoIntercepts",
    "PulledIntercepts",
    "Samples",
    "ScalarBlock",
    "Shared",
    "SquaredStatistics",
    "Stacked",
    "StackedClasses",
    "TaskStatistics",
    "TiedIntercepts",
    "collect_shared",
    "collect_stacked",
    "quadratic_conjugate",
]
