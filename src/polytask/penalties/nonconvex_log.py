"""Reweighted norms of rows: each stage weighs a feature by the inverse of its last norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np

from polytask._checks import positive
from polytask._linalg import Array, namespace, total
from polytask._registry import State, saveable
from polytask.exceptions import IncompatibleError
from polytask.penalties.base import CompiledRows, Nonconvex, NullStrength, Penalty
from polytask.penalties.columns import Columns
from polytask.penalties.nonconvex import tangent
from polytask.penalties.row_norms import RowNorm
from polytask.penalties.row_values import ByRow, row_values
from polytask.penalties.rowwise import L1, L21, SparseGroup
from polytask.penalties.shifts import shift
from polytask.penalties.sums import Operators

_OWNER = "reweighted"


@final
@saveable("penalty.reweighted")
@dataclass(frozen=True, eq=False, repr=False)
class ReweightedRows(Operators, ByRow, NullStrength, Nonconvex):
    """A logarithm of norms of rows, made by :func:`reweighted`."""

    # Its parameters are those of the norm, and ``eps``.

    penalty: Any  # a norm of rows: see `reweighted`
    eps: float

    def __post_init__(self) -> None:
        """Check the number."""
        object.__setattr__(self, "eps", positive(self.eps, "eps", _OWNER))

    @property
    def strength(self) -> float | None:
        """The strength of the norm: the slope at zero."""
        strength: float | None = self.penalty.strength
        return strength

    @property
    def null_point(self) -> Array | None:
        """None: the penalty vanishes at W = 0."""
        return None

    def with_strength(self, alpha: float) -> Penalty:
        """Return the penalty with another strength."""
        return ReweightedRows(self.penalty.with_strength(alpha), self.eps)

    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the penalty."""
        return ReweightedRows(self.penalty.scaled(factor), self.eps)

    def shifted(self, W0: Array) -> Penalty:
        """Return the penalty of W - W0."""
        return shift(self, W0)

    def bind(self, columns: Columns) -> Penalty:
        """Return a copy that knows tasks and classes."""
        return ReweightedRows(self.penalty.bind(columns), self.eps)

    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty with its fraction turned into a strength."""
        return ReweightedRows(self.penalty.resolved(gradient), self.eps)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the norm, and eps."""
        params: dict[str, Any] = self.penalty.get_params(deep)
        return params | {"eps": self.eps}

    def replace(self, name: str, value: object) -> Penalty:
        """Return a copy with one parameter changed."""
        if name == "eps":
            return ReweightedRows(self.penalty, positive(value, "eps", _OWNER))
        return ReweightedRows(self.penalty.replace(name, value), self.eps)

    def to_state(self) -> State:
        """Return the norm and eps."""
        return {"penalty": self.penalty, "eps": self.eps}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the penalty from :meth:`to_state`."""
        return cls(state["penalty"], state["eps"])

    def __repr__(self) -> str:
        """Show the norm and eps."""
        return f"reweighted({self.penalty!r}, eps={self.eps!r})"

    def _sizes(self, W: Array) -> Array:
        return row_values(self.penalty.with_strength(1.0), W)

    def null_strength(self, gradient: Array) -> float:
        """Return that of the norm: from there on W = 0 is a stationary point."""
        return float(self.penalty.null_strength(gradient))

    def value_by_row(self, W: Array) -> Array:
        """Return what each row adds to the value, of shape (n_rows,)."""
        sizes = self._sizes(W)
        return self.penalty.weight * self.eps * namespace(W).log1p(sizes / self.eps)

    def value(self, W: Array) -> float:
        """Return the value at W."""
        return total(self.value_by_row(W))

    def majorised(self, W: Array) -> Penalty:
        """Return the norm with the weight eps / (eps + norm of the row) for each feature."""
        return tangent(self.penalty, self.eps / (self.eps + np.asarray(self._sizes(W))))


def reweighted(penalty: Penalty, eps: float = 0.1) -> Penalty:
    """Weigh every feature by the inverse of its own norm, stage after stage.

    Sum over features of ``alpha eps log(1 + q(W_j) / eps)``, q being the norm of a row that the
    penalty has with alpha = 1. Its stages are weighted problems with the weights
    ``eps / (eps + q(W_j))`` from the last stage [1]_, 1 at first; with two stages it is an
    adaptive lasso. Strong features are penalised less than weak ones, however strong they are:
    less bias than ``L21``, without a threshold to choose as in ``CappedL21``. Not convex: the
    answer is a stationary point. Not where all features are of one strength, which gains
    nothing.

    Parameters
    ----------
    penalty : Penalty
        L21, L1, SparseGroup, L1Inf, TreeGroup or another norm of rows. Weights are those of
        features, also with L1: q is then the sum of absolute values of a row.
    eps : float, default=0.1
        > 0: the norm at which the weight is a half. Small values come near to counting
        features; large ones near to the norm. In the units of scaled features and targets,
        where these are scaled.

    Returns
    -------
    Penalty

    Raises
    ------
    IncompatibleError
        If the penalty is not a norm of rows.

    References
    ----------
    .. [1] Candes, E., Wakin, M. and Boyd, S. (2008). Enhancing sparsity by reweighted l1
       minimization. Journal of Fourier Analysis and Applications 14, 877-905, Section 2.2; with
       norms of rows: Strohmeier, D., Bekhti, Y., Haueisen, J. and Gramfort, A. (2016). The
       iterative reweighted mixed-norm estimate for spatio-temporal MEG/EEG source
       reconstruction. IEEE Transactions on Medical Imaging 35, 2218-2228, Algorithm 1.

    Examples
    --------
    >>> from polytask.penalties import L21, reweighted
    >>> reweighted(L21(0.1), eps=0.5)
    reweighted(L21(alpha=0.1), eps=0.5)
    """
    norm = isinstance(penalty, L1 | L21 | SparseGroup | RowNorm)
    if not (norm and isinstance(penalty, CompiledRows)):
        raise IncompatibleError(
            f"{penalty!r} cannot be reweighted: it is not a single norm of rows. L21, L1, "
            "SparseGroup, L1Inf, FusedTasks and TreeGroup are."
        )
    return ReweightedRows(penalty, eps)
