"""What the training loop can train."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from polytask.deep.terms import Sums


class Trainable(nn.Module):
    """A network that tells, for a batch of its own kind, the losses of its tasks.

    Attributes
    ----------
    n_tasks : int
        Number of tasks.
    """

    n_tasks: int

    @property
    @abstractmethod
    def roots(self) -> Tensor | None:
        """Which tasks count by the root of twice their mean loss; None if none does."""

    @abstractmethod
    def counts(self, batch: Any) -> Tensor:  # noqa: ANN401 - what the batches yield
        """Return the sum of label weights of every task in a batch, (n_tasks,)."""

    @abstractmethod
    def sums(self, batch: Any) -> Sums:  # noqa: ANN401 - what the batches yield
        """Return the sums of losses and label weights of the tasks present in a batch."""

    @abstractmethod
    def shared_parameters(self) -> list[Tensor]:
        """Return the parameters that tasks share, for balancers at the level of parameters."""
