"""The tasks of a combination as scores take them: their losses, classes and predictors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polytask.losses import LogLink, Loss, Multinomial

Array = NDArray[np.float64]


class Combined(Protocol):
    """A combination of models."""

    def _numbers(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return what is predicted for a task of numbers."""

    def _probabilities(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the probabilities of the classes of a task."""


@dataclass(frozen=True, eq=False)
class CombinedTasks:
    """The tasks of a combination, each with a loss, and with classes unless it is of numbers."""

    model: Combined
    losses: tuple[Loss, ...]
    classes: tuple[NDArray[Any] | None, ...]
    union: NDArray[Any] | None

    @property
    def slices(self) -> tuple[slice, ...]:
        """A column for each task; none has coefficients."""
        return tuple(slice(t, t + 1) for t in range(len(self.losses)))

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task; an unseen one has that of all."""
        return self.losses[task]

    def classes_of(self, task: int) -> NDArray[Any] | None:
        """Return the classes of a task, None for numbers."""
        return self.classes[task]

    def probabilities(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the class probabilities, shape (n_rows, classes of the task)."""
        return self.model._probabilities(X, task)

    def eta(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the predictors that the loss turns into what is predicted."""
        loss = self.losses[task]
        with np.errstate(divide="ignore"):
            if loss.is_classifier:
                logs = np.log(self.model._probabilities(X, task))
                return logs if isinstance(loss, Multinomial) else logs[:, 1:] - logs[:, :1]
            found = self.model._numbers(X, task)[:, None]
            return np.asarray(np.log(found)) if isinstance(loss, LogLink) else found
