"""`check_penalty`: every law that the capabilities of a penalty entail."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.penalties import Columns, Conjugate, Penalty, Proximable, Quadratic, Smooth
from polytask.testing import algebra_laws, prox_laws
from polytask.testing._points import PenaltyCase, resolved_case
from polytask.testing._tools import (
    back,
    moved,
    require,
    require_at_least,
    require_close,
    require_dtype,
)


def _capabilities(case: PenaltyCase) -> None:
    """Check what a penalty, or a part of one, can do."""
    _values(case)
    _gradients(case)
    _quadratics(case)
    prox_laws.check_prox(case)
    prox_laws.touching(case)
    check_flags(case)


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


def check_flags(case: PenaltyCase) -> None:
    """Check the flags of `Valued` that are set."""
    subject: Any = case.subject
    if subject.is_norm:
        _norm(case)
    if subject.ignores_signs:
        _sizes(case)
    if isinstance(subject, Penalty) and subject.shares is not None and not subject.by_feature:
        _shares(case)
    elif isinstance(subject, Penalty) and subject.by_entry:
        _entries(case)


def _norm(case: PenaltyCase) -> None:
    subject: Any = case.subject
    for W in case.points:
        for c in (0.5, 3.0):
            law = "is_norm: value(c W) is c value(W) for c > 0"
            require_close(subject.value(c * W), c * subject.value(W), subject, law)


def _sizes(case: PenaltyCase) -> None:
    subject: Any = case.subject
    for W in case.points:
        value = subject.value(W)
        law = "ignores_signs: value(|W|) is value(W)"
        require_close(subject.value(np.abs(W)), value, subject, law)
        law = "ignores_signs: value grows with the size of each entry"
        for _ in range(5):
            larger = np.abs(W)
            j, t = (int(case.rng.integers(n)) for n in W.shape)
            larger[j, t] += 0.5
            require_at_least(subject.value(larger), value, subject, law)


def _entries(case: PenaltyCase) -> None:
    subject: Any = case.subject
    for W in case.points:
        alone = []
        for at in np.ndindex(W.shape):
            alone.append(np.zeros_like(W))
            alone[-1][at] = W[at]
        law = "by_entry: value(W) is the sum of the values of its entries alone"
        require_close(subject.value(W), sum(map(subject.value, alone)), subject, law)


def _shares(case: PenaltyCase) -> None:
    subject: Any = case.subject
    if subject.strength is None:
        return
    a, b, c = (subject.strength * share for share in subject.shares)
    law = "shares: value(W) is a ||w||_1 + b ||w||_2 + c/2 ||w||_2^2 of the rows, times strength"
    for W in case.points:
        lengths = np.linalg.norm(W, axis=1)
        wanted = a * np.abs(W).sum() + b * lengths.sum() + c / 2 * (lengths**2).sum()
        require_close(subject.value(W), wanted, subject, law)


_STEP = 1e-5


def _values(case: PenaltyCase) -> None:
    """Check that values are numbers >= 0, and convex where the capabilities say so."""
    subject: Any = case.subject
    for W in case.points:
        value = subject.value(W)
        require(isinstance(value, float), subject, "value returns a float")
        require_at_least(value, 0.0, subject, "value is at least 0")
        single = subject.value(W.astype(np.float32))
        require_close(single, value, subject, "value in float32 is near", rtol=1e-4)
        for V in case.points if case.convex else ():
            chord = 0.5 * (value + subject.value(V))
            require_at_least(chord, subject.value(0.5 * (W + V)), subject, "value is convex")


def _gradients(case: PenaltyCase) -> None:
    """Compare the gradient with differences of the value, and its slope with the curvature."""
    subject: Any = case.subject
    if not isinstance(subject, Smooth):
        return
    for W in case.points:
        gradient = subject.gradient(W)
        require(gradient.shape == W.shape, subject, "the gradient has the shape of W")
        for _ in range(3):
            way = case.random()
            ahead, behind = subject.value(W + _STEP * way), subject.value(W - _STEP * way)
            law = "the gradient is the derivative of the value"
            slope, scale = (ahead - behind) / (2 * _STEP), 1 + abs(ahead)
            require_close(np.sum(gradient * way) / scale, slope / scale, subject, law, rtol=1e-6)
    single = subject.gradient(case.points[0].astype(np.float32))
    require_dtype(single, np.float32, subject, "gradient keeps float32")
    _curvature(case)


def _curvature(case: PenaltyCase) -> None:
    """Look for the largest curvature by power iteration; it must not exceed the bound."""
    subject: Any = case.subject
    origin = case.points[0]
    way = case.random()
    for _ in range(30):
        way = subject.gradient(origin + way) - subject.gradient(origin)
        size = np.linalg.norm(way)
        if size == 0:
            return
        way = way / size
    found = np.linalg.norm(subject.gradient(origin + way) - subject.gradient(origin))
    law = "curvature() bounds the curvature"
    require_at_least(subject.curvature(), found, subject, law, slack=1e-7)


def _quadratics(case: PenaltyCase) -> None:
    """Check that the gradient is affine, and the diagonal that of the Hessian."""
    subject: Any = case.subject
    if not isinstance(subject, Quadratic):
        return
    origin = case.points[-1]
    for W in case.points:
        wanted = subject.gradient(W) - subject.gradient(origin)
        require_close(subject.apply(W), wanted, subject, "apply(W) is gradient(W) - gradient(0)")
    n_columns = origin.shape[1]
    diagonal = subject.diagonal(n_columns)
    require(diagonal.shape == (n_columns,), subject, "diagonal has an entry for each column")
    for column in range(n_columns):
        unit = np.zeros_like(origin)
        unit[0, column] = 1.0
        found = subject.apply(unit)[0, column]
        require_close(diagonal[column], found, subject, "diagonal is that of the Hessian")
