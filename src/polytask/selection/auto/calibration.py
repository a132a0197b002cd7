"""Probabilities made bolder or more careful, as far as held-out rows ask for it.

Candidates are weighed by what they lose, and the log loss punishes a model that ranks well with
probabilities that are too careful, as those of a forest are, or too bold, as those of boosting
on few rows. Two numbers per candidate mend that and leave its order of the rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from polytask._registry import saveable
from polytask.selection.auto.mixing import LEAST_PROBABILITY, HeldRows, as_good

Array = NDArray[np.float64]

# Beyond them a model says nothing, or all that its order of the rows can say.
_BOUNDS = ((0.05, 20.0), (-20.0, 20.0))


@saveable("selection.auto_calibration")
@dataclass(frozen=True)
class Calibration:
    """Probabilities in proportion to ``p ** boldness * share ** base``."""

    # For two classes: log odds are multiplied by `boldness`, and `base` times the log odds of the
    # classes' shares is added.

    boldness: float = 1.0
    base: float = 0.0

    def applied(self, P: Array, shares: Array) -> Array:
        """Return probabilities so scaled. Shapes: P (n, K), shares (K,), result (n, K)."""
        if self == AS_GIVEN:
            return P
        logs = self.boldness * _logs(P) + self.base * _logs(shares)
        scaled = np.exp(logs - np.nanmax(logs, axis=1, keepdims=True))
        return np.asarray(scaled / np.nansum(scaled, axis=1, keepdims=True))


AS_GIVEN = Calibration()


def _logs(P: Array) -> Array:
    return np.asarray(np.log(np.maximum(P, LEAST_PROBABILITY)))


def seen_first(P: Array, seen: NDArray[np.intp]) -> Array:
    """Return the rows of a table with the column of the class that was seen in front."""
    front = seen[:, None] == np.arange(P.shape[1])
    return np.column_stack([P[front], P[~front].reshape(len(P), -1)])


def stacked(tables: list[Array]) -> Array:
    """Return tables below each other, NaN for a class that only rows of others can have."""
    width = max(table.shape[1] for table in tables)
    gaps = [((0, 0), (0, width - table.shape[1])) for table in tables]
    return np.concatenate(
        [np.pad(t, gap, constant_values=np.nan) for t, gap in zip(tables, gaps, strict=True)]
    )


def best_calibration(
    P: Array, shares: Array, weight: Array, start: Calibration = AS_GIVEN
) -> Calibration:
    """Return the calibration of least log loss, a convex problem."""
    # Shapes: P, shares (n, K), weight (n,).
    # What was seen counts as one row in n + 2 less than certain, so that a model that was never
    # wrong on few rows is not made certain.
    possible = ~np.isnan(P)
    odds = np.stack([np.nan_to_num(logs - logs[:, :1]) for logs in (_logs(P), _logs(shares))])
    doubt = 1.0 / (np.count_nonzero(weight) + 2)
    # The others share the doubt.
    wanted = doubt * odds.sum(axis=2) / np.maximum(possible.sum(axis=1) - 1, 1)
    share = weight / max(weight.sum(), np.finfo(float).tiny)

    def loss(at: Array) -> tuple[float, Array]:
        scores = np.where(possible, np.tensordot(at, odds, 1), -np.inf)
        total = logsumexp(scores, axis=1)
        said = np.einsum("nk,pnk->pn", np.exp(scores - total[:, None]), odds)
        return float(share @ (total - at @ wanted)), np.asarray((said - wanted) @ share)

    found = minimize(
        loss, [start.boldness, start.base], jac=True, method="L-BFGS-B", bounds=_BOUNDS
    )
    return Calibration(*(float(value) for value in found.x))


def calibrated(P: Array, shares: Array, held: HeldRows) -> tuple[Array, Calibration]:
    """Return probabilities of the classes that were seen, and the calibration of a candidate."""
    # Shapes: P, shares (N, K), values (N,).
    given, everything = P[:, 0], best_calibration(P, shares, held.weight)
    values = given.copy()
    for fold in np.unique(held.fold):
        out = held.fold == fold
        # What is learned from no rows is no calibration.
        if not out.all():
            known = best_calibration(P[~out], shares[~out], held.weight[~out], everything)
            values[out] = known.applied(P[out], shares[out])[:, 0]
    better = held.loss.losses(given, held.y) - held.loss.losses(values, held.y)
    return (given, AS_GIVEN) if as_good(better, held) else (values, everything)
