"""The deviance of every task at a fit, which criteria turn into a likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import label_weights
from polytask.data import Form, TaskData
from polytask.datafits import Block
from polytask.exceptions import IncompatibleError
from polytask.linear.datafit import MomentTerm, RowParts, Term, without_gaps
from polytask.linear.problem import Problem
from polytask.losses import Gamma, Logistic, Loss, Multinomial, Poisson, Squared
from polytask.messages import LazyMessage
from polytask.selection.scoring import LOST, Residual

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Measure = Callable[[Array, Array], Array]

# Losses that are negative log-likelihoods up to a number of the data, and whether a free
# variance or dispersion scales them.
_FREE_NOISE: dict[type[Loss], bool] = {
    Squared: True,
    Gamma: True,
    Logistic: False,
    Multinomial: False,
    Poisson: False,
}


def noise_groups(data: TaskData, outcomes: Outcomes, scaling: str | None, owner: str) -> Index:
    """Return which tasks have one noise variance; -1 where the loss says it."""
    # Shapes: result (n_tasks,).
    # Tasks whose targets are scaled together are one quantity and have one variance, others have
    # one each.
    for loss in outcomes.losses:
        if type(loss) not in _FREE_NOISE:
            known = ", ".join(kind.__name__ for kind in _FREE_NOISE)
            fields = {"owner": owner, "loss": loss.name, "known": known}
            raise IncompatibleError(LazyMessage("selection.refusal.no_likelihood", fields))
    free = np.array([_FREE_NOISE[type(loss)] for loss in outcomes.losses])
    kinds = {type(loss) for loss in outcomes.losses}
    apart = data.form is Form.TARGETS if scaling in (None, "auto") else scaling == "task"
    groups = np.arange(data.n_tasks) if apart or len(kinds) > 1 else np.zeros(data.n_tasks)
    return np.where(free, groups, -1).astype(np.intp)


@dataclass(frozen=True, eq=False)
class Deviances:
    """Twice the weighted losses of all rows, summed over tasks; for squared loss the squares."""

    data: TaskData
    outcomes: Outcomes
    term: Term
    class_weight: object
    owner: str

    def of(self, problem: Problem) -> Measure:
        """Return ``(W, intercept) -> deviances`` of shape (n_tasks,), scaled as a problem."""
        if not isinstance(self.term, MomentTerm):
            return self._of_rows(problem)
        residual, counts = Residual.of(self.term.moments, problem), self.term.counts
        slow: list[Measure] = []

        def measure(W: Array, intercept: Array) -> Array:
            squares, size = residual.at(W, intercept)
            if np.all(squares >= LOST * size):
                return np.asarray(counts * squares)
            if not slow:
                slow.append(self._of_rows(problem))
            return slow[0](W, intercept)

        return measure

    def _of_rows(self, problem: Problem) -> Measure:
        data, outcomes = self.data, self.outcomes
        weight = label_weights(data, outcomes, self.class_weight, self.owner)
        y = without_gaps(problem.targets.apply(outcomes.y, data), outcomes, data)
        rows = problem.features.features(data.X, cell_mask(data))
        ones = np.ones(data.n_tasks)
        parts = RowParts(data, outcomes, problem.layout, rows, y, weight, ones, ones)
        blocks, slices = parts.blocks(), problem.layout.slices

        def measure(W: Array, intercept: Array) -> Array:
            by_column = np.zeros(W.shape[1])
            for block in blocks:
                eta = block.design.forward(W) + block.design.spread(intercept)
                by_column[block.columns] = _by_column(block, eta)
            return np.array([by_column[part].sum() for part in slices])

        return measure


def _by_column(block: Block, eta: Array) -> Array:
    """Return sums of twice the losses; of several columns of a task the first has all."""
    with np.errstate(over="ignore"):
        losses = 2.0 * block.weight * block.loss.value(block.y, eta)
    if losses.shape == eta.shape:
        return block.design.collect(losses)
    spread = np.zeros_like(eta)
    spread[:, 0] = losses
    return block.design.collect(spread)
