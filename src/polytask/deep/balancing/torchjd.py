"""Weightings of TorchJD as balancers; the one place that imports it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from polytask._checks import sentence
from polytask.deep.balancing.base import State, Weighed
from polytask.exceptions import IncompatibleError


@dataclass(frozen=True)
class TorchJD:
    """A weighting of TorchJD that works on the Gramian.

    Weights are those that TorchJD returns, on its own scale: some of its methods take the mean
    over tasks where polytask takes the sum.

    Parameters
    ----------
    weighting : torchjd.aggregation.Weighting
        An object that turns a Gramian (k, k) into weights (k,) and remembers nothing, such as
        ``torchjd.aggregation.DualProjWeighting()``.

    Raises
    ------
    ImportError
        If TorchJD is not installed, with the command that installs it.
    IncompatibleError
        If the object is no weighting, or keeps a state, which could not be saved or be kept
        from tasks that are absent.

    References
    ----------
    Quinton and Rey (2024), Jacobian descent for multi-objective optimization.
    """

    weighting: Callable[[Tensor], Tensor]
    weighs_heads: ClassVar[bool] = False

    def __post_init__(self) -> None:
        aggregation = _torchjd("torchjd.aggregation")
        if not isinstance(self.weighting, aggregation.Weighting):
            allowed = "a weighting of torchjd.aggregation"
            raise IncompatibleError(
                sentence("weighting", "TorchJD", allowed, repr(self.weighting))
            )
        if hasattr(self.weighting, "reset"):
            allowed = "one that remembers nothing"
            raise IncompatibleError(
                sentence("weighting", "TorchJD", allowed, repr(self.weighting))
            )

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty state."""
        return State()

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the weights of TorchJD."""
        return self.weighting(gramian).to(losses), state


def _torchjd(module: str) -> Any:  # noqa: ANN401 - a module
    """Import TorchJD, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            'TorchJD is not installed: run pip install "polytask[torchjd]".'
        ) from error
