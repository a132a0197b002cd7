"""Weights that are given, drawn, or a formula of one step's losses or gradients."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from polytask._checks import nonnegative, positive, sentence
from polytask._linalg import Array
from polytask._registry import saveable
from polytask.deep.balancing.base import (
    State,
    Stateless,
    Weighed,
    at_least_tiny,
    require_nonnegative,
    resumed,
    seeded,
)
from polytask.deep.balancing.cones import Cosines, GramianRule, solve_positive
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage


@saveable("deep.balancer.equal")
@dataclass(frozen=True)
class Equal(Stateless):
    """Every task weighs 1: the plain sum, the default and the yardstick."""

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return ones."""
        return torch.ones_like(losses), state


@saveable("deep.balancer.fixed")
@dataclass(frozen=True)
class Fixed:
    """Weights that are given, one for each task.

    Parameters
    ----------
    weights : sequence of float, of length n_tasks
        Weights in the order of the tasks, each finite and >= 0.
    """

    weights: Sequence[float]

    def __post_init__(self) -> None:
        checked = tuple(nonnegative(weight, "weights", "Fixed") for weight in self.weights)
        object.__setattr__(self, "weights", checked)

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return the weights as the state, so that the rows follow the tasks present."""
        if len(self.weights) != n_tasks:
            allowed = LazyMessage("allowed.as_many_as_tasks", {"count": n_tasks})
            raise ParameterError(sentence("weights", "Fixed", allowed, len(self.weights)))
        given = torch.tensor(self.weights, dtype=like.dtype, device=like.device)
        return State({"weights": given}, constant=True)

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the given weights of the tasks present."""
        return state.tasks["weights"].to(losses), state


@saveable("deep.balancer.geometric_mean")
@dataclass(frozen=True)
class GeometricMean(Stateless):
    """Descend along the geometric mean of the losses, whatever their units.

    The weight of a task is the geometric mean divided by its loss (the gradient of the mean
    times the number of tasks). Negative losses are refused; a loss of zero counts as 1e-8 of
    the largest one.

    References
    ----------
    Chennupati et al. (2019), MultiNet++, equation 2.
    """

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the geometric mean divided by each loss."""
        logs = at_least_tiny(require_nonnegative(losses, self)).log()
        return (logs.mean() - logs).exp(), state


@saveable("deep.balancer.random_weights")
@dataclass(frozen=True)
class RandomWeights:
    """Weights drawn anew at every step: k times the softmax of standard normal numbers.

    The losses do not matter, so zero and negative ones are as good as others.

    Parameters
    ----------
    seed : int, default=0
        Seed of the numbers; the generator is part of the state.

    References
    ----------
    Lin, Ye, Zhang and Tsang (2022), Reasonable effectiveness of random weighting, section 3.
    """

    seed: int = 0

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return the generator at its seed."""
        return State(common={"generator": seeded(self.seed)})

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Draw a weight for each task present."""
        generator = resumed(state)
        drawn = torch.randn(len(losses), generator=generator, dtype=torch.float64)
        weights = len(losses) * torch.softmax(drawn, dim=0)
        return weights.to(losses), State(common={"generator": generator.get_state()})


@saveable("deep.balancer.stch")
@dataclass(frozen=True)
class STCH:
    """Descend along a smooth maximum of the losses, so that the worst task counts most.

    The step follows ``mu log sum_t exp((loss_t - ideal) / (mu r_t))`` with r_t = 1, or the first
    loss that was seen of the task; weights are its derivatives times the number of tasks.
    Losses of any sign will do, unless they are relative: then they must not be negative, and a
    first loss of zero counts as 1e-8 of the largest one.

    Parameters
    ----------
    smoothing : float, default=1.0
        mu > 0; towards 0 only the worst task counts, at infinity all count alike.
    ideal : float, default=0.0
        What each loss could reach at best. It matters for relative losses only.
    relative : bool, default=False
        Whether losses are measured in units of the first one of their task.

    References
    ----------
    Lin, Zhang, Yang, Liu, Wang and Zhang (2024), Smooth Tchebycheff scalarization for
    multi-objective optimization, equation 6.
    """

    smoothing: float = 1.0
    ideal: float = 0.0
    relative: bool = False

    def __post_init__(self) -> None:
        positive(self.smoothing, "smoothing", "STCH")

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return zeros for first losses that have not been seen; nothing if none are needed."""
        return State({"first": like.new_zeros(n_tasks)}) if self.relative else State()

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the derivatives of the smooth maximum, times the number of tasks."""
        units = torch.ones_like(losses)
        if self.relative:
            seen = at_least_tiny(require_nonnegative(losses, self))
            units = torch.where(state.tasks["first"] > 0, state.tasks["first"].to(losses), seen)
            state = state.with_tasks(first=units)
        heights = (losses - self.ideal) / (self.smoothing * units)
        return len(losses) * torch.softmax(heights, dim=0) / units, state


# Gradients that the others leave unexplained by that multiple of rounding count as independent.
CLEAR = 10.0


@saveable("deep.balancer.imtl_g")
@dataclass(frozen=True)
class IMTLG(GramianRule):
    """The direction whose projection on every gradient has the same length.

    Closed form, times the number of tasks; weights may be negative. Where gradients depend on
    each other the solution of least norm is taken, and equal weights where the projections
    can only be the same at zero. Losses may have any sign; tasks whose gradient is zero take
    no part and weigh 1.

    References
    ----------
    Liu, Li, Kuang, Xue, Chen, Yang, Liao and Zhang (2021), Towards impartial multi-task
    learning, equation 4.
    """

    def _weights(self, cosines: Cosines) -> Array:
        """Solve ``G v = lengths`` and scale v to the sum k."""
        k = len(cosines.lengths)
        cutoff = max(1e-12, k * cosines.precision)
        units = _solved_ones(cosines.matrix, cutoff)
        v = units / cosines.lengths
        total = v.sum()
        if abs(total) <= cutoff * np.abs(v).sum():
            return np.ones(k)
        weights: Array = k * v / total
        return weights


def _solved_ones(C: Array, cutoff: float) -> Array:
    """Return the least x with ``C x = 1``; directions under the cutoff are left out."""
    ones = np.ones_like(C[0])
    try:
        factor = scipy.linalg.cholesky(C, check_finite=False)
        # The squared pivots show how much of a gradient the ones before it leave unexplained.
        if np.diagonal(factor).min() ** 2 > CLEAR * cutoff:
            return scipy.linalg.cho_solve((factor, False), ones, check_finite=False)
    except np.linalg.LinAlgError:
        pass
    return np.linalg.pinv(C, rcond=cutoff, hermitian=True) @ ones


@saveable("deep.balancer.nash")
@dataclass(frozen=True)
class Nash(GramianRule):
    """The bargain of the tasks: each gains in proportion to what it brings.

    The weights solve ``(G w)_t = 1 / w_t``, as published: they are not on the scale of the
    other balancers, because the step always has the length sqrt(k), whatever the gradients.
    Newton's method on the barrier problem behind that equation. Losses may have any sign;
    tasks whose gradient is zero take no part and weigh 1. With one task the weight is
    one over the length of its gradient.

    References
    ----------
    Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik and Fetaya (2022), Multi-task learning as
    a bargaining game, claim 3.1.
    """

    def _weights(self, cosines: Cosines) -> Array:
        """Minimise ``a' C a / 2 - sum log a``: strictly convex and self-concordant."""
        C = cosines.ridged
        total = C.sum()
        a = np.full_like(cosines.lengths, np.sqrt(len(C) / total) if total > 0 else 1.0)
        for _ in range(200):
            slope = C @ a - 1 / a
            curvature = C.copy()
            curvature[np.diag_indices(len(C))] += 1 / a**2
            step = solve_positive(curvature, -slope)
            decrement = np.sqrt(max(-slope @ step, 0.0))
            a = a + step / (1 + decrement) if decrement > 0.25 else a + step
            if decrement <= cosines.tolerance * np.sqrt(len(C)):
                break
        weights: Array = a / cosines.lengths
        return weights


@saveable("deep.balancer.aligned")
@dataclass(frozen=True)
class Aligned(GramianRule):
    """Gradients turned into orthogonal ones of equal length, as close to them as possible.

    The principal components of the gradients all get the size of the smallest one. Directions
    under the rounding error of the Gramian are left out. Losses may have any sign; tasks whose
    gradient is zero take no part and weigh 1. One task weighs 1.

    References
    ----------
    Senushkin, Patakin, Kuznetsov and Konushin (2023), Independent component alignment for
    multi-task learning, algorithm 1.
    """

    def _weights(self, cosines: Cosines) -> Array:
        """Balance the principal components."""
        lengths = cosines.lengths / cosines.lengths.max()
        G = cosines.matrix * lengths[:, None] * lengths
        values, vectors = scipy.linalg.eigh(G, driver="evd")
        kept = values > values[-1] * len(G) * cosines.precision
        values, vectors = values[kept], vectors[:, kept]
        weights: Array = vectors @ (np.sqrt(values[0] / values) * vectors.sum(axis=0))
        return weights


@dataclass(frozen=True)
class TorchJD(Stateless):
    """A weighting of TorchJD that works on the Gramian.

    Weights are those that TorchJD returns, on its own scale: some of its methods take the mean
    over tasks where polytask takes the sum.

    Parameters
    ----------
    weighting : torchjd.aggregation.Weighting
        An object that turns a Gramian (k, k) into weights (k,) and remembers nothing, such as
        ``torchjd.aggregation.DualProjWeighting()``.

    Raises
    ------
    ImportError
        If TorchJD is not installed, with the command that installs it.
    IncompatibleError
        If the object is no weighting, or keeps a state, which could not be saved or be kept
        from tasks that are absent.

    References
    ----------
    Quinton and Rey (2024), Jacobian descent for multi-objective optimization.
    """

    weighting: Callable[[Tensor], Tensor]
    weighs_heads: ClassVar[bool] = False

    def __post_init__(self) -> None:
        try:
            aggregation: Any = importlib.import_module("torchjd.aggregation")
        except ImportError as error:
            raise ImportError(LazyMessage("deep.refusal.no_torchjd")) from error
        known = isinstance(self.weighting, aggregation.Weighting)
        if not known or hasattr(self.weighting, "reset"):
            allowed, got = LazyMessage("allowed.weighting"), repr(self.weighting)
            raise IncompatibleError(sentence("weighting", "TorchJD", allowed, got))

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the weights of TorchJD."""
        return self.weighting(gramian).to(losses), state
