"""Every solver obeys every law, on every kind of problem and penalty."""

from __future__ import annotations

import pytest

from polytask import solvers
from polytask.solvers import Factored, Solver, choose
from polytask.solvers.candidates import WORTH
from polytask.solvers.choose import SOLVERS
from polytask.testing import check_solver
from polytask.testing._problems import small_problems
from polytask.testing.solver_laws import _penalties

# A quick look tries one pair of a problem and a penalty in so many: each penalty once, as
# there are eleven problems.
EVERY = [pytest.param(11, id="quick"), pytest.param(1, id="all", marks=pytest.mark.exhaustive)]
MEMBERS = [getattr(solvers, name) for name in solvers.__all__]
# What Factored minimises has no value at W; its laws are in unit/solvers/test_factored.py.
OF_W = [
    kind()
    for kind in MEMBERS
    if isinstance(kind, type) and issubclass(kind, Solver) and kind not in (Solver, Factored)
]


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("solver", OF_W, ids=repr)
def test_laws(solver, every):
    check_solver(solver, every=every)


def test_solvers_that_are_chosen_are_exported():
    assert {*map(type, SOLVERS)} <= {*map(type, OF_W), Factored}


@pytest.mark.parametrize("every", EVERY)
def test_solvers_agree(every):
    for number, datafit in enumerate(small_problems(5).values()):
        for penalty in list(_penalties(datafit))[number % every :: every]:
            able = [solver for solver in SOLVERS if not solver.accepts(datafit, penalty)]
            worth = [s for s in able if type(s) not in WORTH or WORTH[type(s)](datafit, 1)]
            assert choose(datafit, penalty) is worth[0]
            first, *others = (s.solve(datafit, penalty, tol=1e-6).objective for s in able)
            assert others == pytest.approx([first] * len(others), rel=1e-5)
