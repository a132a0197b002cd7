"""`check_balancer`: the laws of task weights.

What needs PyTorch is imported when a law runs, through `polytask.deep`.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polytask.exceptions import DataError
from polytask.testing._tools import require, require_at_least, require_close

if TYPE_CHECKING:
    from polytask.deep.balancing.base import AnyBalancer, ArrayBalancer


@dataclass(frozen=True)
class BalancedLosses:
    """Losses of all tasks, and the gradients that belong to them."""

    losses: np.ndarray
    gradients: np.ndarray

    @property
    def gramian(self) -> np.ndarray:
        """Inner products of the gradients."""
        products: np.ndarray = self.gradients @ self.gradients.T
        return products

    def of(self, tasks: np.ndarray) -> BalancedLosses:
        """Return the step of some tasks, in their order."""
        return BalancedLosses(self.losses[tasks], self.gradients[tasks])

    def times(self, factor: float) -> BalancedLosses:
        """Return the step with all losses multiplied."""
        return BalancedLosses(factor * self.losses, factor * self.gradients)


@dataclass(frozen=True)
class BalancerCase:
    """A balancer, and what the laws try it on."""

    subject: AnyBalancer
    n_tasks: int
    seed: int

    def steps(self, number: int = 6) -> list[BalancedLosses]:
        """Return random steps: losses of different size, gradients in general position."""
        rng = np.random.default_rng(self.seed)
        sizes = np.geomspace(0.3, 3.0, self.n_tasks)
        shape = (self.n_tasks, self.n_tasks + 3)
        return [
            BalancedLosses(
                sizes * rng.uniform(0.2, 2.0, self.n_tasks),
                sizes[:, None] * rng.normal(size=shape),
            )
            for _ in range(number)
        ]

    def trial(self, n_tasks: int | None = None, dtype: str = "float64") -> ArrayBalancer:
        """Return the balancer at its start."""
        from polytask.deep.balancing.base import ArrayBalancer

        return ArrayBalancer(self.subject, self.n_tasks if n_tasks is None else n_tasks, dtype)


def _run(
    trial: ArrayBalancer, steps: list[BalancedLosses], present: np.ndarray | None = None
) -> np.ndarray:
    """Return the weights of several steps, (steps, tasks)."""
    return np.stack([trial.weigh(step.losses, step.gramian, present) for step in steps])


def _portable(case: BalancerCase) -> None:
    """Require that a balancer never changes, and can be copied and compared."""
    copy = pickle.loads(pickle.dumps(case.subject))
    require(copy == case.subject, case.subject, "a pickled copy is equal")
    require(hash(copy) == hash(case.subject), case.subject, "equal objects have equal hashes")
    _run(case.trial(), case.steps())
    require(copy == case.subject, case.subject, "weighing does not change the balancer")


def _plain(case: BalancerCase) -> None:
    """Require finite weights of the dtype of the losses, a function of what is given."""
    for dtype in ("float32", "float64"):
        weights = _run(case.trial(dtype=dtype), case.steps())
        require(weights.dtype == dtype, case.subject, "weights have the dtype of the losses")
        require(np.isfinite(weights).all(), case.subject, "weights are finite")
        again = _run(case.trial(dtype=dtype), case.steps())
        require(np.array_equal(weights, again), case.subject, "equal inputs give equal weights")


def _order(case: BalancerCase) -> None:
    """Require that the order of the tasks does not matter."""
    order = np.random.default_rng(case.seed).permutation(case.n_tasks)
    weights = _run(case.trial(), case.steps())
    moved = _run(case.trial(), [step.of(order) for step in case.steps()])
    law = "weights follow a permutation of the tasks"
    require_close(moved, weights[:, order], case.subject, law, rtol=1e-6)


def _alone(case: BalancerCase, weight: float) -> None:
    """Require that one task by itself has a known weight."""
    steps = [step.of(np.array([0])) for step in case.steps()]
    got = _run(case.trial(1), steps)
    require_close(got, np.full_like(got, weight), case.subject, f"one task weighs {weight}")


def _scale(case: BalancerCase, degree: float) -> None:
    """Require that a factor on all losses gives the weights a known power of it."""
    factor = 8.0
    weights = _run(case.trial(), case.steps())
    larger = _run(case.trial(), [step.times(factor) for step in case.steps()])
    law = f"weights are homogeneous of degree {degree} in the losses"
    require_close(larger, factor**degree * weights, case.subject, law, rtol=1e-5)


def _absent(case: BalancerCase, fixed: bool) -> None:
    """Require that absent tasks are as if they did not exist, and keep their state."""
    steps = case.steps()
    here = np.arange(0, case.n_tasks, 2)
    away = np.setdiff1d(np.arange(case.n_tasks), here)
    trial = case.trial()
    weights = _run(trial, [step.of(here) for step in steps], here)
    if not fixed:
        alone = _run(case.trial(len(here)), [step.of(here) for step in steps])
        law = "tasks present weigh what they weigh without the absent ones"
        require_close(weights, alone, case.subject, law, rtol=1e-12)
    before = trial.saved()
    _run(trial, [step.of(here) for step in steps], here)
    for name, rows in trial.saved().items():
        if name.startswith("tasks."):
            same = np.array_equal(rows[away], before[name][away])
            require(same, case.subject, "the state of an absent task stays", name)
    later = _run(trial, steps)
    require(np.isfinite(later).all(), case.subject, "weights are finite when a task comes back")


def _round_trip(case: BalancerCase) -> None:
    """Require that a saved state goes on as if nothing had happened, bit for bit."""
    steps = case.steps()
    trial, fresh = case.trial(), case.trial()
    _run(trial, steps[:3])
    fresh.load(trial.saved())
    same = np.array_equal(_run(trial, steps[3:]), _run(fresh, steps[3:]))
    require(same, case.subject, "a loaded state goes on bit for bit")


def _edges(case: BalancerCase) -> None:
    """Require finite weights where losses or gradients are zero, and a refusal else."""
    step = case.steps()[0]
    every = np.arange(case.n_tasks)
    for zeros in (every[:1], every):
        losses, gradients = step.losses.copy(), step.gradients.copy()
        gradients[zeros] = 0.0
        for tried in (
            BalancedLosses(step.losses, gradients),
            BalancedLosses(_with(losses, zeros, 0.0), gradients),
        ):
            weights = _run(case.trial(), [step, tried, step])
            law = "losses and gradients of zero give finite weights"
            require(np.isfinite(weights).all(), case.subject, law)
    at = np.array([1])
    for value in (np.nan, np.inf):
        told = _refusal(
            case.trial(), BalancedLosses(_with(step.losses, at, value), step.gradients)
        )
        law = "a loss that is not finite is refused, naming the task"
        require(told is not None and "1" in told, case.subject, law)
    told = _refusal(case.trial(), BalancedLosses(_with(step.losses, at, -0.5), step.gradients))
    law = "a negative loss is refused, naming its place, or gives finite weights"
    require(told is None or "1" in told, case.subject, law)


def _refusal(trial: ArrayBalancer, step: BalancedLosses) -> str | None:
    """Return the sentence with which a step is refused, or None if its weights are finite."""
    try:
        weights = trial.weigh(step.losses, step.gramian)
    except DataError as error:
        return str(error)
    return None if np.isfinite(weights).all() else ""


def _with(losses: np.ndarray, at: np.ndarray, value: float) -> np.ndarray:
    """Return the losses with some replaced."""
    changed = losses.copy()
    changed[at] = value
    return changed


def check_balancer(
    balancer: AnyBalancer,
    *,
    n_tasks: int = 5,
    tasks_alike: bool = True,
    fixed: bool = False,
    alone: float | None = 1.0,
    degree: float | None = None,
    harmless: bool = False,
    random_state: int = 0,
) -> None:
    """Check every law of task weights.

    Weights are finite, of the dtype of the losses, and a function of losses, Gramian and state;
    absent tasks are as if they did not exist and keep their state; a saved state goes on bit
    for bit; losses and gradients of zero give finite weights; a loss that is NaN or infinite is
    refused in a sentence that names the task, a negative one is refused or usable.

    Parameters
    ----------
    balancer : LossBalancer or GradientBalancer
        The balancer.
    n_tasks : int, default=5
        Number of tasks, at least 2.
    tasks_alike : bool, default=True
        Whether the order of the tasks must not matter.
    fixed : bool, default=False
        Whether the balancer is made for a number of tasks, so that it cannot be tried on fewer.
    alone : float, default=1.0
        The weight of one task by itself; None: not known.
    degree : float, default=None
        The power of a factor on all losses with which the weights grow; None: not known.
    harmless : bool, default=False
        Whether the weighted gradient has no negative inner product with any.
    random_state : int, default=0
        Seed of the losses and gradients.

    Raises
    ------
    AssertionError
        With a sentence that names the law that does not hold.
    ImportError
        If PyTorch is not installed.
    """
    case = BalancerCase(balancer, n_tasks, random_state)
    _portable(case)
    _plain(case)
    _absent(case, fixed)
    _round_trip(case)
    _edges(case)
    if tasks_alike:
        _order(case)
    if alone is not None and not fixed:
        _alone(case, alone)
    if degree is not None:
        _scale(case, degree)
    if harmless:
        for step, weights in zip(case.steps(), _run(case.trial(), case.steps()), strict=True):
            size = np.abs(step.gramian) @ np.abs(weights)
            law = "no gradient has a negative inner product with the weighted one"
            require_at_least((step.gramian @ weights) / size, 0.0, case.subject, law)
