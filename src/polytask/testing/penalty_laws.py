"""`check_penalty`: every law that the capabilities of a penalty entail."""

from __future__ import annotations

from typing import Any

from polytask.penalties import Columns, Conjugate, Penalty, Proximable, Smooth
from polytask.testing import algebra_laws, flag_laws, prox_laws, smooth_laws
from polytask.testing._points import PenaltyCase, resolved_case
from polytask.testing._tools import back, moved, require_close


def _capabilities(case: PenaltyCase) -> None:
    """Check what a penalty, or a part of one, can do."""
    smooth_laws.values(case)
    smooth_laws.gradients(case)
    smooth_laws.quadratics(case)
    prox_laws.check_prox(case)
    prox_laws.touching(case)
    flag_laws.check_flags(case)


def _algebra(case: PenaltyCase) -> None:
    """Check what every penalty has."""
    algebra_laws.multiples(case)
    algebra_laws.strengths(case)
    algebra_laws.shifts(case)
    algebra_laws.binding(case)
    algebra_laws.parameters(case)
    prox_laws.null_strength_is_exact(case)


def _composed(case: PenaltyCase) -> None:
    """Check the penalty shifted and with a ridge, and the parts that solvers get."""
    penalty: Any = case.subject
    shifted = penalty.shifted(case.random())
    ridge = algebra_laws.together_with_a_ridge(penalty)
    moved_ridge = algebra_laws.together_with_a_ridge(shifted)
    for composed in (shifted, ridge, ridge.shifted(case.random()), moved_ridge):
        inner = case.of(composed)
        _capabilities(inner)
        _algebra(inner)
        for part in algebra_laws.parts(inner):
            _capabilities(case.of(part))


def _namespace(case: PenaltyCase, xp: Any) -> None:  # noqa: ANN401 - a module
    """Compare the results in another array namespace with those of NumPy."""
    subject: Any = case.subject
    law = "another array namespace gives what NumPy gives"
    for W in case.points:
        V = moved(W, xp)
        require_close(subject.value(V), subject.value(W), subject, law)
        if isinstance(subject, Proximable):
            got = back(subject.prox(V, 0.8), subject, V)
            require_close(got, subject.prox(W, 0.8), subject, law, rtol=1e-6)
        if isinstance(subject, Smooth):
            got = back(subject.gradient(V), subject, V)
            require_close(got, subject.gradient(W), subject, law)
        if isinstance(subject, Conjugate):
            require_close(subject.conjugate(V), subject.conjugate(W), subject, law)
            scales = subject.feasible_scale(V), subject.feasible_scale(W)
            require_close(*scales, subject, law)


def check_penalty(
    penalty: Penalty,
    *,
    columns: Columns | None = None,
    features_alike: bool = True,
    tasks_alike: bool = True,
    xp: Any = None,  # noqa: ANN401 - a module
    random_state: int = 0,
) -> None:
    """Check every law that the capabilities of a penalty entail.

    The prox is tried against rival points, and by the identity of Moreau; the conjugate
    by the inequality of Fenchel and Young; gradients by differences; the null strength by
    the optimality of W = 0 just above it and not just below; flags such as `ignores_signs`
    by what they mean. The penalty is checked by itself, shifted, and added to a ridge; so
    are the parts that `decompose` returns. A penalty that is not convex need not be
    non-expansive or proportional to its strength; its prox is compared with a grid as well,
    and the convex penalty above it has to touch it.

    Parameters
    ----------
    penalty : Penalty
        The penalty; a fraction is resolved at a random gradient.
    columns : Columns, default=None
        The columns that it is bound to; None: four tasks with a column each.
    features_alike : bool, default=True
        Whether the order of the features must not matter.
    tasks_alike : bool, default=True
        Whether the order of the tasks must not matter to the bound penalty.
    xp : module, default=None
        An array-API namespace whose results must equal those of NumPy.
    random_state : int, default=0
        Seed of the random points.

    Raises
    ------
    AssertionError
        With a sentence that names the law that does not hold.
    """
    case = resolved_case(penalty, columns, random_state)
    algebra_laws.inputs(case)
    _capabilities(case)
    _algebra(case)
    algebra_laws.fractions(penalty, case)
    at_zero = case.subject.null_point is None
    if at_zero:
        algebra_laws.empties(case)
    if at_zero and features_alike:
        algebra_laws.features(case)
    if at_zero and tasks_alike:
        algebra_laws.tasks(case)
    _composed(case)
    if xp is not None:
        _namespace(case, xp)
        shifted = case.subject.shifted(case.random())
        ridge = algebra_laws.together_with_a_ridge(shifted)
        for part in (shifted, *algebra_laws.parts(case.of(ridge))):
            _namespace(case.of(part), xp)
