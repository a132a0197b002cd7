"""Which of two ways integrates out the coefficients of rows with correlated noise."""

from __future__ import annotations

from polytask.bayes.blocks import Array, Chosen
from polytask.bayes.correlated import JointRows
from polytask.bayes.correlated_gaps import GappedRows
from polytask.bayes.correlated_reduce import JointReduced, WholeRows


def reduced(rows: JointRows, L: Array, varying: Chosen, noise: Array) -> JointReduced:
    """Integrate out the coefficients.

    Parameters
    ----------
    rows : JointRows
        Every task has a label.
    L : ndarray of shape (q, r)
        Factor of the covariance of the coefficients that vary.
    varying : ndarray of int of shape (q,) or slice
        Their columns.
    noise : ndarray of shape (T, T)
        Covariance of the noise.
    """
    if len(rows.count) == 1:
        return WholeRows(rows, L, varying, noise)
    return GappedRows(rows, L, varying, noise)
