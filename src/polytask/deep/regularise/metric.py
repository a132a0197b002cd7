"""The metric in which an optimiser takes its steps, and proximal operators in it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from polytask._checks import sentence
from polytask._linalg import Array, inner, namespace, soft_threshold
from polytask.deep.regularise.matrices import Matrix
from polytask.exceptions import ConvergenceWarning, IncompatibleError
from polytask.messages import LazyMessage
from polytask.penalties import (
    L1,
    L21,
    Columns,
    Composed,
    GroupNorm,
    OutlierTasks,
    Proximable,
    SparseGroup,
)
from polytask.penalties.groups import GroupNormSum
from polytask.penalties.rows import sparse_and_group

_ROUNDS, _NEWTON_STEPS = 20_000, 60
# In units of rounding.
_UNITS = 8.0
# The certificate is looked at every so many rounds: it costs as much as a round.
_EVERY = 10


@final
@dataclass(frozen=True, eq=False)
class ByDual(Proximable):
    """A penalty h(A W) with its prox: accelerated projected gradient on the dual [1]_."""

    # The minimiser of 1/2 ||Z - W||^2 + s h(A Z) is W - s A'U, where U minimises
    # s/2 ||A'U||^2 - <A W, U> + h*(U). It ends when the duality gap, which bounds half the squared
    # distance to the minimiser, is at the limit of the precision; what is zero in A Z is then
    # made exactly zero.

    penalty: Composed

    def value(self, W: Array) -> float:
        """Return the value of the penalty."""
        return self.penalty.value(W)

    def prox(self, W: Array, step: float) -> Array:
        """Return the minimiser over Z of 1/2 ||Z - W||_F^2 + step * penalty(Z)."""
        if step == 0:
            return W
        xp = namespace(W)
        # The gap cancels digits that coarser numbers do not have.
        return xp.astype(self._prox(xp.astype(W, xp.float64), step), W.dtype)

    def _prox(self, W: Array, step: float) -> Array:
        """Return the minimiser in float64."""
        part: Any = self.penalty
        rate = 1.0 / (step * part.norm_bound())
        U = ahead = 0.0 * part.forward(W)
        goal = _UNITS * float(namespace(W).finfo(W.dtype).eps) * inner(W, W)
        weight, gap, Z = 1.0, math.inf, W
        for count in range(_ROUNDS):
            point = ahead + rate * part.forward(W - step * part.adjoint(ahead))
            found = part.dual_prox(point, rate)
            overshoots = inner(ahead - found, found - U) > 0
            after = 1.0 if overshoots else 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * weight**2))
            momentum = 0.0 if overshoots else (weight - 1.0) / after
            ahead, U, weight = found + momentum * (found - U), found, after
            if count % _EVERY == 0:
                Z, gap = self._judged(W, U, step, rate)
                if gap <= goal:
                    return Z
        fields = {"penalty": repr(part), "gap": f"{gap:.1e}", "goal": f"{goal:.1e}"}
        warnings.warn(ConvergenceWarning(LazyMessage("warn.proximal_step", fields)), stacklevel=3)
        return Z

    def _judged(self, W: Array, U: Array, step: float, rate: float) -> tuple[Array, float]:
        """Return the point of a dual point, with exact zeros in A Z, and their duality gap."""
        part = self.penalty
        plain = W - step * part.adjoint(U)
        point = U + rate * part.forward(plain)
        Z = part.settled(plain, point - part.dual_prox(point, rate))
        primal = 0.5 * inner(Z - W, Z - W) + step * part.value(Z)
        dual = 0.5 * (inner(W, W) - inner(plain, plain)) - step * part.dual_value(U)
        return Z, primal - dual


@dataclass(frozen=True, eq=False)
class OptimiserStep:
    """The step that an optimiser takes with one parameter."""

    size: float
    scale: Tensor | None


def _plain_step(
    optimizer: Optimizer, parameter: nn.Parameter, group: dict[str, Any]
) -> OptimiserStep:
    """Return the step of SGD."""
    # Its momentum buffer adds up gradients: for a steady gradient g it is (1 - dampening) /
    # (1 - momentum) g. Only a prox with a step longer by that factor has the minimisers of the
    # objective as its fixed points.
    size, momentum = float(group["lr"]), float(group["momentum"])
    if momentum:
        size *= (1.0 - float(group["dampening"])) / (1.0 - momentum)
    return OptimiserStep(size, None)


def _adaptive_step(
    optimizer: Optimizer, parameter: nn.Parameter, group: dict[str, Any]
) -> OptimiserStep | None:
    """Return the step of Adam, None for a parameter that has not moved yet."""
    state = optimizer.state.get(parameter, {})
    if "exp_avg_sq" not in state:
        return None
    square = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    unbiased = 1.0 - float(group["betas"][1]) ** float(state["step"])
    return OptimiserStep(float(group["lr"]), (square / unbiased).sqrt() + float(group["eps"]))


_Rule = Callable[[Optimizer, nn.Parameter, dict[str, Any]], OptimiserStep | None]
_RULES: dict[type[Optimizer], _Rule] = {
    SGD: _plain_step,
    Adam: _adaptive_step,
    AdamW: _adaptive_step,
}


def _innermost(optimizer: object) -> Optimizer:
    """Return the optimiser inside wrappers such as those of accelerate."""
    inner = getattr(optimizer, "optimizer", None)
    if isinstance(inner, Optimizer):
        return _innermost(inner)
    if not isinstance(optimizer, Optimizer) or type(optimizer) not in _RULES:
        allowed, got = LazyMessage("allowed.known_metric"), type(optimizer).__name__
        raise IncompatibleError(sentence("optimizer", "proximal_step", allowed, got))
    return optimizer


def _step_of(
    optimizers: Iterable[Optimizer], parameter: nn.Parameter, name: str
) -> OptimiserStep | None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if any(parameter is known for known in group["params"]):
                if group.get("maximize"):
                    fields = {"kind": type(optimizer).__name__}
                    raise IncompatibleError(LazyMessage("deep.refusal.maximize", fields))
                return _RULES[type(optimizer)](optimizer, parameter, group)
    raise _not_held(name)


def _not_held(name: str) -> IncompatibleError:
    return IncompatibleError(LazyMessage("deep.refusal.not_held", {"name": repr(name)}))


def require_held(
    optimizers: Iterable[object], name: str, parameters: Iterable[nn.Parameter]
) -> None:
    """Refuse a name of layers of which no optimiser has a parameter: none can be penalised."""
    groups = [group for found in optimizers for group in getattr(found, "param_groups", [])]
    held = {id(parameter) for group in groups for parameter in group["params"]}
    if not any(id(parameter) in held for parameter in parameters):
        raise _not_held(name)


def metric_of(optimizers: Iterable[object], matrix: Matrix) -> tuple[float, Tensor | None] | None:
    """Return the step of the optimiser that a matrix belongs to."""
    # Shapes: result (n_features, n_columns).
    inner = [_innermost(optimizer) for optimizer in optimizers]
    found = [_step_of(inner, parameter, matrix.name) for parameter in matrix.parameters]
    steps = [step for step in found if step is not None]
    if not steps:
        return None
    name = {"name": repr(matrix.name)}
    if len(steps) < len(found):
        raise IncompatibleError(LazyMessage("deep.refusal.partly_trained", name))
    if len({step.size for step in steps}) > 1:
        raise IncompatibleError(LazyMessage("deep.refusal.learning_rates", name))
    scales = [step.scale for step in steps if step.scale is not None]
    return steps[0].size, matrix.joined(scales) if scales else None


def adapts(optimizers: Iterable[object], matrix: Matrix) -> bool:
    """Tell whether the optimiser of a matrix has a metric of its own, as Adam has."""
    inner = [_innermost(optimizer) for optimizer in optimizers]
    owners = {
        id(parameter): type(optimizer)
        for optimizer in inner
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for parameter in matrix.parameters:
        if id(parameter) not in owners:
            raise _not_held(matrix.name)
    return any(owners[id(p)] is not SGD for p in matrix.parameters)


def shrunk_groups(W: Tensor, scale: Tensor, amount: Tensor, owner: Tensor | None) -> Tensor:
    """Shorten groups of rows in a diagonal metric."""
    # Shapes: W (n_rows, n_columns), scale (n_rows, n_columns), amount (n_groups,), owner
    # (n_rows,), result (n_rows, n_columns).
    # The minimiser over Z of sum d (z - w)^2 / 2 + sum over groups of a_G ||Z_G||. With s the
    # length of the minimiser z = d w s / (d s + a), so 1 / s is where sum (d w / (d + a / s))^2
    # reaches s^2: the one root of sum (d w / (d s + a))^2 = 1, found for all groups at once. As a
    # function of s, the length sum^(-1/2) is concave and increasing, so Newton's steps from 0
    # approach the root from below [1]_, [2]_.

    def summed(values: Tensor) -> Tensor:
        rows = values.sum(1)
        return rows if owner is None else torch.zeros_like(amount).index_add_(0, owner, rows)

    def spread(values: Tensor) -> Tensor:
        return (values if owner is None else values[owner])[:, None]

    pull = scale * W
    kept = summed(pull * pull).sqrt() > amount
    length = torch.zeros_like(amount)
    # With an amount of 0 nothing is to be solved, and at length 0 nothing could be divided.
    held = torch.where(kept & (amount > 0), amount, torch.ones_like(amount))
    for _ in range(_NEWTON_STEPS):
        bottom = scale * spread(length) + spread(held)
        share = pull / bottom
        square = summed(share * share)
        slope = summed(share * share * scale / bottom)
        # Newton for square^(-1/2) = 1, whose derivative is square^(-3/2) slope.
        move = square * (square.sqrt() - 1.0) / slope
        move = torch.where(kept & (move > 0), move, torch.zeros_like(move))
        length = length + move
        if bool((move <= torch.finfo(W.dtype).eps * length).all()):
            break
    gain = scale * spread(length) / (scale * spread(length) + spread(held))
    gain = torch.where(spread(amount) > 0, gain, torch.ones_like(gain))
    return torch.where(spread(kept), W * gain, torch.zeros_like(W))


def in_metric(penalty: Proximable) -> bool:
    """Tell whether `prox_in_metric` knows the minimiser for a penalty."""
    if penalty.forbids:
        return False
    if isinstance(penalty, GroupNormSum):
        # Only entries stay entries when a group is shortened by unequal shares.
        return isinstance(penalty.rows, L1)
    return prox_in_metric.dispatch(type(penalty)) is not prox_in_metric.dispatch(object)


def no_metric(penalty: Proximable) -> IncompatibleError:
    """Return the refusal of a penalty that `prox_in_metric` does not know."""
    return IncompatibleError(LazyMessage("deep.refusal.no_metric", {"penalty": repr(penalty)}))


@singledispatch
def prox_in_metric(
    penalty: Proximable,
    W: Tensor,
    scale: Tensor,
    step: float,
) -> Tensor:
    """Return the minimiser over Z of sum scale (Z - W)^2 / 2 + step * penalty(Z)."""
    # Shapes: W, scale (n_features, n_columns), result (n_features, n_columns).
    raise no_metric(penalty)


@prox_in_metric.register(L1)
@prox_in_metric.register(L21)
@prox_in_metric.register(SparseGroup)
def _(penalty: Any, W: Tensor, scale: Tensor, step: float) -> Tensor:  # noqa: ANN401
    strengths = sparse_and_group(penalty)
    if strengths is None:
        raise no_metric(penalty)
    sparse, group = strengths
    # By entries first, then by rows: exact in a diagonal metric as it is without one.
    rows = soft_threshold(W, step * sparse / scale) if sparse else W
    if not group:
        return rows
    return shrunk_groups(rows, scale, W.new_full((len(W),), step * group), None)


def _owners(groups: Iterable[Iterable[int]], count: int) -> Tensor:
    """Return the group of each of `count` rows or columns."""
    owner = torch.empty(count, dtype=torch.int64)
    for number, group in enumerate(groups):
        owner[list(group)] = number
    return owner


@prox_in_metric.register
def _(penalty: GroupNorm, W: Tensor, scale: Tensor, step: float) -> Tensor:
    penalty.lengths(W)  # refuses a W with another number of features
    sizes = [len(group) * W.shape[1] for group in penalty.groups]
    weights = W.new_tensor(sizes).sqrt() if penalty.weights is None else penalty.weights
    amount = step * penalty.weight * torch.as_tensor(weights, dtype=W.dtype, device=W.device)
    return shrunk_groups(W, scale, amount, _owners(penalty.groups, len(W)).to(W.device))


@prox_in_metric.register
def _(penalty: GroupNormSum, W: Tensor, scale: Tensor, step: float) -> Tensor:
    if not in_metric(penalty):
        raise no_metric(penalty)
    return prox_in_metric(
        penalty.groups, prox_in_metric(penalty.rows, W, scale, step), scale, step
    )


@prox_in_metric.register
def _(penalty: OutlierTasks, W: Tensor, scale: Tensor, step: float) -> Tensor:
    columns = penalty.columns or Columns.plain(W.shape[1])
    groups = columns.task_groups()
    amount = W.new_full((len(groups),), step * penalty.weight)
    return shrunk_groups(W.T, scale.T, amount, _owners(groups, W.shape[1]).to(W.device)).T
