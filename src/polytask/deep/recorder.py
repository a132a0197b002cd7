"""What is recorded of pairs of tasks in training, added up over its steps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from polytask._checks import sentence
from polytask.deep.engine import Engine
from polytask.deep.recording import Block, Pair, recordings_of
from polytask.deep.relations import TaskRelation
from polytask.deep.trainable import Trainable
from polytask.exceptions import DataError


class Recorder:
    """Sums of what is recorded."""

    def __init__(self, record: object, n_tasks: int) -> None:
        self._recordings = recordings_of(record, "Training")
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

    def _add(self, k: int, block: Block) -> None:
        found, rows, columns = block.values.detach().cpu(), block.rows.cpu(), block.columns.cpu()
        known = torch.isfinite(found)
        found = torch.where(known, found, torch.zeros_like(found)).double()
        counts = known.double()
        whole = counts if block.whole is None else counts * block.whole.detach().cpu().double()
        sums = torch.stack([counts, whole, found, found**2])
        self._sums[k][:, rows[:, None], columns[None, :]] += sums

    def relations(
        self, tasks: tuple[Hashable, ...], engine: Engine | None = None
    ) -> tuple[TaskRelation, ...]:
        """Return the means over the steps, those of all processes."""
        found = []
        for one, sums in zip(self._recordings, self._sums, strict=True):
            whole = sums
            if engine is not None and engine.world > 1:
                whole = engine.total(sums.to(engine.device)).cpu()
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
            allowed = f"that of the checkpoint, {given}"
            raise DataError(sentence("record", "the training", allowed, own))
        self._sums = [sums.clone() for sums in state["sums"]]
