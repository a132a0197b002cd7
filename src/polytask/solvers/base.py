"""What a solver returns: an answer, its certificate and a status in words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum

from polytask._registry import State, fields_of, saveable
from polytask.datafits import Datafit
from polytask.datafits.base import Array
from polytask.messages import LazyMessage, Text, one_paragraph
from polytask.penalties import Penalty


class Status(Enum):
    """How a solver ended; the value is the key of a sentence with advice."""

    CONVERGED = "status.converged"
    ALL_ZERO = "status.all_zero"
    PENALISED_ZERO = "status.penalised_zero"
    STATIONARY = "status.stationary"
    LAST_STAGE = "status.last_stage"
    MAX_ITER = "status.max_iter"
    STALLED = "status.stalled"
    UNBOUNDED = "status.unbounded"
    FITTED_EXACTLY = "status.fitted_exactly"
    ON_SAMPLES = "status.on_samples"
    STALLED_ON_SAMPLES = "status.stalled_on_samples"

    @property
    def told(self) -> LazyMessage:
        """The sentence."""
        return LazyMessage(self.value)

    @property
    def ok(self) -> bool:
        """Whether the tolerance was reached."""
        zero = (Status.ALL_ZERO, Status.PENALISED_ZERO)
        return self in (Status.CONVERGED, *zero, Status.ON_SAMPLES, Status.STATIONARY)


# Names in files of earlier versions.
_RENAMED = {"ENDLESS": "UNBOUNDED"}


@saveable("solver.certificate")
@dataclass(frozen=True, eq=False)
class Certificate:
    """How far an answer can be from the optimum.

    Attributes
    ----------
    gap : float or None
        Duality gap: the objective exceeds its minimum by no more. None if the penalty has
        no usable conjugate.
    residual : float
        Norm of the fixed-point residual relative to that at W = 0.
    reference : float
        Objective at W = 0 with the best intercepts; 0 if that is optimal up to rounding.
    """

    gap: float | None
    residual: float
    reference: float

    @property
    def relative(self) -> float:
        """The gap over the reference objective, or the residual where there is no gap."""
        if self.gap is None:
            return self.residual
        return self.gap / self.reference if self.reference > 0 else self.gap


@saveable("solver.solution")
@dataclass(frozen=True, eq=False)
class Solution:
    """The answer of a solver.

    Attributes
    ----------
    W : ndarray of shape (n_features, n_columns)
        Coefficients.
    intercept : ndarray of shape (n_columns,)
        Intercepts.
    objective : float
        Value of the objective at the answer.
    certificate : Certificate
        Duality gap or fixed-point residual.
    status : Status
        How the solver ended.
    n_iter : int
        Iterations.
    seconds : float
        Wall time.
    null_strength : float or None
        For an answer that is zero: the strength below which it is not.
    memory : tuple of ndarray, default=()
        What else the solver goes on from if this is its start, such as dual variables; it is
        not saved.
    stages : int or None
        Convex problems solved one after the other, for a penalty that is not convex; the
        residual is then the relative certificate of the problem that the answer defines.
    parts : tuple of ndarray of shape (n_features, n_columns), or None, default=None
        What W is the sum of, for a penalty of parts.
    factors : tuple of ndarray, or None, default=None
        What W is the product of, for ``LatentTasks``: latent tasks and codes.
    """

    W: Array
    intercept: Array
    objective: float
    certificate: Certificate
    status: Status
    n_iter: int
    seconds: float
    null_strength: float | None = None
    memory: tuple[Array, ...] = field(default=(), repr=False)
    parts: tuple[Array, ...] | None = None
    factors: tuple[Array, Array] | None = None
    stages: int | None = None

    @property
    def gap(self) -> float | None:
        """Duality gap, None if the penalty has no usable conjugate."""
        return self.certificate.gap

    @property
    def residual(self) -> float:
        """Relative fixed-point residual."""
        return self.certificate.residual

    @property
    def told(self) -> LazyMessage:
        """The status in words, with the strength below which coefficients appear."""
        found = [self.status.told]
        if self.stages is not None:
            fields = {"stages": str(self.stages), "residual": f"{self.residual:.1e}"}
            found.append(LazyMessage("status.stages", fields))
        if self.null_strength is not None:
            fields = {"strength": f"{self.null_strength:.6g}"}
            found.append(LazyMessage("status.null_strength", fields))
        return one_paragraph(found)

    @property
    def message(self) -> str:
        """The same in English."""
        return str(self.told)

    def to_state(self) -> State:
        """Return the fields that are saved by name, the status by its name."""
        state = fields_of(self) | {"status": self.status.name}
        del state["memory"]
        return state

    @classmethod
    def from_state(cls, state: State) -> Solution:
        """Rebuild the object from :meth:`to_state`."""
        status = str(state["status"])
        return cls(**state | {"status": Status[_RENAMED.get(status, status)]})


def starting_point(W: Array, intercept: Array) -> Solution:
    """Return a start of which nothing is known but the point."""
    unknown = Certificate(None, float("inf"), 0.0)
    return Solution(W, intercept, float("inf"), unknown, Status.MAX_ITER, 0, 0.0)


def refuse_kinks(datafit: Datafit) -> Text:
    """Return why a solver that needs gradients does not take a datafit, or an empty string."""
    return "" if datafit.is_smooth else LazyMessage("solver.refusal.kinks")


class Solver(ABC):
    """Minimises datafit + penalty."""

    # Whether it evaluates the data term so rarely that each time may be a pass over a file.
    few_passes = False
    # Whether it needs no more of the data term than gradients and a bound of the curvature, so
    # that a pass over a file sums up as many numbers as there are coefficients.
    only_gradients = False

    @abstractmethod
    def accepts(self, datafit: Datafit, penalty: Penalty) -> Text:
        """Return why the pair is impossible, a message or words, or an empty string."""

    @abstractmethod
    def solve(
        self,
        datafit: Datafit,
        penalty: Penalty,
        *,
        tol: float = 1e-6,
        max_iter: int = 10000,
        start: Solution | None = None,
    ) -> Solution:
        """Minimise.

        Parameters
        ----------
        datafit : Datafit
            The data term.
        penalty : Penalty
            Bound to the columns, with a strength.
        tol : float, default=1e-6
            Bound of :attr:`Certificate.relative`. Where rounding stands in its way the
            solver ends with :attr:`Status.STALLED` and its best answer.
        max_iter : int, default=10000
            Bound of the iterations.
        start : Solution or None
            A warm start.

        Returns
        -------
        Solution

        Raises
        ------
        IncompatibleError
            If the solver cannot handle the pair.
        DataError
            If the numbers are so large that sums of their squares overflow.
        """
