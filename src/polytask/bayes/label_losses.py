"""What labels of every kind lose: classes, counts, amounts and numbers side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.special
from numpy.typing import NDArray

from polytask.losses import Gamma, Logistic, LogLink, Loss, Poisson, Squared

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_TINY = np.finfo(float).tiny
# Beyond it exponentials overflow; no search ends there.
_FARTHEST = 500.0
# Logs of dispersions stay within these: with less noise than a hundredth or so of what numbers
# vary by the evidence loses digits. Counts vary by no less than Poisson's law says.
_LOG_DISPERSIONS = (-10.0, 10.0)


class Labels(Protocol):
    """Labels with their weights, of one shape; `loss` says which loss each has, None the first.

    What is not learned here is added to their predictors as `offset`, None: nothing.
    """

    @property
    def y(self) -> Array:
        """Targets."""

    @property
    def weight(self) -> Array:
        """Weights."""

    @property
    def loss(self) -> Index | None:
        """Positions of their losses."""

    @property
    def offset(self) -> Array | None:
        """What is added to their predictors."""


@dataclass(frozen=True)
class LabelLoss:
    """Minus the log density of a label, up to a number of the label alone.

    The loss of polytask.losses is taken at the predictor plus `offset`, and divided by the
    `dispersion`: the variance of numbers, the inverse shape of amounts, and for counts the
    variance over the mean, by the extended quasi-likelihood of Nelder and Pregibon (Biometrika
    74, 1987, equation 2). None: of classes, which have none.
    """

    # Of several kinds with the same loss at once: an array with a number for every label.

    loss: Loss = Logistic()  # noqa: RUF009 - immutable
    offset: Any = 0.0
    dispersion: Any = None

    def value(self, y: Array, eta: Array) -> Array:
        """Return the loss of every label."""
        found = self.undivided(y, eta)
        return found if self.dispersion is None else found / self.dispersion + self._level()[0]

    def residual(self, y: Array, eta: Array) -> Array:
        """Return minus its derivative."""
        return self._divided(-self.loss.gradient(y, self._predictor(eta)))

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return its second derivative."""
        return self._divided(self.loss.curvature(y, self._predictor(eta)))

    def third_derivative(self, y: Array, eta: Array) -> Array:
        """Return its third derivative."""
        curvature = self.curvature(y, eta)
        if isinstance(self.loss, LogLink):
            return self.loss.side * curvature
        rate = 0.0 if isinstance(self.loss, Squared) else -np.tanh(0.5 * eta)
        return np.asarray(curvature * rate)

    def undivided(self, y: Array, eta: Array) -> Array:
        """Return the loss of every label at a dispersion of 1, without what that adds."""
        return np.asarray(self.loss.value(y, self._predictor(eta)))

    def total(self, undivided: float, weight: float) -> float:
        """Return the sum of losses of some weight from that of the undivided ones."""
        if self.dispersion is None:
            return undivided
        return float(undivided / self.dispersion + weight * self._level()[0])

    def by_dispersion(self, mean_loss: float) -> float:
        """Return minus the derivative by the log dispersion, for undivided losses of a mean."""
        return float(mean_loss / self.dispersion - self._level()[1])

    def estimated(self, mean_loss: float) -> LabelLoss:
        """Return the loss with the likeliest dispersion where undivided losses have this mean."""
        if self.dispersion is None or np.isnan(mean_loss):
            return self
        s = max(mean_loss, _TINY)
        if isinstance(self.loss, Gamma):
            # Minka (2002), Estimating a gamma distribution: where log v - digamma(v) = s.
            dispersion = 12.0 * s / (3.0 - s + np.sqrt((s - 3.0) ** 2 + 24.0 * s))
        else:
            dispersion = 2.0 * s
        return replace(self, dispersion=float(np.exp(np.clip(np.log(dispersion), *self.bounds))))

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds of the log dispersion."""
        low, high = _LOG_DISPERSIONS
        return (0.0 if isinstance(self.loss, Poisson) else low), high

    def _predictor(self, eta: Array) -> Array:
        if not isinstance(self.loss, LogLink):
            return eta
        return np.asarray(np.clip(eta + self.offset, -_FARTHEST, _FARTHEST))

    def _divided(self, values: Array) -> Array:
        return values if self.dispersion is None else values / self.dispersion

    def _level(self) -> tuple[Any, Any]:
        """Return what the dispersion adds to the loss, and the derivative by its logarithm."""
        if not isinstance(self.loss, Gamma):
            return 0.5 * np.log(2.0 * np.pi * self.dispersion), 0.5
        v = 1.0 / self.dispersion
        level = v - v * np.log(v) + scipy.special.gammaln(v)
        return level, v * (np.log(v) - scipy.special.digamma(v))


# Labels, their predictors and the posterior variances of these, and how far the pulls of
# :func:`polytask.bayes.laplace.evidence` move the predictors.
Moved = tuple[Labels, Array, Array, Array]


@dataclass(frozen=True, eq=False)
class Dispersions:
    """What the evidence says about the dispersions of those losses that have one."""

    # Shapes: slope, expected (k,), weight (K,).

    slope: Array  # its derivative by their logs
    expected: Array  # their logs after an EM step
    weight: Array  # of the labels of each kind


@dataclass(frozen=True)
class LabelLosses:
    """The losses of labels of several kinds, by their positions."""

    kinds: tuple[LabelLoss, ...] = (LabelLoss(),)

    @property
    def dispersed(self) -> list[int]:
        """Positions of those that have a dispersion."""
        return [k for k, kind in enumerate(self.kinds) if kind.dispersion is not None]

    def value(self, labels: Labels, eta: Array) -> float:
        """Return the weighted sum of the losses."""
        return float(np.sum(self._each(LabelLoss.value, labels, eta)))

    def residuals(self, labels: Labels, eta: Array) -> Array:
        """Return minus the first derivative of the loss of every label."""
        return self._each(LabelLoss.residual, labels, eta)

    def curvatures(self, labels: Labels, eta: Array) -> Array:
        """Return the second derivative of the loss of every label."""
        return self._each(LabelLoss.curvature, labels, eta)

    def third_derivatives(self, labels: Labels, eta: Array) -> Array:
        """Return the third derivative of the loss of every label."""
        return self._each(LabelLoss.third_derivative, labels, eta)

    def undivided(self, labels: Labels, eta: Array) -> Array:
        """Return the weighted loss of every label at dispersions of 1, without what they add."""
        return self._each(LabelLoss.undivided, labels, eta)

    def total(self, undivided: Array, weight: Array) -> float:
        """Return the sum of the losses of labels of each kind. Shapes: both (K,)."""
        sums = zip(self.kinds, undivided.tolist(), weight.tolist(), strict=True)
        return sum(kind.total(loss, own) for kind, loss, own in sums)

    def mean_losses(self, labels: Labels, eta: Array) -> Array:
        """Return the mean undivided loss of the labels of each kind, NaN without any, (K,)."""
        total = self._sums(labels, self.undivided(labels, eta))
        return _means(total, self._sums(labels, labels.weight))

    def dispersions(self, parts: Sequence[Moved]) -> Dispersions:
        """Return what the evidence says about the dispersions."""
        weight, undivided, traces, implicit = np.zeros((4, len(self.kinds)))
        for labels, eta, variances, change in parts if self.dispersed else ():
            weight += self._sums(labels, labels.weight)
            undivided += self._sums(labels, self.undivided(labels, eta))
            traces += self._sums(labels, self.curvatures(labels, eta) * variances)
            implicit += self._sums(labels, self.residuals(labels, eta) * change)
        return self.dispersions_of(weight, undivided, traces, implicit)

    def dispersions_of(
        self, weight: Array, undivided: Array, traces: Array, implicit: Array
    ) -> Dispersions:
        """Return the same of sums over the labels of each kind, every one of shape (K,)."""
        # `traces` are of curvatures times variances, `implicit` of residuals times changes.
        means = _means(undivided + 0.5 * traces * self.dispersions_by_kind, weight)
        slopes = [
            weight[k] * self.kinds[k].by_dispersion(means[k]) - implicit[k] if weight[k] else 0.0
            for k in self.dispersed
        ]
        return Dispersions(np.array(slopes), self.estimated(means).log_dispersions, weight)

    def at(self, log_dispersions: Array) -> LabelLosses:
        """Return the same losses with other dispersions, of those that have some."""
        kinds = list(self.kinds)
        for k, value in zip(self.dispersed, np.exp(log_dispersions).tolist(), strict=True):
            kinds[k] = replace(kinds[k], dispersion=value)
        return LabelLosses(tuple(kinds))

    def estimated(self, mean_losses: Array) -> LabelLosses:
        """Return the losses with their likeliest dispersions. Shapes: mean_losses (K,)."""
        pairs = zip(self.kinds, mean_losses.tolist(), strict=True)
        return LabelLosses(tuple(kind.estimated(mean) for kind, mean in pairs))

    @property
    def log_dispersions(self) -> Array:
        """Logs of the dispersions of those that have some."""
        return np.asarray(np.log(self.dispersions_by_kind[self.dispersed]))

    @property
    def bounds(self) -> Array:
        """Bounds of these logs, shape (2, number of them)."""
        return np.array([self.kinds[k].bounds for k in self.dispersed]).reshape(-1, 2).T

    def _sums(self, labels: Labels, values: Array) -> Array:
        """Return the sums of values over the labels of each kind, shape (K,)."""
        which = np.zeros(values.size, np.intp) if labels.loss is None else labels.loss.ravel()
        return np.bincount(which, values.ravel(), len(self.kinds)).astype(np.float64, copy=False)

    def _each(
        self, of: Callable[[LabelLoss, Array, Array], Array], labels: Labels, eta: Array
    ) -> Array:
        if labels.offset is not None:
            eta = eta + labels.offset
        if labels.loss is None:
            return np.asarray(labels.weight * of(self.kinds[0], labels.y, eta))
        found, group = np.zeros_like(eta), self._groups[labels.loss]
        for g in np.unique(group):
            own = group == g
            which = labels.loss[own]
            loss = self.kinds[which[0]].loss
            dispersion = None if loss.is_classifier else self.dispersions_by_kind[which]
            kind = LabelLoss(loss, self._offsets[which], dispersion)
            found[own] = of(kind, labels.y[own], eta[own])
        return np.asarray(labels.weight * found)

    @cached_property
    def _groups(self) -> Index:
        """The number of the loss of each kind, the same for kinds of the same loss."""
        numbers = {loss: g for g, loss in enumerate(dict.fromkeys(k.loss for k in self.kinds))}
        return np.array([numbers[kind.loss] for kind in self.kinds], dtype=np.intp)

    @cached_property
    def _offsets(self) -> Array:
        return np.array([kind.offset for kind in self.kinds], dtype=float)

    @cached_property
    def dispersions_by_kind(self) -> Array:
        """The dispersion of each kind, 1 of those that have none. Shapes: result (K,)."""
        return np.array([kind.dispersion or 1.0 for kind in self.kinds], dtype=np.float64)


def _means(total: Array, weight: Array) -> Array:
    nothing = np.full(len(total), np.nan)
    return np.asarray(np.divide(total, weight, out=nothing, where=weight > 0))
