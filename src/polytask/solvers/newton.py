"""Newton's method with conjugate gradients, for quadratic penalties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit
from polytask.datafits.base import Array
from polytask.penalties import Penalty, Quadratic, Split
from polytask.solvers._conjugate_gradients import conjugate_gradients
from polytask.solvers.driver import Iterate, ProximalMethod, Round, SplitSolver
from polytask.solvers.objective import Objective

_FIRST_FORCING = 0.1
_SHARPER = 0.01
_EXACT = 1e-13
# From this tolerance on, as along a path, a quadratic is solved to a share of it.
_LOOSE, _SHARE = 1e-5, 0.1


@saveable("solver.newton")
@dataclass(frozen=True)
class Newton(SplitSolver):
    """Truncated Newton: each step solves the Newton system by conjugate gradients.

    For the squared loss one step is the answer, and where nothing couples the tasks the
    preconditioner alone solves it. ``max_iter`` bounds the Hessian products.

    References
    ----------
    J. Nocedal and S. Wright, "Numerical Optimization" (2006), algorithm 7.1.
    """

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> str:
        """Return why the pair is impossible, or an empty string."""
        smooth, nonsmooth = split.smooth, split.proximable
        is_quadratic = smooth is None or isinstance(smooth, Quadratic)
        if is_quadratic and (nonsmooth is None or isinstance(nonsmooth, Quadratic)):
            return ""
        return (
            f"Newton needs a quadratic penalty; {penalty!r} is not. "
            "Use AcceleratedGradient, or solver='auto'."
        )

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _Newton(objective, tol)


class _Newton(ProximalMethod):
    """Steps that solve the Newton system ever more accurately."""

    patience = 5
    progress = 0.5
    # Where the system has lost its digits, steps go on for ever and gain next to nothing.
    least_fall = 1e-8

    def __init__(self, objective: Objective, tol: float) -> None:
        ridge: object = objective.nonsmooth
        self.ridge = ridge if isinstance(ridge, Quadratic) else None
        # Where nothing couples the tasks their inverses give the first step.
        self.direct = objective.smooth is None
        # One accurate step is the answer to a quadratic.
        self.forcing = _FIRST_FORCING
        if objective.datafit.is_quadratic:
            self.forcing = _EXACT if tol < _LOOSE else _SHARE * tol
        # The trace bounds the curvature, at no cost.
        trace = float(np.sum(objective.datafit.feature_scale() ** 2))
        trace += 0.0 if self.ridge is None else self.ridge.curvature()
        trace += 0.0 if objective.smooth is None else objective.smooth.curvature()
        trace = max(trace, float(np.finfo(float).tiny))
        super().__init__(objective, np.full(objective.datafit.shape[0], trace))

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Take one step."""
        ridge, hessian, shift, gradient = self.ridge, now.at.hessian, 0.0, now.at.gradient
        if ridge is not None:
            shift, gradient = ridge.curvature(), gradient + ridge.gradient(now.W)

        def product(V: Array) -> Array:
            return hessian(V) if ridge is None else hessian(V) + ridge.apply(V)

        precondition = now.at.preconditioner(shift)
        if self.direct and now.at.is_inverted:
            # What the inverse leaves is rounding, for a step of conjugate gradients at most.
            self.direct, step, products = False, precondition(-gradient), 1
        else:
            step, products = conjugate_gradients(
                product, -gradient, precondition, self.forcing, left
            )
        self.forcing = max(_SHARPER * self.forcing, _EXACT)
        found = self.line_search(now, step, float(np.sum(gradient * step)))
        return Round(None if found is None else self.judged(*found), max(products, 1))
