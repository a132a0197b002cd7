"""Coefficients as a shared matrix times sparse codes: tasks that overlap in part."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import final

import numpy as np

from polytask._checks import positive_integer
from polytask._linalg import Array, largest, row_norms
from polytask._registry import saveable
from polytask.exceptions import DataWarning, IncompatibleError
from polytask.messages import LazyMessage
from polytask.penalties.base import Columns, OfFactors
from polytask.penalties.terms import ALPHA, FRACTION, RelativeTerm, checked_by


@final
@saveable("penalty.latent_tasks")
@dataclass(frozen=True, eq=False, repr=False)
class LatentTasks(RelativeTerm, OfFactors):
    """W = L S: a few latent tasks L, and sparse codes S that say which of them a task draws on.

    ``alpha * (1/2 ||L||_F^2 + sum |S|)``, minimised over L of shape (n_features, n_latent) and S
    of shape (n_latent, n_columns) [1]_. Tasks that draw on the same latent tasks share them;
    groups may overlap, and a task that shares nothing has a latent task of its own. One strength
    is enough: another weight of either term only changes the scale on which L and S meet. Use it
    when tasks overlap in part and in ways that are unknown. Not when one group is all there is
    (``TraceNorm``, ``toward_mean``), and not for an answer that can be proved best: the objective
    is not convex, what is found is a stationary point, the lowest of several starts.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    n_latent : int, default=2
        Number of latent tasks, >= 1; at most as many as columns are of use.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of ``(s / 2)^(4/3)``, s being the largest norm of a
        column of the gradient at W = 0: there, with uncorrelated features of variance 1 and the
        squared loss, one latent task for one column lowers the loss by what it costs. W = 0 is a
        local minimum at every strength, so this is a scale of the data and no null strength.
        Without alpha and fraction it is 0.1.

    References
    ----------
    .. [1] A. Kumar and H. Daumé III, "Learning task grouping and overlap in multi-task learning",
       ICML 2012, Equation 4.
    """

    label = "LatentTasks"

    alpha: float | None = field(default=None, metadata=ALPHA)
    n_latent: int = field(default=2, metadata=checked_by(positive_integer))
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)
    # No strength is proved to make every coefficient vanish.
    capabilities = frozenset({OfFactors})

    def null_strength(self, gradient: Array) -> float:
        """Return the strength that a fraction refers to, as for uncorrelated features."""
        # A step r down one column costs 1.5 alpha r^(2/3), with factors at their best scale, and
        # gains r s - r^2 / 2 if its gradient has the norm s: no more than that from
        # alpha = (s / 2)^(4/3) on.
        return float((0.5 * largest(row_norms(gradient.T))) ** (4.0 / 3.0))

    def bind(self, columns: Columns) -> LatentTasks:
        """Return the penalty itself, after a look at whether all latent tasks are of use."""
        if self.n_latent > columns.n_columns:
            fields = {"latent": self.n_latent, "columns": columns.n_columns}
            warnings.warn(DataWarning(LazyMessage("warn.latent", fields)), stacklevel=2)
        return self

    def value(self, W: Array) -> float:
        """Refuse: the value belongs to factors, not to their product.

        Raises
        ------
        IncompatibleError
            Always; ``factored_value`` takes the factors.
        """
        raise IncompatibleError(LazyMessage("penalty.refusal.latent_value"))

    def factored_value(self, L: Array, S: Array) -> float:
        """Return the value of factors.

        Parameters
        ----------
        L : ndarray of shape (n_features, n_latent)
            Latent tasks.
        S : ndarray of shape (n_latent, n_columns)
            Codes.
        """
        return self.weight * (0.5 * float(np.vdot(L, L)) + float(np.abs(S).sum()))
