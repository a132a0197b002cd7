"""Penalties on the coefficient matrix W, of shape (n_features, n_columns)."""

from __future__ import annotations

from polytask.penalties.base import (
    BlockSeparable,
    Columns,
    CompiledRows,
    Composed,
    Conjugate,
    Mergeable,
    Nonconvex,
    NullStrength,
    Penalty,
    Proximable,
    Quadratic,
    RowKernel,
    RowSeparable,
    Shifted,
    Smooth,
)
from polytask.penalties.by_feature import bounded, positive, weighted
from polytask.penalties.couplings import (
    AlongTime,
    Coupling,
    TowardMean,
    along_time,
    coupling,
    toward_mean,
)
from polytask.penalties.decomposition import Split, decompose
from polytask.penalties.fused import FusedTasks
from polytask.penalties.graphs import AlongGraph, NetworkLasso, along_graph
from polytask.penalties.groups import GroupNorm, OutlierTasks
from polytask.penalties.latent import LatentTasks
from polytask.penalties.nonconvex import MCP, SCAD, CappedL21, reweighted
from polytask.penalties.parsing import PENALTIES, parse, register
from polytask.penalties.parts import Parts, dirty, robust, robust_features, sparse_low_rank
from polytask.penalties.row_groups import L1Inf, TreeGroup
from polytask.penalties.rows import L1, L2, L21, ElasticNet, SparseGroup
from polytask.penalties.spectral import (
    AlternatingStructure,
    Clustered,
    LearnedCovariance,
    TraceNorm,
)
from polytask.penalties.sums import Sum

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
    "BlockSeparable",
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

register({name: globals()[name] for name in __all__})
