"""Which of two ways integrates out the coefficients of rows with correlated noise."""

from __future__ import annotations

from polytask.bayes.blocks import Array, Chosen
from polytask.bayes.correlated import JointRows
from polytask.bayes.correlated_gaps import GappedRows
from polytask.bayes.correlated_reduce import JointReduced, WholeRows


def reduced(rows: JointRows, L: Array, varying: Chosen, noise: Array) -> JointReduced:
    """Integrate out the coefficients. Shapes: L (q, r), varying (q,), noise (T, T)."""
    if len(rows.count) == 1:
        return WholeRows(rows, L, varying, noise)
    return GappedRows(rows, L, varying, noise)
