"""Laws that losses, penalties, datafits, solvers and balancers obey, also those from outside."""

from __future__ import annotations

from polytask.testing.balancer_laws import check_balancer
from polytask.testing.datafit_laws import check_datafit
from polytask.testing.loss_laws import check_loss
from polytask.testing.penalty_laws import check_penalty
from polytask.testing.solver_laws import check_solver

__all__ = ["check_balancer", "check_datafit", "check_loss", "check_penalty", "check_solver"]
