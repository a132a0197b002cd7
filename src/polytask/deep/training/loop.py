"""The training loop: one for tables and for any other network of tasks."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from polytask._progress import progress
from polytask.deep.balancing import AnyBalancer, StatefulBalancer, backward, balance_of
from polytask.deep.regularise.penalties import AnyPenalties, Penalties, penalties_of
from polytask.deep.trainable import Sums, Trainable, task_means
from polytask.deep.training.checkpoint import (
    known_by,
    random_state,
    read_checkpoint,
    require_same,
    set_random_state,
    write_checkpoint,
)
from polytask.deep.training.end import measured, run_final_phase
from polytask.deep.training.engine import TrainingProcesses, add_up_gradients, compile_layers
from polytask.deep.training.guards import (
    refuse_iterators,
    refuse_unfit_end,
    refuse_unfit_optimizer,
    refuse_unfit_steps,
    refuse_unfit_validation,
    require_finite,
    require_labels,
    require_one_for_each_task,
    warn_of_improving,
)
from polytask.deep.training.history import (
    Best,
    History,
    Record,
    Recorder,
    StopReason,
    Tally,
    TrainingResult,
)
from polytask.deep.training.settings import OfNetwork, Training
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

_SHOWN = 3


def fit_network(
    network: Trainable,
    batches: Iterable[Any],
    training: Training,
    *,
    held_out: Iterable[Any] | None = None,
    everything: Iterable[Any] | None = None,
    tasks: tuple[Hashable, ...] | None = None,
    task_weights: Tensor | NDArray[np.float64] | None = None,
    balancer: AnyBalancer | StatefulBalancer | None = None,
    penalties: AnyPenalties | None = None,
    seed: int = 0,
    identity: Mapping[str, Any] | None = None,
    identity_defaults: Mapping[str, Any] | None = None,
    engine: TrainingProcesses | None = None,
) -> tuple[History, TrainingResult]:
    """Train a network in place.

    The objective of a step is the sum over the tasks present of s_t times the mean loss of
    the labels of task t; tasks that are absent add nothing.

    Parameters
    ----------
    network : Trainable
        What is trained; it ends with the weights of the best epoch.
    batches : iterable
        Yields the batches of an epoch each time it is iterated, such as a ``DataLoader``; no
        generator, which is empty from the second time on.
    training : Training
        How.
    held_out : iterable or None, default=None
        Batches that judge an epoch, likewise; one whose loss on them is not finite is never the
        best. None: the last epoch is kept.
    everything : iterable or None, default=None
        All data trained on, each once, by which objective and residual are measured in the end;
        None: `batches`.
    tasks : tuple or None, default=None
        Names of the tasks; None: the attribute `names` of the network, else their numbers.
    task_weights : Tensor or ndarray of shape (n_tasks,), or None, default=None
        The weights s_t; None: ones.
    balancer : object of :mod:`polytask.deep.balancing` or None, default=None
        Weights of the tasks, which multiply s_t; a ``StatefulBalancer`` goes on from its state.
    penalties : Penalties, mapping of str to Penalty, or None, default=None
        Penalties of layers of the network, by name as in :class:`Penalties`.
    seed : int, default=0
        Of torch's own generators, which are put back afterwards.
    identity, identity_defaults : mapping or None, default=None
        What a checkpoint must agree about to be gone on from, and what entries of that were in
        one that lacks them, because it was written before they came into being.
    engine : Engine or None, default=None
        Several processes or mixed precision; each process gives its own share of every batch
        as `batches`. None: this process alone.

    Returns
    -------
    history : History
        Losses by epoch and task.
    result : TrainingResult
        How it ended.

    Raises
    ------
    DataError
        If a loss is not finite, naming task and step, also after the last step; if an epoch has
        no label; if a checkpoint is of another training.
    ParameterError
        If batches can be iterated once only, or there is not one weight and name for each task.
    IncompatibleError
        If optimiser, penalties, balancer and accumulation do not go together.
    """
    refuse_iterators(batches=batches, held_out=held_out, everything=everything)
    count = network.n_tasks
    names = getattr(network, "names", tuple(range(count))) if tasks is None else tasks
    require_one_for_each_task("tasks", (len(names),), count)
    weights = torch.ones(count) if task_weights is None else torch.as_tensor(task_weights)
    require_one_for_each_task("task_weights", tuple(weights.shape), count)
    device = next(network.parameters()).device
    real = weights.dtype if weights.is_floating_point() else torch.get_default_dtype()
    cards = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.manual_seed(seed)
        run = _TrainingRun(
            network=network,
            batches=batches,
            training=training,
            tasks=names,
            weights=weights.to(device, real),
            held_out=held_out,
            everything=batches if everything is None else everything,
            balance=balance_of(balancer, count),
            penalties=penalties_of(network, penalties),
            engine=TrainingProcesses(device) if engine is None else engine,
        )
        run.resume(dict(identity or {}), identity_defaults or {})
        if training.compile:
            compile_layers(network)
        return run.go()


@dataclass(eq=False)
class _TrainingRun:
    """One training: what changes while it runs."""

    network: Trainable
    batches: Iterable[Any]
    training: Training
    tasks: tuple[Hashable, ...]
    weights: Tensor
    held_out: Iterable[Any] | None
    everything: Iterable[Any]
    balance: StatefulBalancer | None
    penalties: Penalties
    engine: TrainingProcesses

    def __post_init__(self) -> None:
        training, network = self.training, self.network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        make_optimizer = training.optimizer
        if isinstance(make_optimizer, OfNetwork):
            self.optimizer = make_optimizer.of_network(network)
        else:
            self.optimizer = make_optimizer(self.parameters)
        make = training.schedule
        self.schedule = None if make is None else make(self.optimizer)
        self.record, self.best = Record(Recorder(training.record, network.n_tasks)), Best()
        self.steps, self.identity = 0, dict[str, Any]()
        self.began = time.monotonic()
        # Before any work, what does not go together is refused.
        refuse_unfit_steps(training, network, self.engine, self.balance is not None)
        refuse_unfit_validation(self.balance, training, self.held_out)
        refuse_unfit_end(training, self.engine, self.penalties)
        ends = training.final_phase > 0
        self.during = self.penalties.applicable(self.optimizer) if ends else self.penalties
        refuse_unfit_optimizer(self.optimizer, self.during)

    @property
    def epochs(self) -> int:
        """How many epochs are done."""
        return len(self.record.training)

    def go(self) -> tuple[History, TrainingResult]:
        """Train until the end, and keep the best weights."""
        try:
            self._epochs()
            status = self._status()
        except KeyboardInterrupt:
            if not self.epochs:
                raise
            status = StopReason.INTERRUPTED
        if status is StopReason.STILL_IMPROVING and self.engine.rank == 0:
            warn_of_improving(self.training)
        if self.best.weights is None:
            raise DataError(LazyMessage("deep.refusal.diverged_held_out"))
        self.network.load_state_dict(self.best.weights)
        self.network.eval()
        if self.training.final_phase and status is not StopReason.INTERRUPTED:
            end = self.weights, self.penalties, self.training.final_phase
            run_final_phase(self.network, self.everything, *end)
        history = self.record.history(self.tasks, self.weights, self.engine)
        return history, self._result(history, status)

    def _epochs(self) -> None:
        most = self.training.max_epochs
        shown = self.training.verbose and self.engine.rank == 0
        with progress(most, "fit", shown) as told:
            for _ in range(self.epochs):
                told.skip("")
            while self.epochs < most and not self._stopped():
                self._epoch()
                told.advance(self._label() if shown else "")

    def _epoch(self) -> None:
        self.network.train()
        # From the start in every epoch, so that a checkpoint need not tell how far it was.
        self.ahead = iter(self.held_out or ())
        tally, group, batches = Tally(self.network.n_tasks), [], iter(self.batches)
        while step := list(itertools.islice(batches, self.training.accumulate)):
            group = step
            self._step(group, tally)
        self.record.recorder.end_epoch(self.network, self.optimizer)
        tally.add_up(self.engine)
        means = require_labels(
            tally.means(self.network.sqrt_loss_mask), "batches", self.epochs + 1
        )
        if self.epochs + 1 >= self.training.max_epochs:
            self._require_finite_end(group)
        held = self._judge()
        self.record.training.append(means)
        self.record.seconds.append(time.monotonic() - self.began)
        # Without rows held out the latest epoch counts as the best.
        score = -float(self.epochs)
        if held is not None:
            self.record.held_out.append(held)
            score = self._total(held)
        self.best.see(self.epochs, score, self.network)
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(self._total(means if held is None else held))
        elif self.schedule is not None:
            self.schedule.step()
        due = self.epochs % self.training.checkpoint_every == 0
        if due and self.engine.rank == 0 and self.training.checkpoint is not None:
            self._write(self.training.checkpoint)

    def _step(self, group: list[Any], tally: Tally) -> None:
        """Take one step with the gradient of all batches of a group."""
        self.steps += 1
        self.record.recorder.see(self.steps, self.network, group[0], self.optimizer)
        # What `zero_grad` of an optimiser does, without the record it keeps for profilers.
        for parameter in self.parameters:
            parameter.grad = None
        # The labels of the whole step decide what a task's sum of losses is divided by.
        whole = None
        if len(group) * self.engine.world > 1:
            own = torch.stack([self.network.counts(batch) for batch in group]).sum(0)
            whole = self.engine.total(own)
        for batch in group:
            with self.engine.autocast():
                sums = self.network.sums(batch)
            if sums.extra is not None and sums.extra.requires_grad:
                # The mean over the batches of the step.
                share = sums.extra / (len(group) * self.engine.world)
                share.backward(retain_graph=True)  # type: ignore[no-untyped-call]
            if not sums.present.shape[0]:
                continue
            divisor = sums.weights if whole is None else whole[sums.present]
            self._backward(sums, divisor)
            tally.add(sums)
        add_up_gradients(self.parameters, self.engine)
        smooth = self.during.smooth()
        if isinstance(smooth, Tensor):
            smooth.backward()  # type: ignore[no-untyped-call]
        if self.training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.training.clip_norm)
        self.optimizer.step()
        self.during.proximal_step(self.optimizer)

    def _backward(self, sums: Sums, divisor: Tensor) -> None:
        """Add the gradient of the data term, balanced if there is a balancer."""
        weights, losses, mask = self.weights, sums.losses, self.network.sqrt_loss_mask
        if sums.present.shape[0] < weights.shape[0]:
            weights = weights[sums.present]
        weights = weights.to(losses.dtype)
        if self.balance is None and mask is None:
            # The objective is linear in the sums of losses: its slopes need no graph.
            slopes = weights / divisor
            if not math.isfinite(float(torch.dot(losses.detach(), slopes))):
                self._require_finite(losses / divisor, sums)
            losses.backward(slopes)  # type: ignore[no-untyped-call]
            return
        means = task_means(sums, divisor, mask)
        self._require_finite(means, sums)
        if self.balance is None:
            (weights * means).sum().backward()  # type: ignore[no-untyped-call]
            return
        at_features = self.training.balance_at == "representation" and sums.shared is not None
        shared = sums.shared if at_features else self.network.shared_parameters()
        if self.balance.needs_validation:
            rate = float(self.optimizer.param_groups[0]["lr"])
            ahead = self.parameters, self._held_out_terms, rate, sums.present
            self.balance.look_ahead(weights * means, *ahead)
        backward(
            means, shared=shared, balancer=self.balance, present=sums.present, weights=weights
        )

    def _require_finite(self, means: Tensor, sums: Sums, key: str = "diverged") -> None:
        rate = f"{self.optimizer.param_groups[0]['lr']:g}"
        place = {"step": str(self.steps), "epoch": str(self.epochs + 1), "rate": rate}
        require_finite(means, sums.present, self.tasks, key, place)

    def _require_finite_end(self, group: list[Any]) -> None:
        """Refuse divergence in the last step, which no step after it would notice."""
        self.network.eval()
        with torch.no_grad():
            for batch in group:
                sums = self.network.sums(batch)
                means = task_means(sums, sums.weights, self.network.sqrt_loss_mask)
                self._require_finite(means, sums, "diverged_after")

    def _held_out_terms(self) -> Tensor:
        """Return s_t times the mean loss of every task on the next batch held out, (n_tasks,)."""
        batch = next(self.ahead, None)
        if batch is None:
            self.ahead = iter(self.held_out or ())
            batch = next(self.ahead, None)
        found = torch.zeros_like(self.weights)
        if batch is None:
            return require_labels(found / found, "held_out", self.epochs + 1)
        self.network.eval()
        sums = self.network.sums(batch)
        self.network.train()
        means = task_means(sums, sums.weights, self.network.sqrt_loss_mask).to(found)
        return found.index_add(0, sums.present, self.weights[sums.present] * means)

    def _judge(self) -> Tensor | None:
        """Return the mean loss of every task on the rows held out."""
        if self.held_out is None:
            return None
        self.network.eval()
        tally = Tally(self.network.n_tasks)
        with torch.no_grad():
            for batch in self.held_out:
                sums = self.network.sums(batch)
                tally.add(sums)
        return require_labels(
            tally.means(self.network.sqrt_loss_mask), "held_out", self.epochs + 1
        )

    def _total(self, means: Tensor) -> float:
        return float((self.weights.cpu() * means).nansum())

    def _stopped(self) -> bool:
        patience = self.training.patience
        if patience is None or self.held_out is None:
            return False
        return self.epochs - self.best.marked >= patience

    def _status(self) -> StopReason:
        if self.held_out is None:
            return StopReason.LAST_EPOCH
        if self._stopped():
            return StopReason.STOPPED_EARLY
        improving = self.training.patience is not None and self.best.marked == self.epochs
        return StopReason.STILL_IMPROVING if improving else StopReason.BEST_OF_ALL

    def _label(self) -> str:
        losses = (self.record.held_out or self.record.training)[-1]
        mean = self._total(losses) / len(self.tasks)
        own = zip(self.tasks[:_SHOWN], losses[:_SHOWN].tolist(), strict=True)
        return f"{mean:.4g}: " + ", ".join(f"{task} {loss:.3g}" for task, loss in own)

    def _result(self, history: History, status: StopReason) -> TrainingResult:
        kept = self.best.epoch or history.n_epochs
        judged = history.held_out_objective
        held = None if judged is None else float(judged[kept - 1])
        again = self._judge() if self.training.final_phase else None
        if again is not None:
            held = self._total(again)
        end = self.network, self.everything, self.weights, self.penalties, self.engine
        objective, penalty, residual = measured(*end)
        return TrainingResult(
            status=status,
            objective=objective,
            held_out_objective=held,
            best_epoch=kept,
            n_iter=history.n_epochs,
            seconds=time.monotonic() - self.began,
            residual=residual,
            penalty=penalty,
        )

    def _parts(self) -> dict[str, Any]:
        """Return everything that has a state."""
        parts = {
            "network": self.network,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "record": self.record,
            "best": self.best,
            "batches": self.batches,
            "balance": self.balance,
        }
        return {name: part for name, part in parts.items() if hasattr(part, "load_state_dict")}

    def _write(self, path: str | os.PathLike[str]) -> None:
        content = {
            "identity": self.identity,
            "steps": self.steps,
            "random": random_state(self.batches),
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
        }
        write_checkpoint(path, content)

    def resume(self, identity: dict[str, Any], defaults: Mapping[str, Any]) -> None:
        """Go on from the checkpoint, if there is one."""
        if (path := self.training.checkpoint) is None:
            return
        parts = self.network, self.tasks, self.penalties, self.balance, self.batches
        own, own_defaults = known_by(*parts)
        self.identity = {**identity, **own, "parts": sorted(self._parts())}
        if (found := read_checkpoint(path)) is None:
            return
        require_same(path, found["identity"], self.identity, {**defaults, **own_defaults})
        for name, part in self._parts().items():
            part.load_state_dict(found["parts"][name])
        self.steps = found["steps"]
        self.began -= self.record.seconds[-1]
        set_random_state(found["random"], self.batches)
