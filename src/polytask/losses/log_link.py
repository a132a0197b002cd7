"""Losses whose predictor is the logarithm of the mean."""

from __future__ import annotations

from abc import abstractmethod

from polytask._linalg import Array
from polytask.losses.base import Loss


class LogLink(Loss):
    """A loss exp(side eta + log_factor(y)) - side multiple(y) eta + a number of y alone.

    The exponential has no bound on its curvature, so that solvers look for their step lengths
    as they go. In return the best constant c to add to given predictors is known: with sums
    over rows, ``exp(side c) = sum multiple(y) / sum exp(side eta + log_factor(y))``.
    """

    @property
    @abstractmethod
    def side(self) -> float:
        """The sign of eta in the exponential, 1 or -1."""

    @property
    @abstractmethod
    def has_dispersion(self) -> bool:
        """Whether a free factor, estimated beside the mean, scales the noise."""

    @abstractmethod
    def log_factor(self, y: Array) -> Array:
        """Return the logarithm of what the exponential is multiplied by, elementwise."""

    @abstractmethod
    def multiple(self, y: Array) -> Array:
        """Return what the linear part is multiplied by, elementwise."""
