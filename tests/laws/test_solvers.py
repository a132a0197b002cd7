"""Every solver obeys every law, on every kind of problem and penalty."""

from __future__ import annotations

import pytest

from polytask.solvers import Factored, Reweighted, choose
from polytask.solvers.choose import SOLVERS, WORTH
from polytask.testing import check_solver
from polytask.testing._problems import small_problems
from polytask.testing.solver_laws import _penalties


def _cases():
    """What Factored minimises has no value at W; its laws are in unit/solvers/test_factored.py."""
    slow = (Reweighted(),)
    return [
        pytest.param(s, marks=[pytest.mark.slow] * (s in slow)) for s in SOLVERS if s != Factored()
    ]


@pytest.mark.parametrize("solver", _cases(), ids=repr)
def test_laws(solver):
    check_solver(solver)


def test_solvers_agree():
    for datafit in small_problems(5).values():
        for penalty in _penalties(datafit):
            able = [solver for solver in SOLVERS if not solver.accepts(datafit, penalty)]
            worth = [s for s in able if type(s) not in WORTH or WORTH[type(s)](datafit, 1)]
            assert choose(datafit, penalty) is worth[0]
            first, *others = (s.solve(datafit, penalty, tol=1e-6).objective for s in able)
            assert others == pytest.approx([first] * len(others), rel=1e-5)
