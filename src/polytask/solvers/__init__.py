"""Solvers: every answer carries a certificate and a status in words."""

from polytask.solvers.accelerated import AcceleratedGradient
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.choose import choose
from polytask.solvers.newton import Newton
from polytask.solvers.proximal_newton import ProximalNewton

__all__ = [
    "AcceleratedGradient",
    "Certificate",
    "Newton",
    "ProximalNewton",
    "Solution",
    "Solver",
    "Status",
    "choose",
]
