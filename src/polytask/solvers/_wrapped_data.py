"""A data term as a function of something that W is made of."""

from __future__ import annotations

from polytask.datafits import Datafit


class WrappedDatafit(Datafit):
    """What a data term has in common with that of W: W is linear in its argument."""

    # A leaf class is a dataclass with the field `datafit`, the data term of W.

    datafit: Datafit

    @property
    def is_quadratic(self) -> bool:
        """Whether the Hessian is the same everywhere."""
        return self.datafit.is_quadratic

    @property
    def is_bounded(self) -> bool:
        """Whether the curvature has a bound."""
        return self.datafit.is_bounded

    @property
    def magnitude(self) -> float:
        """Value at W = 0 and b = 0."""
        return self.datafit.magnitude

    @property
    def precision(self) -> float:
        """Unit of rounding in gradients."""
        return self.datafit.precision
