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
from polytask.penalties.columns import Columns
from polytask.penalties.couplings import Coupling, TowardMean, coupling, toward_mean
from polytask.penalties.decomposition import Split, decompose
from polytask.penalties.parse import PENALTIES
from polytask.penalties.rowwise import L1, L2, L21, ElasticNet, SparseGroup
from polytask.penalties.shifts import Shifted
from polytask.penalties.spectral import TraceNorm
from polytask.penalties.sums import Sum

__all__ = [
    # what users choose
    "L1",
    "L2",
    "ElasticNet",
    "L21",
    "SparseGroup",
    "TraceNorm",
    "coupling",
    "toward_mean",
    # what they are made of
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
