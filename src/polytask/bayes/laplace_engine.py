"""What a search for the prior of logistic tasks needs to know at a point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.bayes.laplace_blocks import Spread
from polytask.bayes.laplace_evidence import evidence
from polytask.bayes.laplace_mode import Beliefs, Mode, Point, posterior_mode
from polytask.bayes.laplace_rows import Labelled, RowBlock

Array = NDArray[np.float64]

# Standard deviation of a mean that is left to the data: finite, so that separable rows have a
# finite answer, and far wider than any odds ratio per unit.
FLAT_DEVIATION = 100.0


@dataclass(frozen=True, eq=False)
class Found:
    """The evidence of a prior, and where its posterior has its mode."""

    # Shapes: slope (q, q), second (q, q).

    value: float
    slope: Array
    mean_slope: float
    second: Array
    mean_second: float
    converged: bool
    point: Point
    posterior: tuple[Beliefs, Mode] | None


class Engine(ABC):
    """Evaluates priors of the same labels. Shapes: copies (q,)."""

    copies: Array

    @abstractmethod
    def at(self, factor: Array, mean_variance: float | None) -> Found:
        """Evaluate a prior. Shapes: factor (q, r)."""


class WeightEngine(Engine):
    """The posterior in the weights, for any covariance. Shapes: copies (p,)."""

    def __init__(
        self,
        labelled: Labelled,
        blocks: list[RowBlock],
        varying: tuple[int, ...],
        copies: Array,
        independent: bool = False,
    ) -> None:
        self._labelled, self._blocks = labelled, blocks
        self._independent = independent
        self._varying = np.array(varying, dtype=np.intp)
        self._every, self.copies = copies, copies[self._varying]
        self.point: Point | None = None

    def at(self, factor: Array, mean_variance: float | None) -> Found:
        """Evaluate a prior."""
        beliefs = self._beliefs(factor, mean_variance)
        mode = self._mode(beliefs)
        found = evidence(mode, beliefs, independent=self._independent)
        moment = mode.point.mean**2
        if mode.inverse_root is not None:
            moment = moment + np.sum(mode.inverse_root**2, axis=0)
        several, mean_slope = self._every[1:], 0.0
        if found.precision_gradient is not None and mean_variance is not None:
            mean_slope = -float(found.precision_gradient[1:].sum()) / mean_variance**2
        return Found(
            value=found.value,
            slope=found.covariance_gradient,
            mean_slope=mean_slope,
            second=found.second_moment,
            mean_second=float(moment[1:] @ several) / max(float(several.sum()), 1.0),
            converged=mode.converged,
            point=mode.point,
            posterior=(beliefs, mode),
        )

    def posterior(self, factor: Array, mean_variance: float | None) -> tuple[Beliefs, Mode]:
        """Return a prior and its posterior."""
        beliefs = self._beliefs(factor, mean_variance)
        return beliefs, self._mode(beliefs)

    def _beliefs(self, factor: Array, mean_variance: float | None) -> Beliefs:
        precision = np.full(self._labelled.width, FLAT_DEVIATION**-2.0)
        if mean_variance is not None:
            precision[1:] = 1.0 / mean_variance
        zeros = np.zeros(self._labelled.width)
        return Beliefs(Spread.of(factor, self._varying), precision, zeros)

    def _mode(self, beliefs: Beliefs) -> Mode:
        """Return the posterior mode, starting at the last one if that is nearer than zero."""
        zero = Point(beliefs.mean.copy(), np.zeros((self._labelled.n_tasks, len(self._varying))))
        starts = [zero]
        if self.point is not None and self.point.alpha.shape == zero.alpha.shape:
            starts.append(self.point)
        mode = posterior_mode(self._blocks, beliefs, starts)
        self.point = mode.point
        return mode
