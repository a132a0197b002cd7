"""The convex form of alternating structure optimisation: a subspace that the tasks share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from polytask._checks import positive, positive_integer
from polytask._linalg import Array, namespace, thin_svd
from polytask._registry import saveable
from polytask.penalties.spectral_boxes import Box, SpectralBox, direction_weights, true_values
from polytask.penalties.terms import ALPHA, checked_by


@final
@saveable("penalty.alternating_structure")
@dataclass(frozen=True, eq=False, repr=False)
class AlternatingStructure(SpectralBox):
    """alpha * r (1 + r) * min over M of tr(W' (r I + M)^-1 W), r = ratio: a shared subspace.

    M, of shape (n_features, n_features), is symmetric with eigenvalues in [0, 1] and the trace
    n_dimensions: the convex relaxation [2]_ of the projection on a subspace of so many
    directions of the features, which all tasks share. With a basis Theta of it every task is
    ``w_t = u_t + Theta v_t`` [1]_, and costs ``alpha * (||u_t||^2 + r ||w_t||^2)``: what lies in
    the subspace costs alpha * r, what does not alpha * (1 + r). The data choose the subspace;
    :meth:`subspace` reads it off the solution.

    For many tasks that depend on a few common combinations of the features, and each a little
    on others: unlike ``TraceNorm`` it leaves the common combinations nearly unpenalised for a
    small ratio, and sets nothing to zero. Not for few tasks, nor to choose features. As a
    function of W it is ``Clustered`` with as many clusters as dimensions [3]_, whose M is
    between tasks and not between features; use the one whose M you want to read. With
    n_dimensions no less than the number of columns, or of features, it is
    ``L2(2 * alpha * ratio)``.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0; None means 1.0.
    ratio : float, default=0.1
        What the shared directions cost relative to the others, r / (1 + r), by r > 0.
    n_dimensions : int, default=2
        The number of shared directions, >= 1.

    References
    ----------
    .. [1] Ando, R. K. and Zhang, T. (2005). A framework for learning predictive structures
       from multiple tasks and unlabeled data. JMLR 6, 1817-1853.
    .. [2] Chen, J., Tang, L., Liu, J. and Ye, J. (2009). A convex formulation for learning
       shared structures from multiple tasks. ICML, 137-144.
    .. [3] Zhou, J., Chen, J. and Ye, J. (2011). Clustered multi-task learning via
       alternating structure optimization. NIPS 24.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.penalties import AlternatingStructure
    >>> W = np.outer([3.0, 4.0, 0.0], [1.0, -2.0, 0.5, 1.0])
    >>> np.abs(AlternatingStructure(n_dimensions=1).subspace(W)).round(3).tolist()
    [[0.6], [0.8], [0.0]]
    """

    label = "AlternatingStructure"

    alpha: float | None = field(default=None, metadata=ALPHA)
    ratio: float = field(default=0.1, metadata=checked_by(positive))
    n_dimensions: int = field(default=2, metadata=checked_by(positive_integer))

    @property
    def _box(self) -> Box:
        """S is r I + M; its eigenvalues beyond those of W cost nothing, wherever they are."""
        ratio = self.ratio
        return Box(ratio, self.n_dimensions, 2 * self.weight * ratio * (1 + ratio))

    def structure(self, W: Array) -> Array:
        """Return M, the relaxed projection at which the minimum is attained.

        Parameters
        ----------
        W : array of shape (n_features, n_columns)
            Coefficients, ``model.coef_.T`` of a fitted model.

        Returns
        -------
        array of shape (n_features, n_features)
            Symmetric, with eigenvalues in [0, 1] and the trace n_dimensions, or the rank of W
            if that is less. Where the shared subspace is clear, it is nearly the projection
            on it.
        """
        if 0 in W.shape:
            return namespace(W).zeros_like(W @ W.T)
        left, values, _ = thin_svd(W)
        weights = direction_weights(true_values(values, W), self.ratio, self.n_dimensions)
        return (left * weights[None, :]) @ left.T

    def subspace(self, W: Array) -> Array:
        """Return Theta, an orthonormal basis of the shared subspace.

        Parameters
        ----------
        W : array of shape (n_features, n_columns)
            Coefficients, ``model.coef_.T`` of a fitted model; with ``standardize=True``
            multiply its rows by ``model.feature_scale_`` for the units of the penalty.

        Returns
        -------
        array of shape (n_features, n)
            The eigenvectors of the n largest eigenvalues of M, which are the leading left
            singular vectors of W, n being n_dimensions or the rank of W if that is less.
            Signs are arbitrary; ``Theta.T @ W`` are the coordinates of the tasks.
        """
        if 0 in W.shape:
            return W[:, :0]
        left, values, _ = thin_svd(W)
        rank = int((true_values(values, W) > 0).sum())
        return left[:, : min(self.n_dimensions, rank)]
