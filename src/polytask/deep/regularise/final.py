"""The end of training: proximal gradient steps on the penalised layers until convergence."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from polytask._checks import positive, positive_integer
from polytask.deep.regularise.matrices import ONE_COLUMN, Matrix
from polytask.deep.regularise.penalties import Penalties
from polytask.exceptions import ConvergenceWarning
from polytask.messages import LazyMessage
from polytask.penalties import Proximable
from polytask.solvers import Status

# How the guess of the curvature changes where a step fails, and after each that does not.
_UP, _DOWN = 2.0, 0.9
_STEEPEST = 1e30

_TOLD = {Status.MAX_ITER: "warn.last_step", Status.STALLED: "warn.no_step"}


@final
@dataclass(frozen=True)
class FinalPhase:
    """How a final phase ended.

    Attributes
    ----------
    objective : float
        The loss plus all penalties.
    residual : dict from str to float
        The stationarity residual of each name, as in `Penalties.residual`.
    n_iter : int
        The number of steps.
    status : Status
        What that means, in words.
    """

    objective: float
    residual: dict[str, float]
    n_iter: int
    status: Status


@final
@dataclass(frozen=True, eq=False)
class _Block:
    """Parameters that move together, and the penalty whose prox they take."""

    matrix: Matrix
    part: Proximable | None

    def prox(self, W: Tensor, step: float) -> Tensor:
        return W if self.part is None else self.part.prox(W, step)

    def cost(self, W: Tensor) -> float:
        return 0.0 if self.part is None else float(self.part.value(W))


_Point = list[Tensor]


def _blocks(penalties: Penalties, also: Iterable[nn.Parameter]) -> list[_Block]:
    """Return what moves: terms with a prox, then every other parameter by itself."""
    free = [term for term in penalties.terms if not term.matrix.frozen]
    terms = [term for term in free if term.split.proximable is not None]
    for term in terms:
        term.matrix.require_free()
    blocks = [_Block(term.matrix, term.split.proximable) for term in terms]
    held = {id(p) for block in blocks for p in block.matrix.parameters}
    smooth = (p for term in penalties.terms for p in term.matrix.parameters)
    for parameter in (*smooth, *also):
        if id(parameter) not in held and parameter.requires_grad:
            held.add(id(parameter))
            blocks.append(_Block(Matrix("also", ((parameter, ONE_COLUMN),)), None))
    return blocks


def _inner(one: _Point, other: _Point) -> float:
    return sum(float((a * b).sum()) for a, b in zip(one, other, strict=True))


def _norm(point: _Point) -> float:
    return math.sqrt(_inner(point, point))


@final
@dataclass(eq=False)
class _Descent:
    """Accelerated proximal gradient with a line search and restarts."""

    # Beck, A. and Teboulle, M. (2009). A fast iterative shrinkage-thresholding algorithm for
    # linear inverse problems. SIAM Journal on Imaging Sciences 2, 183-202, Section 4. O'Donoghue,
    # B. and Candès, E. (2015). Adaptive restart for accelerated gradient schemes. Foundations of
    # Computational Mathematics 15, 715-732, Section 3.2.

    blocks: list[_Block]
    loss: Callable[[], Tensor | float]
    steepness: float = 1.0
    weight: float = 1.0
    objective: float = math.inf
    residual: float = math.inf
    point: _Point = field(default_factory=list)
    ahead: _Point = field(default_factory=list)

    def start(self) -> None:
        """Take the parameters as they are for the first point."""
        self.point = [block.matrix.value().detach().clone() for block in self.blocks]
        self.ahead = self.point
        self.objective = self._smooth(self.point) + self._cost(self.point)

    def write(self, point: _Point) -> None:
        """Put a point into the parameters."""
        for block, W in zip(self.blocks, point, strict=True):
            block.matrix.write(W)

    def _cost(self, point: _Point) -> float:
        return sum(block.cost(W) for block, W in zip(self.blocks, point, strict=True))

    def _smooth(self, point: _Point) -> float:
        self.write(point)
        with torch.no_grad():
            return float(self.loss())

    def _slope(self, point: _Point) -> tuple[float, _Point]:
        """Return the smooth part at a point and its gradient."""
        self.write(point)
        found = self.loss()
        parameters = [p for block in self.blocks for p in block.matrix.parameters]
        if not isinstance(found, Tensor) or not found.requires_grad:
            return float(found), [torch.zeros_like(W) for W in point]
        given = torch.autograd.grad(found, parameters, allow_unused=True, materialize_grads=True)
        pieces = iter(given)
        slopes = [
            block.matrix.joined([next(pieces) for _ in block.matrix.parameters])
            for block in self.blocks
        ]
        return float(found.detach()), slopes

    def step(self) -> bool:
        """Take one step; False where no step, however short, goes down as it should."""
        value, slope = self._slope(self.ahead)
        while self.steepness < _STEEPEST:
            size = 1.0 / self.steepness
            trial = [
                block.prox(W - size * g, size)
                for block, W, g in zip(self.blocks, self.ahead, slope, strict=True)
            ]
            move = [a - b for a, b in zip(trial, self.ahead, strict=True)]
            bound = value + _inner(slope, move) + 0.5 * self.steepness * _inner(move, move)
            reached = self._smooth(trial)
            if reached <= bound + self._slack(value):
                self._accept(trial, move, reached + self._cost(trial))
                return True
            self.steepness *= _UP
        return False

    def _slack(self, value: float) -> float:
        """Return what rounding may add to a value of the smooth part."""
        return 4.0 * torch.finfo(self.point[0].dtype).eps * max(abs(value), abs(self.objective))

    def _accept(self, trial: _Point, move: _Point, objective: float) -> None:
        """Go to a point, or back to the last one, without momentum, if it is no better."""
        self.residual = self.steepness * _norm(move)
        if objective > self.objective + self._slack(objective) and self.weight > 1.0:
            self.weight, self.ahead = 1.0, self.point
            return
        weight = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * self.weight**2))
        share = (self.weight - 1.0) / weight
        self.ahead = [b + share * (b - a) for a, b in zip(self.point, trial, strict=True)]
        self.weight, self.point, self.objective = weight, trial, objective
        self.steepness *= _DOWN

    def ends(self, tol: float) -> bool:
        """Tell whether what is left to gain, if convex, is below a share of the objective."""
        reach = max(_norm(self.point), _norm(self.ahead))
        return self.residual * reach <= tol * abs(self.objective)


def _residuals(penalties: Penalties, loss: Callable[[], Tensor | float]) -> dict[str, float]:
    """Return the residuals at the present parameters, whose gradients are then cleared."""
    parameters = {p for term in penalties.terms for p in term.matrix.parameters}
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    found = loss()
    if isinstance(found, Tensor) and found.requires_grad:
        found.backward()  # type: ignore[no-untyped-call]
    residual = penalties.residual()
    for parameter in parameters:
        parameter.grad = None
    return residual


def final_phase(
    penalties: Penalties,
    loss: Callable[[], Tensor],
    *,
    also: Iterable[nn.Parameter] = (),
    tol: float = 1e-6,
    max_iter: int = 1000,
) -> FinalPhase:
    """End training with proximal gradient steps on the penalised layers.

    For penalties that the optimiser in use cannot apply (spectral ones under Adam), and for a
    certificate: accelerated proximal gradient with a search for the step, on the layers that
    have penalties and on nothing else, until the residual is small. For layers whose outputs the
    loss is convex in (heads; the whole of a network without hidden layers) the result is the
    optimum, otherwise a stationary point not above the start.

    Parameters
    ----------
    penalties : Penalties
        The penalties of a network.
    loss : callable
        Returns the data term on all training data as a tensor, the same each time it is called
        at the same parameters: switch dropout and batch norms to ``eval()`` first. The smooth
        penalties are added here.
    also : iterable of Parameter, default=()
        Parameters without penalties that move as well, such as the biases of the heads.
    tol : float, default=1e-6
        It ends where residual times size of the layers, which for a convex problem bounds what
        is left to gain up to a factor of 2 near the optimum, is below tol times the objective.
    max_iter : int, default=1000
        The most steps.

    Returns
    -------
    FinalPhase
        The gradients of the penalised parameters are cleared.

    Warns
    -----
    ConvergenceWarning
        If max_iter steps, or the precision, are not enough.

    Examples
    --------
    >>> import torch
    >>> from polytask.deep.regularise import Penalties, final_phase
    >>> from polytask.penalties import TraceNorm
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4))
    >>> x, y = torch.eye(3), torch.zeros(3, 4)
    >>> penalties = Penalties(net, {"0": TraceNorm(10.0)})
    >>> end = final_phase(penalties, lambda: (net(x) - y).square().mean())
    >>> int(net[0].weight.count_nonzero()), end.status.ok
    (0, True)
    """
    tol = positive(tol, "tol", "final_phase")
    limit = positive_integer(max_iter, "max_iter", "final_phase")

    def smooth() -> Tensor | float:
        return loss() + penalties.smooth()

    descent = _Descent(_blocks(penalties, also), smooth)
    descent.start()
    status, n_iter = Status.MAX_ITER, 0
    while n_iter < limit and status is Status.MAX_ITER:
        n_iter += 1
        if not descent.step():
            status = Status.STALLED
        elif descent.ends(tol):
            status = Status.CONVERGED
    descent.write(descent.point)
    found = FinalPhase(descent.objective, _residuals(penalties, smooth), n_iter, status)
    if not status.ok:
        left = f"{max(found.residual.values(), default=0.0):.2g}"
        message = LazyMessage(_TOLD[status], {"residual": left})
        warnings.warn(ConvergenceWarning(message), stacklevel=2)
    return found
