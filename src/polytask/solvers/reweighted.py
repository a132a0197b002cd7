"""Penalties that are not convex, as a sequence of certified convex problems."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit
from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.messages import Text
from polytask.penalties import Nonconvex, Penalty, Sum
from polytask.penalties.base import about
from polytask.penalties.sums import add
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.candidates import CONVEX, first_of
from polytask.solvers.concomitant import Concomitant
from polytask.solvers.objective import ended, null_strength_at
from polytask.solvers.splitting import Splitting

# What solves a stage, in order of preference.
_STAGE: tuple[Solver, ...] = (Concomitant(), *CONVEX, Splitting())


@saveable("solver.reweighted")
@dataclass(frozen=True)
class Reweighted(Solver):
    """Convex stages: each minimises the tangent of a concave penalty at the last answer.

    The tangent, as a function of the norms of rows, is a weighted convex penalty that lies above
    the objective and touches it, so no stage raises the objective, and each is solved to a
    certificate of its own. The first stage has all weights 1: it is the convex problem of the
    same strength, whatever the start is. The stages end when the answer solves the stage that it
    defines itself within the tolerance, which makes it a stationary point; nothing is said about
    other stationary points. ``max_iter`` bounds the iterations of a stage; the ``residual`` of
    the answer is the relative certificate of its own stage.

    Parameters
    ----------
    inner : Solver or None, default=None
        What solves the stages; None chooses.
    stages : int, default=100
        The most stages. 1 is the convex problem, 2 its adaptive form.

    References
    ----------
    T. Zhang, "Analysis of multi-stage convex relaxation for sparse regularization", JMLR 11
    (2010), section 2.
    P. Gong, J. Ye and C. Zhang, "Multi-stage multi-task feature learning", JMLR 14 (2013),
    algorithm 1.
    H. Zou and R. Li, "One-step sparse estimates in nonconcave penalized likelihood models",
    Annals of Statistics 36 (2008), section 2.3 (local linear approximation).
    """

    inner: Solver | None = None
    stages: int = 100
    few_passes = True

    def accepts(self, datafit: Datafit, penalty: Penalty) -> Text:
        """Return why the pair is impossible, or an empty string."""
        members = penalty.members if isinstance(penalty, Sum) else (penalty,)
        if not any(isinstance(member, Nonconvex) for member in members):
            return about(penalty, "solver.refusal.convex")
        first = tangents(penalty, self._origin(datafit, penalty))
        return self._solver(datafit, first)[1]

    @staticmethod
    def _origin(datafit: Datafit, penalty: Penalty) -> Array:
        null = penalty.null_point
        return np.zeros(datafit.shape) if null is None else np.asarray(null, dtype=float)

    def _solver(self, datafit: Datafit, stage: Penalty) -> tuple[Solver | None, Text]:
        """Return what solves a stage, or why nothing does."""
        if self.inner is None:
            return first_of(_STAGE, datafit, stage)
        reason = self.inner.accepts(datafit, stage)
        return (None, reason) if reason else (self.inner, "")

    def solve(
        self,
        datafit: Datafit,
        penalty: Penalty,
        *,
        tol: float = 1e-6,
        max_iter: int = 10000,
        start: Solution | None = None,
    ) -> Solution:
        """Reach a stationary point; see :meth:`Solver.solve`."""
        refusal = self.accepts(datafit, penalty)
        if refusal:
            raise IncompatibleError(refusal)
        run = _Run(self, datafit, penalty, tol, max_iter)
        return run.known(start) or run.loop(self._origin(datafit, penalty), start)


def tangents(penalty: Penalty, W: Array) -> Penalty:
    """Return a penalty with a convex one that touches it at W in place of every concave one."""
    if isinstance(penalty, Sum):
        return add(tangents(member, W) for member in penalty.members)
    return penalty.majorised(W) if isinstance(penalty, Nonconvex) else penalty


class _Run:
    """One minimisation."""

    def __init__(
        self, method: Reweighted, datafit: Datafit, penalty: Penalty, tol: float, max_iter: int
    ) -> None:
        self.method, self.datafit, self.penalty = method, datafit, penalty
        self.tol, self.max_iter = tol, max_iter
        self.started = time.perf_counter()
        self.n_iter = 0

    def _stage(
        self, W: Array, start: Solution | None, most: int | None = None
    ) -> tuple[Solution, float]:
        """Solve the stage that W defines; return the answer with the objective there."""
        stage = tangents(self.penalty, W)
        solver, reason = self.method._solver(self.datafit, stage)
        if solver is None:
            raise IncompatibleError(reason)
        given = self.datafit, stage
        most = self.max_iter if most is None else most
        found = solver.solve(*given, tol=self.tol, max_iter=most, start=start)
        self.n_iter += found.n_iter
        above = float(stage.value(found.W)) - float(self.penalty.value(found.W))
        return found, found.objective - above

    def known(self, start: Solution | None) -> Solution | None:
        """Return the start if it is a stationary point already."""
        if start is None or not np.isfinite(self.penalty.value(start.W)):
            return None
        value = self.datafit.evaluate(start.W, start.intercept).value
        value += float(self.penalty.value(start.W))
        found, lower = self._stage(start.W, start, 1)
        if found.status.ok and self._rests(found, value - lower):
            self.n_iter = 0
            same = replace(found, W=start.W.copy(), intercept=start.intercept.copy())
            return self._finished(same, value, found.certificate, Status.STATIONARY, 0)
        self.n_iter = 0
        return None

    def _rests(self, found: Solution, gained: float) -> bool:
        """Say whether a stage had nothing to do, rows that it leaves alone included."""
        return found.n_iter == 0 and gained <= self.tol * found.certificate.reference

    def _helps(self, origin: Array, start: Solution | None) -> bool:
        """Say whether the first stage is lower at the start than at zero."""
        # Features that another strength had left free may be far beyond what it allows.
        if start is None:
            return False
        stage = tangents(self.penalty, origin)
        there = self.datafit.evaluate(start.W, start.intercept).value + float(stage.value(start.W))
        return there < self.datafit.origin.value + float(stage.value(np.zeros_like(start.W)))

    def loop(self, origin: Array, start: Solution | None) -> Solution:
        """Solve stages until one has nothing left to do, or raises the objective."""
        best, value = self._stage(origin, start if self._helps(origin, start) else None)
        done = 1
        while best.status.ok and done < self.method.stages:
            found, lower = self._stage(best.W, best)
            if found.status.ok and (lower >= value or self._rests(found, value - lower)):
                # What the stage could gain at the last answer is less than its own certificate.
                last, lowest = (best, value) if lower >= value else (found, lower)
                return self._finished(last, lowest, found.certificate, Status.STATIONARY, done)
            done += 1
            if not found.status.ok and lower >= value:
                return self._finished(best, value, found.certificate, found.status, done)
            best, value = found, lower
        status = Status.LAST_STAGE if best.status.ok else best.status
        return self._finished(best, value, best.certificate, status, done)

    def _finished(
        self, at: Solution, value: float, certificate: Certificate, status: Status, stages: int
    ) -> Solution:
        # Stages that leave rows alone have a reference of their own.
        zero = float(self.penalty.value(np.zeros(self.datafit.shape)))
        reference = self.datafit.origin.value + zero
        null, unpenalised = None, self.penalty.unpenalised
        if at.null_strength is not None:
            # Rows that the last stage leaves alone may be penalised all the same.
            null = null_strength_at(self.datafit, self.penalty, at.W, unpenalised)
        certificate = Certificate(None, certificate.relative, reference)
        found = replace(
            at,
            objective=value,
            certificate=certificate,
            status=status,
            n_iter=self.n_iter,
            null_strength=null,
            stages=stages,
        )
        return ended(found, self.penalty, self.started)
