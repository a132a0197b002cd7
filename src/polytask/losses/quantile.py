"""The pinball loss, whose best constant is a quantile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from polytask._checks import sentence
from polytask._registry import State, saveable
from polytask.exceptions import ParameterError
from polytask.losses.piecewise import PiecewiseLinear


@final
@saveable("loss.quantile")
@dataclass(frozen=True)
class Quantile(PiecewiseLinear):
    """q r where r >= 0, else (q - 1) r, with r = y - eta: predictions are quantiles.

    A prediction is what a share q of the targets falls below: with 0.5 the median, which no
    few targets move far; with 0.9 a value that one in ten exceeds, for stocks, delivery times
    and worst cases. Two models, of 0.05 and 0.95, bound nine in ten; they are fitted apart and
    may cross. Not for the mean of a skewed amount (``Gamma``), nor for classes. In the objective
    it counts per row like the other losses, so strengths of penalties are those of a loss
    that grows linearly: smaller than for the squared loss.

    Parameters
    ----------
    q : float, default=0.5
        The share of targets that falls below, strictly between 0 and 1.

    Raises
    ------
    ParameterError
        If q is not between 0 and 1.

    References
    ----------
    R. Koenker and G. Bassett, "Regression quantiles", Econometrica 46 (1978), equation 3.1.
    R. Koenker and J. Machado, "Goodness of fit and related inference processes for quantile
    regression", JASA 94 (1999), for the share of this loss that a model explains.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.losses import Quantile
    >>> Quantile(0.9).value(np.array([1.0, -1.0]), np.zeros(2)).round(6).tolist()
    [0.9, 0.1]
    """

    q: float = 0.5

    name = "quantile"

    def __post_init__(self) -> None:
        q: object = self.q
        if not isinstance(q, int | float) or not 0 < q < 1:
            allowed = "a number strictly between 0 and 1"
            raise ParameterError(sentence("q", "Quantile", allowed, repr(self.q)))

    @property
    def lower(self) -> float:
        """Minus q."""
        return -float(self.q)

    @property
    def upper(self) -> float:
        """1 - q."""
        return 1.0 - float(self.q)

    def to_state(self) -> State:
        """Return q."""
        return {"q": self.q}
