"""`backward`: one call instead of ``losses.sum().backward()`` in any training loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from polytask._checks import sentence
from polytask.deep.balancing.base import (
    AnyBalancer,
    StatefulBalancer,
    require_finite,
    task_numbers,
    weighs_gradients,
)
from polytask.deep.balancing.formulas import Equal
from polytask.deep.balancing.routes import (
    Listening,
    Measured,
    Route,
    in_one_pass,
    listen,
    route_of,
)
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage


def backward(
    losses: Tensor | Mapping[str, Tensor] | Sequence[Tensor],
    *,
    shared: Route | Tensor | Iterable[Tensor] | None = None,
    balancer: AnyBalancer | StatefulBalancer | None = None,
    present: Tensor | None = None,
    n_tasks: int | None = None,
    weights: Tensor | None = None,
    loss_scale: float | Tensor = 1.0,
) -> Tensor:
    """Add the gradients of balanced task losses to ``.grad`` of all parameters.

    With the weights w of the balancer and the task weights s, the objective of the step is
    ``sum_t w_t s_t loss_t`` over the tasks present. A balancer of losses weighs it for all
    parameters. A balancer of gradients weighs what reaches `shared` and everything below it;
    the parameters of single tasks get the gradient of their own term ``s_t loss_t``, as in the
    papers that define these methods. GradNorm is defined on the losses, so its weights reach
    the heads too.

    Parameters
    ----------
    losses : Tensor of shape (k,), or mapping or sequence of k scalar Tensors
        Mean losses of the tasks present; of a mapping ``{name: loss}`` in its order. A step
        without any task adds nothing.
    shared : Tensor, iterable of Tensor, or Route, default=None
        What the tasks share: the representation, or the parameters of the trunk, which is
        several times dearer. ``LinearHeads``, ``OwnInputs``, ``OwnRows`` and ``Parameters``
        describe what costs less. Balancers of losses do not use it.
    balancer : LossBalancer, GradientBalancer or StatefulBalancer, default=None
        How to weigh; None: :class:`Equal`. One that remembers something is given as a
        :class:`StatefulBalancer`.
    present : LongTensor of shape (k,), default=None
        Numbers of the tasks that the losses belong to; None: all, in order.
    n_tasks : int, default=None
        Number of tasks; None: that of `balancer`, else one more than the largest number.
    weights : Tensor of shape (k,), default=None
        The task weights s of the tasks present; None: ones. Balancers see the terms
        ``s_t loss_t``, so that what they promise holds for the objective.
    loss_scale : float or Tensor, default=1.0
        Factor of mixed precision, ``scaler.get_scale()``: all gradients are multiplied by it,
        weights do not depend on it. Where gradients overflow at a scale other than 1, the step
        is taken with equal weights, so that the scaler sees it and skips it.

    Returns
    -------
    Tensor of shape (k,)
        The weights w of the balancer.

    Raises
    ------
    DataError
        If a loss is not finite, naming its task, or a shape is not as described; if gradients
        are not finite, when those of the parameters of single tasks may have been added.
    IncompatibleError
        If the balancer needs gradients and `shared` is None, or remembers something and is
        not given as a :class:`StatefulBalancer`.

    Notes
    -----
    In data-parallel training each process weighs the tasks by its own batch. A representation
    whose hooks the caller registered meets them in the passes that measure gradients too.

    Examples
    --------
    >>> import torch
    >>> from polytask.deep.balancing import MGDA, backward
    >>> trunk, heads = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)
    >>> shared = trunk(torch.ones(5, 3))
    >>> losses = (heads(shared) - 1).square().mean(0)
    >>> weights = backward(losses, shared=shared, balancer=MGDA())
    >>> weights.shape, trunk.weight.grad.shape
    (torch.Size([2]), torch.Size([4, 3]))
    """
    losses = _as_vector(losses)
    balance = _at_work(balancer, len(losses), present, n_tasks)
    if not len(losses):
        return losses.detach()
    terms = losses if weights is None else losses * _task_weights(weights, losses)
    kind = balance.balancer
    if not weighs_gradients(kind):
        chosen = balance.weigh(terms, present)
        _add(terms, chosen, loss_scale)
        return chosen
    numbers = task_numbers(present, len(losses), balance.n_tasks)
    require_finite(terms.detach(), numbers)
    step = _BalancerStep(balance, terms, present, loss_scale)
    if shared is None:
        allowed = LazyMessage("allowed.shared", {"balancer": type(kind).__name__})
        raise IncompatibleError(sentence("shared", "backward", allowed, None))
    every = torch.arange(len(losses)) if numbers is None else numbers
    route, here = route_of(shared), every.to(losses.device)
    if kind.weighs_heads:
        step.decide(route.measure(step.scaled, here))
        _add(terms, step.chosen, loss_scale)
        return step.chosen
    listening = route.listen(terms, here) if in_one_pass(route) else None
    if listening is not None:
        return step.while_passing(listening)
    measured = route.measure(step.scaled, here)
    step.decide(measured)
    return step.replacing(measured)


class _BalancerStep:
    """One step of a balancer of gradients."""

    def __init__(
        self,
        balance: StatefulBalancer,
        terms: Tensor,
        present: Tensor | None,
        loss_scale: float | Tensor,
    ) -> None:
        self.balance, self.terms, self.present = balance, terms, present
        self.loss_scale = loss_scale
        self.chosen = torch.ones_like(terms.detach())

    @property
    def scaled(self) -> Tensor:
        """The terms as their gradients are measured."""
        return self.terms if _is_one(self.loss_scale) else self.terms * self.loss_scale

    def decide(self, measured: Measured) -> None:
        """Ask the balancer; where gradients overflow at a scale, the weights stay 1."""
        gramian = measured.gramian
        if not _is_one(self.loss_scale):
            gramian = gramian / float(self.loss_scale) ** 2
        if bool(torch.isfinite(gramian).all()):
            self.chosen = self.balance.weigh(self.terms, self.present, gramian)
        elif float(self.loss_scale) == 1.0:
            bad = torch.nonzero(~torch.isfinite(gramian.diagonal())).flatten().tolist()
            where = LazyMessage("place.positions", {"positions": list(map(str, bad))})
            what, allowed = LazyMessage("what.gradients"), LazyMessage("allowed.all_finite")
            got = LazyMessage("got.infinity_or_nan")
            raise DataError(sentence(what, "backward", allowed, got, where if bad else ""))

    def while_passing(self, listening: Listening) -> Tensor:
        """Take the step in one pass: the weights are found when it reaches the shared tensor."""

        def decided(gradient: Tensor) -> Tensor:
            measured = listening.measured(gradient)
            self.decide(measured)
            ((_, reweigh),) = measured.replaced
            return reweigh(self.chosen, gradient)

        handle = listen(listening.at, decided)
        try:
            self._pass()
        finally:
            handle.remove()
            listening.stop()
        return self.chosen

    def replacing(self, measured: Measured) -> Tensor:
        """Take the step with the weighted sum in the place of the plain one."""
        if measured.finish is not None:
            measured.finish(self.chosen, self.terms, self._slopes())
            return self.chosen
        handles = [listen(at, partial(mix, self.chosen)) for at, mix in measured.replaced]
        try:
            self._pass()
        finally:
            for handle in handles:
                handle.remove()
        return self.chosen

    def _pass(self) -> None:
        """Let the gradient of the plain sum flow."""
        torch.autograd.backward(self.terms, self._slopes())

    def _slopes(self) -> Tensor:
        """Return the derivatives of the plain sum, scaled."""
        ones = torch.ones_like(self.terms)
        return ones if _is_one(self.loss_scale) else ones * self.loss_scale


def _add(terms: Tensor, weights: Tensor, loss_scale: float | Tensor) -> None:
    """Add the gradient of the weighted sum of the terms to all parameters."""
    slopes = weights if _is_one(loss_scale) else weights * loss_scale
    torch.autograd.backward(terms, slopes)


def _is_one(loss_scale: float | Tensor) -> bool:
    """Say whether there is no scale."""
    return not isinstance(loss_scale, Tensor) and loss_scale == 1.0


def _at_work(
    balancer: AnyBalancer | StatefulBalancer | None,
    n_losses: int,
    present: Tensor | None,
    n_tasks: int | None,
) -> StatefulBalancer:
    """Return the balancer with its state, a new one if it remembers nothing."""
    if isinstance(balancer, StatefulBalancer):
        if n_tasks not in (None, balancer.n_tasks):
            fields = {"value": balancer.n_tasks, "owner": repr(balancer)}
            allowed = LazyMessage("allowed.that_of", fields)
            raise DataError(sentence("n_tasks", "backward", allowed, n_tasks))
        return balancer
    if n_tasks is None:
        top = -1 if present is None or not len(present) else int(present.max())
        n_tasks = max(n_losses if present is None else top + 1, 1)
    balance = StatefulBalancer(Equal() if balancer is None else balancer, n_tasks)
    if balance.remembers:
        fields = {"balancer": type(balance.balancer).__name__, "made": f"balancing.{balance!r}"}
        raise IncompatibleError(LazyMessage("deep.refusal.remembers", fields))
    return balance


def _as_vector(losses: Tensor | Mapping[str, Tensor] | Sequence[Tensor]) -> Tensor:
    """Return the losses of tasks as one tensor; refuse those that are not one number each."""
    allowed = LazyMessage("allowed.loss_tensors")
    if not isinstance(losses, Tensor):
        named: dict[Any, Any] = dict(losses if isinstance(losses, Mapping) else enumerate(losses))
        parts: list[Any] = list(named.values())
        for key, part in named.items():
            if not isinstance(part, Tensor) or part.ndim:
                value = _shape_of(part) if isinstance(part, Tensor) else repr(part)
                got = LazyMessage("got.value_for", {"value": value, "key": repr(key)})
                raise DataError(sentence("losses", "backward", allowed, got))
        return torch.stack(parts) if parts else torch.zeros(0)
    if losses.ndim != 1:
        raise DataError(sentence("losses", "backward", allowed, _shape_of(losses)))
    return losses


def _shape_of(value: Tensor) -> LazyMessage:
    return LazyMessage("got.tensor_shape", {"shape": tuple(value.shape)})


def _task_weights(weights: Tensor, losses: Tensor) -> Tensor:
    """Return the task weights like the losses, or refuse."""
    if weights.shape != losses.shape:
        allowed = LazyMessage("allowed.of_shape", {"shape": str(tuple(losses.shape))})
        raise DataError(sentence("weights", "backward", allowed, tuple(weights.shape)))
    return weights.detach().to(losses)
