"""Penalties on the coefficient matrix W, of shape (n_features, n_columns)."""

from __future__ import annotations

from polytask.penalties.base import (
    CompiledRows,
    Conjugate,
    Mergeable,
    Nonconvex,
    NullStrength,
    Penalty,
    Proximable,
    Quadratic,
    RowKernel,
    RowSeparable,
    Smooth,
)
from polytask.penalties.capped import CappedL21
from polytask.penalties.chains import AlongTime, along_time
from polytask.penalties.columns import Columns
from polytask.penalties.composed import Composed
from polytask.penalties.constraints import bounded, positive
from polytask.penalties.couplings import Coupling, TowardMean, coupling, toward_mean
from polytask.penalties.decomposition import Split, decompose
from polytask.penalties.feature_groups import GroupNorm
from polytask.penalties.fused import FusedTasks
from polytask.penalties.graphs import AlongGraph, along_graph
from polytask.penalties.latent import LatentTasks
from polytask.penalties.maximum import L1Inf
from polytask.penalties.network import NetworkLasso
from polytask.penalties.nonconvex import MCP, SCAD
from polytask.penalties.nonconvex_log import reweighted
from polytask.penalties.outliers import OutlierTasks
from polytask.penalties.parsing import PENALTIES, parse
from polytask.penalties.parts import Parts
from polytask.penalties.parts_named import dirty, robust, robust_features, sparse_low_rank
from polytask.penalties.rowwise import L1, L2, L21, ElasticNet, SparseGroup
from polytask.penalties.shifts import Shifted
from polytask.penalties.spectral import TraceNorm
from polytask.penalties.spectral_boxes import Clustered, LearnedCovariance
from polytask.penalties.spectral_structure import AlternatingStructure
from polytask.penalties.sums import Sum
from polytask.penalties.tree import TreeGroup
from polytask.penalties.weighted import weighted

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
    "AlternatingStructure",
    "LearnedCovariance",
    "coupling",
    "toward_mean",
    "along_graph",
    "NetworkLasso",
    "along_time",
    "Parts",
    "dirty",
    "robust",
    "robust_features",
    "sparse_low_rank",
    "CappedL21",
    "MCP",
    "SCAD",
    "LatentTasks",
    # from text
    "parse",
    # of any of these that are sums over features
    "weighted",
    "bounded",
    "positive",
    "reweighted",
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
    "Composed",
    "Conjugate",
    "Mergeable",
    "Nonconvex",
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
