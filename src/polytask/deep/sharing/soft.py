"""A trunk for each task, held together by a penalty of their differences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from torch import Tensor, nn

from polytask._checks import positive_integer, sentence
from polytask._registry import saveable
from polytask.deep.regularise.terms import PenaltyTerm, term
from polytask.deep.sharing.base import Inputs, copied, refuse_task, served
from polytask.deep.sharing.copies import Copies, make_copies
from polytask.exceptions import ParameterError
from polytask.penalties import Penalty, toward_mean


@final
@saveable("deep.sharing.soft")
@dataclass(frozen=True)
class Soft:
    """Soft sharing: every task has a trunk of its own, a tower, and a penalty pulls them together.

    The penalty sees, for each parameter of the trunk, a matrix with one column for each task
    (the flattened parameter of its tower). ``toward_mean`` is the L2 distance to the mean tower
    [1]_, ``TraceNorm`` lets the towers span few directions [2]_; any other penalty that couples
    columns serves as well, with the tasks numbered 0, 1, ... What is smooth is added to the
    loss, what is not is a proximal step; both through
    :class:`~polytask.deep.regularise.Penalties`. All towers start from the weights of the
    trunk, so that the distances start at 0.

    n_tasks times the parameters of the trunk. Not for many tasks with few rows each: there hard
    sharing has the same means with far fewer weights. Rows of an unseen task get the mean of the
    representations of all towers.

    Parameters
    ----------
    penalty : Penalty, default=toward_mean(1e-2)
        What holds the towers together, with an alpha.

    References
    ----------
    .. [1] Duong, L., Cohn, T., Bird, S. and Cook, P. (2015). Low resource dependency parsing:
       cross-lingual parameter sharing in a neural network parser. ACL, 845-850, Equation 2 (for
       two towers).
    .. [2] Yang, Y. and Hospedales, T. M. (2017). Trace norm regularised deep multi-task
       learning. ICLR workshop, Equation 1.
    """

    penalty: Penalty = field(default_factory=lambda: toward_mean(1e-2))

    def __post_init__(self) -> None:
        """Refuse what is no penalty."""
        if not isinstance(self.penalty, Penalty):
            allowed = "a penalty, such as toward_mean(0.01) or TraceNorm(0.01)"
            raise ParameterError(sentence("penalty", "Soft", allowed, repr(self.penalty)))

    def build(self, trunk: nn.Module, n_tasks: int) -> SoftSharing:
        """Return the module with a tower for each task."""
        refuse_task(trunk, "Soft")
        count = positive_integer(n_tasks, "n_tasks", "Soft")
        return SoftSharing(make_copies([copied(trunk) for _ in range(count)]), self.penalty)


@final
class SoftSharing(nn.Module):
    """Soft sharing, built."""

    shared_representation = False

    def __init__(self, towers: Copies, penalty: Penalty) -> None:
        super().__init__()
        self.trunk = towers
        self.n_tasks = towers.n_copies
        self.penalty = penalty

    @property
    def batched(self) -> bool:
        """Whether the towers are one batched computation."""
        return self.trunk.batched

    def penalty_terms(self) -> list[PenaltyTerm]:
        """Return the penalty of every parameter of the trunk over the towers."""
        return [term("sharing", matrix, self.penalty) for _, matrix in self.trunk.matrices()]

    def forward(self, x: Inputs, task: Tensor | None = None) -> Tensor:
        """Return the representation by the row's own tower, (n, h), or (n, n_tasks, h) by all."""
        # Shapes: task (n,).
        if task is None:
            return self._every(x)
        return served(x, task, self.trunk.of_rows, self._every)

    def _every(self, x: Inputs) -> Tensor:
        """Return the representations by all towers, (n, n_tasks, h)."""
        whole: Tensor = self.trunk(x)
        return whole.transpose(0, 1)
