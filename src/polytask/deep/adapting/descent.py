"""Descent from a trained network for the rows of one more task."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask.deep.adapting.changes import Change
from polytask.deep.adapting.methods import ChangesLayers
from polytask.deep.network import Network
from polytask.deep.prediction import DeepTasks
from polytask.deep.rows import Design, Place, design_of
from polytask.deep.terms import loss_values
from polytask.losses import Loss

Array = NDArray[np.float64]
# Steps between two looks at the rows left out, and rows in one piece of a step.
EVERY = 10
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Start:
    """Where the descent begins, and what holds the head.

    Weights and intercept of the head are ``mean + (root @ u).T``; u is held at 0.

    Attributes
    ----------
    mean : ndarray of shape (n_columns, width + 1)
        The mean head, its intercept last.
    root : ndarray of shape (width + 1, r)
        What the coordinates of the head stand for.
    u : ndarray of shape (r, n_columns)
        Coordinates of the head to begin with.
    ridge : float
        Half of it times the sum of squares of u is added to the sum of losses.
    """

    mean: Array
    root: Array
    u: Array
    ridge: float


@dataclass(frozen=True, eq=False)
class Course:
    """What a descent came to.

    Attributes
    ----------
    head : ndarray of shape (n_columns, width + 1)
        Weights of the head, its intercept last.
    change : Change
        The layers.
    looks : tuple of int
        The steps after which the rows watched were predicted.
    seen : ndarray of shape (n_looks, n_watched, n_columns)
        Predictors of the rows watched: before the first step, after every 10 and after the last.
    """

    head: Array
    change: Change
    looks: tuple[int, ...]
    seen: Array


def descend(
    tasks: DeepTasks,
    method: ChangesLayers,
    start: Start,
    rows: tuple[Any, Array, Array],
    loss: Loss,
    *,
    watched: Any = None,  # noqa: ANN401 - dense or sparse
    steps: int | None = None,
) -> Course:
    """Let head and layers learn from the rows of one task.

    Norms keep the statistics that they have and nothing is dropped, so that a step on all rows
    is the same every time.

    Parameters
    ----------
    tasks : DeepTasks
        The trained network.
    method : ChangesLayers
        What changes.
    start : Start
        Where the head begins.
    rows : tuple of (X, y, weight)
        Encoded features, targets in the units of training, row weights.
    loss : Loss
        Of every row.
    watched : ndarray or CSR, default=None
        Encoded features of rows to predict on the way.
    steps : int, default=None
        When to stop; None: after the steps of all stages.
    """
    work = _Descent(tasks, method, start, loss)
    most = method.steps * len(work.change.stages)
    return work.run(rows, watched, most if steps is None else min(steps, most))


class _Descent:
    """One descent: what changes while it runs."""

    def __init__(self, tasks: DeepTasks, method: ChangesLayers, start: Start, loss: Loss) -> None:
        self._tasks, self._method, self._loss = tasks, method, loss
        # Gradients of weights that do not change are not asked for.
        network = copy.deepcopy(tasks.network).requires_grad_(False)
        self._place: Place = tasks.plan.place(next(network.parameters()).device)
        self._mean = self._place.numbers(start.mean)
        self._root = self._place.numbers(start.root)
        self._u = self._place.numbers(start.u).clone().requires_grad_()
        self._ridge = start.ridge
        self.change = method.change(network)
        self._represent = _Represent(network)

    def run(self, rows: tuple[Any, Array, Array], watched: Any, steps: int) -> Course:  # noqa: ANN401
        """Take the steps."""
        design = self._design(rows[0])
        y, weight = (self._place.numbers(values) for values in rows[1:])
        others = None if watched is None else (self._design(watched), watched.shape[0])
        seen = {} if others is None else {0: self._predicted(*others)}
        optimizer = self._optimizer(0)
        for step in range(1, steps + 1):
            stage, within = divmod(step - 1, self._method.steps)
            if stage and not within:
                optimizer = self._optimizer(stage)
            self._step(optimizer, design, y, weight)
            if others is not None and (step % EVERY == 0 or step == steps):
                seen[step] = self._predicted(*others)
        head = self._head().detach().cpu().numpy().astype(np.float64)
        return Course(head, self.change, tuple(seen), np.array(list(seen.values())))

    def _optimizer(self, stage: int) -> torch.optim.Optimizer:
        learned = [self._u, *self.change.stages[stage]]
        return torch.optim.Adam(learned, lr=self._method.learning_rate, fused=True)

    def _step(
        self, optimizer: torch.optim.Optimizer, design: Design, y: Tensor, weight: Tensor
    ) -> None:
        optimizer.zero_grad(set_to_none=True)
        whole = weight.sum()
        for first in range(0, len(y), _CHUNK):
            at = np.arange(first, min(first + _CHUNK, len(y)))
            part = slice(first, first + _CHUNK)
            losses = loss_values(self._loss, y[part], self._shaped(self._eta(design, at)))
            term = (weight[part] * losses).sum() / whole
            if not first:
                term = term + self._held(whole)
            term.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def _held(self, whole: Tensor) -> Tensor:
        """Return what holds head and layers, for the mean loss."""
        head = 0.5 * self._ridge * self._u.square().sum() / whole
        penalty = self.change.penalty()
        return head if penalty is None else head + penalty

    def _shaped(self, eta: Tensor) -> Tensor:
        return eta[:, 0] if self._loss.n_outputs(2) == 1 else eta

    def _head(self) -> Tensor:
        return self._mean + (self._root @ self._u).T

    def _eta(self, design: Design, at: NDArray[np.intp]) -> Tensor:
        x = design.take(at)
        code = torch.full((len(at),), -1, dtype=torch.long, device=x.device)
        named = {f"network.{name}": value for name, value in self.change.weights().items()}
        features: Tensor = torch.func.functional_call(self._represent, named, (x, code))
        head = self._head()
        return features @ head[:, :-1].T + head[:, -1]

    @torch.no_grad()
    def _predicted(self, design: Design, count: int) -> Array:
        parts = [
            self._eta(design, np.arange(start, min(start + _CHUNK, count)))
            for start in range(0, count, _CHUNK)
        ]
        return np.asarray(torch.cat(parts).cpu().numpy(), dtype=np.float64)

    def _design(self, X: Any) -> Design:  # noqa: ANN401 - dense or sparse
        return design_of(self._tasks.scaling.features(X, None), self._place)


class _Represent(nn.Module):
    """What the heads of a network read, as a call that takes other weights."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        """Return the representation of rows."""
        return self.network.represent(x, task)
