"""Penalties on the coefficient matrix W, of shape (n_features, n_columns)."""

from __future__ import annotations

from polytask.penalties.base import (
    CompiledRows,
    Conjugate,
    Mergeable,
    NullStrength,
    Penalty,
    Proximable,
    Quadratic,
    RowKernel,
    RowSeparable,
    Smooth,
)
from polytask.penalties.chains import AlongTime, along_time
from polytask.penalties.columns import Columns
from polytask.penalties.couplings import Coupling, TowardMean, coupling, toward_mean
from polytask.penalties.decomposition import Split, decompose
from polytask.penalties.feature_groups import GroupNorm
from polytask.penalties.fused import FusedTasks
from polytask.penalties.graphs import AlongGraph, along_graph
from polytask.penalties.maximum import L1Inf
from polytask.penalties.outliers import OutlierTasks
from polytask.penalties.parse import PENALTIES
from polytask.penalties.rowwise import L1, L2, L21, ElasticNet, SparseGroup
from polytask.penalties.shifts import Shifted
from polytask.penalties.spectral import TraceNorm
from polytask.penalties.spectral_boxes import Clustered, LearnedCovariance
from polytask.penalties.sums import Sum
from polytask.penalties.tree import TreeGroup

__all__ = [
    # what users choose
    "L1",
    "L2",
    "ElasticNet",
    "L21",
    "L1Inf",
    "SparseGroup",
    "FusedTasks",
    "TreeGroup",
    "GroupNorm",
    "TraceNorm",
    "OutlierTasks",
    "Clustered",
    "LearnedCovariance",
    "coupling",
    "toward_mean",
    "along_graph",
    "along_time",
    # what they are made of
    "AlongGraph",
    "AlongTime",
    "Columns",
    "Coupling",
    "Shifted",
    "Sum",
    "TowardMean",
    "Penalty",
    # what a penalty can do
    "CompiledRows",
    "Conjugate",
    "Mergeable",
    "NullStrength",
    "Proximable",
    "Quadratic",
    "RowKernel",
    "RowSeparable",
    "Smooth",
    # what solvers and the command line use
    "PENALTIES",
    "Split",
    "decompose",
]
