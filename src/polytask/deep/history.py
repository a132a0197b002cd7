"""What happened in training: losses by epoch and task, and how it ended."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from polytask._registry import State, fields_of, saveable
from polytask.deep.relations import TaskRelation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]


class Ending(Enum):
    """How training ended; the value is a sentence with advice."""

    STOPPED_EARLY = (
        "The held-out loss had not improved for `patience` epochs, or by next to nothing; the "
        "weights are those of its best epoch: nothing to do."
    )
    STILL_IMPROVING = (
        "Training reached max_epochs with the held-out loss at its best in the last epoch, whose "
        "weights are kept. Raise max_epochs, or the learning rate."
    )
    BEST_OF_ALL = (
        "Training reached max_epochs before the held-out loss had gone `patience` epochs without "
        "improving; the weights are those of its best epoch. Raise max_epochs to see whether it "
        "improves further."
    )
    LAST_EPOCH = (
        "Training reached max_epochs; the weights are those of the last epoch, because no rows "
        "were held out to judge epochs by."
    )
    INTERRUPTED = (
        "Training was interrupted; the weights are those of the best epoch so far. With a "
        "checkpoint it can be gone on with: fit again with the same one."
    )


@saveable("deep.history")
@dataclass(frozen=True, eq=False)
class History:
    """Losses by epoch and task.

    Attributes
    ----------
    tasks : tuple
        The tasks.
    training : ndarray of shape (n_epochs, n_tasks)
        Mean training loss of each task over the batches of the epoch, while weights changed;
        NaN where a task had no label.
    held_out : ndarray of shape (n_epochs, n_tasks) or None
        Mean loss of the rows held out, at the end of the epoch: NaN where a task had no label,
        infinity where its loss was not finite.
    weights : ndarray of shape (n_tasks,)
        The task weights s_t.
    seconds : ndarray of shape (n_epochs,)
        Wall time since training began, at the end of each epoch.
    relations : tuple of TaskRelation, default=()
        What was recorded of pairs of tasks, by ``record=``; :func:`polytask.relatedness` shows
        the first.
    """

    tasks: tuple[Hashable, ...]
    training: Floats
    held_out: Floats | None
    weights: Floats
    seconds: Floats
    relations: tuple[TaskRelation, ...] = ()

    @property
    def n_epochs(self) -> int:
        """Number of epochs."""
        return len(self.training)

    @property
    def objective(self) -> Floats:
        """The data term of training by epoch: the sum of s_t times the mean loss of task t.

        Measured while weights changed, without penalties; ``solution_.objective`` has both.
        """
        return np.asarray(np.nansum(self.weights * self.training, axis=1))

    @property
    def held_out_objective(self) -> Floats | None:
        """The data term of the rows held out, which early stopping watches."""
        if self.held_out is None:
            return None
        return np.asarray(np.nansum(self.weights * self.held_out, axis=1))

    def frame(self) -> pd.DataFrame:
        """Return a long table.

        Returns
        -------
        pandas.DataFrame
            Columns epoch (from 1), task, training, held_out; a row for each epoch and task.
        """
        import pandas as pd

        shape = self.training.shape
        held = np.full(shape, np.nan) if self.held_out is None else self.held_out
        labels = np.empty(shape[1], dtype=object)
        labels[:] = self.tasks
        columns = {
            "epoch": np.repeat(np.arange(1, shape[0] + 1), shape[1]),
            "task": np.tile(labels, shape[0]),
            "training": self.training.ravel(),
            "held_out": held.ravel(),
        }
        return pd.DataFrame(columns)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the losses by epoch.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where; None makes new ones.

        Returns
        -------
        matplotlib.axes.Axes
            Thin lines for tasks, thick ones for their mean, and the epoch of the smallest
            held-out objective.
        """
        from polytask.charts import loss_curves, new_axes

        held = self.held_out_objective
        kept = None if held is None else int(np.argmin(held)) + 1
        drawn = new_axes(6.0, 3.6) if ax is None else ax
        return loss_curves(drawn, self.training, self.held_out, kept=kept)


@saveable("deep.training_result")
@dataclass(frozen=True, eq=False)
class TrainingResult:
    """How training ended; in the place of a solver's solution.

    Attributes
    ----------
    status : Ending
        Why it ended; its value is a sentence.
    objective : float
        The objective at the weights kept, on all rows trained on: the sum of s_t times the mean
        loss of task t, plus the penalties. Without dropout and mixup, as in prediction; the
        decoupled weight decay of an optimiser is no part of it.
    held_out_objective : float or None
        The sum of s_t times the mean loss on the rows held out, without penalties.
    best_epoch : int
        The epoch kept, from 1.
    n_iter : int
        Epochs done.
    seconds : float
        Wall time.
    residual : float or None
        Stationarity residual of penalties that are not smooth; None without one.
    penalty : float
        What of the objective is penalties.
    """

    status: Ending
    objective: float
    held_out_objective: float | None
    best_epoch: int
    n_iter: int
    seconds: float
    residual: float | None = None
    penalty: float = 0.0

    @property
    def message(self) -> str:
        """The status as a sentence."""
        return self.status.value

    @property
    def gap(self) -> None:
        """None: a network has no duality gap."""
        return None

    def to_state(self) -> State:
        """Return the fields by name, the status as its name."""
        return fields_of(self) | {"status": self.status.name}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the object from :meth:`to_state`."""
        return cls(**state | {"status": Ending[state["status"]]})
