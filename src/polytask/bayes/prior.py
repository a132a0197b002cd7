"""The prior that a collection of tasks teaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._registry import saveable
from polytask.exceptions import DataError

Array = NDArray[np.float64]


@saveable("bayes.prior")
@dataclass(frozen=True, eq=False)
class Prior:
    """What is known about the coefficients of a task before its rows are seen.

    In the units in which it was learned, scaled features with a column of ones in front:
    the coefficients of a task are ``mean``, and on top of it, for the columns in ``varying``,
    a normal deviation with mean 0 and ``covariance``.

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
    """

    mean: Array
    covariance: Array
    varying: NDArray[np.intp]
    noise: Array | float | None
    mean_covariance: Array | None = None

    def __post_init__(self) -> None:
        """Check that the shapes agree.

        Raises
        ------
        DataError
            If they do not.
        """
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

    @property
    def spread(self) -> Array:
        """Covariance of a new task's coefficients in all p columns, shape (p, p)."""
        p = len(self.mean)
        full = np.zeros((p, p)) if self.mean_covariance is None else self.mean_covariance.copy()
        full[np.ix_(self.varying, self.varying)] += self.covariance
        return full
