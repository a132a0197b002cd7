"""What training keeps: losses by epoch and task, the best weights so far, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from polytask._registry import State, fields_of, saveable
from polytask.deep.recording import Pair, PairValues, Recording, TaskRelation
from polytask.deep.trainable import Sums, Trainable
from polytask.deep.training.engine import TrainingProcesses
from polytask.exceptions import DataError
from polytask.messages import LazyMessage, Translator

if TYPE_CHECKING:
    import pandas as pd

    from polytask.charts import Axes


Floats = NDArray[np.float64]


class StopReason(Enum):
    """How training ended; the value is the key of a sentence with advice."""

    STOPPED_EARLY = "training.stopped_early"
    STILL_IMPROVING = "training.still_improving"
    BEST_OF_ALL = "training.best_of_all"
    LAST_EPOCH = "training.last_epoch"
    INTERRUPTED = "training.interrupted"


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
        """The sum of s_t times the mean loss of task t by epoch, while weights changed.

        Without penalties; ``solution_.objective`` has both.
        """
        return np.asarray(np.nansum(self.weights * self.training, axis=1))

    @property
    def held_out_objective(self) -> Floats | None:
        """The data term of the rows held out, which early stopping watches."""
        if self.held_out is None:
            return None
        return np.asarray(np.nansum(self.weights * self.held_out, axis=1))

    def frame(self) -> pd.DataFrame:
        """Return a table with columns epoch (from 1), task, training, held_out."""
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

    def plot(self, ax: Axes | None = None, lang: str = "en") -> Axes:
        """Draw the losses by epoch on matplotlib Axes, new ones for None, and return these.

        Thin lines are tasks, thick ones their mean; a mark is at the smallest held-out objective.
        `lang` is the language of titles and names, "en" or "zh".
        """
        from polytask.charts import figures, new_axes

        held = self.held_out_objective
        kept = None if held is None else int(np.argmin(held)) + 1
        drawn = new_axes(6.0, 3.6) if ax is None else ax
        say = Translator(lang)
        words = (
            say("chart.epoch"),
            say("chart.loss"),
            say("chart.training"),
            say("chart.held_out"),
        )
        return figures.loss_curves(drawn, self.training, self.held_out, kept=kept, words=words)


@saveable("deep.training_result")
@dataclass(frozen=True, eq=False)
class TrainingResult:
    """How training ended; in the place of a solver's solution.

    Attributes
    ----------
    status : StopReason
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

    status: StopReason
    objective: float
    held_out_objective: float | None
    best_epoch: int
    n_iter: int
    seconds: float
    residual: float | None = None
    penalty: float = 0.0

    @property
    def told(self) -> LazyMessage:
        """The status in words."""
        return LazyMessage(self.status.value)

    @property
    def message(self) -> str:
        """The same in English."""
        return str(self.told)

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
        return cls(**state | {"status": StopReason[state["status"]]})


class Recorder:
    """Sums of what is recorded."""

    def __init__(self, recordings: tuple[Recording, ...], n_tasks: int) -> None:
        self._recordings = recordings
        shape = (4, n_tasks, n_tasks)
        # How often a value was known, the sum of what it is a share of, its own, and of squares.
        self._sums = [torch.zeros(shape, dtype=torch.float64) for _ in self._recordings]
        self._before: Any = None
        self._waiting: list[int] = []

    def see(self, step: int, network: Trainable, batch: Any, optimizer: Optimizer) -> None:  # noqa: ANN401
        """Measure the batch of a step, counted from 1, before the step is taken."""
        # What is due at the first step of an epoch waits for the second, which has a batch before
        # it. Network, gradients and random numbers are afterwards what they were.
        if not self._recordings:
            return
        due = [k for k, one in enumerate(self._recordings) if (step - 1) % one.every == 0]
        self._waiting = sorted({*self._waiting, *due})
        if self._before is not None:
            self._measure(network, (batch, self._before), optimizer)
        self._before = batch

    def end_epoch(self, network: Trainable, optimizer: Optimizer) -> None:
        """Measure what still waits, for want of a second batch, on the only one."""
        if self._before is not None:
            self._measure(network, (self._before, self._before), optimizer)
        self._before = None

    def _measure(self, network: Trainable, batches: Pair, optimizer: Optimizer) -> None:
        due, self._waiting = self._waiting, []
        if not due:
            return
        rate = float(optimizer.param_groups[0]["lr"])
        device = next(network.parameters()).device
        network.eval()
        # Recurrent layers of a card can go back only in training, but for those of torch itself.
        cards = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cards), torch.backends.cudnn.flags(enabled=False):
            for k in due:
                self._add(k, self._recordings[k].of_batches(network, batches, rate))
        network.train()

    def _add(self, k: int, block: PairValues) -> None:
        found, rows, columns = block.values.detach().cpu(), block.rows.cpu(), block.columns.cpu()
        known = torch.isfinite(found)
        found = torch.where(known, found, torch.zeros_like(found)).double()
        counts = known.double()
        whole = counts if block.whole is None else counts * block.whole.detach().cpu().double()
        sums = torch.stack([counts, whole, found, found**2])
        self._sums[k][:, rows[:, None], columns[None, :]] += sums

    def relations(
        self, tasks: tuple[Hashable, ...], engine: TrainingProcesses
    ) -> tuple[TaskRelation, ...]:
        """Return the means over the steps, those of all processes."""
        found = []
        for one, sums in zip(self._recordings, self._sums, strict=True):
            whole = sums if engine.world == 1 else engine.total(sums.to(engine.device)).cpu()
            if one.symmetric:
                whole = whole + whole.transpose(1, 2)
                whole.diagonal(dim1=1, dim2=2).mul_(0.5)
            found.append(TaskRelation.of_sums(one.measure, tasks, *whole.numpy()))
        return tuple(found)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""
        return {"measures": [one.measure for one in self._recordings], "sums": list(self._sums)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        own, given = [one.measure for one in self._recordings], list(state["measures"])
        if given != own:
            fields = {"given": str(given), "own": str(own)}
            raise DataError(LazyMessage("deep.refusal.other_record", fields))
        self._sums = [sums.clone() for sums in state["sums"]]


# Of the loss of the first epoch: what the loss must fall by to count as progress.
_PROGRESS = 1e-3
_WAITING = 64


@dataclass
class Record:
    """Mean losses of the epochs done, each of shape (n_tasks,), and what is recorded of pairs."""

    recorder: Recorder
    training: list[Tensor] = field(default_factory=list)
    held_out: list[Tensor] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def history(
        self, tasks: tuple[Hashable, ...], weights: Tensor, engine: TrainingProcesses
    ) -> History:
        """Return what happened, in all processes, as arrays."""
        return History(
            tasks=tasks,
            training=torch.stack(self.training).numpy(),
            held_out=torch.stack(self.held_out).numpy() if self.held_out else None,
            weights=weights.double().cpu().numpy(),
            seconds=np.array(self.seconds),
            relations=self.recorder.relations(tasks, engine),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""
        return vars(self) | {"recorder": self.recorder.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.recorder.load_state_dict(state["recorder"])
        vars(self).update(state | {"recorder": self.recorder})


@dataclass
class Best:
    """The best epoch so far, by the loss of the rows held out."""

    score: float = math.inf
    epoch: int = 0
    weights: dict[str, Any] | None = None
    first: float = math.inf
    mark: float = math.inf
    marked: int = 0

    def see(self, epoch: int, score: float, network: nn.Module) -> None:
        """Keep the weights if the score is better than all before."""
        if score < self.score:
            self.score, self.epoch = score, epoch
            self.weights = {
                name: value.detach().clone() if isinstance(value, Tensor) else value
                for name, value in network.state_dict().items()
            }
        if not math.isfinite(self.first):
            self.first = score
        if score < self.mark - _PROGRESS * abs(self.first):
            self.mark, self.marked = score, epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        vars(self).update(state)


class Tally:
    """Sums of losses and weights over the batches of an epoch, in double precision."""

    def __init__(self, n_tasks: int) -> None:
        self.sums = torch.zeros(2, n_tasks, dtype=torch.float64)
        # Of batches that are not yet added: one addition of many costs less.
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, sums: Sums) -> None:
        """Add the sums of the tasks present in a batch."""
        self._waiting.append((sums.losses.detach(), sums.weights, sums.present))
        if len(self._waiting) == _WAITING:
            self._add_waiting()

    def _add_waiting(self) -> None:
        if self._waiting:
            losses, weights, present = map(torch.cat, zip(*self._waiting, strict=True))
            both = torch.stack([losses, weights]).double().cpu()
            self.sums.index_add_(1, present.cpu(), both)
            self._waiting.clear()

    def add_up(self, engine: TrainingProcesses) -> None:
        """Add the sums of all processes."""
        self._add_waiting()
        if engine.world > 1:
            self.sums = engine.total(self.sums.to(engine.device)).cpu()

    def means(self, sqrt_loss_mask: Tensor | None) -> Tensor:
        """Return the mean loss of every task: infinity where it is not finite."""
        self._add_waiting()
        losses, weights = self.sums
        # NaN says that a task has no label, and nothing else.
        means = losses / weights
        if sqrt_loss_mask is not None:
            means = torch.where(sqrt_loss_mask.cpu(), (2.0 * means).sqrt(), means)
        means = torch.where(torch.isfinite(means), means, torch.inf)
        return torch.where(weights > 0, means, torch.nan)
