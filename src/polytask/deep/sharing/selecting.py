"""A mixture of few experts: DSelect-k."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from polytask._checks import nonnegative, positive, positive_integer, sentence
from polytask._registry import saveable
from polytask.deep.regularise.matrices import Matrix, MatrixView
from polytask.deep.regularise.penalties import PenaltyTerm, SmoothProxSplit
from polytask.deep.sharing.base import Inputs, OwnRepresentations, checked
from polytask.deep.sharing.copies import Copies
from polytask.deep.sharing.experts import draw_experts
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage
from polytask.penalties.base import Smooth


def selections(codes: Tensor, n_experts: int, gamma: float) -> Tensor:
    """Return the weight of every expert, each row a distribution, of codes in binary."""
    # Shapes: codes (..., n_bits), result (..., n_experts). Where the number of experts is no power
    # of 2, the codes that are left over stand for the first experts again.
    u = (codes / gamma).clamp(-0.5, 0.5)
    step = -2.0 * u**3 + 1.5 * u + 0.5
    found = codes.new_ones(*codes.shape[:-1], 1)
    for bit in step.unbind(-1):
        found = torch.cat([found * (1.0 - bit[..., None]), found * bit[..., None]], dim=-1)
    left = found.shape[-1] - n_experts
    if not left:
        return found
    again = nn.functional.pad(found[..., n_experts:], (0, n_experts - left))
    return found[..., :n_experts] + again


@final
@dataclass(frozen=True)
class SelectionEntropy(Smooth):
    """The entropy of selections, 0 where each is of one expert."""

    # Shapes: W (n_bits, n_selections).

    alpha: float
    n_experts: int
    gamma: float

    def value(self, W: Any) -> float:  # noqa: ANN401 - a tensor
        """Return the sum of the entropies."""
        return float(self._of(W))

    def gradient(self, W: Any) -> Any:  # noqa: ANN401 - a tensor
        """Return the gradient in the codes."""
        with torch.enable_grad():
            at = W.detach().requires_grad_()
            (found,) = torch.autograd.grad(self._of(at), at)
        return found

    def curvature(self) -> float:
        """Return no bound: the slope of an entropy has none near 0."""
        return float("inf")

    def _of(self, W: Tensor) -> Tensor:
        # Where a weight is 0 the slope of its code is 0 too, but infinity times 0 is not.
        weights = selections(W.T, self.n_experts, self.gamma).clamp_min(1e-12)
        found: Tensor = self.alpha * torch.special.entr(weights).sum()
        return found


@final
@saveable("deep.sharing.dselect_k")
@dataclass(frozen=True)
class DSelectK:
    """DSelect-k: experts as in :class:`MMoE`, of which every task chooses at most k.

    A task has k selectors, each a code of ceil(log2(n_experts)) numbers z. The smooth step of z
    with width gamma, which is exactly 0 below -gamma / 2 and exactly 1 above gamma / 2, is the
    probability that a bit of the expert's number is 1; the gate is the mixture of the selectors
    by a softmax that is learned [1]_. An entropy is added to the loss, which drives selectors
    to single experts; once they are there, the weights of all others are exactly 0 and stay so.
    These are the static gates of the paper: a task chooses experts, not a row. ``gates()`` of
    the built module is the table of weights.

    n_experts times the parameters of the trunk, plus n_tasks * k * (bits + 1). It tells which
    tasks share what; not for short trainings, as a code has gamma / 2 to go before its bit is
    decided. The first expert starts from the weights of the trunk. Rows of an unseen task get
    the mean of the representations for all tasks.

    Parameters
    ----------
    n_experts : int, default=4
        The number of experts, >= 1.
    k : int, default=2
        How many experts a task may use, in [1, n_experts].
    entropy : float, default=0.1
        The strength of the entropy, >= 0, beside the sum over tasks of mean losses.
    gamma : float, default=1.0
        The width of the smooth step, > 0; bits are decided sooner where it is small.

    References
    ----------
    .. [1] Hazimeh, H., Zhao, Z., Chowdhery, A., Sathiamoorthy, M., Chen, Y., Mazumder, R., Hong,
       L. and Chi, E. (2021). DSelect-k: differentiable selection in the mixture of experts with
       applications to multi-task learning. NeurIPS, Equations 5 to 8. There a penalty keeps
       codes away from numbers without an expert; here these stand for experts too.
    """

    n_experts: int = 4
    k: int = 2
    entropy: float = 0.1
    gamma: float = 1.0

    def __post_init__(self) -> None:
        for name in ("n_experts", "k"):
            positive_integer(getattr(self, name), name, "DSelectK")
        if self.k > self.n_experts:
            allowed = LazyMessage("allowed.at_most_experts", {"count": self.n_experts})
            raise ParameterError(sentence("k", "DSelectK", allowed, self.k))
        nonnegative(self.entropy, "entropy", "DSelectK")
        positive(self.gamma, "gamma", "DSelectK")

    def build(self, trunk: nn.Module, n_tasks: int) -> SelectedExperts:
        """Return the module with the experts and the selectors of each task."""
        count = checked(trunk, n_tasks, "DSelectK")
        return SelectedExperts(draw_experts(trunk, self.n_experts), count, self)


@final
class SelectedExperts(OwnRepresentations):
    """DSelect-k, built."""

    # Shapes: selectors (n_tasks, k, n_bits), mixture (n_tasks, k).

    not_weights = ("selectors", "mixture")

    def __init__(self, experts: Copies, n_tasks: int, how: DSelectK) -> None:
        super().__init__()
        self.trunk = experts
        self.n_tasks = n_tasks
        self._how = how
        n_bits = (how.n_experts - 1).bit_length()
        codes = (torch.rand(n_tasks, how.k, n_bits) - 0.5) * how.gamma / 50.0
        self.selectors = nn.Parameter(codes)
        self.mixture = nn.Parameter(torch.zeros(n_tasks, how.k))

    def gates(self) -> Tensor:
        """Return the weight of every expert for each task, (n_tasks, n_experts)."""
        chosen = selections(self.selectors, self._how.n_experts, self._how.gamma)
        return torch.einsum("tk,tke->te", self.mixture.softmax(-1), chosen)

    def penalty_terms(self) -> list[PenaltyTerm]:
        """Return the entropy of the selectors."""
        if not self.selectors.numel() or self._how.entropy == 0:
            return []
        matrix = Matrix("selectors", ((self.selectors, MatrixView(2)),))
        smooth = SelectionEntropy(self._how.entropy, self._how.n_experts, self._how.gamma)
        return [PenaltyTerm("sharing", matrix, SmoothProxSplit(smooth, None))]

    def _every(self, x: Inputs) -> Tensor:
        return torch.einsum("te,enh->nth", self.gates(), self.trunk(x))

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        return torch.einsum("ne,enh->nh", self.gates()[task], self.trunk(x))

    def readout(self, x: Inputs, weight: Tensor, owners: Tensor) -> Tensor:
        """Return linear maps of the representations for all tasks, which are not formed."""
        # Shapes: weight (n_columns, h), owners (n_columns,), result (n, n_columns).
        return torch.einsum("ce,enc->nc", self.gates()[owners], self.trunk(x) @ weight.T)
