"""What a balancer is, and one with its state: weights from losses or the Gramian of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeGuard, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from polytask._checks import positive_integer, sentence
from polytask._linalg import Array
from polytask.deep.balancing.routes import full
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage, Text


@dataclass(frozen=True)
class State:
    """What a balancer remembers between two steps.

    Parameters
    ----------
    tasks : mapping from str to Tensor of shape (n_tasks, ...), default={}
        Entries with a row for each task. A balancer sees the rows of the tasks that are
        present, the others stay as they are.
    common : mapping from str to Tensor, default={}
        Entries that concern all tasks.
    constant : bool, default=False
        Whether no step changes it, so that there is nothing to save.
    """

    tasks: Mapping[str, Tensor] = field(default_factory=dict)
    common: Mapping[str, Tensor] = field(default_factory=dict)
    constant: bool = False

    @property
    def remembers(self) -> bool:
        """Whether a step leaves something for the next one."""
        return not self.constant and bool(self.tasks or self.common)

    def of(self, present: Tensor) -> State:
        """Return the state of the tasks with the numbers `present`."""
        return replace(self, tasks={name: rows[present] for name, rows in self.tasks.items()})

    def merged(self, present: Tensor, after: State) -> State:
        """Return this state with the rows of the tasks `present` taken from `after`."""
        tasks = {
            name: rows.index_copy(0, present, after.tasks[name].to(rows))
            for name, rows in self.tasks.items()
        }
        return replace(after, tasks=tasks)

    def on(self, device: torch.device) -> State:
        """Return the state with the entries of the tasks on a device."""
        if all(rows.device == device for rows in self.tasks.values()):
            return self
        return replace(self, tasks={name: rows.to(device) for name, rows in self.tasks.items()})

    def with_tasks(self, **rows: Tensor) -> State:
        """Return the state with some entries of the tasks replaced."""
        return replace(self, tasks={**self.tasks, **rows})


Weighed = tuple[Tensor, State]


@runtime_checkable
class LossBalancer(Protocol):
    """A balancer that needs the losses only; its weights apply to all parameters."""

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return the state before the first step; an empty one if nothing is remembered.

        It takes the dtype and device of the tensor `like`.
        """
        ...

    def weigh_losses(self, losses: Tensor, state: State) -> Weighed:
        """Return the weights and the next state.

        Parameters
        ----------
        losses : Tensor of shape (k,)
            Losses of the tasks present, detached and finite, k >= 1.
        state : State
            The state of these tasks.

        Returns
        -------
        tuple of Tensor of shape (k,) and State
            Weights, each 1 where the tasks are treated alike, and the state to go on with.
        """
        ...


@runtime_checkable
class GradientBalancer(Protocol):
    """A balancer that needs the Gramian of the task gradients.

    ``weighs_heads`` says whether the weights apply to the parameters that tasks do not share
    too; where it is False, those get the gradient of the plain sum.
    """

    weighs_heads: bool

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return the state before the first step; an empty one if nothing is remembered."""
        ...

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the weights and the next state, as :meth:`LossBalancer.weigh_losses` does.

        Parameters
        ----------
        losses, state
            As there.
        gramian : Tensor of shape (k, k)
            Inner products of the gradients of these losses, finite.
        """
        ...


@runtime_checkable
class Observer(Protocol):
    """A balancer of losses that learns from what a step did to the losses of its batch."""

    def observe_losses(self, losses: Tensor, state: State) -> State:
        """Return the next state of the tasks of the last batch; losses (k,) after its step."""
        ...


@runtime_checkable
class ValidationObserver(Protocol):
    """A balancer of losses that learns from a held-out loss, as seen one step ahead."""

    def validation_weights(self, n_tasks: int, like: Tensor) -> Tensor:
        """Return the weight of each task in the held-out loss, (n_tasks,)."""
        ...

    def observe_validation(self, slopes: Tensor, state: State) -> State:
        """Return the next state of the tasks present.

        Parameters
        ----------
        slopes : Tensor of shape (k,)
            Derivatives in the weights of these tasks of the held-out loss after a step.
        state : State
            The state of these tasks.
        """
        ...


class Stateless:
    """A balancer that remembers nothing."""

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty state."""
        return State()


AnyBalancer = LossBalancer | GradientBalancer


def weighs_losses(balancer: object) -> TypeGuard[LossBalancer]:
    """Say whether a balancer needs the losses only."""
    return hasattr(type(balancer), "weigh_losses")


def weighs_gradients(balancer: object) -> TypeGuard[GradientBalancer]:
    """Say whether a balancer needs the Gramian; a look at the type, for steps are short."""
    return hasattr(type(balancer), "weigh_gradients")


def require_nonnegative(losses: Tensor, owner: object) -> Tensor:
    """Return the losses, or raise :class:`DataError` if one is negative."""
    if bool((losses < 0).any()):
        at = [str(i) for i in torch.nonzero(losses < 0).flatten().tolist()]
        where = LazyMessage("place.positions", {"positions": at})
        got, allowed = f"{float(losses.min()):.6g}", LazyMessage("allowed.weights")
        raise DataError(sentence("losses", type(owner).__name__, allowed, got, where))
    return losses


def at_least_tiny(losses: Tensor) -> Tensor:
    """Return losses that can be divided by: none under 1e-8 of the largest."""
    tiny = torch.finfo(losses.dtype).tiny
    return losses.clamp_min(1e-8 * float(losses.max())).clamp_min(tiny**0.5)


def seeded(seed: int) -> Tensor:
    """Return the state of a generator on the host at its seed."""
    return torch.Generator().manual_seed(seed).get_state()


def resumed(state: State) -> torch.Generator:
    """Return the generator that a state holds."""
    generator = torch.Generator()
    generator.set_state(state.common["generator"].cpu())
    return generator


class StatefulBalancer:
    """A balancer together with the state that it keeps for the tasks of one training.

    The balancer itself never changes. Tasks that are absent from a batch are dropped before
    it weighs the others, and their part of the state stays as it was.

    Parameters
    ----------
    balancer : LossBalancer or GradientBalancer
        How tasks are weighed.
    n_tasks : int
        Number of tasks, present or not.

    Raises
    ------
    IncompatibleError
        If `balancer` is not one.

    Examples
    --------
    >>> import torch
    >>> from polytask.deep.balancing import DWA, StatefulBalancer
    >>> balance = StatefulBalancer(DWA(), n_tasks=3)
    >>> balance.weigh(torch.tensor([0.5, 2.0]), present=torch.tensor([0, 2]))
    tensor([1., 1.])
    """

    def __init__(self, balancer: AnyBalancer, n_tasks: int) -> None:
        self.balancer = required_balancer(balancer)
        self.n_tasks = positive_integer(n_tasks, "n_tasks", "StatefulBalancer")
        self._state: State | None = None

    def __repr__(self) -> str:
        return f"StatefulBalancer({self.balancer!r}, n_tasks={self.n_tasks})"

    @property
    def needs_gramian(self) -> bool:
        """Whether the weights depend on the gradients of the tasks."""
        return weighs_gradients(self.balancer)

    @property
    def needs_validation(self) -> bool:
        """Whether :meth:`look_ahead` is to be called before each step."""
        return hasattr(type(self.balancer), "observe_validation")

    @property
    def remembers(self) -> bool:
        """Whether a step leaves something for the next one."""
        return self.balancer.start(self.n_tasks, torch.zeros(1)).remembers

    def weigh(
        self, losses: Tensor, present: Tensor | None = None, gramian: Tensor | None = None
    ) -> Tensor:
        """Return the weights of the tasks present, and go on to the next state.

        Parameters
        ----------
        losses : Tensor of shape (k,)
            Losses of the tasks present.
        present : LongTensor of shape (k,), default=None
            Their numbers, each once; None: all tasks in order.
        gramian : Tensor of shape (k, k), default=None
            Inner products of the gradients of the losses; needed where `needs_gramian`.

        Returns
        -------
        Tensor of shape (k,)
            The weights, of the dtype of the losses.

        Raises
        ------
        DataError
            If a loss is not finite, or is one that the balancer cannot use.
        """
        seen = full(losses.detach())
        numbers = task_numbers(present, len(seen), self.n_tasks)
        require_finite(seen, numbers)
        if not len(seen):
            return losses.detach()
        state = self._current(seen)
        if numbers is None:
            weights, self._state = self._weighed(seen, gramian, state)
            return weights if seen.dtype == losses.dtype else weights.to(losses)
        here = numbers.to(seen.device)
        weights, after = self._weighed(seen, gramian, state.of(here))
        self._state = state.merged(here, after)
        return weights if seen.dtype == losses.dtype else weights.to(losses)

    def observe(self, losses: Tensor, present: Tensor | None = None) -> None:
        """Learn from the losses of the last batch after the step was taken.

        Parameters
        ----------
        losses : Tensor of shape (k,)
            The losses of the same batch, computed again.
        present : LongTensor of shape (k,), default=None
            Numbers of their tasks; None: all tasks in order.

        Raises
        ------
        IncompatibleError
            If the balancer does not learn from that; FAMO does.
        """
        if not isinstance(self.balancer, Observer):
            fields = {"balancer": type(self.balancer).__name__}
            raise IncompatibleError(LazyMessage("deep.refusal.no_observer", fields))
        self._learn(self.balancer.observe_losses, full(losses.detach()), present)

    def look_ahead(
        self,
        terms: Tensor,
        parameters: Sequence[nn.Parameter],
        held_out: Callable[[], Tensor],
        step: float,
        present: Tensor | None = None,
    ) -> None:
        """Learn from held-out losses before a step, where `needs_validation`.

        A plain gradient step of the weighted terms is taken on trial. With V the held-out loss
        after it and g_t the gradient of term t, the derivative of V in the weight of task t is
        ``-step * <g_t, grad V>``, here exactly, by a second derivative of the terms.

        Parameters
        ----------
        terms : Tensor of shape (k,)
            The terms ``s_t loss_t`` of the tasks present, with their graph, which is kept.
        parameters : sequence of nn.Parameter
            What the step moves; they are as before afterwards.
        held_out : callable
            Returns the terms of held-out rows, (n_tasks,), 0 for a task without any, with
            their graph; it is called at the parameters after the step.
        step : float
            Length of the step.
        present : LongTensor of shape (k,), default=None
            Numbers of the tasks of `terms`; None: all tasks in order.

        Raises
        ------
        IncompatibleError
            If the balancer does not learn from that; AutoLambda does.
        DataError
            If a term or a slope is not finite.
        """
        balancer = self.balancer
        if not isinstance(balancer, ValidationObserver):
            fields = {"balancer": type(balancer).__name__}
            raise IncompatibleError(LazyMessage("deep.refusal.no_validation", fields))
        seen = full(terms.detach())
        numbers = task_numbers(present, len(seen), self.n_tasks)
        require_finite(seen, numbers)
        if not len(seen):
            return
        state = self._current(seen)
        known = state if numbers is None else state.of(numbers.to(seen.device))
        weights, _ = self._weighed(seen, None, known)
        one = weights.to(terms).requires_grad_()
        moves: Sequence[Tensor | None] = torch.autograd.grad(
            terms, parameters, one, create_graph=True, allow_unused=True
        )
        pairs = [(p, g) for p, g in zip(parameters, moves, strict=True) if g is not None]
        source = [parameter.data for parameter, _ in pairs]
        try:
            for parameter, move in pairs:
                # Through `data`, so that the graph of the terms stays valid.
                parameter.data = parameter.data - step * move.detach()
            losses = held_out()
            loss = balancer.validation_weights(self.n_tasks, losses) @ losses
            slopes: Sequence[Tensor | None] = torch.autograd.grad(
                loss, [p for p, _ in pairs], allow_unused=True
            )
        finally:
            for (parameter, _), values in zip(pairs, source, strict=True):
                parameter.data = values
        both = zip(pairs, slopes, strict=True)
        common = [(move * slope).sum() for (_, move), slope in both if slope is not None]
        if common:
            (found,) = torch.autograd.grad(torch.stack(common).sum(), one, retain_graph=True)
            self._learn(balancer.observe_validation, full(-step * found), present)

    def _learn(
        self, observe: Callable[[Tensor, State], State], values: Tensor, present: Tensor | None
    ) -> None:
        """Go on to the state after an observation. Shapes: values (k,)."""
        numbers = task_numbers(present, len(values), self.n_tasks)
        require_finite(values, numbers)
        if len(values):
            state = self._current(values)
            here = torch.arange(self.n_tasks) if numbers is None else numbers
            here = here.to(values.device)
            self._state = state.merged(here, observe(values, state.of(here)))

    def _weighed(
        self, losses: Tensor, gramian: Tensor | None, state: State
    ) -> tuple[Tensor, State]:
        """Ask the balancer."""
        balancer = self.balancer
        if not weighs_gradients(balancer):
            return cast(LossBalancer, balancer).weigh_losses(losses, state)
        if gramian is None:
            fields = {"balancer": type(balancer).__name__}
            raise IncompatibleError(LazyMessage("deep.refusal.no_gramian", fields))
        return balancer.weigh_gradients(losses, gramian.detach(), state)

    def _current(self, losses: Tensor) -> State:
        """Return the state, the first one if there was no step yet."""
        if self._state is None:
            self._state = self.balancer.start(self.n_tasks, losses)
        self._state = self._state.on(losses.device)
        return self._state

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of what is remembered, by name; empty before the first step."""
        state = self._state
        if state is None or not state.remembers:
            return {}
        named = {f"tasks.{name}": rows for name, rows in state.tasks.items()}
        named |= {f"common.{name}": value for name, value in state.common.items()}
        return {name: value.clone() for name, value in named.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state_dict` returned, or from the start if it is empty.

        Raises
        ------
        DataError
            If the names or shapes are not those of this balancer.
        """
        if not state:
            self._state = None
            return
        wanted = self.balancer.start(self.n_tasks, torch.zeros(1))
        wanted = wanted if wanted.remembers else State()
        shapes = {f"tasks.{name}": rows.shape for name, rows in wanted.tasks.items()}
        shapes |= {f"common.{name}": value.shape for name, value in wanted.common.items()}
        got = {name: value.shape for name, value in state.items()}
        if got != shapes:
            allowed = LazyMessage("allowed.entries", {"entries": _told(shapes)})
            raise DataError(sentence("state", repr(self), allowed, _told(got)))
        tasks = {name: state[f"tasks.{name}"].clone() for name in wanted.tasks}
        self._state = State(
            tasks, {name: state[f"common.{name}"].clone() for name in wanted.common}
        )


def balance_of(
    balancer: AnyBalancer | StatefulBalancer | None, n_tasks: int
) -> StatefulBalancer | None:
    """Return a balancer with its state, a new one unless it has one; None for none.

    Parameters
    ----------
    balancer : LossBalancer, GradientBalancer, StatefulBalancer or None
        The balancer.
    n_tasks : int
        How many tasks its state is for.
    """
    if balancer is None or isinstance(balancer, StatefulBalancer):
        return balancer
    return StatefulBalancer(balancer, n_tasks)


def _told(shapes: Mapping[str, torch.Size]) -> Text:
    """Return names and shapes as words."""
    told = ", ".join(f"{name} {tuple(shape)}" for name, shape in sorted(shapes.items()))
    return told or LazyMessage("got.none")


def required_balancer(balancer: object) -> AnyBalancer:
    """Return a balancer, or raise :class:`IncompatibleError`."""
    if weighs_losses(balancer) or weighs_gradients(balancer):
        return balancer
    allowed = LazyMessage("allowed.balancer")
    raise IncompatibleError(sentence("balancer", "StatefulBalancer", allowed, repr(balancer)))


def task_numbers(present: Tensor | None, n_losses: int, n_tasks: int) -> Tensor | None:
    """Return the numbers of the tasks that the losses belong to, checked."""
    # None stands for all tasks in order, also where their numbers were given.
    listed: Any = None if present is None else present.tolist()
    if n_losses == n_tasks and (listed is None or listed == list(range(n_losses))):
        return None
    if (
        present is not None
        and present.ndim == 1
        and not present.is_floating_point()
        and len(listed) == len(set(listed)) == n_losses
        and all(0 <= number < n_tasks for number in listed)
    ):
        return present.long()
    allowed = LazyMessage("allowed.task_numbers", {"count": n_losses, "last": n_tasks - 1})
    raise DataError(sentence("present", "StatefulBalancer.weigh", allowed, listed))


def require_finite(losses: Tensor, numbers: Tensor | None) -> None:
    """Raise :class:`DataError` naming the tasks whose loss is not finite."""
    if math.isfinite(float(losses.sum())):
        return
    # A sum of finite losses may overflow.
    bad = torch.nonzero(~torch.isfinite(losses)).flatten().tolist()
    if bad:
        tasks = bad if numbers is None else numbers[bad].tolist()
        values = [str(float(losses[place])) for place in bad]
        fields = {"values": values, "tasks": list(map(str, tasks))}
        raise DataError(LazyMessage("deep.refusal.losses", fields))


DTYPES = {"float32": torch.float32, "float64": torch.float64}


class ArrayBalancer:
    """A :class:`StatefulBalancer` that takes and returns NumPy arrays."""

    def __init__(self, balancer: AnyBalancer, n_tasks: int, dtype: str = "float64") -> None:
        self.balance = StatefulBalancer(balancer, n_tasks)
        self.dtype = DTYPES[dtype]

    def weigh(self, losses: Array, gramian: Array, present: Array | None = None) -> np.ndarray:
        """Return the weights (k,), in the dtype that the balancer gave them."""
        numbers = None if present is None else torch.tensor(np.asarray(present))
        needed = self._tensor(gramian) if self.balance.needs_gramian else None
        weights = self.balance.weigh(self._tensor(losses), numbers, needed)
        return np.asarray(weights.numpy())

    def saved(self) -> dict[str, np.ndarray]:
        """Return the state as arrays."""
        return {name: value.numpy() for name, value in self.balance.state_dict().items()}

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state."""
        self.balance.load_state_dict({name: torch.tensor(rows) for name, rows in state.items()})

    def _tensor(self, values: Array) -> Tensor:
        """Return an array as a tensor of the dtype."""
        return torch.tensor(np.asarray(values), dtype=self.dtype)
