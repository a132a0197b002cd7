"""Each law of `check_solver` fails for a solver that breaks it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from polytask.datafits import SquaredStatistics
from polytask.exceptions import IncompatibleError
from polytask.penalties import L2, L21, decompose
from polytask.solvers import AcceleratedGradient, Solver, Status
from polytask.testing import check_solver

TRUE = AcceleratedGradient()


class Altered(Solver):
    """A solver of few problems that is wrong in what it does with an answer."""

    def __init__(self, change, kinds=(L21, L2), accepts=None, tol=lambda tol: tol):
        self.change, self.kinds, self.tol = change, kinds, tol
        self.says = accepts

    def accepts(self, datafit, penalty):
        if self.says is not None:
            return self.says
        fits = isinstance(datafit, SquaredStatistics) and isinstance(penalty, self.kinds)
        return "" if fits else "Altered solves few problems."

    def solve(self, datafit, penalty, *, tol=1e-6, max_iter=10000, start=None):
        refusal = self.accepts(datafit, penalty)
        if refusal:
            raise IncompatibleError(refusal)
        decompose(penalty)
        found = TRUE.solve(datafit, penalty, tol=self.tol(tol), max_iter=max_iter, start=start)
        return self.change(found, start, datafit)


def altered(**fields):
    """Return a solver whose answers have other fields, made from the answer."""

    def change(found, start, datafit):
        return dataclasses.replace(found, **{name: f(found) for name, f in fields.items()})

    return Altered(change)


def certificate(**fields):
    return lambda found: dataclasses.replace(
        found.certificate, **{name: f(found) for name, f in fields.items()}
    )


def shared_memory(found, start, datafit):
    return found if start is None else dataclasses.replace(found, W=start.W)


def forgetful(found, start, datafit):
    return found if start is None else dataclasses.replace(found, n_iter=7)


class Late(Altered):
    """A solver that refuses after it has worked."""

    def solve(self, datafit, penalty, **options):
        datafit.evaluate(np.zeros(datafit.shape))
        return super().solve(datafit, penalty, **options)


def same(found, start, datafit):
    return found


class Careless(Altered):
    """A solver that tries what it says that it refuses."""

    def solve(self, datafit, penalty, **options):
        return TRUE.solve(datafit, L2(1.0))


class Optimist(Altered):
    """A solver that calls whatever it has after a few steps an answer."""

    def solve(self, datafit, penalty, *, tol=1e-6, max_iter=10000, start=None):
        few = 10 if tol > 1e-6 else max_iter
        found = super().solve(datafit, penalty, tol=tol, max_iter=min(max_iter, few), start=start)
        gap = found.certificate.reference * tol / 10
        proof = dataclasses.replace(found.certificate, gap=gap, residual=tol / 10)
        return dataclasses.replace(found, certificate=proof, status=Status.CONVERGED, n_iter=0)


WRONG = {
    "it converges": altered(status=lambda found: Status.STALLED),
    "the certificate is at most tol": Altered(same, tol=lambda tol: 1e4 * tol),
    "objective is that of W": altered(objective=lambda found: found.objective + 1e-3),
    "intercept is a best one": altered(intercept=lambda found: found.intercept + 1e-3),
    "the reference is": altered(
        certificate=certificate(reference=lambda found: 2 * found.certificate.reference)
    ),
    "n_iter and seconds": altered(seconds=lambda found: -1.0),
    "the gap bounds": Optimist(same, kinds=(L21,)),
    "a start at the answer ends at once": Altered(forgetful),
    "does not share memory": Altered(shared_memory),
    "the status is MAX_ITER": altered(
        status=lambda found: found.status if found.status.ok else Status.STALLED
    ),
    "above the null strength": altered(
        status=lambda found: Status.CONVERGED if found.status.ok else found.status
    ),
    "names the null strength": altered(null_strength=lambda found: None),
    "what cannot be solved is refused before": Late(same),
    "solve refuses what accepts refuses": Careless(same),
    "a refusal is a sentence": Altered(same, accepts="no"),
    "it accepts some pair": Altered(same, accepts="Nothing at all."),
}


@pytest.mark.parametrize("law", WRONG)
def test_wrong_solvers(law):
    with pytest.raises(AssertionError, match=law):
        check_solver(WRONG[law])


def test_the_wrapper_is_right():
    check_solver(Altered(same))
