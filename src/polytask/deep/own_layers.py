"""Hidden layers that each task has of its own, between the representation and its head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from polytask.deep.sharing.base import redrawn, served
from polytask.deep.sharing.copies import make_copies


class OwnLayers(nn.Module):
    """Copies of some layers, one for each task, as one batched product where they allow it."""

    def __init__(self, template: nn.Module, n_tasks: int) -> None:
        super().__init__()
        self.copies = make_copies([redrawn(template) for _ in range(n_tasks)])

    def forward(self, features: Tensor, task: Tensor | None) -> Tensor:
        """Return what the layers of a task make of a representation."""
        # Shapes: features (n, width), task (n,), result (n, width').
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
