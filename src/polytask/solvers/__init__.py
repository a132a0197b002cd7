"""Solvers: every answer carries a certificate and a status in words."""

from polytask.solvers.accelerated import AcceleratedGradient
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.block_descent import BlockDescent
from polytask.solvers.choose import choose
from polytask.solvers.extrapolated import ExtrapolatedGradient
from polytask.solvers.fallback import on_samples
from polytask.solvers.newton import Newton
from polytask.solvers.proximal_newton import ProximalNewton
from polytask.solvers.separate_descent import SeparateDescent

__all__ = [
    "AcceleratedGradient",
    "BlockDescent",
    "Certificate",
    "ExtrapolatedGradient",
    "Newton",
    "ProximalNewton",
    "SeparateDescent",
    "Solution",
    "Solver",
    "Status",
    "choose",
    "on_samples",
]
