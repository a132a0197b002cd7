"""A balancer behind NumPy arrays, for the laws of `polytask.testing`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polytask._linalg import Array
from polytask.deep.balancing.balance import Balance
from polytask.deep.balancing.base import AnyBalancer

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Trial:
    """A :class:`Balance` that takes and returns NumPy arrays."""

    def __init__(self, balancer: AnyBalancer, n_tasks: int, dtype: str = "float64") -> None:
        self.balance = Balance(balancer, n_tasks)
        self.dtype = DTYPES[dtype]

    def weigh(self, losses: Array, gramian: Array, present: Array | None = None) -> np.ndarray:
        """Return the weights (k,), in the dtype that the balancer gave them."""
        numbers = None if present is None else torch.tensor(np.asarray(present))
        needed = self._tensor(gramian) if self.balance.needs_gramian else None
        weights = self.balance.weigh(self._tensor(losses), numbers, needed)
        return np.asarray(weights.numpy())

    def saved(self) -> dict[str, np.ndarray]:
        """Return the state as arrays."""
        return {name: value.numpy() for name, value in self.balance.state_dict().items()}

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state."""
        self.balance.load_state_dict({name: torch.tensor(rows) for name, rows in state.items()})

    def _tensor(self, values: Array) -> Tensor:
        """Return an array as a tensor of the dtype."""
        return torch.tensor(np.asarray(values), dtype=self.dtype)
