"""The prior that a collection of tasks teaches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._registry import saveable
from polytask.bayes.row_space import RowSpace, opened_rows, opened_square
from polytask.exceptions import DataError

Array = NDArray[np.float64]


@saveable("bayes.prior")
@dataclass(frozen=True, eq=False)
class Prior:
    """What is known about the coefficients of a task before its rows are seen.

    In the units in which it was learned, scaled features with a column of ones in front:
    the coefficients of a task are ``mean``, and on top of it, for the columns in ``varying``,
    a normal deviation with mean 0 and ``covariance``.

    With more features than rows the columns are not those of the features but the coordinates of
    `space`: one for the intercept, one for each direction that the rows span, and one that stands
    for all others; ``lifted`` returns coefficients of the features.

    Attributes
    ----------
    mean : ndarray of shape (p,)
        Mean coefficients; the first is the intercept.
    covariance : ndarray of shape (q, q)
        Covariance of the deviations.
    varying : ndarray of int of shape (q,)
        Which of the p columns vary between tasks; the first is 0, the intercept.
    noise : ndarray of shape (n_tasks,) or float, or None
        Variance of the noise, per task or of all; None for classes.
    mean_covariance : ndarray of shape (p, p) or None
        How uncertain the mean is; None if it counts as known.
    space : RowSpace or None
        The coordinates; None means the features.
    """

    mean: Array
    covariance: Array
    varying: NDArray[np.intp]
    noise: Array | float | None
    mean_covariance: Array | None = None
    space: RowSpace | None = None

    def __post_init__(self) -> None:
        """Check that the shapes agree."""
        p, q = len(self.mean), len(self.varying)
        if np.shape(self.covariance) != (q, q):
            got = f"shape {np.shape(self.covariance)}"
            raise DataError(sentence("covariance", "Prior", f"of shape {(q, q)}", got))
        if self.mean_covariance is not None and np.shape(self.mean_covariance) != (p, p):
            got = f"shape {np.shape(self.mean_covariance)}"
            raise DataError(sentence("mean_covariance", "Prior", f"of shape {(p, p)}", got))
        if q == 0 or self.varying[0] != 0 or np.any((self.varying < 0) | (self.varying >= p)):
            allowed = f"column numbers below {p} that begin with 0, the intercept"
            raise DataError(sentence("varying", "Prior", allowed, repr(list(self.varying))))
        if self.space is not None and (p, q) != (self.space.width, self.space.width):
            allowed = f"of {self.space.width} coordinates that all vary, as space"
            raise DataError(sentence("mean", "Prior", allowed, f"{p}, of which {q} vary"))

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.mean) - 1 if self.space is None else self.space.n_features

    def coordinates(self, Z: Array) -> Array:
        """Return rows of shape (n, 1 + n_features) in the columns of the prior, (n, p)."""
        return Z if self.space is None else self.space.coordinates(Z)

    def lifted(self, W: Array) -> Array:
        """Return coefficients (k, p) as those of the features, shape (k, 1 + n_features)."""
        return W if self.space is None else self.space.lifted(W)

    def lowered(self, W: Array) -> Array:
        """Return coefficients of the features that the rows determine in the columns (k, p)."""
        return W if self.space is None else self.space.lowered(W)

    def opened(self, Z: Array) -> Prior:
        """Return the same prior in coordinates that hold further rows, for them to be learned.

        Parameters
        ----------
        Z : ndarray of shape (n, 1 + n_features)
            Scaled rows with ones in front.

        Returns
        -------
        Prior
            Its first columns but the last are those of this one.
        """
        if self.space is None or not len(Z):
            return self
        space = self.space.extended(Z[:, 1:])
        more = space.width - self.space.width
        if not more:
            return self
        S = self.mean_covariance
        return replace(
            self,
            mean=opened_rows(self.mean, more),
            covariance=opened_square(self.covariance, more),
            varying=np.arange(space.width, dtype=np.intp),
            mean_covariance=None if S is None else opened_square(S, more),
            space=space,
        )

    @property
    def spread(self) -> Array:
        """Covariance of a new task's coefficients in all p columns, shape (p, p)."""
        p = len(self.mean)
        full = np.zeros((p, p)) if self.mean_covariance is None else self.mean_covariance.copy()
        full[np.ix_(self.varying, self.varying)] += self.covariance
        return full
