"""What training keeps while it runs: losses by epoch, and the best weights so far."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polytask.deep.engine import Engine
from polytask.deep.history import History
from polytask.deep.recorder import Recorder
from polytask.deep.state import copied

# Of the loss of the first epoch: what the loss must fall by to count as progress.
_PROGRESS = 1e-3


@dataclass
class Record:
    """Mean losses of the epochs done, each of shape (n_tasks,), and what is recorded of pairs."""

    recorder: Recorder
    training: list[Tensor] = field(default_factory=list)
    held_out: list[Tensor] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def history(
        self, tasks: tuple[Hashable, ...], weights: Tensor, engine: Engine | None = None
    ) -> History:
        """Return what happened, in all processes, as arrays."""
        return History(
            tasks=tasks,
            training=_stacked(self.training, len(tasks)),
            held_out=_stacked(self.held_out, len(tasks)) if self.held_out else None,
            weights=weights.double().cpu().numpy(),
            seconds=np.array(self.seconds),
            relations=self.recorder.relations(tasks, engine),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""
        return {
            "training": self.training,
            "held_out": self.held_out,
            "seconds": self.seconds,
            "recorder": self.recorder.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.training = list(state["training"])
        self.held_out = list(state["held_out"])
        self.seconds = list(state["seconds"])
        self.recorder.load_state_dict(state["recorder"])


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
            self.weights = copied(network.state_dict())
        if not math.isfinite(self.first):
            self.first = score
        if score < self.mark - _PROGRESS * abs(self.first):
            self.mark, self.marked = score, epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for name, value in state.items():
            setattr(self, name, value)


class Tally:
    """Sums of losses and weights over the batches of an epoch, in double precision."""

    def __init__(self, n_tasks: int) -> None:
        self._losses = torch.zeros(n_tasks, dtype=torch.float64)
        self._weights = torch.zeros(n_tasks, dtype=torch.float64)

    def add(self, losses: Tensor, weights: Tensor, present: Tensor) -> None:
        """Add the sums of the tasks present in a batch."""
        if len(present) == len(self._losses):
            self._losses += losses.detach().cpu()
            self._weights += weights.cpu()
            return
        at = present.cpu()
        self._losses.index_add_(0, at, losses.detach().cpu().double())
        self._weights.index_add_(0, at, weights.cpu().double())

    def add_up(self, engine: Engine) -> None:
        """Add the sums of all processes."""
        if engine.world > 1:
            both = torch.stack([self._losses, self._weights]).to(engine.device)
            self._losses, self._weights = engine.total(both).cpu()

    def means(self, roots: Tensor | None) -> Tensor:
        """Return the mean loss of every task: infinity where it is not finite."""
        # NaN says that a task has no label, and nothing else.
        means = self._losses / self._weights
        if roots is not None:
            means = torch.where(roots.cpu(), (2.0 * means).sqrt(), means)
        means = torch.where(torch.isfinite(means), means, torch.inf)
        return torch.where(self._weights > 0, means, torch.nan)


def _stacked(rows: list[Tensor], width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return torch.stack(rows).numpy() if rows else np.empty((0, width))
