"""Solvers: every answer carries a certificate and a status in words."""

from polytask.solvers._free_rows import null_gradient
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.block_descent import BlockDescent
from polytask.solvers.choose import choose, on_samples
from polytask.solvers.concomitant import Concomitant
from polytask.solvers.degrees import degrees_of_freedom
from polytask.solvers.factored import Factored
from polytask.solvers.gradient import AcceleratedGradient, ExtrapolatedGradient
from polytask.solvers.group_descent import GroupDescent
from polytask.solvers.newton import Newton
from polytask.solvers.parts_gradient import PartsGradient
from polytask.solvers.proximal_newton import ProximalNewton
from polytask.solvers.reweighted import Reweighted
from polytask.solvers.separate_descent import SeparateDescent
from polytask.solvers.splitting import Splitting, label_derivatives

__all__ = [
    "AcceleratedGradient",
    "BlockDescent",
    "Certificate",
    "Concomitant",
    "ExtrapolatedGradient",
    "Factored",
    "GroupDescent",
    "Newton",
    "PartsGradient",
    "ProximalNewton",
    "Reweighted",
    "SeparateDescent",
    "Solution",
    "Solver",
    "Splitting",
    "Status",
    "choose",
    "degrees_of_freedom",
    "label_derivatives",
    "null_gradient",
    "on_samples",
]
