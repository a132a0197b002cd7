"""Hidden layers that each task has of its own, between the representation and its head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from polytask.deep.sharing.base import redrawn, served
from polytask.deep.sharing.copies import make_copies


class OwnLayers(nn.Module):
    """Copies of some layers, one for each task, as one batched product where they allow it.

    Parameters
    ----------
    template : nn.Module
        From (n, width) to (n, width'); each task gets a copy with weights of its own.
    n_tasks : int
        Number of tasks.
    """

    def __init__(self, template: nn.Module, n_tasks: int) -> None:
        super().__init__()
        self.copies = make_copies([redrawn(template) for _ in range(n_tasks)])

    def forward(self, features: Tensor, task: Tensor | None) -> Tensor:
        """Return what the layers of a task make of a representation.

        Parameters
        ----------
        features : Tensor of shape (n, width) or (n, n_tasks, width)
            One for all tasks or for the row's own, or one for each task.
        task : Tensor of shape (n,), integers, or None
            The task of each row, -1 for an unseen one, which gets the mean over tasks; None:
            all tasks.

        Returns
        -------
        Tensor of shape (n, width') or (n, n_tasks, width')
        """
        if task is None:
            return self._every(features)
        return served(features, task, self.copies.of_rows, self._every)

    def _every(self, features: Any) -> Tensor:  # noqa: ANN401 - a tensor
        own: Tensor
        own = (
            self.copies(features)
            if features.ndim == 2
            else self.copies.each(features.movedim(1, 0))
        )
        return own.movedim(0, 1)
