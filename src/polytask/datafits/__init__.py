"""Losses on data: value, gradient, curvature and conjugate as functions of W."""

from polytask.datafits.base import Datafit, Evaluation
from polytask.datafits.blocks import Block, ClassesBlock, ScalarBlock
from polytask.datafits.designs import Features, Shared, Stacked, StackedClasses
from polytask.datafits.in_parts import InParts, LocalQuadratic, PassStack
from polytask.datafits.intercepts import (
    AnchoredIntercepts,
    Intercepts,
    NoIntercepts,
    PulledIntercepts,
    TiedIntercepts,
)
from polytask.datafits.moments import (
    TaskMoments,
    collect_shared,
    collect_stacked,
    column_sums,
    spread_out,
    weights_of,
)
from polytask.datafits.on_rows import on_rows
from polytask.datafits.part_sums import LossSums, curved_sums, loss_sums
from polytask.datafits.piecewise_linear import FreeFeatures, PiecewiseLinearSamples
from polytask.datafits.samples import Samples, narrowed
from polytask.datafits.square_root import SquareRootDatafit
from polytask.datafits.squares import MomentSquares, RowSquares
from polytask.datafits.statistics import (
    Counted,
    SquaredStatistics,
    Units,
    all_but_one,
    in_units,
    joined,
    quadratic_conjugate,
)

__all__ = [
    "AnchoredIntercepts",
    "Block",
    "ClassesBlock",
    "Counted",
    "Datafit",
    "Evaluation",
    "Features",
    "FreeFeatures",
    "InParts",
    "Intercepts",
    "LocalQuadratic",
    "LossSums",
    "PassStack",
    "PiecewiseLinearSamples",
    "MomentSquares",
    "NoIntercepts",
    "PulledIntercepts",
    "SquareRootDatafit",
    "RowSquares",
    "Samples",
    "ScalarBlock",
    "Shared",
    "SquaredStatistics",
    "Stacked",
    "StackedClasses",
    "TaskMoments",
    "TiedIntercepts",
    "Units",
    "all_but_one",
    "collect_shared",
    "collect_stacked",
    "curved_sums",
    "column_sums",
    "in_units",
    "joined",
    "loss_sums",
    "narrowed",
    "on_rows",
    "quadratic_conjugate",
    "spread_out",
    "weights_of",
]
